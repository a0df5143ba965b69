"""Placement by brute force: every order of moves and every way to start is tried. For tests; shares no code with the
solver, and states the rules anew."""

from __future__ import annotations

import random
from dataclasses import replace

from reconciler.core.place.problem import Answer, Item, Problem, Spot

Worth = tuple[tuple[int, ...], int]


def wishes_hold(problem: Problem, index: int, at: list[int | None]) -> bool:
    """The hard wishes of an item hold where all items are as given."""
    item, where = problem.items[index], at[index]
    if where is None or where not in item.may:
        return False
    for other, x in enumerate(problem.items):
        if other == index or at[other] is None:
            continue
        if item.together and x.together == item.together and at[other] != where:
            return False
        if item.apart and x.apart == item.apart and at[other] == where:
            return False
    return True


def left_alone(problem: Problem, index: int, at: list[int | None]) -> bool:
    """All others of its `together` group that run are on other hosts."""
    group = problem.items[index].together
    mates = {at[o] for o, x in enumerate(problem.items) if o != index and group and x.together == group} - {None}
    return bool(mates) and at[index] not in mates


def stocked(problem: Problem, index: int, host: int, at: list[int | None]) -> bool:
    """The host has the devices left that an item takes, with all items as given."""
    for what, number in problem.items[index].takes:
        if what not in problem.spots[host].stock:
            continue  # no limit
        left = problem.spots[host].stock[what]
        for other, x in enumerate(problem.items):
            taken = dict(x.takes).get(what, 0)
            left += taken * (x.here == host) - taken * (at[other] == host)
        if left < number:
            return False
    return True


def may_start(problem: Problem, index: int, host: int, at: list[int | None]) -> bool:
    """A start there is right, room apart: its own hosts, where a member of its group is, apart from others, and on its
    internal networks' host."""
    item = problem.items[index]
    if host not in item.can or host not in item.may or not stocked(problem, index, host, at):
        return False
    mates = []
    for other, x in enumerate(problem.items):
        where = at[other]
        if other == index or where is None:
            continue
        if item.together and x.together == item.together:
            mates.append(where)
        if item.apart and x.apart == item.apart and where == host:
            return False
        if set(item.ties) & set(x.ties) and where != host:
            return False
    return not mates or host in mates


def may_move(problem: Problem, index: int, host: int, at: list[int | None], begun: list[bool]) -> bool:
    """A move there breaks no hard wish that holds, room apart."""
    item, where = problem.items[index], at[index]
    if where is None or where == host or not item.movable or host not in item.can:
        return False
    if not stocked(problem, index, host, at):
        return False
    if not (item.yields or not begun[index]):
        return False
    if host not in item.may and where in item.may:
        return False
    return not any(
        item.apart and x.apart == item.apart and at[o] == host for o, x in enumerate(problem.items) if o != index
    )


def _lost(problem: Problem, at: list[int | None]) -> tuple[int, ...]:
    found = []
    for priority in sorted({x.priority for x in problem.items}, reverse=True):
        mine = [i for i, x in enumerate(problem.items) if x.priority == priority]
        found.append(sum(at[i] is None for i in mine if problem.items[i].here is None))
        found.append(sum(not wishes_hold(problem, i, at) for i in mine if problem.items[i].here is not None))
    return tuple(found)


def _best_starts(problem: Problem, at: list[int | None], free: list[int], waiting: list[int]) -> tuple[int, ...]:
    """The least that stays undone by starting some of these, in any order of hosts."""
    if not waiting:
        return _lost(problem, at)
    index, rest = waiting[0], waiting[1:]
    best = None
    for host in range(len(free)):
        if free[host] >= problem.items[index].need and may_start(problem, index, host, at):
            at[index] = host
            free[host] -= problem.items[index].need
            found = _best_starts(problem, at, free, rest)
            free[host] += problem.items[index].need
            at[index] = None
            best = found if best is None else min(best, found)
            if not any(found[::2]):  # none can be better: moves alone decide what runs in the wrong place
                return found
    without = _best_starts(problem, at, free, rest)
    return without if best is None else min(best, without)


def optimum(problem: Problem) -> Worth:
    """What the best plan leaves undone, and the fewest moves of such plans: breadth first over every position."""
    at = [item.here for item in problem.items]
    running = [i for i, where in enumerate(at) if where is not None]
    waiting = [i for i, where in enumerate(at) if where is None]
    begun = [where is not None and wishes_hold(problem, i, at) for i, where in enumerate(at)]
    seen = {tuple(at)}
    layer = [(list(at), [spot.free for spot in problem.spots])]
    least = _floor(problem, at)
    best: Worth | None = None
    depth = 0
    while layer:
        following = []
        for where, free in layer:
            moved = [i for i in running if where[i] != at[i]]
            if all(where[i] in problem.items[i].may and not left_alone(problem, i, where) for i in moved):
                worth = (_best_starts(problem, where, free, waiting), depth)
                best = worth if best is None else min(best, worth)
                if best[0] <= least:
                    return best
            for index in running:
                item, here = problem.items[index], where[index]
                for host in range(len(free)):
                    if free[host] < item.need or not may_move(problem, index, host, where, begun):
                        continue
                    after = [*where[:index], host, *where[index + 1 :]]
                    if tuple(after) in seen:
                        continue
                    seen.add(tuple(after))
                    room = list(free)
                    room[here or 0] += item.held if here == item.here else item.need
                    room[host] -= item.held if host == item.here else item.need
                    following.append((after, room))
        layer, depth = following, depth + 1
    assert best is not None
    return best


