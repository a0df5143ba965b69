"""When nothing fits any more: which VMs of lower priority are shut down so that more important ones can start."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.place.problem import Answer, Problem, Shed
from reconciler.core.place.world import World, replayed


def shed(problem: Problem, answer: Answer) -> Answer:
    """The answer with what shedding starts besides, the most important first; each start sheds as unimportant, as few
    and as small VMs as it takes, all on one host, and none that this answer moves."""
    if problem.lowest_shed is None or not answer.unplaced:
        return answer
    world = replayed(problem, answer)
    moved = {move.item for move in answer.moves}
    offered: dict[int, list[int]] = {}
    for index, at in enumerate(world.at):
        if at is not None and problem.items[index].shed and index not in moved:
            offered.setdefault(at, []).append(index)
    gone: list[Shed] = []
    starts = list(answer.starts)
    left = []
    for index in answer.unplaced:
        choice = _choice(index, world, offered)
        if choice is None:
            left.append(index)
            continue
        chosen, host = choice
        for one in chosen:
            world.stop(one)
            offered[host].remove(one)
            gone.append(Shed(one, index))
        world.start(index, host)
        starts.append((index, host))
    unmet = tuple(i for i in answer.unmet if world.at[i] is not None)
    return replace(answer, shed=tuple(gone), starts=tuple(starts), unplaced=tuple(left), unmet=unmet)


def _choice(index: int, world: World, offered: dict[int, list[int]]) -> tuple[tuple[int, ...], int] | None:
    """Which go, and where it starts; None where no host has enough that may go."""
    items = world.problem.items
    item = items[index]
    best = None
    for host in sorted(world.problem.open_to[index]):
        if not world.joins(index, host):
            continue
        short = item.need - world.free[host]
        lower = [i for i in offered.get(host, ()) if items[i].priority < item.priority]
        chosen = _fewest(world.problem, lower, short)
        if chosen:
            cost = (
                max(items[i].priority for i in chosen),
                len(chosen),
                sum(items[i].held for i in chosen),
                host,
            )
            if best is None or cost < best[0]:
                best = (cost, chosen, host)
    return None if best is None else (best[1], best[2])


def _fewest(problem: Problem, lower: list[int], short: int) -> tuple[int, ...]:
    """Of these, some that hold at least so many bytes together: the lowest priorities first, then few, then small."""
    items = problem.items
    chosen: list[int] = []
    for priority in sorted({items[i].priority for i in lower}):
        level = sorted(
            (i for i in lower if items[i].priority == priority), key=lambda i: (items[i].held, items[i].name, i)
        )
        while level and short > 0:
            enough = next((i for i in level if items[i].held >= short), level[-1])
            level.remove(enough)
            chosen.append(enough)
            short -= items[enough].held
    if short > 0:
        return ()
    for one in list(chosen):  # what came later may have made an earlier one needless
        if short + items[one].held <= 0:
            chosen.remove(one)
            short += items[one].held
    return tuple(chosen)
