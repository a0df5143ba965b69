"""Drives, PBDs and SRs (sheet §6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.lab.calls import Call, method
from reconciler.lab.errors import Failure
from reconciler.lab.forward import forward
from reconciler.lab.kernel import Steps
from reconciler.lab.physical import Disk
from reconciler.lab.records import lock, unlock
from reconciler.lab.schema import NULL

if TYPE_CHECKING:
    from reconciler.lab.toolstack import Toolstack


def _drive(call: Call, vbd: str, *, empty: bool) -> str:
    """Checks of eject and insert; the ref of the VM."""
    record = call.db.get("VBD", vbd)
    if record["type"] != "CD":
        raise Failure("VBD_NOT_REMOVABLE_MEDIA", vbd)
    if record["empty"] and not empty:
        raise Failure("VBD_IS_EMPTY", vbd)
    if not record["empty"] and empty:
        raise Failure("VBD_NOT_EMPTY", vbd)
    return str(record["VM"])


@method("VBD.eject", "vbd:VBD", asynchronous=True)
def eject(call: Call, vbd: str) -> Steps:
    """Take the medium out: in the record, and in the running domain's drive on its host."""
    vm = call.db.get("VM", _drive(call, vbd, empty=False))
    if vm["power_state"] in ("Running", "Paused"):

        def on_host(ts: Toolstack) -> Steps:
            yield ts.lab.timing.call
            record = call.db.get("VBD", vbd)
            vdi = call.db.find("VDI", record["VDI"])
            domain = ts.lab.world.boxes[ts.host.name].domains.get(vm["uuid"])
            if domain is not None and vdi is not None:
                ts.lab.world.reopen(domain, [d for d in domain.disks if d.vdi != vdi["uuid"]])
                unlock(call.db, record["VDI"], ts.me(call.db))

        yield from forward(call, vm["resident_on"], on_host)
    elif vm["power_state"] == "Suspended":
        raise Failure("VM_BAD_POWER_STATE", call.db.get("VBD", vbd)["VM"], "running, halted", "suspended")
    yield call.lab.timing.call
    call.db.update("VBD", vbd, empty=True, VDI=NULL)


@method("VBD.insert", "vbd:VBD vdi:VDI", asynchronous=True)
def insert(call: Call, vbd: str, vdi: str) -> Steps:
    """Put a medium in."""
    vm = call.db.get("VM", _drive(call, vbd, empty=True))
    image = call.db.get("VDI", vdi)
    sr = call.db.get("SR", image["SR"])
    if vm["power_state"] in ("Running", "Paused"):

        def on_host(ts: Toolstack) -> Steps:
            yield ts.lab.timing.call
            if not ts.lab.world.reaches_sr(ts.host.name, sr["uuid"]):
                raise Failure("VDI_NOT_AVAILABLE", vdi)
            domain = ts.lab.world.boxes[ts.host.name].domains.get(vm["uuid"])
            if domain is not None:
                opened = Disk(image["uuid"], sr["uuid"], False, image["sharable"])
                ts.lab.world.reopen(domain, [*domain.disks, opened])
                lock(call.db, vdi, ts.me(call.db), "RO")

        yield from forward(call, vm["resident_on"], on_host)
    yield call.lab.timing.call
    call.db.update("VBD", vbd, empty=False, VDI=vdi)


@method("PBD.plug", "self:PBD", asynchronous=True)
def plug(call: Call, pbd: str) -> Steps:
    """Attach the SR on that host."""
    record = call.db.get("PBD", pbd)

    def on_host(ts: Toolstack) -> Steps:
        if call.db.get("PBD", pbd)["currently_attached"]:
            return
        sr = call.db.get("SR", record["SR"])
        yield ts.lab.timing.sr_plug
        if not ts.lab.world.reaches_sr(ts.host.name, sr["uuid"]):
            raise Failure("SR_BACKEND_FAILURE_47", "", f"The SR is not available [opterr=SR {sr['uuid']}]", "")
        call.db.update("PBD", pbd, currently_attached=True)

    yield from forward(call, record["host"], on_host)


@method("PBD.unplug", "self:PBD", asynchronous=True)
def unplug(call: Call, pbd: str) -> Steps:
    """Detach the SR from that host; refused while a VM there has a disk of it."""
    record = call.db.get("PBD", pbd)

    def on_host(ts: Toolstack) -> Steps:
        db = call.db
        if not db.get("PBD", pbd)["currently_attached"]:
            return
        used = []
        for ref in db.get("host", record["host"])["resident_VMs"]:
            for vbd_ref in db.get("VM", ref)["VBDs"]:
                vbd = db.find("VBD", vbd_ref)
                vdi = db.find("VDI", vbd["VDI"]) if vbd is not None and vbd["currently_attached"] else None
                if vbd is not None and vdi is not None and vdi["SR"] == record["SR"]:
                    used.append(vbd["VDI"])
        if used:
            raise Failure("VDI_IN_USE", *used)
        yield ts.lab.timing.sr_plug
        call.db.update("PBD", pbd, currently_attached=False)

    yield from forward(call, record["host"], on_host)


@method("SR.scan", "sr:SR", asynchronous=True)
def scan(call: Call, sr: str) -> Steps:
    """On the master for a shared SR, else on its only host."""
    record = call.db.get("SR", sr)
    pbds = [call.db.get("PBD", ref) for ref in record["PBDs"]]
    shared = record["shared"] or len(pbds) > 1
    here = [p for p in pbds if p["host"] == call.me] if shared else pbds
    if not any(p["currently_attached"] for p in here):
        raise Failure("SR_HAS_NO_PBDS", sr)

    def on_host(ts: Toolstack) -> Steps:
        yield ts.lab.timing.sr_plug
        if not ts.lab.world.reaches_sr(ts.host.name, record["uuid"]):
            raise Failure("SR_BACKEND_FAILURE_47", "", f"The SR is not available [opterr=SR {record['uuid']}]", "")

    yield from forward(call, here[0]["host"], on_host)
