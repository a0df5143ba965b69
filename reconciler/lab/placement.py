"""Which host can take a VM: assert_can_boot_here in XAPI's order, and choices made with it (sheet §5)."""

from __future__ import annotations

import random

from reconciler.lab.database import Database, Record
from reconciler.lab.devices import assert_devices
from reconciler.lab.errors import Failure
from reconciler.lab.records import drives
from reconciler.lab.rules import free_memory, memory_overhead, start_memory
from reconciler.lab.schema import NULL


def is_live(db: Database, host: str) -> bool:
    """host_metrics.live; false for a host that does not exist."""
    record = db.find("host", host)
    metrics = db.find("host_metrics", record["metrics"]) if record is not None else None
    return metrics is not None and bool(metrics["live"])


def attached_srs(db: Database, host: str) -> set[str]:
    """SRs with a plugged PBD on the host."""
    record = db.get("host", host)
    pbds = (db.find("PBD", ref) for ref in record["PBDs"])
    return {p["SR"] for p in pbds if p is not None and p["currently_attached"]}


def assert_can_boot_here(
    db: Database,
    vm_ref: str,
    host: str,
    *,
    memory: bool = True,
    enabled: bool = True,
    cpu: bool = False,
    ignore_scheduled: str = "",
) -> None:
    """Raise the first reason why the VM cannot be on the host (sheet §5.3, its order).

    `cpu` adds the test of CPU features; `enabled` False skips that one test (a local migration).
    """
    vm = db.get("VM", vm_ref)
    if not is_live(db, host):
        raise Failure("HOST_NOT_LIVE")
    record = db.get("host", host)
    if enabled and not record["enabled"]:
        raise Failure("HOST_DISABLED", host)
    platform = vm["hardware_platform_version"]
    versions = record["virtual_hardware_platform_versions"]
    if versions and platform not in versions:
        text = ";".join(str(v) for v in versions)
        raise Failure(
            "VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION", host, f"[{text}]", vm_ref, str(platform)
        )
    if cpu:
        assert_cpu_compatible(db, vm_ref, host)
    _assert_sees_srs(db, vm_ref, vm, host)
    _assert_sees_networks(db, vm_ref, vm, host, record)
    assert_devices(db, vm_ref, vm, host)
    if (
        vm["HVM_boot_policy"]
        and record["capabilities"]
        and not any(c.startswith("hvm") for c in record["capabilities"])
    ):
        raise Failure("VM_HVM_REQUIRED", vm_ref)
    if memory:
        needed = start_memory(vm)
        available = free_memory(db, host, ignore_scheduled=ignore_scheduled)
        if needed > available:
            raise Failure("HOST_NOT_ENOUGH_FREE_MEMORY", str(needed), str(available))
    cpus = len(record["host_CPUs"])
    if cpus and vm["VCPUs_max"] > cpus:
        raise Failure("HOST_NOT_ENOUGH_PCPUS", str(vm["VCPUs_max"]), str(cpus))


def assert_cpu_compatible(db: Database, vm_ref: str, host: str) -> None:
    """A VM that is not halted goes on only on a CPU of the vendor, and with every feature, that it saw at its boot
    (cpuid_helpers.ml:assert_vm_is_compatible; sheet §5.3 test 6: not asked by start_on and get_possible_hosts)."""
    vm, cpu = db.get("VM", vm_ref), db.get("host", host)["cpu_info"]
    flags = vm["last_boot_CPU_flags"]
    if vm["power_state"] == "Halted":
        return
    if flags.get("vendor") and cpu.get("vendor") and flags["vendor"] != cpu["vendor"]:
        reason = "VM last booted on a CPU with a different vendor"
        raise Failure("VM_INCOMPATIBLE_WITH_THIS_HOST", vm_ref, host, reason)
    kind = "hvm" if vm["HVM_boot_policy"] else "pv"
    has = cpu.get(f"features_{kind}_host") or cpu.get(f"features_{kind}") or ""
    seen = [int(word, 16) for word in flags.get("features", "").split("-") if word]
    there = [int(word, 16) for word in has.split("-") if word]
    there += [0] * (len(seen) - len(there))
    if has and any(word & ~other for word, other in zip(seen, there, strict=False)):
        reason = "VM last booted on a CPU with features this host's CPU does not have."
        raise Failure("VM_INCOMPATIBLE_WITH_THIS_HOST", vm_ref, host, reason)


def _assert_sees_srs(db: Database, vm_ref: str, vm: Record, host: str) -> None:
    needed = [vdi["SR"] for _, _, _, vdi in drives(db, vm)]
    suspended = db.find("VDI", vm["suspend_VDI"]) if vm["power_state"] == "Suspended" else None
    if suspended is not None:
        needed.append(suspended["SR"])
    seen = attached_srs(db, host)
    for sr in needed:
        if sr not in seen:
            raise Failure("VM_REQUIRES_SR", vm_ref, sr)


