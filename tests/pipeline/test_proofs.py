"""Proofs of death, and promotions, over whole runs: what ends them, and that what has ended never counts again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.evidence import Certificate, CertificateKind, Incident, Situation, Verdict
from reconciler.core.obligations import promotion_is_over
from reconciler.core.wanted import Brake, MemberState, WantedState
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


def test_to_declare_maintenance_proves_nothing_about_a_member_that_is_cut_off(tmp_path: Path) -> None:
    """It runs what was started after the last copy of the database, which then becomes the pool's."""
    story = Story.of(tmp_path, hosts=4, vms=12)
    lab = story.lab
    story.plan()
    for domain in lab.running()["xen03"]:
        story.wish(domain.name, state=WantedState.HALTED)
    story.apply()
    story.wait(1300)  # every member has a copy in which xen03 is empty
    for host in lab.hosts.values():
        host.backup_held = True
    story.wish("cache-1", state=WantedState.RUNNING, home="xen03")
    story.apply()
    assert [domain.name for domain in lab.running()["xen03"]] == ["cache-1"]
    lab.cut("xen03", "*")
    lab.power_off("xen01")
    story.wait(60)
    story.changed(
        lambda w: replace(
            w,
            members=tuple(
                replace(m, state=MemberState.MAINTENANCE, fencing=()) if m.name == "xen03" else m for m in w.members
            ),
            policy=replace(w.policy, metadata=replace(w.policy.metadata, max_killed=9)),
        )
    )
    final = story.apply().final
    assert final is not None
    assert [host.name for host in lab.masters()] == ["xen02"]
    assert story.doubles() == []
    held = {w.action.target.name: w for w in final.withheld}
    assert "xen03 has not been heard from since the master started" in held["cache-1"].why
    assert "xenrec attest pool.yaml xen03 --dead" in held["cache-1"].remedy


def test_a_promotion_that_somebody_else_finished_does_not_depose_the_master_of_later(tmp_path: Path) -> None:
    """Our run was killed; another machine led the members behind xen02, and later the office back to xen01."""
    story = Story.of(tmp_path, hosts=2, vms=6, brake=Brake(0.3, 1))
    folder = PoolFolder(story.folder, story.wanted.name)
    at = {m.name: m.address for m in story.wanted.members}
    folder.prepare()
    folder.save_incident(
        Incident(story.wanted.name, "xen02", at["xen02"], "xen01", at["xen01"], story.lab.now - 3600, "killed")
    )
    assert story.plan().diagnosis.master == "xen01"
    assert folder.incident() is None
    story.lab.power_off("xen02")
    story.wait(60)
    plan = story.plan()
    assert plan.diagnosis.situation is Situation.MANAGED
    assert [str(action.verb) for action in plan.actions][:2] == ["fence", "declare-dead"]


@pytest.mark.parametrize(
    ("told", "ago", "astray", "over"),
    [
        ("xen01", 5.0, False, True),  # it acts as master
        ("xen01", 3600.0, True, False),  # members are still to be led behind it
        ("xen02", 3600.0, False, True),  # a member of another master by now
        ("xen02", 5.0, False, False),  # it may become master in seconds
        ("xen03", 3600.0, False, False),  # it does not answer
    ],
)
def test_when_a_promotion_is_over(tmp_path: Path, told: str, ago: float, astray: bool, over: bool) -> None:
    story = Story.of(tmp_path, hosts=3, vms=3)
    story.lab.power_off("xen03")
    story.wait(10)
    look = story.reconciler().observe()
    plan = story.plan()
    seen = replace(plan.diagnosis, astray=("xen02",)) if astray else plan.diagnosis
    sent = Incident("lab", told, "", "xen03", "", look.at - ago, "run")
    assert promotion_is_over(sent, look.survey, seen, look.at) is over


@pytest.mark.parametrize(("lost", "over"), [("xen01", True), ("xen02", False)])
def test_a_promotion_is_over_when_the_replaced_master_is_master_again_and_its_successor_proved_dead(
    tmp_path: Path, lost: str, over: bool
) -> None:
    story = Story.of(tmp_path, hosts=3, vms=3)
    story.lab.power_off("xen03")
    story.wait(10)
    story.attest("xen03")
    look = story.reconciler().observe()
    sent = Incident("lab", "xen03", "", lost, "", look.at - 3600.0, "run")
    assert promotion_is_over(sent, look.survey, story.plan().diagnosis, look.at) is over
