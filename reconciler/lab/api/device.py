"""What is left of GPUs and of virtual functions."""

from __future__ import annotations

from reconciler.lab.calls import Call, method
from reconciler.lab.devices import idle_functions, remaining


@method("PGPU.get_remaining_capacity", "self:PGPU vgpu_type:VGPU_type", result="i")
def get_remaining_capacity(call: Call, pgpu: str, vgpu_type: str) -> int:
    """How many VGPUs of the type still fit on it."""
    call.db.get("VGPU_type", vgpu_type)
    return remaining(call.db, pgpu, vgpu_type, [])


@method("network_sriov.get_remaining_capacity", "self:network_sriov", result="i")
def get_remaining_functions(call: Call, sriov: str) -> int:
    """How many virtual functions of the card nobody has (get_remaining_capacity_on_sriov)."""
    return idle_functions(call.db, call.db.get("network_sriov", sriov)["physical_PIF"])
