"""What the checker asks of steps that decide who is master, and who is dead."""

from __future__ import annotations

from reconciler.core.checker_world import World
from reconciler.core.evidence import LoginAnswer, Testimony
from reconciler.core.model import Host, PoolState, PowerState, Vm
from reconciler.core.plan import Action, Verb


def refresh(world: World) -> list[str]:
    """One master, no HA, and no host that the call would hang on but those that are proved dead."""
    if world.state is None or sum(t.login is LoginAnswer.MASTER for t in world.survey.testimonies) != 1:
        return ["there is not one master to send it to"]
    why = ["XAPI's own HA is on"] if world.state.pool.ha_enabled else []
    for host in world.state.hosts.values():
        name = world.member_name(host)
        if name is not None and host.live and not world.answers(host) and name not in world.proved:
            why.append(f"{name} does not answer, and the master takes it for living")
    return why


def strike(action: Action, world: World) -> list[str]:
    """Why a host may not be fenced or declared dead: a sign of life, no proof, or the brake."""
    why = []
    name = action.target.name
    t = world.testimony(name)
    if t is None:
        return ["nobody was asked about it"]
    if t.login is not LoginAnswer.SILENT or t.tcp:
        why.append(f"something answers at its address ({t.login})")
    if world.state is not None:
        master = world.state.hosts.get(world.state.pool.master or "")
        if master is not None and master.uuid == action.target.uuid:
            why.append("it is the acting master")
    if action.verb is Verb.DECLARE_DEAD and name not in action.certificate_of:
        why.append("it rests on no proof")
    if name not in world.struck and len(world.struck) >= world.wanted.policy.brake.max_hosts_per_run:
        why.append("more hosts than policy.brake.maxHostsPerRun allows")
    if world.braked():
        why.append("fewer members answer than policy.brake.minHealthy asks for")
    return why


def promotion(action: Action, world: World) -> list[str]:
    """Why nobody may be promoted: a master lives, or may live; or why not this member."""
    why = []
    members = {t.name for t in world.survey.testimonies if t.login in (LoginAnswer.SLAVE, LoginAnswer.EMERGENCY)}
    if not action.certificate_of and len(members) < len(world.survey.testimonies):
        why.append("it rests on no proof of the lost master's death")
    for t in world.survey.testimonies:
        followed = [m.name for m in world.wanted.members if _obeys(t, m.name, world)]
        if t.login is LoginAnswer.SLAVE and not (set(followed) & (members | world.proved)):
            why.append(f"{t.name} follows {t.follows}, which is neither a member itself nor proved dead")
        if t.login is LoginAnswer.MASTER:
            why.append(f"{t.name} accepts logins as master")
        if t.reaches_master:
            why.append(f"{t.name} still reaches a master")
    candidate = world.testimony(action.target.name)
    if candidate is None or candidate.login not in (LoginAnswer.SLAVE, LoginAnswer.EMERGENCY):
        why.append("the candidate does not answer as a member")
    if world.braked():
        why.append("fewer members answer than policy.brake.minHealthy asks for")
    return why


def giving_way(action: Action, world: World) -> list[str]:
    """A second master is demoted beside a master that answers, at a person's word or where nothing runs on it, and
    whatever dies of it is said."""
    name, winner = action.target.name, action.to.name if action.to is not None else ""
    why = []
    for who in (name, winner):
        t = world.testimony(who)
        if t is None or t.login is not LoginAnswer.MASTER:
            why.append(f"{who or 'nobody'} does not accept logins as master")
    if name == winner:
        why.append("it can't follow itself")
    behind = {who: [t.name for t in world.survey.testimonies if _obeys(t, who, world)] for who in (name, winner)}
    theirs, ours = world.realms.get(name), world.realms.get(winner)
    running = _running(theirs, {name, *behind[name]}, world) if theirs is not None else []
    if name not in world.yields:
        if behind[name] and not behind[winner]:
            why.append(f"{behind[name][0]} follows it and nobody follows {winner}")
        if theirs is None:
            why.append("nobody knows what runs on it")
        why += [f"it runs {vm.name}, and nobody said that it gives way" for vm, _ in running]
    if ours is not None:
        if ours.pool.ha_enabled:
            why.append("XAPI's own HA is on")
        said = {d.uuid for d in action.kills}
        places = {vm.uuid: ours.hosts.get(vm.resident_on or "") for vm in ours.vms.values()}
        for vm, host in running:
            place = places.get(vm.uuid)
            dies = vm.uuid not in places or (place is not None and place.uuid != host.uuid)
            if dies and vm.uuid not in said:
                why.append(f"it does not say that it kills {vm.name}")
    return why


def _obeys(t: Testimony, who: str, world: World) -> bool:
    member = next((m for m in world.wanted.members if m.name == who), None)
    return (
        member is not None
        and t.login is LoginAnswer.SLAVE
        and t.follows in (member.address, member.address.rsplit(":", 1)[0])
    )


def _running(state: PoolState, names: set[str], world: World) -> list[tuple[Vm, Host]]:
    """The guests that a database has running on these members, with their hosts."""
    found = []
    for vm in state.vms.values():
        host = state.hosts.get(vm.resident_on or "")
        if not vm.is_guest or host is None or vm.power_state not in (PowerState.RUNNING, PowerState.PAUSED):
            continue
        if world.member_name(host) in names:
            found.append((vm, host))
    return found
