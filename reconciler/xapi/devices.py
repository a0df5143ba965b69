"""Which GPUs, USB devices and virtual functions VMs are given and hosts have left: read only where a VM has any."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reconciler.core.devices import Devices, Function, Pgpu, Usb, Vgpu, VgpuType
from reconciler.core.port import Session, XapiFailure
from reconciler.xapi.fields import Record, records

Tables = Mapping[str, Mapping[str, Record]]
Asked = Callable[..., int | None]
"""Method and parameters to a number, None where this release has no answer."""

_THROUGH = ("passthrough", "mxgpu", "nvidia_sriov")
"""Implementations of VGPU types that pass something through (xapi_vgpu_type.ml:requires_passthrough)."""


def read_devices(session: Session, tables: Tables, *, deadline: float) -> Devices:
    """The devices of a pool whose other records were read. What is left of each is computed as XAPI does
    (xapi_pgpu_helpers.ml:get_remaining_capacity_internal), and asked of it where its database has what no client sees:
    types that share a GPU with others, virtual functions. What this release does not answer stays unknown."""

    def read(*classes: str) -> dict[str, dict[str, Record]]:
        return {c: records(c, session.call(f"{c}.get_all_records", deadline=deadline)) for c in classes}

    def asked(method: str, *params: str) -> int | None:
        try:
            return Record(method, params[0], {"left": session.call(method, *params, deadline=deadline)}).number("left")
        except XapiFailure:
            return None

    found = Devices()
    groups: dict[str, str] = {}
    if any(r.refs("VGPUs") for r in tables["VM"].values()):
        gpus = read("VGPU", "VGPU_type", "GPU_group", "PGPU")
        groups |= {ref: r.text("name_label") for ref, r in gpus["GPU_group"].items()}
        found = Devices(
            pgpus=tuple(_pgpu(ref, r, gpus, tables, asked) for ref, r in sorted(gpus["PGPU"].items())),
            vgpus=tuple(
                Vgpu(ref, r.text("VM"), r.text("GPU_group"), r.text("type")) for ref, r in sorted(gpus["VGPU"].items())
            ),
            types={ref: _type(r) for ref, r in gpus["VGPU_type"].items()},
        )
    usbs: tuple[Usb, ...] = ()
    if any(r.refs("VUSBs") for r in tables["VM"].values()):
        usbs = _usbs(read("VUSB", "USB_group", "PUSB"))
    functions: tuple[Function, ...] = ()
    if any(r.refs("sriov_logical_PIF_of") for r in tables["PIF"].values()):
        functions = _functions(tables, read("VLAN")["VLAN"], asked)
        groups |= {one.card: tables["network"][one.card].text("name_label") for one in functions}
    return Devices(found.pgpus, found.vgpus, found.types, groups, functions, usbs)


def _type(r: Record) -> VgpuType:
    implementation = r.text("implementation", "passthrough")
    return VgpuType(r.text("model_name"), implementation == "passthrough", implementation in _THROUGH)


def _pgpu(ref: str, r: Record, gpus: Tables, tables: Tables, asked: Asked) -> Pgpu:
    resident = {vgpu for vgpu, v in gpus["VGPU"].items() if v.ref_or_none("scheduled_to_be_resident_on") == ref}
    resident |= set(r.refs("resident_VGPUs"))
    kinds = {gpus["VGPU"][v].text("type") for v in resident if v in gpus["VGPU"]}
    given = r.ref_or_none("PCI")
    passed = any(given in vm.refs("attached_PCIs") for vm in tables["VM"].values()) if given else False
    enabled = r.refs("enabled_VGPU_types")
    wanted = {v.text("type") for v in gpus["VGPU"].values()}
    most = r.counts("supported_VGPU_max_capacities")
    left: dict[str, int] = {}
    for kind in enabled:
        full = most.get(kind, 1)
        whole = gpus["VGPU_type"][kind].text("implementation") == "passthrough" if kind in gpus["VGPU_type"] else False
        if whole:
            left[kind] = 0 if resident or passed else 1
        elif kind not in wanted or kinds <= {kind}:
            left[kind] = max(0, full - len(resident))
        else:
            told = asked("PGPU.get_remaining_capacity", ref, kind)
            left[kind] = full if told is None else told
    return Pgpu(ref, r.text("host"), r.text("GPU_group"), left, {kind: most.get(kind, 1) for kind in enabled})


def _usbs(tables: Tables) -> tuple[Usb, ...]:
    """XAPI looks at the first device of the group only (xapi_vm_helpers.ml:assert_usbs_available)."""
    found = []
    for _, r in sorted(tables["VUSB"].items()):
        group = tables["USB_group"].get(r.text("USB_group"))
        pusb = tables["PUSB"].get(next(iter(group.refs("PUSBs")), "")) if group is not None else None
        name = (pusb.text("description") or pusb.text("product_desc")) if pusb is not None else ""
        name = name or (group.text("name_label") if group is not None else "") or "that was given to it"
        found.append(Usb(r.text("VM"), name, pusb.ref_or_none("host") if pusb is not None else None))
    return tuple(found)


def _functions(tables: Tables, vlans: Mapping[str, Record], asked: Asked) -> tuple[Function, ...]:
    """The SR-IOV networks, and VLANs on them, that VMs have an interface on
    (xapi_network_sriov_helpers.ml:get_underlying_pif)."""
    used = {r.text("network") for r in tables["VIF"].values()}
    pifs = tables["PIF"]
    left: dict[str, int | None] = {}
    found = []
    for _, pif in sorted(pifs.items()):
        logical: Record | None = pif
        if not pif.refs("sriov_logical_PIF_of"):
            vlan = vlans.get(pif.ref_or_none("VLAN_master_of") or "")
            logical = pifs.get(vlan.text("tagged_PIF")) if vlan is not None else None
        if logical is None or pif.text("network") not in used or not logical.refs("sriov_logical_PIF_of"):
            continue
        sriov = logical.refs("sriov_logical_PIF_of")[0]
        if sriov not in left:
            left[sriov] = asked("network_sriov.get_remaining_capacity", sriov)
        told = left[sriov]
        if told is not None and logical.text("network") in tables["network"]:
            found.append(Function(pif.text("network"), pif.text("host"), logical.text("network"), told))
    return tuple(found)
