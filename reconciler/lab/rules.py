"""What may be done with a VM, in XAPI's order, and its memory arithmetic: pure functions of records (sheet §4, §5)."""

from __future__ import annotations

import math
from collections.abc import Collection

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

GUEST_FEATURES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("suspend", "checkpoint", "pool_migrate", "migrate_send"), ("feature-suspend",)),
    "clean_shutdown": ("feature-shutdown", "feature-poweroff"),
    "clean_reboot": ("feature-shutdown", "feature-reboot"),
    "changing_VCPUs_live": ("feature-vcpu-hotplug",),
}
"""Operation -> what its guest must have told, one of these (xapi_vm_lifecycle.ml:check_op_for_feature)."""
MOVING = ("suspend", "checkpoint", "pool_migrate", "migrate_send")
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


def _assert_guest_allows(db: Database, ref: str, vm: Record, operation: str, *, strict: bool) -> None:
    """A running guest without drivers must have told the feature; a paravirtual one and one with drivers have all
    (xapi_vm_lifecycle.ml:check_op_for_feature)."""
    if operation not in GUEST_FEATURES or vm["power_state"] not in ("Running", "Paused"):
        return
    guest = db.find("VM_guest_metrics", vm["guest_metrics"]) or {"other": {}, "PV_drivers_version": {}}
    if operation in MOVING and (reason := guest["other"].get("data-cant-suspend-reason")) is not None:
        raise Failure("VM_NON_SUSPENDABLE", ref, reason)
    metrics = db.find("VM_metrics", vm["metrics"])
    version = guest["PV_drivers_version"]
    if metrics is not None and metrics["current_domain_type"] in ("pv", "pv_in_pvh", "pvh"):
        return
    if version.get("major", "").isdigit() and version.get("minor", "").isdigit():
        return
    if strict and all(guest["other"].get(feature) != "1" for feature in GUEST_FEATURES[operation]):
        raise Failure("VM_LACKS_FEATURE", ref)


def _assert_mobile(db: Database, ref: str, vm: Record, operation: str, *, strict: bool) -> None:
    metrics = db.find("VM_metrics", vm["metrics"])
    if strict and operation in MOVING and metrics is not None and (metrics["nomigrate"] or metrics["nested_virt"]):
        raise Failure("VM_IS_IMMOBILE", ref)


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
    _assert_mobile(db, ref, vm, operation, strict=strict)
    if vm["is_control_domain"] and operation not in ("start", "start_on"):
        raise Failure("OPERATION_NOT_ALLOWED", "This operation is not allowed on a control domain")
    _assert_guest_allows(db, ref, vm, operation, strict=strict)
    if operation in MOVING:
        if vm["attached_PCIs"]:
            raise Failure("VM_HAS_PCI_ATTACHED", ref)
        if vm["VGPUs"]:
            raise Failure("VM_HAS_VGPU", ref)
        if vm["VUSBs"]:
            raise Failure("VM_HAS_VUSBS", ref)


def guest_refuses(db: Database, vm: Record) -> frozenset[str]:
    """Operations that XAPI does not list for what the guest and its devices are."""
    found = set()
    for operation in GUEST_FEATURES:
        try:
            _assert_mobile(db, "", vm, operation, strict=True)
            _assert_guest_allows(db, "", vm, operation, strict=True)
        except Failure:
            found.add(operation)
    return frozenset(found)


def allowed_operations(vm: Record, refused: Collection[str] = ()) -> list[str]:
    """The cache in the record: depends on the VM alone, so `start` may be listed though no host fits (sheet §4.1).
    `refused` are those that its guest rules out."""
    if vm["is_control_domain"]:
        return ["metadata_export", "changing_static_range", "changing_dynamic_range"]
    busy = set(vm["current_operations"].values())
    found = []
    for operation in LISTED[vm["power_state"]]:
        if operation in vm["blocked_operations"] or (vm["is_a_template"] and operation not in OF_TEMPLATES):
            continue
        devices = vm["attached_PCIs"] or vm["VGPUs"] or vm["VUSBs"]
        if operation in refused or (operation in MOVING and devices and vm["power_state"] != "Halted"):
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
