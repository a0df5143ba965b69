"""How long a plan takes: chains, limits, what earlier runs took, and what nothing runs beside."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.expected import MOMENT, USUAL, Took, expected, learnt
from reconciler.core.plan import Action, Done, Plan, Result, Stage, Thing, Verb
from reconciler.core.planner import make_plan
from reconciler.core.wanted import Limits, Ready
from tests.core.build import NOW, PoolBuilder, survey, uuid, wanted, wish

START = USUAL[Verb.START]


def start(name: str, to: str = "xen02", *follows: str) -> Action:
    host = Thing("host", to, uuid(to))
    return Action(Verb.START, Thing("vm", name, uuid(name)), "", to=host, follows=follows)


def plan_of(*actions: Action) -> Plan:
    base = make_plan(wanted(), survey(), now=NOW, state=PoolBuilder().state())
    return replace(base, stages=(Stage("restore", actions),))


def told(*actions: Action, limits: Limits | None = None, known: tuple[Took, ...] = ()) -> tuple[float, list[str]]:
    seconds, chain = expected(plan_of(*actions), limits or Limits(), known)
    return seconds, [f"{a.verb} {a.target.name}" for a in chain]


def test_a_chain_takes_what_its_steps_take() -> None:
    a = start("a")
    wait = Action(Verb.AWAIT_READY, a.target, "", follows=(a.id,), ready=Ready(delay=100))
    b = start("b", "xen02", wait.id)
    c = start("c")
    assert told(a, wait, b, c) == (2 * START + 100, ["start a", "await-ready a", "start b"])


def test_a_wait_takes_no_longer_than_it_may_and_one_for_what_runs_a_moment() -> None:
    a = start("a")
    wait = Action(Verb.AWAIT_READY, a.target, "", follows=(a.id,), ready=Ready(tcp=1, timeout=5))
    assert told(a, wait)[0] == START + 5
    assert told(replace(wait, follows=()))[0] == MOMENT


def test_the_limits_bound_it_where_there_is_much_of_one_kind() -> None:
    many = [start(f"v{i}", f"xen0{1 + i % 2}") for i in range(40)]
    assert told(*many, limits=Limits(starts_per_host=100, starts_per_pool=10))[0] == 4 * START
    assert told(*many, limits=Limits(starts_per_host=2, starts_per_pool=100))[0] == 10 * START


def test_what_nothing_runs_beside_is_added() -> None:
    fence = Action(Verb.FENCE, Thing("host", "xen03", uuid("xen03")), "")
    assert told(fence, start("a"))[0] == USUAL[Verb.FENCE] + START


def test_earlier_runs_know_better() -> None:
    slow = Done(start("a"), Result.DONE, took=300.0)
    known = learnt((), [slow, Done(start("b"), Result.ALREADY, took=0.1), Done(start("c"), Result.FAILED, took=9.0)])
    assert known == (Took(uuid("a"), "start", 300.0),)
    assert told(start("a"), known=known)[0] == 300.0
    again = learnt(known, [replace(slow, took=100.0)])
    assert again[0].seconds == pytest.approx(200.0)


def test_a_start_delay_is_slept_twice() -> None:
    pool = PoolBuilder()
    pool.vm("a", start_delay=30)
    plan = make_plan(wanted(wish("a")), survey(), now=NOW, state=pool.state())
    assert expected(plan, Limits(), (), pool.state())[0] == START + 60
