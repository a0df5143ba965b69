"""The best answer in a small pool: every way of moving VMs is looked at, the ways with fewer moves first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from reconciler.core.place.problem import NOWHERE, Answer, Move, Problem, reach
from reconciler.core.place.world import World

_Reach = tuple[int, ...]


def ideal(problem: Problem) -> _Reach:
    """What no answer can be better than: only those are lost that no host can ever take, and those for which no device
    is left."""
    world = World(problem)
    unplaced = tuple(i for i in problem.starts if not problem.open_to[i])
    unplaced += _without_device(problem, set(unplaced))
    unmet = tuple(i for i in problem.running if not world.content(i) and not _can_be_settled(i, world))
    return reach(problem, Answer(unplaced=unplaced, unmet=unmet))


def _without_device(problem: Problem, lost: set[int]) -> tuple[int, ...]:
    """Starts for which too few devices are left on all hosts together, whichever of equal priority these are."""
    found = set()
    for what in sorted({what for i in problem.starts for what, _ in problem.items[i].takes}):
        takers = [i for i in problem.starts if i not in lost and what in dict(problem.items[i].takes)]
        hosts = frozenset[int]().union(*(problem.open_to[i] for i in takers))
        if any(what in dict(problem.items[i].takes) and problem.items[i].movable for i in problem.running):
            hosts = frozenset(range(len(problem.spots)))  # what moves away gives back where these can go
        if any(what not in problem.spots[h].stock for h in hosts):
            continue
        left = sum(problem.spots[h].stock[what] for h in hosts)
        for i in sorted(takers, key=lambda i: (-problem.items[i].priority, dict(problem.items[i].takes)[what])):
            left -= dict(problem.items[i].takes)[what]
            if left < 0:
                found.add(i)
    return tuple(sorted(found))


def _can_be_settled(index: int, world: World) -> bool:
    """A running item whose hard wishes do not hold may hold them after some move, of its own or of its groups'."""
    item = world.problem.items[index]
    if item.here not in item.may:
        return index in world.mobile and bool(world.problem.open_to[index])
    return True


def least_moves(problem: Problem) -> int:
    """Moves that every answer of ideal reach has at least."""
    world = World(problem)
    lost = {i for i in world.mobile if problem.items[i].here not in problem.items[i].may}
    lost = {i for i in lost if problem.open_to[i]}
    found = len(lost)
    for kind in ("together:", "apart:"):
        for group, members in problem.groups.items():
            if group.startswith(kind) and not lost & set(members):
                counts = [n for host, n in world.crowd[group].items() if host != NOWHERE]
                found += sum(counts) - (max(counts, default=0) if kind == "together:" else len(counts))
                lost |= set(members)
    return found or int(any(_needs_room(problem, i) for i in problem.starts))


def _needs_room(problem: Problem, index: int) -> bool:
    """It can start on hosts none of which has room for it before something moves."""
    need = problem.items[index].need
    hosts = problem.open_to[index]
    return bool(hosts) and all(problem.spots[h].free < need for h in hosts)


@dataclass
class _Found:
    """The best so far, and what was spent on it."""

    key: tuple[object, ...] | None = None
    state: tuple[int, ...] = ()
    starts: tuple[int | None, ...] = ()
    spent: int = 0


