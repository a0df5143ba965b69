"""An independent verifier: replays a plan against what was observed and says which step breaks a rule.

It shares no code with the planner (it imports values only), so that one mistake must be made twice, in two ways.
It judges what the plan says it will do, not whether that is wise. Stages that are forecasts are not judged: they are
planned again from what is read, and judged then.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from reconciler.core.checker_flight import Load, Sizes, crowded, unwaited
from reconciler.core.checker_target import parted, target_faults, wish_faults
from reconciler.core.evidence import Certificate, LoginAnswer, Survey, Testimony
from reconciler.core.model import Host, PoolState, PowerState, Ref, Vm
from reconciler.core.plan import Action, Plan, Verb
from reconciler.core.wanted import Level, MemberState, SelectorKind, VmWish, Wanted, WantedState

_MIB = 1 << 20
_ALIVE = (LoginAnswer.MASTER, LoginAnswer.SLAVE, LoginAnswer.EMERGENCY, LoginAnswer.REJECTED)
_GOALS = {
    Verb.START: (WantedState.RUNNING,),
    Verb.RESUME: (WantedState.RUNNING,),
    Verb.UNPAUSE: (WantedState.RUNNING,),
    Verb.SHUTDOWN: (WantedState.HALTED,),
    Verb.SUSPEND: (WantedState.SUSPENDED,),
}


@dataclass
class _World:
    """What the replay believes as it goes: where each VM runs, what each host carries, who is proved dead."""

    wanted: Wanted
    survey: Survey
    state: PoolState | None
    proved: set[str]
    limit: Level
    realms: Mapping[str, PoolState] = field(default_factory=dict)
    yields: frozenset[str] = frozenset()
    struck: set[str] = field(default_factory=set)
    where: dict[Ref, Ref | None] = field(default_factory=dict)
    power: dict[Ref, PowerState] = field(default_factory=dict)
    load: dict[Ref, int] = field(default_factory=dict)
    enabled: dict[str, bool] = field(default_factory=dict)
    """Host uuid -> whether it is enabled, as the steps before leave it."""
    master: str = ""
    """Uuid of the master, as the steps before leave it."""
    promised: dict[Ref, Ref] = field(default_factory=dict)
    """VM -> the host that keeps room for it: somebody began its start there already."""
    moved: set[Ref] = field(default_factory=set)
    """VMs that a step brought to a host."""
    _wishes: dict[Ref, VmWish | None] = field(default_factory=dict)
    _exact: dict[tuple[SelectorKind, str], VmWish] = field(default_factory=dict)
    _loose: list[VmWish] = field(default_factory=list)

    later: tuple[Action, ...] = ()
    """Actions of the same stage that come after the one that is judged."""

    def wish(self, vm: Vm) -> VmWish | None:
        """The entry that means a VM."""
        if vm.ref not in self._wishes:
            self._wishes[vm.ref] = self._most_exact(vm)
        return self._wishes[vm.ref]

    def _most_exact(self, vm: Vm) -> VmWish | None:
        """By uuid, by name, by pattern, by tag: the first of the first kind that has one."""
        exact = self._exact.get((SelectorKind.UUID, vm.uuid)) or self._exact.get((SelectorKind.NAME, vm.name))
        return exact or next((w for w in self._loose if _means(w, vm)), None)

    def __post_init__(self) -> None:
        for wish in self.wanted.vms:
            self._exact.setdefault((wish.kind, wish.value), wish)
        self._loose = [w for w in self.wanted.vms if w.kind is SelectorKind.PATTERN]
        self._loose += [w for w in self.wanted.vms if w.kind is SelectorKind.TAG]
        if self.state is None:
            return
        self.enabled = {h.uuid: h.enabled for h in self.state.hosts.values()}
        self.master = next((h.uuid for r, h in self.state.hosts.items() if r == self.state.pool.master), "")
        for vm in self.state.vms.values():
            self.where[vm.ref], self.power[vm.ref] = vm.resident_on, vm.power_state
            if vm.scheduled_on is not None and vm.scheduled_on != vm.resident_on:
                self.promised[vm.ref] = vm.scheduled_on
            for place in {vm.resident_on, vm.scheduled_on} - {None}:
                self.load[place or ""] = self.load.get(place or "", 0) + vm.memory_dynamic_min + vm.memory_overhead

    def testimony(self, name: str) -> Testimony | None:
        return next((t for t in self.survey.testimonies if t.name == name), None)

    def member_name(self, host: Host) -> str | None:
        """The declared name of a host record, by name, uuid or address."""
        for member in self.wanted.members:
            if member.name in (host.name, host.uuid):
                return member.name
        for member in self.wanted.members:
            if member.address == host.address or member.address.rsplit(":", 1)[0] == host.address:
                return member.name
        return None

    def answers(self, host: Host) -> bool:
        name = self.member_name(host)
        t = self.testimony(name) if name else None
        return t is not None and t.login in _ALIVE


def check_plan(
    plan: Plan,
    wanted: Wanted,
    survey: Survey,
    state: PoolState | None,
    *,
    certificates: Iterable[Certificate],
    now: float,
    limit: Level,
    spent: frozenset[str] = frozenset(),
    realms: Mapping[str, PoolState] | None = None,
    yields: frozenset[str] = frozenset(),
) -> tuple[str, ...]:
    """Every rule that a step of the plan breaks, as sentences; () when the plan may be performed.

    `limit` is the highest level of this run, `spent` the hosts that it already struck, `realms` the pool as each of
    several masters has it, `yields` the hosts of which a person said that they give way.
    """
    proved = {c.host for c in certificates if c.pool == wanted.name and c.issued_at - 1.0 <= now < c.expires_at}
    world = _World(wanted, survey, state, proved, limit, realms or {}, yields, struck=set(spent))
    found: list[str] = []
    done: set[str] = set()
    for stage in plan.stages:
        if stage.forecast:
            break
        found += _at_once(stage.actions, world)
        for number, action in enumerate(stage.actions):
            world.later = stage.actions[number + 1 :]
            found += [f"{action.verb} {action.target.name}: {why}" for why in _broken(action, world, done)]
            _perform(action, world)
            done.add(action.id)
    return tuple(found + _apart(world))


def _broken(action: Action, world: _World, done: set[str]) -> list[str]:
    why = []
    if missing := [i for i in action.follows if i not in done]:
        why.append(f"it follows {missing[0]}, which does not come before it")
    if action.level > world.limit:
        why.append(f"it is {action.level.word}, and this run may go to {world.limit.word}")
    if world.state is not None and world.state.pool.ha_enabled and action.level > Level.METADATA:
        why.append("XAPI's own HA is on")
    why += [f"{name} is not proved dead" for name in action.certificate_of if name not in world.proved]
    if action.target.kind == "vm" and world.state is not None:
        vm = next((v for v in world.state.vms.values() if v.uuid == action.target.uuid), None)
        wish = world.wish(vm) if vm is not None else None
        if wish is not None and wish.max_level is not None and action.level > wish.max_level:
            why.append(f"it is {action.level.word}, and its maxLevel is {wish.max_level.word}")
        if action.verb is Verb.SET_AFFINITY and (wish is None or wish.home is None):
            why.append("the manifest names no home for it")
    if action.verb in (Verb.FENCE, Verb.DECLARE_DEAD):
        why += _strike(action, world)
    elif action.verb is Verb.PROMOTE:
        why += _promotion(action, world)
    elif action.verb is Verb.FOLLOW:
        why += _giving_way(action, world)
    elif action.verb is Verb.RECOVER_MEMBERS:
        masters = [t for t in world.survey.testimonies if t.login is LoginAnswer.MASTER]
        if len(masters) > 1 or (
            not masters and not any("promote:" in i or "await-master:" in i for i in action.follows)
        ):
            why.append(f"{len(masters)} hosts accept logins as master")
    elif action.verb in _GOALS:
        why += _power(action, world)
    elif action.verb is Verb.MIGRATE:
        why += _migration(action, world)
    elif action.verb in (Verb.DISABLE_HOST, Verb.ENABLE_HOST, Verb.END_MAINTENANCE):
        why += _maintenance(action, world)
    elif action.verb is Verb.SYNC_DATABASE:
        why += _refresh(world)
    elif action.verb is Verb.DESIGNATE_MASTER and world.state is not None:
        why += [f"{h.name} is down" for h in world.state.hosts.values() if not h.live]
    return why


def _refresh(world: _World) -> list[str]:
    """One master, no HA, and no host that the call would hang on but those that are proved dead."""
    if world.state is None or sum(t.login is LoginAnswer.MASTER for t in world.survey.testimonies) != 1:
        return ["there is not one master to send it to"]
    why = ["XAPI's own HA is on"] if world.state.pool.ha_enabled else []
    for host in world.state.hosts.values():
        name = world.member_name(host)
        if name is not None and host.live and not world.answers(host) and name not in world.proved:
            why.append(f"{name} does not answer, and the master takes it for living")
    return why


def _strike(action: Action, world: _World) -> list[str]:
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
    answering = sum(x.login in _ALIVE for x in world.survey.testimonies)
    if answering < world.wanted.policy.brake.min_healthy * len(world.survey.testimonies):
        why.append("fewer members answer than policy.brake.minHealthy asks for")
    return why


def _promotion(action: Action, world: _World) -> list[str]:
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
    answering = sum(x.login in _ALIVE for x in world.survey.testimonies)
    if answering < world.wanted.policy.brake.min_healthy * len(world.survey.testimonies):
        why.append("fewer members answer than policy.brake.minHealthy asks for")
    return why


def _giving_way(action: Action, world: _World) -> list[str]:
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


def _obeys(t: Testimony, who: str, world: _World) -> bool:
    member = next((m for m in world.wanted.members if m.name == who), None)
    return (
        member is not None
        and t.login is LoginAnswer.SLAVE
        and t.follows in (member.address, member.address.rsplit(":", 1)[0])
    )


def _running(state: PoolState, names: set[str], world: _World) -> list[tuple[Vm, Host]]:
    """The guests that a database has running on these members, with their hosts."""
    found = []
    for vm in state.vms.values():
        host = state.hosts.get(vm.resident_on or "")
        if not vm.is_guest or host is None or vm.power_state not in (PowerState.RUNNING, PowerState.PAUSED):
            continue
        if world.member_name(host) in names:
            found.append((vm, host))
    return found


def _maintenance(action: Action, world: _World) -> list[str]:
    hosts = () if world.state is None else world.state.hosts.values()
    host = next((h for h in hosts if h.uuid == action.target.uuid), None)
    if host is None:
        return ["the pool has no such host"]
    why = []
    if not (host.live and world.answers(host)):
        why.append("it is not live and answering")
    if action.verb is Verb.DISABLE_HOST:
        if not _resting(host, world):
            why.append("the manifest does not declare it in maintenance")
        if world.master == host.uuid:
            why.append("it is the master")
        return why
    if _resting(host, world):
        why.append("the manifest declares it in maintenance")
    if "xenrec-maintenance" not in host.other_config:
        why.append("it was not xenrec that disabled it")
    elif _roll_of(host.other_config["xenrec-maintenance"]) not in ("", world.wanted.rolling):
        why.append("another rolling maintenance disabled it")
    if action.verb is Verb.END_MAINTENANCE and not world.enabled[host.uuid]:
        why.append("it is still disabled")
    return why


def _roll_of(mark: str) -> str:
    try:
        return str(json.loads(mark)["roll"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def _evacuates_all(host: Host | None, world: _World) -> bool:
    """Its entry lets its maintenance move VMs that the manifest does not name."""
    name = world.member_name(host) if host is not None else None
    return any(m.name == name and m.state is MemberState.MAINTENANCE and m.evacuate_all for m in world.wanted.members)


def _resting(host: Host, world: _World) -> bool:
    name = world.member_name(host)
    return any(m.name == name and m.state is MemberState.MAINTENANCE for m in world.wanted.members)


def _means(wish: VmWish, vm: Vm) -> bool:
    """The entry's text selects the VM."""
    if wish.kind is SelectorKind.PATTERN:
        return fnmatchcase(vm.name, wish.value)
    if wish.kind is SelectorKind.TAG:
        return wish.value in vm.tags
    return wish.value == (vm.uuid if wish.kind is SelectorKind.UUID else vm.name)


