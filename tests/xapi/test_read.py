from __future__ import annotations

import copy
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.model import PowerState
from reconciler.core.port import TransportFault
from reconciler.xapi import snapshot
from reconciler.xapi.fields import Record
from reconciler.xapi.guests import CLASSES as GUESTS
from reconciler.xapi.guests import in_doubt
from reconciler.xapi.read import CLASSES, read_pool

SHARED = Path(os.environ.get("XENREC_SHARED", Path(__file__).parents[3] / "shared"))
NULL = "OpaqueRef:NULL"


class FakeSession:
    """Answers get_all_records from a dump of a database."""

    address = "10.0.0.1"

    def __init__(self, tables):
        self.tables = tables
        self.calls = []

    def call(self, method, *params, deadline=30.0):
        self.calls.append(method)
        cls, _, message = method.partition(".")
        assert message == "get_all_records"
        return self.tables.get(cls, {})

    def close(self):
        pass


def small():
    return {
        "pool": {"p": {"uuid": "pu", "name_label": "", "master": "h1", "default_SR": "s1", "suspend_image_SR": ""}},
        "host": {
            "h1": {
                "uuid": "hu1",
                "name_label": "xen01",
                "address": "10.0.0.1",
                "enabled": True,
                "metrics": "m1",
                "memory_overhead": "100",
                "host_CPUs": ["c1", "c2"],
                "software_version": {"product_version": "8.3", "xapi": "24.16"},
                "current_operations": {"t1": "evacuate", "t2": "evacuate"},
            }
        },
        "host_metrics": {"m1": {"uuid": "mu", "live": False, "memory_total": 34359738368}},
        "VM": {
            "v1": {
                "uuid": "vu1",
                "name_label": "db",
                "power_state": "Running",
                "resident_on": "h1",
                "affinity": NULL,
                "memory_dynamic_min": "1073741824",
                "VCPUs_max": "4",
                "HVM_boot_policy": "BIOS order",
                "VBDs": ["b1", NULL],
                "VGPUs": ["g1"],
                "order": "3",
                "tags": ["z", "a"],
            }
        },
        "VBD": {"b1": {"uuid": "bu", "VM": "v1", "VDI": NULL, "type": "CD", "mode": "RO", "empty": True}},
        "PIF": {"f1": {"uuid": "fu", "host": "h1", "network": "n1", "device": "eth0", "bond_slave_of": "bond"}},
    }


def read(tables):
    return read_pool(FakeSession(tables), now=12.5)


def test_an_old_release_with_few_fields_and_ints_as_strings():
    state = read(small())
    host, vm = state.hosts["h1"], state.vms["v1"]
    assert (state.pool.master, state.pool.default_sr, state.pool.suspend_image_sr) == ("h1", "s1", None)
    assert (host.live, host.memory_total, host.memory_overhead, host.cpus) == (False, 34359738368, 100, 2)
    assert (host.product_version, host.xapi_version, host.hvm_capable) == ("8.3", "24.16", True)
    assert host.current_operations == ("evacuate", "evacuate")
    assert vm.power_state is PowerState.RUNNING
    assert (vm.resident_on, vm.affinity, vm.scheduled_on, vm.appliance) == ("h1", None, None, None)
    assert (vm.memory_dynamic_min, vm.vcpus, vm.order, vm.start_delay) == (1073741824, 4, 3, 0)
    assert (vm.needs_hvm, vm.pinned_devices, vm.vbds, vm.tags) == (True, ("VGPU",), ("b1",), ("a", "z"))
    assert state.vbds["b1"].vdi is None
    assert state.vbds["b1"].empty
    assert state.pifs["f1"].is_bond_slave
    assert (state.read_at, state.read_from) == (12.5, "10.0.0.1")


@pytest.mark.parametrize(
    ("domain_type", "policy", "expected"),
    [("hvm", "", True), ("pv", "BIOS order", False), ("pv_in_pvh", "", True), ("unspecified", "", False)],
)
def test_what_needs_hvm(domain_type, policy, expected):
    tables = small()
    tables["VM"]["v1"] |= {"domain_type": domain_type, "HVM_boot_policy": policy}
    assert read(tables).vms["v1"].needs_hvm is expected


