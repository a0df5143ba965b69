"""VMs that somebody is at: what is under way is waited for, and never taken for done."""

from __future__ import annotations

from reconciler.core.plan import Status, Verb
from reconciler.core.planner import make_plan
from tests.core.build import NOW, PoolBuilder, ref, survey, verbs, wanted, wish


def plan(pool: PoolBuilder, state: str = "running"):
    return make_plan(wanted(wish("db", state)), survey(master="xen01"), now=NOW, state=pool.state())


def test_a_start_under_way_is_waited_for_where_it_happens() -> None:
    pool = PoolBuilder()
    pool.vm("db", home="xen02", current_operations=("start_on",), scheduled_on=ref("host", "xen03"))
    made = plan(pool)
    assert verbs(made) == ["start db -> xen03"]
    assert "is being started on xen03" in made.actions[0].why
    assert made.status is Status.CHANGES


def test_a_start_under_way_needs_no_second_room() -> None:
    pool = PoolBuilder(memory=3 << 30)
    pool.vm("db", current_operations=("start",), scheduled_on=ref("host", "xen02"))
    assert verbs(plan(pool)) == ["start db -> xen02"]


def test_another_operation_on_a_vm_that_should_run_is_a_wish_unmet() -> None:
    pool = PoolBuilder()
    pool.vm("db", current_operations=("copy",))
    made = plan(pool)
    assert made.actions == ()
    assert made.status is Status.BLOCKED
    assert "it is Halted and somebody is at it: copy" in made.unmet[0].why


def test_a_shutdown_under_way_is_waited_for_and_a_migration_is_not_cut() -> None:
    pool = PoolBuilder()
    pool.vm("db", on="xen02", current_operations=("clean_shutdown",))
    made = plan(pool, "halted")
    assert [a.verb for a in made.actions] == [Verb.SHUTDOWN]
    pool.vm("db", on="xen02", current_operations=("pool_migrate",))
    made = plan(pool, "halted")
    assert made.actions == ()
    assert "somebody is at it: pool_migrate" in made.unmet[0].why


def test_what_was_under_way_at_a_lost_master_is_not_forecast() -> None:
    pool = PoolBuilder()
    pool.vm("db", current_operations=("start_on",), scheduled_on=ref("host", "xen01"))
    seen = survey({"xen01": "silent off"}, master=None)
    made = make_plan(wanted(wish("db")), seen, now=NOW, last_known=pool.state())
    assert made.unmet == ()
    start = next(a for a in made.actions if a.verb is Verb.START)
    assert start.to is not None
    assert start.to.name != "xen01"
