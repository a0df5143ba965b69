"""What may be done with a VM, in XAPI's order, and its memory arithmetic: pure functions of records (sheet §4, §5)."""

from __future__ import annotations

import math

from reconciler.lab.database import Database, Record
from reconciler.lab.errors import Failure

MIB = 1 << 20

POWER_STATES: dict[str, tuple[str, ...]] = {
    "start": ("Halted",),
    "start_on": ("Halted",),
    "provision": ("Halted",),
    "pause": ("Running",),
    "unpause": ("Paused",),
    "suspend": ("Running",),
    "resume": ("Suspended",),
    "resume_on": ("Suspended",),
    "clean_shutdown": ("Running",),
    "clean_reboot": ("Running",),
    "hard_reboot": ("Paused", "Running"),
    "hard_shutdown": ("Paused", "Suspended", "Running"),
    "shutdown": ("Paused", "Suspended", "Running"),
    "pool_migrate": ("Running",),
    "destroy": ("Halted", "Suspended"),
    "export": ("Halted", "Suspended"),
    "clone": ("Halted",),
    "copy": ("Halted",),
    "changing_VCPUs": ("Halted",),
    "changing_memory_limits": ("Halted",),
    "changing_static_range": ("Halted",),
    "changing_dynamic_range": ("Halted", "Running"),
}
"""Needed power states, in the order in which the refusal names them (sheet §4.2, recording 02)."""

NEEDS_TOOLS = frozenset({"clean_shutdown", "clean_reboot", "suspend", "pool_migrate"})
OVERRIDES = frozenset({"hard_shutdown", "hard_reboot"})
LISTED: dict[str, tuple[str, ...]] = {
    "Running": (
        *(
            "metadata_export",
            "changing_VCPUs_live",
            "changing_dynamic_range",
            "migrate_send",
            "pool_migrate",
            "suspend",
        ),
        *("hard_reboot", "hard_shutdown", "clean_reboot", "clean_shutdown", "pause", "checkpoint", "snapshot"),
    ),
    "Halted": (
        *("create_vtpm", "destroy", "metadata_export", "export", "make_into_template", "changing_NVRAM"),
        *("changing_shadow_memory", "changing_static_range", "changing_dynamic_range", "migrate_send"),
        *("start_on", "start", "copy", "clone", "snapshot"),
    ),
    "Paused": ("metadata_export", "unpause", "hard_reboot", "hard_shutdown", "checkpoint", "snapshot"),
    "Suspended": (
        *("metadata_export", "destroy", "export", "hard_shutdown", "migrate_send"),
        *("resume_on", "resume", "checkpoint", "snapshot"),
    ),
}
"""What allowed_operations lists of an idle VM by power state, as recorded."""
OF_TEMPLATES = frozenset({"destroy", "metadata_export", "export", "copy", "clone", "snapshot"})


def has_tools(db: Database, vm: Record) -> bool:
    """The guest's tools have reported."""
    metrics = db.find("VM_guest_metrics", vm["guest_metrics"])
    return metrics is not None and bool(metrics["PV_drivers_version"] or "feature-shutdown" in metrics["other"])


def is_template(vm: Record) -> bool:
    """A template, not a snapshot (snapshots carry the flag too)."""
    return bool(vm["is_a_template"]) and not vm["is_a_snapshot"]


