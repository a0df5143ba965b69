"""The order of starts and stops: dependsOn, what is waited for between them, and XAPI's order within a vApp."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from reconciler.core.model import PoolState
from reconciler.core.plan import Action, Plan, Verb
from reconciler.core.planner import make_plan
from reconciler.core.wanted import Level, Ready, VmWish, Wanted
from tests.core.build import NOW, PoolBuilder, survey, wanted, wish

UP = (Verb.START, Verb.RESUME, Verb.UNPAUSE)


def plan(wishes: Wanted, state: PoolState) -> Plan:
    return make_plan(wishes, survey(), now=NOW, state=state)


def told(made: Plan) -> list[str]:
    return [f"{a.verb} {a.target.name}" for a in made.actions]


def named(made: Plan, words: str) -> Action:
    return next(a for a in made.actions if f"{a.verb} {a.target.name}" == words)


def pool_of(*names: str, **more: object) -> PoolBuilder:
    pool = PoolBuilder()
    for name in names:
        pool.vm(name, **more)  # type: ignore[arg-type]
    return pool


def depends(name: str, *others: str, ready: Ready | None = None, state: str = "running") -> VmWish:
    return replace(wish(name, state), depends_on=others, ready=ready)


def test_a_start_follows_the_wait_for_what_it_depends_on() -> None:
    made = plan(wanted(depends("a", "b"), depends("b", ready=Ready(tcp=80))), pool_of("a", "b").state())
    assert told(made) == ["start b", "await-ready b", "start a"]
    wait = named(made, "await-ready b")
    assert wait.follows == (named(made, "start b").id,)
    assert named(made, "start a").follows == (wait.id,)
    assert (wait.ready, wait.why) == (Ready(tcp=80), "a depends on it")


def test_ready_means_nothing_where_nobody_waits_for_it() -> None:
    made = plan(wanted(depends("b", ready=Ready(tcp=80))), pool_of("b").state())
    assert told(made) == ["start b"]


def test_a_dependency_that_runs_is_asked_and_one_without_ready_is_not() -> None:
    pool = pool_of("a", "z")
    pool.vm("b", on="xen02")
    pool.vm("c", on="xen02")
    wishes = wanted(depends("a", "b", "c"), depends("b", ready=Ready(tools=True)), wish("c"), depends("z", "c"))
    made = plan(wishes, pool.state())
    assert told(made) == ["await-ready b", "start a", "start z"]
    assert named(made, "await-ready b").follows == ()


def test_one_wait_serves_all_who_depend_on_it() -> None:
    names = [f"w{i}" for i in range(6)]
    wishes = wanted(*(depends(n, "db") for n in names), depends("db", ready=Ready(delay=5)))
    made = plan(wishes, pool_of("db", *names).state())
    assert told(made).count("await-ready db") == 1
    assert named(made, "await-ready db").why == "w0, w1 and w2 and 3 others depend on it"


def test_a_wait_goes_with_the_start_that_is_withheld_and_is_no_reason_of_its_own() -> None:
    wishes = wanted(depends("a", "b"), replace(depends("b", ready=Ready(tcp=80)), max_level=Level.OBSERVE))
    made = plan(wishes, pool_of("a", "b").state())
    assert told(made) == []
    assert [(h.action.target.name, h.why) for h in made.withheld][1] == ("a", "it follows start b, which is withheld")
    assert len(made.withheld) == 2


@pytest.mark.parametrize("state", ["as-is", "halted", "suspended"])
def test_what_depends_on_something_that_stays_down_is_withheld(state: str) -> None:
    made = plan(wanted(depends("a", "b"), wish("b", state)), pool_of("a", "b").state())
    assert "start a" not in told(made)
    held = next(h for h in made.withheld if h.action.target.name == "a")
    assert held.why == "it depends on b, which is Halted and is not declared running"
    assert held.remedy == "declare b running, or remove the dependency"


def test_what_depends_on_a_vm_that_the_pool_has_not_is_withheld() -> None:
    made = plan(wanted(depends("a", "b"), wish("b")), pool_of("a").state())
    assert [h.why for h in made.withheld] == ["it depends on b, and no VM can be told by that"]
    made = plan(wanted(depends("a", "b"), replace(wish("b"), optional=True)), pool_of("a").state())
    assert told(made) == ["start a"]


def test_stops_go_the_other_way_and_wait_for_no_one() -> None:
    pool = pool_of("a", "b", "c", on="xen02")
    wishes = wanted(
        depends("b", "a", state="halted", ready=Ready(tcp=1)), wish("a", "halted"), depends("c", "b", state="halted")
    )
    made = plan(wishes, pool.state())
    assert told(made) == ["shutdown c", "shutdown b", "shutdown a"]
    assert named(made, "shutdown a").follows == (named(made, "shutdown b").id,)
    assert named(made, "shutdown b").follows == (named(made, "shutdown c").id,)


def test_a_circle_of_stops_stops_them_all() -> None:
    pool = pool_of("a", "b", on="xen02")
    made = plan(wanted(depends("a", "b", state="halted"), depends("b", "a", state="halted")), pool.state())
    assert sorted(told(made)) == ["shutdown a", "shutdown b"]


def test_a_vapp_starts_in_its_order_and_a_group_that_fails_is_no_obstacle() -> None:
    pool = PoolBuilder()
    for name, order in (("a", 3), ("b", 1), ("c", 2), ("d", 2)):
        pool.vm(name, appliance="OpaqueRef:shop", order=order)
    pool.vm("e", order=9)
    made = plan(wanted(*(wish(n) for n in "abcde")), pool.state())
    ids = {n: named(made, f"start {n}").id for n in "abcde"}
    assert named(made, "start a").behind == (ids["b"], ids["c"], ids["d"])
    assert named(made, "start c").behind == named(made, "start d").behind == (ids["b"],)
    assert named(made, "start e").behind == named(made, "start b").behind == ()
    assert all(not a.follows for a in made.actions)


def test_dependsOn_is_stronger_than_a_vapps_order() -> None:
    pool = PoolBuilder()
    pool.vm("a", appliance="OpaqueRef:shop", order=1)
    pool.vm("b", appliance="OpaqueRef:shop", order=2)
    made = plan(wanted(depends("a", "b"), wish("b")), pool.state())
    assert told(made) == ["start b", "start a"]
    assert named(made, "start a").behind == named(made, "start b").behind == ()


def test_whatever_depends_on_whatever_each_start_comes_after_what_it_needs() -> None:
    """500 random trees and circles: what is planned is in order, and the rest is withheld with a reason."""
    for seed in range(500):
        rng = random.Random(seed)
        names = [f"v{i}" for i in range(rng.randint(2, 9))]
        pool = PoolBuilder()
        for name in names:
            on = "xen02" if rng.random() < 0.3 else None
            vapp = "OpaqueRef:shop" if rng.random() < 0.5 else None
            pool.vm(name, on=on, appliance=vapp, order=rng.randint(0, 3))
        wishes = {
            n: depends(
                n,
                *rng.sample([o for o in names if o != n], rng.randint(0, min(2, len(names) - 1))),
                ready=Ready(tools=True) if rng.random() < 0.5 else None,
            )
            for n in names
        }
        made = plan(wanted(*wishes.values()), pool.state())
        place = {f"{a.verb} {a.target.name}": i for i, a in enumerate(made.actions)}
        ids = {a.id: i for i, a in enumerate(made.actions)}
        for number, action in enumerate(made.actions):
            assert all(ids[i] < number for i in (*action.follows, *action.behind)), seed
            if action.verb in UP:
                for other in wishes[action.target.name].depends_on:
                    runs = f"start {other}" not in place
                    assert runs or place[f"start {other}"] < number, seed
                    if wishes[other].ready:
                        assert place[f"await-ready {other}"] < number, seed
        settled = {a.target.name for a in made.actions} | {h.action.target.name for h in made.withheld}
        assert settled >= {v.name for v in pool.vms.values() if v.resident_on is None}, seed


def test_what_depends_on_a_vm_that_is_to_stop_does_not_start() -> None:
    pool = pool_of("a", "b")
    pool.vm("c", on="xen02")
    made = plan(
        wanted(depends("a", "b"), depends("b", "c", ready=Ready(tools=True)), wish("c", "halted")), pool.state()
    )
    assert told(made) == ["shutdown c"]
    assert {h.action.target.name: h.why for h in made.withheld} == {
        "a": "it depends on b, which does not run then",
        "b": "it depends on c, which does not run then",
    }
