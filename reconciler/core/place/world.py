"""Where every item is while an answer is made: room and groups, step by step."""

from __future__ import annotations

from reconciler.core.place.problem import NOWHERE, Answer, Move, Problem, groups_of


class World:
    """`at` is the host of each item, None while it is down. Every change keeps `free` and the groups' counts."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.free = [spot.free for spot in problem.spots]
        self.stock = [dict(spot.stock) for spot in problem.spots]
        self.at: list[int | None] = [item.here for item in problem.items]
        self.names = [groups_of(item) for item in problem.items]
        self.crowd: dict[str, dict[int, int]] = {group: {} for group in problem.groups}
        for group, counts in problem.others.items():
            self.crowd.setdefault(group, {}).update(counts)
        for index, where in enumerate(self.at):
            if where is not None:
                self._count(index, where, 1)
        self.moves: list[Move] = []
        self.mobile = frozenset(i for i in problem.running if problem.items[i].movable and self._mobile(i))
        """Running items that may be moved: those that yield, and those whose own hard wishes do not hold."""

    def _mobile(self, index: int) -> bool:
        return self.problem.items[index].yields or not self.content(index)

    def _count(self, index: int, host: int, by: int) -> None:
        for group in self.names[index]:
            there = self.crowd[group]
            there[host] = there.get(host, 0) + by
            if not there[host]:
                del there[host]

    def stocked(self, index: int, host: int) -> bool:
        """The host has the devices left that it takes."""
        there = self.stock[host]
        return all(there.get(what, number) >= number for what, number in self.problem.items[index].takes)

    def _use(self, index: int, host: int, sign: int) -> None:
        for what, number in self.problem.items[index].takes:
            if what in self.stock[host]:
                self.stock[host][what] += sign * number

    def joins(self, index: int, host: int) -> bool:
        """Its devices are left there, and the groups let it start on the host: apart from its like, where its group and
        its internal networks are."""
        if not self.stocked(index, host):
            return False
        for group in self.names[index]:
            there = self.crowd[group]
            if group.startswith("apart:"):
                if host in there:
                    return False
            elif there and host not in there and not group.startswith("spread:"):
                return False
        return True

    def takes(self, index: int, host: int) -> bool:
        """The host can take it now, for a start."""
        item = self.problem.items[index]
        return host in item.can and host in item.may and self.free[host] >= item.need and self.joins(index, host)

    def passes(self, index: int, host: int) -> bool:
        """Its move there is allowed by every hard wish that holds now: a VM that is outside of what it may use can go
        through another such host, and never beside one that it must be apart from."""
        item, where = self.problem.items[index], self.at[index]
        if where is None or host == where or index not in self.mobile or host not in item.can:
            return False
        if (host not in item.may and where in item.may) or not self.stocked(index, host):
            return False
        return not (item.apart and host in self.crowd[f"apart:{item.apart}"])

    def moves_to(self, index: int, host: int) -> bool:
        """Its move there is allowed, and there is room for it while the source still holds it."""
        return self.passes(index, host) and self.free[host] >= self.problem.items[index].need

    def start(self, index: int, host: int) -> None:
        """Start it there."""
        self.at[index] = host
        self.free[host] -= self.problem.items[index].need
        self._use(index, host, -1)
        self._count(index, host, 1)

    def stop(self, index: int) -> None:
        """Take it from where it is: the opposite of `start`, and a running item shut down."""
        where = self.at[index]
        assert where is not None
        self.at[index] = None
        self.free[where] += self._weight(index, where)
        self._use(index, where, 1)
        self._count(index, where, -1)

    def move(self, index: int, host: int) -> None:
        """Move a running item."""
        where = self.at[index]
        assert where is not None
        self._shift(index, where, host)
        self.moves.append(Move(index, where, host))

    def place(self, index: int, host: int) -> None:
        """Have a running item there, whatever lies between."""
        where = self.at[index]
        assert where is not None
        self._shift(index, where, host)

    def undo(self) -> None:
        """Take the last move back."""
        last = self.moves.pop()
        self._shift(last.item, last.target, last.source)

    def _weight(self, index: int, where: int) -> int:
        """What it takes there: what it holds where it ran from the beginning, else as much as is reserved for it."""
        item = self.problem.items[index]
        return item.held if where == item.here else item.need

    def _shift(self, index: int, source: int, target: int) -> None:
        self.free[source] += self._weight(index, source)
        self.free[target] -= self._weight(index, target)
        self._use(index, source, 1)
        self._use(index, target, -1)
        self._count(index, source, -1)
        self._count(index, target, 1)
        self.at[index] = target

    def content(self, index: int) -> bool:
        """Every hard wish of a running item holds where it is."""
        item, where = self.problem.items[index], self.at[index]
        if where is None or where not in item.may:
            return False
        if item.together and any(host not in (where, NOWHERE) for host in self.crowd[f"together:{item.together}"]):
            return False
        return not (item.apart and self.crowd[f"apart:{item.apart}"].get(where, 0) > 1)

    def left_alone(self, index: int) -> bool:
        """All others of the group that a running item is to stay with are on other hosts."""
        there = self.crowd.get(f"together:{self.problem.items[index].together}", {})
        where = self.at[index]
        return where is not None and there.get(where) == 1 and any(h not in (where, NOWHERE) for h in there)


def replayed(problem: Problem, answer: Answer) -> World:
    """The world after an answer."""
    world = World(problem)
    for gone in answer.shed:
        world.stop(gone.item)
    for move in answer.moves:
        world.move(move.item, move.target)
    for index, host in answer.starts:
        world.start(index, host)
    return world
