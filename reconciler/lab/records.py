"""Changes to VM, disk and message records that several calls share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.lab.database import Database, Record
from reconciler.lab.devices import passed_through, settle
from reconciler.lab.guests import networks
from reconciler.lab.physical import Box, Disk, Domain
from reconciler.lab.rules import allowed_operations, guest_refuses
from reconciler.lab.schema import NULL
from reconciler.lab.wiretext import date

WHEN_DISABLED = ["apply_updates", "reboot", "shutdown"]

if TYPE_CHECKING:
    from reconciler.lab.toolstack import Toolstack


def drives(db: Database, vm: Record) -> list[tuple[str, Record, str, Record]]:
    """(VBD ref, VBD, VDI ref, VDI) of every drive of a VM that has something in it."""
    found = []
    for ref in vm["VBDs"]:
        vbd = db.find("VBD", ref)
        if vbd is None or vbd["empty"]:
            continue
        vdi = db.find("VDI", vbd["VDI"])
        if vdi is not None:
            found.append((ref, vbd, vbd["VDI"], vdi))
    return found


def lockable(db: Database, vdi: Record) -> bool:
    """Its storage manager keeps activation locks: not for ISO libraries, nor the driver without disks that recorded
    pools have."""
    sr = db.find("SR", vdi["SR"])
    return sr is not None and sr["content_type"] != "iso" and sr["type"] != "dummy"


def set_enabled(db: Database, host: str, enabled: bool) -> None:
    """Set host.enabled, and what a host that is disabled may be told (recordings 02, 06)."""
    operations = [op for op in db.get("host", host)["allowed_operations"] if op not in WHEN_DISABLED]
    db.update("host", host, enabled=enabled, allowed_operations=operations + ([] if enabled else WHEN_DISABLED))


def lock(db: Database, vdi_ref: str, host: str, mode: str) -> None:
    """Note that the host has the disk activated ("RW" or "RO")."""
    vdi = db.get("VDI", vdi_ref)
    if lockable(db, vdi):
        db.update("VDI", vdi_ref, sm_config={**vdi["sm_config"], f"host_{host}": mode})


def unlock(db: Database, vdi_ref: str, host: str) -> None:
    """Remove the host's activation lock."""
    vdi = db.find("VDI", vdi_ref)
    key = f"host_{host}"
    if vdi is not None and key in vdi["sm_config"]:
        db.update("VDI", vdi_ref, sm_config={k: v for k, v in vdi["sm_config"].items() if k != key})


def refresh_locks(db: Database, host: str, box: Box) -> None:
    """A starting host drops the locks that it does not hold any more (sheet §6)."""
    held = {disk.vdi for domain in box.domains.values() for disk in domain.disks}
    key = f"host_{host}"
    for ref, vdi in list(db.tables["VDI"].items()):
        if key in vdi["sm_config"] and vdi["uuid"] not in held:
            unlock(db, ref, host)


def free_locks(db: Database, host: str) -> None:
    """10resetvdis: drop every lock of a host on the SRs that it has a PBD for (sheet §3.6 step 5)."""
    key = f"host_{host}"
    srs = {p["SR"] for p in db.tables["PBD"].values() if p["host"] == host}
    for ref, vdi in list(db.tables["VDI"].items()):
        if key in vdi["sm_config"] and vdi["SR"] in srs:
            unlock(db, ref, host)


def disks_of(db: Database, vm: Record) -> list[Disk]:
    """What a domain of this VM holds open."""
    found = []
    for _, vbd, _, vdi in drives(db, vm):
        sr = db.find("SR", vdi["SR"])
        if sr is not None:
            writable = vbd["mode"] == "RW" and not vdi["read_only"]
            found.append(Disk(vdi["uuid"], sr["uuid"], writable, vdi["sharable"]))
    return found


def set_running(ts: Toolstack, db: Database, ref: str, host: str, domain: Domain) -> None:
    """Record that the VM runs on the host, as its domain there does."""
    vm = db.get("VM", ref)
    state = "Paused" if domain.paused else "Running"
    if vm["resident_on"] != host or vm["power_state"] != state or vm["domid"] != domain.domid:
        write_vm(
            db,
            ref,
            power_state=state,
            resident_on=host,
            scheduled_to_be_resident_on=NULL,
            domid=domain.domid,
        )
        set_attached(db, vm, attached=True)
    held = {disk.vdi: disk.writable for disk in domain.disks}
    for _, _, vdi_ref, vdi in drives(db, vm):
        if vdi["uuid"] in held:
            lock(db, vdi_ref, host, "RW" if held[vdi["uuid"]] else "RO")


