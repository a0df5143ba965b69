"""What the checker asks of steps that start, stop and move VMs."""

from __future__ import annotations

from reconciler.core.checker_target import target_faults, wish_faults
from reconciler.core.checker_world import World, means, resting
from reconciler.core.model import Host, PoolState, PowerState, Vm
from reconciler.core.plan import Action, Verb
from reconciler.core.wanted import MemberState, SelectorKind, VmWish, WantedState

_MIB = 1 << 20

GOALS = {
    Verb.START: (WantedState.RUNNING,),
    Verb.RESUME: (WantedState.RUNNING,),
    Verb.UNPAUSE: (WantedState.RUNNING,),
    Verb.SHUTDOWN: (WantedState.HALTED,),
    Verb.SUSPEND: (WantedState.SUSPENDED,),
}


def _evacuates_all(host: Host | None, world: World) -> bool:
    """Its entry lets its maintenance move VMs that the manifest does not name."""
    name = world.member_name(host) if host is not None else None
    return any(m.name == name and m.state is MemberState.MAINTENANCE and m.evacuate_all for m in world.wanted.members)


def power_change(action: Action, world: World) -> list[str]:
    """Why a VM may not be started or stopped: it is not ours to touch, not declared so, or may run elsewhere (I1)."""
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
    elif wish.state not in GOALS[action.verb] and not (
        _stops_there(action, vm, state)
        and (_may_stop(action, vm, wish, state, world) or _may_be_shed(action, wish, world))
    ):
        why.append(f"the manifest declares it {wish.state}")
    if (
        wish is not None
        and wish.kind is SelectorKind.NAME
        and sum(v.is_guest and v.name == vm.name for v in state.vms.values()) > 1
    ):
        why.append("its name means several VMs")
    if action.verb in GOALS and GOALS[action.verb] == (WantedState.RUNNING,):
        why += _before_its_own(vm, wish, state, world)
    if action.verb in (Verb.START, Verb.RESUME):
        why += _start(action, vm, state, world)
    elif world.power[vm.ref] is PowerState.HALTED:
        why.append("it is halted")
    return why


def _stops_there(action: Action, vm: Vm, state: PoolState) -> bool:
    """It names the host for whose sake the VM stops: one that has left it meanwhile runs on."""
    host = state.hosts.get(vm.resident_on or "")
    return host is not None and action.source is not None and action.source.uuid == host.uuid


def _may_stop(action: Action, vm: Vm, wish: VmWish, state: PoolState, world: World) -> bool:
    """Its entry lets it be stopped for the maintenance of the host where it runs."""
    host = state.hosts.get(vm.resident_on or "")
    if action.verb is not Verb.SHUTDOWN or not wish.placement.stop_for_maintenance or host is None:
        return False
    return wish.state is WantedState.RUNNING and resting(host, world)


def _before_its_own(vm: Vm, wish: VmWish | None, state: PoolState, world: World) -> list[str]:
    """What it depends on and does not run when its turn comes, each by its name."""
    found = []
    for word in wish.depends_on if wish is not None else ():
        for entry in world.wanted.vms:
            if entry.value != word:
                continue
            for other in state.vms.values():
                meant = other.is_guest and other.ref != vm.ref and means(entry, other)
                if meant and world.power[other.ref] is not PowerState.RUNNING:
                    found.append(f"it depends on {other.name}, which does not run before it")
    return found


def _may_be_shed(action: Action, wish: VmWish, world: World) -> bool:
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


def _start(action: Action, vm: Vm, state: PoolState, world: World) -> list[str]:
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


def _target(action: Action, vm: Vm, state: PoolState, world: World) -> list[str]:
    """Why a VM can't be on the host that the action names."""
    target = next((h for h in state.hosts.values() if action.to and h.uuid == action.to.uuid), None)
    if target is None:
        return ["it names no host of the pool"]
    why = []
    if not (world.enabled[target.uuid] and target.live and world.answers(target)):
        why.append(f"{target.name} is not live, enabled and answering")
    if resting(target, world):
        why.append(f"the manifest declares {target.name} in maintenance")
    wish = None if _on_its_way(action, vm, state, world) else world.wish(vm)
    why += target_faults(vm, target, wish, state, world.where, world.power[vm.ref])
    why += [f"{name} runs on {target.name}, and they must be apart" for name in _beside(vm, target, state, world)]
    size = 0 if world.promised.get(vm.ref) == target.ref else arrives(vm)
    if world.load.get(target.ref, 0) + size > target.memory_total - target.memory_overhead:
        why.append(f"{target.name} has not enough memory left")
    return why


def _on_its_way(action: Action, vm: Vm, state: PoolState, world: World) -> bool:
    """It runs where it must not, and goes through another such host: a later step moves it on."""
    onward = [a for a in world.later if a.verb is Verb.MIGRATE and a.target.uuid == vm.uuid]
    here, wish = state.hosts.get(world.where[vm.ref] or ""), world.wish(vm)
    if action.verb is not Verb.MIGRATE or not onward or here is None or wish is None:
        return False
    return bool(wish_faults(here, wish))


def _beside(vm: Vm, target: Host, state: PoolState, world: World) -> list[str]:
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


def arrives(vm: Vm) -> int:
    """Bytes that a VM takes where it starts or goes: memory_check.ml:vm_compute_start_memory rounds up to MiB."""
    return -(-vm.memory_dynamic_min // _MIB) * _MIB + vm.memory_overhead


def migration(action: Action, world: World) -> list[str]:
    """Why a VM may not be moved: it is not ours to touch, can't leave, or can't be where it would go."""
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
    if vm.immobile:
        why.append(f"XAPI does not move it: {vm.immobile}")
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
    if (key := world.wanted.policy.migration_network) and action.to is not None:
        there = [
            p
            for p in state.pifs.values()
            if (h := state.hosts.get(p.host)) and h.uuid == action.to.uuid and p.currently_attached and p.address != ""
        ]
        nets = [n for n in state.networks.values() if key in (n.name, n.uuid)]
        if len(nets) != 1 or not any(p.network == nets[0].ref for p in there):
            why.append(f"{action.to.name} has no address on the migration network")
    return [*why, *_target(action, vm, state, world)]


def _may_run_on(vm: Vm, host: Host, state: PoolState, world: World) -> str:
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
