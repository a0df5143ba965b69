"""What XAPI refuses, with which words and in which order (sheet §4.3, §5.1, §5.3, §7.1; recording 02)."""

from __future__ import annotations

import pytest

from reconciler.lab import NULL
from tests.lab.story import HANGS, Story, make


@pytest.fixture
def s() -> Story:
    story = make()
    story.login("h1")
    return story


def test_power_states_are_named_in_lower_case_and_in_order(s: Story) -> None:
    on = ("h2", False, False)
    assert s.refusal("h1", "VM.start", "vm1", False, False) == ["VM_BAD_POWER_STATE", "vm1", "halted", "running"]
    assert s.refusal("h1", "VM.start_on", "vm1", *on) == ["VM_BAD_POWER_STATE", "vm1", "halted", "running"]
    assert s.refusal("h1", "VM.resume_on", "vm5", *on) == ["VM_BAD_POWER_STATE", "vm5", "suspended", "halted"]
    assert s.refusal("h1", "VM.unpause", "vm1") == ["VM_BAD_POWER_STATE", "vm1", "paused", "running"]
    expected = {
        "VM.clean_shutdown": "running",
        "VM.hard_shutdown": "paused, suspended, running",
        "VM.shutdown": "paused, suspended, running",
        "VM.hard_reboot": "paused, running",
        "VM.suspend": "running",
        "VM.pause": "running",
    }
    for call, needed in expected.items():
        assert s.refusal("h1", call, "vm5") == ["VM_BAD_POWER_STATE", "vm5", needed, "halted"], call


def test_control_domains_templates_and_snapshots(s: Story) -> None:
    dom0 = "Control domain on host: xen01"
    not_allowed = "This operation is not allowed on a control domain"
    elsewhere = "Cannot boot a control domain on a host different from its affinity"
    assert s.refusal("h1", "VM.start", dom0, False, False) == ["VM_BAD_POWER_STATE", dom0, "halted", "running"]
    assert s.refusal("h1", "VM.start_on", dom0, "h3", False, False) == ["OPERATION_NOT_ALLOWED", elsewhere]
    for call in ("VM.hard_shutdown", "VM.clean_shutdown"):
        assert s.refusal("h1", call, dom0) == ["OPERATION_NOT_ALLOWED", not_allowed]
    assert s.refusal("h1", "VM.power_state_reset", dom0) == ["CANNOT_RESET_CONTROL_DOMAIN", dom0]
    template = "Debian Bookworm 12"
    assert s.refusal("h1", "VM.start", template, False, False) == ["VM_IS_TEMPLATE", template, "start"]
    assert s.refusal("h1", "VM.start_on", template, "h2", False, False) == ["VM_IS_TEMPLATE", template, "start_on"]
    s.ask("h1", "VM.snapshot", "vm5", "snap")
    s.learn()
    assert s.refusal("h1", "VM.start", "snap", False, False) == ["VM_IS_SNAPSHOT", "snap", "start"]
    for harmless in (template, "snap", "vm5"):
        assert s.ask("h1", "VM.power_state_reset", harmless) == ""


