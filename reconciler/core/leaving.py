"""Where the VMs of a host go that is to be empty: all of them, by the fewest moves, or which of them can't. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.core.carry import Carrier, choice_words
from reconciler.core.place.attribute import attributed
from reconciler.core.place.problem import Answer, Cause, Move
from reconciler.core.place.solve import place
from reconciler.core.placement import need, obstacle
from reconciler.core.placing import Framed, Leaver, frame_leaving
from reconciler.core.site import Site
from reconciler.core.standing import Stand
from reconciler.core.words import names


@dataclass(frozen=True)
class Way:
    """How a host is emptied: `stopped` are shut down, the answer moves the others. `stuck` find no place, whatever
    moves; then nobody leaves."""

    framed: Framed
    answer: Answer
    stopped: tuple[Leaver, ...] = ()
    stuck: tuple[Leaver, ...] = ()


def way_out(site: Site, source: Stand, leavers: Sequence[Leaver]) -> Way:
    """The moves that empty the host, with moves elsewhere only where not all find room without; as few as possible of
    those that may be stopped are, the least important first. The room counts the leavers where they are."""
    site = site.trial()
    going, stopped = list(leavers), list[Leaver]()
    while True:
        framed, answer = _solved(site, source, going)
        left = {framed.vms[i].ref for i in answer.unmet}
        lost = [one for one in going if one.vm.ref in left]
        give_way = _give_way([one for one in lost if one.stoppable])
        if not give_way:
            return Way(framed, answer, tuple(stopped), tuple(lost))
        for one in give_way:
            site.room.vacate(one.vm, source.host.ref, one.wish.placement, "")
            going.remove(one)
            stopped.append(one)


def _solved(site: Site, source: Stand, going: Sequence[Leaver]) -> tuple[Framed, Answer]:
    """The best answer in which nobody else moves if it lets all leave; else the best with moves elsewhere, too."""
    for others in (False, True):
        framed = frame_leaving(site, source.host.ref, going, others=others)
        answer = place(framed.problem, site.solver if others else None)
        if not any(index < len(going) for index in answer.unmet):
            break
    return framed, attributed(framed.problem, answer)


def _give_way(stoppable: Sequence[Leaver]) -> Sequence[Leaver]:
    """Which of those that find no place and may be stopped are. One of a group that is to be together may keep all the
    others of it from leaving, so of such ones the least important, then the biggest, goes first, alone."""
    alone = [one for one in stoppable if not one.wish.placement.together]
    if alone or not stoppable:
        return alone
    return [min(stoppable, key=lambda one: (one.wish.priority, -need(one.vm), one.vm.name, one.vm.uuid))]


def reasons(site: Site, way: Way, one: Leaver, source: Stand) -> tuple[tuple[str, str], ...]:
    """Why no ready host takes a VM that is stuck, as (host, reason): for itself, else once the others are there."""
    clear = site.room.copy()
    for index, vm in enumerate(way.framed.vms):
        if vm.resident_on == source.host.ref:
            clear.vacate(vm, source.host.ref, way.framed.wishes[index].placement, "")
    after = clear.copy()
    came: dict[str, list[str]] = {}
    for move in way.answer.moves:
        vm, wish = way.framed.vms[move.item], way.framed.wishes[move.item]
        from_host, to = way.framed.hosts[move.source], way.framed.hosts[move.target]
        after.take(vm, to.ref, wish.placement)
        if from_host.ref != source.host.ref:
            after.vacate(vm, from_host.ref, wish.placement, "")
        came.setdefault(to.ref, []).append(vm.name)
    found = []
    for host in site.stands.ready:
        if host.ref == source.host.ref:
            continue
        reason = obstacle(one.vm, host, clear, one.wish.placement)
        if not reason and (then := obstacle(one.vm, host, after, one.wish.placement)):
            there = came.get(host.ref, [])
            reason = f"{then}, once {names(there)} {'is' if len(there) == 1 else 'are'} there"
        found.append((host.name, reason or "could take it, but in no order of moves that was found"))
    return tuple(sorted(found))


class Departure(Carrier):
    """Turns the way out of a host into actions of the draft. `before` has, for each VM that leaves, what its move
    follows, and so do the moves that make room for it."""

    source: Stand

    def all_leave(self, source: Stand) -> None:
        """Add the moves."""
        self.source = source
        self.make_room()
        for index, action in self._last.items():
            self._serve(index, action)

    def _why(self, move: Move) -> str:
        vm, here = self.framed.vms[move.item], self.framed.hosts[move.source]
        host = self.framed.hosts[move.target]
        if here.ref == self.source.host.ref:
            onward = any(m.item == move.item and m.source == move.target for m in self.solution.answer.moves)
            told = "on its way" if onward else choice_words(self.framed, vm, host, self.site.room)
            return f"{self.source.thing.name} goes into maintenance; {self._name(host)}: {told}"
        if move.cause is Cause.ROOM and move.beneficiary is not None:
            other = self.framed.vms[move.beneficiary].name
            return (
                f"it makes room on {self._name(here)} for {other}, for {self.source.thing.name} goes into maintenance; "
                f"{self._name(host)} has room for it"
            )
        return f"{self.source.thing.name} goes into maintenance, and {super()._why(move)}"