def _device(position: str) -> str:
    """What the guest calls the drive at a position: "0" is xvda; other spellings stay as they are."""
    return f"xvd{chr(ord('a') + int(position))}" if position.isdigit() and int(position) < 26 else position


def note_start(ts: Toolstack, db: Database, ref: str) -> None:
    """VM_metrics.start_time, by the clock of the host that started it."""
    metrics = db.get("VM", ref)["metrics"]
    if metrics in db.tables["VM_metrics"]:
        db.update("VM_metrics", metrics, start_time=date(ts.wall))


def set_attached(db: Database, vm: Record, *, attached: bool) -> None:
    """Devices of a VM that starts or has stopped."""
    for ref in vm["VBDs"]:
        vbd = db.find("VBD", ref)
        if vbd is not None:
            device = vbd["device"] or (_device(vbd["userdevice"]) if attached else "")
            db.update("VBD", ref, currently_attached=attached, current_operations={}, device=device)
    for ref in vm["VIFs"]:
        if ref in db.tables["VIF"]:
            db.update("VIF", ref, currently_attached=attached, current_operations={})
    if vm["VGPUs"]:
        settle(db, vm, attached=attached)
        if vm_ref := next((ref for ref, r in db.tables["VM"].items() if r["uuid"] == vm["uuid"]), None):
            write_vm(db, vm_ref, attached_PCIs=passed_through(db, vm) if attached else [])


def set_halted(db: Database, ref: str, host: str, *, state: str = "Halted") -> None:
    """Record that the VM has stopped on the host in an orderly way: its locks are freed."""
    vm = db.find("VM", ref)
    if vm is None:
        return
    for _, _, vdi_ref, _ in drives(db, vm):
        unlock(db, vdi_ref, host)
    set_attached(db, vm, attached=False)
    drop_guest_metrics(db, vm)
    write_vm(
        db, ref, power_state=state, resident_on=NULL, scheduled_to_be_resident_on=NULL, domid=-1, guest_metrics=NULL
    )


def force_reset(db: Database, ref: str) -> None:
    """force_state_reset: Halted, whatever is true; storage locks stay (sheet §4.4)."""
    vm = db.get("VM", ref)
    set_attached(db, vm, attached=False)
    write_vm(
        db,
        ref,
        current_operations={},
        power_state="Halted",
        resident_on=NULL,
        scheduled_to_be_resident_on=NULL,
        domid=-1,
        requires_reboot=False,
    )


def write_vm(db: Database, ref: str, **values: Any) -> None:
    """Change a VM and what may be done with it."""
    record = {**db.get("VM", ref), **values}
    db.update("VM", ref, **values, allowed_operations=allowed_operations(record, guest_refuses(db, record)))


def drop_guest_metrics(db: Database, vm: Record) -> None:
    """A VM that does not run has no guest metrics."""
    if vm["guest_metrics"] != NULL:
        db.delete("VM_guest_metrics", vm["guest_metrics"])


def add_guest_metrics(ts: Toolstack, db: Database, ref: str) -> None:
    """The guest's tools report."""
    vm = db.find("VM", ref)
    if vm is None or vm["guest_metrics"] in db.tables["VM_guest_metrics"]:
        return
    told = {**guest_metrics(ts.lab.uuid(), ts.lab.now), "networks": networks(ts.lab.guests.of(vm["uuid"]))}
    made = db.create("VM_guest_metrics", ts.lab.ref(), told)
    write_vm(db, ref, guest_metrics=made)


def guest_metrics(uuid: str, now: float) -> Record:
    """What guest tools report of a Linux guest."""
    return {
        "uuid": uuid,
        "os_version": {"name": "Debian GNU/Linux 12 (bookworm)", "distro": "debian", "major": "12", "minor": "0"},
        "PV_drivers_version": {"major": "8", "minor": "4", "micro": "0", "build": "1"},
        "PV_drivers_up_to_date": True,
        "PV_drivers_detected": True,
        "other": {"feature-shutdown": "1", "feature-reboot": "1", "feature-suspend": "1", "feature-balloon": "1"},
        "last_updated": date(now),
        "live": True,
        "can_use_hotplug_vbd": "yes",
        "can_use_hotplug_vif": "yes",
    }


def note(ts: Toolstack, name: str, priority: int, cls: str, uuid: str, body: str) -> str:
    """Store a message: a file of this host (sheet §9)."""
    ref = ts.lab.ref()
    ts.host.message_ages[ref] = max(ts.host.message_ages.values(), default=0) + 1
    ts.host.messages[ref] = {
        "uuid": ts.lab.uuid(),
        "name": name,
        "priority": priority,
        "cls": cls,
        "obj_uuid": uuid,
        "timestamp": date(ts.wall),
        "body": body,
    }
    if ts.db is not None:
        ts.db.tell("message", ref)
    return ref
