"""Live migrations on a scripted pool: what is read again before, what is observed after, what is never repeated."""

from __future__ import annotations

import pytest

from reconciler.core.plan import Action, Done, Result, Verb
from tests.execute.test_vms import one
from tests.execute.world import NOTHING, NULL, Rig, host_thing, vm_thing, wanted

CALL = "Async.VM.pool_migrate"


def move(name: str, source: str, to: str, *, follows: tuple[str, ...] = ()) -> Action:
    return Action(Verb.MIGRATE, vm_thing(name), "test", to=host_thing(to), source=host_thing(source), follows=follows)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def go(rig: Rig) -> Done:
    """v1 from xen01, where it runs, to xen02."""
    return one(rig.run(move("v1", "xen01", "xen02")))


def test_a_running_VM_is_moved_live_and_seen_there(rig: Rig) -> None:
    options: list[object] = []

    def hook(at: str, method: str, params: object) -> object:
        if method == CALL:
            options.append(params[3])  # type: ignore[index]
        return NOTHING

    rig.world.hooks.append(hook)
    done = go(rig)
    assert (done.result, done.why) == (Result.DONE, "Running on xen02")
    assert rig.world.vm("v1")["resident_on"] == "OpaqueRef:xen02"
    assert options == [{"live": "true"}]
    assert [k for k, _ in rig.journal.lines if k in ("intent", "reply", "end")] == ["intent", "reply", "end"]


def test_one_that_is_there_already_needs_nothing(rig: Rig) -> None:
    rig.world.vm("v1")["resident_on"] = "OpaqueRef:xen02"
    done = go(rig)
    assert (done.result, done.why) == (Result.ALREADY, "it is Running already on xen02")
    assert rig.world.count(CALL) == 0


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"resident_on": "OpaqueRef:xen03"}, "it runs on xen03, not on xen01"),
        ({"power_state": "Halted", "resident_on": NULL}, "it is Halted, not Running"),
        ({"power_state": "Paused"}, "it is Paused, not Running"),
        ({"is_control_domain": True}, "is not a guest"),
        ({"is_a_template": True}, "is not a guest"),
        ({"blocked_operations": {"pool_migrate": "licence, says Ana"}}, "licence, says Ana"),
        ({"current_operations": {"OpaqueRef:t": "snapshot"}}, "another operation is running on it: snapshot"),
    ],
)
def test_what_changed_since_the_plan_refuses_it(rig: Rig, fields: dict[str, object], why: str) -> None:
    rig.world.vm("v1").update(fields)
    done = go(rig)
    assert done.result is Result.REFUSED
    assert why in done.why
    assert done.remedy or fields.get("is_control_domain") or fields.get("is_a_template")
    assert done.lasting is ("blocked_operations" in fields)
    assert rig.world.count(CALL) == 0


@pytest.mark.parametrize(
    ("host", "field", "why"),
    [("xen02", "enabled", "xen02 is disabled"), ("xen02", "live", "xen02 is not live"), ("xen01", "live", "xen01")],
)
def test_a_host_that_cannot_take_part_is_waited_for_a_while_and_named(
    rig: Rig, host: str, field: str, why: str
) -> None:
    if field == "enabled":
        rig.world.host_records[f"OpaqueRef:{host}"]["enabled"] = False
    else:
        rig.world.metrics[f"OpaqueRef:m-{host}"]["live"] = False
    done = go(rig)
    assert done.result is Result.FAILED
    assert why in done.why
    assert rig.world.count(CALL) == 0


def test_XAPIs_own_judgement_on_the_target_is_asked_right_before(rig: Rig) -> None:
    rig.world.fail("VM.assert_can_boot_here", "HOST_NOT_ENOUGH_FREE_MEMORY", "5", "3")
    done = go(rig)
    assert (done.result, rig.world.count(CALL)) == (Result.FAILED, 0)
    assert "it cannot run on xen02: the target host has too little free memory" in done.why


def test_a_failed_migration_is_tried_again_while_the_VM_runs_on(rig: Rig) -> None:
    rig.world.fail("VM.pool_migrate", "VM_MIGRATE_FAILED", "OpaqueRef:v1", "a", "b", "link down", times=2)
    assert go(rig).result is Result.DONE
    assert rig.world.count(CALL) == 3


def test_a_migration_that_costs_the_VM_its_life_is_not_tried_again_and_says_so(rig: Rig) -> None:
    rig.world.at("VM.pool_migrate", lambda: rig.world.halt("v1"))
    rig.world.fail("VM.pool_migrate", "VM_MIGRATE_FAILED", "OpaqueRef:v1", "a", "b", "the destination was lost")
    done = go(rig)
    assert done.result is Result.REFUSED
    assert done.why.startswith("it is Halted, not Running, after this: its migration failed: the destination was lost")
    assert rig.world.count(CALL) == 1


