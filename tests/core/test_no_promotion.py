"""What forbids a promotion, and what keeps one that was sent from being sent again (I2, I3)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.diagnose import diagnose
from reconciler.core.evidence import Incident, Situation, Survey
from reconciler.core.masterless import NEVER_TOOK_EFFECT
from reconciler.core.plan import Plan, Verb
from reconciler.core.planner import make_plan
from reconciler.core.wanted import MasterWish
from tests.core.build import NOW, PoolBuilder, address, certificate, only, survey, verbs, wanted

SENT = Incident(
    "lab", "xen02", address("xen02"), "xen01", address("xen01"), sent_at=NOW - NEVER_TOOK_EFFECT - 1.0, run="r"
)


def plan_of(seen: Survey, *dead: str, hosts: int = 3, incident: Incident | None = None) -> Plan:
    return make_plan(
        wanted(hosts=hosts, fencing=False, master=MasterWish("xen01", ("xen02", "xen03"))),
        seen,
        now=NOW,
        last_known=PoolBuilder(hosts).state(),
        certificates=tuple(certificate(name) for name in dead),
        incident=incident,
    )


def test_members_that_follow_different_masters() -> None:
    seen = survey({"xen01": "silent", "xen04": "silent", "xen03": "follows xen04"}, hosts=4, master=None, bmc="none")
    plan = plan_of(seen, "xen01", "xen04", hosts=4)
    assert plan.actions == ()
    assert plan.diagnosis.lost_master is None
    assert "follow different masters" in plan.diagnosis.why


def test_members_that_follow_one_who_follows_nobody() -> None:
    plan = plan_of(survey({"xen01": "emergency"}, master=None, bmc="none"), "xen01")
    assert plan.actions == ()
    assert plan.diagnosis.lost_master is None
    assert "which itself in emergency mode" in plan.diagnosis.why


def test_a_silent_member_is_passed_over_and_said_to_be() -> None:
    seen = survey({"xen01": "silent", "xen02": "silent"}, hosts=4, master=None, bmc="none")
    plan = plan_of(seen, "xen01", hosts=4)
    assert only(plan, Verb.PROMOTE) == ["xen03"]
    assert "xen02 was passed over as new master: it does not answer" in plan.notes


@pytest.mark.parametrize(
    ("candidate", "again"),
    [
        ({}, True),  # it goes on following the lost master: the call never arrived
        ({"follows": "10.0.0.99"}, False),
        ({"reaches_master": True}, False),
    ],
    ids=["follows the lost one", "follows another", "reaches a master"],
)
def test_a_promotion_that_was_sent_is_sent_again_only_if_it_never_arrived(
    candidate: dict[str, object], again: bool
) -> None:
    seen = survey({"xen01": "silent"}, master=None, bmc="none")
    seen = replace(
        seen,
        testimonies=tuple(
            replace(t, **candidate) if t.name == "xen02" else t  # type: ignore[arg-type]
            for t in seen.testimonies
        ),
    )
    plan = plan_of(seen, "xen01", incident=SENT)
    assert (only(plan, Verb.PROMOTE) == ["xen02"]) is again
    told = diagnose(wanted(fencing=False), seen, (certificate("xen01"),), now=NOW, incident=SENT)
    assert (told.situation is Situation.BOOTING) is not again


def test_hosts_that_a_starting_master_has_not_enabled_yet_are_waited_for() -> None:
    pool = PoolBuilder()
    for name in ("xen01", "xen02"):
        pool.host(name, enabled=False)
    plan = make_plan(wanted(), survey(), now=NOW, state=pool.state())
    assert verbs(plan) == ["await-members lab"]
