"""A good answer in any pool, fast: each VM on the best host that has room, and where none has, room is made by moves.

Work grows about linearly with hosts and VMs: hosts are kept in order of their room, and only as many are looked at as
can be better than the best found.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator

from reconciler.core.place.problem import Answer, Problem
from reconciler.core.place.world import World

_DEPTH = 2
"""Moves that one move may need first."""
_BATCH = 6
"""VMs that are moved off one host for one that comes."""
_LOOKS = 64
"""Hosts at which a VM's room is tried to be made, the nearest to having it first."""
_CHOICES = 24
"""VMs of a host that are tried as the one that goes, the smallest that is big enough first."""


class Greedy:
    """One answer in the making. `tight`: VMs go where they leave least room, so that big ones find some; else where
    most is. `tasteful`: home, prefer and spread count. `forceful`: room is made by moves."""

    def __init__(self, problem: Problem, *, tight: bool = False, tasteful: bool = True, forceful: bool = True) -> None:
        self.problem = problem
        self.forceful = forceful
        self.world = World(problem)
        self.tight, self.tasteful = tight, tasteful
        self.placed: list[tuple[int, int]] = []
        self._order = sorted((free, -host) for host, free in enumerate(self.world.free))
        self._yielding: dict[int, list[tuple[int, int]]] | None = None

    # --- room, in order -------------------------------------------------------------------------------------------

    def _changes(self, change: Callable[[], None], *hosts: int | None) -> None:
        """Do what changes the room of these hosts, and keep the order."""
        touched = {host for host in hosts if host is not None}
        for host in touched:
            del self._order[bisect_left(self._order, (self.world.free[host], -host))]
        change()
        for host in touched:
            insort(self._order, (self.world.free[host], -host))

    def _move(self, index: int, host: int) -> None:
        source = self.world.at[index]
        self._changes(lambda: self.world.move(index, host), source, host)
        self._resident(index, source, host)

    def _undo(self) -> None:
        last = self.world.moves[-1]
        self._changes(self.world.undo, last.source, last.target)
        self._resident(last.item, last.target, last.source)

    def _resident(self, index: int, source: int | None, target: int | None) -> None:
        """Keep the lists of who could go."""
        if self._yielding is None:
            return
        entry = (self.problem.items[index].held, index)
        if source is not None:
            self._yielding[source].remove(entry)
        if target is not None:
            insort(self._yielding[target], entry)

    def _goers(self, host: int) -> list[tuple[int, int]]:
        """(bytes, item) of those that may be moved off a host, the smallest first."""
        if self._yielding is None:
            self._yielding = {h: [] for h in range(len(self.problem.spots))}
            for index in self.world.mobile:
                where = self.world.at[index]
                if where is not None:
                    self._yielding[where].append((self.problem.items[index].held, index))
            for listed in self._yielding.values():
                listed.sort()
        return self._yielding[host]

    # --- one VM ---------------------------------------------------------------------------------------------------

    def _fitting(self, need: int) -> Iterator[int]:
        """Hosts with that much room, the best of this answer's way first; of equal ones the first by name."""
        first = bisect_left(self._order, (need, -len(self.problem.spots)))
        span = range(first, len(self._order)) if self.tight else range(len(self._order) - 1, first - 1, -1)
        for place in span:
            yield -self._order[place][1]

    def _best(self, index: int, fits: Callable[[int, int], bool]) -> int | None:
        """The host that it goes to, None when none has room."""
        item = self.problem.items[index]
        if self.tasteful:
            liked = ([item.home] if item.home is not None else []) + list(item.prefer)
            for host in liked:
                if fits(index, host):
                    return host
            if item.spread:
                there = self.world.crowd[f"spread:{item.spread}"]
                found = [h for h in self._fitting(item.need) if fits(index, h)]
                return min(found, key=lambda h: there.get(h, 0), default=None)
        return next((h for h in self._fitting(item.need) if fits(index, h)), None)

    def _start(self, index: int) -> bool:
        host = self._best(index, self.world.takes)
        if host is None:
            return False
        self._changes(lambda: self.world.start(index, host), host)
        self.placed.append((index, host))
        return True

    def _settle(self, index: int) -> bool:
        """Move one whose hard wishes do not hold to where they do."""
        goals = self._goals(index)
        host = self._best(index, lambda i, h: h in goals and self.world.moves_to(i, h))
        if host is None:
            return False
        self._move(index, host)
        return True

    def _goals(self, index: int) -> frozenset[int]:
        """Hosts on which every hard wish of a running item would hold."""
        item = self.problem.items[index]
        goals = self.problem.open_to[index]
        if item.together:
            goals &= self._meeting(item.together)
        if item.apart:
            there = self.world.crowd[f"apart:{item.apart}"]
            at = self.world.at[index]
            goals -= {h for h, n in there.items() if n > (h == at)}
        return goals

    def _meeting(self, group: str) -> frozenset[int]:
        """Where a group that is in several places comes together: where most can go and the fewest need to."""
        members = [i for i in self.problem.groups[f"together:{group}"] if self.world.at[i] is not None]
        common: frozenset[int] | None = None
        for i in members:
            item, at = self.problem.items[i], self.world.at[i]
            open_to = (item.can & item.may) | ({at} & item.may) if i in self.world.mobile else frozenset({at})
            hosts = frozenset(h for h in open_to if h is not None)
            common = hosts if common is None else common & hosts
        if not common:
            return frozenset()

        def cost(host: int) -> tuple[bool, int, int, int]:
            comers = [self.problem.items[i] for i in members if self.world.at[i] != host]
            short = sum(i.need for i in comers) > self.world.free[host]
            return short, len(comers), -self.world.free[host], host

        return frozenset({min(common, key=cost)})

    # --- making room ----------------------------------------------------------------------------------------------

    def _make_room(self, index: int, host: int, depth: int, spared: frozenset[int]) -> bool:
        """Move VMs off a host until this one fits there; all moves are taken back where that can't be."""
        need = self.problem.items[index].need
        began = len(self.world.moves)
        while self.world.free[host] < need:
            if len(self.world.moves) - began >= _BATCH or not self._one_goes(index, host, need, depth, spared):
                while len(self.world.moves) > began:
                    self._undo()
                return False
        return True

    def _one_goes(self, index: int, host: int, need: int, depth: int, spared: frozenset[int]) -> bool:
        """Move one VM off a host: the smallest that is big enough alone, else the biggest that can go."""
        goers = self._goers(host)
        short = need - self.world.free[host]
        first = bisect_left(goers, (short, -1))
        enough = [i for _, i in goers[first : first + _CHOICES]]
        others = [i for _, i in reversed(goers[max(0, first - _CHOICES) : first])]
        for goer in (*enough, *others):
            if goer in spared or goer == index:
                continue
            goal = self._away(goer, host)
            if goal is not None:
                self._move(goer, goal)
                return True
        if depth <= 1:
            return False
        for goer in enough:
            if goer in spared or goer == index:
                continue
            item = self.problem.items[goer]
            for goal in sorted(item.can - {host}, key=lambda h: (-self.world.free[h], h))[:_LOOKS]:
                if not self.world.passes(goer, goal):
                    continue
                began = len(self.world.moves)
                if self._make_room(goer, goal, depth - 1, spared | {index, goer}):
                    if self.world.at[goer] == host and self.world.moves_to(goer, goal):
                        self._move(goer, goal)
                        return True
                    while len(self.world.moves) > began:
                        self._undo()
        return False

    def _away(self, goer: int, host: int) -> int | None:
        """Where one goes that makes room: where its own wishes hold if it can."""
        if not self.world.content(goer):
            goals = self._goals(goer) - {host}
            found = self._best(goer, lambda i, h: h in goals and self.world.moves_to(i, h))
            if found is not None:
                return found
        elif (
            self.problem.items[goer].together
            and len(self.problem.groups[f"together:{self.problem.items[goer].together}"]) > 1
        ):
            return None  # its group would be torn apart
        return self._best(goer, self.world.moves_to)

    def _force(self, index: int, *, start: bool) -> bool:
        """Make room for it where the least is missing, by as few moves as it takes."""
        goals = self.problem.open_to[index] if start else self._goals(index)
        open_to = [h for h in goals if (self.world.joins(index, h) if start else self.world.passes(index, h))]
        open_to.sort(key=lambda h: (-self.world.free[h], h))
        for depth in range(1, _DEPTH + 1):
            best: tuple[int, int] | None = None
            for host in open_to[:_LOOKS]:
                began = len(self.world.moves)
                if self._make_room(index, host, depth, frozenset()):
                    cost = len(self.world.moves) - began
                    while len(self.world.moves) > began:
                        self._undo()
                    if best is None or cost < best[0]:
                        best = (cost, host)
                    if cost <= 1:
                        break
            if best is None:
                continue
            self._make_room(index, best[1], depth, frozenset())
            return self._start(index) if start else self._settle(index)
        return False

    # --- all of them ----------------------------------------------------------------------------------------------

    def answer(self) -> Answer:
        """Settle what runs in the wrong place, start what is to run, make room for the rest."""
        self._rounds(self._discontent(self.world.mobile), self._still_settle)
        self._follow()
        left = self._rounds(list(self.problem.starts), self._start)
        for _ in range(2 if self.forceful else 0):
            waiting = self._discontent(self.world.mobile)
            self._rounds(waiting, lambda i: self._still_settle(i) or self._force(i, start=False))
            self._follow()
            left = self._rounds(left, lambda i: self._start(i) or self._force(i, start=True))
        left = [i for i in left + self._torn() if not self._start(i)]
        unmet = tuple(i for i in self.problem.running if self.world.at[i] is not None and not self.world.content(i))
        return Answer(tuple(self.world.moves), tuple(self.placed), (), tuple(left), unmet)

    def _discontent(self, among: Iterable[int]) -> list[int]:
        """Those that may be moved and whose hard wishes do not hold now, first who is placed first."""
        return sorted((i for i in among if not self.world.content(i)), key=self.problem.rank)

    def _follow(self) -> None:
        """Let the others of a group go where moves have brought one of them."""
        moved = {self.problem.items[m.item].together for m in self.world.moves} - {""}
        mates = {i for name in moved for i in self.problem.groups[f"together:{name}"]} & self.world.mobile
        self._rounds(self._discontent(mates), self._still_settle)

    def _torn(self) -> list[int]:
        """Take back starts that went where their group ran before moves took it away."""
        torn = []
        for index, host in list(self.placed):
            item = self.problem.items[index]
            if item.together or item.ties:
                self._changes(lambda index=index: self.world.stop(index), host)  # type: ignore[misc]
                if self.world.takes(index, host):
                    self._changes(lambda index=index, host=host: self.world.start(index, host), host)  # type: ignore[misc]
                else:
                    self.placed.remove((index, host))
                    torn.append(index)
        return torn

    def _still_settle(self, index: int) -> bool:
        return self.world.content(index) or self._settle(index)

    def _rounds(self, waiting: list[int], attempt: Callable[[int], bool]) -> list[int]:
        """Try each until none gets on; those that are left."""
        while waiting:
            left = [i for i in waiting if not attempt(i)]
            if len(left) == len(waiting):
                break
            waiting = left
        return waiting