def test_the_order_of_refusals_of_start_on(s: Story) -> None:
    """Each step removes the reason that came first; the next one shows."""
    vm = s.ref("vm5")
    on = ("vm5", "h2", False, False)
    dead = s.lab.hosts["h1"].toolstack
    assert dead is not None
    db = dead.db
    assert db is not None
    h2 = s.ref("h2")
    metrics = db.get("host", h2)["metrics"]
    s.ask("h1", "VM.set_memory", "vm5", 200 << 30)
    s.ask("h1", "VM.set_VCPUs_max", "vm5", 64)
    s.ask("h1", "VM.add_to_blocked_operations", "vm5", "start_on", "keep off")
    db.update("VM", vm, current_operations={"OpaqueRef:t": "clone"})
    db.update("host_metrics", metrics, live=False)
    s.ask("h1", "host.disable", "h1")
    db.update("host", h2, enabled=False)
    pbds = [r for r in db.get("host", h2)["PBDs"] if db.get("PBD", r)["SR"] == s.ref("shared")]
    db.update("PBD", pbds[0], currently_attached=False)
    vif = db.get("VM", vm)["VIFs"][0]
    network = db.get("VIF", vif)["network"]
    pif = next(r for r in db.get("network", network)["PIFs"] if db.get("PIF", r)["host"] == h2)
    other = next(r for r in db.tables["network"] if r != network)
    db.update("PIF", pif, network=other)

    assert s.refusal("h1", "VM.start_on", "vm5", "OpaqueRef:none", False, False)[0] == "HANDLE_INVALID"
    assert s.refusal("h1", "VM.start_on", *on) == ["OPERATION_BLOCKED", "vm5", "keep off"]
    s.ask("h1", "VM.remove_from_blocked_operations", "vm5", "start_on")
    assert s.ask("h1", "VM.start_on", *on, deadline=5.0) == HANGS  # another operation: waited for, up to two hours
    db.update("VM", vm, current_operations={})
    assert s.refusal("h1", "VM.start_on", *on) == ["HOST_NOT_LIVE"]
    db.update("host_metrics", metrics, live=True)
    assert s.refusal("h1", "VM.start_on", *on) == ["HOST_DISABLED", "h2"]
    db.update("host", h2, enabled=True)
    assert s.refusal("h1", "VM.start_on", *on) == ["VM_REQUIRES_SR", "vm5", "shared"]
    db.update("PBD", pbds[0], currently_attached=True)
    assert s.refusal("h1", "VM.start_on", *on)[:2] == ["VM_REQUIRES_NETWORK", "vm5"]
    db.update("PIF", pif, network=network)
    assert s.refusal("h1", "VM.start_on", *on)[0] == "HOST_NOT_ENOUGH_FREE_MEMORY"
    s.ask("h1", "VM.set_memory", "vm5", 1 << 30)
    assert s.refusal("h1", "VM.start_on", *on) == ["HOST_NOT_ENOUGH_PCPUS", "64", "16"]
    s.ask("h1", "VM.set_VCPUs_max", "vm5", 1)
    assert s.ask("h1", "VM.start_on", *on) == ""
    assert s.where("vm5") == ["h2"]
    assert s.record("h1", "vm5") == ("Running", "h2")
    assert db.get("VM", vm)["current_operations"] == {}


def test_start_prefers_the_affinity_host_and_ignores_one_that_cannot(s: Story) -> None:
    s.ask("h1", "VM.set_affinity", "vm5", "h3")
    s.ask("h1", "VM.start", "vm5", False, False)
    assert s.where("vm5") == ["h3"]
    s.ask("h1", "VM.set_affinity", "vm6", "OpaqueRef:bogus")
    assert s.ask("h1", "VM.get_affinity", "vm6") == "OpaqueRef:bogus"
    s.ask("h1", "VM.start", "vm6", False, False)
    assert len(s.where("vm6")) == 1
    assert s.ask("h1", "VM.get_affinity", "vm6") == "OpaqueRef:bogus"


def test_a_cd_on_storage_that_a_host_cannot_reach_pins_the_vm(s: Story) -> None:
    ts = s.lab.hosts["h1"].toolstack
    assert ts is not None
    assert ts.db is not None
    disc = ts.db.create("VDI", "OpaqueRef:disc", {"uuid": "disc", "SR": s.ref("local-sr-h1"), "read_only": True})
    drive = ts.db.create("VBD", "OpaqueRef:drive", {"uuid": "d", "VM": s.ref("vm5"), "type": "CD", "empty": True})
    assert s.refusal("h1", "VBD.eject", drive) == ["VBD_IS_EMPTY", drive]
    s.ask("h1", "VBD.insert", drive, disc)
    assert s.refusal("h1", "VM.start_on", "vm5", "h2", False, False) == ["VM_REQUIRES_SR", "vm5", "local-sr-h1"]
    assert s.ask("h1", "VM.get_possible_hosts", "vm5") == ["h1"]
    s.ask("h1", "VBD.eject", drive)
    assert s.ask("h1", "VBD.get_VDI", drive) == NULL
    s.ask("h1", "VM.start_on", "vm5", "h2", False, False)
    assert s.where("vm5") == ["h2"]