def _power(action: Action, world: _World) -> list[str]:
    state = world.state
    if state is None:
        return ["there is no pool to act on"]
    vm = next((v for v in state.vms.values() if v.uuid == action.target.uuid), None)
    if vm is None:
        return ["the pool has no such VM"]
    if vm.is_template or vm.is_snapshot or vm.is_control_domain:
        return ["it is a template, a snapshot or a control domain"]
    why = []
    wish = world.wish(vm)
    if wish is None:
        why.append("the manifest does not name it")
    elif wish.state not in _GOALS[action.verb] and not (
        _may_stop(action, vm, wish, state, world) or _may_be_shed(action, wish, world)
    ):
        why.append(f"the manifest declares it {wish.state}")
    if (
        wish is not None
        and wish.kind is SelectorKind.NAME
        and sum(v.is_guest and v.name == vm.name for v in state.vms.values()) > 1
    ):
        why.append("its name means several VMs")
    if action.verb in _GOALS and _GOALS[action.verb] == (WantedState.RUNNING,):
        why += _before_its_own(vm, wish, state, world)
    if action.verb in (Verb.START, Verb.RESUME):
        why += _start(action, vm, state, world)
    elif world.power[vm.ref] is PowerState.HALTED:
        why.append("it is halted")
    return why


def _may_stop(action: Action, vm: Vm, wish: VmWish, state: PoolState, world: _World) -> bool:
    """Its entry lets it be stopped for the maintenance of the host where it runs."""
    host = state.hosts.get(vm.resident_on or "")
    if action.verb is not Verb.SHUTDOWN or not wish.placement.stop_for_maintenance or host is None:
        return False
    return wish.state is WantedState.RUNNING and _resting(host, world)


