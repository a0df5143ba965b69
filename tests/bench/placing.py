"""How fast VMs are placed, and how good the fast way is: compared with OR-tools where that is installed."""

from __future__ import annotations

import importlib.util
from typing import Any

from reconciler.core.place.problem import Problem
from reconciler.core.place.solve import place
from tests.bench.measure import Number, best, growth
from tests.bench.pools import host_lost

_LIMIT = 20.0
"""Seconds that OR-tools gets for one pool."""


def numbers() -> list[Number]:
    """A host lost from a large pool, from one ten times as large, and the moves against what OR-tools proves."""
    found, took = [], {}
    for hosts, vms in ((64, 5000), (640, 50_000)):
        problem = host_lost(hosts, vms)
        took[vms] = best(lambda: place(problem))  # noqa: B023 - called at once
        answer = place(problem)
        note = f"{len(answer.starts)} placed, {len(answer.unplaced)} not, {len(answer.moves)} moves"
        if vms > 5000:
            note += f"; grows to the power of {growth(took[5000], took[vms], 10):.2f}"
        goal = 0.5 if vms == 5000 else None
        found.append(
            Number(f"place: {hosts} hosts, {vms} VMs, 96 % full, a host lost", took[vms], "s", goal, note=note)
        )
    return found + _quality()


def _quality() -> list[Number]:
    name = "place: moves beyond the fewest, 12 hosts, 120 VMs, 99 % full"
    if importlib.util.find_spec("ortools") is None:
        return [Number(name, 0.0, "moves", note="not taken: pip install ortools")]
    ours = least = proved = 0
    for seed in range(8):
        problem = host_lost(12, 120, load=0.99, seed=seed)
        answer = place(problem)
        bound = _fewest(problem, len(answer.unplaced))
        if bound is not None:
            ours, least, proved = ours + len(answer.moves), least + bound, proved + 1
    return [Number(name, float(ours - least), "moves", note=f"{ours} against {least} in {proved} of 8 pools")]


def _fewest(problem: Problem, unplaced: int) -> int | None:
    """The fewest VMs that change their host so that no more stay down, whatever order of moves leads there: a lower
    bound; None where OR-tools does not prove one in time."""
    from ortools.sat.python import cp_model  # noqa: PLC0415 - only where it is installed

    model: Any = cp_model.CpModel()
    unit = 1 << 20
    load: list[list[Any]] = [[] for _ in problem.spots]
    free = [spot.free // unit for spot in problem.spots]
    down, moved = [], []
    for index, item in enumerate(problem.items):
        if item.here is not None and not (item.movable and item.yields):
            continue
        on = {h: model.new_bool_var(f"{index}@{h}") for h in sorted(problem.open_to[index])}
        if item.here is None:
            stays = model.new_bool_var(f"{index} down")
            down.append(stays)
            model.add_exactly_one([*on.values(), stays])
        else:
            free[item.here] += item.held // unit
            model.add_exactly_one(on.values())
            moved.append(1 - on[item.here])
        for host, here in on.items():
            load[host].append(here * -(-item.need // unit))
    for host, terms in enumerate(load):
        model.add(sum(terms) <= free[host])
    model.add(sum(down) <= unplaced)
    model.minimize(sum(moved))
    solver: Any = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = _LIMIT
    solver.parameters.num_workers = 1
    return round(solver.objective_value) if solver.solve(model) == cp_model.OPTIMAL else None