@pytest.mark.parametrize(
    ("capabilities", "expected"), [(["xen-3.0-x86_64", "hvm-3.0-x86_64"], True), (["xen-3.0-x86_64"], False)]
)
def test_what_can_do_hvm(capabilities, expected):
    tables = small()
    tables["host"]["h1"]["capabilities"] = capabilities
    assert read(tables).hosts["h1"].hvm_capable is expected


def test_references_that_lead_nowhere_are_kept_and_harmless():
    tables = small()
    tables["host"]["h1"]["metrics"] = "gone"
    tables["VM"]["v1"]["resident_on"] = "gone-host"
    tables["PBD"] = {"d": {"uuid": "du", "host": "gone-host", "SR": "gone-sr", "currently_attached": True}}
    state = read(tables)
    assert state.hosts["h1"].live
    assert state.hosts["h1"].memory_total == 0
    assert state.name_of(state.vms["v1"].resident_on) == "gone-host"
    assert ("gone-host", "gone-sr") in state.attached


@pytest.mark.parametrize(
    ("cls", "field", "value"),
    [
        ("VM", "memory_dynamic_min", "lots"),
        ("VM", "memory_dynamic_min", True),
        ("VM", "memory_dynamic_min", 1.5),
        ("VM", "power_state", "Dozing"),
        ("VM", "uuid", ""),
        ("VM", "VBDs", "b1"),
        ("VM", "blocked_operations", ["start"]),
        ("host", "enabled", "true"),
        ("host", "name_label", None),
        ("host_metrics", "live", 1),
        ("pool", "other_config", {"k": 1}),
        ("VBD", "empty", "0"),
    ],
)
def test_a_wrong_type_is_a_fault_that_names_the_field(cls, field, value):
    tables = small()
    next(iter(tables[cls].values()))[field] = value
    with pytest.raises(TransportFault, match=rf"{cls}\.{field}"):
        read(tables)


def test_what_is_no_map_of_records_and_a_pool_that_is_none():
    with pytest.raises(TransportFault, match=r"VM\.get_all_records"):
        read(small() | {"VM": []})
    with pytest.raises(TransportFault, match="0 pool records"):
        read(small() | {"pool": {}})


DUMPS = sorted((SHARED / "pools").glob("*/*-db*.json")) + sorted((SHARED / "pools").glob("*/xapidb_app.json"))
DUMPS = [d for d in DUMPS if not d.name.endswith(".meta.json")]