@dataclass
class Exact:
    """A search. `budget` bounds the positions that are looked at, so that the time is bounded by the input alone."""

    problem: Problem
    budget: int = 150_000
    found: _Found = field(default_factory=_Found)

    def __post_init__(self) -> None:
        self.world = World(self.problem)
        self.mobile = tuple(sorted(self.world.mobile))
        self.hosts = {i: tuple(sorted(self.problem.items[i].can)) for i in self.mobile}
        self.grouped = frozenset(
            i for i, item in enumerate(self.problem.items) if item.together or item.apart or item.ties or item.spread
        )
        self.ideal = ideal(self.problem)

    @property
    def exhausted(self) -> bool:
        """The budget ended before every position was looked at."""
        return self.found.spent > self.budget

    def answer(self, below: int | None = None) -> Answer | None:
        """The best answer; with `below`, the best of those with fewer moves and ideal reach. None where there is no
        such answer, or the budget ends first; `proved` is true in what is returned."""
        start = tuple(self.problem.items[i].here or 0 for i in self.mobile)
        parents: dict[tuple[int, ...], tuple[tuple[int, ...], Move] | None] = {start: None}
        layer: list[tuple[tuple[int, ...], tuple[int, ...]]] = [(start, tuple(self.world.free))]
        depth = 0
        while layer and (below is None or depth < below):
            for state, free in layer:
                self._judge(state, free, depth)
                if self.exhausted:
                    return None
            if self.found.key is not None and self.found.key[0] == self.ideal:
                break
            layer = list(self._next(layer, parents))
            depth += 1
        if self.found.key is None or (below is not None and self.found.key[0] != self.ideal):
            return None
        return self._told(parents)

    # --- where running VMs are ------------------------------------------------------------------------------------

    def _next(
        self,
        layer: list[tuple[tuple[int, ...], tuple[int, ...]]],
        parents: dict[tuple[int, ...], tuple[tuple[int, ...], Move] | None],
    ) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Every position that one more move reaches for the first time."""
        items = self.problem.items
        for state, free in layer:
            for place, index in enumerate(self.mobile):
                item, where = items[index], state[place]
                inside = where in item.may
                for host in self.hosts[index]:
                    if host == where or free[host] < item.need or (inside and host not in item.may):
                        continue
                    after = (*state[:place], host, *state[place + 1 :])
                    if after in parents or (item.apart and self._beside(index, host, state)):
                        continue
                    if item.takes and not self._stocked(index, host, state):
                        continue
                    parents[after] = (state, Move(index, where, host))
                    self.found.spent += 1
                    room = list(free)
                    room[where] += item.held if where == item.here else item.need
                    room[host] -= item.held if host == item.here else item.need
                    yield after, tuple(room)

    def _stocked(self, index: int, host: int, state: tuple[int, ...]) -> bool:
        """The host has the devices left that it takes, with everything where it is."""
        there = dict(self.problem.spots[host].stock)
        for i, at in self._pairs(state):
            here = self.problem.items[i].here
            for what, number in self.problem.items[i].takes if (at == host) != (here == host) else ():
                if what in there:
                    there[what] += number if here == host else -number
        return all(there.get(what, number) >= number for what, number in self.problem.items[index].takes)

    def _beside(self, index: int, host: int, state: tuple[int, ...]) -> bool:
        """Another of those that it must be apart from is there, or will be: those that are no items count too."""
        group = f"apart:{self.problem.items[index].apart}"
        if self.problem.others.get(group, {}).get(host):
            return True
        at = dict(zip(self.mobile, state, strict=True))
        others = self.problem.groups[group]
        return any(i != index and at.get(i, self.problem.items[i].here) == host for i in others)

    # --- what a position is worth ---------------------------------------------------------------------------------

    def _judge(self, state: tuple[int, ...], free: tuple[int, ...], depth: int) -> None:
        """Compare the best that can be started in this position with the best so far. Nothing that was moved may end
        where it must not run, nor alone, away from its group."""
        if any(
            at != self.problem.items[i].here and at not in self.problem.items[i].may for i, at in self._pairs(state)
        ):
            return
        self._go(state, free)
        if any(at != self.problem.items[i].here and self.world.left_alone(i) for i, at in self._pairs(state)):
            return
        self.found.spent += 1
        unmet = tuple(i for i in self.problem.running if not self.world.content(i))
        best = self.found.key
        floor = reach(self.problem, Answer(unmet=unmet))
        if best is not None and floor > best[0]:  # type: ignore[operator]
            return
        taste = sum(
            self._taste(i, at) for i, at in zip(self.mobile, state, strict=True) if at != self.problem.items[i].here
        )
        size = sum(
            self.problem.items[i].need
            for i, at in zip(self.mobile, state, strict=True)
            if at != self.problem.items[i].here
        )
        self._pack(0, (), unmet, taste, (depth, size, state))

    def _pairs(self, state: tuple[int, ...]) -> Iterator[tuple[int, int]]:
        return zip(self.mobile, state, strict=True)

    def _go(self, state: tuple[int, ...], free: tuple[int, ...]) -> None:
        """Bring the world there; it has no starts in it at this moment."""
        for index, host in zip(self.mobile, state, strict=True):
            if self.world.at[index] != host:
                self.world.place(index, host)
        self.world.free[:] = free

    def _taste(self, index: int, host: int) -> int:
        missed, preferred = self.problem.items[index].taste(host)
        return 1000 * missed + preferred

    def _pack(
        self,
        number: int,
        placed: tuple[int | None, ...],
        unmet: tuple[int, ...],
        taste: int,
        rest: tuple[int, int, tuple[int, ...]],
    ) -> None:
        """Every way to start what is left from here on; branches that can't be better are cut off."""
        starts = self.problem.starts
        lost = tuple(i for i, host in zip(starts, placed, strict=False) if host is None)
        depth, size, state = rest
        key = (reach(self.problem, Answer(unplaced=lost, unmet=unmet)), depth, taste, size, state)
        if self.found.key is not None and key > self.found.key[: len(key)]:
            return
        if number == len(starts):
            full = (*key, tuple(-1 if h is None else h for h in placed))
            if self.found.key is None or full < self.found.key:
                self.found.key, self.found.state, self.found.starts = full, state, placed
            return
        self.found.spent += 1
        if self.exhausted:
            return
        index = starts[number]
        spread = f"spread:{self.problem.items[index].spread}" if self.problem.items[index].spread else ""
        open_to = [h for h in self.problem.items[index].can if self.world.takes(index, h)]
        open_to.sort(key=lambda h: (self._taste(index, h), -self.world.free[h], h))
        for host in open_to:
            crowd = self.world.crowd[spread].get(host, 0) if spread else 0
            self.world.start(index, host)
            self._pack(number + 1, (*placed, host), unmet, taste + self._taste(index, host) + 10 * crowd, rest)
            self.world.stop(index)
        self._pack(number + 1, (*placed, None), unmet, taste, rest)

    # --- the answer -----------------------------------------------------------------------------------------------

    def _told(self, parents: dict[tuple[int, ...], tuple[tuple[int, ...], Move] | None]) -> Answer:
        moves: list[Move] = []
        state = self.found.state
        while (step := parents[state]) is not None:
            state, move = step
            moves.append(move)
        self._go(self.found.state, tuple(self.world.free))
        unmet = tuple(i for i in self.problem.running if not self.world.content(i))
        pairs = tuple(zip(self.problem.starts, self.found.starts, strict=True))
        return Answer(
            moves=tuple(reversed(moves)),
            starts=tuple((i, h) for i, h in pairs if h is not None),
            unplaced=tuple(i for i, h in pairs if h is None),
            unmet=unmet,
            proved=True,
        )
