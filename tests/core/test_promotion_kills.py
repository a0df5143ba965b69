"""A plan that promotes names the VMs that it may kill, and a saved one must find the same again."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.copies import Change, CopyMemory, Refreshed
from reconciler.core.plan import Plan, Verb
from reconciler.core.planner import make_plan
from reconciler.core.wanted import Level, MasterWish, Policy
from reconciler.views.saved_plan import moved_facts
from reconciler.views.text import plan_text
from tests.core.build import NOW, PoolBuilder, survey, uuid, wanted, wish


def planned(*refreshed: Refreshed) -> Plan:
    pool = PoolBuilder()
    pool.vm("db01", on="xen03")
    state = replace(pool.state(), read_at=NOW - 60.0)
    change = Change(uuid("db01"), "db01", None, uuid("xen03"), NOW - 360.0, NOW - 350.0)
    w = wanted(wish("db01"), master=MasterWish("xen01", ("xen02",)), policy=Policy(attended=Level.CROWN))
    return make_plan(
        w,
        survey({"xen01": "silent"}, master=None),
        now=NOW,
        state=None,
        last_known=state,
        memory=CopyMemory(NOW - 3600.0, (change,), refreshed),
    )


def test_the_promotion_names_whom_it_may_kill_and_a_newer_copy_moves_the_facts() -> None:
    old = planned()
    promote = next(a for a in old.actions if a.verb is Verb.PROMOTE)
    assert promote.target.name == "xen02"
    assert [(d.name, d.host) for d in promote.kills] == [("db01", "xen03")]
    fact = next(f for f in old.facts if f.what == "VM db01 on xen03")
    assert fact.value == "may be killed by the promotion of xen02"
    assert "may kill: db01 on xen03 (created between" in plan_text(old, width=120)

    fresh = planned(Refreshed(uuid("xen02"), NOW - 90.0))
    assert not next(a for a in fresh.actions if a.verb is Verb.PROMOTE).kills
    assert moved_facts(fresh, old) == (
        "the plan was not about VM db01 on xen03, now it is: may be killed by the promotion of xen02",
    )
    assert moved_facts(fresh, planned(Refreshed(uuid("xen02"), NOW - 80.0))) == ()
