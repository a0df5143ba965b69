"""Judgement on calls that empty hosts, move VMs and lead a second master back (watch.py has the rest)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reconciler.core.wanted import MemberState
from reconciler.lab import LabHost

if TYPE_CHECKING:
    from tests.soak.watch import Watch

MARK = "xenrec-maintenance"
"""The key of host.other_config by which xenrec knows again what it disabled itself."""


def disks_within_reach(watch: Watch, bare: str, db: Any, vm: Mapping[str, Any], target: Mapping[str, Any]) -> None:
    """I8: every disk and CD is on storage that the target has plugged, by the pool's records."""
    plugged = {
        p["SR"]
        for p in db.tables["PBD"].values()
        if db.tables["host"].get(p["host"], {}) is target and p["currently_attached"]
    }
    for ref in vm["VBDs"]:
        vbd = db.tables["VBD"].get(ref)
        vdi = db.tables["VDI"].get(vbd["VDI"]) if vbd and not vbd["empty"] else None
        if vdi is not None and vdi["SR"] not in plugged:
            what = vdi["name_label"] or "a disk"
            name = f"{bare} {vm['name_label']} on {target.get('name_label')}"
            watch.blame("I8", f"{name}, which has no access to {what}")


def of_host(watch: Watch, bare: str, address: str, params: Sequence[Any]) -> None:
    """host.disable and host.enable, and the mark: only of members that the manifest puts into maintenance, or that
    xenrec itself disabled (I5), and right after a look (I7)."""
    db = watch.recorded(address)
    if db is None or params[1] not in db.tables["host"]:
        return
    record = db.tables["host"][params[1]]
    host = next(h for h in watch.lab.hosts.values() if h.uuid == record["uuid"])
    if bare.endswith("_other_config"):
        if params[2] != MARK:
            watch.blame("I5", f"{bare} {host.name}: {params[2]} is none of its keys")
        return
    if watch.sight.read.get(("host", str(params[1])), -1) <= watch.sight.written:
        watch.blame("I7", f"{bare} {host.name} without reading it after its last write")
    if bare == "host.disable":
        member = next((m for m in watch.wanted.members if m.name == host.name), None)
        if member is None or member.state is not MemberState.MAINTENANCE:
            watch.blame("I5", f"disables {host.name}, which is not declared in maintenance")
        if next(iter(db.tables["pool"].values()))["master"] == params[1]:
            watch.blame("I5", f"disables {host.name}, which is the master")
    elif MARK not in record["other_config"]:
        watch.blame("I5", f"enables {host.name}, which somebody else disabled")


def maintained(watch: Watch, vm: Mapping[str, Any], db: Any, *, all_vms: bool = False) -> bool:
    """It runs on a member in maintenance; with `all_vms`, one whose entry lets all VMs be moved."""
    name = db.tables["host"].get(vm["resident_on"], {}).get("name_label")
    return any(
        m.name == name and m.state is MemberState.MAINTENANCE and (m.evacuate_all or not all_vms)
        for m in watch.wanted.members
    )


def second_master(watch: Watch, loser: LabHost, winner: LabHost | None) -> None:
    """A master is told to follow another: that one acts, too, and nothing runs on the loser or on who follows it that
    its toolstack would kill when it starts, unless a person said that it gives way."""
    if winner is None or winner.name not in watch.sight.acts_since:
        watch.blame("I2", f"points {loser.name}, which acts as master, at one that does not")
        return
    behind = [h for h in watch.lab.hosts.values() if h is loser or h.role == f"slave:{loser.address}"]
    running = sorted(d.name for h in behind for d in watch.lab.world.boxes[h.name].domains.values())
    if running and loser.name not in watch.yields:
        watch.blame("I4", f"points the master {loser.name} at {winner.name}, which may kill {running}")
