"""Back from maintenance: enabled again, its VMs brought home, its mark removed (sheet §3.3-§3.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from reconciler.core.carry import Carrier
from reconciler.core.draft import Draft
from reconciler.core.maintenance import LEAVING, home_of, tie
from reconciler.core.mark import Mark, mark_of
from reconciler.core.model import Host, PoolState, PowerState, Ref, Vm
from reconciler.core.place.home import homeward
from reconciler.core.place.problem import Answer, Move
from reconciler.core.place.solve import Solution, place
from reconciler.core.placement import barred, drives, lasting_obstacle, obstacle, unreached
from reconciler.core.placing import Framed, frame
from reconciler.core.plan import Action, Thing, Verb
from reconciler.core.site import Site
from reconciler.core.standing import Stand, Standing, Stands
from reconciler.core.wanted import VmWish, Wanted, WantedState
from reconciler.core.words import names, utc


def returning(wanted: Wanted, stands: Stands, draft: Draft) -> tuple[Stands, tuple[Stand, ...]]:
    """Enable every host that we disabled and that is declared active again. Gives the hosts as they will be then, and
    those that come back: what is placed on one of them follows its ENABLE_HOST."""
    by_ref = dict(stands.by_ref)
    back = []
    for ref, one in stands.by_ref.items():
        mark = mark_of(one.host.other_config)
        if mark is None or one.member is None or one.in_maintenance:
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


def plan_returns(site: Site, back: Sequence[Stand]) -> None:
    """Bring the VMs whose home came back there again, in a feasible order, and end its maintenance after the last of
    them. What finds no room there stays where it runs, and is told; nothing else moves for it."""
    if not back:
        return
    stands, room, draft = site.stands, site.room, site.draft
    framed = frame(site)
    away: dict[Ref, list[str]] = {}
    goals = _goals(site, framed, back, away)
    moves = homeward(framed.problem, goals, lambda problem: place(problem, site.solver))
    enables = {a.target.uuid: a.id for a in draft.actions if a.verb is Verb.ENABLE_HOST}
    before = {framed.vms[i].ref: _known(enables, framed.hosts[host]) for i, host in goals.items()}
    empty = room.copy()
    came = Homecoming(framed, Solution(Answer(moves)), site, before).come()
    for index in sorted(set(goals) - {move.item for move in moves}):
        vm, host, placement = framed.vms[index], framed.hosts[goals[index]], framed.wishes[index].placement
        why = obstacle(vm, host, empty, placement)
        if not why:
            then = obstacle(vm, host, room, placement)
            why = f"{then}, with the others home" if then else "takes it in no order of moves that was found"
        _not_home(site, vm, f"{stands.by_ref[host.ref].thing.name} {why}")
        away.setdefault(host.ref, []).append(vm.name)
    for one in back:
        stay = sorted(away.get(one.host.ref, ()))
        home = f"its VMs are home, but for {names(stay)} (--verbose says why)" if stay else "its VMs are home"
        draft.actions.append(
            Action(
                Verb.END_MAINTENANCE,
                one.thing,
                f"{home}; xenrec's mark is removed, so that it is a host like any other again",
                before="marked as in maintenance",
                after="not marked",
                follows=(
                    *_known(enables, one.host),
                    *(a for i, a in came.items() if framed.hosts[goals[i]] == one.host),
                ),
            )
        )


def _known(enables: Mapping[str, str], host: Host) -> tuple[str, ...]:
    return (enables[host.uuid],) if host.uuid in enables else ()


def _goals(site: Site, framed: Framed, back: Sequence[Stand], away: dict[Ref, list[str]]) -> dict[int, int]:
    """Item -> the host that came back and is its home. A VM that can't go there, whatever room there is, is told, and
    its name added to those that stay away from that host."""
    stands, state = site.stands, site.state
    homes = {one.host.ref: one for one in back}
    leaving = {a.target.uuid for a in site.draft.actions if a.verb in LEAVING}
    goals = {}
    for ref, wish in site.selection.wishes.items():
        vm = state.vms[ref]
        source, home = stands.by_ref.get(vm.resident_on or ""), home_of(vm, wish, stands)
        if wish.state is not WantedState.RUNNING or vm.power_state is not PowerState.RUNNING or vm.uuid in leaving:
            continue
        if source is None or home not in homes or source.host.ref == home or not source.answers:
            continue
        one = homes[home]
        tied = tie(vm, wish, source, state)
        never = lasting_obstacle(vm, one.host, state) or unreached(vm, one.host, site.room)
        never = never or barred(one.host, wish.placement)
        index = framed.index.get(ref)
        why = tied.why if tied else f"{one.thing.name} {never}" if never else ""
        if not why and index is None:
            why = f"{source.thing.name} is {source.standing}"
        if why or index is None:
            _not_home(site, vm, why)
            away.setdefault(one.host.ref, []).append(vm.name)
        else:
            goals[index] = framed.hosts.index(one.host)
    return goals


class Homecoming(Carrier):
    """Turns the way home into actions of the draft."""

    def come(self) -> Mapping[int, str]:
        """Add the moves; item -> the id of the one that brings it home."""
        self.make_room()
        return self._last

    def _why(self, move: Move) -> str:
        last = [m for m in self.solution.answer.moves if m.item == move.item][-1]
        if move != last:
            home = self._name(self.framed.hosts[last.target])
            return f"on its way to {home}, its home, which others must leave first"
        return f"{self._name(self.framed.hosts[move.target])} is back from maintenance, and is its home"


def _not_home(site: Site, vm: Vm, why: str) -> None:
    thing, source = Thing("vm", vm.name, vm.uuid), site.stands.by_ref[vm.resident_on or ""]
    site.draft.unkeep(thing)
    site.draft.keep(thing, f"runs on {source.thing.name} and can't be brought home: {why}")


def wait_for_enabling(draft: Draft) -> None:
    """Whatever runs or moves a VM on a host that this plan enables follows that."""
    enables = {a.target.uuid: a.id for a in draft.actions if a.verb is Verb.ENABLE_HOST}
    arriving = (Verb.START, Verb.RESUME, Verb.UNPAUSE, Verb.MIGRATE)
    for number, action in enumerate(draft.actions):
        if action.verb in arriving and action.to is not None and (first := enables.get(action.to.uuid)):
            draft.actions[number] = replace(action, follows=tuple(dict.fromkeys((*action.follows, first))))


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
