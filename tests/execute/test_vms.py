"""Power operations and metadata on a pool with a master: every refusal, every lost answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from reconciler.core.plan import Action, Done, Result, Thing, Verb
from reconciler.core.port import FaultKind, TransportFault, XapiFailure
from tests.execute.world import NOTHING, NULL, Killed, Rig, certificate, host_thing, start, vm_thing, wanted


def one(outcomes: dict[str, Done]) -> Done:
    assert len(outcomes) == 1
    return next(iter(outcomes.values()))


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_halted_VM_is_started_on_the_planned_host_and_verified(rig: Rig) -> None:
    rig.world.halt("v1")
    done = one(rig.run(start("v1", "xen02")))
    assert (done.result, done.why) == (Result.DONE, "Running on xen02")
    assert rig.world.vm("v1")["resident_on"] == "OpaqueRef:xen02"
    kinds = [k for k, f in rig.journal.lines if k in ("intent", "reply", "end")]
    assert kinds == ["intent", "reply", "end"]
    assert done.took > 0


def test_the_journal_has_the_intent_before_the_call_and_no_password(rig: Rig) -> None:
    rig.world.halt("v1")
    seen: list[int] = []
    rig.world.at("Async.VM.start_on", lambda: seen.append(len(rig.journal.of("intent"))))
    rig.run(start("v1", "xen02"))
    assert seen == [1]
    assert "secret" not in repr(rig.journal.lines)


def test_a_running_VM_needs_nothing(rig: Rig) -> None:
    done = one(rig.run(start("v1", "xen02")))
    assert done.result is Result.ALREADY
    assert "Running already on xen01" in done.why
    assert rig.world.count("Async.VM.start_on") == 0


def test_a_VM_that_is_gone_is_refused(rig: Rig) -> None:
    del rig.world.vms["OpaqueRef:v1"]
    done = one(rig.run(start("v1", "xen02")))
    assert done.result is Result.REFUSED
    assert "gone" in done.why


@pytest.mark.parametrize("flag", ["is_control_domain", "is_a_template", "is_a_snapshot"])
def test_what_is_no_guest_is_never_touched(rig: Rig, flag: str) -> None:
    rig.world.halt("v1")
    rig.world.vm("v1")[flag] = True
    assert one(rig.run(start("v1", "xen02"))).result is Result.REFUSED
    affinity = Action(Verb.SET_AFFINITY, vm_thing("v1"), "", to=host_thing("xen02"))
    assert one(rig.run(affinity)).result is Result.REFUSED


def test_a_suspended_VM_is_not_started(rig: Rig) -> None:
    rig.world.vm("v1").update(power_state="Suspended", resident_on=NULL)
    done = one(rig.run(start("v1", "xen02")))
    assert (done.result, done.why) == (Result.REFUSED, "it is Suspended, not Halted")


@pytest.mark.parametrize("operation", ["start", "start_on"])
def test_a_blocked_operation_is_respected(rig: Rig, operation: str) -> None:
    rig.world.halt("v1")
    rig.world.vm("v1")["blocked_operations"] = {operation: "do not, says Ana"}
    done = one(rig.run(start("v1", "xen02")))
    assert done.result is Result.REFUSED
    assert "do not, says Ana" in done.why
    assert "blocked-operations" in done.remedy


def test_a_busy_VM_is_waited_for_and_then_refused_by_name_of_the_operation(rig: Rig) -> None:
    rig.world.halt("v1")
    rig.world.vm("v1")["current_operations"] = {"OpaqueRef:t": "clone"}
    done = one(rig.run(start("v1", "xen02")))
    assert done.result is Result.REFUSED
    assert "clone" in done.why
    assert 60 <= done.took < 90


def test_a_start_of_an_earlier_run_is_waited_for(rig: Rig) -> None:
    rig.world.halt("v1")
    vm = rig.world.vm("v1")
    vm["current_operations"] = {"OpaqueRef:t": "start_on"}
    ends = rig.world.time + 200

    def hook(at: str, method: str, params: object) -> object:
        if rig.world.time > ends and vm["current_operations"]:
            vm.update(power_state="Running", resident_on="OpaqueRef:xen02", current_operations={})
        return NOTHING

    rig.world.hooks.append(hook)
    done = one(rig.run(start("v1", "xen02")))
    assert done.result is Result.ALREADY
    assert rig.world.count("Async.VM.start_on") == 0


def test_a_disabled_host_is_tried_again_and_then_named(rig: Rig) -> None:
    rig.world.halt("v1")
    rig.world.host_records["OpaqueRef:xen02"]["enabled"] = False
    done = one(rig.run(start("v1", "xen02")))
    assert done.result is Result.FAILED
    assert done.why == "xen02 is disabled"
    assert "xe host-enable" in done.remedy
    assert rig.world.count("Async.VM.start_on") == 0


def test_a_host_that_becomes_enabled_in_time_gets_the_VM(rig: Rig) -> None:
    rig.world.halt("v1")
    record = rig.world.host_records["OpaqueRef:xen02"]
    record["enabled"] = False
    rig.world.at("VM.get_by_uuid", lambda: record.update(enabled=True), nth=3)
    assert one(rig.run(start("v1", "xen02"))).result is Result.DONE


def test_storage_out_of_reach_is_named_and_final(rig: Rig) -> None:
    rig.world.halt("v1")
    rig.world.fail("VM.assert_can_boot_here", "VM_REQUIRES_SR", "OpaqueRef:v1", "OpaqueRef:sr-old")
    done = one(rig.run(start("v1", "xen02")))
    assert done.result is Result.FAILED
    assert "its storage sr-old is not attached" in done.why
    assert rig.world.count("Async.VM.start_on") == 0


def test_a_stale_disk_lock_is_explained(rig: Rig) -> None:
    rig.world.halt("v1")
    rig.world.fail("VM.start_on", "SR_BACKEND_FAILURE_46", "", "The VDI is not available", "locked by x", times=9)
    done = one(rig.run(start("v1", "xen02")))
    assert done.result is Result.FAILED
    assert "a disk of it is locked by another host: The VDI is not available" in done.why
    assert "host-declare-dead" not in done.remedy, "that may be the host on which it runs"


@pytest.mark.parametrize(
    ("locks", "why", "remedy"),
    [
        ({"host_OpaqueRef:gone": "RW"}, "its disk root is locked by a host that is no longer in the pool", "resetvdis"),
        ({"host_OpaqueRef:xen03": "RW"}, "its disk root is locked by xen03: it may run there", "xenrec attest"),
        ({"vhd-parent": "x"}, "a disk of it is locked by another host: The VDI is not available", "list_domains"),
    ],
)
def test_the_holder_of_a_locked_disk_is_told(rig: Rig, locks: dict[str, str], why: str, remedy: str) -> None:
    disk = "00000000-0000-4000-8000-00000000000d"

    def answer(at: str, method: str, params: Sequence[Any]) -> Any:
        if method == "VDI.get_by_uuid":
            return "OpaqueRef:disk"
        return {"uuid": disk, "name_label": "root", "sm_config": locks} if method == "VDI.get_record" else NOTHING

    rig.world.hooks.append(answer)
    rig.world.halt("v1")
    told = f"The VDI is not available [opterr=VDI {disk} already attached RW]"
    rig.world.fail("VM.start_on", "SR_BACKEND_FAILURE_46", "", told, "", times=9)
    done = one(rig.run(start("v1", "xen02")))
    assert done.result is Result.FAILED
    assert done.why.startswith(why)
    assert remedy in done.remedy
    assert "declare-dead" not in done.remedy


def test_what_passes_by_itself_is_retried_three_times_at_most(rig: Rig) -> None:
    rig.world.halt("v1")
    rig.world.fail("VM.start_on", "CANNOT_CONTACT_HOST", "OpaqueRef:xen02", times=2)
    assert one(rig.run(start("v1", "xen02"))).result is Result.DONE
    rig.world.halt("v1")
    rig.world.fail("VM.start_on", "CANNOT_CONTACT_HOST", "OpaqueRef:xen02", times=99)
    before = rig.world.count("Async.VM.start_on")
    done = one(rig.run(start("v1", "xen02")))
    assert done.result is Result.FAILED
    assert "the master cannot reach xen02" in done.why
    assert rig.world.count("Async.VM.start_on") - before == 4


def test_a_VM_that_turns_out_to_run_is_no_failure(rig: Rig) -> None:
    rig.world.halt("v1")
    # Recording 22: start_on the host where it really runs repairs the record.
    rig.world.at("VM.start_on", lambda: rig.world.vm("v1").update(power_state="Running"))
    rig.world.fail("VM.start_on", "VM_BAD_POWER_STATE", "OpaqueRef:v1", "Halted", "Running")
    assert one(rig.run(start("v1", "xen02"))).result is Result.ALREADY


@pytest.mark.parametrize("effect", [True, False])
def test_a_lost_reply_is_observed_and_never_sent_again(rig: Rig, effect: bool) -> None:
    rig.world.halt("v1")
    rig.world.lose_reply("Async.VM.start_on", effect=effect)
    done = one(rig.run(start("v1", "xen02")))
    assert done.result is (Result.DONE if effect else Result.UNKNOWN)
    assert rig.world.count("Async.VM.start_on") == 1
    assert "lost" in done.why


def test_a_task_that_vanished_is_observed(rig: Rig) -> None:
    rig.world.halt("v1")

    def vanish() -> None:
        rig.world.run_tasks()
        rig.world.tasks.clear()
        rig.world.vm("v1").update(power_state="Running", resident_on="OpaqueRef:xen02", current_operations={})

    rig.world.at("task.get_record", vanish)
    done = one(rig.run(start("v1", "xen02")))
    assert done.result is Result.DONE
    assert "vanished" in done.why
    assert rig.world.count("Async.VM.start_on") == 1


def test_a_task_that_never_ends_is_left_alone_and_unknown(rig: Rig) -> None:
    rig.world.halt("v1")
    rig.world.task_time = 1e9
    done = one(rig.run(start("v1", "xen02")))
    assert done.result is Result.UNKNOWN
    assert "still under way after 600 s" in done.why
    assert rig.world.count("task.cancel") == 0


def test_starts_keep_within_the_limits_of_host_and_pool() -> None:
    rig = Rig(wishes=wanted(starts_per_host=2, starts_per_pool=3))
    for i in range(1, 7):
        rig.world.halt(f"v{i}")
    outcomes = rig.run(*[start(f"v{i}", "xen02" if i < 5 else "xen03") for i in range(1, 7)])
    on_two = {start(f"v{i}", "xen02").id for i in (1, 2, 3, 4)}
    under_way: set[str] = set()
    most: list[tuple[int, int]] = []
    for event in rig.events:
        if event.action and event.what == "submitted":
            under_way.add(event.action.id)
        if event.action and event.result is not None:
            under_way.discard(event.action.id)
        most.append((len(under_way), len(under_way & on_two)))
    assert {d.result for d in outcomes.values()} == {Result.DONE}
    assert max(m[0] for m in most) == 3
    assert max(m[1] for m in most) == 2


def test_a_failure_stays_with_its_followers_and_names_itself(rig: Rig) -> None:
    for name in ("v1", "v2", "v3", "v4"):
        rig.world.halt(name)
    rig.world.fail("VM.start_on", "BOOTLOADER_FAILED", "OpaqueRef:v1", "no kernel")
    first = start("v1", "xen02")
    second = start("v2", "xen02", follows=(first.id,))
    third = start("v3", "xen02", follows=(second.id,))
    outcomes = rig.run(first, second, third, start("v4", "xen03"))
    assert outcomes[first.id].result is Result.FAILED
    assert outcomes[second.id].result is Result.SKIPPED
    assert "start v1 failed" in outcomes[second.id].why
    assert "no kernel" in outcomes[second.id].why
    assert outcomes[third.id].result is Result.SKIPPED
    assert "start v2 skipped" in outcomes[third.id].why
    assert outcomes[start("v4", "xen02").id].result is Result.DONE


def test_what_follows_something_unknown_or_itself_is_skipped(rig: Rig) -> None:
    rig.world.halt("v1")
    rig.world.halt("v2")
    lost = start("v1", "xen02", follows=("declare-dead:host/xen09",))
    circle = start("v2", "xen02", follows=(start("v2", "xen02").id,))
    outcomes = rig.run(lost, circle)
    assert {d.result for d in outcomes.values()} == {Result.SKIPPED}
    assert rig.world.count("Async.VM.start_on") == 0


def test_a_follower_begins_only_after_what_it_follows(rig: Rig) -> None:
    rig.world.halt("v1")
    rig.world.halt("v2")
    first = start("v1", "xen02")
    rig.run(first, start("v2", "xen03", follows=(first.id,)))
    words = [(e.action.target.name, e.what) for e in rig.events if e.action]
    assert words.index(("v1", "done: Running on xen02")) < words.index(("v2", "begins"))


def test_a_start_that_rests_on_a_death_needs_the_proof_now(rig: Rig) -> None:
    rig.world.pull("xen03")
    rig.world.halt("v5")
    done = one(rig.run(start("v5", "xen02", dead=("xen03",))))
    assert done.result is Result.REFUSED
    assert "no certificate" in done.why
    assert "xenrec attest madrid.yaml xen03" in done.remedy
    rig.store.kept.append(certificate("xen03", rig.world.now()))
    assert one(rig.run(start("v5", "xen02", dead=("xen03",)))).result is Result.DONE


def test_an_expired_certificate_is_none(rig: Rig) -> None:
    rig.world.pull("xen03")
    rig.world.halt("v5")
    rig.store.kept.append(certificate("xen03", rig.world.now() - 100, life=50))
    done = one(rig.run(start("v5", "xen02", dead=("xen03",))))
    assert done.result is Result.REFUSED
    assert "expired" in done.why


def test_a_sign_of_life_voids_the_certificate_even_a_refused_connection(rig: Rig) -> None:
    rig.world.halt("v5")
    rig.world.pull("xen03")
    rig.world.host("xen03").up = True
    rig.world.host("xen03").refuses_until = rig.world.time + 1000
    rig.store.kept.append(certificate("xen03", rig.world.now()))
    done = one(rig.run(start("v5", "xen02", dead=("xen03",))))
    assert done.result is Result.REFUSED
    assert rig.store.kept == []
    assert "refuses connections" in rig.store.voided[0][1]
    assert rig.journal.of("void")


def test_power_that_is_on_again_voids_the_certificate(rig: Rig) -> None:
    rig.world.halt("v5")
    rig.world.pull("xen03")
    rig.world.host("xen03").power = True
    rig.store.kept.append(certificate("xen03", rig.world.now()))
    assert one(rig.run(start("v5", "xen02", dead=("xen03",)))).result is Result.REFUSED
    assert rig.store.kept == []


def test_a_BMC_that_is_silent_proves_nothing_but_voids_nothing(rig: Rig) -> None:
    rig.world.halt("v5")
    rig.world.pull("xen03")
    rig.fencer.silent = True
    rig.store.kept.append(certificate("xen03", rig.world.now()))
    assert one(rig.run(start("v5", "xen02", dead=("xen03",)))).result is Result.REFUSED
    assert len(rig.store.kept) == 1


def test_the_proof_is_renewed_every_ten_seconds_not_for_every_start(rig: Rig) -> None:
    for i in range(1, 7):
        rig.world.halt(f"v{i}")
    rig.world.pull("xen03")
    rig.store.kept.append(certificate("xen03", rig.world.now()))
    rig.run(*[start(f"v{i}", "xen02", dead=("xen03",)) for i in range(1, 4)])
    assert rig.fencer.checks == 1
    rig = Rig(wishes=wanted(starts_per_host=1))
    rig.world.task_time = 6.0
    for i in range(1, 7):
        rig.world.halt(f"v{i}")
    rig.world.pull("xen03")
    rig.store.kept.append(certificate("xen03", rig.world.now()))
    rig.run(*[start(f"v{i}", "xen02", dead=("xen03",)) for i in range(1, 7)])
    assert 2 <= rig.fencer.checks < 6


def test_a_VM_recorded_on_the_dead_host_is_not_taken_for_running(rig: Rig) -> None:
    rig.world.pull("xen03")
    rig.store.kept.append(certificate("xen03", rig.world.now()))
    done = one(rig.run(start("v5", "xen02", dead=("xen03",))))
    assert done.result is Result.REFUSED
    assert "still says that it runs on xen03" in done.why


def test_a_protected_VM_is_left_to_XAPIs_own_HA(rig: Rig) -> None:
    rig.world.halt("v1")
    rig.world.vm("v1")["ha_restart_priority"] = "restart"
    rig.world.pool["ha_enabled"] = True
    assert one(rig.run(start("v1", "xen02"))).result is Result.REFUSED


def test_shutdown_is_clean_only_and_names_the_price_of_force(rig: Rig) -> None:
    action = Action(Verb.SHUTDOWN, vm_thing("v1"), "")
    assert one(rig.run(action)).result is Result.DONE
    assert one(rig.run(action)).result is Result.ALREADY
    rig.world.fail("VM.clean_shutdown", "VM_SHUTDOWN_TIMEOUT", "OpaqueRef:v2", "1200")
    done = one(rig.run(Action(Verb.SHUTDOWN, vm_thing("v2"), "")))
    assert done.result is Result.FAILED
    assert "xe vm-shutdown uuid=uuid-v2 --force" in done.remedy
    assert "lost" in done.remedy
    assert not any("hard" in m for _, m in rig.world.calls)


def test_suspend_resume_and_unpause(rig: Rig) -> None:
    assert one(rig.run(Action(Verb.SUSPEND, vm_thing("v1"), ""))).result is Result.DONE
    assert rig.world.vm("v1")["power_state"] == "Suspended"
    done = one(rig.run(Action(Verb.RESUME, vm_thing("v1"), "", to=host_thing("xen03"))))
    assert (done.result, done.why) == (Result.DONE, "Running on xen03")
    rig.world.vm("v2")["power_state"] = "Paused"
    assert one(rig.run(Action(Verb.UNPAUSE, vm_thing("v2"), ""))).result is Result.DONE


def test_metadata_is_set_once_and_read_back(rig: Rig) -> None:
    sr = Thing("sr", "sr-new", "uuid-sr-new")
    action = Action(Verb.SET_DEFAULT_SR, Thing("pool", "madrid", "uuid-pool"), "", to=sr)
    assert one(rig.run(action)).result is Result.DONE
    assert rig.world.pool["default_SR"] == "OpaqueRef:sr-new"
    assert one(rig.run(action)).result is Result.ALREADY
    assert rig.world.count("pool.set_default_SR") == 1
    other = Action(Verb.SET_SUSPEND_SR, Thing("pool", "madrid", "uuid-pool"), "", to=sr)
    assert one(rig.run(other)).result is Result.DONE
    home = Action(Verb.SET_AFFINITY, vm_thing("v1"), "", to=host_thing("xen02"))
    rig.world.lose_reply("VM.set_affinity", effect=True)
    assert one(rig.run(home)).result is Result.DONE
    gone = Action(Verb.SET_DEFAULT_SR, Thing("pool", "madrid", ""), "", to=Thing("sr", "nope", "uuid-nope"))
    done = one(rig.run(gone))
    assert done.result is Result.FAILED
    assert "gone" in done.why


@pytest.mark.parametrize("code", ["SESSION_INVALID", ""])
@pytest.mark.parametrize("still_a_guest", [True, False])
def test_metadata_is_read_again_before_it_is_sent_again(rig: Rig, code: str, still_a_guest: bool) -> None:
    """Found by soak seed 1010395: a call that did not get out was sent a second time as it was (I7)."""
    home = Action(Verb.SET_AFFINITY, vm_thing("v1"), "", to=host_thing("xen02"))
    reads: list[int] = []

    def unheard(at: str, called: str, params: Sequence[object]) -> object:
        if called == "VM.set_affinity":
            reads.append(rig.world.count("VM.get_record"))
            if len(reads) == 1:
                rig.world.vm("v1")["is_a_template"] = not still_a_guest
                raise XapiFailure(code) if code else TransportFault(FaultKind.UNREACHABLE, "no route", sent=False)
        return NOTHING

    rig.world.hooks.append(unheard)
    done = one(rig.run(home))
    if still_a_guest:
        assert (done.result, len(reads)) == (Result.DONE, 2)
        assert reads[1] > reads[0]
    else:
        assert (done.result, len(reads)) == (Result.REFUSED, 1)
        assert "not a guest" in done.why


def test_a_master_that_was_deposed_stops_the_stage(rig: Rig) -> None:
    for i in range(1, 5):
        rig.world.halt(f"v{i}")
    rig.wishes = wanted(starts_per_host=1)

    def depose() -> None:
        rig.world.host("xen01").role = "slave:10.0.0.2"

    rig.world.at("task.get_record", depose, nth=2)
    outcomes = rig.run(*[start(f"v{i}", "xen02") for i in range(1, 5)])
    results = [d.result for d in outcomes.values()]
    assert results == [Result.UNKNOWN, Result.SKIPPED, Result.SKIPPED, Result.SKIPPED]
    assert "the master changed while we worked: xen01 follows xen02 now" in outcomes[start("v4", "xen02").id].why
    assert outcomes[start("v4", "xen02").id].remedy == "xenrec apply madrid.yaml"


def test_another_pool_at_the_masters_address_is_not_touched(rig: Rig) -> None:
    rig.world.halt("v1")
    rig.world.pool["uuid"] = "uuid-stranger"
    done = one(rig.run(start("v1", "xen02")))
    assert done.result is Result.FAILED
    assert "another pool" in done.why
    assert rig.world.count("Async.VM.start_on") == 0


def test_a_master_that_forgot_our_session_was_restarted_and_the_rest_is_planned_again(rig: Rig) -> None:
    rig.world.halt("v1")
    rig.world.halt("v2")
    rig.world.fail("Async.VM.start_on", "SESSION_INVALID", "OpaqueRef:s")
    outcomes = rig.run(start("v1", "xen02"), start("v2", "xen02"))
    assert [d.result for d in outcomes.values()] == [Result.SKIPPED, Result.SKIPPED]
    assert "the toolstack of xen01 restarted" in rig.last.restarted
    assert rig.last.stopped == rig.last.restarted
    assert rig.world.count("Async.VM.start_on") == 1
    assert {d.result for d in rig.run(start("v1", "xen02"), start("v2", "xen02")).values()} == {Result.DONE}
    assert rig.last.restarted == ""


def test_without_a_journal_nothing_is_sent(rig: Rig) -> None:
    rig.world.halt("v1")
    rig.world.at("VM.assert_can_boot_here", lambda: setattr(rig.journal, "full", True))
    outcomes = rig.run(start("v1", "xen02"), start("v2", "xen02"))
    assert rig.world.count("Async.VM.start_on") == 0
    assert [d.result for d in outcomes.values()] == [Result.FAILED, Result.SKIPPED]
    assert "journal" in outcomes[start("v1", "xen02").id].why


def test_an_interruption_is_journaled_and_raised(rig: Rig) -> None:
    rig.world.halt("v1")

    def interrupt() -> None:
        raise KeyboardInterrupt

    rig.world.at("task.get_record", interrupt, nth=2)
    with pytest.raises(KeyboardInterrupt):
        rig.run(start("v1", "xen02"))
    assert rig.journal.of("interrupted")[0]["unanswered"] == [start("v1", "xen02").id]
    assert rig.world.calls[-1][1] == "session.logout"


def test_killed_before_any_call_and_run_again_every_VM_runs_and_was_started_once() -> None:
    total = _calls_of(Rig())
    for cut in range(1, total + 1):
        rig = _halted(Rig())
        left = [cut]

        def kill(at: str, method: str, params: object, left: list[int] = left) -> object:
            if at != "task":
                left[0] -= 1
                if left[0] == 0:
                    raise Killed
            return NOTHING

        rig.world.hooks.append(kill)
        with pytest.raises(Killed):
            rig.run(*_two())
        outcomes = rig.run(*_two())
        assert {d.result for d in outcomes.values()} <= {Result.DONE, Result.ALREADY}, cut
        assert rig.world.calls.count(("task", "VM.start_on")) == 2, cut


def _two() -> tuple[Action, Action]:
    return start("v1", "xen02"), start("v2", "xen03")


def _halted(rig: Rig) -> Rig:
    rig.world.halt("v1")
    rig.world.halt("v2")
    return rig


def _calls_of(rig: Rig) -> int:
    _halted(rig).run(*_two())
    return sum(at != "task" for at, _ in rig.world.calls) - 1


def test_a_message_is_left_in_the_pool_and_its_loss_spoils_nothing(rig: Rig) -> None:
    rig.run()
    rig.last.master = "10.0.0.1"
    assert rig.last.post_message("did it")
    rig.world.fail("message.create", "UUID_INVALID", "Pool", "x")
    assert not rig.last.post_message("did it")
    rig.last.master = "10.0.0.3"
    assert not rig.last.post_message("did it")


CUT = ("CANNOT_CONTACT_HOST", "OpaqueRef:xen02")


def test_a_start_is_written_down_before_it_is_sent_and_forgotten_when_it_runs(rig: Rig) -> None:
    rig.world.halt("v1")
    seen: list[tuple[str, str]] = []
    rig.world.at("Async.VM.start_on", lambda: seen.extend((s.uuid, s.host) for s in rig.store.starts))
    assert one(rig.run(start("v1", "xen02"))).result is Result.DONE
    assert seen == [("uuid-v1", "xen02")]
    assert rig.store.starts == []


def test_a_start_whose_host_was_lost_stays_open_and_a_later_refusal_does_not_close_it(rig: Rig) -> None:
    rig.world.halt("v1")
    rig.world.fail("VM.start_on", *CUT, times=1)
    rig.world.fail("VM.start_on", "HOST_OFFLINE", "OpaqueRef:xen02", times=9)
    assert one(rig.run(start("v1", "xen02"))).result is Result.FAILED
    assert [s.host for s in rig.store.starts] == ["xen02"]


def test_a_start_that_was_refused_leaves_nothing_open(rig: Rig) -> None:
    rig.world.halt("v1")
    rig.world.fail("VM.start_on", "HOST_NOT_ENOUGH_FREE_MEMORY", "1", "2", times=9)
    assert one(rig.run(start("v1", "xen02"))).result is Result.FAILED
    assert rig.store.starts == []


def test_a_start_that_can_not_be_written_down_is_not_sent(rig: Rig) -> None:
    rig.world.halt("v1")
    rig.store.full = True
    rig.run(start("v1", "xen02"))
    assert rig.world.count("Async.VM.start_on") == 0
