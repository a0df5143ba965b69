"""A pool too big to look at every position: somebody else is asked, and believed no further than can be replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from reconciler.core.place.problem import Answer, Bound, Problem, reach
from reconciler.core.place.world import World, replayed

Places = Sequence[int | None]
"""The host of each item at the end, None where it is down."""


@dataclass(frozen=True)
class Proposal:
    """What a solver found. `least` is the reach that no answer is better than, None where that is not proved; `moves`
    are those that every answer of that reach has at least."""

    at: tuple[int | None, ...]
    least: tuple[int, ...] | None = None
    moves: int = 0


Solver = Callable[[Problem, Places], Proposal | None]
"""Given a problem and where the best answer so far puts everything: a better place for everything, and what is proved.
None where it gives up. The same input must give the same proposal."""


def asked(problem: Problem, best: Answer, solver: Solver) -> Answer:
    """The better of the best answer and the one that the solver proposes, with what is proved of it. A proposal that no
    order of moves leads to, by the rules that every answer keeps, is refused."""
    told = solver(problem, tuple(replayed(problem, best).at))
    if told is None:
        return best
    found = sequenced(problem, told.at)
    if found is not None and (reach(problem, found), len(found.moves)) < (reach(problem, best), len(best.moves)):
        best = replace(found, bound=best.bound)
    return _bounded(problem, best, told)


def _bounded(problem: Problem, best: Answer, told: Proposal) -> Answer:
    """The answer with the bound of a proposal, as far as the answer itself does not belie it."""
    if told.least != reach(problem, best) or told.moves > len(best.moves):
        return best
    known = best.bound.moves if best.bound is not None and best.bound.reached else 0
    least = max(known, told.moves)
    return replace(best, bound=Bound(True, least), proved=len(best.moves) <= least)


def sequenced(problem: Problem, at: Places) -> Answer | None:
    """An order of moves, and starts, that brings every item where it is to be; where each waits for the other, one
    takes a rest on a third host. None where there is no such order, or a place is not allowed."""
    world = World(problem)
    if not _allowed(problem, world, at):
        return None
    pending = {i for i in problem.running if at[i] != world.at[i]}
    parked: set[int] = set()
    while pending:
        ready = [i for i in sorted(pending, key=problem.rank) if world.moves_to(i, _there(at, i))]
        for index in ready:
            if world.moves_to(index, _there(at, index)):
                world.move(index, _there(at, index))
                pending.discard(index)
        if not ready and not _park(world, pending - parked, parked):
            return None
    starts = []
    waiting = [i for i in problem.starts if at[i] is not None]
    while waiting:
        ready = [i for i in waiting if world.takes(i, _there(at, i))]
        if not ready:
            return None
        world.start(ready[0], _there(at, ready[0]))
        starts.append((ready[0], _there(at, ready[0])))
        waiting.remove(ready[0])
    unplaced = tuple(i for i in problem.starts if at[i] is None)
    unmet = tuple(i for i in problem.running if not world.content(i))
    return Answer(tuple(world.moves), tuple(starts), (), unplaced, unmet)


def _there(at: Places, index: int) -> int:
    host = at[index]
    assert host is not None
    return host


def _allowed(problem: Problem, world: World, at: Places) -> bool:
    """One place for each item; what runs goes on running, and only what may be moved goes to where it may be."""
    if len(at) != len(problem.items):
        return False
    for index, host in enumerate(at):
        here = problem.items[index].here
        if host == here:
            continue
        if host is None or host not in problem.open_to[index] or (here is not None and index not in world.mobile):
            return False
    return True


def _park(world: World, waiting: set[int], parked: set[int]) -> bool:
    """Move one of those that wait to the emptiest host that takes it meanwhile. Whether there is one."""
    for index in sorted(waiting, key=world.problem.rank):
        hosts = [h for h in sorted(world.problem.items[index].can) if world.moves_to(index, h)]
        if hosts:
            world.move(index, max(hosts, key=lambda h: (world.free[h], -h)))
            parked.add(index)
            return True
    return False
