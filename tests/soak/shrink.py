"""The smallest schedule that still breaks the same invariant: fewer steps, fewer hits, fewer hosts and VMs.

Hypothesis searches. It can't begin with an example that somebody else found, so it is asked for what to leave out of
the broken schedule, as numbers of which nearly every one means "keep" and the simplest one "leave out": what it draws
first is nearly the whole schedule, and what it makes of it is the least.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from tests.soak.schedule import Schedule, Step
from tests.soak.world import play

MANY = 10**6
_SETTINGS = settings(
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=50,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


def broken(schedule: Schedule) -> set[str]:
    """The invariants that it breaks; a lab that fails counts as "lab"."""
    try:
        return {v.invariant for v in play(schedule)}
    except Exception:  # noqa: BLE001
        return {"lab"}


def shrink(schedule: Schedule) -> Schedule:
    """As small as Hypothesis gets it; as it is, if it breaks nothing."""
    wanted = broken(schedule)
    try:
        return find(_parts(schedule), lambda part: bool(broken(part) & wanted), settings=_SETTINGS)
    except NoSuchExample:
        return schedule


@st.composite
def _parts(draw: st.DrawFn, schedule: Schedule) -> Schedule:
    def number(most: int) -> int:
        return min(most, draw(st.integers(0, MANY)))

    steps: list[Step] = []
    for step in schedule.steps:
        if number(1):
            hits = tuple(hit for hit in step[3] if number(1)) if step[0] == "run" else ()
            steps.append((*step[:3], hits) if step[0] == "run" else step)
    pool = schedule.pool
    pool = replace(pool, hosts=2 + number(pool.hosts - 2), vms=number(pool.vms))
    return replace(schedule, pool=pool, steps=tuple(steps))
