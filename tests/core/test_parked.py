"""Actions that fail run after run: counted once a run, forgotten when they succeed or are settled otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.guard import Allowance
from reconciler.core.model import PowerState
from reconciler.core.parked import Failing, noted, parked, still_failing
from reconciler.core.plan import Action, Done, Plan, Result, Thing, Verb
from reconciler.core.planner import make_plan
from reconciler.core.wanted import Limits, Policy, Wanted
from tests.core.build import NOW, PoolBuilder, survey, uuid, verbs, wanted, wish


def ended(verb: Verb, result: Result, name: str = "db01") -> Done:
    return Done(Action(verb, Thing("vm", name, uuid(name)), ""), result, "no luck")


def after(*runs: list[Done]) -> tuple[Failing, ...]:
    known: tuple[Failing, ...] = ()
    for number, done in enumerate(runs):
        known = noted(known, done, run=f"r{number}", at=NOW + number)
    return known


def test_failures_of_runs_in_a_row_are_counted_once_a_run() -> None:
    bad = ended(Verb.START, Result.FAILED)
    known = after([bad], [bad, bad], [bad])
    assert [(f.name, f.verb, f.runs, f.at, f.run, f.why) for f in known] == [
        ("db01", "start", 3.0, NOW + 2, "r2", "no luck")
    ]
    assert known[0].words.startswith("its start failed in 3 runs in a row, last at ")


@pytest.mark.parametrize("result", [Result.DONE, Result.ALREADY])
def test_success_forgets(result: Result) -> None:
    assert after([ended(Verb.START, Result.FAILED)], [ended(Verb.START, result)]) == ()


def test_a_refusal_counts_where_xapi_refuses_too_until_somebody_changes_something() -> None:
    refused = replace(ended(Verb.MIGRATE, Result.REFUSED), lasting=True)
    assert [(f.verb, f.runs) for f in after([refused], [refused])] == [("migrate", 2.0)]
    ours = ended(Verb.MIGRATE, Result.REFUSED)
    assert [f.runs for f in after([refused], [ours], [refused])] == [2.0]


@pytest.mark.parametrize("result", [Result.SKIPPED, Result.REFUSED, Result.UNKNOWN])
def test_what_was_not_tried_or_is_not_known_changes_nothing(result: Result) -> None:
    known = after([ended(Verb.START, Result.FAILED)], [ended(Verb.START, result)])
    assert [f.runs for f in known] == [1.0]


def test_each_verb_and_each_vm_counts_for_itself_and_hosts_do_not() -> None:
    host = Done(Action(Verb.DECLARE_DEAD, Thing("host", "xen02", uuid("xen02")), ""), Result.FAILED)
    wait = ended(Verb.AWAIT_READY, Result.FAILED)
    several = [ended(Verb.START, Result.FAILED), ended(Verb.MIGRATE, Result.FAILED), host, wait]
    known = after([*several, ended(Verb.START, Result.FAILED, "web1")])
    assert {(f.name, f.verb) for f in known} == {("db01", "start"), ("db01", "migrate"), ("web1", "start")}


def test_what_settles_without_us_is_forgotten() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen02")
    pool.vm("web1")
    known = after([ended(v, Result.FAILED, n) for v in (Verb.START, Verb.SHUTDOWN) for n in ("db01", "web1", "gone")])
    left = still_failing(known, pool.state())
    assert {(f.name, f.verb) for f in left} == {("db01", "shutdown"), ("web1", "start")}
    pool.vms["db01"] = replace(pool.vms["db01"], power_state=PowerState.HALTED)
    assert {f.name for f in still_failing(left, pool.state())} == {"web1"}


def make(w: Wanted, known: tuple[Failing, ...], *, attended: bool) -> Plan:
    pool = PoolBuilder()
    pool.vm("db01")
    allowance = Allowance(attended=attended, failing=known)
    return make_plan(w, survey(), now=NOW, state=pool.state(), allowance=allowance)


def test_unattended_runs_leave_it_alone_after_so_many_and_attended_ones_say_so() -> None:
    w = wanted(wish("db01"), policy=Policy(limits=Limits(park_after=2)))
    bad = ended(Verb.START, Result.FAILED)
    once, twice = after([bad]), after([bad], [bad])
    assert parked(once, w) == ()
    assert parked(twice, w) == twice
    assert verbs(make(w, once, attended=False)) == ["start db01 -> xen01"]
    left = make(w, twice, attended=False)
    assert verbs(left) == []
    assert left.withheld[0].why.startswith("it is parked: its start failed in 2 runs in a row, last at ")
    assert left.withheld[0].remedy.endswith("xenrec unpark pool.yaml --vm db01")
    tried = make(w, twice, attended=True)
    assert "its start failed in 2 runs in a row" in tried.actions[0].why
