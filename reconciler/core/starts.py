"""Starting what should run: on which proof, where, and in which order (I1, I8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from reconciler.core.bury import Doubt
from reconciler.core.draft import Draft, look_and_attest, toolstack_command
from reconciler.core.model import Host, PoolState, PowerState, Ref, Vm
from reconciler.core.order import order_starts
from reconciler.core.placement import Room, choose, drives
from reconciler.core.plan import Action, Thing, Unmet, Verb
from reconciler.core.select import Selection
from reconciler.core.standing import Stand, Standing, Stands
from reconciler.core.storage import hosts_of, unreachable_words
from reconciler.core.unsettled import Tie
from reconciler.core.wanted import VmWish, Wanted
from reconciler.core.words import names

_VERBS = {
    PowerState.HALTED: Verb.START,
    PowerState.RUNNING: Verb.START,  # recorded as running on a host that is buried first
    PowerState.PAUSED: Verb.UNPAUSE,
    PowerState.SUSPENDED: Verb.RESUME,
}

OWN = {
    Verb.START: frozenset({"start", "start_on"}),
    Verb.RESUME: frozenset({"resume", "resume_on"}),
    Verb.UNPAUSE: frozenset({"unpause"}),
}
"""Operations under way that reach the goal of a verb by themselves: whoever performs it waits for them."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A VM to start with all that its start rests on."""

    vm: Vm
    wish: VmWish
    verb: Verb
    rests_on: tuple[str, ...]
    follows: tuple[str, ...]
    home: Ref | None
    only: Ref | None = None
    """The host on which it may run already: it may be started nowhere else."""


def plan_starts(
    wanted: Wanted,
    selection: Selection,
    stands: Stands,
    state: PoolState,
    *,
    in_doubt: Sequence[Doubt],
    proved: Mapping[Ref, tuple[str, ...]],
    starts: Sequence[Vm],
    room: Room,
    draft: Draft,
    ties: Mapping[str, Tie] = MappingProxyType({}),
) -> None:
    """Add a start, resume or unpause for each VM of `starts`, or the one reason why not and what to do about it.
    `ties`: by VM uuid, the one host on which it may be started, for it may run there already."""
    affinities = {a.target.uuid: a for a in draft.actions if a.verb is Verb.SET_AFFINITY}
    candidates = []
    for vm in starts:
        wish = selection.wishes[vm.ref]
        candidate = _allowed(wanted, vm, wish, stands, state, in_doubt=in_doubt, proved=proved, draft=draft)
        if candidate is not None:
            candidate = _tied(wanted, candidate, ties.get(vm.uuid), proved, draft)
        if candidate is None:
            continue
        moved = affinities.get(vm.uuid)
        declared = stands.by_member.get(wish.home or "")
        home = declared.host.ref if declared else vm.affinity
        if moved is not None:
            candidate = replace(candidate, follows=(*candidate.follows, moved.id))
        candidates.append(replace(candidate, home=home))
    _place(candidates, starts, selection, stands, state, room, draft)


