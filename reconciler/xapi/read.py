"""The whole pool in eleven calls, two more where a guest is in doubt, whatever its size; typed once (core.model)."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.model import (
    Host,
    Network,
    Pbd,
    Pif,
    Pool,
    PoolState,
    PowerState,
    Sr,
    Vbd,
    Vdi,
    Vif,
    Vm,
)
from reconciler.core.port import FaultKind, Session, TransportFault
from reconciler.xapi.devices import read_devices
from reconciler.xapi.fields import Record, records
from reconciler.xapi.guests import CLASSES as GUESTS
from reconciler.xapi.guests import immobile, in_doubt, unstoppable

CLASSES = ("pool", "host", "host_metrics", "VM", "VBD", "VDI", "VIF", "network", "PIF", "PBD", "SR")
"""Read in this order, one get_all_records each."""

_PINNING = {"VGPUs": "VGPU", "attached_PCIs": "PCI", "VUSBs": "VUSB"}
_NEEDS_HVM = frozenset({"hvm", "pvh", "pv_in_pvh"})


def read_pool(session: Session, *, now: float, deadline: float = 60.0) -> PoolState:
    """The pool as the host of this session records it; `now` (UTC seconds) becomes `read_at`.

    The reads are not one transaction: an object made or deleted between two of them leaves a reference that leads
    nowhere, which PoolState allows. Fields that an old release lacks have XAPI's defaults. Raises XapiFailure,
    and TransportFault; PROTOCOL names the class and field of a value that has the wrong type. `deadline` in seconds
    for each call.
    """
    tables = {cls: records(cls, session.call(f"{cls}.get_all_records", deadline=deadline)) for cls in CLASSES}
    if len(tables["pool"]) != 1:
        raise TransportFault(
            FaultKind.PROTOCOL, f"{session.address}: it has {len(tables['pool'])} pool records, not one", sent=True
        )
    if any(in_doubt(r) for r in tables["VM"].values()):
        tables |= {cls: records(cls, session.call(f"{cls}.get_all_records", deadline=deadline)) for cls in GUESTS}
    metrics = tables["host_metrics"]
    return PoolState(
        pool=next(_pool(r) for r in tables["pool"].values()),
        hosts={ref: _host(r, metrics) for ref, r in tables["host"].items()},
        vms={ref: _vm(r, tables) for ref, r in tables["VM"].items()},
        vbds={ref: _vbd(r) for ref, r in tables["VBD"].items()},
        vdis={ref: _vdi(r) for ref, r in tables["VDI"].items()},
        srs={ref: _sr(r) for ref, r in tables["SR"].items()},
        pbds={ref: _pbd(r) for ref, r in tables["PBD"].items()},
        vifs={ref: _vif(r) for ref, r in tables["VIF"].items()},
        networks={ref: _network(r) for ref, r in tables["network"].items()},
        pifs={ref: _pif(r) for ref, r in tables["PIF"].items()},
        devices=read_devices(session, tables, deadline=deadline),
        read_at=now,
        read_from=session.address,
    )


def _operations(r: Record) -> tuple[str, ...]:
    return tuple(sorted(r.mapping("current_operations").values()))


def _pool(r: Record) -> Pool:
    return Pool(
        ref=r.ref,
        uuid=r.required("uuid"),
        name=r.text("name_label"),
        master=r.ref_or_none("master"),
        default_sr=r.ref_or_none("default_SR"),
        suspend_image_sr=r.ref_or_none("suspend_image_SR"),
        ha_enabled=r.flag("ha_enabled"),
        wlb_enabled=r.flag("wlb_enabled"),
        other_config=r.mapping("other_config"),
        current_operations=_operations(r),
    )


def _host(r: Record, metrics: Mapping[str, Record]) -> Host:
    # Without a metrics record XAPI itself takes a host for alive (xapi_host.ml:is_host_alive), but admits no VM there.
    m = metrics.get(r.ref_or_none("metrics") or "", Record("host_metrics", "none", {}))
    versions = r.mapping("software_version")
    cpu = r.mapping("cpu_info")
    cpus = cpu.get("cpu_count", "")
    return Host(
        ref=r.ref,
        uuid=r.required("uuid"),
        name=r.text("name_label"),
        address=r.text("address"),
        enabled=r.flag("enabled"),
        live=m.flag("live", default=True),
        memory_total=m.number("memory_total"),
        memory_overhead=r.number("memory_overhead"),
        cpus=int(cpus) if cpus.isascii() and cpus.isdigit() else len(r.refs("host_CPUs")),
        product_version=versions.get("product_version", ""),
        xapi_version=versions.get("xapi", ""),
        hvm_capable=not r.has("capabilities") or any(c.startswith("hvm") for c in r.texts("capabilities")),
        cpu_vendor=cpu.get("vendor", ""),
        cpu_features_hvm=_features(cpu, "hvm"),
        cpu_features_pv=_features(cpu, "pv"),
        iommu={"true": True, "false": False}.get(r.mapping("chipset_info").get("iommu", "")),
        current_operations=_operations(r),
        other_config=r.mapping("other_config"),
    )


def _features(cpu: Mapping[str, str], kind: str) -> str:
    """What the host itself offers to such guests (recording 01); older releases have only what the pool levelled, the
    oldest one set for both kinds."""
    return cpu.get(f"features_{kind}_host") or cpu.get(f"features_{kind}") or cpu.get("features", "")


def _vm(r: Record, tables: Mapping[str, Mapping[str, Record]]) -> Vm:
    power = r.text("power_state")
    try:
        power_state = PowerState(power)
    except ValueError:
        raise TransportFault(
            FaultKind.PROTOCOL,
            f"VM.power_state of {r.text('uuid') or r.ref} is {power!r}, no state of XAPI's",
            sent=True,
        ) from None
    return Vm(
        ref=r.ref,
        uuid=r.required("uuid"),
        name=r.text("name_label"),
        power_state=power_state,
        resident_on=r.ref_or_none("resident_on"),
        affinity=r.ref_or_none("affinity"),
        scheduled_on=r.ref_or_none("scheduled_to_be_resident_on"),
        is_template=r.flag("is_a_template"),
        is_snapshot=r.flag("is_a_snapshot"),
        is_control_domain=r.flag("is_control_domain"),
        memory_static_max=r.number("memory_static_max"),
        memory_dynamic_min=r.number("memory_dynamic_min"),
        memory_dynamic_max=r.number("memory_dynamic_max"),
        memory_overhead=r.number("memory_overhead"),
        vcpus=r.number("VCPUs_max", default=1),
        needs_hvm=_needs_hvm(r),
        tags=tuple(sorted(r.texts("tags"))),
        order=r.number("order"),
        start_delay=r.number("start_delay"),
        appliance=r.ref_or_none("appliance"),
        ha_restart_priority=r.text("ha_restart_priority"),
        suspend_vdi=r.ref_or_none("suspend_VDI"),
        vbds=r.refs("VBDs"),
        vifs=r.refs("VIFs"),
        pinned_devices=() if "pool_migrate" in r.texts("allowed_operations") else _pinning(r),
        immobile=immobile(r, tables),
        unstoppable=unstoppable(r, tables),
        boot_cpu={k: v for k, v in r.mapping("last_boot_CPU_flags").items() if k in ("vendor", "features")},
        blocked_operations=r.mapping("blocked_operations"),
        current_operations=_operations(r),
        other_config=r.mapping("other_config"),
    )


def _pinning(r: Record) -> tuple[str, ...]:
    """A running VM with such a device stays where it is, but some kinds of VGPU migrate: then XAPI lists that
    (xapi_vm_lifecycle.ml:check_vgpu)."""
    return tuple(word for name, word in _PINNING.items() if r.refs(name))


def _needs_hvm(r: Record) -> bool:
    kind = r.text("domain_type", "unspecified")
    # Releases before domain_type, and VMs never touched since: a boot policy means HVM.
    return bool(r.text("HVM_boot_policy")) if kind == "unspecified" else kind in _NEEDS_HVM


def _vbd(r: Record) -> Vbd:
    return Vbd(
        ref=r.ref,
        uuid=r.text("uuid"),
        vm=r.text("VM"),
        vdi=r.ref_or_none("VDI"),
        userdevice=r.text("userdevice"),
        type=r.text("type"),
        mode=r.text("mode"),
        empty=r.flag("empty"),
        currently_attached=r.flag("currently_attached"),
    )


def _vdi(r: Record) -> Vdi:
    return Vdi(
        ref=r.ref,
        uuid=r.text("uuid"),
        name=r.text("name_label"),
        sr=r.ref_or_none("SR"),
        sharable=r.flag("sharable"),
        read_only=r.flag("read_only"),
    )


def _sr(r: Record) -> Sr:
    return Sr(
        ref=r.ref,
        uuid=r.text("uuid"),
        name=r.text("name_label"),
        type=r.text("type"),
        content_type=r.text("content_type"),
        shared=r.flag("shared"),
    )


def _pbd(r: Record) -> Pbd:
    return Pbd(
        ref=r.ref,
        uuid=r.text("uuid"),
        host=r.text("host"),
        sr=r.text("SR"),
        currently_attached=r.flag("currently_attached"),
    )


def _vif(r: Record) -> Vif:
    return Vif(
        ref=r.ref,
        uuid=r.text("uuid"),
        vm=r.text("VM"),
        network=r.text("network"),
        device=r.text("device"),
        currently_attached=r.flag("currently_attached"),
    )


def _network(r: Record) -> Network:
    return Network(
        ref=r.ref,
        uuid=r.text("uuid"),
        name=r.text("name_label"),
        bridge=r.text("bridge"),
        other_config=r.mapping("other_config"),
        managed=r.flag("managed", default=True),
    )


def _pif(r: Record) -> Pif:
    return Pif(
        ref=r.ref,
        uuid=r.text("uuid"),
        host=r.text("host"),
        network=r.text("network"),
        device=r.text("device"),
        management=r.flag("management"),
        currently_attached=r.flag("currently_attached"),
        is_bond_slave=r.ref_or_none("bond_slave_of") is not None,
        address=_address(r),
    )


def _address(r: Record) -> str | None:
    """xapi_pif_helpers.ml:get_primary_address."""
    if r.text("primary_address_type", "IPv4") == "IPv4":
        return r.text("IP") if r.has("IP") else None
    return next((text.partition("/")[0] for text in r.texts("IPv6")), "")