def test_all_hosts_disabled_and_evacuation(s: Story) -> None:
    assert s.refusal("h1", "host.evacuate", "h1") == ["VM_REQUIRES_SR", "local-h1", "local-sr-h1"]
    assert s.where("vm1") == ["h1"]  # nothing moved
    text = "VM_REQUIRES_SR,OpaqueRef:vm-local-h1," + s.ref("local-sr-h1")
    assert s.refusal("h1", "host.assert_can_evacuate", "h1") == ["CANNOT_EVACUATE_HOST", text]
    s.ask("h1", "host.disable", "h2")
    assert s.refusal("h1", "VM.pool_migrate", "vm1", "h2", {"live": "true"}) == ["HOST_DISABLED", "h2"]
    assert s.ask("h1", "host.evacuate", "h2") == ""
    assert s.where("vm2")[0] in ("h1", "h3")
    for host in ("h1", "h3"):
        s.ask("h1", "host.disable", host)
    assert s.refusal("h1", "VM.start", "vm6", False, False) == ["NO_HOSTS_AVAILABLE"]
    s.lab.restart_toolstack("h2")
    s.until(lambda: s.hosts("h1")["h2"][0], 30.0)  # enabled again by its restart (recording 15)
    assert s.harms() == []


def test_generic_errors(s: Story) -> None:
    vm = s.ref("vm5")
    assert s.refusal("h1", "VM.get_record", "OpaqueRef:none") == ["HANDLE_INVALID", "VM", "OpaqueRef:none"]
    assert s.refusal("h1", "VM.get_record", NULL) == ["HANDLE_INVALID", "VM", NULL]
    assert s.refusal("h1", "VM.get_by_uuid", "no-such") == ["UUID_INVALID", "VM", "no-such"]
    assert s.ask("h1", "VM.get_by_name_label", "no such") == []
    count = "MESSAGE_PARAMETER_COUNT_MISMATCH"
    assert s.refusal("h1", "VM.get_record") == [count, "VM.get_record", "1", "0"]
    assert s.refusal("h1", "VM.get_record", vm, "x") == [count, "VM.get_record", "1", "2"]
    assert s.refusal("h1", "VM.start", vm, False) == [count, "VM.start", "3", "2"]
    odd = "INTERNAL_ERROR"
    assert s.refusal("h1", "VM.start", vm, "yes", False) == [odd, "Failure(\"Expected bool, got 'S(yes)'\")"]
    assert s.refusal("h1", "VM.start", vm, 0, False) == [odd, "Failure(\"Expected bool, got 'I(0)'\")"]
    assert s.refusal("h1", "VM.set_other_config", vm, "x") == [
        odd,
        "Failure(\"Expecting Rpc.Dict, but found 'S(x)'\")",
    ]
    assert s.refusal("h1", "VM.set_order", vm, "abc") == [odd, 'Failure("Int64.of_string")']
    assert s.refusal("h1", "VM.set_order", vm, "-1") == ["INVALID_VALUE", "order must be non-negative", "-1"]
    s.ask("h1", "VM.set_order", vm, "5")
    assert s.ask("h1", "VM.get_order", vm) == 5
    assert s.refusal("h1", "VM.no_such") == ["MESSAGE_METHOD_UNKNOWN", "VM.no_such"]
    assert s.refusal("h1", "nothing") == ["MESSAGE_METHOD_UNKNOWN", "nothing"]
    assert s.refusal("h1", "Async.VM.no_such") == ["MESSAGE_METHOD_UNKNOWN", "VM.no_such"]
    fault = "No async mode for this operation (rpc: VM.get_power_state)"
    assert s.refusal("h1", "Async.VM.get_power_state", vm) == ["Fault", fault]
    for field in ("power_state", "resident_on"):
        assert s.refusal("h1", f"VM.set_{field}", vm, "x")[0] == "MESSAGE_METHOD_UNKNOWN"
    assert s.ask("h1", "VM_get_power_state", vm) == "Halted"
    reply = s.send("h1", "VM.get_all")
    s.wait(1.0)
    assert reply.failure == (count, ["VM.get_all", "0", "-1"])


def test_maps_are_test_and_set(s: Story) -> None:
    pool = s.ref("lab")
    assert s.ask("h1", "pool.add_to_other_config", pool, "lock", "a") == ""
    refused = s.refusal("h1", "pool.add_to_other_config", pool, "lock", "a")
    assert refused == ["MAP_DUPLICATE_KEY", "pool", "other_config", "lab", "lock"]
    s.ask("h1", "pool.remove_from_other_config", pool, "lock")
    assert s.ask("h1", "pool.remove_from_other_config", pool, "lock") == ""
    assert s.refusal("h1", "pool.add_to_other_config", pool, "", "x") == ["INTERNAL_ERROR", "Db_exn.Empty_key_in_map"]
    unknown = s.refusal("h1", "VM.add_to_blocked_operations", "vm5", "no_such_op", "x")
    assert unknown == ["INTERNAL_ERROR", 'Failure("Unknown tag/contents")']
    s.ask("h1", "VM.add_tags", "vm5", "gold")
    s.ask("h1", "VM.add_tags", "vm5", "gold")
    assert s.ask("h1", "VM.get_tags", "vm5") == ["gold"]