def _assert_sees_networks(db: Database, vm_ref: str, vm: Record, host: str, record: Record) -> None:
    here = {
        db.tables["PIF"][ref]["network"]: db.tables["PIF"][ref] for ref in record["PIFs"] if ref in db.tables["PIF"]
    }
    for ref in vm["VIFs"]:
        vif = db.find("VIF", ref)
        network = db.find("network", vif["network"]) if vif is not None else None
        if vif is None or network is None:
            continue
        network_ref = vif["network"]
        pif = here.get(network_ref)
        if pif is not None:
            continue
        if network["PIFs"]:
            raise Failure("VM_REQUIRES_NETWORK", vm_ref, network_ref)
        if network["other_config"].get("assume_network_is_shared") == "true" or not network["managed"]:
            continue
        # Every running VM with an interface on it counts, plugged or not, and a VM that is to migrate counts itself
        # (xapi_network_attach_helpers.ml:assert_can_see_named_networks): it goes only to where another runs.
        users = [db.find("VM", vif["VM"]) for ref in network["VIFs"] if (vif := db.find("VIF", ref)) is not None]
        pinned = {user["resident_on"] for user in users if user is not None and user["power_state"] == "Running"}
        if pinned and host not in pinned:
            raise Failure("VM_REQUIRES_NETWORK", vm_ref, network_ref)


def fits(db: Database, vm_ref: str, host: str, *, memory: bool = True) -> bool:
    """assert_can_boot_here raises nothing."""
    try:
        assert_can_boot_here(db, vm_ref, host, memory=memory, ignore_scheduled=vm_ref)
    except Failure:
        return False
    return True


def possible_hosts(db: Database, vm_ref: str) -> list[str]:
    """VM.get_possible_hosts: just the one that a VM is on its way to, if any."""
    vm = db.get("VM", vm_ref)
    scheduled: str = vm["scheduled_to_be_resident_on"]
    if scheduled != NULL:
        return [scheduled]
    return [host for host in db.tables["host"] if fits(db, vm_ref, host)]


def choose_host(db: Database, vm_ref: str, rng: random.Random, master: str) -> str:
    """Where VM.start puts it: the affinity host if it can, else by free memory and chance (sheet §5.2); recording 02:
    too big for every host is NO_HOSTS_AVAILABLE too."""
    vm = db.get("VM", vm_ref)
    candidates = possible_hosts(db, vm_ref)
    if not candidates:
        raise Failure("NO_HOSTS_AVAILABLE")
    if vm["affinity"] in candidates:
        return str(vm["affinity"])
    candidates = _spread(db, vm_ref, vm, candidates)
    overhead = memory_overhead(vm)
    free = {host: free_memory(db, host) for host in candidates}
    for size in (vm["memory_static_max"], vm["memory_dynamic_max"], vm["memory_dynamic_min"]):
        group = [host for host in candidates if free[host] >= size + overhead]
        if group:
            break
    else:
        group = candidates
    _, pool = db.pool()
    weights = []
    for host in group:
        weight = float(free[host] // (1 << 20) + 1) ** 2
        weights.append(weight / 2 if pool["coordinator_bias"] and host == master else weight)
    return rng.choices(group, weights)[0]


def _spread(db: Database, vm_ref: str, vm: Record, candidates: list[str]) -> list[str]:
    """Of an anti-affinity group's VM: the hosts with the fewest of the group on them or on their way (sheet §5.2)."""
    groups = [db.find("VM_group", ref) for ref in vm.get("groups", ())]
    others = [ref for g in groups if g is not None and g["placement"] == "anti_affinity" for ref in g["VMs"]]
    if not others:
        return candidates
    count = dict.fromkeys(candidates, 0)
    for ref in others:
        other = db.find("VM", ref)
        if other is None or ref == vm_ref:
            continue
        for host in {other["resident_on"], other["scheduled_to_be_resident_on"]} & set(count):
            count[host] += 1
    fewest = min(count.values())
    return [host for host in candidates if count[host] == fewest]


def evacuation_plan(db: Database, host: str) -> dict[str, str | Failure]:
    """VM ref -> where it goes, or why it can't (sheet §3.5): it must be able to run on *every* enabled other host."""
    record = db.get("host", host)
    vms = [
        ref
        for ref in record["resident_VMs"]
        if not db.get("VM", ref)["is_control_domain"] and db.get("VM", ref)["power_state"] in ("Running", "Paused")
    ]
    targets = [ref for ref, r in db.tables["host"].items() if r["enabled"] and ref != host]
    plan: dict[str, str | Failure] = {}
    armed = db.pool()[1]["ha_enabled"]
    free = {ref: free_memory(db, ref) for ref in targets}
    for ref in sorted(vms, key=lambda r: -start_memory(db.get("VM", r))):
        vm = db.get("VM", ref)
        if not targets:
            plan[ref] = Failure("NO_HOSTS_AVAILABLE", ref)
            continue
        if armed and not (vm["ha_always_run"] and vm["ha_restart_priority"] == "restart"):
            plan[ref] = Failure("HOST_EVACUATE_VM_NOT_HA_PROTECTED", ref)
            continue
        try:
            for target in targets:
                assert_can_boot_here(db, ref, target, memory=False)
        except Failure as failure:
            plan[ref] = failure
            continue
        needed = vm["memory_static_max"] + memory_overhead(vm)
        best = max(targets, key=lambda t: free[t])
        if free[best] < needed:
            plan[ref] = Failure("HOST_NOT_ENOUGH_FREE_MEMORY", ref)
            continue
        free[best] -= needed
        plan[ref] = best
    return plan
