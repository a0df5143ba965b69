"""What forbids a promotion, and what keeps one that was sent from being sent again (I2, I3)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.checker import check_plan
from reconciler.core.diagnose import diagnose
from reconciler.core.evidence import Incident, Situation, Survey
from reconciler.core.guard import Allowance
from reconciler.core.masterless import NEVER_TOOK_EFFECT
from reconciler.core.plan import Plan, Verb
from reconciler.core.planner import make_plan
from reconciler.core.wanted import Level, MasterWish, MemberState
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
    assert "follow different hosts" in plan.diagnosis.why
    (held,) = plan.withheld
    assert "which of them was master last can't be told" in held.why
    told = make_plan(
        wanted(hosts=4, fencing=False),
        seen,
        now=NOW,
        last_known=PoolBuilder(4).state(),
        certificates=(certificate("xen01"), certificate("xen04")),
        allowance=Allowance(yields=frozenset({"xen01"})),
    )
    assert only(told, Verb.PROMOTE) == ["xen03"]


def test_members_that_follow_one_who_follows_nobody() -> None:
    quiet = survey({"xen01": "emergency"}, master=None, bmc="none")
    plan = plan_of(quiet, "xen01")
    assert plan.actions == ()
    assert plan.diagnosis.lost_master is None
    assert "xen02 and xen03 follow xen01, which does not say whom it follows" in plan.diagnosis.why
    (held,) = plan.withheld
    assert "it may be a master that starts" in held.why
    flagged = replace(quiet, testimonies=tuple(replace(t, is_emergency=t.follows is None) for t in quiet.testimonies))
    assert only(plan_of(flagged), Verb.PROMOTE) == ["xen01"]
    (held,) = make_plan(wanted(master=MasterWish("xen01")), flagged, now=NOW).withheld
    assert "it may be a host that is not declared, for this machine never read the pool" in held.why
    assert "ssh root@10.0.0.11 cat /etc/xensource/pool.conf" in held.remedy


def masters_unknown(*, flag: bool | None, seen: dict[str, str], hosts: int = 3) -> Plan:
    """The members are in emergency mode by their logins and this machine last read that xen01, one of them, is master;
    the manifest says so too."""
    told = survey(seen, hosts=hosts, master=None, bmc="none")
    flagged = tuple(replace(t, is_emergency=flag) if t.answers else t for t in told.testimonies)
    return plan_of(replace(told, testimonies=flagged), "xen02", hosts=hosts)


def test_the_only_member_that_does_not_answer_is_the_lost_master_where_all_others_are_in_emergency_mode() -> None:
    """Found by soak seed 1021536: another client had handed the office over since this machine last read the pool."""
    seen = {"xen01": "emergency", "xen02": "silent", "xen03": "emergency"}
    plan = masters_unknown(flag=True, seen=seen)
    assert plan.diagnosis.lost_master == "xen02"
    assert only(plan, Verb.PROMOTE) == ["xen01"]


@pytest.mark.parametrize("flag", [None, False])
def test_not_where_one_of_them_may_be_a_master_that_starts(flag: bool | None) -> None:
    seen = {"xen01": "emergency", "xen02": "silent", "xen03": "emergency"}
    plan = masters_unknown(flag=flag, seen=seen)
    assert plan.actions == ()
    assert plan.diagnosis.lost_master is None


def test_not_where_two_do_not_answer_or_the_pool_has_more_than_the_manifest() -> None:
    seen = {"xen01": "emergency", "xen02": "silent", "xen03": "silent", "xen04": "emergency"}
    assert masters_unknown(flag=True, seen=seen, hosts=4).diagnosis.lost_master is None
    told = survey({"xen01": "emergency", "xen02": "silent", "xen03": "emergency"}, master=None, bmc="none")
    flagged = tuple(replace(t, is_emergency=True) if t.answers else t for t in told.testimonies)
    plan = make_plan(
        wanted(hosts=3, fencing=False, master=MasterWish("xen01")),
        replace(told, testimonies=flagged),
        now=NOW,
        last_known=PoolBuilder(4).state(),
        certificates=(certificate("xen02"),),
    )
    assert plan.diagnosis.lost_master is None


@pytest.mark.parametrize("hangs", [True, False])
def test_a_candidate_that_died_after_members_followed_it_is_fenced_too(hangs: bool) -> None:
    """Found by soak seed 1030564: the run that promoted it was killed, and later ones waited for it for ever."""
    seen = survey({"xen01": "silent off", "xen02": "silent off", "xen03": "follows xen02"}, master=None)
    asked = tuple(replace(t, reaches_master=not hangs) if t.answers else t for t in seen.testimonies)
    plan = make_plan(
        wanted(),
        replace(seen, testimonies=asked),
        now=NOW,
        last_known=PoolBuilder().state(),
        incident=SENT,
    )
    assert verbs(plan) == ([] if hangs else ["await-master xen02", "recover-members lab"])
    if hangs:
        (held,) = plan.withheld
        assert "only 1 of 3 members answer" in held.why


def test_waiting_for_a_promoted_host_needs_no_proof_that_ran_out() -> None:
    """Found by the same seed: the plan rested on a certificate that was none any more, and was refused for ever."""
    seen = survey({"xen01": "silent", "xen02": "refused", "xen03": "follows xen01"}, master=None, bmc="none")
    plan = plan_of(seen, incident=SENT)
    assert verbs(plan) == ["await-master xen02", "recover-members lab"]
    assert plan.actions[0].certificate_of == ()
    assert plan_of(seen, "xen01", incident=SENT).actions[0].certificate_of == ("xen01",)
    assert not check_plan(plan, wanted(hosts=3, fencing=False), seen, None, certificates=(), now=NOW, limit=Level.CROWN)


def test_a_silent_member_is_passed_over_and_said_to_be() -> None:
    seen = survey({"xen01": "silent", "xen02": "silent"}, hosts=4, master=None, bmc="none")
    plan = plan_of(seen, "xen01", hosts=4)
    assert only(plan, Verb.PROMOTE) == ["xen03"]
    assert "xen02 was passed over as new master: it does not answer" in plan.notes


@pytest.mark.parametrize(
    ("candidate", "again"),
    [
        ({}, "xen02"),  # it goes on following the lost master: the call never arrived
        ({"follows": address("xen03")}, "xen03"),  # somebody pointed it there since, and that one follows the lost one
        ({"reaches_master": True}, ""),
    ],
    ids=["follows the lost one", "follows another", "reaches a master"],
)
def test_a_promotion_that_was_sent_is_sent_again_only_if_it_never_arrived(
    candidate: dict[str, object], again: str
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
    assert only(plan, Verb.PROMOTE) == ([again] if again else [])
    told = diagnose(wanted(fencing=False), seen, (certificate("xen01"),), now=NOW, incident=SENT)
    assert (told.situation is Situation.BOOTING) is not bool(again)


def test_who_was_master_at_the_last_reading_and_is_silent_may_be_it_still_whomever_the_members_follow() -> None:
    """Found by soak seed 5013065: it was cut off, and somebody had pointed the last member at a host that then died."""
    spec = {f"xen0{i}": "follows xen02" for i in range(3, 6)}
    seen = survey({"xen01": "silent off", "xen02": "silent off", **spec}, hosts=5, master=None)
    known = PoolBuilder(5).state()
    one, two = certificate("xen01"), certificate("xen02")
    plan = make_plan(wanted(hosts=5), seen, now=NOW, last_known=known, certificates=(two,))
    assert plan.diagnosis.lost_master == "xen02"
    assert plan.actions == ()
    (held,) = plan.withheld
    assert "xen01 was master when the pool was last read" in held.why
    assert held.remedy == "xenrec fence off pool.yaml xen01"
    proved = make_plan(wanted(hosts=5), seen, now=NOW, last_known=known, certificates=(one, two))
    promote, _ = proved.stages[0].actions
    assert (promote.verb, promote.certificate_of) == (Verb.PROMOTE, ("xen02", "xen01"))


def test_hosts_that_a_starting_master_has_not_enabled_yet_are_waited_for() -> None:
    pool = PoolBuilder()
    for name in ("xen01", "xen02"):
        pool.host(name, enabled=False)
    plan = make_plan(wanted(), survey(), now=NOW, state=pool.state())
    assert verbs(plan) == ["await-members lab"]


@pytest.mark.parametrize("power", ["on", "unknown", "off"])
def test_a_master_on_which_somebody_works_is_not_fenced(power: str) -> None:
    one = wanted(master=MasterWish("xen01", ("xen02",)))
    resting = (replace(one.members[0], state=MemberState.MAINTENANCE), *one.members[1:])
    seen = survey({"xen01": f"silent {power}"}, master=None)
    plan = make_plan(replace(one, members=resting), seen, now=NOW, last_known=PoolBuilder().state())
    if power == "off":
        assert only(plan, Verb.FENCE) == ["xen01"]
        return
    assert plan.actions == ()
    (held,) = plan.withheld
    assert held.why == "xen01 is declared in maintenance and not known to be off: somebody may be working on it"
    assert "xenrec attest pool.yaml xen01 --dead" in held.remedy


def test_a_second_promotion_rests_on_the_death_of_the_first_one_told_too() -> None:
    sent = replace(SENT, sent_at=NOW - 5)
    plan = plan_of(
        survey({"xen01": "silent", "xen02": "silent"}, hosts=5, master=None, bmc="none"),
        "xen01",
        "xen02",
        hosts=5,
        incident=sent,
    )
    (promote,) = (a for a in plan.actions if a.verb is Verb.PROMOTE)
    assert (promote.target.name, promote.certificate_of) == ("xen03", ("xen01", "xen02"))
