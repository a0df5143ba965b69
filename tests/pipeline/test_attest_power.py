"""What an attestation looks at: the BMC, against which nobody's word is taken, and the pool, which it remembers."""

from __future__ import annotations

from pathlib import Path

from reconciler.core.evidence import Certificate
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
