"""The front door: a problem in, the best answer that is found in bounded work out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reconciler.core.place.ask import Solver, asked
from reconciler.core.place.attribute import attributed
from reconciler.core.place.exact import Exact, ideal, least_moves
from reconciler.core.place.greedy import Greedy
from reconciler.core.place.problem import Answer, Bound, Move, Problem, reach
from reconciler.core.place.rebalance import rebalance
from reconciler.core.place.reserve import Loss, badness, worst_loss
from reconciler.core.place.shed import shed
from reconciler.core.place.world import replayed

SMALL = 20_000
"""Positions of running VMs up to which every one may be looked at."""
_EXACT_HOSTS = 16


@dataclass(frozen=True)
class Solution:
    """The answer; `balance` are the moves for soft wishes, to be made after it; `loss` is what the declared reserve
    does not cover at the end."""

    answer: Answer
    balance: tuple[Move, ...] = ()
    loss: Loss | None = None


def solve(problem: Problem, solver: Solver | None = None) -> Solution:
    """Place what is to start, settle hard wishes by the fewest moves that are found, shed what may be shed for what is
    still down, then bring eager VMs to where they like to be. `solver` is asked where not everything can be looked at
    here."""
    answer = attributed(problem, shed(problem, place(problem, solver)))
    balance = rebalance(problem, answer, _place)
    if not problem.reserve:
        return Solution(answer, balance)
    kept = worst_loss(problem, replayed(problem, answer), problem.reserve)
    balance, loss = _within_reserve(problem, answer, balance, kept)
    return Solution(answer, balance, loss)


def place(problem: Problem, solver: Solver | None = None) -> Answer:
    """Starts and hard wishes. Among answers that are equally good in these, one that keeps the reserve."""
    first = _place(problem, solver)
    if not problem.reserve or not first.starts:
        return first
    loss = worst_loss(problem, replayed(problem, first), problem.reserve)
    if loss is None:
        return first
    best, least = first, badness(problem, loss)
    for tight, tasteful in ((True, True), (True, False)):
        other = _greedy(problem, tight=tight, tasteful=tasteful)
        if reach(problem, other) > reach(problem, first) or len(other.moves) > len(first.moves):
            continue
        left = badness(problem, worst_loss(problem, replayed(problem, other), problem.reserve))
        if left > least:
            best, least = replace(other, proved=first.proved, bound=first.bound), left
    return best


def _place(problem: Problem, solver: Solver | None = None) -> Answer:
    goal, least = ideal(problem), least_moves(problem)
    best: Answer | None = None
    for tight, tasteful in ((False, True), (True, True), (True, False)):
        found = _greedy(problem, tight=tight, tasteful=tasteful)
        if best is None or _worth(problem, found) < _worth(problem, best):
            best = found
        if reach(problem, best) == goal and len(best.moves) <= least:
            return replace(best, proved=True)
    assert best is not None
    if _is_small(problem):
        search = Exact(problem)
        better = search.answer(below=len(best.moves) if reach(problem, best) == goal else None)
        if better is not None or not search.exhausted:
            return better or replace(best, proved=True)
    reached = reach(problem, best) == goal
    best = replace(best, bound=Bound(reached, least if reached else 0))
    return best if solver is None else asked(problem, best, solver)


def _greedy(problem: Problem, *, tight: bool, tasteful: bool) -> Answer:
    """A greedy answer; without room made by moves where one of these would end where it must not run, or alone; and
    without any move where one would still."""
    for forceful in (True, False):
        answer = Greedy(problem, tight=tight, tasteful=tasteful, forceful=forceful).answer()
        last = {move.item: move.target for move in answer.moves}
        after = replayed(problem, replace(answer, starts=()))
        if all(host in problem.items[index].may and not after.left_alone(index) for index, host in last.items()):
            return answer
    still = tuple(i if i.here is None else replace(i, movable=False, yields=False) for i in problem.items)
    return Greedy(replace(problem, items=still), tight=tight, tasteful=tasteful).answer()


def _worth(problem: Problem, answer: Answer) -> tuple[tuple[int, ...], int]:
    return reach(problem, answer), len(answer.moves)


def _is_small(problem: Problem) -> bool:
    """The running VMs that can be moved have few enough positions, together."""
    positions = 1
    for item in problem.items:
        if item.here is not None and item.movable:
            positions *= max(1, len(item.can | {item.here}))
            if positions > SMALL:
                return False
    return len(problem.spots) <= _EXACT_HOSTS


def _within_reserve(
    problem: Problem, answer: Answer, balance: tuple[Move, ...], kept: Loss | None
) -> tuple[tuple[Move, ...], Loss | None]:
    """As many of the moves for soft wishes as leave the reserve no worse than it is without them."""
    least = badness(problem, kept)
    while balance:
        world = replayed(problem, answer)
        for move in balance:
            world.place(move.item, move.target)
        loss = worst_loss(problem, world, problem.reserve)
        if badness(problem, loss) >= least:
            return balance, loss
        balance = _half(balance)
    return (), kept


def _half(moves: tuple[Move, ...]) -> tuple[Move, ...]:
    """The first half of them or less: no VM is left on its way, moved once and not for the last time."""
    cut = len(moves) // 2
    while cut and {m.item for m in moves[:cut]} & {m.item for m in moves[cut:]}:
        cut -= 1
    return moves[:cut]
