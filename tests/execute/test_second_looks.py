"""Guards of the executor that hold when the planner, or another guard, was wrong: each alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.evidence import Incident
from reconciler.core.plan import Action, Done, Result, Stage, Verb
from reconciler.core.port import FaultKind, TransportFault, XapiFailure
from reconciler.core.wanted import MemberState
from reconciler.execute.rejoin import _tell
from reconciler.execute.seats import Seat
from tests.execute.world import NOTHING, POOL, Rig, certificate, host_thing, start, wanted

TRANSITION = "pool.emergency_transition_to_master"
RECOVER_CALL = "pool.recover_slaves"
DECLARE = "Async.host.declare_dead"
START = "Async.VM.start_on"
PROMOTE = Action(Verb.PROMOTE, host_thing("xen02"), "no master", certificate_of=("xen01",), via="10.0.0.2")
RECOVER = Action(Verb.RECOVER_MEMBERS, POOL, "members are lost")
AWAIT = Action(Verb.AWAIT_MEMBERS, POOL, "")


def bury(name: str) -> Action:
    return Action(Verb.DECLARE_DEAD, host_thing(name), "its VMs", certificate_of=(name,))


def lost_master() -> Rig:
    rig = Rig()
    rig.world.pull("xen01")
    rig.store.kept.append(certificate("xen01", rig.world.now(), uuid="uuid-xen01"))
    return rig


def promoted() -> Rig:
    rig = lost_master()
    assert rig.run(PROMOTE, master=None, lost="xen01")[PROMOTE.id].result is Result.DONE
    return rig


def only(outcomes: dict[str, Done]) -> Done:
    (done,) = outcomes.values()
    return done


# --- promote -----------------------------------------------------------------------------------------------------


def test_an_internal_error_may_have_come_after_the_effect_so_the_incident_stays() -> None:
    rig = lost_master()
    rig.world.fail(TRANSITION, "INTERNAL_ERROR", "Unix_error")
    done = only(rig.run(PROMOTE, master=None, lost="xen01"))
    assert done.result is Result.FAILED
    assert "never arrived" in done.why
    assert rig.store.sent is not None


def test_a_host_that_accepts_logins_but_names_another_master_is_not_taken_for_it() -> None:
    rig = lost_master()
    rig.world.hooks.append(lambda at, m, p: rig.world.pool.update(master="OpaqueRef:xen03") or NOTHING)
    done = only(rig.run(PROMOTE, master=None, lost="xen01"))
    assert done.result is Result.FAILED
    assert rig.last.master is None


# --- recover -----------------------------------------------------------------------------------------------------


def test_a_second_master_that_shows_up_while_members_are_waited_for_ends_the_asking() -> None:
    rig = promoted()
    rig.world.at(RECOVER_CALL, lambda: setattr(rig.world.host("xen03"), "role", "master"))
    rig.world.hooks.append(lambda at, m, p: [] if m == RECOVER_CALL else NOTHING)
    done = only(rig.run(RECOVER, master="10.0.0.2"))
    assert done.result is Result.REFUSED
    assert rig.world.count(RECOVER_CALL) == 1


def test_the_old_master_that_comes_back_while_members_rejoin_is_noticed_at_the_end() -> None:
    rig = promoted()
    rig.world.at("host.get_all_records", lambda: setattr(rig.world.host("xen01"), "up", True), nth=2)
    done = only(rig.run(RECOVER, master="10.0.0.2"))
    assert done.result is Result.REFUSED
    assert "a second master: xen01" in done.why


UNHEARD = [
    XapiFailure("SESSION_INVALID", "OpaqueRef:s"),
    TransportFault(FaultKind.REFUSED, "nothing listens", sent=False),
]


def unheard(rig: Rig, fault: XapiFailure | TransportFault) -> None:
    """The first recovery is surely not executed."""
    left = [fault]

    def hook(at: str, method: str, params: Sequence[Any]) -> Any:
        if method == RECOVER_CALL and left:
            raise left.pop()
        return NOTHING

    rig.world.hooks.append(hook)


@pytest.mark.parametrize("fault", UNHEARD, ids=["forgotten", "unsent"])
def test_a_recovery_that_was_not_executed_is_sent_again(fault: XapiFailure | TransportFault) -> None:
    rig = promoted()
    unheard(rig, fault)
    done = only(rig.run(RECOVER, master="10.0.0.2"))
    assert done.result is Result.DONE
    assert rig.world.count(RECOVER_CALL) == 2


@pytest.mark.parametrize("fault", UNHEARD, ids=["forgotten", "unsent"])
def test_a_recovery_is_not_sent_again_beside_a_master_that_showed_up_meanwhile(
    fault: XapiFailure | TransportFault,
) -> None:
    rig = promoted()
    rig.world.at(RECOVER_CALL, lambda: setattr(rig.world.host("xen03"), "role", "master"))
    unheard(rig, fault)
    done = only(rig.run(RECOVER, master="10.0.0.2"))
    assert done.result is Result.REFUSED
    assert "a second master: xen03" in done.why
    assert rig.world.count(RECOVER_CALL) == 1


def test_beside_a_second_master_nobody_is_waited_for() -> None:
    rig = promoted()
    rig.world.host("xen01").up = True
    done = only(rig.run(AWAIT, master="10.0.0.2"))
    assert done.result is Result.REFUSED
    assert done.took < 10


def test_one_that_acts_as_master_is_never_pointed_elsewhere() -> None:
    rig = promoted()
    bench = rig.executor(Stage("test", (RECOVER,)))._bench
    bench.master = "10.0.0.2"
    rig.world.host("xen03").role = "master"
    member = rig.wishes.member("xen03")
    assert member is not None
    _tell(bench, RECOVER, member)
    assert rig.world.count("pool.emergency_reset_master") == 0


def test_a_member_that_follows_nobody_of_ours_is_not_back_however_green() -> None:
    member = Rig().wishes.members[2]
    assert Seat(member, follows=True, known=True, live=True, enabled=True).back
    assert not Seat(member, follows=False, known=True, live=True, enabled=True).back


# --- bury and hand over --------------------------------------------------------------------------------------------


def test_the_acting_master_is_refused_before_anything_is_asked_of_its_bmc() -> None:
    rig = Rig()
    rig.store.kept.append(certificate("xen01", rig.world.now()))
    done = only(rig.run(bury("xen01")))
    assert done.why == "xen01 is the acting master"


def test_no_more_hosts_are_buried_in_one_run_than_the_brake_allows() -> None:
    rig = Rig()
    for name in ("xen02", "xen03"):
        rig.world.pull(name)
        rig.store.kept.append(certificate(name, rig.world.now()))
    done = rig.run(bury("xen02"), bury("xen03"))
    assert done[bury("xen02").id].result is Result.DONE
    assert done[bury("xen03").id].result is Result.REFUSED
    assert "maxHostsPerRun" in done[bury("xen03").id].why
    assert rig.world.count(DECLARE) == 1


def test_a_burial_that_stopped_midway_is_not_repeated_when_the_host_is_back() -> None:
    rig = Rig()
    rig.world.pull("xen03")
    rig.store.kept.append(certificate("xen03", rig.world.now()))
    rig.world.fail("host.declare_dead", "INTERNAL_ERROR", "midway")
    rig.world.at(DECLARE, lambda: setattr(rig.world.host("xen03"), "up", True))
    done = only(rig.run(bury("xen03")))
    assert done.result is Result.REFUSED
    assert rig.world.count(DECLARE) == 1
    assert rig.store.kept == []


def test_a_hand_over_that_a_killed_run_sent_is_watched() -> None:
    rig = Rig()
    rig.store.save_handover(
        Incident("madrid", "xen03", "10.0.0.3", "xen01", "10.0.0.1", sent_at=rig.world.now() - 2.0, run="killed")
    )
    rig.run(Action(Verb.DESIGNATE_MASTER, host_thing("xen03"), "wished"))
    assert rig.world.count("pool.designate_new_master") == 0


# --- starts ------------------------------------------------------------------------------------------------------


def test_nothing_is_started_on_a_host_that_the_master_does_not_hear() -> None:
    rig = Rig()
    rig.world.halt("v1")
    rig.world.metrics["OpaqueRef:m-xen02"]["live"] = False
    done = only(rig.run(start("v1", "xen02")))
    assert done.result is Result.FAILED
    assert "xen02 is not live" in done.why
    assert rig.world.count(START) == 0


def test_a_start_that_did_not_reach_the_master_is_looked_at_again_before_it_is_sent_again() -> None:
    rig = Rig()
    rig.world.halt("v1")
    left = [1]

    def cut(at: str, method: str, params: Sequence[Any]) -> Any:
        if method == START and left[0]:
            left[0] = 0
            rig.world.vm("v1").update(power_state="Running", resident_on="OpaqueRef:xen03")
            raise TransportFault(FaultKind.UNREACHABLE, "no route", sent=False)
        return NOTHING

    rig.world.hooks.append(cut)
    done = only(rig.run(start("v1", "xen02")))
    assert done.result is Result.ALREADY
    assert rig.world.count(START) == 1
    assert replace(done, took=0.0).why.startswith("it is Running already")


# --- upkeep ------------------------------------------------------------------------------------------------------


def resting() -> Rig:
    """xen02 is declared in maintenance."""
    rig = Rig()
    rig.wishes = wanted()
    first, second, third = rig.wishes.members
    rig.wishes = replace(rig.wishes, members=(first, replace(second, state=MemberState.MAINTENANCE), third))
    return rig


@pytest.mark.parametrize("verb", [Verb.DISABLE_HOST, Verb.ENABLE_HOST, Verb.END_MAINTENANCE])
def test_no_host_is_disabled_or_enabled_while_xapis_own_ha_is_on(verb: Verb) -> None:
    rig = resting()
    rig.world.pool["ha_enabled"] = True
    done = only(rig.run(Action(verb, host_thing("xen02"), "")))
    assert done.result is Result.REFUSED
    assert "HA is on" in done.why
    assert not [m for _, m in rig.world.calls if m.startswith(("host.disable", "host.enable", "host.add_to"))]


def test_only_a_member_that_is_declared_so_and_is_not_the_master_is_disabled() -> None:
    rig = resting()
    done = only(rig.run(Action(Verb.DISABLE_HOST, host_thing("xen03"), "")))
    assert (done.result, done.why) == (Result.REFUSED, "xen03 is not declared in maintenance")
    rig.wishes = replace(
        rig.wishes, members=tuple(replace(m, state=MemberState.MAINTENANCE) for m in rig.wishes.members)
    )
    done = only(rig.run(Action(Verb.DISABLE_HOST, host_thing("xen01"), "")))
    assert done.result is Result.REFUSED
    assert "is the master" in done.why
    assert rig.world.count("host.disable") == 0


def test_a_host_without_our_mark_is_not_enabled() -> None:
    rig = resting()
    rig.world.host_records["OpaqueRef:xen02"]["enabled"] = False
    done = only(rig.run(Action(Verb.ENABLE_HOST, host_thing("xen02"), "")))
    assert done.result is Result.REFUSED
    assert "not xenrec that disabled" in done.why


def test_copies_are_not_refreshed_while_xapis_own_ha_is_on() -> None:
    rig = Rig()
    rig.world.pool["ha_enabled"] = True
    done = only(rig.run(Action(Verb.SYNC_DATABASE, POOL, "")))
    assert done.result is Result.REFUSED
    assert rig.world.count("pool.sync_database") == 0


def test_a_host_that_could_not_be_marked_as_ours_is_not_disabled() -> None:
    rig = resting()
    rig.world.fail("host.add_to_other_config", "MAP_DUPLICATE_KEY")
    done = only(rig.run(Action(Verb.DISABLE_HOST, host_thing("xen02"), "")))
    assert (done.result, done.why) == (Result.FAILED, "xen02 could not be marked as disabled by xenrec")
    assert rig.world.count("host.disable") == 0


def test_what_a_host_runs_is_kept_before_it_is_declared_dead_or_it_is_not() -> None:
    rig = Rig()
    rig.world.pull("xen03")
    rig.store.kept.append(certificate("xen03", rig.world.now(), uuid="uuid-xen03"))
    rig.world.metrics["OpaqueRef:m-xen03"]["live"] = False
    rig.world.host_records["OpaqueRef:xen03"]["other_config"] = {"agent_start_time": "77."}
    kept: list[int] = []
    rig.world.at(DECLARE, lambda: kept.append(len(rig.store.buried)))
    assert only(rig.run(bury("xen03"))).result is Result.DONE
    assert kept == [2]
    assert {(b.name, b.host, b.toolstack) for b in rig.store.buried} == {("v5", "xen03", "77."), ("v6", "xen03", "77.")}
