"""The smallest schedule that still breaks the same invariant: fewer steps, fewer hits, fewer hosts and VMs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.soak.schedule import Schedule, Step
from tests.soak.world import play

MOST = 400
"""Schedules tried."""


def broken(schedule: Schedule) -> set[str]:
    """The invariants that it breaks; a lab that fails counts as "lab"."""
    try:
        return {v.invariant for v in play(schedule)}
    except Exception:  # noqa: BLE001
        return {"lab"}


def shrink(schedule: Schedule) -> Schedule:
    """As small as it gets by leaving things out one at a time, again and again."""
    wanted = broken(schedule)
    if not wanted:
        return schedule
    tried = 0
    progress = True
    while progress and tried < MOST:
        progress = False
        for smaller in _smaller(schedule):
            tried += 1
            if broken(smaller) & wanted:
                schedule, progress = smaller, True
                break
    return schedule


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    steps = schedule.steps
    for i in range(len(steps)):
        yield replace(schedule, steps=steps[:i] + steps[i + 1 :])
    for i, step in enumerate(steps):
        if step[0] == "run" and step[3]:
            for j in range(len(step[3])):
                fewer: Step = (*step[:3], step[3][:j] + step[3][j + 1 :])
                yield replace(schedule, steps=(*steps[:i], fewer, *steps[i + 1 :]))
    pool = schedule.pool
    if pool.vms:
        yield replace(schedule, pool=replace(pool, vms=pool.vms // 2))
        yield replace(schedule, pool=replace(pool, vms=pool.vms - 1))
    if pool.hosts > 2:
        yield replace(schedule, pool=replace(pool, hosts=pool.hosts - 1))
