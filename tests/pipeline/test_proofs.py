"""Proofs of death over whole runs: what ends them, and that what has ended never counts again."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.evidence import Certificate, CertificateKind, Verdict
from reconciler.state.folder import PoolFolder
from tests.support.story import Story


def attested(story: Story, host: str, *, since: float, until: float, uuid: str | None) -> None:
    """A person's word in the state folder; times from now."""
    folder, now = PoolFolder(story.folder, story.wanted.name), story.lab.now
    member = story.wanted.member(host)
    assert member is not None
    word = Certificate(
        CertificateKind.ATTESTED, story.wanted.name, host, member.address, uuid, "op", "seen", now + since, now + until
    )
    folder.prepare()
    folder.add_certificate(word)


@pytest.mark.parametrize("early", [False, True], ids=["two-words", "clock-was-ahead"])
def test_a_host_that_was_seen_alive_is_not_dead_by_another_word_when_it_falls_silent(
    tmp_path: Path, early: bool
) -> None:
    story = Story.of(tmp_path, hosts=4, vms=8, fencing=False)
    story.plan()
    if early:
        attested(story, "xen03", since=3600, until=5400, uuid=None)
    else:
        attested(story, "xen03", since=0, until=28_800, uuid=None)  # given before this machine read the pool
        attested(story, "xen03", since=0, until=7200, uuid=story.lab.hosts["xen03"].uuid)
    assert story.plan().diagnosis.of("xen03").verdict is Verdict.ALIVE
    story.wait(3600)
    story.lab.cut("xen03", "*")
    story.wait(30)
    plan = story.plan()
    assert plan.diagnosis.of("xen03").verdict is Verdict.UNREACHABLE
    assert not plan.actions
