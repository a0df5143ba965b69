"""What XAPI lets nobody do with a running VM for what its guest is, before anybody tries: moving it live, and shutting
it down cleanly. The rules are those of xapi_vm_lifecycle.ml:check_operation_error with `strict`, which both calls use
(message_forwarding.ml; sheet §4.3)."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.xapi.fields import Record

CLASSES = ("VM_guest_metrics", "VM_metrics")
"""Read only where a VM is in doubt: 5,000 VMs with guest tools need none of it."""
_WITHOUT_TOOLS = "its guest tools do not run"
_PARAVIRTUAL = ("pv", "pv_in_pvh", "pvh")

Tables = Mapping[str, Mapping[str, Record]]


def in_doubt(vm: Record) -> bool:
    """XAPI does not offer to move or to stop it: what it tells of its guest is needed to know why."""
    if vm.text("power_state") != "Running" or vm.flag("is_control_domain"):
        return False
    return not {"pool_migrate", "clean_shutdown"} <= set(vm.texts("allowed_operations"))


def immobile(vm: Record, tables: Tables) -> str:
    """Why XAPI moves a running VM to no host at all; "" if it does, or for a device or a block that is told elsewhere.

    What XAPI lists as allowed, is: that list is made by the same rules, also as strict.
    """
    if vm.text("power_state") != "Running" or "pool_migrate" in vm.texts("allowed_operations"):
        return ""
    metrics, guest = _of(vm, "metrics", "VM_metrics", tables), _of(vm, "guest_metrics", "VM_guest_metrics", tables)
    for field, key, why in (
        ("nomigrate", "nomigrate", "its platform setting nomigrate forbids that"),
        ("nested_virt", "nested-virt", "it uses nested virtualisation"),
    ):
        if metrics.flag(field) if metrics is not None else vm.mapping("platform").get(key) in ("true", "1"):
            return why
    other = guest.mapping("other") if guest is not None else {}
    if reason := other.get("data-cant-suspend-reason"):
        return f"its guest says that it can't be suspended: {reason}"
    if _lacks_tools(vm, tables, "feature-suspend"):
        return _WITHOUT_TOOLS
    idle = not vm.mapping("current_operations") and not vm.mapping("blocked_operations")
    tied = any(vm.refs(name) for name in ("VGPUs", "attached_PCIs", "VUSBs"))
    if idle and not tied and vm.texts("allowed_operations"):
        return "XAPI does not list pool_migrate among its allowed operations"
    return ""


def unstoppable(vm: Record, tables: Tables) -> str:
    """Why XAPI shuts a running VM down only by switching it off; "" if it can be asked."""
    if vm.text("power_state") != "Running" or "clean_shutdown" in vm.texts("allowed_operations"):
        return ""
    return _WITHOUT_TOOLS if _lacks_tools(vm, tables, "feature-shutdown", "feature-poweroff") else ""


def _lacks_tools(vm: Record, tables: Tables, *features: str) -> bool:
    """Its guest tells none of these features, no version of drivers, which have them all, and is not paravirtual
    (check_op_for_feature)."""
    if not vm.has("guest_metrics"):
        return False
    metrics, guest = _of(vm, "metrics", "VM_metrics", tables), _of(vm, "guest_metrics", "VM_guest_metrics", tables)
    if metrics is not None and metrics.text("current_domain_type") in _PARAVIRTUAL:
        return False
    if guest is None:
        return True
    version = guest.mapping("PV_drivers_version")
    if all(version.get(part, "").isdigit() for part in ("major", "minor")):
        return False
    other = guest.mapping("other")
    return all(other.get(feature) != "1" for feature in features)


def _of(vm: Record, field: str, cls: str, tables: Tables) -> Record | None:
    return tables.get(cls, {}).get(vm.ref_or_none(field) or "")
