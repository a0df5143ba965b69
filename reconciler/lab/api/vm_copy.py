"""Clones and snapshots: new records and new disks."""

from __future__ import annotations

from typing import Any

from reconciler.lab.calls import Call, method
from reconciler.lab.forward import with_vm_operation
from reconciler.lab.kernel import Steps
from reconciler.lab.records import note, write_vm
from reconciler.lab.schema import NULL
from reconciler.lab.wiretext import date


def _copy(call: Call, vm: str, label: str, **changes: Any) -> str:
    """A halted copy with copies of its disks; CDs are shared."""
    db, lab = call.db, call.lab
    source = db.get("VM", vm)
    values = {
        **source,
        "uuid": lab.uuid(),
        "name_label": label,
        "power_state": "Halted",
        "resident_on": NULL,
        "scheduled_to_be_resident_on": NULL,
        "domid": -1,
        "current_operations": {},
        "guest_metrics": NULL,
        "metrics": db.create("VM_metrics", lab.ref(), {"uuid": lab.uuid()}),
        "VBDs": [],
        "VIFs": [],
        "consoles": [],
        "snapshots": [],
        "children": [],
        **changes,
    }
    made = db.create("VM", lab.ref(), values)
    snapshot = bool(changes.get("is_a_snapshot"))
    for ref in source["VBDs"]:
        vbd = db.get("VBD", ref)
        vdi = db.find("VDI", vbd["VDI"])
        target = vbd["VDI"]
        if vdi is not None and vbd["type"] == "Disk":
            copied = {
                **vdi,
                "uuid": lab.uuid(),
                "VBDs": [],
                "snapshots": [],
                "sm_config": {k: v for k, v in vdi["sm_config"].items() if not k.startswith("host_")},
                "is_a_snapshot": snapshot,
                "snapshot_of": target if snapshot else NULL,
            }
            target = db.create("VDI", lab.ref(), copied)
        values = {**vbd, "uuid": lab.uuid(), "VM": made, "VDI": target, "currently_attached": False}
        db.create("VBD", lab.ref(), values)
    for ref in source["VIFs"]:
        values = {**db.get("VIF", ref), "uuid": lab.uuid(), "VM": made, "currently_attached": False}
        db.create("VIF", lab.ref(), values)
    write_vm(db, made)
    return made


@method("VM.clone", "vm:VM new_name:s", asynchronous=True, result="VM")
def clone(call: Call, vm: str, new_name: str) -> Steps:
    """A halted VM, or of a template a template."""

    def body() -> Steps:
        yield call.lab.timing.sr_plug
        return _copy(call, vm, new_name)

    return (yield from with_vm_operation(call, vm, "clone", body()))


@method("VM.snapshot", "vm:VM new_name:s ignore_vdis:set(VDI)=", asynchronous=True, result="VM")
def snapshot(call: Call, vm: str, new_name: str, ignore_vdis: list[str]) -> Steps:
    """In any power state; succeeds for a VM of a dead host too (recording 03)."""

    def body() -> Steps:
        yield call.lab.timing.sr_plug
        made = _copy(
            call, vm, new_name, is_a_snapshot=True, is_a_template=True, snapshot_of=vm, snapshot_time=date(call.ts.wall)
        )
        source = call.db.get("VM", vm)
        call.db.update("VM", vm, parent=made)
        body = f"VM '{source['name_label']}' (uuid: {source['uuid']}) snapshotted, snapshot name: {new_name}"
        note(call.ts, "VM_SNAPSHOTTED", 5, "VM", source["uuid"], body)
        return made

    return (yield from with_vm_operation(call, vm, "snapshot", body()))