@pytest.mark.parametrize("effect", [True, False])
def test_a_lost_reply_is_observed_and_never_sent_again(rig: Rig, effect: bool) -> None:
    rig.world.lose_reply(CALL, effect=effect)
    done = go(rig)
    assert done.result is (Result.DONE if effect else Result.UNKNOWN)
    assert ("Running on xen02" if effect else "it is Running on xen01") in done.why
    assert rig.world.count(CALL) == 1


def test_one_that_takes_too_long_is_cancelled(rig: Rig) -> None:
    rig.world.task_time = 1e9
    done = go(rig)
    assert (done.result, done.why) == (Result.FAILED, "it took more than 1800 s and was cancelled")
    assert rig.world.count("task.cancel") == 1
    assert [f["action"] for f in rig.journal.of("cancel")] == ["migrate:vm/uuid-v1>uuid-xen02"]


def test_one_that_cannot_be_cancelled_is_left_and_not_known(rig: Rig) -> None:
    rig.world.task_time = 1e9
    rig.world.cancellable = False
    done = go(rig)
    assert done.result is Result.UNKNOWN
    assert "does not end when it is cancelled" in done.why


def test_success_with_the_VM_elsewhere_is_no_success(rig: Rig) -> None:
    def stay(at: str, method: str, params: object) -> object:
        if method == "VM.get_record" and rig.world.count("VM.pool_migrate"):
            rig.world.vm("v1")["resident_on"] = "OpaqueRef:xen01"
        return NOTHING

    rig.world.hooks.append(stay)
    done = go(rig)
    assert (done.result, done.why) == (Result.FAILED, "XAPI reported success, and it is Running on xen01")


def test_the_declared_network_is_used(rig: Rig) -> None:
    seen: list[object] = []

    def hook(at: str, method: str, params: object) -> object:
        if method == CALL:
            seen.append(params[3])  # type: ignore[index]
        return NOTHING

    rig.world.hooks.append(hook)
    rig.wishes = wanted(migration_network="net-b")
    assert go(rig).result is Result.DONE
    rig.wishes = wanted()
    rig.world.pool["other_config"] = {"xo:migrationNetwork": "uuid-net-a"}
    assert one(rig.run(move("v2", "xen01", "xen02"))).result is Result.DONE
    rig.world.pool["other_config"] = {"xo:migrationNetwork": "gone"}
    assert one(rig.run(move("v3", "xen02", "xen01"))).result is Result.DONE
    networks = [o.get("network") for o in seen if isinstance(o, dict)]
    assert networks == ["OpaqueRef:net-b", "OpaqueRef:net-a", None]


def test_a_declared_network_that_is_gone_refuses_it(rig: Rig) -> None:
    rig.wishes = wanted(migration_network="net-z")
    done = go(rig)
    assert (done.result, rig.world.count(CALL)) == (Result.REFUSED, 0)
    assert done.lasting
    assert "the pool has no network net-z (policy.placement.migrationNetwork)" in done.why


def test_migrations_keep_within_the_limits_of_both_hosts_and_of_the_pool() -> None:
    rig = Rig(wishes=wanted(migrations_per_host=2, migrations_per_pool=3))
    for i in range(1, 7):
        rig.world.vm(f"v{i}")["resident_on"] = "OpaqueRef:xen01" if i < 5 else "OpaqueRef:xen03"
    moves = [move(f"v{i}", "xen01" if i < 5 else "xen03", "xen02") for i in range(1, 7)]
    assert {d.result for d in rig.run(*moves).values()} == {Result.DONE}
    assert _most(rig, lambda a: True) == 2  # xen02 takes part in all of them
    rig = Rig(wishes=wanted(migrations_per_host=2, migrations_per_pool=3))
    moves = [move("v1", "xen01", "xen02"), move("v2", "xen01", "xen03"), move("v3", "xen02", "xen03")]
    moves += [move("v5", "xen03", "xen02"), move("v4", "xen02", "xen01")]
    rig.run(*moves)
    assert _most(rig, lambda a: True) == 3
    for host in ("xen01", "xen02", "xen03"):
        assert _most(rig, lambda a, h=host: h in (a.to.name, a.source.name)) <= 2


def _most(rig: Rig, counted: object) -> int:
    under_way: set[str] = set()
    most = 0
    for event in rig.events:
        if event.action and event.what == "submitted" and counted(event.action):  # type: ignore[operator]
            under_way.add(event.action.id)
        if event.action and event.result is not None:
            under_way.discard(event.action.id)
        most = max(most, len(under_way))
    return most


def test_one_VM_may_move_twice_in_a_plan(rig: Rig) -> None:
    first = move("v1", "xen01", "xen03")
    outcomes = rig.run(first, move("v1", "xen03", "xen02", follows=(first.id,)))
    assert [d.result for d in outcomes.values()] == [Result.DONE, Result.DONE]
    assert rig.world.vm("v1")["resident_on"] == "OpaqueRef:xen02"
