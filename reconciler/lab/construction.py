"""What a lab is made of: a seed's tables as the release and the accounts have them, its hosts, and what runs there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from reconciler.lab import roles
from reconciler.lab.database import Database, Snapshot
from reconciler.lab.guests import Guests, networks
from reconciler.lab.hosts import LabHost
from reconciler.lab.physical import Box
from reconciler.lab.records import disks_of

if TYPE_CHECKING:
    from reconciler.lab.engine import Lab

Tables = dict[str, dict[str, Any]]


def with_groups(tables: Tables) -> Tables:
    """The tables of a release that has VM groups: each knows its VMs."""
    known = tables["VM_group"]
    vms = {ref: {**r, "groups": [g for g in r.get("groups", ()) if g in known]} for ref, r in tables["VM"].items()}
    members = {g: [ref for ref, r in vms.items() if g in r["groups"]] for g in known}
    return {**tables, "VM": vms, "VM_group": {g: {**r, "VMs": members[g]} for g, r in known.items()}}


def without_groups(tables: Tables) -> Tables:
    """The tables of a release that has no VM groups."""
    if any("groups" in record for record in tables["VM"].values()):
        bare = {ref: {k: v for k, v in r.items() if k != "groups"} for ref, r in tables["VM"].items()}
        tables = {**tables, "VM": bare}
    return {**tables, "VM_group": {}}


def with_addresses(tables: Tables, guests: Guests) -> Tables:
    """The tables with the addresses that running guests have reported."""
    reported = {r["guest_metrics"]: r["uuid"] for r in tables["VM"].values()}
    told = {
        ref: r if r["networks"] or ref not in reported else {**r, "networks": networks(guests.of(reported[ref]))}
        for ref, r in tables["VM_guest_metrics"].items()
    }
    return {**tables, "VM_guest_metrics": told}


def with_subjects(tables: Tables, accounts: Mapping[str, tuple[str, str]]) -> Tables:
    """The tables of a pool that has joined a directory, in which the accounts are."""
    joined = {"external_auth_type": "AD", "external_auth_service_name": "lab"}
    subjects = dict(roles.subject(name, role) for name, (_, role) in accounts.items())
    hosts = {ref: {**record, **joined} for ref, record in tables["host"].items()}
    return {**tables, "host": hosts, "subject": {**tables["subject"], **subjects}}


def hosts_of(lab: Lab, tables: Tables, memory: Mapping[str, int], snapshot: Snapshot) -> Iterator[LabHost]:
    """Each host, with its box in the physical world; `memory` by ref, where it is not what the database says."""
    pool = next(iter(tables["pool"].values()))
    cabled: dict[str, set[str]] = {}
    for pbd in tables["PBD"].values():
        if pbd["SR"] in tables["SR"]:
            cabled.setdefault(pbd["host"], set()).add(tables["SR"][pbd["SR"]]["uuid"])
    names = [r["name_label"] for r in tables["host"].values()]
    master_address = tables["host"][pool["master"]]["address"]
    for ref, record in tables["host"].items():
        name = record["name_label"]
        if names.count(name) > 1 or name in ("client", "storage", "*", ""):
            name = f"{name}-{record['uuid'][:4]}"
        total = tables["host_metrics"].get(record["metrics"], {}).get("memory_total", 0)
        lab.world.boxes[name] = Box(name, memory=memory.get(ref, total), sees=frozenset(cabled.get(ref, ())))
        role = "master" if ref == pool["master"] else f"slave:{master_address}"
        host = LabHost(lab, name, record["uuid"], record["address"], role, snapshot)
        host.ha_armed = pool["ha_enabled"]
        yield host


def populate(lab: Lab, tables: Tables) -> None:
    """Every VM that is recorded as running really runs."""
    db = Database(tables, 0)
    by_uuid = {host.uuid: host for host in lab.hosts.values()}
    for record in tables["VM"].values():
        if record["is_control_domain"] or record["power_state"] not in ("Running", "Paused"):
            continue
        host = by_uuid[tables["host"][record["resident_on"]]["uuid"]]
        box = lab.world.boxes[host.name]
        if record["domid"] > 0:
            box.next_domid = max(box.next_domid, record["domid"])
        paused = record["power_state"] == "Paused"
        memory = record["memory_dynamic_min"] + record["memory_overhead"]
        domain = lab.world.start(
            host.name, record["uuid"], record["name_label"], memory, disks_of(db, record), paused=paused
        )
        if record["domid"] > 0:
            domain.domid = record["domid"]
    lab.world.harm.clear()
