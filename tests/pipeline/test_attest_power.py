"""What an attestation looks at: the BMC, the address, words that ended before, and the pool, which it remembers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.evidence import Certificate, Verdict
from reconciler.core.wanted import Place
from reconciler.people import Attestation, attest_all, revoke
from tests.pipeline.test_heard import ha_on
from tests.pipeline.told import seen_before
from tests.support.story import Story


def test_a_host_whose_bmc_says_on_is_not_attestable(tmp_path: Path) -> None:
    story = seen_before(tmp_path)
    story.lab.cut("xen03", "*")
    story.wait(60)
    refused = story.attest("xen03")
    assert refused == "xen03 is not dead: its BMC says that power is on: xenrec fence off pool.yaml xen03"
    assert story.reconciler().folder.certificates(now=story.port.now()) == ()
    story.lab.power_off("xen03")
    assert isinstance(story.attest("xen03"), Certificate)


def test_what_the_look_before_an_attestation_read_is_remembered(tmp_path: Path) -> None:
    """HA is on, only that look saw it, and then the master is lost (soak seed 10509418)."""
    story = Story.of(tmp_path, hosts=4, vms=6)
    ha_on(story)
    story.lab.power_off("xen04")
    story.wait(60)
    assert isinstance(story.attest("xen04"), Certificate)
    story.lab.power_off("xen01")
    story.wait(60)
    made = story.plan()
    assert made.actions == ()
    assert "XAPI's own HA is on" in " ".join(w.why for w in made.withheld)


def test_a_host_that_was_asked_at_another_address_than_the_pools_is_not_attestable(tmp_path: Path) -> None:
    story = seen_before(tmp_path)
    story.changed(
        lambda w: replace(
            w,
            members=tuple(replace(m, address="127.0.10.99", fencing=()) if m.name == "xen03" else m for m in w.members),
        )
    )
    refused = story.attest("xen03")
    assert isinstance(refused, str)
    assert refused.startswith("xen03 was asked at 127.0.10.99, and the pool has it at 127.0.10.13: correct its address")


@pytest.mark.parametrize("how", ["alive", "revoked"])
def test_a_word_of_a_file_that_has_ended_is_not_taken_again(tmp_path: Path, how: str) -> None:
    story = seen_before(tmp_path)
    story.changed(lambda w: replace(w, members=tuple(replace(m, fencing=()) for m in w.members)))
    until = story.lab.now + 7200.0
    file = Attestation("xen03", "strip 7", "outlet 7-3 is off", until, None, Place("outlets.yaml", 1, 1))

    def fed(one: Attestation = file) -> Certificate | str:
        ((_, taken),) = attest_all(story.reconciler(), [one], by="cron")
        return taken

    story.lab.power_off("xen03")
    story.wait(60)
    assert isinstance(fed(), Certificate)
    assert isinstance(fed(), Certificate)  # read again, and as true as before
    if how == "revoked":
        revoke(story.reconciler(), "xen03", by="op")
    else:
        story.lab.power_on("xen03")
        story.wait(400)
        story.plan()
        story.lab.cut("xen03", "*")
        story.wait(60)
    refused = fed()
    assert isinstance(refused, str)
    assert refused.startswith("this word about xen03 counts no more (")
    assert story.plan().diagnosis.of("xen03").verdict is Verdict.UNREACHABLE
    assert isinstance(fed(replace(file, until=until + 60)), Certificate)
