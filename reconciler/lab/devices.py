"""GPUs, USB devices and virtual functions: who may have them, and who has (xapi_vm_helpers.ml:assert_gpus_available,
assert_usbs_available, assert_netsriov_available; vgpuops.ml; xapi_pgpu_helpers.ml; xapi_network_sriov_helpers.ml).

XAPI counts virtual functions as PCI records with a link that no client sees; here that link is this key of
PCI.other_config, with the ref of the physical one.
"""

from __future__ import annotations

from reconciler.lab.database import Database, Record
from reconciler.lab.errors import Failure
from reconciler.lab.schema import NULL

FUNCTION_OF = "lab-virtual-function-of"
_THROUGH = ("passthrough", "mxgpu", "nvidia_sriov")


def assert_devices(db: Database, ref: str, vm: Record, host: str) -> None:
    """Raise the first reason why the VM's devices can't be had on a host (sheet §5.3 tests 9 to 11)."""
    vgpus = [(v, db.get("VGPU", v)) for v in vm["VGPUs"] if v in db.tables["VGPU"]]
    through = any(_implementation(db, v) in _THROUGH for _, v in vgpus)
    if through and db.get("host", host)["chipset_info"].get("iommu") != "true":
        raise Failure("VM_REQUIRES_IOMMU", host)
    if any(v["scheduled_to_be_resident_on"] == NULL for _, v in vgpus):
        _choose(db, ref, vgpus, host)
    for vusb in vm["VUSBs"]:
        group = db.find("USB_group", db.get("VUSB", vusb)["USB_group"])
        pusb = db.find("PUSB", group["PUSBs"][0]) if group is not None and group["PUSBs"] else None
        if pusb is None or pusb["host"] != host:
            raise Failure("OPERATION_NOT_ALLOWED", f"VUSB {vusb} is not available on Host {host}")
    wanted: dict[str, int] = {}
    for vif in vm["VIFs"]:
        network = db.get("VIF", vif)["network"]
        if _physical(db, network, host) is not None:
            wanted[network] = wanted.get(network, 0) + 1
    for network, number in wanted.items():
        physical = _physical(db, network, host)
        if physical is not None and idle_functions(db, physical, without=ref) < number:
            raise Failure("NETWORK_SRIOV_INSUFFICIENT_CAPACITY", network)


def _choose(db: Database, ref: str, vgpus: list[tuple[str, Record]], host: str) -> list[tuple[str, str]]:
    """A GPU for each VGPU, depth first: that with the least room that has enough (vgpuops.ml:allocate_vgpu_to_gpu)."""
    chosen: list[tuple[str, str]] = []
    for vgpu_ref, vgpu in vgpus:
        group, kind = vgpu["GPU_group"], vgpu["type"]
        found = [
            (left, pgpu)
            for pgpu, r in db.tables["PGPU"].items()
            if r["host"] == host and r["GPU_group"] == group and (left := remaining(db, pgpu, kind, chosen)) > 0
        ]
        if not found:
            if _implementation(db, vgpu) == "passthrough":
                raise Failure("VM_REQUIRES_GPU", ref, group)
            raise Failure("VM_REQUIRES_VGPU", ref, group, kind)
        chosen.append((vgpu_ref, min(found)[1]))
    return chosen


def remaining(db: Database, pgpu: str, kind: str, chosen: list[tuple[str, str]]) -> int:
    """PGPU.get_remaining_capacity, with what was chosen before counted. Types share a GPU only with their like: the
    link that says otherwise is seen by no client."""
    record = db.get("PGPU", pgpu)
    if kind not in record["enabled_VGPU_types"]:
        return 0
    on = set(record["resident_VGPUs"])
    on |= {ref for ref, v in db.tables["VGPU"].items() if v["scheduled_to_be_resident_on"] == pgpu}
    on |= {ref for ref, there in chosen if there == pgpu}
    if any(db.get("VGPU", ref)["type"] != kind for ref in on if ref in db.tables["VGPU"]):
        return 0
    return max(0, int(record["supported_VGPU_max_capacities"].get(kind, 1)) - len(on))


def allocate(db: Database, ref: str, host: str) -> None:
    """Reserve what the VM gets there: its GPUs are scheduled (message_forwarding.ml:allocate_vm_to_host)."""
    vm = db.get("VM", ref)
    vgpus = [(v, db.get("VGPU", v)) for v in vm["VGPUs"] if v in db.tables["VGPU"]]
    for vgpu, pgpu in _choose(db, ref, vgpus, host):
        db.update("VGPU", vgpu, scheduled_to_be_resident_on=pgpu)


def settle(db: Database, vm: Record, *, attached: bool) -> None:
    """The VM runs with what was reserved for it, or has given everything back."""
    for ref in vm["VGPUs"]:
        vgpu = db.find("VGPU", ref)
        if vgpu is None:
            continue
        there = vgpu["scheduled_to_be_resident_on"] if attached else NULL
        if attached and there == NULL:
            there = vgpu["resident_on"]
        db.update("VGPU", ref, resident_on=there, scheduled_to_be_resident_on=NULL, currently_attached=attached)


def passed_through(db: Database, vm: Record) -> list[str]:
    """The PCI devices that a running VM has through its VGPUs."""
    vgpus = [db.get("VGPU", ref) for ref in vm["VGPUs"] if ref in db.tables["VGPU"]]
    found = [db.find("PGPU", v["resident_on"]) for v in vgpus if _implementation(db, v) == "passthrough"]
    return [pgpu["PCI"] for pgpu in found if pgpu is not None and pgpu["PCI"] != NULL]


def _implementation(db: Database, vgpu: Record) -> str:
    kind = db.find("VGPU_type", vgpu["type"])
    return str(kind["implementation"]) if kind is not None else "passthrough"


# -- virtual functions -------------------------------------------------------------------------------------------------


def _physical(db: Database, network: str, host: str) -> str | None:
    """The physical PIF under the host's SR-IOV PIF of a network, or under its VLAN on one (get_underlying_pif)."""
    for pif in db.tables["PIF"].values():
        if pif["network"] != network or pif["host"] != host:
            continue
        vlan = db.find("VLAN", pif["VLAN_master_of"])
        logical = db.find("PIF", vlan["tagged_PIF"]) if vlan is not None else pif
        if logical is not None and logical["sriov_logical_PIF_of"]:
            return str(db.get("network_sriov", logical["sriov_logical_PIF_of"][0])["physical_PIF"])
    return None


def idle_functions(db: Database, physical: str, *, without: str = NULL) -> int:
    """Virtual functions of a card that no VM has, or will have (xapi_pci.ml:get_idle_vf_nums)."""
    pif = db.get("PIF", physical)
    total: int = sum(r["other_config"].get(FUNCTION_OF) == pif["PCI"] for r in db.tables["PCI"].values())
    for ref, vm in db.tables["VM"].items():
        if ref == without or pif["host"] not in (vm["resident_on"], vm["scheduled_to_be_resident_on"]):
            continue
        vifs = [db.get("VIF", vif) for vif in vm["VIFs"] if vif in db.tables["VIF"]]
        total -= sum(_physical(db, vif["network"], pif["host"]) == physical for vif in vifs)
    return max(0, total)