def _allowed(
    wanted: Wanted,
    vm: Vm,
    wish: VmWish,
    stands: Stands,
    state: PoolState,
    *,
    in_doubt: Sequence[Doubt],
    proved: Mapping[Ref, tuple[str, ...]],
    draft: Draft,
) -> _Candidate | None:
    thing = Thing("vm", vm.name, vm.uuid)
    place = str(wish.place or "")
    one = stands.by_ref.get(vm.resident_on or "")
    verb = _VERBS[vm.power_state]
    rests: list[str] = []
    follows: list[str] = []
    on_dead_host = one is not None and not one.answers and vm.power_state in (PowerState.RUNNING, PowerState.PAUSED)
    if not on_dead_host and not OWN[verb].issuperset(vm.current_operations):
        draft.unmet.append(busy(vm, wish))
        return None
    action = Action(verb, thing, "the manifest declares it running", before=_before(vm, one), after="Running")
    if one is not None and on_dead_host:
        verb = Verb.START
        action = replace(action, verb=verb)
        if one.host.ref not in proved:
            why, remedy = _held_by(wanted, one, draft)
            draft.hold(action, why, remedy)
            return None
        rests.append(one.thing.name)
        follows.extend(proved[one.host.ref])
    elif vm.power_state is PowerState.RUNNING and one is None:
        draft.unmet.append(
            Unmet(
                thing,
                "state running",
                "it is recorded as running on a host that the pool does not know",
                f"make sure that it runs nowhere, then: xe vm-reset-powerstate uuid={vm.uuid} --force",
                place,
            )
        )
        return None
    for operation in ("start", "start_on") if verb is Verb.START else ("resume", "resume_on"):
        if text := vm.blocked_operations.get(operation):
            draft.unmet.append(
                Unmet(
                    thing,
                    "state running",
                    f"{operation} is blocked: {text}",
                    f"xe vm-param-remove uuid={vm.uuid} param-name=blocked-operations param-key={operation}",
                    place,
                )
            )
            return None
    if verb is Verb.UNPAUSE:
        return _Candidate(vm, wish, verb, (), (), vm.resident_on)
    open_doubts = [d for d in in_doubt if d.stand.standing is not Standing.DEAD]
    unproved = [d for d in open_doubts if d.stand.host.ref not in proved]
    if unproved:
        others = [d.stand.thing.name for d in unproved[1:]]
        also = f"; also in doubt: {names(others)}" if others else ""
        draft.hold(action, unproved[0].why + also, unproved[0].remedy)
        return None
    for doubt in open_doubts:
        rests.append(doubt.stand.thing.name)
        follows.extend(i for i in proved[doubt.stand.host.ref] if i not in follows)
    for other in stands.by_ref.values():
        if other.standing is Standing.DEAD and not other.host.enabled and other.thing.name not in rests:
            rests.append(other.thing.name)
    return _Candidate(vm, wish, verb, tuple(dict.fromkeys(rests)), tuple(dict.fromkeys(follows)), None)


def _tied(
    wanted: Wanted, one: _Candidate, tie: Tie | None, proved: Mapping[Ref, tuple[str, ...]], draft: Draft
) -> _Candidate | None:
    """A start that was cut off before is tried on the same host only, where a second domain is refused (recording 22),
    unless that host is proved dead."""
    if tie is None or one.verb is Verb.UNPAUSE:
        return one
    host = tie.stand.host.ref
    if host in proved:
        rests, follows = (*one.rests_on, tie.stand.thing.name), (*one.follows, *proved[host])
        return replace(one, rests_on=tuple(dict.fromkeys(rests)), follows=tuple(dict.fromkeys(follows)))
    if tie.stand.standing is Standing.READY:
        return replace(one, only=host)
    action = Action(
        one.verb, Thing("vm", one.vm.name, one.vm.uuid), "the manifest declares it running", after="Running"
    )
    if tie.stand.answers:
        draft.hold(action, tie.why, tie.remedy)
    else:
        draft.hold(action, tie.why, _held_by(wanted, tie.stand, draft)[1])
    return None


def busy(vm: Vm, wish: VmWish) -> Unmet:
    """A wish that waits for an operation which somebody else began: the pool is not as declared until it is over."""
    return Unmet(
        Thing("vm", vm.name, vm.uuid),
        f"state {wish.state}",
        f"it is {vm.power_state} and somebody is at it: {names(vm.current_operations)}",
        "wait for that to end (xe task-list), then plan again",
        str(wish.place or ""),
    )


def _before(vm: Vm, one: Stand | None) -> str:
    if one is None:
        return str(vm.power_state)
    return f"recorded {vm.power_state} on {one.thing.name}"


def _held_by(wanted: Wanted, one: Stand, draft: Draft) -> tuple[str, str]:
    """The reason and remedy of the withheld burial that a start waits for."""
    if one.standing is Standing.SUSPECT:
        return f"it may still be running on {one.thing.name}: {one.why}", toolstack_command(one)
    for held in draft.withheld:
        if held.action.target.uuid == one.host.uuid and held.action.verb in (Verb.DECLARE_DEAD, Verb.FENCE):
            return (
                f"it may still be running on {one.thing.name}: {held.why}",
                held.remedy,
            )
    return f"it may still be running on {one.thing.name}", look_and_attest(wanted, one.thing.name)


def _place(
    candidates: Sequence[_Candidate],
    wanted_up: Sequence[Vm],
    selection: Selection,
    stands: Stands,
    state: PoolState,
    room: Room,
    draft: Draft,
) -> None:
    """Place by priority, then fewest possible hosts, then size; starts follow what they depend on."""
    ready = stands.ready

    def possible(one: _Candidate) -> int:
        needed = {d.sr for d in drives(one.vm, state)}
        return sum(all((h.ref, sr) in state.attached for sr in needed) for h in ready)

    order = sorted(
        candidates,
        key=lambda c: (-c.wish.priority, c.vm.order, possible(c), -c.vm.memory_dynamic_min, c.vm.name, c.vm.uuid),
    )
    made: dict[Ref, Action] = {}
    for one in order:
        action = _placed(one, ready, stands, state, room, draft)
        if action is not None:
            made[one.vm.ref] = action
    failed = {vm.ref for vm in wanted_up} - set(made)
    order_starts(made, failed, selection, stands, state, draft)


