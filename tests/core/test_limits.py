"""What holds a run back besides levels and the brake: each limit with its reason, and what it lets through."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.guard import Allowance
from reconciler.core.limits import HA_LIZARD, Pause, ends, freeze_of
from reconciler.core.model import PoolState, PowerState
from reconciler.core.obligations import Obligation, standing
from reconciler.core.plan import Plan, Verb
from reconciler.core.planner import make_plan
from reconciler.core.stopped import Stopped, newly_stopped, still_stopped
from reconciler.core.wanted import FreezeWindow, Level, Policy, Wanted
from tests.core.build import NOW, PoolBuilder, address, ref, survey, uuid, verbs, wanted, wish

HOUR, DAY = 3600.0, 86_400.0
MONDAY = 1_700_438_400.0
"""2023-11-20 00:00 UTC, a Monday."""
NOBODY = Allowance(attended=False)


def halted(*names: str, **host: object) -> PoolBuilder:
    pool = PoolBuilder()
    for name in names or ("db01",):
        pool.vm(name)
    pool.host("xen01", **host)
    return pool


def plan(w: Wanted, state: PoolState, allowance: Allowance = Allowance(), **more: object) -> Plan:  # noqa: B008
    return make_plan(w, survey(), now=NOW, state=state, allowance=allowance, **more)  # type: ignore[arg-type]


# --- freeze ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "days", "at", "until"),
    [
        (18, 24, (0,), 17.99, None),
        (18, 24, (0,), 18, 24),
        (18, 24, (0,), 23.99, 24),
        (18, 24, (0,), 24, None),
        (18, 24, (1,), 18, None),
        (0, 24, (0, 1), 30, 48),
        (22, 6, (0,), 21, None),
        (22, 6, (0,), 22, 30),
        (22, 6, (0,), 29.99, 30),  # Tuesday morning still belongs to Monday's window
        (22, 6, (0,), 30, None),
        (22, 6, (6,), 5, 6),  # Sunday's window reaches into Monday
        (22, 6, (1,), 5, None),
        (8, 8, (0,), 8, 32),  # until the same hour: a whole day
    ],
)
def test_a_weekly_window(start: float, end: float, days: tuple[int, ...], at: float, until: float | None) -> None:
    window = FreezeWindow("x", days=days, start=start * HOUR, end=end * HOUR)
    found = ends(window, MONDAY + at * HOUR)
    assert found == (None if until is None else MONDAY + until * HOUR)


def test_a_window_between_two_moments() -> None:
    window = FreezeWindow("year end", since=NOW, until=NOW + DAY)
    assert [ends(window, at) for at in (NOW - 1, NOW, NOW + DAY - 1, NOW + DAY)] == [None, NOW + DAY, NOW + DAY, None]


def test_of_several_windows_the_strictest_holds() -> None:
    strict = FreezeWindow("strict", Level.OBSERVE, since=NOW, until=NOW + 10)
    longer = FreezeWindow("strict too", Level.OBSERVE, since=NOW, until=NOW + 20)
    loose = FreezeWindow("loose", Level.POWER, since=NOW, until=NOW + 30)
    assert freeze_of((loose, strict, longer), NOW) == (longer, NOW + 20)
    assert freeze_of((loose, strict, longer), NOW + 25) == (loose, NOW + 30)
    assert freeze_of((loose, strict, longer), NOW + 30) is None


@pytest.mark.parametrize("attended", [True, False])
def test_a_freeze_withholds_what_is_above_its_level(attended: bool) -> None:
    window = FreezeWindow("year end", Level.METADATA, since=NOW - 1, until=NOW + HOUR)
    w = wanted(wish("db01", home="xen02"), policy=Policy(freeze=(window,)))
    made = plan(w, halted().state(), Allowance(attended=attended))
    assert verbs(made) == ["set-affinity db01 -> xen02"]
    (held,) = made.withheld
    assert held.why == (
        "policy.freeze allows metadata at most until 2023-11-14 23:13:20 UTC (year end) and this is power"
    )
    assert held.remedy == "wait, or change the window in the manifest"


def test_a_freeze_lets_a_promotion_that_was_begun_be_finished() -> None:
    window = FreezeWindow("year end", since=NOW - 1, until=NOW + HOUR)
    w = wanted(policy=Policy(freeze=(window,)))
    pool = PoolBuilder()
    pool.master = "xen02"
    found = survey({"xen02": "master", "xen01": "follows xen03", "xen03": "follows xen01"}, master=None)
    made = make_plan(w, found, now=NOW, state=pool.state())
    assert verbs(made) == ["recover-members lab"]
    lost = make_plan(w, survey({"xen01": "silent"}, master=None), now=NOW, last_known=PoolBuilder().state())
    assert lost.actions == ()
    assert lost.withheld[0].action.verb is Verb.FENCE


# --- pauses ----------------------------------------------------------------------------------------------------------


def paused(vm: str | None = None, vm_uuid: str | None = None, until: float = NOW + HOUR) -> Allowance:
    return Allowance(pauses=(Pause("eva@desk", "storage work", NOW - 1, until, vm, vm_uuid),))


def test_a_paused_pool_is_only_looked_at() -> None:
    made = plan(wanted(wish("db01", home="xen02")), halted().state(), paused())
    assert made.actions == ()
    affinity, start = made.withheld
    assert affinity.why == "the pool is paused by eva@desk until 2023-11-14 23:13:20 UTC: storage work"
    assert affinity.remedy == "xenrec pause pool.yaml --clear"
    assert start.why == "it follows set affinity db01, which is withheld"
    assert verbs(plan(wanted(wish("db01")), halted().state(), paused(until=NOW))) != []


def test_a_paused_vm_alone_is_left_alone() -> None:
    w = wanted(wish("db01"), wish("web1"))
    state = halted("db01", "web1").state()
    for allowance in (paused("db01"), paused("db01", uuid("db01")), paused("an older name", uuid("db01"))):
        made = plan(w, state, allowance)
        assert [a.target.name for a in made.actions] == ["web1"]
        (held,) = made.withheld
        assert "is paused by eva@desk" in held.why
        assert held.remedy.startswith("xenrec pause pool.yaml --vm ")
    assert len(plan(w, state, paused("db01", uuid("other"))).actions) == 2


# --- how much, and when ----------------------------------------------------------------------------------------------


def test_max_actions_cuts_the_last_ones_and_counts_over_rounds() -> None:
    w = wanted(wish("a"), wish("b"), wish("c"))
    state = halted("a", "b", "c").state()
    made = plan(w, state, Allowance(max_actions=2))
    assert len(made.actions) == 2
    (held,) = made.withheld
    assert held.why == "this run may perform 2 actions (--max-actions)"
    assert len(plan(w, state, Allowance(max_actions=2, used=1)).actions) == 1
    assert plan(w, state, Allowance(max_actions=0)).actions == ()
    assert len(plan(w, state, Allowance()).actions) == 3


def test_max_actions_never_cuts_a_promotion_in_two() -> None:
    seen = survey({"xen01": "silent"}, master=None)
    made = make_plan(wanted(), seen, now=NOW, last_known=PoolBuilder().state(), allowance=Allowance(max_actions=2))
    assert verbs(made) == ["fence xen01", "promote xen02", "recover-members lab"]
    made = make_plan(wanted(), seen, now=NOW, last_known=PoolBuilder().state(), allowance=Allowance(max_actions=1))
    assert verbs(made)[:1] == ["fence xen01"]
    assert [w.action.verb for w in made.withheld][:2] == [Verb.PROMOTE, Verb.RECOVER_MEMBERS]


@pytest.mark.parametrize(
    ("ago", "attended", "acts"), [(60, False, False), (60, True, True), (599, False, False), (600, False, True)]
)
def test_a_pool_that_has_just_booted_is_only_observed_when_nobody_is_there(
    ago: float, attended: bool, acts: bool
) -> None:
    state = halted(other_config={"boot_time": f"{NOW - ago:.0f}."}).state()
    made = plan(wanted(wish("db01")), state, Allowance(attended=attended))
    assert bool(made.actions) is acts
    if not acts:
        assert made.withheld[0].why.startswith("xen01 booted less than 10 min ago (policy.grace)")
    assert plan(wanted(wish("db01"), policy=Policy(grace=0.0)), state, NOBODY).actions != ()


def test_grace_that_cannot_be_known_is_said() -> None:
    made = plan(wanted(wish("db01")), halted().state(), NOBODY)
    assert verbs(made) != []
    assert "policy.grace can't be kept: xen01 does not say when it booted" in made.notes
    ahead = halted(other_config={"boot_time": f"{NOW + 3600:.0f}."}).state()
    made = plan(wanted(wish("db01")), ahead, NOBODY)
    assert verbs(made) != []
    assert any("by its own clock xen01 booted at 2023-11-14 23:13:20 UTC" in note for note in made.notes)


# --- who else is driving ---------------------------------------------------------------------------------------------


def test_ha_lizard_is_recognised_and_stood_back_from() -> None:
    on = halted().state(other_config={HA_LIZARD: "true", "autopromote_uuid": "x"})
    made = plan(wanted(wish("db01")), on)
    assert made.actions == ()
    assert made.withheld[0].why.startswith("ha-lizard is enabled on this pool")
    assert f"other-config:{HA_LIZARD}=false" in made.withheld[0].remedy
    # Of a lost master the last known pool tells.
    lost = make_plan(wanted(), survey({"xen01": "silent"}, master=None), now=NOW, last_known=on)
    assert lost.actions == ()
    assert "ha-lizard is enabled" in lost.withheld[0].why
    off = halted().state(other_config={HA_LIZARD: "false", "autopromote_uuid": ""})
    made = plan(wanted(wish("db01")), off)
    assert verbs(made) != []
    assert any(note.startswith("ha-lizard is installed in this pool and not enabled") for note in made.notes)


def test_wlb_and_auto_poweron_are_named() -> None:
    pool = PoolBuilder()
    own = {"other_config": {"auto_poweron": "true"}}
    pool.vm("db01", **own)
    pool.vm("old", **own)
    pool.vm("web1")
    state = pool.state(wlb_enabled=True, other_config={"auto_poweron": "true"})
    made = plan(wanted(wish("db01"), wish("old", "halted"), wish("web1")), state)
    notes = "\n".join(made.notes)
    assert "Workload Balancing is on" in notes
    assert "XAPI starts db01 by itself when a host boots (auto_poweron)" in notes
    assert "XAPI starts old whenever a host boots (auto_poweron), although the manifest declares otherwise" in notes
    uuid = next(vm.uuid for vm in state.vms.values() if vm.name == "old")
    assert f"xe vm-param-set uuid={uuid} other-config:auto_poweron=false" in notes
    quiet = plan(wanted(wish("db01"), wish("old", "halted"), wish("web1")), pool.state())
    assert "auto_poweron" not in "\n".join(quiet.notes)  # XAPI wants the pool's key, too


def test_a_host_that_somebody_empties_gets_no_vm() -> None:
    pool = halted()
    pool.host("xen01", current_operations=("evacuate",))
    pool.host("xen02", current_operations=("vm_start",))
    pool.host("xen03", current_operations=("reboot",))
    made = plan(wanted(wish("db01")), pool.state())
    assert verbs(made) == ["start db01 -> xen02"]
    assert "somebody works on xen01 (evacuate): nothing is started on it" in made.notes


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        ("designate_new_master", "somebody hands mastership over"),
        ("ha_enable", "XAPI's HA is being switched on"),
        ("apply_updates", "updates are being applied"),
    ],
)
def test_a_pool_wide_operation_of_somebody_else_is_waited_for(operation: str, why: str) -> None:
    made = plan(wanted(wish("db01")), halted().state(current_operations=(operation,)))
    assert made.actions == ()
    assert made.withheld[0].why == f"somebody else changes the pool: {why}"
    assert verbs(plan(wanted(wish("db01")), halted().state(current_operations=("get_updates",)))) != []


# --- stopped by somebody ---------------------------------------------------------------------------------------------


def ran(**pool: object) -> PoolState:
    before = PoolBuilder()
    before.vm("db01", on="xen02")
    return replace(before.state(**pool), read_at=NOW - 300)


def test_a_vm_that_stopped_while_its_host_went_on_is_found() -> None:
    here = frozenset({address("xen02")})
    (stop,) = newly_stopped(ran(), halted().state(), here)
    assert stop == Stopped(uuid("db01"), "db01", "xen02", NOW - 300, NOW)
    assert newly_stopped(ran(), halted().state(), here, ours={uuid("db01")}) == ()
    assert newly_stopped(ran(), halted().state(), frozenset()) == ()  # its host does not answer
    running = PoolBuilder()
    running.vm("db01", on="xen03")
    assert newly_stopped(ran(), running.state(), here) == ()
    suspended = PoolBuilder()
    suspended.vm("db01", power=PowerState.SUSPENDED)
    assert newly_stopped(ran(), suspended.state(), here) == ()
    for change in ({"live": False}, {"enabled": False}, {"other_config": {"boot_time": "5."}}):
        pool = halted()
        pool.host("xen02", **change)
        assert newly_stopped(ran(), pool.state(), here) == ()  # its host did not go on
    other = halted()
    other.master = "xen02"
    assert newly_stopped(ran(), other.state(), here) == ()  # a promoted member's database is older


def test_a_stop_is_forgotten_when_the_vm_runs_again_or_after_a_day() -> None:
    stop = Stopped(uuid("db01"), "db01", "xen02", NOW - 300, NOW)
    assert still_stopped((stop,), halted().state(), NOW + 60) == (stop,)
    assert still_stopped((stop,), halted().state(), NOW + DAY) == ()
    assert still_stopped((stop,), ran(), NOW + 60) == ()


def test_what_somebody_stopped_is_not_started_without_saying_so() -> None:
    stop = Stopped(uuid("db01"), "db01", "xen02", NOW - 300, NOW - 60)
    words = (
        "it ran on xen02 at 2023-11-14 22:08:20 UTC and was found halted at 2023-11-14 22:12:20 UTC while xen02 lives: "
        "somebody stopped it, or it crashed"
    )
    made = plan(wanted(wish("db01")), halted().state(), Allowance(stops=(stop,)))
    assert words in made.actions[0].why
    assert made.actions[0].why.endswith("To keep it stopped declare state: halted")
    made = plan(wanted(wish("db01")), halted().state(), replace(NOBODY, stops=(stop,)))
    assert made.actions == ()
    assert made.withheld[0].why == (
        f"{words}; an unattended run leaves it alone for 14 min more (policy.respectManualStop)"
    )
    assert made.withheld[0].remedy == (
        "to keep it stopped declare state: halted; to start it now: xenrec apply pool.yaml"
    )
    old = replace(stop, seen_at=NOW - 900)
    made = plan(wanted(wish("db01")), halted().state(), replace(NOBODY, stops=(old,)))
    assert verbs(made) != []
    off = wanted(wish("db01"), policy=Policy(respect_manual_stop=0.0))
    assert verbs(plan(off, halted().state(), replace(NOBODY, stops=(stop,)))) != []


# --- obligations -----------------------------------------------------------------------------------------------------

OLD = Obligation("xen01", address("xen01"), "xen02", NOW - 60, "run-1")


@pytest.mark.parametrize(
    ("spec", "settled", "words"),
    [
        ({"xen02": "master", "xen01": "silent on", "xen03": "reaches xen02"}, "", "xenrec fence off pool.yaml xen01"),
        (
            {"xen02": "master", "xen01": "silent off", "xen03": "reaches xen02"},
            "",
            "it is off. Keep it off until it can",
        ),
        ({"xen02": "master", "xen01": "silent none", "xen03": "reaches xen02"}, "", "it has not been seen since"),
        ({"xen02": "master", "xen01": "follows xen02", "xen03": "reaches xen02"}, "xen01 follows xen02", ""),
        ({"xen02": "master", "xen01": "refused", "xen03": "reaches xen02"}, "", "its host is up and its toolstack"),
        ({"xen02": "master", "xen01": "emergency", "xen03": "reaches xen02"}, "", "has not joined the new master"),
        ({"xen02": "master", "xen01": "master", "xen03": "reaches xen02"}, "", "it acts as a master of its own now"),
        ({"xen02": "master", "xen01": "follows xen03", "xen03": "reaches xen02"}, "", "answers and follows 10.0.0.13"),
        ({"xen01": "master"}, "xen01 is the pool's only master", ""),
    ],
)
def test_an_old_master_is_watched_until_it_follows_the_new_one(spec: dict[str, str], settled: str, words: str) -> None:
    found = survey(spec, master=None if "xen02" in spec else "xen01")
    made = make_plan(wanted(), found, now=NOW)
    stands = standing(OLD, wanted(), found, made.diagnosis, None)
    assert stands.settled == settled
    assert words in stands.words
    assert bool(stands.words) is not bool(settled)


def test_a_host_that_left_the_pool_is_watched_no_longer() -> None:
    w = replace(wanted(), members=wanted().members[1:])
    found = survey({"xen02": "master"}, master="xen02")
    found = replace(found, testimonies=found.testimonies[1:])
    pool = PoolBuilder()
    made = make_plan(w, found, now=NOW)
    assert standing(OLD, w, found, made.diagnosis, pool.state()).settled == ""
    state = pool.state()
    state = replace(state, hosts={r: h for r, h in state.hosts.items() if r != ref("host", "xen01")})
    assert standing(OLD, w, found, made.diagnosis, state).settled == "xen01 is no longer in the pool"