def _before_its_own(vm: Vm, wish: VmWish | None, state: PoolState, world: _World) -> list[str]:
    """What it depends on and does not run when its turn comes, each by its name."""
    found = []
    for word in wish.depends_on if wish is not None else ():
        for entry in world.wanted.vms:
            if entry.value != word:
                continue
            for other in state.vms.values():
                meant = other.is_guest and other.ref != vm.ref and _means(entry, other)
                if meant and world.power[other.ref] is not PowerState.RUNNING:
                    found.append(f"it depends on {other.name}, which does not run before it")
    return found


def _may_be_shed(action: Action, wish: VmWish, world: _World) -> bool:
    """The policy lets it go, and a start of a more important VM that comes later in the plan waits for that."""
    limit = world.wanted.policy.shed
    if action.verb is not Verb.SHUTDOWN or wish.state is not WantedState.RUNNING or limit is None:
        return False
    if wish.priority > limit or world.state is None:
        return False
    for later in world.later:
        if later.verb not in (Verb.START, Verb.RESUME) or action.id not in later.follows:
            continue
        one = next((v for v in world.state.vms.values() if v.uuid == later.target.uuid), None)
        other = world.wish(one) if one is not None else None
        if other is not None and other.priority > wish.priority:
            return True
    return False


def _start(action: Action, vm: Vm, state: PoolState, world: _World) -> list[str]:
    why = []
    if world.power[vm.ref] not in (PowerState.HALTED, PowerState.SUSPENDED):
        why.append(f"it is {world.power[vm.ref]}")
    for operation in ("start", "start_on") if action.verb is Verb.START else ("resume", "resume_on"):
        if operation in vm.blocked_operations:
            why.append(f"{operation} is blocked")
    for host in state.hosts.values():
        name = world.member_name(host) or host.name
        if name not in world.proved and (reason := _may_run_on(vm, host, state, world)):
            why.append(f"it may be running on {name}, which {reason}")
    return [*why, *_target(action, vm, state, world)]