def test_sessions_on_masters_and_members(s: Story) -> None:
    assert s.sign_in("h3") == ["HOST_IS_SLAVE", s.address("h1")]
    start = s.lab.now
    reply = s.send("h1", "session.login_with_password", "root", "wrong")
    s.lab.settle([reply], s.lab.now + 10)
    assert reply.failure == ("SESSION_AUTHENTICATION_FAILED", ["root", "Authentication failure"])
    assert s.lab.now - start > 1.0  # PAM is slow with wrong passwords
    for session, code in ((s.sessions["h1"], "HOST_IS_SLAVE"), ("OpaqueRef:bogus", "SESSION_INVALID")):
        reply = s.send("h3", "VM.get_all", session)
        s.wait(1.0)
        assert reply.failure is not None
        assert reply.failure[0] == code
    # A local session on a healthy member works as on the master (recording 02).
    assert s.ask_locally("h3", "VM.get_power_state", "vm5") == "Halted"
    assert s.ask_locally("h3", "VM.start_on", "vm5", "h3", False, False) == ""
    assert s.ask_locally("h3", "VM.hard_shutdown", "vm5") == ""
    assert s.ask_locally("h3", "pool.is_slave", "h3") is True
    assert s.ask_locally("h1", "pool.is_slave", "h1") is False
    internal = 'Internal API "host.propose_new_master" call attempted with non-pool (external) session'
    assert s.refusal("h1", "host.propose_new_master", "10.0.0.1", True) == ["INTERNAL_ERROR", internal]
    s.ask("h1", "session.logout")
    reply = s.send("h1", "VM.get_all", s.sessions["h1"])
    s.wait(1.0)
    assert reply.failure == ("SESSION_INVALID", [s.sessions["h1"]])


def test_an_armed_host_refuses_emergency_calls(s: Story) -> None:
    s.ask("h1", "pool.enable_ha", [], {})
    assert s.refusal_locally("h2", "pool.emergency_transition_to_master") == ["HA_IS_ENABLED"]
    assert s.refusal("h1", "pool.designate_new_master", "h2") == ["HA_IS_ENABLED"]
    assert s.ask("h1", "pool.recover_slaves") == []
    s.ask_locally("h2", "host.emergency_ha_disable", False)
    assert s.refusal_locally("h2", "host.emergency_ha_disable", False) == ["HA_NOT_ENABLED"]
    assert s.ask_locally("h2", "pool.emergency_transition_to_master") == ""


def test_storage_calls(s: Story) -> None:
    pbd = next(
        ref
        for ref, r in s.ask("h1", "PBD.get_all_records").items()
        if r["host"] == s.ref("h2") and r["SR"] == s.ref("shared")
    )
    assert s.refusal("h1", "PBD.unplug", pbd)[0] == "VDI_IN_USE"
    s.ask("h1", "VM.hard_shutdown", "vm2")
    s.ask("h1", "PBD.unplug", pbd)
    assert s.refusal("h1", "VM.start_on", "vm2", "h2", False, False) == ["VM_REQUIRES_SR", "vm2", "shared"]
    s.lab.cut("h2", "storage")
    assert s.refusal("h1", "PBD.plug", pbd)[0] == "SR_BACKEND_FAILURE_47"
    s.lab.heal("h2", "storage")
    s.ask("h1", "PBD.plug", pbd)
    s.lab.cut("h2", "shared")  # recorded as plugged, physically out of reach
    assert s.refusal("h1", "VM.start_on", "vm2", "h2", False, False)[0] == "SR_BACKEND_FAILURE_47"
    assert s.where("vm2") == []
    s.lab.heal("h2", "shared")
    s.ask("h1", "VM.start_on", "vm2", "h2", False, False)
    assert s.where("vm2") == ["h2"]


