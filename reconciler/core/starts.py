"""Starting what should run: on which proof, where, and in which order (I1, I8)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from reconciler.core.bury import Doubt
from reconciler.core.draft import look_and_attest, toolstack_command
from reconciler.core.model import Host, PowerState, Ref, Vm
from reconciler.core.order import order_starts
from reconciler.core.placement import drives
from reconciler.core.placing import Candidate
from reconciler.core.plan import Action, Thing, Unmet, Verb
from reconciler.core.site import Site
from reconciler.core.standing import Stand, Standing, Stands
from reconciler.core.unsettled import Tie
from reconciler.core.wanted import VmWish
from reconciler.core.whereabouts import Places
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
    site: Site,
    starts: Sequence[Vm],
    *,
    in_doubt: Sequence[Doubt],
    proved: Mapping[Ref, tuple[str, ...]],
    ties: Mapping[str, Tie] = MappingProxyType({}),
    resting: Collection[str] = (),
    settle: bool = True,
) -> None:
    """Add a start, resume or unpause for each VM of `starts`, or the one reason why not and what to do about it; and
    the moves that wishes, room and balance ask for. `ties`: by VM uuid, the one host on which it may be started, for it
    may run there already. `resting`: uuids of VMs not moved for soft wishes now. Without `settle` nothing that runs is
    looked at but to make room."""
    affinities = {a.target.uuid: a for a in site.draft.actions if a.verb is Verb.SET_AFFINITY}
    candidates = []
    for vm in starts:
        wish = site.selection.wishes[vm.ref]
        candidate = _allowed(site, vm, wish, in_doubt, proved)
        if candidate is not None:
            candidate = _tied(site, candidate, ties.get(vm.uuid), proved)
        if candidate is None:
            continue
        moved = affinities.get(vm.uuid)
        declared = site.stands.by_member.get(wish.home or "")
        home = declared.host.ref if declared else vm.affinity
        if moved is not None:
            candidate = replace(candidate, follows=(*candidate.follows, moved.id))
        candidates.append(replace(candidate, home=home))
    _place(site, candidates, starts, resting, settle)


def _allowed(
    site: Site, vm: Vm, wish: VmWish, in_doubt: Sequence[Doubt], proved: Mapping[Ref, tuple[str, ...]]
) -> _Candidate | None:
    stands, draft = site.stands, site.draft
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
            why, remedy = _held_by(site, one)
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


def _tied(site: Site, one: _Candidate, tie: Tie | None, proved: Mapping[Ref, tuple[str, ...]]) -> _Candidate | None:
    """A start that was cut off before is tried on the same host only, where a second domain is refused (recording 22),
    unless that host is proved dead."""
    if tie is None or one.verb is Verb.UNPAUSE:
        return one
    host = tie.stand.host.ref
    if host in proved:
        rests, follows = (*one.rests_on, tie.stand.thing.name), (*one.follows, *proved[host])
        return replace(one, rests_on=tuple(dict.fromkeys(rests)), follows=tuple(dict.fromkeys(follows)))
    if tie.again and tie.stand.standing is Standing.READY:
        return replace(one, only=host)
    action = Action(
        one.verb, Thing("vm", one.vm.name, one.vm.uuid), "the manifest declares it running", after="Running"
    )
    if tie.stand.answers:
        site.draft.hold(action, tie.why, tie.remedy)
    else:
        site.draft.hold(action, tie.why, _held_by(site, tie.stand)[1])
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


def _held_by(site: Site, one: Stand) -> tuple[str, str]:
    """The reason and remedy of the withheld burial that a start waits for."""
    if one.standing is Standing.SUSPECT:
        return f"it may still be running on {one.thing.name}: {one.why}", toolstack_command(one)
    for held in site.draft.withheld:
        if held.action.target.uuid == one.host.uuid and held.action.verb in (Verb.DECLARE_DEAD, Verb.FENCE):
            return (
                f"it may still be running on {one.thing.name}: {held.why}",
                held.remedy,
            )
    return f"it may still be running on {one.thing.name}", look_and_attest(site.wanted, one.thing.name)


def _place(
    site: Site, candidates: Sequence[_Candidate], starts: Sequence[Vm], resting: Collection[str], settle: bool
) -> None:
    """Place by priority, then fewest possible hosts, then size; starts follow what they depend on."""
    ready, state = site.stands.ready, site.state

    def possible(one: _Candidate) -> int:
        needed = {d.sr for d in drives(one.vm, state)}
        return sum(all((h.ref, sr) in state.attached for sr in needed) for h in ready)

    order = sorted(
        candidates,
        key=lambda c: (-c.wish.priority, c.vm.order, possible(c), -c.vm.memory_dynamic_min, c.vm.name, c.vm.uuid),
    )
    by_ref = {one.vm.ref: one for one in order}
    known = {one.vm.ref: action for one in order if (action := _known(one, ready, site.stands))}
    open_to = [Candidate(one.vm, one.wish, one.home, one.only) for one in order if one.vm.ref not in known]

    def make(vm: Vm, host: Host, why: str, waits: tuple[str, ...]) -> Action:
        return _start(by_ref[vm.ref], site.stands.by_ref[host.ref], why, waits, site.stands)

    before = {one.vm.ref: one.follows for one in order}
    places = Places(site, before, frozenset(resting), settle)
    made = known | places.place(open_to, make)
    failed = {vm.ref for vm in starts} - set(made)
    order_starts(site, {ref: made[ref] for ref in by_ref if ref in made}, failed)
    places.balance()


def _known(one: _Candidate, ready: Sequence[Host], stands: Stands) -> Action | None:
    """The action for a VM whose host is known already: it is paused there, or being started there."""
    vm = one.vm
    thing = Thing("vm", vm.name, vm.uuid)
    if one.verb is Verb.UNPAUSE:
        where = stands.by_ref[vm.resident_on or ""].thing
        return Action(
            one.verb, thing, "the manifest declares it running", "Paused", f"Running on {where.name}", to=where
        )
    begun = stands.by_ref.get(vm.scheduled_on or "") if vm.current_operations else None
    if begun is None or begun.host not in ready:
        return None
    return Action(  # the room that it takes there is counted already
        one.verb,
        thing,
        f"the manifest declares it running; it is being started on {begun.thing.name}, which is waited for",
        before=_before(vm, None),
        after=f"Running on {begun.thing.name}",
        to=begun.thing,
        certificate_of=one.rests_on,
        follows=one.follows,
    )


def _start(one: _Candidate, to: Stand, why: str, waits: tuple[str, ...], stands: Stands) -> Action:
    home = stands.by_ref.get(one.home or "")
    told = f"is {why}" if why == "its home" else f": {why}"
    words = f"the manifest declares it running; {to.thing.name}{' ' if why == 'its home' else ''}{told}"
    if home is not None and home.host.ref != to.host.ref and not home.answers:
        words += f"; its home {home.thing.name} is down"
    return Action(
        one.verb,
        Thing("vm", one.vm.name, one.vm.uuid),
        words,
        before=_before(one.vm, stands.by_ref.get(one.vm.resident_on or "")),
        after=f"Running on {to.thing.name}",
        to=to.thing,
        certificate_of=one.rests_on,
        follows=tuple(dict.fromkeys((*one.follows, *waits))),
    )
