"""The way home: running VMs are brought to where they belong, as many as can be, and no other VM moves for that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from reconciler.core.place.problem import Answer, Item, Move, Problem
from reconciler.core.place.world import replayed


def homeward(problem: Problem, goals: Mapping[int, int], solve: Callable[[Problem], Answer]) -> tuple[Move, ...]:
    """Moves, in a feasible order, that bring running items to their goals (item -> host), the more important ones
    first where not all have room. Each ends at its goal or is not moved; a group that is to be together goes whole."""
    wanted = dict(goals)
    while wanted:
        items = tuple(_bound(item, wanted.get(index)) for index, item in enumerate(problem.items))
        derived = replace(problem, items=items, reserve=0)
        found = solve(derived)
        after = replayed(derived, found)
        astray = {move.item for move in found.moves if not after.content(move.item)}
        if not astray:
            return found.moves
        torn = {problem.items[index].together for index in astray} - {""}
        wanted = {i: h for i, h in wanted.items() if i not in astray and problem.items[i].together not in torn}
    return ()


def _bound(item: Item, goal: int | None) -> Item:
    """An item with its goal as its one hard wish; what has none stays where it is. It rests only where its own hard
    wishes hold, too."""
    if goal is None:
        return replace(item, movable=False, yields=False, shed=False)
    goals = frozenset({goal}) & item.can & item.may
    return replace(item, can=item.can & item.may, may=goals, movable=True, yields=False, shed=False)
