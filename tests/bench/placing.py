"""How fast VMs are placed, and how good the fast way is: compared with OR-tools where that is installed."""

from __future__ import annotations

from functools import partial

from reconciler.core.place.solve import place
from reconciler.solver import installed
from reconciler.solver.cpsat import propose
from tests.bench.measure import Number, best, growth
from tests.bench.pools import host_lost

_LIMIT = 20.0
"""Deterministic seconds that OR-tools gets for one pool."""


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
    if installed() is None:
        return [Number(name, 0.0, "moves", note="not taken: pip install ortools")]
    ours = least = proved = 0
    for seed in range(8):
        problem = host_lost(12, 120, load=0.99, seed=seed)
        answer = place(problem)
        told = place(problem, partial(propose, limit=_LIMIT))
        if told.proved:
            ours, least, proved = ours + len(answer.moves), least + len(told.moves), proved + 1
    return [Number(name, float(ours - least), "moves", note=f"{ours} against {least} in {proved} of 8 pools")]