def _target(action: Action, vm: Vm, state: PoolState, world: _World) -> list[str]:
    """Why a VM can't be on the host that the action names."""
    target = next((h for h in state.hosts.values() if action.to and h.uuid == action.to.uuid), None)
    if target is None:
        return ["it names no host of the pool"]
    why = []
    if not (world.enabled[target.uuid] and target.live and world.answers(target)):
        why.append(f"{target.name} is not live, enabled and answering")
    if _resting(target, world):
        why.append(f"the manifest declares {target.name} in maintenance")
    wish = None if _on_its_way(action, vm, state, world) else world.wish(vm)
    why += target_faults(vm, target, wish, state, world.where, world.power[vm.ref])
    why += [f"{name} runs on {target.name}, and they must be apart" for name in _beside(vm, target, state, world)]
    size = 0 if world.promised.get(vm.ref) == target.ref else _arrives(vm)
    if world.load.get(target.ref, 0) + size > target.memory_total - target.memory_overhead:
        why.append(f"{target.name} has not enough memory left")
    return why


def _on_its_way(action: Action, vm: Vm, state: PoolState, world: _World) -> bool:
    """It runs where it must not, and goes through another such host: a later step moves it on."""
    onward = [a for a in world.later if a.verb is Verb.MIGRATE and a.target.uuid == vm.uuid]
    here, wish = state.hosts.get(world.where[vm.ref] or ""), world.wish(vm)
    if action.verb is not Verb.MIGRATE or not onward or here is None or wish is None:
        return False
    return bool(wish_faults(here, wish))


