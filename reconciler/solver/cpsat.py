"""The end of a placement as a model for OR-tools' CP-SAT: where everything is, whatever order of moves leads there.

Every end that an order of moves leads to is one of the model's, so what it proves impossible is impossible, and its
least number of VMs that change their host is a bound for moves. One worker, a fixed seed and a limit that counts work
and not time make the same problem give the same proposal on any machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.core.place.ask import Places, Proposal
from reconciler.core.place.problem import NOWHERE, Problem
from reconciler.core.place.world import World

LIMIT = 4.0
"""What CP-SAT may spend on one problem, in its deterministic time: about seconds on a present-day machine."""
MOST = 60_000
"""Pairs of a VM and a host that it may be on, beyond which the model would take longer to build than to be of use."""
_SEED = 1


def propose(problem: Problem, hint: Places, *, limit: float = LIMIT) -> Proposal | None:
    """The best end that is found within the limit, from the highest priority down: the fewest VMs that stay down, the
    fewest unmet hard wishes, then the fewest that change their host, then homes. None where the problem is too big or
    nothing is found.

    Takes for granted that no item holds more than it needs elsewhere (`Item.held`, `Item.need`).
    """
    world = World(problem)
    pairs = sum(len(problem.open_to[i]) for i in (*problem.starts, *world.mobile))
    if pairs > MOST:
        return None
    return _Search(_Model(problem, world), list(hint), limit).proposal()


@dataclass
class _Goal:
    """What is counted: variables, each with what it costs, and what is lost whatever is done."""

    terms: list[Any] = field(default_factory=list)
    costs: list[int] = field(default_factory=list)
    anyway: int = 0

    def add(self, term: Any, cost: int = 1) -> None:
        self.terms.append(term)
        self.costs.append(cost)

    def sum(self) -> Any:
        return sum(cost * term for cost, term in zip(self.costs, self.terms, strict=True))


class _Model:
    """Variables and rules. `on[i][h]`: item i is on host h at the end; 1 where nothing else is possible."""

    def __init__(self, problem: Problem, world: World) -> None:
        from ortools.sat.python import cp_model  # noqa: PLC0415 - takes seconds to load, and only where it is asked

        self.cp: Any = cp_model
        self.model: Any = cp_model.CpModel()
        self.problem, self.world = problem, world
        self.on: list[dict[int, Any]] = []
        self.variables: list[tuple[Any, int, int | None]] = []  # variable, item, host or None for down
        self.levels = {(p, kind): _Goal() for p in problem.priorities for kind in (0, 1)}
        self.moved, self.taste = _Goal(), _Goal()
        for index in range(len(problem.items)):
            self.on.append(self._places(index))
        self._memory()
        self.unmet: dict[int, list[Any]] = {i: [] for i in problem.running}
        for group, members in problem.groups.items():
            if group.startswith(("together:", "tie:")):
                self._where_its_like_runs(group, members)
            if group.startswith("together:"):
                self._torn(group, members)
            if group.startswith("apart:"):
                self._apart(group, members)
        self._wishes()

    def _bool(self, index: int, host: int | None) -> Any:
        made = self.model.new_bool_var("")
        self.variables.append((made, index, host))
        return made

    def _places(self, index: int) -> dict[int, Any]:
        item, open_to = self.problem.items[index], self.problem.open_to[index]
        if item.here is not None:
            if index not in self.world.mobile or open_to <= {item.here}:
                return {item.here: 1}
            places = {h: self._bool(index, h) for h in sorted(open_to | {item.here})}
            self.model.add_exactly_one(places.values())
            self.moved.add(1 - places[item.here])
        else:
            down = self.levels[item.priority, 0]
            if not open_to:
                down.anyway += 1
                return {}
            places = {h: self._bool(index, h) for h in sorted(open_to)}
            stays = self._bool(index, None)
            self.model.add_exactly_one([*places.values(), stays])
            down.add(stays)
        for host, here in places.items():
            missed, preferred = item.taste(host)
            if host != item.here and (missed or preferred):
                self.taste.add(here, 1000 * missed + preferred)
        return places

    # --- rules ----------------------------------------------------------------------------------------------------

    def _comes(self, index: int, host: int) -> Any:
        """It is there at the end and was not before; None where it can't be."""
        return self.on[index].get(host) if self.problem.items[index].here != host else None

    def _stays(self, index: int) -> Any:
        return self.on[index][self.problem.items[index].here or 0]

    def _memory(self) -> None:
        """What comes to a host has room there beside what stays. A host that is too full is left so if nobody comes."""
        items = self.problem.items
        unit = math.gcd(*(n for item in items for n in (item.need, item.held))) or 1
        comers: list[list[tuple[Any, int]]] = [[] for _ in self.problem.spots]
        gone: list[list[Any]] = [[] for _ in self.problem.spots]
        for index, places in enumerate(self.on):
            for host in places:
                here = self._comes(index, host)
                if here is not None:
                    comers[host].append((here, items[index].need // unit))
                elif len(places) > 1:
                    gone[host].append((1 - places[host]) * (items[index].held // unit))
        for host, spot in enumerate(self.problem.spots):
            if comers[host]:
                rule = self.model.add(sum(c * n for c, n in comers[host]) <= spot.free // unit + sum(gone[host]))
                if spot.free < 0:
                    anybody = self.model.new_bool_var("")
                    self.model.add_max_equality(anybody, [c for c, _ in comers[host]])
                    rule.only_enforce_if(anybody)

    def _where_its_like_runs(self, group: str, members: Sequence[int]) -> None:
        """What starts joins those of its group that run, and where none runs, the others that start."""
        starts = [i for i in members if self.problem.items[i].here is None and self.on[i]]
        running = [i for i in members if self.problem.items[i].here is not None]
        others = self.problem.others.get(group, {})
        hosts = sorted({h for i in starts for h in self.on[i]})
        if not running and not others:
            meeting = {h: self.model.new_bool_var("") for h in hosts}
            self.model.add(sum(meeting.values()) <= 1)
            for i in starts:
                for host, here in self.on[i].items():
                    self.model.add(here <= meeting[host])
            return
        for i in starts:
            for host, here in self.on[i].items():
                if not others.get(host):
                    self.model.add(here <= sum(self.on[j][host] for j in running if host in self.on[j]))

    def _torn(self, group: str, members: Sequence[int]) -> None:
        """No running VM of a group has its wish while the group is on several hosts."""
        others = self.problem.others.get(group, {})
        running = [i for i in members if self.problem.items[i].here is not None]
        hosts = sorted({h for i in members for h in self.on[i]} | {h for h in others if h != NOWHERE})
        if not running or len(hosts) < 2:
            return
        torn, there = self.model.new_bool_var(""), {h: self.model.new_bool_var("") for h in hosts}
        for host in hosts:
            if others.get(host):
                self.model.add(there[host] == 1)
            for i in members:
                if host in self.on[i]:
                    self.model.add(there[host] >= self.on[i][host])
        self.model.add(sum(there.values()) <= 1 + (len(hosts) - 1) * torn)
        for i in running:
            self.unmet[i].append(torn)

    def _apart(self, group: str, members: Sequence[int]) -> None:
        """None comes where another of the group is; two that stay where they are together have their wish unmet."""
        others = self.problem.others.get(group, {})
        for host in sorted({h for i in members for h in self.on[i]}):
            comers = [c for i in members if (c := self._comes(i, host)) is not None]
            staying = [i for i in members if self.problem.items[i].here == host]
            if others.get(host):
                self.model.add(sum(comers) == 0)
            elif comers:
                self.model.add(sum(comers) <= 1)
                for i in staying:
                    self.model.add(self._stays(i) + sum(comers) <= 1)
            for i in staying:
                if others.get(host):
                    self.unmet[i].append(self._stays(i))
                self.unmet[i] += [self._stays(i) + self._stays(j) - 1 for j in staying if j != i]

    def _wishes(self) -> None:
        """Count the running VMs whose hard wishes do not hold at the end."""
        for index, reasons in self.unmet.items():
            item = self.problem.items[index]
            goal = self.levels[item.priority, 1]
            if item.here not in item.may:
                reasons.append(self._stays(index))
            if any(isinstance(reason, int) and reason > 0 for reason in reasons):
                goal.anyway += 1
                continue
            open_reasons = [reason for reason in reasons if not isinstance(reason, int)]
            if open_reasons:
                unmet = self.model.new_bool_var("")
                goal.add(unmet)
                for reason in open_reasons:
                    self.model.add(unmet >= reason)


@dataclass
class _Search:
    """The goals one after the other, each kept while the next is looked for."""

    model: _Model
    at: list[int | None]
    left: float
    proved: bool = True
    found: bool = False

    def proposal(self) -> Proposal | None:
        least = []
        for goal in self.model.levels.values():
            best = self._least(goal)
            if best is None:
                return None
            least.append(best[0] + goal.anyway)
        proved = self.proved
        fewest = self._least(self.model.moved)
        if fewest is not None and self.model.taste.terms:
            self._least(self.model.taste)
        moves = fewest[1] if fewest is not None and proved else 0
        return Proposal(tuple(self.at), tuple(least) if proved else None, moves) if self.found else None

    def _least(self, goal: _Goal) -> tuple[int, int] | None:
        """(the least that is found, what it can't be less than); None where nothing was found in the time left."""
        if not goal.terms:
            return 0, 0
        if self.left <= 0:
            return None
        cp, model = self.model.cp, self.model.model
        model.clear_hints()
        for variable, index, host in self.model.variables:
            model.add_hint(variable, self.at[index] == host)
        model.minimize(goal.sum())
        solver: Any = cp.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = _SEED
        solver.parameters.max_deterministic_time = self.left
        status = solver.solve(model)
        self.left -= solver.response_proto.deterministic_time
        if status not in (cp.OPTIMAL, cp.FEASIBLE):
            return None
        self.found = True
        self.proved = self.proved and status == cp.OPTIMAL
        for variable, index, host in self.model.variables:
            if solver.boolean_value(variable):
                self.at[index] = host
        value = round(solver.objective_value)
        model.add(goal.sum() <= value)
        return value, math.ceil(solver.best_objective_bound - 1e-6)
