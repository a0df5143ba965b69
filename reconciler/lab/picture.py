"""Both worlds of a lab as JSON: for status pictures, and for whoever writes a manifest for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.lab.database import Database, Record
from reconciler.lab.records import drives

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.lab.engine import Lab


def describe(lab: Lab) -> dict[str, Any]:
    """The physical world, and the recorded one as an acting master has it (with none: as the newest copy has it).

    `master` names the host whose database this is; `masters` all that act as one now. Times in virtual UTC seconds.
    """
    masters = [h.name for h in lab.masters()]
    source = lab.hosts[masters[0]] if masters else max(lab.hosts.values(), key=lambda h: h.disk.taken_at)
    ts = source.toolstack
    db = ts.db if ts is not None and ts.db is not None else Database.restore(source.disk)
    _, pool = db.pool()
    hosts = db.tables["host"]
    where: dict[str, list[str]] = {}
    for name, domains in lab.running().items():
        for domain in domains:
            where.setdefault(domain.vm, []).append(name)
    return {
        "now": lab.now,
        "release": lab.release.value,
        "pool": {
            "name": pool["name_label"],
            "uuid": pool["uuid"],
            "default_SR": _name(db.tables["SR"], pool["default_SR"]),
            "suspend_image_SR": _name(db.tables["SR"], pool["suspend_image_SR"]),
            "ha_enabled": pool["ha_enabled"],
        },
        "master": source.name if masters else None,
        "masters": masters,
        "hosts": [_host(lab, db, name) for name in lab.hosts],
        "vms": [
            _vm(db, hosts, vm, where.get(vm["uuid"], []))
            for vm in sorted(db.tables["VM"].values(), key=lambda r: (r["name_label"], r["uuid"]))
            if not (vm["is_a_template"] or vm["is_a_snapshot"] or vm["is_control_domain"])
        ],
        "srs": [
            _sr(db, hosts, sr) for sr in sorted(db.tables["SR"].values(), key=lambda r: (r["name_label"], r["uuid"]))
        ],
        "cuts": [list(pair) for pair in lab.world.cuts()],
        "harm": [{"at": h.at, "kind": h.kind, "text": h.text} for h in lab.harm()],
    }


def _name(table: Mapping[str, Record], ref: str) -> str | None:
    record = table.get(ref)
    return record["name_label"] if record is not None else None


def _host(lab: Lab, db: Database, name: str) -> dict[str, Any]:
    host = lab.hosts[name]
    ref = db.by_uuid("host", host.uuid)
    record = db.find("host", ref) if ref is not None else None
    metrics = db.find("host_metrics", record["metrics"]) if record is not None else None
    return {
        "name": name,
        "address": host.address,
        "uuid": host.uuid,
        "power": "on" if host.powered else "off",
        "role": host.role,
        "toolstack": host.toolstack_state,
        "bmc": "answers" if lab.bmc_answers[name] else "silent",
        "enabled": record["enabled"] if record is not None else None,
        "live": metrics["live"] if metrics is not None else None,
        "memory_total": lab.world.boxes[name].memory,
        "database_age": max(0.0, lab.now - host.disk.taken_at),
    }


def _vm(db: Database, hosts: Mapping[str, Record], vm: Record, runs_on: list[str]) -> dict[str, Any]:
    srs = sorted({_name(db.tables["SR"], vdi["SR"]) or "" for _, _, _, vdi in drives(db, vm)})
    return {
        "name": vm["name_label"],
        "uuid": vm["uuid"],
        "power_state": vm["power_state"],
        "resident_on": _name(hosts, vm["resident_on"]),
        "affinity": _name(hosts, vm["affinity"]),
        "runs_on": runs_on,
        "memory": vm["memory_dynamic_max"],
        "tags": list(vm["tags"]),
        "srs": srs,
    }


def _sr(db: Database, hosts: Mapping[str, Record], sr: Record) -> dict[str, Any]:
    pbds = [db.tables["PBD"][ref] for ref in sr["PBDs"] if ref in db.tables["PBD"]]
    return {
        "name": sr["name_label"],
        "uuid": sr["uuid"],
        "type": sr["type"],
        "content_type": sr["content_type"],
        "shared": sr["shared"],
        "hosts": sorted(_name(hosts, p["host"]) or "" for p in pbds),
        "attached": sorted(_name(hosts, p["host"]) or "" for p in pbds if p["currently_attached"]),
    }
