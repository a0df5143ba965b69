"""How long a pool is without a master, in virtual time with XAPI's own constants. `make real-time` does it for real."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.plan import Result
from tests.pipeline.told import BACKED_UP, Console, on_each_release
from tests.support.slowport import SlowPort
from tests.support.story import Release, Story

TARGET = 60.0
"""Seconds from a person's word until every member follows one master, without the new master's own restart."""


@on_each_release
@pytest.mark.parametrize("attested", [True, False], ids=["attested", "fenced"])
def test_a_lost_master_is_replaced_within_a_minute_and_its_restart(
    tmp_path: Path, release: Release, attested: bool
) -> None:
    story = Story.of(tmp_path, hosts=4, release=release, fencing=not attested)
    story.port = SlowPort(story.lab)
    assert story.plan().actions == ()
    story.wait(BACKED_UP)
    story.lab.power_off("xen01")
    story.wait(120)
    began = story.port.now()
    if attested:
        story.attest("xen01")
    outcome = story.apply()
    assert {d.result for d in outcome.done} <= {Result.DONE, Result.ALREADY}
    steps = [(outcome.started_at + at - began, what) for at, what in outcome.milestones]
    assert [at for at, _ in steps] == sorted(at for at, _ in steps)

    def at(words: str) -> float:
        return next(when for when, what in steps if words in what)

    accepted, answers, managed = at("accepted to become master"), at("accepts logins"), at("is managed again")
    assert {"xen03 is back", "xen04 is back"} <= {what for _, what in steps}
    assert managed - (answers - accepted) <= TARGET, steps
    (told,) = [m for m in Console(story)("message.get_all_records").values() if m["name"] == "XENREC_APPLIED"]
    lines = told["body"].splitlines()
    assert lines[0] == f"xenrec run {outcome.run}"
    assert any(line.startswith("promote xen02: xen02 acts as master") for line in lines)
    assert any(line.startswith("recover-members ") and "xen02 is the only master; xen03" in line for line in lines)
