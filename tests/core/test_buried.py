"""A host that was declared dead, answers, and never told since what it runs: what it may run is said by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.buried import Buried, still_buried
from reconciler.core.plan import Plan
from reconciler.core.planner import make_plan
from tests.core.build import NOW, PoolBuilder, survey, uuid, wanted, wish

OLD = {"agent_start_time": "1699990000."}
NEW = {"agent_start_time": "1700000000."}


def buried(*vms: str, host: str = "xen03") -> tuple[Buried, ...]:
    at = OLD["agent_start_time"]
    return tuple(Buried(vm, uuid(vm), host, uuid(host), at, NOW - 300, "run-1") for vm in vms)


def pool(*, enabled: bool = False, live: bool = True, toolstack: dict[str, str] = OLD) -> PoolBuilder:
    build = PoolBuilder()
    build.host("xen03", enabled=enabled, live=live, other_config=toolstack)
    build.vm("web", on="xen02")
    build.vm("app")
    return build


def plan(build: PoolBuilder, found: tuple[Buried, ...], **more: Any) -> Plan:
    return make_plan(wanted(wish("web")), survey(**more), now=NOW, state=build.state(), buried=found)


def words(found: Plan) -> str:
    return " ".join(f"{u.why} {u.remedy}" for u in found.unmet if u.wish == "run each VM once")


@pytest.mark.parametrize("enabled", [False, True])
def test_one_that_came_back_with_the_toolstack_it_had_is_told_even_where_all_is_green(enabled: bool) -> None:
    found = plan(pool(enabled=enabled), buried("web", "app"))
    told = words(found)
    assert "web on xen03 and on xen02: running twice destroys a disk" in told
    assert "app on xen03, while the pool has it as halted" in told
    assert "kills web on xen03, and leaves what runs elsewhere" in told
    assert "makes the pool know app as running there" in told
    assert told.endswith("xe-toolstack-restart")
    assert not [u for u in found.unmet if u.wish == "state active"]


def test_nothing_is_told_of_one_that_restarted_is_away_or_was_never_buried() -> None:
    assert words(plan(pool(toolstack=NEW), buried("web"))) == ""
    assert words(plan(pool(live=False), buried("web"), spec={"xen03": "silent"})) == ""
    assert words(plan(pool(), ())) == ""
    assert words(plan(pool(), buried("web", host="xen02"))) == ""


def test_what_settles_it() -> None:
    one = buried("web")
    assert still_buried(one, pool().state()) == one
    assert still_buried(one, pool(enabled=True).state()) == one
    assert still_buried(one, pool(toolstack=NEW).state()) == one  # it has not told yet
    assert still_buried(one, pool(enabled=True, toolstack=NEW).state()) == ()
    assert still_buried((replace(one[0], uuid="gone"),), pool().state()) == ()
    assert still_buried((replace(one[0], host_uuid="gone"),), pool().state()) == ()
