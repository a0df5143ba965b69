"""Nobody's word is taken against a BMC that says that power is on."""

from __future__ import annotations

from pathlib import Path

from reconciler.core.evidence import Certificate
from tests.pipeline.told import seen_before


def test_a_host_whose_bmc_says_on_is_not_attestable(tmp_path: Path) -> None:
    story = seen_before(tmp_path)
    story.lab.cut("xen03", "*")
    story.wait(60)
    refused = story.attest("xen03")
    assert refused == "xen03 is not dead: its BMC says that power is on: xenrec fence off pool.yaml xen03"
    assert story.reconciler().folder.certificates(now=story.port.now()) == ()
    story.lab.power_off("xen03")
    assert isinstance(story.attest("xen03"), Certificate)
