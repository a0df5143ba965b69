"""The memory of a pool: what is written is read again, what is damaged is never taken for nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.core.limits import Pause
from reconciler.core.obligations import Obligation
from reconciler.core.stopped import Stopped
from reconciler.core.unsettled import Unsettled
from reconciler.state.disk import StateError
from reconciler.state.memory import Memory

POOL = Pause("op@desk", "storage work", 100.0, 200.0)
DB01 = Pause("op@desk", "restore", 110.0, 300.0, "db01", "u-1")
OLD = Obligation("xen01", "10.0.0.11", "xen02", 50.0, "run-1")
STOP = Stopped("u-2", "web-2", "xen02", 90.0, 95.0)


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "pool")


def test_nothing_is_made_by_reading(memory: Memory, tmp_path: Path) -> None:
    assert (memory.pauses(), memory.obligations(), memory.stops()) == ((), (), ())
    assert memory.unpause(None) == ()
    memory.keep_stops(())
    assert list(tmp_path.iterdir()) == []


def test_everything_comes_back_as_it_was(memory: Memory) -> None:
    memory.pause(POOL)
    memory.pause(DB01)
    memory.oblige(OLD)
    memory.keep_stops((STOP,))
    assert memory.pauses() == (POOL, DB01)
    assert memory.pauses(now=250.0) == (DB01,)
    assert memory.obligations() == (OLD,)
    assert memory.stops() == (STOP,)


def test_a_pause_replaces_the_one_of_the_same_thing_and_drops_what_is_over(memory: Memory) -> None:
    memory.pause(POOL)
    memory.pause(DB01)
    longer = Pause("eva@desk", "still at it", 250.0, 400.0, "db01", "u-1")
    memory.pause(longer)
    assert memory.pauses() == (longer,)
    assert memory.unpause("u-1") == (longer,)
    assert memory.pauses() == ()


def test_an_obligation_is_kept_aside_when_it_is_settled(memory: Memory, tmp_path: Path) -> None:
    memory.oblige(OLD)
    newer = Obligation("xen01", "10.0.0.11", "xen03", 60.0, "run-2")
    memory.oblige(newer)
    assert memory.obligations() == (newer,)
    memory.settle(newer, "xen01 follows xen03", at=70.0)
    memory.settle(newer, "twice", at=71.0)
    assert memory.obligations() == ()
    (aside,) = json.loads((tmp_path / "pool" / "memory.json").read_text())["settled"]
    assert (aside["why"], aside["at"]) == ("xen01 follows xen03", 70.0)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"format_version": 2}',
        '{"format_version": 1, "pauses": {}}',
        '{"format_version": 1, "pauses": [1]}',
        '{"format_version": 1, "pauses": [{"by": "x", "reason": "x", "since": 1, "until": "2"}]}',
        '{"format_version": 1, "pauses": [{"by": "x", "reason": "x", "since": 1, "until": true}]}',
        '{"format_version": 1, "pauses": [{"by": "x", "reason": null, "since": 1, "until": 2}]}',
        '{"format_version": 1, "pauses": [{"by": "x", "reason": "x", "since": 1, "until": NaN}]}',
    ],
)
def test_damage_is_an_error_and_never_nothing(memory: Memory, tmp_path: Path, content: str) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "memory.json").write_text(content)
    (tmp_path / "pool" / "memory.json").chmod(0o600)
    with pytest.raises(StateError) as caught:
        memory.pauses(now=1.0)
    assert "memory.json" in str(caught.value)
    with pytest.raises(StateError):
        memory.pause(POOL)


def test_a_start_is_held_until_its_end_and_an_older_one_stays(memory: Memory) -> None:
    first = Unsettled("u-1", "db01", "start", "h-2", "xen02", "100.0", 50.0, "run-1")
    assert memory.begin(first) == first
    again = Unsettled("u-1", "db01", "start", "h-2", "xen02", "100.0", 60.0, "run-2")
    assert memory.begin(again) == first
    elsewhere = Unsettled("u-1", "db01", "start", "h-3", "xen03", "90.0", 60.0, "run-2")
    assert memory.begin(elsewhere) == elsewhere
    memory.end((first,))
    assert memory.unsettled() == (elsewhere,)
