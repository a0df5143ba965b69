"""The only host that accepts logins is followed by nobody: an old master, or a new one whose members were not told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.evidence import Incident, Situation
from reconciler.core.guard import Allowance
from reconciler.core.model import PoolState
from reconciler.core.obligations import Obligation
from reconciler.core.plan import Plan, Verb
from reconciler.core.planner import make_plan
from tests.core.build import NOW, PoolBuilder, address, certificate, survey, wanted

SPEC = {"xen01": "master", "xen02": "silent off", "xen03": "follows xen02"}
STATE = PoolBuilder().state()


def under(name: str, **started: float) -> PoolState:
    """The pool as it was read last, under that master, with these starts of toolstacks."""
    refs = {h.name: r for r, h in STATE.hosts.items()}
    hosts = {
        r: replace(h, other_config={"agent_start_time": f"{int(started[h.name])}."}) if h.name in started else h
        for r, h in STATE.hosts.items()
    }
    return replace(STATE, pool=replace(STATE.pool, master=refs[name]), hosts=hosts, read_at=NOW - 60)


def plan(before: PoolState | None, state: PoolState = STATE, **more: object) -> Plan:
    return make_plan(wanted(), survey(SPEC, master=None), now=NOW, state=state, last_known=before, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (under("xen01"), "xen01 was master when the pool was last read"),
        (under("xen02", xen02=NOW - 90), "xen01 does not know of the last start of xen02"),
        (under("xen03"), "Neither was master"),
        (None, "the pool was never read from here"),
    ],
)
def test_nothing_is_done_on_the_word_of_one_that_may_be_old(before: PoolState | None, said: str) -> None:
    made = plan(before)
    assert made.diagnosis.situation is Situation.DEPOSED
    assert made.actions == ()
    assert said in made.diagnosis.why
    assert made.diagnosis.remedy.endswith("--yield xen02")
    assert "xenrec attest" in made.diagnosis.remedy


def test_a_new_one_brings_its_members() -> None:
    recovers = [Verb.RECOVER_MEMBERS]
    same = under("xen02", xen02=NOW - 90)
    assert [a.verb for a in plan(same, replace(same, read_at=NOW)).actions][:1] == recovers
    ours = Obligation("xen02", address("xen02"), "xen01", NOW - 60, "r")
    assert [a.verb for a in plan(under("xen01"), obligations=[ours]).actions][:1] == recovers
    gave_up = Incident("madrid", "xen02", address("xen02"), "xen01", address("xen01"), NOW - 60, "r")
    assert [a.verb for a in plan(under("xen01"), handover=gave_up).actions][:1] == recovers
    late = replace(gave_up, sent_at=NOW - 7200)
    assert plan(under("xen01"), handover=late).actions == ()


def test_a_person_says_that_the_other_is_gone() -> None:
    word = Allowance(yields=frozenset({"xen02"}))
    assert plan(under("xen01"), allowance=word).actions == ()
    dead = [certificate("xen02")]
    assert plan(under("xen01"), certificates=dead).actions == ()
    made = plan(under("xen01"), certificates=dead, allowance=word)
    assert [a.verb for a in made.actions][:1] == [Verb.RECOVER_MEMBERS]
