"""Killed at every call of an apply, and applied again: it converges, and nothing that destroys is done twice (I10).

A kill is a kill -9: from that call on nothing more is sent, and the next run finds the state folder as it was then.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.plan import Outcome, Status
from reconciler.lab import Release
from tests.pipeline.told import PROMOTION, Killed, changes, dead_master, dead_member, proved, seen_before, unmet, verbs
from tests.support.story import Story

ATTEMPTS = 4
"""Applies that a person types after the kill, at most."""
PATIENCE = 130.0
"""Virtual seconds after which a promotion that never arrived is known not to have arrived."""
SHARES = 4
"""Each story's kills are spread over so many tests, to run side by side."""


class Reaper:
    """Kills the run before (or after) its n-th call, counted from 0."""

    def __init__(self, story: Story, number: int, *, after: bool) -> None:
        self.story = story
        self.left = number
        self.dead = False
        self.grave = story.folder.with_name(f"{story.folder.name}-{number}-{'after' if after else 'before'}")
        if after:
            story.port.before_call, story.port.after_call = self._refuse, self._count
        else:
            story.port.before_call = self._count

    def _refuse(self, address: str, method: str, params: Sequence[Any]) -> None:
        if self.dead:
            raise Killed

    def _count(self, address: str, method: str, params: Sequence[Any]) -> None:
        if self.dead:
            raise Killed
        self.left -= 1
        if self.left < 0:
            self.dead = True
            self.method = method
            shutil.copytree(self.story.folder, self.grave)
            raise Killed

    def reap(self) -> None:
        """Apply and die; afterwards the story goes on with what the dead run left on disk."""
        with pytest.raises(Killed):
            self.story.apply()
        assert self.dead
        self.story.folder = self.grave
        self.story.port.before_call = self.story.port.after_call = None


def kills(methods: Sequence[str], release: Release) -> Iterator[tuple[int, bool]]:
    """Before every call; after a call only where it changed something, for the rest is the same as before the next.

    With the manners of older releases, before every call that changes something and every third of the others.
    """
    for number, method in enumerate(methods):
        if release is Release.V24_16 or changes(method) or number % 3 == 0:
            yield number, False
        if changes(method):
            yield number, True


def converge(story: Story) -> Outcome:
    """Apply until nothing is left to do."""
    for attempt in range(ATTEMPTS):
        outcome = story.apply()
        assert outcome.final is not None
        if not outcome.final.actions and not outcome.final.withheld:
            return outcome
        if attempt:
            story.wait(PATIENCE)
    raise AssertionError(verbs(outcome.final) + [w.why for w in outcome.final.withheld])


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("release", list(Release), ids=lambda r: r.value)
@pytest.mark.parametrize("tell", [dead_master, dead_member], ids=["master", "member"])
def test_killed_at_every_call(tmp_path: Path, tell: Callable[..., Story], release: Release, share: int) -> None:
    probe = tell(tmp_path / "probe", release=release, hosts=3, vms=8)
    before = len(probe.port.calls)
    wished = probe.apply()
    assert wished.final is not None
    methods = [m for _, _, m in probe.port.calls[before:]]
    assert sum(changes(m) for m in methods) >= 4
    alive = {vm.name for host in probe.lab.running().values() for vm in host}
    for number, after in list(kills(methods, release))[share::SHARES]:
        where = f"killed {'after' if after else 'before'} call {number}, {methods[number]}"
        story = tell(tmp_path / f"{number}-{after}", release=release, hosts=3, vms=8)
        Reaper(story, number, after=after).reap()
        final = converge(story).final
        assert final is not None
        assert final.status in (Status.CLEAN, Status.BLOCKED), where
        assert sorted(unmet(final)) == sorted(unmet(wished.final)), where
        assert story.lab.harm() == [], where
        assert story.doubles() == [], where
        assert {vm.name for host in story.lab.running().values() for vm in host} == alive, where
        sent = [m for _, _, m in story.port.calls]
        assert sent.count(PROMOTION) == (1 if tell is dead_master else 0), where
        # Seen through again, once: a fencing that left no certificate, a burial whose task was still under way.
        assert sent.count("agent:off") <= 2, where
        assert sent.count("Async.host.declare_dead") <= 2, where


@pytest.mark.parametrize("late", [12.0, 24.0])
def test_a_burial_left_under_way_is_waited_for(tmp_path: Path, late: float) -> None:
    """The master notices the loss while two burials would go on: the second ended first, VMs were started, and the
    first one then recorded one of them as halted while it ran."""
    story = seen_before(tmp_path / "story")
    story.lab.power_off("xen03")
    story.wait(620.0 - 13.0 - late)  # of the loss, XAPI takes note after 620 s

    def die(address: str, method: str, params: Sequence[Any]) -> None:
        if method == "Async.host.declare_dead":
            raise Killed

    story.port.after_call = die
    with pytest.raises(Killed):
        story.apply()
    story.port.after_call = None
    story.wait(3.0)
    outcome = story.apply()
    story.wait(60.0)
    runs = {vm.name for host in story.lab.running().values() for vm in host}
    recorded = {v["name"] for v in story.lab.describe()["vms"] if v["power_state"] == "Running"}
    assert runs == recorded
    proved(story, outcome, left=["ci-3"])
