"""The manifest that describes a served lab: what its pool was when the lab started, as something to declare."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from reconciler.lab.engine import Lab
from reconciler.lab.served_client import PASSWORD
from reconciler.lab.tls import Identity

AGENT = "fence_xenrec_lab"
STATES = {"Running": "running", "Halted": "halted", "Suspended": "suspended"}
PATTERN_SIGNS = re.compile(r"[*?\[\]]")
HEADER = """\
# The pool of the lab in {directory}, as it was when the lab started.
# `xenrec plan` with this file shows nothing to do until you break something: `xenrec lab --help`.
"""


def manifest(lab: Lab, identities: Mapping[str, Identity], port_suffix: str, directory: Path) -> str:
    """YAML text of the whole pool. Call it before anything happens to the lab.

    `port_suffix` is "" or ":8443"; `directory` is the lab's, absolute.
    """
    tables = next(iter(lab.hosts.values())).disk.tables
    pool = next(iter(tables["pool"].values()))
    hosts = tables["host"]
    labels = Counter(record["name_label"] for record in hosts.values())
    names = {
        ref: record["name_label"] if labels[record["name_label"]] == 1 and record["name_label"] else record["uuid"]
        for ref, record in hosts.items()
    }
    by_uuid = {host.uuid: host for host in lab.hosts.values()}
    members = []
    for ref, record in hosts.items():
        host = by_uuid[record["uuid"]]
        members.append(
            {
                "name": names[ref],
                "address": f"{host.address}{port_suffix}",
                "fingerprint": identities[host.name].fingerprint,
                "fencing": {"agent": AGENT, "options": {"plug": host.name, "lab_dir": str(directory)}},
            }
        )
    successors = [name for ref, name in names.items() if ref != pool["master"]]
    spec: dict[str, Any] = {
        "uuid": pool["uuid"],
        "connection": {"username": "root", "password": {"file": str(directory / PASSWORD)}},
        "members": members,
        "master": {"host": names[pool["master"]], **({"successors": successors} if successors else {})},
    }
    storage = _storage(pool, tables["SR"])
    if storage:
        spec["storage"] = storage
    spec["policy"] = {
        "levels": {"attended": "crown", "unattended": "power"},
        "brake": {"minHealthy": "51%", "maxHostsPerRun": 1},
    }
    spec["virtualMachines"] = _wishes(guests(lab), names)
    document = {
        "apiVersion": "xenrec/v1",
        "kind": "Pool",
        "metadata": {"name": _pool_name(pool["name_label"])},
        "spec": spec,
    }
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return HEADER.format(directory=directory) + text


class _Dumper(yaml.SafeDumper):
    """Lists indented under their key, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Never indentless."""
        super().increase_indent(flow, False)


def _storage(pool: Mapping[str, Any], srs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    labels = Counter(record["name_label"] for record in srs.values())
    found = {}
    for key, field in (("defaultSR", "default_SR"), ("suspendImageSR", "suspend_image_SR")):
        record = srs.get(pool[field])
        if record is not None:
            unique = labels[record["name_label"]] == 1 and record["name_label"]
            found[key] = record["name_label"] if unique else record["uuid"]
    return found


def guests(lab: Lab) -> list[Mapping[str, Any]]:
    """The records of the VMs that a manifest can be about: no templates, no snapshots, no control domains."""
    return [
        record
        for record in next(iter(lab.hosts.values())).disk.tables["VM"].values()
        if not (record["is_a_template"] or record["is_a_snapshot"] or record["is_control_domain"])
    ]


def _wishes(guests: list[Mapping[str, Any]], names: Mapping[str, str]) -> list[dict[str, Any]]:
    # A name that a template or a snapshot bears too is no problem: a manifest means guests only.
    labels = Counter(record["name_label"] for record in guests)
    entries: list[dict[str, Any]] = []
    for record in sorted(guests, key=lambda r: (r["name_label"], r["uuid"])):
        label = record["name_label"]
        plain = labels[label] == 1 and label.isprintable() and label and not PATTERN_SIGNS.search(label)
        entry: dict[str, Any] = {"name": label} if plain else {"uuid": record["uuid"]}
        entry["state"] = STATES.get(record["power_state"], "as-is")
        if record["affinity"] in names:
            entry["home"] = names[record["affinity"]]
        entries.append(entry)
    return entries


def _pool_name(label: str) -> str:
    """A pool's name as a manifest takes it: letters, digits, `.`, `_`, `-`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("._-")[:63] or "lab"
