"""The state folder's disk fills up at any write: what was done is told, and nothing is done that can't be recorded."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.fence_text import Refusal
from reconciler.core.plan import Outcome, Result, Verb
from reconciler.people import fence_off, prospect
from reconciler.state.disk import StateError
from reconciler.state.lock import locked
from reconciler.xapi.snapshot import SnapshotError
from tests.safety.test_hostile import halted, master, member, unharmed
from tests.safety.test_lease import acts
from tests.support.story import Approval, Story

CALLS = {
    Verb.FENCE: "agent:off",
    Verb.PROMOTE: "pool.emergency_transition_to_master",
    Verb.RECOVER_MEMBERS: "pool.recover_slaves",
    Verb.DECLARE_DEAD: "Async.host.declare_dead",
    Verb.START: "Async.VM.start_on",
}
"""What each verb of these stories sends."""
UNDONE = (Result.FAILED, Result.REFUSED, Result.SKIPPED)


class Disk:
    """Counts what is written to it, and takes nothing from the write of that number on."""

    def __init__(self) -> None:
        self.written = 0
        self.full_at = 10**9

    def write(self) -> None:
        """One write."""
        self.written += 1
        if self.written >= self.full_at:
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Under every file that is replaced and every line of a journal."""
    found, flush, make = Disk(), os.fdatasync, tempfile.mkstemp

    def fdatasync(descriptor: int) -> None:
        found.write()
        flush(descriptor)

    def mkstemp(*given: Any, **more: Any) -> tuple[int, str]:
        found.write()
        return make(*given, **more)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    monkeypatch.setattr(tempfile, "mkstemp", mkstemp)
    yield found
    found.full_at = 10**9


def applied(story: Story) -> tuple[Outcome | None, list[str]]:
    """An apply, and what it sent; None where it ended before anything was done."""
    start = len(story.port.calls)
    room = story.reconciler()
    plan = room.plan()  # whoever only looks needs no disk
    assert plan.actions
    try:
        outcome: Outcome | None = room.apply(plan, Approval())
    except (StateError, SnapshotError):
        outcome = None
    return outcome, [m for _, _, m in story.port.calls[start:] if acts(m)]


@pytest.mark.parametrize(("tell", "step"), [(halted, 1), (member, 1), (master, 3)])
def test_full_from_any_write_on(disk: Disk, tmp_path: Path, tell: Callable[[Path], Story], step: int) -> None:
    story = tell(tmp_path / "probe")
    disk.written = 0
    outcome, sent = applied(story)
    assert outcome is not None
    assert outcome.stopped == ""
    assert {m for m in sent if m != "message.create"} <= set(CALLS.values())
    for number in range(1, disk.written + 1, step):
        disk.full_at = 10**9
        story = tell(tmp_path / f"{number}")
        disk.written, disk.full_at = 0, number
        outcome, sent = applied(story)
        unharmed(story)
        if outcome is None:
            assert sent == [], number
            continue
        assert "No space left on device" in outcome.stopped, number
        for one in outcome.done:
            if CALLS.get(one.action.verb) in sent:
                assert one.result not in UNDONE, (number, one)
        verbs = {one.action.verb for one in outcome.done if one.result in (Result.DONE, Result.UNKNOWN)}
        assert {m for m in sent if m != "message.create"} <= {CALLS[v] for v in verbs if v in CALLS}, number


def test_a_plan_needs_no_disk_and_says_that_apply_does(disk: Disk, tmp_path: Path) -> None:
    story = member(tmp_path)
    disk.full_at = disk.written + 1
    plan = story.plan()
    assert plan.actions
    (note,) = [note for note in plan.notes if "can't be remembered" in note]
    assert "while that is so nothing is done" in note
    assert "No space left on device" in note


def test_on_what_could_not_be_remembered_nothing_is_done(disk: Disk, tmp_path: Path) -> None:
    """Neither where the disk is free again by then, nor of what a look between two stages found."""
    story = member(tmp_path / "first")
    rec = story.reconciler()
    disk.full_at = disk.written + 1
    plan = rec.plan()
    disk.full_at = 10**9
    calls = len(story.port.calls)
    with pytest.raises((StateError, SnapshotError)):
        rec.apply(plan, Approval())
    assert len(story.port.calls) == calls
    story = master(tmp_path / "second")
    rec = story.reconciler()
    plan = rec.plan()
    real, looks = rec.observe, []

    def observe() -> Any:
        looks.append(True)
        disk.full_at = disk.written + 1
        found = real()
        disk.full_at = 10**9
        return found

    rec.observe = observe  # type: ignore[method-assign]
    outcome = rec.apply(plan, Approval())
    assert looks == [True]
    assert "what was found can't be remembered" in outcome.stopped
    assert Verb.PROMOTE in {d.action.verb for d in outcome.done}


def test_a_host_that_was_switched_off_by_hand_is_said_to_be_off(disk: Disk, tmp_path: Path) -> None:
    """The certificate can't be kept: the person must know all the same, and what to do."""
    story = member(tmp_path)
    for further in range(1, 9):
        rec = story.reconciler()
        found = prospect(rec, story.wanted.members[-1])
        disk.full_at = disk.written + further
        before = len(story.port.calls)
        try:
            made = fence_off(rec, found, by="op@desk", reason="smoke", lifetime=600.0)
        except StateError as error:
            made, told = None, error.what
        off = "agent:off" in [m for _, _, m in story.port.calls[before:]]
        disk.full_at = 10**9
        assert off == (made is not None)
        assert made is not None or told.startswith("nothing was switched: ")
        if isinstance(made, Refusal):
            assert made.why.startswith("xen03 was switched off, and a second status says so, but no record of it")
            assert made.remedy.endswith("xenrec fence off pool.yaml xen03")
            return
    raise AssertionError("the certificate was never the write that failed")


def test_findings_that_can_not_be_kept_are_not_taken_note_of(disk: Disk, tmp_path: Path) -> None:
    story = member(tmp_path)
    rec = story.reconciler()
    look = rec.observe()
    plan = rec.plan_of(look)
    disk.full_at = disk.written + 1
    assert rec.drilled(look, plan) is not None, "who only looks needs no disk"
    with pytest.raises(StateError, match="can't be written"):
        rec.drilled(look, plan, taken=True)


@pytest.mark.parametrize(
    ("number", "then"),
    [(errno.EROFS, "Free or mount that disk (df -h "), (errno.EACCES, "Run as the user that it belongs to (ls -l ")],
)
def test_a_lock_that_can_not_be_opened_says_what_to_look_at(
    number: int, then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any, **more: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StateError) as told, locked(tmp_path / "lock", "m", run="r", since=0.0):
        raise AssertionError("it was locked")
    assert told.value.remedy.startswith(then)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root works in the folders of others")
def test_what_root_only_looked_at_is_no_secret_from_the_service(tmp_path: Path) -> None:
    """A plan holds no lock; the last known pool that it leaves must be the folder owner's like all else."""
    story = member(tmp_path)
    folder = story.reconciler().folder
    for path in (tmp_path, folder.path, *folder.path.iterdir()):
        os.chown(path, 1234, 1234)
    story.plan()
    assert {path.name: path.stat().st_uid for path in folder.path.iterdir()} == {
        path.name: 1234 for path in folder.path.iterdir()
    }
