"""Memory arithmetic against numbers that a real pool gave (recording 02) and the sheet's example (§5.4)."""

from __future__ import annotations

from reconciler.lab.rules import MIB, memory_overhead, start_memory
from reconciler.lab.schema import blank
from tests.lab.story import make


def _vm(mib: int, vcpus: int = 1) -> dict[str, object]:
    size = mib * MIB
    return {
        **blank("VM"),
        "memory_static_max": size,
        "memory_dynamic_min": size,
        "VCPUs_max": vcpus,
        "HVM_boot_policy": "BIOS order",
        "domain_type": "hvm",
    }


def test_overhead_is_what_the_real_pool_computed() -> None:
    assert memory_overhead(_vm(512)) == 7340032
    assert start_memory(_vm(40 * 1024)) == 43288363008


def test_free_memory_counts_the_stale_and_the_scheduled_twice() -> None:
    s = make()
    s.login("h1")
    ts = s.lab.hosts["h1"].toolstack
    assert ts is not None
    assert ts.db is not None
    vm = ts.db.get("VM", s.ref("vm1"))
    size = vm["memory_dynamic_min"] + vm["memory_overhead"]
    free = s.ask("h1", "host.compute_free_memory", "h1")
    dom0 = 4 << 30
    assert free == (64 << 30) - 768 * MIB - dom0 - 3 * size
    ts.db.update("VM", s.ref("vm1"), scheduled_to_be_resident_on=s.ref("h1"))
    assert s.ask("h1", "host.compute_free_memory", "h1") == free - size
    ts.db.update("VM", s.ref("vm1"), scheduled_to_be_resident_on="OpaqueRef:NULL")
    needed = start_memory(ts.db.get("VM", s.ref("vm5")))
    ts.db.update("host_metrics", ts.db.get("host", s.ref("h2"))["metrics"], memory_total=5 << 30)
    available = s.ask("h1", "host.compute_free_memory", "h2")
    assert available < needed
    refused = s.refusal("h1", "VM.start_on", "vm5", "h2", False, False)
    assert refused == ["HOST_NOT_ENOUGH_FREE_MEMORY", str(needed), str(available)]


def test_a_ghost_takes_memory_that_the_records_do_not_know_of() -> None:
    """Records say that the host is empty; its memory says otherwise: the host itself refuses."""
    s = make()
    s.login("h1")
    ts = s.lab.hosts["h1"].toolstack
    assert ts is not None
    assert ts.db is not None
    s.lab.world.start("h2", "ghost", "ghost", s.lab.world.memory_free("h2") - MIB, ())
    refused = s.refusal("h1", "VM.start_on", "vm5", "h2", False, False)
    assert refused[0] == "HOST_NOT_ENOUGH_FREE_MEMORY"
    assert refused[2] == str(MIB)
    assert s.record("h1", "vm5") == ("Halted", "")
    sm_config = ts.db.get("VDI", "OpaqueRef:vdi-vm5")["sm_config"]
    assert sm_config == {}  # the lock was given back
