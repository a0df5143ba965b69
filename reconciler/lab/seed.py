"""What a lab starts from: the tables of a pool database, and which domains run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.lab.database import Record, relink
from reconciler.lab.schema import NULL, SCHEMA, blank, normalise

Tables = dict[str, dict[str, Record]]


@dataclass
class Seed:
    """Tables in the shape of get_all_records ({class: {ref: record}}, ints as ints), normalised when made.

    Every VM that is Running or Paused on a host and is no control domain has a domain there.
    """

    tables: Tables
    memory: Mapping[str, int] = field(default_factory=dict)
    """Host ref -> physical bytes, where it is not host_metrics.memory_total."""

    @classmethod
    def generate(cls, hosts: int = 4, vms: int = 24, **options: Any) -> Seed:
        """A plausible pool of any size: see generate.generate for the options."""
        from reconciler.lab.generate import generate  # noqa: PLC0415 - generate makes Seeds

        return cls(generate(hosts, vms, **options))

    @classmethod
    def from_file(cls, path: str | Path, *, first_address: str = "127.0.10.11") -> Seed:
        """A pool database file. Raises OSError, or ValueError saying what is wrong with it."""
        try:
            raw = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: not JSON: {error}") from error
        return cls.from_tables(raw, first_address=first_address, source=str(path))

    @classmethod
    def from_tables(cls, raw: Any, *, first_address: str = "127.0.10.11", source: str = "database") -> Seed:
        """Tables as read from elsewhere: unknown classes and fields are left out, absent ones are at their default,
        ints that are strings become ints, and hosts get addresses from `first_address` on, the master first.

        Raises ValueError saying what is wrong.
        """
        if not isinstance(raw, dict) or not all(isinstance(t, dict) for t in raw.values()):
            raise ValueError(
                f"{source}: not a pool database: an object of classes, each an object of records, is needed"
            )
        tables: Tables = {c: {} for c in SCHEMA}
        for cls_name, fields in SCHEMA.items():
            if cls_name in ("session", "task", "message"):
                continue
            for ref, given in raw.get(cls_name, {}).items():
                if not isinstance(given, dict):
                    raise ValueError(f"{source}: {cls_name} {ref}: not a record")
                record = blank(cls_name)
                for name, f in fields.items():
                    if name in given:
                        try:
                            if not (f.default == "" and given[name] == ""):
                                record[name] = normalise(f.type, given[name])
                        except (TypeError, ValueError, AttributeError) as error:
                            text = f"{source}: {cls_name} {ref}: {name}: {given[name]!r} is no {f.type}"
                            raise ValueError(text) from error
                tables[cls_name][ref] = record
        for needed in ("pool", "host"):
            if not tables[needed]:
                raise ValueError(f"{source}: not a pool database: it has no {needed}")
        _repair(tables)
        _readdress(tables, first_address)
        relink(tables)
        return cls(tables)


def _repair(tables: Tables) -> None:
    """Make a database of a pool that was recorded at some moment one of a pool at rest."""
    hosts = tables["host"]
    pool = next(iter(tables["pool"].values()))
    if pool["master"] not in hosts:
        pool["master"] = next(iter(hosts))
    for record in hosts.values():
        if record["metrics"] not in tables["host_metrics"]:
            ref = f"OpaqueRef:metrics-{record['uuid']}"
            tables["host_metrics"][ref] = {**blank("host_metrics"), "uuid": record["uuid"], "memory_total": 64 << 30}
            record["metrics"] = ref
        tables["host_metrics"][record["metrics"]]["live"] = True
        record["enabled"] = True
        record["current_operations"] = {}
    for vm in tables["VM"].values():
        vm["current_operations"] = {}
        vm["scheduled_to_be_resident_on"] = NULL
        if vm["power_state"] in ("Running", "Paused") and vm["resident_on"] not in hosts:
            vm["power_state"] = "Halted"
        if vm["power_state"] in ("Halted", "Suspended"):
            vm["resident_on"] = NULL
            vm["domid"] = -1
    running = {ref for ref, vm in tables["VM"].items() if vm["power_state"] in ("Running", "Paused")}
    locks: dict[str, dict[str, str]] = {}
    for vbd in tables["VBD"].values():
        vbd["current_operations"] = {}
        attached = vbd["VM"] in running and (vbd["currently_attached"] or vbd["type"] == "Disk")
        vbd["currently_attached"] = attached
        if attached and not vbd["empty"] and vbd["VDI"] in tables["VDI"]:
            host = tables["VM"][vbd["VM"]]["resident_on"]
            locks.setdefault(vbd["VDI"], {})[f"host_{host}"] = "RO" if vbd["mode"] == "RO" else "RW"
    for ref, vdi in tables["VDI"].items():
        kept = {k: v for k, v in vdi["sm_config"].items() if not k.startswith("host_OpaqueRef:")}
        sr = tables["SR"].get(vdi["SR"], {})
        lockable = sr.get("content_type") != "iso" and sr.get("type") != "dummy"
        vdi["sm_config"] = {**kept, **(locks.get(ref, {}) if lockable else {})}


def addresses(first: str, count: int) -> list[str]:
    """`count` loopback addresses from `first` on. Raises ValueError when it is no IPv4 address."""
    parts = [int(p) for p in first.split(".")]
    if len(parts) != 4 or not all(0 <= p <= 255 for p in parts):
        raise ValueError(f"{first}: not an IPv4 address")
    base = (parts[0] << 24) | (parts[1] << 16) | (parts[2] << 8) | parts[3]
    return [".".join(str(((base + n) >> shift) & 255) for shift in (24, 16, 8, 0)) for n in range(count)]


def _readdress(tables: Tables, first: str) -> None:
    master = next(iter(tables["pool"].values()))["master"]
    order = sorted(tables["host"], key=lambda ref: (ref != master, tables["host"][ref]["name_label"], ref))
    for ref, address in zip(order, addresses(first, len(order)), strict=True):
        record = tables["host"][ref]
        for pif in tables["PIF"].values():
            if pif["host"] == ref and pif["management"]:
                pif["IP"] = address
        record["address"] = address
