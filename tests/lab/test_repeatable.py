"""The same incident told twice is the same to the last call: sixteen hosts, four hundred VMs, twenty minutes."""

from __future__ import annotations

from pathlib import Path

from reconciler.lab import Schedule
from tests.support.story import Story

SPAN = 1200.0


def told(folder: Path, seed: int) -> tuple[str, list[tuple[float, str, str]], dict[str, object], list[str]]:
    """The schedule's log, every call, how it ended, and harm."""
    story = Story.of(folder, hosts=16, vms=400)
    began = story.lab.now
    run = Schedule.random(seed, story.lab, faults=6, span=SPAN / 2).attach(story.port, calm_at=SPAN / 2)
    story.wait(30)
    story.apply()
    story.wait(max(0.0, began + SPAN / 2 + 60 - story.lab.now))
    story.apply()
    story.wait(max(0.0, began + SPAN - story.lab.now))
    return run.text(), story.port.calls, story.lab.describe(), [h.text for h in story.lab.harm()]


def test_an_incident_is_repeatable(tmp_path: Path) -> None:
    first = told(tmp_path / "a", 11)
    assert first == told(tmp_path / "b", 11)
    log, calls, _, harm = first
    assert log.startswith("+0.00     power off xen01")
    assert len(calls) > 200
    assert harm == []