@pytest.mark.skipif(not DUMPS, reason="the real pool databases (pools/) are not beside this checkout")
@pytest.mark.parametrize("dump", DUMPS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_real_databases(dump):
    tables = json.loads(dump.read_text())
    before = copy.deepcopy(tables)
    session = FakeSession(tables)
    state = read_pool(session, now=1.0)
    doubt = any(in_doubt(Record("VM", ref, r)) for ref, r in tables["VM"].items())
    assert session.calls == [f"{c}.get_all_records" for c in (*CLASSES, *(GUESTS if doubt else ()))]
    assert tables == before
    for cls, table in (("VM", state.vms), ("host", state.hosts), ("VBD", state.vbds), ("SR", state.srs)):
        assert set(table) == set(tables[cls])
    assert state.master is not None
    # Every record's own numbers, counted in another way.
    for ref, vm in state.vms.items():
        raw = tables["VM"][ref]
        assert vm.memory_static_max == int(raw["memory_static_max"])
        assert (vm.resident_on is None) == (raw["resident_on"] in ("", NULL))
    running = {v.name for v in state.guests if v.power_state is PowerState.RUNNING}
    assert len(running) == sum(
        r["power_state"] == "Running" and not (r["is_control_domain"] or r["is_a_template"] or r["is_a_snapshot"])
        for r in tables["VM"].values()
    )
    assert all(h.cpus > 0 and h.memory_total > 0 for h in state.hosts.values())


@pytest.mark.skipif(not DUMPS, reason="the real pool databases (pools/) are not beside this checkout")
@pytest.mark.parametrize("dump", DUMPS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_real_databases_survive_a_file_without_their_secrets(dump, tmp_path):
    tables = json.loads(dump.read_text())
    state = read_pool(FakeSession(tables), now=1.0)
    snapshot.save(snapshot.Snapshot("x", 2.0, state=state), tmp_path / "s.json")
    loaded = snapshot.load(tmp_path / "s.json").state
    # One of these pools keeps a storagelink_password_secret in its other_config.
    kept = replace(state.pool, other_config={k: loaded.pool.other_config[k] for k in state.pool.other_config})
    assert replace(state, pool=kept) == loaded
    hidden = {k for k, v in loaded.pool.other_config.items() if v == snapshot.HIDDEN}
    assert hidden == {k for k in state.pool.other_config if "password" in k}


LISTED = ["pool_migrate", "suspend", "clean_shutdown"]
DRIVERS = {"major": "9", "minor": "3", "micro": "0"}


@pytest.mark.parametrize(
    ("vm", "guest", "metrics", "immobile", "unstoppable"),
    [
        ({"allowed_operations": LISTED}, None, {}, "", ""),
        ({}, None, {}, "its guest tools do not run", "its guest tools do not run"),
        ({}, None, {"current_domain_type": "pv"}, "", ""),
        ({}, {"other": {}}, {}, "its guest tools do not run", "its guest tools do not run"),
        ({}, {"other": {}, "PV_drivers_version": DRIVERS}, {}, "", ""),
        ({}, {"other": {}, "PV_drivers_version": {"major": "9"}}, {}, "its guest tools do not run", None),
        ({}, {"other": {"feature-suspend": "1"}}, {}, "", "its guest tools do not run"),
        ({}, {"other": {"feature-poweroff": "1"}}, {}, "its guest tools do not run", ""),
        (
            {},
            {"other": {"data-cant-suspend-reason": "no vdisk"}, "PV_drivers_version": DRIVERS},
            {},
            "its guest says that it can't be suspended: no vdisk",
            "",
        ),
        ({}, {"PV_drivers_version": DRIVERS}, {"nomigrate": True}, "its platform setting nomigrate forbids that", ""),
        ({}, {"PV_drivers_version": DRIVERS}, {"nested_virt": True}, "it uses nested virtualisation", ""),
        (
            {"platform": {"nomigrate": "true"}},
            {"PV_drivers_version": DRIVERS},
            None,
            "its platform setting nomigrate forbids that",
            "",
        ),
        (
            {"allowed_operations": ["clean_shutdown"]},
            {"PV_drivers_version": DRIVERS},
            {},
            "XAPI does not list pool_migrate among its allowed operations",
            "",
        ),
        (
            {"allowed_operations": ["clean_shutdown"], "VGPUs": ["g1"]},
            {"PV_drivers_version": DRIVERS},
            {},
            "",
            "",
        ),
        (
            {"allowed_operations": ["hard_shutdown"], "current_operations": {"t1": "snapshot"}},
            {"PV_drivers_version": DRIVERS},
            {},
            "",
            "",
        ),
        ({"power_state": "Halted"}, None, {}, "", ""),
    ],
)
def test_what_the_guest_lets_nobody_do(vm, guest, metrics, immobile, unstoppable):
    """xapi_vm_lifecycle.ml:check_op_for_feature, is_mobile."""
    tables = small()
    tables["VM"]["v1"] |= {"VGPUs": [], "guest_metrics": "gm" if guest else NULL, "metrics": "m1", **vm}
    tables["VM_guest_metrics"] = {"gm": guest} if guest else {}
    tables["VM_metrics"] = {"m1": metrics} if metrics is not None else {}
    read_vm = read(tables).vms["v1"]
    assert read_vm.immobile == immobile
    assert unstoppable is None or read_vm.unstoppable == unstoppable
