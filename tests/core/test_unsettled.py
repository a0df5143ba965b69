"""A start whose end nobody saw ties its VM to the host that was asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.plan import Plan, Verb
from reconciler.core.planner import make_plan
from reconciler.core.unsettled import SECOND_MASTER, Unsettled, known_elsewhere, still_unsettled
from tests.core.build import NOW, PoolBuilder, certificate, survey, uuid, verbs, wanted, wish


def cut(host: str = "xen03", toolstack: str = "100.0", verb: str = "start") -> Unsettled:
    return Unsettled(uuid("db"), "db", verb, uuid(host), host, toolstack, NOW - 600, "run-1")


def pool(started: str = "100.0") -> PoolBuilder:
    made = PoolBuilder()
    made.vm("db", home="xen02")
    made.host("xen03", other_config={"agent_start_time": started})
    return made


def plan(spec: dict[str, str] | None = None, *proofs: str) -> Plan:
    seen = survey(spec, master="xen01")
    held = [certificate(name) for name in proofs]
    return make_plan(wanted(wish("db")), seen, now=NOW, state=pool().state(), certificates=held, unsettled=(cut(),))


def test_it_is_tried_on_that_host_only() -> None:
    assert verbs(make_plan(wanted(wish("db")), survey(), now=NOW, state=pool().state())) == ["start db -> xen02"]
    assert verbs(plan()) == ["start db -> xen03"]


def test_while_that_host_is_silent_it_is_withheld_though_the_master_lost_it_since() -> None:
    made = plan({"xen03": "silent"})
    assert not any(a.verb is Verb.START for a in made.actions)
    assert any(h.action.target.name == "db" and "was cut off" in h.why for h in made.withheld)


def test_with_the_host_proved_dead_its_locks_are_freed_and_the_start_rests_on_that() -> None:
    made = plan({"xen03": "silent off"}, "xen03")
    bury, start = made.actions
    assert (bury.verb, start.verb) == (Verb.DECLARE_DEAD, Verb.START)
    assert "xen03" in start.certificate_of
    assert bury.id in start.follows
    assert start.to is not None
    assert start.to.name == "xen02"


def test_a_host_that_was_declared_dead_for_it_is_not_declared_dead_again() -> None:
    """Found by soak seed 4006586: planned in every round, and performed in none."""
    seen = survey({"xen03": "silent off"}, master="xen01")
    held = (certificate("xen03"),)
    freed = (replace(cut(), freed=True),)
    made = make_plan(wanted(wish("db")), seen, now=NOW, state=pool().state(), certificates=held, unsettled=freed)
    (start,) = made.actions
    assert (start.verb, start.certificate_of) == (Verb.START, ("xen03",))
    proofless = make_plan(wanted(wish("db")), seen, now=NOW, state=pool().state(), unsettled=freed)
    assert [a.verb for a in proofless.actions] == [Verb.FENCE, Verb.START]


@pytest.mark.parametrize(
    ("what", "state", "left"),
    [
        ("nothing changed", pool().state(), 1),
        ("its toolstack started anew", pool("200.0").state(), 0),
    ],
)
def test_what_settles_it(what: str, state: object, left: int) -> None:
    assert len(still_unsettled([cut()], state)) == left, what  # type: ignore[arg-type]


def test_a_toolstack_that_started_anew_and_is_not_enabled_has_not_told_yet() -> None:
    made = pool("200.0")
    made.host("xen03", enabled=False)
    assert still_unsettled([cut()], made.state()) == (cut(),)


def test_a_vm_that_runs_settles_it() -> None:
    made = pool()
    made.vm("db", on="xen02")
    assert still_unsettled([cut()], made.state()) == ()


def test_a_migration_is_settled_only_by_the_vm_running_there_and_ties_a_later_start() -> None:
    made = pool()
    made.vm("db", on="xen02")
    moved = cut(verb="migrate")
    assert still_unsettled([moved], made.state()) == (moved,)
    seen = survey({"xen02": "silent off"}, master="xen01")
    told = make_plan(
        wanted(wish("db")), seen, now=NOW, state=made.state(), certificates=[certificate("xen02")], unsettled=(moved,)
    )
    assert verbs(told)[-1] == "start db -> xen03"
    made.vm("db", on="xen03")
    assert still_unsettled([moved], made.state()) == ()


def test_what_a_second_master_had_elsewhere_waits_for_that_hosts_word() -> None:
    """Soak seed 4003317: another client had moved the VM by the word of the master that gave way."""
    winner, loser = pool(), pool()
    loser.vm("db", on="xen03")
    (held,) = known_elsewhere(loser.state(), winner.state(), uuid("xen02"), "run-1")
    assert (held.verb, held.host, held.toolstack) == (SECOND_MASTER, "xen03", "100.0")
    assert known_elsewhere(loser.state(), winner.state(), uuid("xen03"), "run-1") == (), "who gives way tells itself"
    assert known_elsewhere(loser.state(), loser.state(), uuid("xen02"), "run-1") == (), "both know it"
    made = make_plan(wanted(wish("db")), survey(), now=NOW, state=winner.state(), unsettled=(held,))
    assert not any(a.verb is Verb.START for a in made.actions)
    assert [h.why.split(" at ")[0] for h in made.withheld] == ["a second master had db as running on xen03"]
    assert still_unsettled([held], pool("200.0").state()) == ()
