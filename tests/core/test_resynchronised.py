"""A member that has not told what it runs since its master's machine came up may run anything (I1)."""

from __future__ import annotations

import pytest

from reconciler.core.plan import Plan, Verb
from reconciler.core.planner import make_plan
from reconciler.core.wanted import Level, MasterWish, Policy
from tests.core.build import NOW, PoolBuilder, certificate, only, survey, verbs, wanted, wish


def plan_of(pool: PoolBuilder, **seen: str) -> Plan:
    return make_plan(wanted(wish("db01")), survey(seen), now=NOW, state=pool.state())


def started(pool: PoolBuilder, host: str, agent: str, boot: str = "") -> None:
    pool.host(host, other_config={"agent_start_time": agent} | ({"boot_time": boot} if boot else {}))


def test_nothing_starts_while_a_toolstack_is_older_than_the_masters_machine() -> None:
    """Found by soak seed 2547: the master lost power with a start not yet written down, and came back: everybody was
    live and enabled, and the VM was started a second time."""
    pool = PoolBuilder()
    pool.vm("db01", on=None)
    started(pool, "xen01", "2000.", "1900.")
    started(pool, "xen02", "2100.")
    started(pool, "xen03", "1800.")
    plan = plan_of(pool)
    assert plan.actions == ()
    (held,) = plan.withheld
    assert held.action.verb is Verb.START
    assert held.why.startswith("xen03 has not told what it runs since the machine of xen01 restarted")
    assert "xe-toolstack-restart" in held.remedy
    started(pool, "xen03", "2200.")
    assert only(plan_of(pool), Verb.START) == ["db01"]


@pytest.mark.parametrize("answer", ["silent", "hung"])
def test_nor_while_one_of_that_kind_does_not_answer_any_more(answer: str) -> None:
    """Found by soak seed 1023054: as seed 2547, and its toolstack hung by the time of the second start."""
    pool = PoolBuilder()
    pool.vm("db01", on=None)
    started(pool, "xen01", "2000.", "1900.")
    started(pool, "xen02", "2100.")
    started(pool, "xen03", "1800.")
    plan = plan_of(pool, xen03=answer)
    assert only(plan, Verb.START) == []
    held = next(h for h in plan.withheld if h.action.verb is Verb.START)
    assert held.why.startswith("xen03 has not told what it runs since the machine of xen01 restarted and is not proved")
    assert held.remedy
    started(pool, "xen03", "2200.")  # it was lost under this master, which has everything in its records
    assert only(plan_of(pool, xen03=answer), Verb.START) == ["db01"]


def test_nor_while_one_that_the_manifest_does_not_name_has_not_told() -> None:
    pool = PoolBuilder(4)
    pool.vm("db01", on=None)
    started(pool, "xen01", "2000.", "1900.")
    started(pool, "xen04", "1800.")
    for host in ("xen02", "xen03"):
        started(pool, host, "2100.")
    assert plan_of(pool).actions == ()
    started(pool, "xen04", "2200.")
    assert only(plan_of(pool), Verb.START) == ["db01"]


def test_a_toolstack_restart_of_the_master_alone_casts_no_doubt() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on=None)
    started(pool, "xen01", "5000.", "1000.")
    started(pool, "xen02", "1800.")
    started(pool, "xen03", "not a number")
    assert only(plan_of(pool), Verb.START) == ["db01"]


def test_what_is_recorded_as_running_is_left_alone_all_the_same() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen03")
    started(pool, "xen01", "2000.", "1900.")
    started(pool, "xen03", "1800.")
    plan = plan_of(pool)
    assert plan.actions == ()
    assert plan.withheld == ()


def test_the_forecast_of_a_promotion_counts_on_toolstacks_that_will_restart() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen01")
    started(pool, "xen02", "2000.", "1900.")
    started(pool, "xen03", "1800.")
    plan = make_plan(
        wanted(wish("db01"), master=MasterWish("xen01", ("xen02",))),
        survey({"xen01": "silent"}, master=None),
        now=NOW,
        last_known=pool.state(),
        certificates=(certificate("xen01"),),
    )
    assert only(plan, Verb.START) == ["db01"]


