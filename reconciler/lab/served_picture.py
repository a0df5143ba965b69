"""What `xenrec lab status` shows: for every host and VM what is recorded and what physically is, as plain JSON.

Recorded is what each acting master's database says (two masters: two opinions); with no master, what the newest
database on a disk says. Physical is what has power, what is linked, and which domains run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.lab.engine import Lab

Tables = Mapping[str, Mapping[str, Mapping[str, Any]]]


def picture(lab: Lab) -> dict[str, Any]:
    """Both worlds, side by side."""
    opinions = recorded(lab)
    return {
        "pool": lab.pool_name,
        "release": lab.release.value,
        "masters": [host.name for host in lab.masters()],
        "recorded_by": [name for name, _ in opinions],
        "hosts": hosts(lab, opinions),
        "vms": vms(lab, opinions),
        "cuts": [list(pair) for pair in lab.world.cuts()],
        "harm": len(lab.harm()),
    }


def recorded(lab: Lab) -> list[tuple[str, Tables]]:
    """(whose, tables) of every acting master; with none, of the newest database on a disk, marked so."""
    found: list[tuple[str, Tables]] = []
    for host in lab.masters():
        if host.toolstack is not None and host.toolstack.db is not None:
            found.append((host.name, host.toolstack.db.tables))
    if found:
        return found
    newest = max(lab.hosts.values(), key=lambda host: host.disk.taken_at)
    return [(f"{newest.name}'s disk", newest.disk.tables)]


def hosts(lab: Lab, opinions: list[tuple[str, Tables]]) -> list[dict[str, Any]]:
    """One entry a host."""
    by_address = {host.address: host.name for host in lab.hosts.values()}
    domains = lab.running()
    entries = []
    for host in lab.hosts.values():
        follows = host.role.removeprefix("slave:")
        role = host.role if follows == host.role else f"follows {by_address.get(follows, follows)}"
        stack = host.toolstack
        entries.append(
            {
                "name": host.name,
                "address": host.address,
                "power": "on" if host.powered else "off",
                "toolstack": host.toolstack_state,
                "role": role,
                "emergency": stack is not None and stack.emergency,
                "running": len(domains[host.name]),
                "odd": odd(lab, host.name),
                "bmc": "silent" if not lab.bmc_answers[host.name] else "lies" if lab.bmc_lies[host.name] else "answers",
                "recorded": [_host_record(tables, host.uuid) for _, tables in opinions],
            }
        )
    return entries


def odd(lab: Lab, name: str) -> list[str]:
    """What else is wrong with a host, in words."""
    host, box = lab.hosts[name], lab.world.boxes[name]
    found = []
    if host.slow != 1.0:
        found.append(f"{host.slow:g} times as slow")
    if box.skew:
        found.append(f"clock {box.skew:+g} s")
    if box.taken:
        found.append("memory full")
    if host.backup_held:
        found.append("gets no backups")
    if host.ha_armed:
        found.append("HA armed")
    return found


def _host_record(tables: Tables, uuid: str) -> dict[str, Any]:
    for record in tables["host"].values():
        if record["uuid"] == uuid:
            metrics = tables["host_metrics"].get(record["metrics"], {})
            return {"known": True, "live": bool(metrics.get("live")), "enabled": bool(record["enabled"])}
    return {"known": False, "live": False, "enabled": False}


def vms(lab: Lab, opinions: list[tuple[str, Tables]]) -> list[dict[str, Any]]:
    """One entry a guest, known to a database or running without one; `differs` where the two worlds disagree."""
    physical: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for host, domains in lab.running().items():
        for domain in domains:
            physical.setdefault(domain.uuid, []).append(host)
            names[domain.uuid] = domain.name
    said: list[dict[str, tuple[str, str]]] = []
    for _, tables in opinions:
        labels = {ref: record["name_label"] for ref, record in tables["host"].items()}
        opinion: dict[str, tuple[str, str]] = {}
        for record in tables["VM"].values():
            if record["is_a_template"] or record["is_a_snapshot"] or record["is_control_domain"]:
                continue
            names.setdefault(record["uuid"], record["name_label"])
            opinion[record["uuid"]] = (record["power_state"], labels.get(record["resident_on"], ""))
        said.append(opinion)
    entries = []
    for uuid, name in sorted(names.items(), key=lambda item: (item[1], item[0])):
        where = physical.get(uuid, [])
        words = [opinion.get(uuid, ("unknown", "")) for opinion in said]
        entries.append(
            {
                "uuid": uuid,
                "name": name,
                "recorded": [f"{state} on {host}" if host else state for state, host in words],
                "physical": where,
                "differs": any(_differs(state, host, where) for state, host in words) or len(where) > 1,
            }
        )
    return entries


def _differs(state: str, host: str, where: list[str]) -> bool:
    if state in ("Running", "Paused"):
        return where != [host]
    return bool(where)
