"""Who is not fenced or buried, and who keeps VMs from being started (I1, I6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.brake import NO_BRAKE
from reconciler.core.bury import fence_obstacle
from reconciler.core.evidence import BmcPower
from reconciler.core.mark import MARK
from reconciler.core.plan import Plan, Verb
from reconciler.core.planner import make_plan
from reconciler.core.standing import Stand, Standing
from reconciler.core.wanted import Brake, Member, MemberState, Policy
from tests.core.build import FENCE, NOW, PoolBuilder, certificate, only, survey, wanted, wish


def lost_member(**host: object) -> PoolBuilder:
    """db01 is recorded on xen03, which the master counts as lost."""
    pool = PoolBuilder()
    pool.vm("db01", on="xen03")
    pool.host("xen03", **({"live": False, "enabled": False} | host))
    return pool


def plan_of(pool: PoolBuilder, fate: str) -> Plan:
    return make_plan(wanted(wish("db01")), survey({"xen03": fate}), now=NOW, state=pool.state())


def test_silent_and_lost_to_the_master_too_it_is_fenced() -> None:
    assert only(plan_of(lost_member(), "silent"), Verb.FENCE) == ["xen03"]


@pytest.mark.parametrize("fate", ["refused", "hung", "untrusted", "silent unknown"])
def test_one_that_shows_life_or_whose_bmc_is_silent_is_neither_fenced_nor_buried(fate: str) -> None:
    plan = plan_of(lost_member(), fate)
    assert plan.actions == ()
    assert [h.action.target.name for h in plan.withheld if h.action.verb is Verb.START] == ["db01"]


def test_one_that_the_master_still_hears_is_not_fenced() -> None:
    assert plan_of(lost_member(live=True, enabled=True), "silent").actions == ()


def test_the_brake_keeps_from_fencing() -> None:
    pool = lost_member()
    member = Member("xen03", "10.0.0.13", fencing=FENCE)
    one = Stand(pool.hosts["xen03"], member, Standing.SILENT, "no answer", bmc=BmcPower.ON)
    assert fence_obstacle(one, NO_BRAKE) == ("", "")
    assert fence_obstacle(one, ("only 1 of 3 members answer", "look")) == ("only 1 of 3 members answer", "look")
    assert fence_obstacle(replace(one, standing=Standing.SUSPECT), NO_BRAKE)[0].startswith("xen03 shows life")


def test_a_host_that_nobody_declared_and_nobody_hears_may_run_anything() -> None:
    pool = PoolBuilder(4)
    pool.vm("db01", on=None)
    pool.host("xen04", live=False)
    plan = make_plan(wanted(wish("db01")), survey(), now=NOW, state=pool.state())
    assert plan.actions == ()
    assert "xen04 is in the pool but not in the manifest" in plan.withheld[0].why


def test_what_is_recorded_on_a_host_that_is_gone_is_not_started() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen03")
    pool.vms["db01"] = replace(pool.vms["db01"], resident_on="OpaqueRef:gone")
    plan = make_plan(wanted(wish("db01")), survey(), now=NOW, state=pool.state())
    assert plan.actions == ()
    assert "a host that the pool does not know" in plan.unmet[0].why


def test_a_start_rests_on_every_death_that_the_master_has_not_seen() -> None:
    """Dead since before the master started: what ran there the database may not know."""
    pool = PoolBuilder()
    pool.vm("db01", on=None)
    pool.host("xen03", live=False, enabled=False)
    plan = make_plan(
        wanted(wish("db01")),
        survey({"xen03": "silent off"}),
        now=NOW,
        state=pool.state(),
        certificates=(certificate("xen03", "fenced"),),
    )
    (start,) = plan.actions
    assert start.verb is Verb.START
    assert start.certificate_of == ("xen03",)


def test_the_brake_holds_in_a_managed_pool_too() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on=None)
    pool.vm("web01", on="xen02")
    plan = make_plan(
        wanted(wish("db01"), wish("web01", "halted"), policy=Policy(brake=Brake(0.9))),
        survey({"xen03": "silent"}),
        now=NOW,
        state=pool.state(),
    )
    assert plan.actions == ()
    assert {h.action.target.name for h in plan.withheld} == {"db01", "web01"}
    assert all("minHealthy" in h.why for h in plan.withheld)


def resting(pool: PoolBuilder, fate: str, **change: object) -> Plan:
    """The plan where xen03 is declared in maintenance, or as `change` says."""
    one = wanted(wish("db01"))
    members = (*one.members[:2], replace(one.members[2], **(change or {"state": MemberState.MAINTENANCE})))  # type: ignore[arg-type]
    return make_plan(replace(one, members=members), survey({"xen03": fate}), now=NOW, state=pool.state())


@pytest.mark.parametrize("fate", ["silent on", "silent unknown", "silent none"])
def test_one_that_is_declared_in_maintenance_and_not_known_to_be_off_is_not_fenced(fate: str) -> None:
    plan = resting(lost_member(), fate)
    assert plan.actions == ()
    held = next(h for h in plan.withheld if h.action.verb is Verb.DECLARE_DEAD)
    assert held.why == "xen03 is declared in maintenance and not known to be off: somebody may be working on it"
    assert "xenrec attest pool.yaml xen03 --dead" in held.remedy
    assert only(resting(lost_member(), "silent off"), Verb.FENCE) == ["xen03"]


@pytest.mark.parametrize(("fate", "marked", "starts"), [("on", False, 0), ("off", False, 1), ("on", True, 1)])
def test_maintenance_alone_does_not_say_that_a_silent_host_runs_nothing(fate: str, marked: bool, starts: int) -> None:
    """It was cut off when the master died, and runs what the promoted copy of the database has as halted."""
    pool = PoolBuilder()
    pool.vm("db01", on=None)
    mark = {MARK: "2026-11-22T03:00:00Z"} if marked else {}
    pool.host("xen03", live=False, enabled=False, other_config=mark)
    plan = resting(pool, f"silent {fate}")
    assert len(only(plan, Verb.START)) == starts
    assert [h.action.target.name for h in plan.withheld if h.action.verb is Verb.START] == ["db01"][starts:]


def test_one_that_was_asked_at_another_address_than_the_pools_is_not_fenced() -> None:
    plan = resting(lost_member(), "silent", address="10.0.0.99")
    assert plan.actions == ()
    held = next(h for h in plan.withheld if h.action.verb is Verb.DECLARE_DEAD)
    assert held.why == "xen03 was asked at 10.0.0.99, which is not its address: the pool has it at 10.0.0.13"
    assert held.remedy == "correct the address of xen03 under spec.members"
    assert only(resting(lost_member(), "silent", address="10.0.0.13:8443"), Verb.FENCE) == ["xen03"]
    assert only(resting(lost_member(), "silent", address="xen03.lan"), Verb.FENCE) == ["xen03"]
