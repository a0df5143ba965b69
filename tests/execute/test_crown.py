"""Fence, promote, recover, bury, hand over: every refusal, every lost answer, every kill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.evidence import Incident, LoginAnswer, Survey
from reconciler.core.fates import Doomed
from reconciler.core.plan import Action, Done, Result, Verb
from reconciler.core.port import XapiFailure
from reconciler.core.wanted import Member, MemberState
from tests.execute.world import NOTHING, POOL, Killed, Rig, certificate, host_thing, start, wanted

PROMOTION = "pool.emergency_transition_to_master"
FENCE = Action(Verb.FENCE, host_thing("xen01"), "the master is lost")
PROMOTE = Action(
    Verb.PROMOTE, host_thing("xen02"), "no master", certificate_of=("xen01",), follows=(FENCE.id,), via="10.0.0.2"
)
RECOVER = Action(Verb.RECOVER_MEMBERS, POOL, "members are lost", follows=(PROMOTE.id,))
BURY = Action(Verb.DECLARE_DEAD, host_thing("xen01"), "its VMs", certificate_of=("xen01",))


def regain(rig: Rig) -> dict[str, Done]:
    return rig.run(FENCE, PROMOTE, RECOVER, master=None, lost="xen01")


def promote_only(rig: Rig) -> Done:
    """PROMOTE with the certificate in hand."""
    return rig.run(replace(PROMOTE, follows=()), master=None, lost="xen01")[PROMOTE.id]


@pytest.fixture
def rig() -> Rig:
    """A pool whose master xen01 has lost its power."""
    rig = Rig()
    rig.world.pull("xen01")
    return rig


@pytest.fixture
def certified(rig: Rig) -> Rig:
    rig.store.kept.append(certificate("xen01", rig.world.now(), uuid="uuid-xen01"))
    return rig


# --- the whole way -----------------------------------------------------------------------------------------------


def test_fence_promote_recover_then_bury_and_start(rig: Rig) -> None:
    outcomes = regain(rig)
    assert {a: d.result for a, d in outcomes.items()} == dict.fromkeys(outcomes, Result.DONE)
    assert rig.last.master == "10.0.0.2"
    assert rig.world.promotions == 1
    assert rig.store.sent is None
    assert "xen03 follows it" in outcomes[RECOVER.id].why
    rest = rig.run(
        BURY,
        start("v1", "xen02", dead=("xen01",), follows=(BURY.id,)),
        start("v2", "xen03", dead=("xen01",), follows=(BURY.id,)),
        master=rig.last.master,
    )
    assert {d.result for d in rest.values()} == {Result.DONE}
    assert "v1 and v2 reset to Halted" in rest[BURY.id].why
    assert [rig.world.vm(v)["resident_on"] for v in ("v1", "v2")] == ["OpaqueRef:xen02", "OpaqueRef:xen03"]


def test_progress_tells_the_stages_of_a_promotion(rig: Rig) -> None:
    regain(rig)
    said = [e.what for e in rig.events if e.action and e.action.verb is Verb.PROMOTE]
    assert "xen02: restarting" in said
    assert "xen02 accepts logins" in said
    assert [at for at, _ in rig.last.timeline] == sorted(at for at, _ in rig.last.timeline)


def test_killed_before_any_call_and_run_again_there_is_one_promotion_and_one_master() -> None:
    probe = Rig()
    probe.world.pull("xen01")
    regain(probe)
    total = len(probe.world.calls)
    promoted = [i for i, (_, m) in enumerate(probe.world.calls) if m == PROMOTION]
    assert len(promoted) == 1
    for cut in range(1, total):
        rig = Rig()
        rig.world.pull("xen01")
        _kill_at(rig, cut)
        with pytest.raises(Killed):
            regain(rig)
        for _ in range(3):
            outcomes = _regain_again(rig)
            if all(d.result in (Result.DONE, Result.ALREADY) for d in outcomes.values()):
                break
        else:
            pytest.fail(f"cut at call {cut}: {[(d.action.id, d.result, d.why) for d in outcomes.values()]}")
        assert rig.world.promotions == 1, cut
        assert rig.world.host("xen02").role == "master"
        assert rig.store.sent is None


def _regain_again(rig: Rig) -> dict[str, Done]:
    """What the planner would make of it: with a master only its members are left to recover."""
    if rig.world.host("xen02").role == "master" and rig.world.time >= rig.world.host("xen02").refuses_until:
        return rig.run(replace(RECOVER, follows=()), master="10.0.0.2")
    if rig.store.sent is not None and rig.world.now() - rig.store.sent.sent_at < 120:
        wait = Action(Verb.AWAIT_MASTER, host_thing("xen02"), "", certificate_of=("xen01",), via="10.0.0.2")
        return rig.run(wait, replace(RECOVER, follows=(wait.id,)), master=None)
    return regain(rig)


def _kill_at(rig: Rig, cut: int) -> None:
    left = [cut]

    def kill(at: str, method: str, params: Sequence[Any]) -> Any:
        if at != "task":
            left[0] -= 1
            if left[0] == 0:
                raise Killed
        return NOTHING

    rig.world.hooks.append(kill)


# --- fence -------------------------------------------------------------------------------------------------------


def test_a_host_that_answers_is_not_fenced() -> None:
    rig = Rig()
    outcomes = regain(rig)
    assert outcomes[FENCE.id].result is Result.REFUSED
    assert "accepts logins as a master" in outcomes[FENCE.id].why
    assert rig.fencer.offs == 0
    assert outcomes[PROMOTE.id].result is Result.SKIPPED
    member = Action(Verb.FENCE, host_thing("xen03"), "")
    assert rig.run(member)[member.id].result is Result.REFUSED
    assert rig.fencer.offs == 0


def test_a_fence_agent_that_cannot_prove_it_gives_no_certificate_and_no_promotion(rig: Rig) -> None:
    rig.fencer.refuses = "its BMC says off was done, and status says on"
    outcomes = regain(rig)
    assert outcomes[FENCE.id].result is Result.FAILED
    assert outcomes[FENCE.id].remedy == "pull its power"
    assert outcomes[PROMOTE.id].result is outcomes[RECOVER.id].result is Result.SKIPPED
    assert rig.store.kept == []
    assert rig.world.promotions == 0


def test_a_certified_host_is_not_fenced_twice(certified: Rig) -> None:
    assert regain(certified)[FENCE.id].result is Result.ALREADY
    assert certified.fencer.offs == 0


def test_a_run_strikes_no_more_hosts_than_the_brake_allows(rig: Rig) -> None:
    rig.world.pull("xen03")
    second = Action(Verb.FENCE, host_thing("xen03"), "")
    outcomes = rig.run(FENCE, second, master=None, lost="xen01")
    assert outcomes[FENCE.id].result is Result.DONE
    assert outcomes[second.id].result is Result.REFUSED
    assert "maxHostsPerRun is 1" in outcomes[second.id].why
    assert rig.fencer.offs == 1


def test_without_a_store_for_the_certificate_nothing_more_is_done(rig: Rig) -> None:
    def broken(_: object) -> None:
        raise OSError("disk full")

    rig.store.add_certificate = broken  # type: ignore[method-assign,assignment]
    outcomes = regain(rig)
    assert [d.result for d in outcomes.values()] == [Result.UNKNOWN, Result.SKIPPED, Result.SKIPPED]
    assert rig.world.promotions == 0


# --- promote -----------------------------------------------------------------------------------------------------


def test_no_certificate_no_promotion(rig: Rig) -> None:
    done = promote_only(rig)
    assert done.result is Result.REFUSED
    assert "no certificate says that xen01 is dead" in done.why
    assert rig.world.promotions == 0


def test_the_old_master_answers_again_before_the_promotion(certified: Rig) -> None:
    def back() -> None:
        certified.world.host("xen01").up = True

    # After the survey, at the last moment: when the local session is opened.
    certified.world.at("session.slave_local_login_with_password", back)
    done = promote_only(certified)
    assert done.result is Result.REFUSED
    assert "xen01 is not dead" in done.why
    assert certified.world.promotions == 0
    assert certified.store.kept == []
    assert certified.store.voided
    assert certified.store.sent is None


def test_the_old_master_answers_in_the_survey(certified: Rig) -> None:
    certified.world.host("xen01").up = True
    done = promote_only(certified)
    assert done.result is Result.REFUSED
    assert certified.store.kept == []
    assert certified.world.promotions == 0


def test_power_of_the_old_master_is_on_again(certified: Rig) -> None:
    certified.world.host("xen01").power = True
    done = promote_only(certified)
    assert done.result is Result.REFUSED
    assert "power is on" in done.why
    assert certified.store.kept == []


def _brake(rig: Rig, share: float) -> None:
    policy = rig.wishes.policy
    rig.wishes = replace(rig.wishes, policy=replace(policy, brake=replace(policy.brake, min_healthy=share)))


def _survey(rig: Rig, change: dict[str, dict[str, Any]]) -> None:
    honest = rig.survey

    def altered() -> Survey:
        survey = honest()
        return replace(survey, testimonies=tuple(replace(t, **change.get(t.name, {})) for t in survey.testimonies))

    rig.survey = altered  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"xen03": {"reaches_master": True}}, "still reaches it"),
        ({"xen03": {"login": LoginAnswer.MASTER, "follows": None}}, "xen03 is master"),
        ({"xen03": {"follows": "10.0.0.9"}}, "xen03 follows 10.0.0.9"),
        ({"xen03": {"login": LoginAnswer.UNTRUSTED, "follows": None}}, "cannot be asked"),
        ({"xen03": {"login": LoginAnswer.REJECTED, "follows": None}}, "rejects the login"),
        ({"xen02": {"login": LoginAnswer.SILENT, "follows": None}}, "only 1 of 3 members answer"),
        ({"xen02": {"login": LoginAnswer.REFUSED, "follows": None}}, "only 1 of 3 members answer"),
    ],
)
def test_any_witness_of_another_master_forbids_it(certified: Rig, change: Any, words: str) -> None:
    if words == "cannot be asked":
        _brake(certified, 0.3)
    _survey(certified, change)
    done = promote_only(certified)
    assert done.result is Result.REFUSED
    assert words in done.why
    assert certified.world.promotions == 0
    assert certified.store.sent is None


def test_members_that_lost_another_master_meanwhile_forbid_it(certified: Rig) -> None:
    _brake(certified, 0.3)
    gone = {"login": LoginAnswer.SILENT, "follows": None}
    _survey(certified, {"xen02": {"follows": "10.0.0.3"}, "xen03": gone})
    done = promote_only(certified)
    assert (done.result, certified.world.promotions) == (Result.REFUSED, 0)
    assert done.why == "the lost master is xen01, but xen02 follows xen03"


def test_a_candidate_that_is_silent_is_not_promoted_though_enough_others_answer(certified: Rig) -> None:
    certified.wishes = replace(
        certified.wishes,
        policy=replace(certified.wishes.policy, brake=replace(certified.wishes.policy.brake, min_healthy=0.3)),
    )
    certified.world.pull("xen02")
    done = promote_only(certified)
    assert done.result is Result.REFUSED
    assert "candidate xen02 does not answer" in done.why


def test_the_storm_brake_holds(certified: Rig) -> None:
    certified.world.pull("xen03")
    done = promote_only(certified)
    assert done.result is Result.REFUSED
    assert "minHealthy" in done.why
    assert certified.world.promotions == 0


def test_a_member_whose_toolstack_restarts_is_given_time_to_say_that_it_is_master(certified: Rig) -> None:
    certified.wishes = replace(
        certified.wishes,
        policy=replace(certified.wishes.policy, brake=replace(certified.wishes.policy.brake, min_healthy=0.3)),
    )
    host = certified.world.host("xen03")
    host.refuses_until = certified.world.time + 10
    host.role = "master"
    done = promote_only(certified)
    assert done.result is Result.REFUSED
    assert "xen03 accepts logins as a master" in done.why
    assert certified.world.promotions == 0


def test_XAPIs_own_HA_refuses_and_nothing_stays_behind(certified: Rig) -> None:
    certified.world.fail(PROMOTION, "HA_IS_ENABLED")
    done = promote_only(certified)
    assert done.result is Result.REFUSED
    assert "HA is armed" in done.why
    assert certified.store.sent is None
    assert certified.world.count(PROMOTION) == 1


@pytest.mark.parametrize("effect", [True, False])
def test_a_lost_reply_is_watched_and_the_call_is_never_sent_again(certified: Rig, effect: bool) -> None:
    certified.world.lose_reply(PROMOTION, effect=effect)
    done = promote_only(certified)
    assert certified.world.count(PROMOTION) == 1
    if effect:
        assert done.result is Result.DONE
        return
    assert done.result is Result.FAILED
    assert "never arrived" in done.why
    # It surely had no effect, so the next run may promote, and the judge keeps to the same candidate.
    assert promote_only(certified).result is Result.DONE
    assert certified.world.promotions == 1


def test_an_incident_of_an_earlier_run_is_watched_not_repeated(certified: Rig) -> None:
    now = certified.world.now()
    certified.store.sent = Incident("madrid", "xen02", "10.0.0.2", "xen01", "10.0.0.1", now, "run-0")
    certified.world.host("xen02").becomes = (now + 30, "master")
    assert promote_only(certified).result is Result.DONE
    assert certified.world.count(PROMOTION) == 0
    assert certified.last.master == "10.0.0.2"


def test_an_incident_of_another_candidate_forbids_a_second_promotion(certified: Rig) -> None:
    now = certified.world.now()
    certified.store.sent = Incident("madrid", "xen03", "10.0.0.3", "xen01", "10.0.0.1", now, "run-0")
    done = promote_only(certified)
    assert done.result is Result.REFUSED
    assert "two masters" in done.why
    assert certified.world.count(PROMOTION) == 0


def test_the_incident_is_on_disk_before_the_call_and_without_disk_there_is_no_call(certified: Rig) -> None:
    seen: list[Incident | None] = []
    certified.world.at(PROMOTION, lambda: seen.append(certified.store.sent))
    promote_only(certified)
    assert seen[0] is not None
    assert seen[0].candidate == "xen02"
    rig = Rig()
    rig.world.pull("xen01")
    rig.store.kept.append(certificate("xen01", rig.world.now()))
    rig.store.broken = True
    assert promote_only(rig).result is Result.FAILED
    assert rig.world.count(PROMOTION) == 0


def test_a_journal_that_fails_before_the_call_leaves_no_incident(certified: Rig) -> None:
    certified.world.at("session.slave_local_login_with_password", lambda: setattr(certified.journal, "full", True))
    assert promote_only(certified).result is Result.FAILED
    assert certified.world.count(PROMOTION) == 0
    assert certified.store.sent is None


def test_a_candidate_that_steps_down_to_another_master_is_reported(certified: Rig) -> None:
    def elsewhere(at: str, method: str, params: Sequence[Any]) -> Any:
        if at == "10.0.0.2" and method == "session.login_with_password" and certified.world.promotions:
            raise XapiFailure("HOST_IS_SLAVE", "10.0.0.3")
        return NOTHING

    certified.world.hooks.append(elsewhere)
    done = promote_only(certified)
    assert done.result is Result.FAILED
    assert "follows xen03 by now: it was pointed there since it was told" in done.why


def test_a_candidate_that_never_answers_again_is_given_up_after_the_deadline(certified: Rig) -> None:
    certified.world.at(PROMOTION, lambda: None)
    certified.world.lose_reply(PROMOTION, effect=True)
    certified.world.hooks.append(
        lambda at, m, p: (
            setattr(certified.world.host("xen02"), "up", False) or NOTHING if certified.world.promotions else NOTHING
        )
    )
    done = promote_only(certified)
    assert done.result is Result.FAILED
    assert "its host has not answered for 12" in done.why
    assert 120 <= done.took < 160
    assert certified.store.sent is not None


def test_a_candidate_whose_toolstack_never_starts_is_waited_for_until_the_deadline(certified: Rig) -> None:
    certified.world.hooks.append(
        lambda at, m, p: (
            setattr(certified.world.host("xen02"), "refuses_until", 1e9) or NOTHING
            if certified.world.promotions
            else NOTHING
        )
    )
    done = promote_only(certified)
    assert done.result is Result.FAILED
    assert "its toolstack is not" in done.why
    assert 600 <= done.took < 640


# --- recover -----------------------------------------------------------------------------------------------------


def _promoted(rig: Rig) -> Rig:
    promote_only(rig)
    assert rig.last.master == "10.0.0.2"
    return rig


def recover(rig: Rig) -> Done:
    return rig.run(replace(RECOVER, follows=()), master="10.0.0.2")[RECOVER.id]


def test_recover_is_not_sent_beside_a_second_master(certified: Rig) -> None:
    _promoted(certified)
    certified.world.host("xen01").up = True
    done = recover(certified)
    assert done.result is Result.REFUSED
    assert "second master: xen01 accepts logins" in done.why
    assert certified.world.count("pool.recover_slaves") == 0
    assert certified.store.kept == []
    assert certified.store.sent is not None


def test_recover_is_sent_only_where_a_normal_login_is_accepted(certified: Rig) -> None:
    done = certified.run(replace(RECOVER, follows=()), master="10.0.0.3")[RECOVER.id]
    assert done.result is Result.FAILED
    assert certified.world.count("pool.recover_slaves") == 0


def test_recover_again_sends_nothing(certified: Rig) -> None:
    _promoted(certified)
    assert recover(certified).result is Result.DONE
    assert recover(certified).result is Result.ALREADY
    assert certified.world.count("pool.recover_slaves") == 1


def test_a_lost_reply_of_recover_slaves_is_observed(certified: Rig) -> None:
    _promoted(certified)
    certified.world.lose_reply("pool.recover_slaves", effect=True)
    assert recover(certified).result is Result.DONE
    assert certified.world.count("pool.recover_slaves") == 1


def test_stragglers_are_asked_for_again_and_then_told_by_themselves(certified: Rig) -> None:
    _promoted(certified)

    def deaf(at: str, method: str, params: Sequence[Any]) -> Any:
        return [] if method == "pool.recover_slaves" else NOTHING

    certified.world.hooks.append(deaf)
    done = recover(certified)
    assert done.result is Result.DONE
    assert certified.world.count("pool.recover_slaves") == 2
    assert [a for a, m in certified.world.calls if m == "pool.emergency_reset_master"] == ["10.0.0.3"]


def test_a_member_that_does_not_come_back_is_named_and_holds_up_what_follows(certified: Rig) -> None:
    _promoted(certified)
    certified.world.hooks.append(
        lambda at, m, p: [] if m == "pool.recover_slaves" else "" if m == "pool.emergency_reset_master" else NOTHING
    )
    follower = start("v1", "xen02", follows=(RECOVER.id,))
    outcomes = certified.run(replace(RECOVER, follows=()), follower, master="10.0.0.2")
    assert outcomes[RECOVER.id].result is Result.FAILED
    assert "xen03 does not follow xen02" in outcomes[RECOVER.id].why
    assert "xe-toolstack-restart" in outcomes[RECOVER.id].remedy
    assert outcomes[follower.id].result is Result.SKIPPED


def test_a_member_that_follows_but_stays_disabled_is_named(certified: Rig) -> None:
    _promoted(certified)
    certified.world.hooks.append(
        lambda at, m, p: certified.world.host_records["OpaqueRef:xen03"].update(enabled=False) or NOTHING
    )
    done = recover(certified)
    assert done.result is Result.FAILED
    assert "xen03 follows xen02 but stays disabled: run xe-toolstack-restart on it" in done.why
    assert certified.store.sent is None


def test_a_member_in_maintenance_may_stay_disabled(certified: Rig) -> None:
    members = (*certified.wishes.members[:2], Member("xen03", "10.0.0.3", MemberState.MAINTENANCE))
    certified.wishes = replace(certified.wishes, members=members)
    _promoted(certified)
    certified.world.hooks.append(
        lambda at, m, p: certified.world.host_records["OpaqueRef:xen03"].update(enabled=False) or NOTHING
    )
    assert recover(certified).result is Result.DONE


def test_await_members_waits_and_sends_nothing(certified: Rig) -> None:
    _promoted(certified)
    certified.world.host("xen03").becomes = (certified.world.time + 40, "slave:10.0.0.2")
    action = Action(Verb.AWAIT_MEMBERS, POOL, "")
    done = certified.run(action, master="10.0.0.2")[action.id]
    assert done.result is Result.DONE
    assert done.took >= 40
    assert certified.world.count("pool.recover_slaves") == 0


# --- bury --------------------------------------------------------------------------------------------------------


@pytest.fixture
def widowed() -> Rig:
    """A healthy master xen01; member xen03 lost its power and is certified dead."""
    rig = Rig()
    rig.world.pull("xen03")
    rig.store.kept.append(certificate("xen03", rig.world.now(), uuid="uuid-xen03"))
    return rig


BURY3 = Action(Verb.DECLARE_DEAD, host_thing("xen03"), "its VMs", certificate_of=("xen03",))


def test_a_certified_host_is_declared_dead_once(widowed: Rig) -> None:
    assert widowed.run(BURY3)[BURY3.id].result is Result.DONE
    assert widowed.run(BURY3)[BURY3.id].result is Result.ALREADY
    assert widowed.world.count("Async.host.declare_dead") == 1


def test_without_proof_nobody_is_buried(widowed: Rig) -> None:
    widowed.store.kept.clear()
    assert widowed.run(BURY3)[BURY3.id].result is Result.REFUSED
    groundless = replace(BURY3, certificate_of=())
    assert widowed.run(groundless)[BURY3.id].result is Result.REFUSED
    assert widowed.world.count("Async.host.declare_dead") == 0


def test_a_living_host_in_the_false_dead_window_is_not_buried() -> None:
    # Recording 21: after a master start every member is live=false, and XAPI would bury it without a probe.
    rig = Rig()
    rig.world.metrics["OpaqueRef:m-xen03"]["live"] = False
    rig.store.kept.append(certificate("xen03", rig.world.now()))
    assert rig.run(BURY3)[BURY3.id].result is Result.REFUSED
    assert rig.store.kept == []
    assert rig.world.count("Async.host.declare_dead") == 0


def test_the_acting_master_is_never_buried() -> None:
    rig = Rig()
    own = Action(Verb.DECLARE_DEAD, host_thing("xen01"), "", certificate_of=("xen01",))
    rig.store.kept.append(certificate("xen01", rig.world.now()))
    assert rig.run(own)[own.id].result is Result.REFUSED
    assert rig.world.count("Async.host.declare_dead") == 0


def test_HOST_IS_LIVE_is_a_sign_of_life(widowed: Rig) -> None:
    widowed.world.fail("host.declare_dead", "HOST_IS_LIVE", "OpaqueRef:xen03")
    done = widowed.run(BURY3)[BURY3.id]
    assert done.result is Result.REFUSED
    assert widowed.store.kept == []


def test_a_hook_that_fails_is_named(widowed: Rig) -> None:
    widowed.world.fail("host.declare_dead", "XAPI_HOOK_FAILED", "host-pre-declare-dead/05fence", "user", "", "2")
    done = widowed.run(BURY3)[BURY3.id]
    assert done.result is Result.FAILED
    assert "host-pre-declare-dead/05fence failed with exit code 2" in done.why
    assert widowed.world.count("Async.host.declare_dead") == 1


def test_a_burial_that_stopped_midway_is_repeated_once(widowed: Rig) -> None:
    widowed.world.fail("host.declare_dead", "INTERNAL_ERROR", "midway")
    assert widowed.run(BURY3)[BURY3.id].result is Result.DONE
    assert widowed.world.count("Async.host.declare_dead") == 2
    widowed = Rig()
    widowed.world.pull("xen03")
    widowed.store.kept.append(certificate("xen03", widowed.world.now()))
    widowed.world.fail("host.declare_dead", "INTERNAL_ERROR", "midway", times=9)
    done = widowed.run(BURY3)[BURY3.id]
    assert done.result is Result.FAILED
    assert "v5 and v6 still resident" in done.why
    assert widowed.world.count("Async.host.declare_dead") == 2


def test_an_old_release_gets_one_reset_for_each_VM(widowed: Rig) -> None:
    widowed.world.fail("Async.host.declare_dead", "MESSAGE_METHOD_UNKNOWN", "Async.host.declare_dead", times=9)
    assert widowed.run(BURY3)[BURY3.id].result is Result.DONE
    assert widowed.world.count("Async.VM.power_state_reset") == 2
    assert any("locks of their disks stay" in e.what for e in widowed.events)


@pytest.mark.parametrize("effect", [True, False])
def test_a_lost_reply_of_declare_dead_is_observed(widowed: Rig, effect: bool) -> None:
    widowed.world.lose_reply("Async.host.declare_dead", effect=effect)
    done = widowed.run(BURY3)[BURY3.id]
    assert done.result is (Result.DONE if effect else Result.UNKNOWN)
    assert widowed.world.count("Async.host.declare_dead") == 1


def test_XAPIs_own_HA_buries_its_dead_itself(widowed: Rig) -> None:
    widowed.world.pool["ha_enabled"] = True
    assert widowed.run(BURY3)[BURY3.id].result is Result.REFUSED
    assert widowed.world.count("Async.host.declare_dead") == 0


# --- hand over ---------------------------------------------------------------------------------------------------

DESIGNATE = Action(Verb.DESIGNATE_MASTER, host_thing("xen02"), "the manifest says so")


def test_a_hand_over_in_a_healthy_pool() -> None:
    rig = Rig()
    done = rig.run(DESIGNATE)[DESIGNATE.id]
    assert done.result is Result.DONE
    assert rig.last.master == "10.0.0.2"
    assert rig.world.count("pool.designate_new_master") == 1
    assert rig.run(DESIGNATE, master="10.0.0.2")[DESIGNATE.id].result is Result.ALREADY


@pytest.mark.parametrize("trouble", ["disabled", "busy", "ha"])
def test_a_hand_over_needs_every_host_and_a_quiet_pool(trouble: str) -> None:
    rig = Rig()
    if trouble == "disabled":
        rig.world.host_records["OpaqueRef:xen03"]["enabled"] = False
    elif trouble == "busy":
        rig.world.pool["current_operations"] = {"OpaqueRef:t": "apply_updates"}
    else:
        rig.world.pool["ha_enabled"] = True
    assert rig.run(DESIGNATE)[DESIGNATE.id].result is Result.REFUSED
    assert rig.world.count("pool.designate_new_master") == 0


def test_a_lost_reply_of_a_hand_over_is_watched() -> None:
    rig = Rig()
    rig.world.lose_reply("pool.designate_new_master", effect=True)
    assert rig.run(DESIGNATE)[DESIGNATE.id].result is Result.DONE
    assert rig.world.count("pool.designate_new_master") == 1


def test_a_hand_over_that_does_not_happen_leaves_the_old_master_acting() -> None:
    rig = Rig(wishes=wanted(promotion_timeout=60.0))
    rig.world.lose_reply("pool.designate_new_master", effect=False)
    assert rig.run(DESIGNATE)[DESIGNATE.id].result is Result.FAILED
    assert rig.last.master == "10.0.0.1"


@pytest.mark.parametrize(
    ("code", "looks"), [("HA_ABORT_NEW_MASTER", True), ("DESIGNATE_NEW_MASTER_IN_PROGRESS", False)]
)
def test_a_hand_over_that_xapi_gave_up_may_have_moved_a_member(code: str, looks: bool) -> None:
    rig = Rig()
    rig.world.host("xen03").becomes = (rig.world.time + 10, "slave:10.0.0.2")
    rig.world.fail("pool.designate_new_master", code)
    began = rig.world.time
    done = rig.run(DESIGNATE)[DESIGNATE.id]
    assert done.result is Result.FAILED
    assert ("xen03 follows xen02 already" in done.why) is looks
    assert (rig.world.time - began >= 16) is looks
    assert rig.world.count("pool.designate_new_master") == 1
    assert done.remedy


def test_a_session_that_ended_before_a_hand_over_is_not_a_reason_to_send_it_twice() -> None:
    rig = Rig()
    rig.world.fail("pool.designate_new_master", "SESSION_INVALID", "OpaqueRef:s")
    assert rig.run(DESIGNATE)[DESIGNATE.id].result is Result.FAILED
    assert rig.world.count("pool.designate_new_master") == 1


@pytest.mark.parametrize(
    ("role", "words"),
    [("master", "xen03 accepts logins as a master"), ("slave:10.0.0.9", "xen03 follows 10.0.0.9 by now")],
)
def test_whoever_promoted_meanwhile_is_noticed_before_the_call(certified: Rig, role: str, words: str) -> None:
    """Found by soak seed 44: another machine did its whole run between our survey and our call."""
    world = certified.world
    world.at("session.slave_local_login_with_password", lambda: setattr(world.host("xen03"), "role", role))
    done = promote_only(certified)
    assert done.result is Result.REFUSED
    assert words in done.why
    assert world.promotions == 0
    assert certified.store.sent is None


def test_a_copy_that_would_kill_more_than_the_plan_said_is_not_promoted(certified: Rig) -> None:
    said, more = Doomed("v2", "uuid-v2", "xen03", "created since"), Doomed("v9", "uuid-v9", "xen03", "created since")
    asked: list[tuple[str, str]] = []

    def by_now(survey: Survey, diagnosis: object, lost: str, candidate: str) -> tuple[Doomed, ...]:
        assert survey.of("xen02") is not None
        asked.append((lost, candidate))
        return (said, more)

    certified.kills_now = by_now
    promote = replace(PROMOTE, follows=(), kills=(said,))
    told = certified.run(promote, master=None, lost="xen01")[PROMOTE.id]
    assert told.result is Result.REFUSED
    assert "may kill v9 on xen03 too, which the plan did not say" in told.why
    assert told.remedy.startswith("xenrec plan ")
    assert asked == [("xen01", "xen02")]
    assert certified.world.promotions == 0
    assert certified.store.sent is None

    both = replace(promote, kills=(said, more))
    assert certified.run(both, master=None, lost="xen01")[PROMOTE.id].result is Result.DONE
    assert certified.world.promotions == 1