def test_a_member_in_emergency_mode_is_recovered_not_waited_for() -> None:
    """Found by soak seed 65: powered on again after its master had died, it followed that one for ever."""
    pool = PoolBuilder()
    plan = plan_of(pool, xen03="emergency")
    assert verbs(plan)[0] == "recover-members lab"


def test_a_hand_over_goes_on_without_what_is_withheld_and_does_not_wait_for_it() -> None:
    """Found by soak seed 1557: it was planned, refused by the checker, and planned again for ever."""
    pool = PoolBuilder()
    pool.master = "xen02"
    pool.vm("db01", on=None)
    plan = make_plan(
        wanted(wish("db01"), master=MasterWish("xen01"), policy=Policy(attended=Level.MOVE)),
        survey({"xen01": "reaches xen02", "xen02": "master", "xen03": "reaches xen02"}),
        now=NOW,
        state=pool.state(),
        failback=True,
    )
    assert verbs(plan) == ["designate-master xen01"]
    assert plan.actions[0].follows == ()


def test_a_member_that_answers_is_not_taken_for_the_lost_master() -> None:
    """Found by soak seed 896: the manifest's wish was taken for the truth, and the pool for a tangle."""
    told = make_plan(
        wanted(master=MasterWish("xen03")),
        survey({"xen01": "silent", "xen02": "emergency", "xen03": "emergency"}, master=None),
        now=NOW,
    ).diagnosis
    assert told.lost_master is None
    assert told.why == "nobody accepts logins (in emergency mode: xen02 and xen03)"
    assert "see whom each follows: ssh root@10.0.0.12 cat /etc/xensource/pool.conf" in told.remedy
    assert "if it is one that does not answer, set spec.master.host in pool.yaml to it" in told.remedy
    assert "make sure that xen01 is off, then make xen03 master by hand: ssh root@10.0.0.13 xe pool-" in told.remedy


def test_an_earlier_master_that_answers_is_not_the_lost_one() -> None:
    """Found by soak seed 102022: another machine had handed the office over since this one last read the pool."""
    pool = PoolBuilder()
    told = make_plan(
        wanted(master=MasterWish("xen02")),
        survey({"xen01": "emergency", "xen02": "silent", "xen03": "emergency"}, master=None),
        now=NOW,
        last_known=pool.state(),
    )
    assert told.diagnosis.lost_master == "xen02"


def test_where_nobody_says_who_was_master_every_silent_member_must_be_proved_dead() -> None:
    pool = PoolBuilder(4)
    seen = survey(
        {"xen01": "silent", "xen02": "silent", "xen03": "emergency", "xen04": "emergency"},
        hosts=4,
        master=None,
        bmc="none",
    )

    def plan_with(*dead: str) -> Plan:
        return make_plan(
            wanted(hosts=4, fencing=False),
            seen,
            now=NOW,
            last_known=pool.state(),
            certificates=tuple(certificate(name) for name in dead),
        )

    (held,) = plan_with("xen01").withheld
    assert held.action.verb is Verb.PROMOTE
    assert held.why.startswith("the members don't say whom they follow, and xen02 does not answer either")
    assert "xen02" in held.remedy
    assert only(plan_with("xen01", "xen02"), Verb.PROMOTE) == ["xen03"]


def test_a_green_plan_says_whose_records_may_be_older_than_the_masters_restart() -> None:
    """Found by soak: a VM that was suspended in the seconds that the master forgot was called as declared."""
    pool = PoolBuilder()
    pool.vm("db01", on="xen03")
    started(pool, "xen01", "2000.", "1900.")
    started(pool, "xen02", "2100.")
    started(pool, "xen03", "1800.")
    plan = plan_of(pool)
    assert plan.actions == plan.withheld == ()
    (note,) = [n for n in plan.notes if "not told what runs there" in n]
    assert note.startswith("xen03 has not told what runs there since the machine of xen01 restarted")
    assert "xe-toolstack-restart" in note
    started(pool, "xen03", "2200.")
    assert not any("not told what runs there" in n for n in plan_of(pool).notes)
