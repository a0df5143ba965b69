"""Moves for soft wishes: home, prefer and spread of running VMs, where the policy asks for that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reconciler.core.place.problem import Answer, Cause, Item, Move, Problem
from reconciler.core.place.world import World, replayed


def rebalance(problem: Problem, answer: Answer, solve: Callable[[Problem], Answer]) -> tuple[Move, ...]:
    """The moves that bring VMs that are `eager` home, or to the best host that they prefer: as many VMs as possible,
    and no other VM moves for that. What the answer starts or moves stays where it put it."""
    if not any(item.eager for item in problem.items):
        return ()
    world = replayed(problem, answer)
    fixed = {m.item for m in answer.moves} | {i for i, _ in answer.starts}
    items = tuple(_as_wish(i, item, world, mobile=i not in fixed) for i, item in enumerate(problem.items))
    spots = tuple(
        replace(spot, free=free, stock=stock)
        for spot, free, stock in zip(problem.spots, world.free, world.stock, strict=True)
    )
    derived = Problem(spots, items, others=problem.others)
    found = solve(derived)
    after = replayed(derived, found)
    if any(not after.content(m.item) for m in found.moves):
        return ()
    spread = _spread(derived, after, {m.item for m in found.moves} | fixed)
    return tuple(replace(m, cause=Cause.REBALANCE, beneficiary=None) for m in (*found.moves, *spread))


def _as_wish(index: int, item: Item, world: World, *, mobile: bool) -> Item:
    """A running VM with its soft wish in the place of its hard ones; down VMs stay down."""
    here = world.at[index]
    if here is None:
        return replace(item, can=frozenset(), may=frozenset(), home=None, prefer=(), shed=False)
    held = item.held if here == item.here else item.need
    goals = _goals(item, here) if mobile and item.eager and item.movable and world.content(index) else frozenset()
    if not goals:
        return replace(item, here=here, held=held, movable=False, shed=False)
    return replace(item, here=here, held=held, may=goals, yields=False, shed=False)


def _goals(item: Item, here: int) -> frozenset[int]:
    """The hosts that it likes better than the one where it is."""
    if item.together:
        return frozenset()  # moving one would tear its group apart
    open_to = item.can & item.may
    if item.home is not None and item.home in open_to:
        return frozenset() if here == item.home else frozenset({item.home})
    return frozenset(h for h in open_to & set(item.prefer) if item.taste(h) < item.taste(here))


def _spread(problem: Problem, world: World, fixed: set[int]) -> tuple[Move, ...]:
    """Even out crowded groups: from a host to one with at least two fewer of the group."""
    began = len(world.moves)
    for index in problem.running:
        item, here = problem.items[index], world.at[index]
        if not item.spread or not item.eager or not item.movable or item.together or index in fixed or here is None:
            continue
        there = world.crowd[f"spread:{item.spread}"]
        better = [
            h
            for h in sorted(item.can & item.may)
            if there.get(h, 0) + 1 < there[here]
            and world.free[h] >= item.need
            and world.stocked(index, h)
            and item.taste(h) <= item.taste(here)
            and not (item.apart and h in world.crowd[f"apart:{item.apart}"])
        ]
        if better:
            goal = min(better, key=lambda h: (there.get(h, 0), -world.free[h], h))
            world.move(index, goal)
    return tuple(world.moves[began:])
