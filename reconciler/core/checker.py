"""An independent verifier: replays a plan against what was observed and says which step breaks a rule.

It shares no code with the planner (it imports values only), so that one mistake must be made twice, in two ways.
It judges what the plan says it will do, not whether that is wise. Stages that are forecasts are not judged: they are
planned again from what is read, and judged then.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from reconciler.core.checker_flight import Load, Sizes, crowded, unwaited
from reconciler.core.checker_master import giving_way, promotion, refresh, strike
from reconciler.core.checker_target import parted
from reconciler.core.checker_vms import GOALS, arrives, migration, power_change
from reconciler.core.checker_world import World, resting
from reconciler.core.evidence import Certificate, CertificateKind, LoginAnswer, Survey
from reconciler.core.model import PoolState, PowerState, Ref, Vm
from reconciler.core.plan import Action, Plan, Verb
from reconciler.core.wanted import Level, Wanted


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
    held = [c for c in certificates if c.pool == wanted.name and c.issued_at - 1.0 <= now < c.expires_at]
    proved = {c.host for c in held}
    world = World(wanted, survey, state, proved, limit, realms or {}, yields, struck=set(spent))
    world.attested = frozenset(c.host for c in held if c.kind is CertificateKind.ATTESTED)
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


def _broken(action: Action, world: World, done: set[str]) -> list[str]:
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
        why += strike(action, world)
    elif action.verb is Verb.PROMOTE:
        why += promotion(action, world)
    elif action.verb is Verb.FOLLOW:
        why += giving_way(action, world)
    elif action.verb is Verb.RECOVER_MEMBERS:
        masters = [t for t in world.survey.testimonies if t.login is LoginAnswer.MASTER]
        if len(masters) > 1 or (
            not masters and not any("promote:" in i or "await-master:" in i for i in action.follows)
        ):
            why.append(f"{len(masters)} hosts accept logins as master")
    elif action.verb in GOALS:
        why += power_change(action, world)
    elif action.verb is Verb.MIGRATE:
        why += migration(action, world)
    elif action.verb in (Verb.DISABLE_HOST, Verb.ENABLE_HOST, Verb.END_MAINTENANCE):
        why += _maintenance(action, world)
    elif action.verb is Verb.SYNC_DATABASE:
        why += refresh(world)
    elif action.verb is Verb.DESIGNATE_MASTER and world.state is not None:
        why += [f"{h.name} is down" for h in world.state.hosts.values() if not h.live]
    return why


def _maintenance(action: Action, world: World) -> list[str]:
    hosts = () if world.state is None else world.state.hosts.values()
    host = next((h for h in hosts if h.uuid == action.target.uuid), None)
    if host is None:
        return ["the pool has no such host"]
    why = []
    if not (host.live and world.answers(host)):
        why.append("it is not live and answering")
    if action.verb is Verb.DISABLE_HOST:
        if not resting(host, world):
            why.append("the manifest does not declare it in maintenance")
        if world.master == host.uuid:
            why.append("it is the master")
        return why
    if resting(host, world):
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


def _at_once(actions: Sequence[Action], world: World) -> list[str]:
    """What some order of a stage's steps would break: steps that don't wait, and hosts that are overfilled."""
    if world.state is None:
        return unwaited(actions, {})
    uuids: dict[Ref | None, str] = {ref: host.uuid for ref, host in world.state.hosts.items()}
    touched = {a.target.uuid for a in actions if a.target.kind == "vm"}
    vms = {
        vm.uuid: Sizes(
            arrives(vm),
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


def _apart(world: World) -> list[str]:
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


def _perform(action: Action, world: World) -> None:
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


def _move(vm: Vm, to: Ref | None, power: PowerState, world: World) -> None:
    size = vm.memory_dynamic_min + vm.memory_overhead
    old = world.where[vm.ref]
    if old is not None:
        world.load[old] = world.load.get(old, 0) - size
    if to is not None:
        if world.promised.pop(vm.ref, None) != to:
            world.load[to] = world.load.get(to, 0) + size
        world.moved.add(vm.ref)
    world.where[vm.ref], world.power[vm.ref] = to, power
