"""The served lab driven by the stock XenAPI client, through the runbook by hand (sheet, appendix C)."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import XenAPI

from tests.lab.served.conftest import PASSWORD, Pool, eventually, socket_timeout

SOON = 0.15


def test_sessions_records_tasks_and_events(pool: Pool) -> None:
    session = pool.session(pool.master)
    api = session.xenapi
    vms = api.VM.get_all_records()
    running = [ref for ref, r in vms.items() if r["power_state"] == "Running" and not r["is_control_domain"]]
    halted = [
        ref
        for ref, r in vms.items()
        if r["power_state"] == "Halted" and not r["is_a_template"] and not r["is_a_snapshot"]
    ]
    vm = running[0]
    assert isinstance(vms[vm]["memory_static_max"], str), "XML-RPC carries int64 as text"
    assert api.VM.get_record(vm)["uuid"] == vms[vm]["uuid"]

    first = api.event_from(["vm", "host", "task"], "", 5.0)
    assert {event["ref"] for event in first["events"] if event["class"] == "vm"} == set(vms)
    assert isinstance(first["valid_ref_counts"]["vm"], int)
    api.VM.set_name_description(vm, "changed")
    then = api.event_from(["vm"], first["token"], 5.0)
    assert {e["ref"]: e["snapshot"]["name_description"] for e in then["events"]}[vm] == "changed"

    task = api.Async.VM.clean_shutdown(vm)
    eventually(lambda: api.task.get_status(task) == "success")
    assert api.task.get_result(task) == "<value></value>"
    api.task.destroy(task)
    assert api.VM.get_power_state(vm) == "Halted"
    with pytest.raises(XenAPI.Failure) as caught:
        api.VM.clean_shutdown(vm)
    assert caught.value.details[:2] == ["VM_BAD_POWER_STATE", vm]
    with pytest.raises(XenAPI.Failure) as caught:
        api.VM.get_record("OpaqueRef:bogus")
    assert caught.value.details == ["HANDLE_INVALID", "VM", "OpaqueRef:bogus"]

    for ref in [vm, *halted[:1]]:
        api.VM.start(ref, False, False)
        assert api.VM.get_power_state(ref) == "Running"
    session.xenapi.logout()


def test_json_rpc_answers_the_same_with_numbers(pool: Pool) -> None:
    with pool.http(pool.master) as link:
        session = pool.rpc(link, "session.login_with_password", "root", PASSWORD)["result"]
        vms = pool.rpc(link, "VM.get_all_records", session)["result"]
        ref, record = next(iter(vms.items()))
        assert isinstance(record["memory_static_max"], int)
        old = pool.rpc(link, "VM.get_record", session, ref, version="1.0", ident="four")
        assert old == {"result": record, "error": None, "id": "four"}
        stock = pool.session(pool.master).xenapi.VM.get_record(ref)
        assert {k: str(v) if type(v) is int else v for k, v in record.items()} == {
            k: v.value if hasattr(v, "value") else v for k, v in stock.items()
        }
        failure = pool.rpc(link, "VM.get_record", session, "OpaqueRef:NULL", version="1.0")
        assert failure == {"result": None, "error": ["HANDLE_INVALID", "VM", "OpaqueRef:NULL"], "id": 1}
        # Numbers may be written either way.
        for order in (3, "3"):
            assert pool.rpc(link, "VM.set_order", session, ref, order)["result"] == ""
            assert pool.rpc(link, "VM.get_order", session, ref)["result"] == 3


def refused(call: Any, *params: Any) -> list[str]:
    with pytest.raises(XenAPI.Failure) as caught:
        call(*params)
    return list(caught.value.details)


def test_the_master_is_lost_and_the_pool_regained_by_hand(pool: Pool) -> None:
    old, (heir, *others) = pool.master, pool.members
    before = pool.session(old).xenapi
    shared = {ref for ref, sr in before.SR.get_all_records().items() if sr["shared"]}
    guests = {ref: r for ref, r in before.VM.get_all_records().items() if not r["is_control_domain"]}
    dead_ref = before.host.get_by_uuid(old.uuid)
    lost = [ref for ref, r in guests.items() if r["resident_on"] == dead_ref]
    vbds, vdis = before.VBD.get_all_records(), before.VDI.get_all_records()

    def movable(ref: str) -> bool:
        disks = [vbds[vbd]["VDI"] for vbd in guests[ref]["VBDs"] if not vbds[vbd]["empty"]]
        return all(vdis[disk]["SR"] in shared for disk in disks)

    victim = next(ref for ref in lost if movable(ref))
    # Members copy the database now and then: let the last state reach them all.
    pool.session(old).xenapi.pool.sync_database()

    with pool.served.world() as lab:
        lab.power_off(old.name)

    # 1. Who is there: the master is silent, members name it, and what needs its database hangs.
    with socket_timeout(SOON), pytest.raises(TimeoutError):
        pool.session(old)
    for member in (heir, *others):
        assert refused(pool.session, member) == ["HOST_IS_SLAVE", old.address]
    local = pool.session(heir, local=True)
    assert local.xenapi.host.is_in_emergency_mode() is False
    with socket_timeout(SOON):
        asking = pool.session(heir, local=True)
        with pytest.raises(TimeoutError):
            asking.xenapi.pool.get_all()

    # 2. Promote, and poll until a normal login is accepted.
    assert local.xenapi.pool.emergency_transition_to_master() == ""

    def login() -> Any:
        with contextlib.suppress(XenAPI.Failure, OSError, EOFError):
            return pool.session(heir)
        return None

    session = eventually(login)
    api = session.xenapi
    assert heir.role == "master"

    # 3. Re-point the others, and wait for them.
    recovered = set(api.pool.recover_slaves())
    assert recovered == {api.host.get_by_uuid(member.uuid) for member in others}

    def enabled() -> bool:
        hosts = api.host.get_all_records()
        return all(hosts[ref]["enabled"] for ref in hosts if ref != dead_ref)

    eventually(enabled)
    for member in others:
        assert refused(pool.session, member) == ["HOST_IS_SLAVE", heir.address]

    # 4. Bury the dead host: its VMs were still recorded as running there.
    assert refused(api.VM.start_on, victim, recovered.copy().pop(), False, False)[0] == "VM_BAD_POWER_STATE"
    assert api.VM.get_resident_on(victim) == dead_ref
    api.VM.power_state_reset(victim)
    assert api.VM.get_power_state(victim) == "Halted"
    api.host.declare_dead(dead_ref)
    vms = api.VM.get_all_records()
    left = [r for r in vms.values() if r["resident_on"] == dead_ref and not r["is_control_domain"]]
    assert left == []

    # 5. Start what ran there and can run elsewhere.
    target = api.host.get_by_uuid(others[0].uuid)
    for ref in lost:
        if movable(ref):
            task = api.Async.VM.start_on(ref, target, False, False)
            eventually(lambda task=task: api.task.get_status(task) != "pending")
            assert api.task.get_status(task) == "success", api.task.get_error_info(task)
            assert api.VM.get_resident_on(ref) == target
        else:
            assert refused(api.VM.start_on, ref, target, False, False)[0] == "VM_REQUIRES_SR"

    uuid = guests[victim]["uuid"]
    with pool.served.world() as lab:
        places = [host for host, domains in lab.running().items() for d in domains if d.uuid == uuid]
        assert places == [others[0].name]
        assert lab.harm() == []


def test_a_vm_started_while_its_host_is_only_cut_off_is_seen_running_twice(pool: Pool) -> None:
    member = pool.members[-1]
    api = pool.session(pool.master).xenapi
    ref = api.host.get_by_uuid(member.uuid)
    shared = {sr for sr, r in api.SR.get_all_records().items() if r["shared"]}
    vdis, vbds = api.VDI.get_all_records(), api.VBD.get_all_records()
    victim = next(
        vm
        for vm, r in api.VM.get_all_records().items()
        if r["resident_on"] == ref
        and not r["is_control_domain"]
        and all(vdis[vbds[v]["VDI"]]["SR"] in shared for v in r["VBDs"] if not vbds[v]["empty"])
    )
    with pool.served.world() as lab:
        lab.cut(member.name, "*")
    api.host.declare_dead(ref)  # one failed probe passes for death
    api.VM.start_on(victim, api.host.get_by_uuid(pool.master.uuid), False, False)
    with pool.served.world() as lab:
        kinds = {harm.kind for harm in lab.harm()}
    assert {"two-domains", "two-writers"} <= kinds