def _placed(
    one: _Candidate, ready: Sequence[Host], stands: Stands, state: PoolState, room: Room, draft: Draft
) -> Action | None:
    vm, wish = one.vm, one.wish
    thing = Thing("vm", vm.name, vm.uuid)
    if one.verb is Verb.UNPAUSE:
        where = stands.by_ref[vm.resident_on or ""].thing
        return Action(
            one.verb, thing, "the manifest declares it running", "Paused", f"Running on {where.name}", to=where
        )
    begun = stands.by_ref.get(vm.scheduled_on or "") if vm.current_operations else None
    if begun is not None and begun.host in ready:  # the room that it takes there is counted already
        return Action(
            one.verb,
            thing,
            f"the manifest declares it running; it is being started on {begun.thing.name}, which is waited for",
            before=_before(vm, None),
            after=f"Running on {begun.thing.name}",
            to=begun.thing,
            certificate_of=one.rests_on,
            follows=one.follows,
        )
    hosts = [h for h in ready if one.only in (None, h.ref)]
    choice = choose(vm, hosts, room, wish.placement, one.home)
    if choice.host is None:
        draft.unmet.append(_no_host(vm, wish, thing, choice.obstacles, stands, state))
        return None
    waits = room.waits_for(vm, choice.host.ref)
    room.take(vm, choice.host.ref, wish.placement)
    to = stands.by_ref[choice.host.ref].thing
    home = stands.by_ref.get(one.home or "")
    why = (
        f"the manifest declares it running; {to.name} is {choice.why}"
        if choice.why == "its home"
        else (f"the manifest declares it running; {to.name}: {choice.why}")
    )
    if home is not None and home.host.ref != choice.host.ref and not home.answers:
        why += f"; its home {home.thing.name} is down"
    return Action(
        one.verb,
        thing,
        why,
        before=_before(vm, stands.by_ref.get(vm.resident_on or "")),
        after=f"Running on {to.name}",
        to=to,
        certificate_of=one.rests_on,
        follows=tuple(dict.fromkeys((*one.follows, *waits))),
    )


def _no_host(
    vm: Vm,
    wish: VmWish,
    thing: Thing,
    obstacles: Sequence[tuple[str, str]],
    stands: Stands,
    state: PoolState,
) -> Unmet:
    place = str(wish.place or "")
    for drive in drives(vm, state):
        sr = state.srs.get(drive.sr or "")
        if sr is None:
            what = "disk" if not drive.is_cd else "CD"
            return Unmet(
                thing, "state running", f"the storage of its {what} {drive.what} is gone", "xe vm-disk-list", place
            )
        lost = unreachable_words(sr, stands, state)
        if lost and drive.is_cd:
            return Unmet(
                thing,
                "state running",
                f"the CD {drive.what} is in its drive, and {lost}",
                f"xe vm-cd-eject uuid={vm.uuid}",
                place,
            )
        if lost:
            return Unmet(
                thing,
                "state running",
                f"its disk {drive.what} is out of reach: {lost}",
                f"repair {names(hosts_of(sr, stands, state)[1])} and power it on; until then nothing can run this VM",
                place,
            )
    reasons = Counter(reason for _, reason in obstacles)
    if not obstacles:
        why = "no host is ready to start VMs"
    elif len(reasons) == 1:
        reason = next(iter(reasons))
        why = f"{obstacles[0][0]} {reason}"
        if len(obstacles) > 1:
            negative = reason.startswith("is not ")
            why = f"no ready host is {reason.removeprefix('is not ')}" if negative else f"every ready host {reason}"
    else:
        why = "; ".join(f"{host} {reason}" for host, reason in obstacles[:4])
        if len(obstacles) > 4:
            why += f"; and {len(obstacles) - 4} more hosts can't either"
    short = "free and" in why
    remedy = (
        "stop something or bring a host back" if short else "bring back a host that can run it, or change its needs"
    )
    return Unmet(thing, "state running", why, remedy, place)