def check_operation(db: Database, ref: str, operation: str, *, strict: bool = True) -> None:
    """Raise the first reason why the operation may not be done with the VM now (sheet §4.3, in that order)."""
    vm = db.get("VM", ref)
    if operation in vm["blocked_operations"]:
        raise Failure("OPERATION_BLOCKED", ref, vm["blocked_operations"][operation])
    needed = POWER_STATES.get(operation)
    if needed is not None and vm["power_state"] not in needed:
        expected = ", ".join(s.lower() for s in needed)
        raise Failure("VM_BAD_POWER_STATE", ref, expected, vm["power_state"].lower())
    for task, other in vm["current_operations"].items():
        if not (operation in OVERRIDES and other not in OVERRIDES):
            raise Failure("OTHER_OPERATION_IN_PROGRESS", "VM", ref, other, task)
    if is_template(vm) and operation not in ("clone", "copy", "destroy", "export", "provision", "snapshot"):
        raise Failure("VM_IS_TEMPLATE", ref, operation)
    if vm["is_a_snapshot"] and operation not in ("clone", "copy", "destroy", "export", "snapshot"):
        raise Failure("VM_IS_SNAPSHOT", ref, operation)
    if vm["is_control_domain"] and operation not in ("start", "start_on"):
        raise Failure("OPERATION_NOT_ALLOWED", "This operation is not allowed on a control domain")
    if strict and operation in NEEDS_TOOLS and not has_tools(db, vm):
        raise Failure("VM_LACKS_FEATURE", ref)
    if operation in ("suspend", "pool_migrate"):
        if vm["attached_PCIs"]:
            raise Failure("VM_HAS_PCI_ATTACHED", ref)
        if vm["VGPUs"]:
            raise Failure("VM_HAS_VGPU", ref)
        if vm["VUSBs"]:
            raise Failure("VM_HAS_VUSBS", ref)


def allowed_operations(vm: Record) -> list[str]:
    """The cache in the record: depends on the VM alone, so `start` may be listed though no host fits (sheet §4.1)."""
    if vm["is_control_domain"]:
        return ["metadata_export", "changing_static_range", "changing_dynamic_range"]
    busy = set(vm["current_operations"].values())
    found = []
    for operation in LISTED[vm["power_state"]]:
        if operation in vm["blocked_operations"] or (vm["is_a_template"] and operation not in OF_TEMPLATES):
            continue
        if busy and not (operation in OVERRIDES and not busy & OVERRIDES):
            continue
        found.append(operation)
    return found


# -- memory ------------------------------------------------------------------------------------------------------------


def _mib_up(size: int) -> int:
    return -(-size // MIB)


def memory_overhead(vm: Record) -> int:
    """VM.compute_memory_overhead in bytes, as 24.16 has it: without the term for 38·VCPUs that is recent (sheet §5.4;
    recording 02: 7 MiB for 512 MiB, 323 MiB for 40 GiB, one VCPU)."""
    size = _mib_up(vm["memory_static_max"])
    domain_type = vm["domain_type"]
    pv = domain_type == "pv" or (domain_type == "unspecified" and not vm["HVM_boot_policy"])
    shadow = max(1, int(math.ceil((256 * vm["VCPUs_max"] + 2 * size) / 256) * vm["HVM_shadow_multiplier"]))
    return ((0 if pv else 1) + 1 + shadow) * MIB


def start_memory(vm: Record) -> int:
    """Bytes that starting the VM needs."""
    target = vm["memory_static_max"] if vm["domain_type"] == "pv_in_pvh" else vm["memory_dynamic_min"]
    return _mib_up(target) * MIB + memory_overhead(vm)


def free_memory(db: Database, host: str, *, ignore_scheduled: str = "") -> int:
    """host.compute_free_memory in bytes: VMs with a stale resident_on count, one in both lists counts twice."""
    record = db.get("host", host)
    metrics = db.find("host_metrics", record["metrics"])
    total = metrics["memory_total"] if metrics is not None else 0
    used: int = record["memory_overhead"]
    for ref in record["resident_VMs"]:
        vm = db.find("VM", ref)
        if vm is not None:
            used += vm["memory_dynamic_min"] + vm["memory_overhead"]
    for ref in scheduled_on(db, host):
        if ref != ignore_scheduled:
            vm = db.get("VM", ref)
            used += vm["memory_dynamic_min"] + vm["memory_overhead"]
    return max(0, int(total) - used)


def scheduled_on(db: Database, host: str) -> list[str]:
    """VMs that a start, resume or migration in progress will bring to the host."""
    vms = db.tables["VM"]
    return sorted(r for r in db.scheduled if r in vms and vms[r]["scheduled_to_be_resident_on"] == host)
