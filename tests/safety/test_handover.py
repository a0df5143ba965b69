"""A hand-over of the office is sent once, whoever dies in the middle of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.plan import Result
from reconciler.execute.handover import DESIGNATE
from tests.pipeline.told import Killed, seen_before
from tests.support.story import Story


def handing_over(folder: Path) -> Story:
    story = seen_before(folder, hosts=3, vms=6)
    story.changed(lambda w: replace(w, master=replace(w.master, host="xen02", successors=("xen01",))))  # type: ignore[type-var]
    return story


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("later", [0.0, 3.0, 20.0, 200.0])
def test_killed_at_the_hand_over_and_run_again(tmp_path: Path, after: bool, later: float) -> None:
    story = handing_over(tmp_path / "pool")
    dead: list[str] = []

    def die(address: str, method: str, params: Sequence[Any]) -> None:
        if dead or method == DESIGNATE:
            dead.append(method)
            raise Killed

    story.port.after_call = die if after else None
    story.port.before_call = (lambda a, m, p: die(a, "", p) if dead else None) if after else die
    with pytest.raises(Killed):
        story.apply(failback=True)
    story.port.before_call = story.port.after_call = None
    story.wait(later)
    for _ in range(3):
        outcome = story.apply(failback=True)
        assert outcome.final is not None
        if not outcome.final.actions and not outcome.final.withheld:
            break
        story.wait(130)
    assert [h.name for h in story.lab.masters()] == ["xen02"]
    assert [m for _, _, m in story.port.calls].count(DESIGNATE) == 1
    assert story.lab.harm() == []
    # What the dead run left on disk is in nobody's way: the office can be handed back at once.
    story.changed(lambda w: replace(w, master=replace(w.master, host="xen01", successors=("xen02",))))  # type: ignore[type-var]
    story.wait(30)
    assert {d.result for d in story.apply(failback=True).done} == {Result.DONE}
    assert [h.name for h in story.lab.masters()] == ["xen01"]
    assert story.reconciler().folder.handover() is None
