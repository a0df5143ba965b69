"""What a host itself does to its VMs when told: storage, locks, memory, domains. Threads of that host's toolstack.

Database writes go through the host's link to its master, so they hang while that is away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from reconciler.lab.database import Database, Record
from reconciler.lab.errors import Failure
from reconciler.lab.guests import NEVER
from reconciler.lab.kernel import Steps
from reconciler.lab.records import (
    add_guest_metrics,
    disks_of,
    drives,
    lock,
    lockable,
    note_start,
    set_attached,
    set_halted,
    set_running,
    unlock,
    write_vm,
)
from reconciler.lab.rules import memory_overhead
from reconciler.lab.schema import NULL

if TYPE_CHECKING:
    from reconciler.lab.toolstack import Toolstack

LOOK_UP = 10.0
"""Seconds between two looks of a migration, while it copies, whether it goes on; it looks five times at least."""


def activate(ts: Toolstack, db: Database, vm: Record) -> list[str]:
    """Attach and lock every disk of a VM on this host; VDI refs that were locked.

    Raises SR_BACKEND_FAILURE_47 when the storage is out of reach, _46 when another host has the disk activated.
    """
    me = ts.me(db)
    locked: list[str] = []
    try:
        for _, vbd, vdi_ref, vdi in drives(db, vm):
            sr = db.get("SR", vdi["SR"])
            if not ts.lab.world.reaches_sr(ts.host.name, sr["uuid"]):
                raise Failure("SR_BACKEND_FAILURE_47", "", f"The SR is not available [opterr=SR {sr['uuid']}]", "")
            mode = "RW" if vbd["mode"] == "RW" and not vdi["read_only"] else "RO"
            for key, other in vdi["sm_config"].items():
                if not key.startswith("host_OpaqueRef:") or key == f"host_{me}" or not lockable(db, vdi):
                    continue
                if not vdi["sharable"] and "RW" in (mode, other):
                    text = f"The VDI is not available [opterr=VDI {vdi['uuid']} already attached {other}]"
                    raise Failure("SR_BACKEND_FAILURE_46", "", text, "")
            lock(db, vdi_ref, me, mode)
            locked.append(vdi_ref)
    except Failure:
        for ref in locked:
            unlock(db, ref, me)
        raise
    return locked


def start_domain(ts: Toolstack, ref: str, *, paused: bool, seconds: float) -> Steps:
    """Make the VM run here and record it. A VM whose domain is here already: the record is put right and the answer
    is VM_BAD_POWER_STATE in xenopsd's capitals (recording 22)."""
    world, name = ts.lab.world, ts.host.name
    db: Database = yield from ts.database()
    vm = db.get("VM", ref)
    me = ts.me(db)
    there = world.boxes[name].domains.get(vm["uuid"])
    if there is not None:
        set_running(ts, db, ref, me, there)
        raise Failure("VM_BAD_POWER_STATE", ref, "Halted", "Paused" if there.paused else "Running")
    locked = activate(ts, db, vm)
    needed = vm["memory_dynamic_min"] + memory_overhead(vm)
    yield seconds / 2
    free = world.memory_free(name)
    if needed > free:
        db = yield from ts.database()
        for vdi in locked:
            unlock(db, vdi, me)
        raise Failure("HOST_NOT_ENOUGH_FREE_MEMORY", str(needed), str(max(0, free)))
    domain = world.start(name, vm["uuid"], vm["name_label"], needed, disks_of(db, vm), paused=paused)
    yield seconds / 2
    db = yield from ts.database()
    if ref in db.tables["VM"] and world.boxes[name].domains.get(vm["uuid"]) is domain:
        me = ts.me(db)
        now = db.get("VM", ref)
        platform = (
            now["platform"]
            if not now["HVM_boot_policy"]
            else {"device-model": "qemu-upstream-compat", **now["platform"]}
        )
        write_vm(db, ref, memory_overhead=memory_overhead(now), platform=platform)
        set_running(ts, db, ref, me, domain)
        note_start(ts, db, ref)
        ts.spawn(_tools(ts, ref), "guest tools")


def _tools(ts: Toolstack, ref: str) -> Steps:
    db: Database = yield from ts.database()
    vm = db.find("VM", ref)
    told = ts.lab.guests.of(vm["uuid"]).tools if vm is not None else None
    if told == NEVER:
        return
    yield ts.lab.timing.guest_tools if told is None else told
    db = yield from ts.database()
    vm = db.find("VM", ref)
    if vm is not None and vm["resident_on"] == ts.me(db):
        add_guest_metrics(ts, db, ref)


def stop_domain(ts: Toolstack, ref: str, *, seconds: float, state: str = "Halted") -> Steps:
    """End the domain here, if there is one, and record that the VM does not run."""
    db: Database = yield from ts.database()
    uuid = db.get("VM", ref)["uuid"]
    yield seconds
    ts.lab.world.stop(ts.host.name, uuid)
    db = yield from ts.database()
    set_halted(db, ref, ts.me(db), state=state)


