"""What is asked of the solver, and what an answer is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Spot:
    """A host that answers; `key` is its uuid. `free` is what it has left now, in bytes, with everything counted that is
    on it or on its way to it, declared or not; negative where it is overcommitted."""

    key: str
    name: str
    free: int
    stock: Mapping[str, int] = field(default_factory=dict)
    """Devices that are left: of what is not named there is no limit."""


@dataclass(frozen=True, slots=True)
class Item:
    """A VM that is to be started (`here` None), or that runs on the host of that index; `key` is its uuid, `order` is
    XAPI's.

    `need` bytes must be free on the host that takes it, `held` bytes are free again where it left. `can` are the hosts
    on which XAPI lets it run, memory apart; `may` the hosts that its hard wishes (require, avoid) leave. `movable`: it
    can be moved live, which is done for its own hard wishes; where it `yields`, also to make room for another; where
    it is `eager`, also for its own soft wishes. `shed`: it may be shut down so that a VM of a higher priority can
    start.
    """

    key: str
    name: str
    need: int
    held: int = 0
    priority: int = 1
    order: int = 0
    here: int | None = None
    can: frozenset[int] = frozenset()
    may: frozenset[int] = frozenset()
    movable: bool = False
    yields: bool = False
    eager: bool = False
    shed: bool = False
    home: int | None = None
    prefer: tuple[int, ...] = ()
    spread: str = ""
    together: str = ""
    apart: str = ""
    ties: tuple[str, ...] = ()
    """Internal networks: XAPI starts a VM only where the others on such a network run (sheet §5.3)."""
    takes: tuple[tuple[str, int], ...] = ()
    """Devices that it takes of its host's stock, and how many."""
    restart: bool = True
    """It would be started again if its host were lost: what `reserve` must find room for."""

    def taste(self, host: int) -> tuple[bool, int]:
        """How well a host fits its soft wishes, best lowest: home, then the place in `prefer`."""
        missed = self.home is not None and self.home != host
        return missed, self.prefer.index(host) if host in self.prefer else len(self.prefer)


NOWHERE = -1
"""The host of VMs that run where nothing can be placed: none starts beside them, and none is moved for them."""


class Cause(StrEnum):
    """Why a running VM is moved."""

    WISH = "wish"  # its own hard wish
    ROOM = "room"  # another VM needs the room
    REBALANCE = "rebalance"  # its own soft wish, and the policy asks for that


@dataclass(frozen=True, slots=True)
class Move:
    """A live migration, by the indexes of its VM and hosts. `beneficiary` is the VM that room is made for."""

    item: int
    source: int
    target: int
    cause: Cause = Cause.WISH
    beneficiary: int | None = None


@dataclass(frozen=True, slots=True)
class Shed:
    """A VM that is shut down so that `beneficiary` can start."""

    item: int
    beneficiary: int


@dataclass(frozen=True)
class Problem:
    """Hosts and VMs in an order that follows from their names and uuids alone (see `of`)."""

    spots: tuple[Spot, ...]
    items: tuple[Item, ...]
    reserve: int = 0
    """Hosts whose loss the others should be able to absorb."""
    others: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    """Group -> how many of it that are no items are on which host."""

    @cached_property
    def groups(self) -> Mapping[str, tuple[int, ...]]:
        """The items of each group, by its kind and name."""
        found: dict[str, list[int]] = {}
        for index, item in enumerate(self.items):
            for group in groups_of(item):
                found.setdefault(group, []).append(index)
        return {group: tuple(members) for group, members in found.items()}

    @cached_property
    def open_to(self) -> tuple[frozenset[int], ...]:
        """For each item the hosts that can take it and that its hard wishes leave, memory and groups apart."""
        known: dict[tuple[int, int], frozenset[int]] = {}  # most VMs share the same few sets
        for item in self.items:
            pair = id(item.can), id(item.may)
            if pair not in known:
                known[pair] = item.can & item.may
        return tuple(known[id(item.can), id(item.may)] for item in self.items)

    def rank(self, index: int) -> tuple[int, int, int, int, str, str]:
        """Who is placed first: by priority, XAPI's order, who has the fewest hosts, the biggest; names break ties."""
        item = self.items[index]
        return (-item.priority, item.order, len(self.open_to[index]), -item.need, item.name, item.key)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Items to be started, first who is placed first."""
        return tuple(sorted((i for i, x in enumerate(self.items) if x.here is None), key=self.rank))

    @cached_property
    def running(self) -> tuple[int, ...]:
        """Items that run, in their order."""
        return tuple(i for i, x in enumerate(self.items) if x.here is not None)

    @cached_property
    def priorities(self) -> tuple[int, ...]:
        """Every priority, the highest first."""
        return tuple(sorted({item.priority for item in self.items}, reverse=True))

    @cached_property
    def lowest_shed(self) -> int | None:
        """The lowest priority of those that may be shut down; None where none may."""
        return min((item.priority for item in self.items if item.shed), default=None)


def groups_of(item: Item) -> tuple[str, ...]:
    """The names under which its groups are counted."""
    found = []
    if item.spread:
        found.append(f"spread:{item.spread}")
    if item.together:
        found.append(f"together:{item.together}")
    if item.apart:
        found.append(f"apart:{item.apart}")
    for tie in item.ties:
        found.append(f"tie:{tie}")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Bound:
    """What is known of an answer where not every position was looked at. `reached`: no answer reaches more wishes; then
    every answer that reaches as many has at least so many `moves`."""

    reached: bool
    moves: int = 0


@dataclass(frozen=True)
class Answer:
    """What to do, in an order that is feasible at every step: `shed` first, then `moves`, then `starts` as (item,
    host). `unplaced` starts found no host; `unmet` run where a hard wish of theirs does not hold at the end.
    `proved`: no answer reaches more wishes of this kind, and none that reaches as many has fewer moves. `bound`: what
    is known instead, where not every position was looked at; None where nothing better was to be looked for."""

    moves: tuple[Move, ...] = ()
    starts: tuple[tuple[int, int], ...] = ()
    shed: tuple[Shed, ...] = ()
    unplaced: tuple[int, ...] = ()
    unmet: tuple[int, ...] = ()
    proved: bool = False
    bound: Bound | None = None


def reach(problem: Problem, answer: Answer) -> tuple[int, ...]:
    """What an answer leaves undone, the least is the best: for each priority from the highest the VMs that are down at
    the end (not started, or shed), and the running ones whose hard wishes do not hold."""
    missing: dict[int, list[int]] = {}
    for index in answer.unplaced:
        missing.setdefault(problem.items[index].priority, [0, 0])[0] += 1
    for gone in answer.shed:
        missing.setdefault(problem.items[gone.item].priority, [0, 0])[0] += 1
    for index in answer.unmet:
        missing.setdefault(problem.items[index].priority, [0, 0])[1] += 1
    return tuple(n for p in problem.priorities for n in missing.get(p, (0, 0)))