def test_suspend_and_resume(s: Story) -> None:
    s.ask("h1", "VM.suspend", "vm2")
    assert s.record("h1", "vm2") == ("Suspended", "")
    assert s.where("vm2") == []
    assert s.refusal("h1", "VM.start", "vm2", False, False) == ["VM_BAD_POWER_STATE", "vm2", "halted", "suspended"]
    s.ask("h1", "VM.resume_on", "vm2", "h3", False, False)
    assert s.where("vm2") == ["h3"]
    assert s.refusal("h1", "VM.clean_shutdown", "vm2") == ["VM_LACKS_FEATURE", "vm2"]
    s.wait(1.0)  # its tools report
    assert s.ask("h1", "VM.get_suspend_VDI", "vm2") == NULL
    s.ask("h1", "pool.set_suspend_image_SR", "lab", NULL)
    assert s.refusal("h1", "VM.suspend", "vm2") == ["VM_NO_SUSPEND_SR", "vm2"]
    s.ask("h1", "VM.pause", "vm2")
    assert s.record("h1", "vm2") == ("Paused", "h3")
    s.ask("h1", "VM.unpause", "vm2")
    s.ask("h1", "VM.shutdown", "vm2")
    assert s.record("h1", "vm2") == ("Halted", "")


def test_agility_is_refused_by_devices_before_disks_before_networks(s: Story) -> None:
    lab = s.lab.hosts["h1"].toolstack
    assert lab is not None
    assert lab.db is not None
    db = lab.db
    vm = s.ref("local-h1")
    network = db.create("network", "OpaqueRef:inner", {"uuid": "inner", "name_label": "inner"})
    db.create("VIF", "OpaqueRef:vif", {"uuid": "vif", "VM": vm, "network": network})
    db.update("VM", vm, VGPUs=["OpaqueRef:gpu"], VUSBs=["OpaqueRef:usb"])
    s.learn()
    assert s.refusal("h1", "VM.assert_agile", "local-h1") == ["VM_HAS_VGPU", "local-h1"]
    db.update("VM", vm, VGPUs=[])
    assert s.refusal("h1", "VM.assert_agile", "local-h1") == ["VM_HAS_VUSBS", "local-h1"]
    db.update("VM", vm, VUSBs=[])
    assert s.refusal("h1", "VM.assert_agile", "local-h1") == ["HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", "local-sr-h1"]
    db.update("SR", s.ref("local-sr-h1"), shared=True)
    # Shared, but not on every enabled host.
    assert s.refusal("h1", "VM.assert_agile", "local-h1") == ["HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", "local-sr-h1"]
    for other in ("h2", "h3"):
        db.update("host", s.ref(other), enabled=False)
    assert s.refusal("h1", "VM.assert_agile", "local-h1") == ["HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED", "inner"]
    db.delete("VIF", "OpaqueRef:vif")
    assert s.ask("h1", "VM.assert_agile", "local-h1") == ""


def test_a_local_cd_keeps_a_vm_where_it_is(s: Story) -> None:
    lab = s.lab.hosts["h1"].toolstack
    assert lab is not None
    assert lab.db is not None
    db = lab.db
    iso = {"uuid": "iso", "name_label": "iso", "SR": s.ref("local-sr-h1"), "read_only": True}
    vdi = db.create("VDI", "OpaqueRef:iso", iso)
    cd = {"uuid": "cd", "VM": s.ref("vm1"), "VDI": vdi, "type": "CD", "mode": "RO", "currently_attached": True}
    db.create("VBD", "OpaqueRef:cd", cd)
    host = s.names[db.get("VM", s.ref("vm1"))["resident_on"]]
    prevented = s.ask("h1", "host.get_vms_which_prevent_evacuation", host)
    assert prevented[s.ref("vm1")][0] == "VM_REQUIRES_SR"
    assert s.refusal("h1", "host.assert_can_evacuate", host)[0] == "CANNOT_EVACUATE_HOST"


def test_with_ha_an_evacuation_takes_protected_vms_alone(s: Story) -> None:
    lab = s.lab.hosts["h1"].toolstack
    assert lab is not None
    assert lab.db is not None
    db = lab.db
    db.update("pool", db.pool()[0], ha_enabled=True)
    resident = [r for r in db.get("host", s.ref("h2"))["resident_VMs"] if not db.get("VM", r)["is_control_domain"]]
    assert resident
    prevented = s.ask("h1", "host.get_vms_which_prevent_evacuation", "h2")
    assert {tuple(why) for why in prevented.values()} == {("HOST_EVACUATE_VM_NOT_HA_PROTECTED", vm) for vm in resident}
    for vm in resident:
        db.update("VM", vm, ha_always_run=True, ha_restart_priority="restart")
    assert s.ask("h1", "host.get_vms_which_prevent_evacuation", "h2") == {}
