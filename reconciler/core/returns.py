"""Back from maintenance: enabled again, its VMs brought home, its mark removed (sheet §3.3-§3.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reconciler.core.draft import Draft
from reconciler.core.maintenance import LEAVING, home_of, in_maintenance, tie
from reconciler.core.mark import Mark, mark_of
from reconciler.core.model import Host, PoolState, PowerState, Vm
from reconciler.core.placement import Room, drives, obstacle
from reconciler.core.plan import Action, Thing, Verb
from reconciler.core.select import Selection
from reconciler.core.standing import Stand, Standing, Stands
from reconciler.core.wanted import VmWish, Wanted, WantedState
from reconciler.core.words import utc


def returning(wanted: Wanted, stands: Stands, draft: Draft) -> tuple[Stands, tuple[Stand, ...]]:
    """Enable every host that we disabled and that is declared active again. Gives the hosts as they will be then, and
    those that come back: what is placed on one of them follows its ENABLE_HOST."""
    by_ref = dict(stands.by_ref)
    back = []
    for ref, one in stands.by_ref.items():
        mark = mark_of(one.host.other_config)
        if mark is None or one.member is None or in_maintenance(one):
            continue
        if one.standing not in (Standing.MAINTENANCE, Standing.READY):
            continue
        if mark.roll and mark.roll != wanted.rolling:
            _of_a_roll(one, mark, wanted, draft)
            continue
        if not one.host.enabled:
            draft.actions.append(
                Action(
                    Verb.ENABLE_HOST,
                    one.thing,
                    f"it is declared active; xenrec disabled it for maintenance at {utc(mark.at)}",
                    before="disabled",
                    after="enabled",
                )
            )
            host = replace(one.host, enabled=True)
            by_ref[ref] = replace(one, host=host, standing=Standing.READY, why="enabled again")
        back.append(by_ref[ref])
    members = {name: by_ref[one.host.ref] for name, one in stands.by_member.items()}
    return Stands(by_ref, members, stands.missing), tuple(back)


def _of_a_roll(one: Stand, mark: Mark, wanted: Wanted, draft: Draft) -> None:
    if one.host.enabled:
        return
    action = Action(Verb.ENABLE_HOST, one.thing, "it is declared active", before="disabled", after="enabled")
    draft.hold(
        action,
        f"{one.thing.name} is in the rolling maintenance {mark.roll}, since {utc(mark.at)}",
        f"go on with it, or end it with --abandon: xenrec roll {wanted.argument} --resume",
    )


def plan_returns(
    selection: Selection, stands: Stands, state: PoolState, room: Room, back: Sequence[Stand], draft: Draft
) -> None:
    """Bring the VMs whose home came back there again, and end its maintenance after the last of them.

    The hosts were empty, so whatever fits goes in any order; what does not fit stays where it runs, and is told.
    """
    for one in back:
        enable = tuple(a.id for a in draft.actions if a.verb is Verb.ENABLE_HOST and a.target == one.thing)
        moves = []
        for ref, wish in selection.wishes.items():
            vm = state.vms[ref]
            source = stands.by_ref.get(vm.resident_on or "")
            if wish.state is not WantedState.RUNNING or vm.power_state is not PowerState.RUNNING or source is None:
                continue
            if home_of(vm, wish, stands) != one.host.ref or source.host.ref == one.host.ref or not source.answers:
                continue
            thing = Thing("vm", vm.name, vm.uuid)
            tied = tie(vm, wish, source)
            why = tied.why if tied else obstacle(vm, one.host, room, wish.placement)
            if why:
                told = why if tied else f"{one.thing.name} {why}"
                _replace_kept(draft, thing, f"runs on {source.thing.name} and can't be brought home: {told}")
                continue
            if any(a.target == thing and a.verb in LEAVING for a in draft.actions):
                continue
            room.take(vm, one.host.ref, wish.placement)
            _replace_kept(draft, thing, "")
            moves.append(
                Action(
                    Verb.MIGRATE,
                    thing,
                    f"{one.thing.name} is back from maintenance, and is its home",
                    before=f"Running on {source.thing.name}",
                    after=f"Running on {one.thing.name}",
                    to=one.thing,
                    source=source.thing,
                    follows=enable,
                )
            )
        draft.actions.extend(moves)
        draft.actions.append(
            Action(
                Verb.END_MAINTENANCE,
                one.thing,
                "its VMs are home; xenrec's mark is removed, so that it is a host like any other again",
                before="marked as in maintenance",
                after="not marked",
                follows=(*enable, *(m.id for m in moves)),
            )
        )


def wait_for_enabling(draft: Draft) -> None:
    """Whatever runs or moves a VM on a host that this plan enables follows that."""
    enables = {a.target.uuid: a.id for a in draft.actions if a.verb is Verb.ENABLE_HOST}
    arriving = (Verb.START, Verb.RESUME, Verb.UNPAUSE, Verb.MIGRATE)
    for number, action in enumerate(draft.actions):
        if action.verb in arriving and action.to is not None and (first := enables.get(action.to.uuid)):
            draft.actions[number] = replace(action, follows=tuple(dict.fromkeys((*action.follows, first))))


def _replace_kept(draft: Draft, thing: Thing, why: str) -> None:
    """What was said of an object that is left alone is said anew, or not at all."""
    draft.kept[:] = [k for k in draft.kept if k.target != thing]
    if why:
        draft.keep(thing, why)


def stopped_for(vm: Vm, wish: VmWish, stands: Stands, state: PoolState) -> Stand | None:
    """The host in maintenance for which a VM may stay stopped: the only one that its disks can be reached from, and not
    one that is enabled again in this plan."""
    if not wish.placement.stop_for_maintenance or vm.power_state is not PowerState.HALTED:
        return None
    for one in stands.by_ref.values():
        if one.standing is Standing.MAINTENANCE and _only_there(vm, one.host, stands, state):
            return one
    return None


def _only_there(vm: Vm, host: Host, stands: Stands, state: PoolState) -> bool:
    needed = [d.sr for d in drives(vm, state) if not d.is_cd]
    if not all(sr is not None and host.ref in state.sr_hosts.get(sr, frozenset()) for sr in needed):
        return False
    return not any(all((h.ref, sr) in state.attached for sr in needed) for h in stands.ready)