def reboot_domain(ts: Toolstack, ref: str, *, seconds: float) -> Steps:
    """A new domain in the old one's place."""
    world, name = ts.lab.world, ts.host.name
    db: Database = yield from ts.database()
    vm = db.get("VM", ref)
    old = world.stop(name, vm["uuid"])
    yield seconds
    db = yield from ts.database()
    if old is not None:
        domain = world.start(name, vm["uuid"], vm["name_label"], old.memory, disks_of(db, db.get("VM", ref)))
        set_running(ts, db, ref, ts.me(db), domain)
        note_start(ts, db, ref)


def pause_domain(ts: Toolstack, ref: str, *, paused: bool) -> Steps:
    """Stop or go on scheduling the domain."""
    db: Database = yield from ts.database()
    vm = db.get("VM", ref)
    domain = ts.lab.world.boxes[ts.host.name].domains.get(vm["uuid"])
    if domain is None:
        raise Failure("INTERNAL_ERROR", f"xenopsd: domain {vm['uuid']} does not exist")
    yield ts.lab.timing.repoint_same
    domain.paused = paused
    db = yield from ts.database()
    set_running(ts, db, ref, ts.me(db), domain)


def _migration_address(db: Database, host: str, network: str) -> None:
    """The target must have an address on the network that the option names
    (xapi_network_attach_helpers.ml:assert_valid_ip_configuration_on_network_for_host)."""
    pifs = [r for r, p in db.tables["PIF"].items() if p["host"] == host and p["network"] == network]
    if not pifs:
        raise Failure("PIF_NOT_PRESENT", host, network)
    pif = db.get("PIF", pifs[0])
    if not pif["currently_attached"]:
        raise Failure("REQUIRED_PIF_IS_UNPLUGGED", pifs[0])
    if not pif["IP"]:
        raise Failure("INTERFACE_HAS_NO_IP", pifs[0])


def migrate_domain(
    ts: Toolstack, ref: str, target: str, *, network: str = NULL, task: str = "", cancelled: Callable[[], bool]
) -> Steps:
    """Run on the source: copy memory, then switch at one instant.

    What fails while the memory is copied leaves the VM running here; what fails in the switch finds it suspended, and
    then the source shuts it down (xapi_vm_migrate.ml:pool_migrate).
    """
    world = ts.lab.world
    timing = ts.lab.timing
    seconds = timing.vm_migrate
    db: Database = yield from ts.database()
    vm = db.get("VM", ref)
    source_ref = ts.me(db)
    record = db.get("host", target)
    host = ts.lab.at(record["address"])
    if host is None:
        raise Failure("VM_MIGRATE_CONTACT_REMOTE_SERVICE_FAILED")
    if network != NULL:
        _migration_address(db, target, network)
    if target == source_ref:
        yield seconds / 4
        return
    if not ts.lab.reaches(ts.host.name, host) or host.toolstack is None or not host.toolstack.api_up:
        yield ts.lab.timing.no_route
        raise Failure("VM_MIGRATE_CONTACT_REMOTE_SERVICE_FAILED")
    if host.toolstack.pool_run() not in (None, ts.pool_run()):
        # The URL to which the memory goes holds a session of our master's, and the other looks for it in its own.
        raise Failure("VM_MIGRATE_CONTACT_REMOTE_SERVICE_FAILED")
    disks = disks_of(db, vm)
    for disk in disks:
        if not world.reaches_sr(host.name, disk.sr):
            raise Failure("SR_BACKEND_FAILURE_47", "", f"The SR is not available [opterr=SR {disk.sr}]", "")

    def gone() -> bool:
        return not host.powered or not ts.lab.reaches(ts.host.name, host)

    copying = seconds - timing.vm_switch
    looks = max(5, int(copying / LOOK_UP))
    for _ in range(looks):
        yield copying / looks
        if cancelled():
            raise Failure("TASK_CANCELLED", task)
        if gone():
            yield timing.no_route
            raise Failure("VM_MIGRATE_FAILED", ref, source_ref, target, "the destination cannot be reached")
    yield timing.vm_switch
    if gone():
        world.stop(ts.host.name, vm["uuid"])
        db = yield from ts.database()
        set_halted(db, ref, source_ref)
        raise Failure("VM_MIGRATE_FAILED", ref, source_ref, target, "the destination was lost in the switch")
    domain = world.move(vm["uuid"], ts.host.name, host.name)
    if domain is None:
        raise Failure("VM_MIGRATE_FAILED", ref, source_ref, target, "the domain is gone")
    db = yield from ts.database()
    if ref not in db.tables["VM"]:
        return
    vm = db.get("VM", ref)
    for _, vbd, vdi_ref, vdi in drives(db, vm):
        unlock(db, vdi_ref, source_ref)
        lock(db, vdi_ref, target, "RW" if vbd["mode"] == "RW" and not vdi["read_only"] else "RO")
    write_vm(db, ref, resident_on=target, scheduled_to_be_resident_on=NULL, domid=domain.domid)
    set_attached(db, vm, attached=True)
