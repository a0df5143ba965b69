"""Two hosts that accept logins: which is the pool's, what the other's giving way kills, and when it may be told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.checker import check_plan
from reconciler.core.diagnose import diagnose
from reconciler.core.evidence import Incident, Situation
from reconciler.core.fates import Doomed, fates, twice_words
from reconciler.core.guard import Allowance
from reconciler.core.model import PoolState, PowerState
from reconciler.core.obligations import Obligation, standing
from reconciler.core.plan import Plan, Verb
from reconciler.core.planner import make_plan
from reconciler.core.rivals import replaced, rule
from reconciler.core.ties import ties_of
from reconciler.core.wanted import Level, Policy
from tests.core.build import NOW, PoolBuilder, address, certificate, survey, uuid, verbs, wanted

SPLIT = {"xen02": "master", "xen03": "follows xen02"}
"""xen01 and xen02 accept logins, and xen03 follows xen02."""
PROMOTED = Obligation("xen01", address("xen01"), "xen02", NOW - 600, "run-1")


def realm(*vms: tuple[str, str | None], master: str = "xen01", **pool: Any) -> PoolState:
    """A database that has these VMs (name, host) running, or halted where the host is None."""
    build = PoolBuilder()
    for name, host in vms:
        build.vm(name, on=host)
    state = build.state(**pool)
    ref = next(r for r, h in state.hosts.items() if h.name == master)
    return replace(state, pool=replace(state.pool, master=ref))


def plan(realms: dict[str, PoolState], spec: dict[str, str] = SPLIT, yields: tuple[str, ...] = (), **more: Any) -> Plan:
    return make_plan(
        wanted(), survey(spec), now=NOW, realms=realms, allowance=Allowance(yields=frozenset(yields)), **more
    )


# --- who is right ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "obligations", "yields", "right", "why"),
    [
        (SPLIT, (), (), "xen02", "xen03 follows it and nobody the other"),
        (SPLIT, (PROMOTED,), (), "xen02", "it was promoted in place of xen01"),
        ({"xen02": "master", "xen03": "silent"}, (PROMOTED,), (), "xen02", "it was promoted in place of xen01"),
        ({"xen02": "master"}, (PROMOTED,), (), None, "xen02 was promoted in place of xen01, yet members follow xen01"),
        ({"xen02": "master", "xen03": "silent"}, (), (), None, "no member follows either"),
        (SPLIT, (), ("xen02",), "xen01", "you said that xen02 gives way"),
        (SPLIT, (), ("xen01", "xen02"), "xen02", "xen03 follows it"),
        (SPLIT, (), ("xen03",), "xen02", "xen03 follows it"),
    ],
)
def test_which_master_is_the_pools(
    spec: dict[str, str], obligations: tuple[Obligation, ...], yields: tuple[str, ...], right: str | None, why: str
) -> None:
    ruling = rule(ties_of(wanted(), survey(spec)), incident=None, obligations=obligations, yields=frozenset(yields))
    assert ruling.right == right
    assert why in ruling.why


def test_with_followers_on_both_sides_nobody_is_right_but_by_a_promotion() -> None:
    spec = {"xen02": "master", "xen03": "follows xen02", "xen04": "follows xen01"}
    ties = ties_of(wanted(hosts=4), survey(spec, hosts=4))
    told = rule(ties, incident=None, obligations=(), yields=frozenset())
    assert told.right is None
    assert "members follow xen01 and xen02" in told.why
    assert rule(ties, incident=None, obligations=(PROMOTED,), yields=frozenset()).right == "xen02"


def test_a_promotion_under_way_counts_and_one_out_of_a_tangle_replaced_nobody() -> None:
    sent = Incident("lab", "xen02", address("xen02"), "xen01", address("xen01"), NOW, "run-2")
    assert [o.master for o in replaced(sent, (replace(PROMOTED, master="xen03"),))] == ["xen03", "xen02"]
    assert replaced(replace(sent, lost_master="xen02"), ()) == ()


# --- what dies -------------------------------------------------------------------------------------------------------


def test_what_becomes_of_each_running_vm() -> None:
    theirs = realm(("db", "xen01"), ("web", "xen01"), ("new", "xen01"), ("stay", "xen01"), ("far", "xen03"))
    ours = realm(("db", None), ("web", "xen02"), ("stay", "xen01"), ("far", "xen02"))
    found = fates(theirs, [uuid("xen01")], ours, "xen02")
    assert found.killed == (
        Doomed("new", uuid("new"), "xen01", "the database of xen02 does not know it"),
        Doomed("web", uuid("web"), "xen01", "the database of xen02 has it on xen02", twice="xen02"),
    )
    assert (found.adopted, found.kept, found.running) == (("db",), ("stay",), 4)
    assert twice_words(found.killed) == "1 VM runs twice now, by what both say: web on xen01 and xen02"
    assert twice_words(found.killed[:1]) == ""


def test_halted_ones_and_control_domains_have_no_fate() -> None:
    theirs = realm(("db", None))
    assert fates(theirs, [uuid("xen01")], realm(), "xen02").running == 0


# --- the plan --------------------------------------------------------------------------------------------------------


def test_a_second_master_without_vms_is_led_back_and_one_with_vms_waits_for_a_word() -> None:
    empty = plan({"xen01": realm(), "xen02": realm(("a", "xen02"), master="xen02")})
    assert verbs(empty) == ["follow xen01 -> xen02"]
    realms = {"xen01": realm(("web", "xen01")), "xen02": realm(("web", "xen03"), master="xen02")}
    held = plan(realms)
    assert verbs(held) == []
    (one,) = held.withheld
    assert one.action.verb is Verb.FOLLOW
    assert [d.name for d in one.action.kills] == ["web"]
    assert one.remedy == "xenrec apply pool.yaml --yield xen01"
    said = plan(realms, yields=("xen01",))
    assert verbs(said) == ["follow xen01 -> xen02"]
    assert said.yields == ("xen01",)


def test_an_unread_database_holds_it_back_and_so_do_vms_of_its_followers() -> None:
    ours = realm(master="xen02")
    (one,) = plan({"xen02": ours}).withheld
    assert "could not be read" in one.why
    spec = {"xen02": "master", "xen03": "follows xen01"}
    first, _ = plan({"xen01": realm(("web", "xen03")), "xen02": ours}, spec, obligations=(PROMOTED,)).withheld
    assert first.action.target.name == "xen01"
    assert "xen03 must be led after it" in first.action.why
    assert [(d.name, d.host) for d in first.action.kills] == [("web", "xen03")]


def test_where_nobody_knows_both_ways_are_shown_with_what_each_kills() -> None:
    spec = {"xen02": "master", "xen03": "silent"}
    realms = {"xen01": realm(("a", "xen01")), "xen02": realm(("b", "xen02"), master="xen02")}
    found = plan(realms, spec)
    assert verbs(found) == []
    assert [(h.action.target.name, [d.name for d in h.action.kills]) for h in found.withheld] == [
        ("xen01", ["a"]),
        ("xen02", ["b"]),
    ]
    assert all("for a person to say" in h.why for h in found.withheld)


def test_ha_levels_and_the_brake_hold_it_back() -> None:
    empty = {"xen01": realm(), "xen02": realm(master="xen02", ha_enabled=True)}
    assert "own HA is on" in plan(empty).withheld[0].why
    low = make_plan(
        wanted(policy=Policy(attended=Level.BURY)),
        survey(SPLIT),
        now=NOW,
        realms={"xen01": realm(), "xen02": realm(master="xen02")},
    )
    assert low.actions == ()
    assert "bury" in low.withheld[0].why


# --- the checker -----------------------------------------------------------------------------------------------------


def broken(
    found: Plan, realms: dict[str, PoolState], spec: dict[str, str] = SPLIT, yields: tuple[str, ...] = ()
) -> str:
    return "; ".join(
        check_plan(
            found,
            wanted(),
            survey(spec),
            None,
            certificates=(),
            now=NOW,
            limit=Level.CROWN,
            realms=realms,
            yields=frozenset(yields),
        )
    )


def test_the_checker_accepts_what_the_planner_makes_and_refuses_each_lie() -> None:
    running = {"xen01": realm(("web", "xen01")), "xen02": realm(("web", "xen03"), master="xen02")}
    good = plan(running, yields=("xen01",))
    assert broken(good, running, yields=("xen01",)) == ""
    assert "it runs web, and nobody said that it gives way" in broken(good, running)
    assert "nobody knows what runs on it" in broken(good, {})
    silent = replace(
        good, stages=tuple(replace(s, actions=tuple(replace(a, kills=()) for a in s.actions)) for s in good.stages)
    )
    assert "it does not say that it kills web" in broken(silent, running, yields=("xen01",))
    assert "xen02 does not accept logins" in broken(good, running, {"xen02": "silent"}, ("xen01",))
    assert "xen01 does not accept logins" in broken(good, running, {"xen01": "silent", "xen02": "master"}, ("xen01",))
    lonely = {"xen02": "master"}  # xen03 follows xen01
    assert "xen03 follows it and nobody follows xen02" in broken(good, {**running, "xen01": realm()}, lonely)
    (stage,) = good.stages
    itself = replace(good, stages=(replace(stage, actions=tuple(replace(a, to=a.target) for a in stage.actions)),))
    assert "can't follow itself" in broken(itself, running, yields=("xen01",))
    ha = {**running, "xen02": realm(("web", "xen03"), master="xen02", ha_enabled=True)}
    assert "own HA is on" in broken(good, ha, yields=("xen01",))


# --- a master that was replaced --------------------------------------------------------------------------------------


def test_a_replaced_master_alone_is_no_master_until_its_successor_is_proved_dead_and_gives_way() -> None:
    spec = {"xen02": "silent off", "xen03": "follows xen02"}
    found = diagnose(wanted(), survey(spec), (), now=NOW, obligations=(PROMOTED,))
    assert found.situation is Situation.DEPOSED
    assert "xen02 was promoted in its place" in found.why
    assert "xen03 follows that one" in found.why
    alone = make_plan(wanted(), survey(spec), now=NOW, state=realm(("a", None)), obligations=(PROMOTED,))
    assert alone.actions == ()
    dead = (certificate("xen02"),)
    assert diagnose(wanted(), survey(spec), dead, now=NOW, obligations=(PROMOTED,)).situation is Situation.DEPOSED
    yields = frozenset({"xen02"})
    said = diagnose(wanted(), survey(spec), (), now=NOW, obligations=(PROMOTED,), yields=yields)
    assert said.situation is Situation.DEPOSED
    both = diagnose(wanted(), survey(spec), dead, now=NOW, obligations=(PROMOTED,), yields=yields)
    assert both.situation is Situation.MANAGED


def test_where_the_successor_is_a_member_in_emergency_mode_a_word_is_enough() -> None:
    """Found by soak seed 5105136: somebody had pointed it elsewhere, and the plan asked for a proof of its death."""
    seen = survey({"xen02": "emergency", "xen03": "follows xen02"})
    flagged = replace(
        seen, testimonies=tuple(replace(t, is_emergency=True) if t.name == "xen02" else t for t in seen.testimonies)
    )
    told = diagnose(wanted(), flagged, (), now=NOW, obligations=(PROMOTED,))
    assert told.situation is Situation.DEPOSED
    assert "make xen02 master again by hand" in told.remedy
    assert told.remedy.endswith("xenrec apply pool.yaml --yield xen02")
    yields = frozenset({"xen02"})
    unflagged = diagnose(wanted(), seen, (), now=NOW, obligations=(PROMOTED,), yields=yields)
    assert unflagged.situation is Situation.DEPOSED
    said = diagnose(wanted(), flagged, (), now=NOW, obligations=(PROMOTED,), yields=yields)
    assert said.situation is Situation.MANAGED


@pytest.mark.parametrize("spec", [{"xen02": "silent"}, {"xen02": "follows xen01", "xen03": "silent"}])
def test_a_master_that_is_followed_or_whose_successor_came_back_to_it_is_one(spec: dict[str, str]) -> None:
    found = diagnose(wanted(), survey(spec), (), now=NOW, obligations=(PROMOTED,))
    assert found.situation is Situation.MANAGED


def test_an_obligation_outlives_the_old_master_alone() -> None:
    spec = {"xen02": "silent", "xen03": "follows xen02"}
    found = diagnose(wanted(), survey(spec), (), now=NOW)
    assert standing(PROMOTED, wanted(), survey(spec), found, None).settled == ""
    back = {"xen02": "follows xen01"}
    found = diagnose(wanted(), survey(back), (), now=NOW)
    assert standing(PROMOTED, wanted(), survey(back), found, None).settled == "xen01 is the pool's only master"


def test_two_hosts_that_take_no_part_are_halted_in_both() -> None:
    assert realm(("a", None)).guests[0].power_state is PowerState.HALTED
