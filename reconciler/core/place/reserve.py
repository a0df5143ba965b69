"""What the loss of some hosts would leave down, without any move: the room that `reserve` asks to keep."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, islice

from reconciler.core.place.problem import Problem
from reconciler.core.place.world import World

MOST_SETS = 256
"""Sets of hosts that are looked at, those of the most heavily used hosts first; single hosts are all looked at."""


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of hosts that would leave VMs down: indexes of both, the most important VM first."""

    hosts: tuple[int, ...]
    down: tuple[int, ...]


def worst_loss(problem: Problem, world: World, hosts: int) -> Loss | None:
    """The loss of so many hosts that would leave the most important VMs down, and of such the most; None where every
    such loss would be absorbed, by priority, in the room that is left on the others."""
    used = [0] * len(problem.spots)
    homes: list[list[int]] = [[] for _ in problem.spots]
    for index, at in enumerate(world.at):
        if at is not None and problem.items[index].restart:
            used[at] += problem.items[index].need
            homes[at].append(index)
    ranked = sorted((h for h in range(len(used)) if homes[h]), key=lambda h: (-used[h], h))
    if not ranked or hosts <= 0:
        return None
    sets = combinations(ranked, min(hosts, len(ranked)))
    found = [
        loss
        for lost in islice(sets, max(MOST_SETS, len(ranked)))
        if (loss := Loss(tuple(sorted(lost)), _down(problem, world, lost, homes))).down
    ]
    return min(found, key=lambda loss: (badness(problem, loss), loss.hosts), default=None)


def badness(problem: Problem, loss: Loss | None) -> tuple[int, ...]:
    """How bad a loss is, the least is the worst: minus the VMs that would stay down, by priority from the highest."""
    down = loss.down if loss else ()
    return tuple(-sum(problem.items[i].priority == p for i in down) for p in problem.priorities)


def _down(problem: Problem, world: World, lost: Sequence[int], homes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """VMs of these hosts that would find no room on the others."""
    order = sorted((free, -host) for host, free in enumerate(world.free) if host not in lost)
    apart: dict[str, set[int]] = {}
    used: Counter[tuple[int, str]] = Counter()
    down = []
    for index in sorted((i for h in lost for i in homes[h]), key=problem.rank):
        item = problem.items[index]
        group = f"apart:{item.apart}" if item.apart else ""
        if group and group not in apart:
            apart[group] = set(world.crowd[group]) - set(lost)
        open_to = problem.open_to[index]
        place = len(order) - 1
        least = bisect_left(order, (item.need, -len(world.free)))
        while place >= least:
            free, minus = order[place]
            there = world.stock[-minus]
            stocked = all(there.get(w, n + used[-minus, w]) - used[-minus, w] >= n for w, n in item.takes)
            if -minus in open_to and stocked and not (group and -minus in apart[group]):
                break
            place -= 1
        if place < least:
            down.append(index)
            continue
        for what, number in item.takes:
            used[-minus, what] += number
        order.pop(place)
        insort(order, (free - item.need, minus))
        if group:
            apart[group].add(-minus)
    return tuple(down)