def _beside(vm: Vm, target: Host, state: PoolState, world: _World) -> list[str]:
    """VMs on a host from which a VM must be apart."""
    wish = world.wish(vm)
    group = wish.placement.apart if wish is not None else None
    if not group:
        return []
    return [
        other.name
        for other in state.vms.values()
        if other.ref != vm.ref
        and other.is_guest
        and world.where[other.ref] == target.ref
        and (its := world.wish(other)) is not None
        and its.placement.apart == group
    ]


def _arrives(vm: Vm) -> int:
    """Bytes that a VM takes where it starts or goes: memory_check.ml:vm_compute_start_memory rounds up to MiB."""
    return -(-vm.memory_dynamic_min // _MIB) * _MIB + vm.memory_overhead


def _at_once(actions: Sequence[Action], world: _World) -> list[str]:
    """What some order of a stage's steps would break: steps that don't wait, and hosts that are overfilled."""
    if world.state is None:
        return unwaited(actions, {})
    uuids: dict[Ref | None, str] = {ref: host.uuid for ref, host in world.state.hosts.items()}
    touched = {a.target.uuid for a in actions if a.target.kind == "vm"}
    vms = {
        vm.uuid: Sizes(
            _arrives(vm),
            vm.memory_dynamic_min + vm.memory_overhead,
            uuids.get(world.where[vm.ref], ""),
            uuids.get(world.promised.get(vm.ref), ""),
        )
        for vm in world.state.vms.values()
        if vm.uuid in touched
    }
    loads = {
        h.uuid: Load(h.name, h.memory_total - h.memory_overhead, world.load.get(h.ref, 0))
        for h in world.state.hosts.values()
    }
    residents: dict[str, list[str]] = {}
    for vm in world.state.vms.values():
        if world.where[vm.ref] is not None:
            residents.setdefault(uuids.get(world.where[vm.ref], ""), []).append(vm.uuid)
    return unwaited(actions, residents) + crowded(actions, loads, vms)


def _apart(world: _World) -> list[str]:
    """VMs that the plan took away from the group that they are to stay with."""
    if world.state is None:
        return []
    grouped = {
        vm.ref: wish
        for vm in world.state.vms.values()
        if vm.is_guest and (wish := world.wish(vm)) is not None and wish.placement.together
    }
    moved = {ref: grouped[ref] for ref in world.moved if ref in grouped}
    heard = {ref for ref, host in world.state.hosts.items() if world.answers(host)}
    where = {ref: host for ref, host in world.where.items() if host in heard}  # who is not heard may run nothing
    return [
        f"{world.state.vms[ref].name}: it ends apart from its group {wish.placement.together}"
        for ref, wish in moved.items()
        if ref in parted(moved, grouped, where)
    ]


def _migration(action: Action, world: _World) -> list[str]:
    state = world.state
    vm = next((v for v in state.vms.values() if v.uuid == action.target.uuid), None) if state is not None else None
    if state is None or vm is None:
        return ["the pool has no such VM"]
    if vm.is_template or vm.is_snapshot or vm.is_control_domain:
        return ["it is a template, a snapshot or a control domain"]
    why = []
    wish = world.wish(vm)
    if wish is None:
        if not _evacuates_all(state.hosts.get(vm.resident_on or ""), world):
            why.append("the manifest does not name it")
    elif wish.state not in (WantedState.RUNNING, WantedState.AS_IS):
        why.append(f"the manifest declares it {wish.state}")
    if world.power[vm.ref] is not PowerState.RUNNING:
        why.append(f"it is {world.power[vm.ref]}")
    if vm.pinned_devices:
        why.append("its devices tie it to its host")
    if "pool_migrate" in vm.blocked_operations:
        why.append("pool_migrate is blocked")
    source = state.hosts.get(world.where[vm.ref] or "")
    if source is None or action.source is None or source.uuid != action.source.uuid:
        why.append(f"it runs on {source.name if source else 'no host'}")
    elif not (source.live and world.answers(source)):
        why.append(f"{source.name} is not live and answering")
    if action.to is not None and source is not None and source.uuid == action.to.uuid:
        why.append("it is there already")
    return [*why, *_target(action, vm, state, world)]


def _may_run_on(vm: Vm, host: Host, state: PoolState, world: _World) -> str:
    """Why a VM may be running on a host, whatever the database says; "" if it can't (I1).

    Every master start disables all hosts and only rejoining enables one again (recordings 14, 21), so the database can
    be wrong about a host that is not enabled, be it silent or, like the healed member of recording 07, answering.
    """
    member = next((m for m in world.wanted.members if m.name == world.member_name(host)), None)
    resting = member is not None and member.state is MemberState.MAINTENANCE
    marked = "xenrec-maintenance" in host.other_config
    guests = any(v.resident_on == host.ref and v.is_guest for v in state.vms.values())
    if world.answers(host):
        return "" if host.enabled or resting or marked else "has not rejoined"
    if member is None and host.enabled and host.live:
        return ""
    if vm.resident_on == host.ref or not (host.enabled or (resting and not guests)):
        return "is not proved dead"
    return ""


def _perform(action: Action, world: _World) -> None:
    """What the step promises, for the steps after it."""
    if action.verb is Verb.FENCE:
        world.proved.add(action.target.name)
    if action.verb in (Verb.FENCE, Verb.DECLARE_DEAD):
        world.struck.add(action.target.name)
    if world.state is None:
        return
    hosts = {h.uuid: h.ref for h in world.state.hosts.values()}
    if action.verb is Verb.DESIGNATE_MASTER:
        world.master = action.target.uuid
    elif action.verb in (Verb.DISABLE_HOST, Verb.ENABLE_HOST):
        world.enabled[action.target.uuid] = action.verb is Verb.ENABLE_HOST
    if action.verb is Verb.DECLARE_DEAD:
        dead = hosts.get(action.target.uuid)
        for vm in world.state.vms.values():
            if world.where[vm.ref] == dead and dead is not None and not vm.is_control_domain:
                _move(vm, None, PowerState.HALTED, world)
        return
    one = next((v for v in world.state.vms.values() if v.uuid == action.target.uuid), None)
    if one is None:
        return
    if action.verb in (Verb.START, Verb.RESUME, Verb.MIGRATE) and action.to is not None:
        _move(one, hosts.get(action.to.uuid), PowerState.RUNNING, world)
    elif action.verb is Verb.SHUTDOWN:
        _move(one, None, PowerState.HALTED, world)
    elif action.verb is Verb.SUSPEND:
        _move(one, None, PowerState.SUSPENDED, world)
    elif action.verb is Verb.UNPAUSE:
        world.power[one.ref] = PowerState.RUNNING


def _move(vm: Vm, to: Ref | None, power: PowerState, world: _World) -> None:
    size = vm.memory_dynamic_min + vm.memory_overhead
    old = world.where[vm.ref]
    if old is not None:
        world.load[old] = world.load.get(old, 0) - size
    if to is not None:
        if world.promised.pop(vm.ref, None) != to:
            world.load[to] = world.load.get(to, 0) + size
        world.moved.add(vm.ref)
    world.where[vm.ref], world.power[vm.ref] = to, power
