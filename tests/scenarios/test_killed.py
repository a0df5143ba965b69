"""Every scenario again, with a kill -9 in the middle of one of its applies: it converges, no harm, nothing twice (I10).

Where the kill falls is drawn by the scenario's name; `make killed` plays all of them (tests/killed).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.killed.telling import Point, differences, tell_killed, tell_whole
from tests.scenarios.test_scenarios import FOLDER, NAMES
from tests.support.calls import changes


def drawn(name: str, points: Sequence[Point]) -> list[Point]:
    """One kill of a scenario, or none where nothing is sent: more often than not at a call that changes something."""
    draw = random.Random(name)
    writes = [point for point in points if changes(point.method)]
    chosen = writes if writes and draw.random() < 0.6 else points
    return [draw.choice(chosen)] if chosen else []


@pytest.mark.parametrize("name", NAMES)
def test_killed(name: str, tmp_path: Path) -> None:
    whole, points = tell_whole(FOLDER / name, tmp_path / "whole")
    for point in drawn(name, points):
        told = tell_killed(FOLDER / name, tmp_path / "killed", point)
        assert told.killed is not None
        assert told.ended is not None
        assert list(differences(name, whole, told.ended)) == [], f"python -m tests.killed {name}:{point.short}"
