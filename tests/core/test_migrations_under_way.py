"""Migrations whose end nobody saw, whosever they are: the VM is tied to the target until the pool settles it."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.model import PoolState
from reconciler.core.unsettled import still_unsettled, under_way
from tests.core.build import NOW, PoolBuilder, address, ref, uuid


def moving(*, on: str = "xen03", busy: bool = True) -> PoolState:
    pool = PoolBuilder()
    vm = pool.vm("db01", on=on)
    if busy:
        pool.vms["db01"] = replace(vm, scheduled_on=ref("host", "xen02"), current_operations=("pool_migrate",))
    return replace(pool.state(), read_at=NOW)


def test_a_migration_that_the_pool_shows_is_noted_with_its_target() -> None:
    found = under_way(moving(), "r1")
    assert [(u.uuid, u.verb, u.host, u.at, u.run) for u in found] == [(uuid("db01"), "migrate", "xen02", NOW, "r1")]
    assert under_way(moving(busy=False), "r1") == ()


def test_it_is_settled_by_arriving_or_by_a_source_that_reaches_its_master_and_has_it() -> None:
    found = under_way(moving(), "r1")
    stayed, arrived = moving(busy=False), moving(on="xen02", busy=False)
    assert still_unsettled(found, moving(), {address("xen03")}) == found  # still under way
    assert still_unsettled(found, stayed) == found  # live, as XAPI says, is minutes old
    assert still_unsettled(found, stayed, {address("xen02")}) == found
    assert still_unsettled(found, stayed, {address("xen03")}) == ()
    assert still_unsettled(found, arrived) == ()