def _floor(problem: Problem, at: list[int | None]) -> tuple[int, ...]:
    """No plan leaves less undone: VMs that no host may ever take."""
    found = []
    for priority in sorted({x.priority for x in problem.items}, reverse=True):
        mine = [i for i, x in enumerate(problem.items) if x.priority == priority]
        found.append(sum(not problem.items[i].can & problem.items[i].may for i in mine if at[i] is None))
        stuck = 0
        for i in mine:
            x = problem.items[i]
            if at[i] is not None and at[i] not in x.may:
                stuck += not x.movable or not x.can & x.may
        found.append(stuck)
    return tuple(found)


def broken_rule(problem: Problem, answer: Answer) -> str:
    """The first step of an answer that breaks a rule, or what it says wrongly; "" if it is right."""
    at = [item.here for item in problem.items]
    begun = [where is not None and wishes_hold(problem, i, at) for i, where in enumerate(at)]
    free = [spot.free for spot in problem.spots]
    items = problem.items
    for gone in answer.shed:
        if not items[gone.item].shed or items[gone.item].priority >= items[gone.beneficiary].priority:
            return f"{gone} may not be shed"
        free[at[gone.item] or 0] += items[gone.item].held
        at[gone.item] = None
    for move in answer.moves:
        if at[move.item] != move.source or free[move.target] < items[move.item].need:
            return f"{move} finds no room, or starts elsewhere"
        if not may_move(problem, move.item, move.target, at, begun):
            return f"{move} breaks a wish"
        free[move.source] += items[move.item].held if move.source == items[move.item].here else items[move.item].need
        free[move.target] -= items[move.item].held if move.target == items[move.item].here else items[move.item].need
        at[move.item] = move.target
    if any(at[m.item] not in items[m.item].may for m in answer.moves):
        return "a moved VM ends where it must not run"
    if any(left_alone(problem, m.item, at) for m in answer.moves):
        return "a moved VM ends away from its group"
    for index, host in answer.starts:
        if at[index] is not None or free[host] < items[index].need or not may_start(problem, index, host, at):
            return f"the start of {index} on {host} breaks a rule"
        free[host] -= items[index].need
        at[index] = host
    if sorted(answer.unplaced) != [i for i, x in enumerate(items) if x.here is None and at[i] is None]:
        return "it does not say right what stays down"
    wrong = [
        i for i, x in enumerate(items) if x.here is not None and at[i] is not None and not wishes_hold(problem, i, at)
    ]
    return "" if sorted(answer.unmet) == wrong else "it does not say right which wishes are unmet"


def random_problem(seed: int, *, hosts: int = 4, vms: int = 6, devices: bool = False) -> Problem:
    """A pool of up to so many hosts and VMs, mostly full, with all kinds of wishes; sizes in GiB, a byte for one. With
    `devices` some take GPUs, of which some hosts have none."""
    rng = random.Random(seed)
    n = rng.randint(1, hosts)
    everywhere = frozenset(range(n))
    capacity = [rng.randint(4, 12) for _ in range(n)]
    items: list[Item] = []
    left = list(capacity)
    for number in range(rng.randint(1, vms)):
        size = rng.choice((1, 1, 2, 2, 3, 4, 5))
        homes = [h for h in range(n) if left[h] >= size]
        here = rng.choice(homes) if homes and rng.random() < 0.7 else None
        if here is not None:
            left[here] -= size
        can = everywhere if rng.random() < 0.75 else frozenset(h for h in everywhere if rng.random() < 0.6)
        can |= frozenset() if here is None else {here}
        may = everywhere if rng.random() < 0.6 else frozenset(h for h in everywhere if rng.random() < 0.5)
        group = rng.random()
        items.append(
            Item(
                key=f"uuid-{number}",
                name=f"vm{number}",
                need=size,
                held=size,
                priority=rng.choice((0, 1, 1, 1, 2, 3)),
                here=here,
                can=can,
                may=may or everywhere,
                movable=here is not None and rng.random() < 0.85,
                yields=rng.random() < 0.85,
                eager=rng.random() < 0.3,
                home=rng.choice((None, None, rng.randrange(n))),
                prefer=tuple(rng.sample(range(n), rng.randint(0, n))) if rng.random() < 0.3 else (),
                spread="s" if rng.random() < 0.2 else "",
                together="t" if group < 0.15 else "",
                apart="a" if 0.15 <= group < 0.4 else "",
            )
        )
    for h in range(n):  # what is left is mostly taken by VMs that nobody declared
        if rng.random() < 0.7:
            left[h] -= rng.randint(0, left[h])
    stock: list[dict[str, int]] = [{} for _ in range(n)]
    if devices:
        items = [replace(i, takes=(("gpu", 1),)) if rng.random() < 0.7 else i for i in items]
        stock = [{"gpu": rng.choice((0, 0, 1, 1))} if rng.random() < 0.9 else {} for _ in range(n)]
    spots = tuple(Spot(f"host-{h}", f"xen{h:02}", left[h], stock[h]) for h in range(n))
    return Problem(spots, tuple(items))
