"""Whom placement may touch, and in which order: by the plan alone, so that each guard is seen beside the checker's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.plan import Action, Plan, Verb
from reconciler.core.planner import make_plan
from reconciler.core.wanted import Level, MemberState, PlacementWish, Policy, Priority, VmWish
from tests.core.build import GIB, NOW, PoolBuilder, certificate, survey, verbs, wanted, wish

SHED = Policy(shed=Priority.LOW)


def pool_of(hosts: int = 2, **vms: str) -> PoolBuilder:
    """Hosts of 16 GiB; name="xen01 10" runs there with so many GiB, name="10" is halted."""
    pool = PoolBuilder(hosts=hosts, memory=16 * GIB)
    for name, told in vms.items():
        *on, gib = told.split()
        pool.vm(name, on=on[0] if on else None, memory=int(gib) * GIB)
    return pool


def plan_of(pool: PoolBuilder, *wishes: VmWish, policy: Policy = Policy(), dead: str = "") -> Plan:  # noqa: B008
    hosts = len(pool.hosts)
    seen = survey({dead: "silent off"} if dead else {}, hosts=hosts)
    proofs = (certificate(dead),) if dead else ()
    declared = wanted(*wishes, hosts=hosts, policy=policy)
    return make_plan(declared, seen, now=NOW, state=pool.state(), certificates=proofs)


def must(name: str, host: str, **more: str) -> VmWish:
    """It must run there."""
    return wish(name, placement=PlacementWish(require=(host,), **more))  # type: ignore[arg-type]


def only(plan: Plan, verb: Verb, name: str) -> Action:
    (found,) = (a for a in plan.actions if (a.verb, a.target.name) == (verb, name))
    return found


def low(name: str, **more: object) -> VmWish:
    return replace(wish(name, **more), priority=Priority.LOW)


def high(name: str, **more: object) -> VmWish:
    return replace(wish(name, **more), priority=Priority.HIGH)


# --- who is stopped --------------------------------------------------------------------------------------------------


def crowded() -> PoolBuilder:
    return pool_of(web1="xen01 10", web2="xen02 10", db01="10")


def test_one_of_the_least_important_is_stopped_where_the_policy_says_so() -> None:
    made = plan_of(crowded(), high("db01"), low("web1"), low("web2"), policy=SHED)
    assert [a.verb for a in made.actions] == [Verb.SHUTDOWN, Verb.START]


def test_room_that_a_stop_under_way_gives_back_is_waited_for() -> None:
    """Found by `make killed`: place-shed-allowed, killed after the shutdown was sent."""
    pool = crowded()
    pool.vms["web1"] = replace(pool.vms["web1"], current_operations=("clean_shutdown",))
    (unmet,) = (u for u in plan_of(pool, wish("db01"), low("web1"), low("web2")).unmet if u.target.name == "db01")
    assert unmet.why.endswith("; web1 is being stopped, which gives room back")
    assert unmet.remedy == "wait until that has ended, then run again; else stop something or bring a host back"


@pytest.mark.parametrize(
    ("entry", "fields"),
    [
        ({"priority": Priority.NORMAL}, {}),
        ({"max_level": Level.MOVE}, {}),
        ({}, {"current_operations": ("snapshot",)}),
        ({}, {"blocked_operations": {"clean_shutdown": "no"}}),
    ],
    ids=["priority", "level", "busy", "blocked"],
)
def test_nothing_is_stopped_that_must_not_be(entry: dict[str, object], fields: dict[str, object]) -> None:
    pool = crowded()
    for name in ("web1", "web2"):
        pool.vms[name] = replace(pool.vms[name], **fields)  # type: ignore[arg-type]
    others = [replace(low(name), **entry) for name in ("web1", "web2")]  # type: ignore[arg-type]
    made = plan_of(pool, high("db01"), *others, policy=SHED)
    assert verbs(made) == []
    assert [h.action.target.name for h in made.withheld if h.action.target.name != "db01"] == []


# --- who is moved ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{"blocked_operations": {"pool_migrate": "no"}}, {}], ids=["blocked", "level"])
def test_nothing_is_moved_that_must_not_be(fields: dict[str, object]) -> None:
    pool = pool_of(web1="xen01 2")
    pool.vms["web1"] = replace(pool.vms["web1"], **fields)  # type: ignore[arg-type]
    entry = must("web1", "xen02")
    made = plan_of(pool, entry if fields else replace(entry, max_level=Level.METADATA))
    assert verbs(made) == []
    assert made.withheld == ()
    assert [u.target.name for u in made.unmet] == ["web1"]


def test_nothing_is_moved_where_its_disk_is_not() -> None:
    pool = pool_of(3, web1="xen01 2")
    pool.sr("san-2", shared=True, on=["xen01"])
    pool.vm("web1", on="xen01", sr="san-2")
    made = plan_of(pool, wish("web1", placement=PlacementWish(avoid=("xen01",))))
    assert verbs(made) == []
    pool.vm("new", sr="san-2")
    made = plan_of(pool, wish("new", placement=PlacementWish(prefer=("xen02",))))
    assert verbs(made) == ["start new -> xen01"]


def test_nothing_is_moved_to_a_host_that_is_not_ready() -> None:
    pool = pool_of(web1="xen01 2")
    assert verbs(plan_of(pool, must("web1", "xen02"))) == ["migrate web1 -> xen02"]
    pool.host("xen02", enabled=False)
    assert verbs(plan_of(pool, must("web1", "xen02"))) == []


def test_what_moves_already_is_not_moved_again() -> None:
    """For room, off the host of one that leaves for a maintenance; and it would like to be there anyway."""
    pool = pool_of(3, db01="xen02 12", web1="xen01 6", web3="xen03 7")
    likes = wish("web1", placement=PlacementWish(prefer=("xen03",)))
    w = wanted(wish("db01"), likes, wish("web3"), policy=Policy(rebalance=True))
    resting = tuple(replace(m, state=MemberState.MAINTENANCE) if m.name == "xen02" else m for m in w.members)
    made = make_plan(replace(w, members=resting), survey(), now=NOW, state=pool.state())
    assert verbs(made) == ["disable-host xen02", "migrate web1 -> xen03", "migrate db01 -> xen01"]


# --- in which order --------------------------------------------------------------------------------------------------


def test_a_start_follows_the_move_that_makes_room_for_it() -> None:
    made = plan_of(pool_of(web1="xen01 6", web2="xen02 6", db01="12"), wish("db01"), wish("web1"), wish("web2"))
    (move,) = (a for a in made.actions if a.verb is Verb.MIGRATE)
    assert only(made, Verb.START, "db01").follows == (move.id,)


def test_a_move_follows_the_one_that_makes_room_for_it() -> None:
    made = plan_of(pool_of(3, web1="xen01 10", web2="xen02 10"), must("web1", "xen02"), must("web2", "xen03"))
    assert only(made, Verb.MIGRATE, "web1").follows == (only(made, Verb.MIGRATE, "web2").id,)


def test_a_move_follows_the_one_of_a_vm_that_it_must_not_meet() -> None:
    apart = {"apart": "g"}
    made = plan_of(
        pool_of(3, web1="xen01 1", web2="xen02 1"), must("web1", "xen02", **apart), must("web2", "xen03", **apart)
    )
    assert only(made, Verb.MIGRATE, "web1").follows == (only(made, Verb.MIGRATE, "web2").id,)


def test_the_second_move_of_a_vm_follows_its_first() -> None:
    made = plan_of(pool_of(3, web1="xen01 10", web2="xen02 10"), must("web1", "xen02"), must("web2", "xen01"))
    twice = [a for a in made.actions if [b.target for b in made.actions].count(a.target) == 2]
    assert len(twice) == 2
    assert twice[0].id in twice[1].follows


# --- for whose sake --------------------------------------------------------------------------------------------------


def test_nothing_is_stopped_before_the_burial_that_its_start_waits_for() -> None:
    pool = pool_of(3, web1="xen01 10", web2="xen02 10", db01="xen03 10")
    made = plan_of(pool, high("db01"), low("web1"), low("web2"), policy=SHED, dead="xen03")
    bury = only(made, Verb.DECLARE_DEAD, "xen03")
    (stop,) = (a for a in made.actions if a.verb is Verb.SHUTDOWN)
    assert bury.id in stop.follows
    assert stop.id in only(made, Verb.START, "db01").follows


def test_nothing_is_moved_before_the_burial_that_its_start_waits_for() -> None:
    pool = pool_of(3, web1="xen01 6", web2="xen02 6", db01="xen03 12")
    made = plan_of(pool, wish("db01"), wish("web1"), wish("web2"), dead="xen03")
    (move,) = (a for a in made.actions if a.verb is Verb.MIGRATE)
    assert only(made, Verb.DECLARE_DEAD, "xen03").id in move.follows


def test_nothing_makes_room_for_a_start_that_is_withheld() -> None:
    entries = (replace(wish("db01"), max_level=Level.MOVE), wish("web1"), wish("web2"))
    made = plan_of(pool_of(web1="xen01 6", web2="xen02 6", db01="12"), *entries)
    assert verbs(made) == []
    assert {h.action.verb for h in made.withheld} >= {Verb.START}
