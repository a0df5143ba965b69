"""The acting master's toolstack goes away while VMs are started: it restarts, it stays away, or its host dies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.plan import Result, Verb
from reconciler.core.port import XapiFailure
from reconciler.lab import Release
from tests.pipeline.told import Console, proved, seen_before, writes
from tests.support.story import Story

START = "Async.VM.start_on"


@pytest.fixture(params=list(Release), ids=lambda r: r.value)
def release(request: pytest.FixtureRequest) -> Release:
    return request.param  # type: ignore[no-any-return]


def starting(folder: Path, release: Release, *, halted: int) -> Story:
    """A pool in order whose first VMs on living members somebody halted."""
    story = seen_before(folder, release=release)
    ask = Console(story)
    running = story.lab.running()
    names = [d.name for host in ("xen02", "xen03", "xen04") for d in running[host] if not d.name.startswith("Control")]
    for name in names[:halted]:
        ask("VM.hard_shutdown", ask.vm(name))
    return story


def at_start(story: Story, number: int, then: Callable[[], Any]) -> None:
    """Do something right after the call that submits the start of this number, counted from 1."""
    seen: list[str] = []

    def hook(address: str, called: str, params: Sequence[Any]) -> None:
        if called == START:
            seen.append(called)
            if len(seen) == number:
                then()

    story.port.after_call = hook


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_toolstack_that_restarts_during_starts_does_not_end_the_run(
    tmp_path: Path, release: Release, number: int
) -> None:
    story = starting(tmp_path, release, halted=5)
    at_start(story, number, lambda: story.lab.restart_toolstack("xen01"))
    calls = len(story.port.calls)
    outcome = story.apply()
    assert "planned again" in "; ".join(e.what for e in story.events)
    assert outcome.stopped == ""
    assert story.lab.harm() == []
    assert story.doubles() == []
    started = [m for m in writes(story, calls) if m == START]
    assert len(started) == len({d.action.id for d in outcome.done if d.action.verb is Verb.START}) == 5
    assert not [d for d in outcome.done if d.result is Result.FAILED]
    proved(story, story.apply())


def test_a_toolstack_that_stays_away_ends_the_run_after_a_minute(tmp_path: Path, release: Release) -> None:
    story = starting(tmp_path, release, halted=3)
    at_start(story, 1, lambda: story.lab.stop_toolstack("xen01"))
    began = story.lab.now
    outcome = story.apply()
    assert "not back after 60 s" in outcome.stopped
    assert "xen01" in outcome.stopped
    assert "127." not in outcome.stopped
    assert story.lab.now - began < 150
    assert story.lab.harm() == []


def test_a_master_that_dies_during_starts_is_not_waited_for(tmp_path: Path, release: Release) -> None:
    story = starting(tmp_path, release, halted=3)
    at_start(story, 1, lambda: story.lab.power_off("xen01"))
    outcome = story.apply()
    assert outcome.stopped == "the master was lost while we worked: xen01 does not answer; run again"
    assert story.lab.harm() == []


def test_a_session_that_ends_at_the_lease_twice_stops_the_run_before_it_begins(
    tmp_path: Path, release: Release
) -> None:
    """SESSION_INVALID comes before any effect, also after the new login: nothing was begun, the run says so and ends
    with a last look instead of an exception, and the next run does the work."""
    story = starting(tmp_path, release, halted=1)
    ended: list[str] = []

    def end_session(address: str, called: str, params: Sequence[Any]) -> None:
        if called == "pool.add_to_other_config" and len(ended) < 2:
            ended.append(str(params[0]))
            raise XapiFailure("SESSION_INVALID", ended[-1])

    story.port.before_call = end_session
    calls = len(story.port.calls)
    outcome = story.apply()
    assert len(set(ended)) == 2, "there was a new login between"
    assert (
        outcome.stopped
        == "the pool's lease could not be taken: xen01 ended our session, and the next one at once; run again"
    )
    assert {d.result for d in outcome.done} == {Result.SKIPPED}
    assert START not in writes(story, calls)
    assert outcome.final is not None
    assert outcome.final.actions
    assert Result.DONE in {d.result for d in story.apply().done if d.action.verb is Verb.START}
    assert story.doubles() == []
