"""Groups of VMs that are kept apart: only in a lab whose release has them (sheet §4.1, §5.2)."""

from __future__ import annotations

from typing import Any

from reconciler.lab.calls import Call, convert, method
from reconciler.lab.errors import Failure

PLACEMENTS = ("normal", "anti_affinity")


@method("VM.set_groups", "self:VM value:set(VM_group)")
def set_groups(call: Call, vm: str, value: list[str]) -> None:
    """At most one."""
    call.db.get("VM", vm)
    for group in value:
        call.db.get("VM_group", group)
    if len(value) > 1:
        raise Failure("TOO_MANY_GROUPS")
    call.db.update("VM", vm, groups=list(value))


@method("VM_group.create", "args:record:VM_group", asynchronous=True, result="VM_group")
def create(call: Call, args: dict[str, Any]) -> str:
    """Without VMs: each joins by VM.set_groups."""
    placement = args.get("placement", "normal")
    if placement not in PLACEMENTS:
        raise Failure("INTERNAL_ERROR", 'Failure("Unknown tag/contents")')
    values = {
        "uuid": call.lab.uuid(),
        "name_label": convert("s", args.get("name_label", "")),
        "name_description": convert("s", args.get("name_description", "")),
        "placement": placement,
    }
    return call.db.create("VM_group", call.lab.ref(), values)


@method("VM_group.destroy", "self:VM_group", asynchronous=True)
def destroy(call: Call, group: str) -> None:
    """Its VMs stay."""
    for ref in list(call.db.get("VM_group", group)["VMs"]):
        call.db.update("VM", ref, groups=[])
    call.db.delete("VM_group", group)
