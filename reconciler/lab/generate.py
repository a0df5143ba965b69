"""Makes plausible pools of any size: hosts, shared and local storage, networks, VMs with names that mean something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reconciler.lab.database import relink
from reconciler.lab.generate_parts import (
    GIB,
    Builder,
    Tables,
    add_hosts,
    add_iso_sr,
    add_local_sr,
    add_networks,
    add_shared_sr,
    add_template,
    add_vdi,
)
from reconciler.lab.records import guest_metrics
from reconciler.lab.rules import allowed_operations, memory_overhead
from reconciler.lab.schema import NULL

ROLES: tuple[tuple[str, int, int, str], ...] = (
    ("web", 2, 2, "web"),
    ("app", 4, 2, "app"),
    ("db", 8, 4, "db"),
    ("cache", 4, 2, "cache"),
    ("mail", 4, 2, "mail"),
    ("ci", 4, 4, "build"),
    ("dns", 1, 1, "infra"),
    ("log", 4, 2, "infra"),
)
"""(name, GiB, VCPUs, tag)"""


def generate(
    hosts: int = 4,
    vms: int = 24,
    *,
    random_seed: int = 0,
    name: str = "lab",
    first_address: str = "127.0.10.11",
    shared_srs: Sequence[str] = ("san-1", "nfs-1"),
    local_fraction: float = 0.15,
    running_fraction: float = 0.7,
    iso_sr: bool = True,
    memory_per_host: int | None = None,
    cpus: int = 16,
    spare_hosts: int = 1,
) -> Tables:
    """Tables of a pool at rest: master is the first host; memory in bytes.

    About `running_fraction` of the VMs run, spread evenly, each with affinity to its host; `local_fraction` of all, and
    at least one per host where there are enough VMs, have their disk on a local SR; one running VM has a CD from the
    ISO library in its drive. Unless given, memory is such that the VMs of `spare_hosts` lost hosts fit elsewhere.
    Raises ValueError for numbers that make no pool.
    """
    if hosts < 1 or vms < 0:
        raise ValueError(f"{hosts} hosts and {vms} VMs make no pool")
    b = Builder(random_seed)
    sizes = _names(vms)
    memory = memory_per_host or _memory(sizes, hosts, spare_hosts, running_fraction)
    host_refs = add_hosts(b, hosts, first_address, memory, cpus)
    networks = add_networks(b, host_refs)
    srs = [add_shared_sr(b, label, host_refs) for label in shared_srs]
    local = {ref: add_local_sr(b, ref) for ref in host_refs}
    iso = add_iso_sr(b, host_refs) if iso_sr else None
    b.add(
        "pool",
        name_label=name,
        name_description=f"A simulated pool of {hosts} hosts",
        master=host_refs[0],
        default_SR=srs[0] if srs else local[host_refs[0]],
        suspend_image_SR=srs[0] if srs else local[host_refs[0]],
        crash_dump_SR=srs[0] if srs else local[host_refs[0]],
        ha_cluster_stack="xhad",
        other_config={"memory-ratio-hvm": "0.25", "memory-ratio-pv": "0.25"},
    )
    add_template(b)
    _guests(b, sizes, host_refs, srs, local, networks, running_fraction, local_fraction)
    if iso is not None:
        _cd(b, iso)
    for vm in b.tables["VM"].values():
        vm["allowed_operations"] = allowed_operations(vm)
    relink(b.tables)
    return b.tables


def _names(count: int) -> list[tuple[str, int, int, str]]:
    """(name, GiB, VCPUs, tag) of each VM: db01, web-1, app-1, …"""
    made: dict[str, int] = {}
    found = []
    for index in range(count):
        role, size, vcpus, tag = ROLES[index % len(ROLES)]
        made[role] = number = made.get(role, 0) + 1
        label = f"{role}{number:02d}" if role in ("db", "dns") else f"{role}-{number}"
        found.append((label, size, vcpus, tag))
    return found


def _memory(sizes: list[tuple[str, int, int, str]], hosts: int, spare: int, running: float) -> int:
    """Bytes per host so that what runs fits on the hosts that are left, with a quarter to spare."""
    total = sum(size for _, size, _, _ in sizes) * max(0.5, running)
    left = max(1, hosts - spare)
    gib = max(32, int(total / left * 1.4) + 16)
    return -(-gib // 16) * 16 * GIB


def _guests(
    b: Builder,
    sizes: list[tuple[str, int, int, str]],
    hosts: list[str],
    srs: list[str],
    local: dict[str, str],
    networks: list[str],
    running_fraction: float,
    local_fraction: float,
) -> None:
    count = len(sizes)
    running = _spread(count, running_fraction)
    homes = _homes(running, hosts)
    on_local = _local_ones(running, homes, hosts, round(count * local_fraction)) if srs else set(range(count))
    domids = dict.fromkeys(hosts, 1)
    for index, (label, size, vcpus, tag) in enumerate(sizes):
        host = homes[index]
        sr = local[host] if index in on_local else srs[0 if index % 3 else -1] if len(srs) > 1 else srs[0]
        runs = running[index]
        ref = _guest(b, label, size, vcpus, tag, host if runs else None, host, networks[0], domids)
        disk = add_vdi(b, sr, f"{label}-disk", (size + 18) * GIB)
        if runs:
            b.tables["VDI"][disk]["sm_config"] = {f"host_{host}": "RW"}
        b.add(
            "VBD",
            VM=ref,
            VDI=disk,
            device="xvda",
            userdevice="0",
            bootable=True,
            mode="RW",
            type="Disk",
            currently_attached=runs,
        )
        b.add("VBD", VM=ref, userdevice="3", device="xvdd", mode="RO", type="CD", empty=True, currently_attached=runs)


def _homes(running: list[bool], hosts: list[str]) -> list[str]:
    """The host of each VM: those that run in turn, those that don't in turn too."""
    turns = {True: 0, False: len(hosts) // 2}
    found = []
    for runs in running:
        found.append(hosts[turns[runs] % len(hosts)])
        turns[runs] += 1
    return found


def _local_ones(running: list[bool], homes: list[str], hosts: list[str], wanted: int) -> set[int]:
    """Which VMs have their disk on their host's local SR: each host's last running one, then earlier ones."""
    share: dict[str, list[int]] = {host: [] for host in hosts}
    for index, runs in enumerate(running):
        if runs:
            share[homes[index]].append(index)
    found: set[int] = set()
    if len(running) >= 3 * len(hosts):
        wanted = max(wanted, len(hosts))
    while len(found) < wanted and any(share.values()):
        for host in hosts:
            if share[host] and len(found) < wanted:
                found.add(share[host].pop())
    return found


def _spread(count: int, fraction: float) -> list[bool]:
    """Which of `count` VMs run: the fraction, evenly over all."""
    found, owed = [], 0.0
    for _ in range(count):
        owed += fraction
        found.append(owed >= 0.999)
        if found[-1]:
            owed -= 1.0
    return found


def _guest(
    b: Builder,
    label: str,
    size: int,
    vcpus: int,
    tag: str,
    runs_on: str | None,
    home: str,
    network: str,
    domids: dict[str, int],
) -> str:
    bytes_ = size * GIB
    metrics = b.add("VM_metrics", memory_actual=bytes_ if runs_on else 0, VCPUs_number=vcpus if runs_on else 0)
    values: dict[str, Any] = {
        "name_label": label,
        "affinity": home,
        "memory_static_max": bytes_,
        "memory_dynamic_max": bytes_,
        "memory_dynamic_min": bytes_,
        "memory_static_min": bytes_ // 2,
        "memory_target": bytes_,
        "VCPUs_max": vcpus,
        "VCPUs_at_startup": vcpus,
        "HVM_boot_policy": "BIOS order",
        "HVM_boot_params": {"order": "cd"},
        "domain_type": "hvm",
        "domid": -1,
        "metrics": metrics,
        "tags": [tag],
        "platform": {"acpi": "1", "apic": "true", "pae": "true", "nx": "true"},
    }
    if runs_on is not None:
        tools = b.add("VM_guest_metrics")
        b.tables["VM_guest_metrics"][tools].update(guest_metrics(b.uuid(), 1_699_990_000))
        domids[runs_on] += 1
        values |= {
            "power_state": "Running",
            "resident_on": runs_on,
            "domid": domids[runs_on],
            "guest_metrics": tools,
        }
    ref = b.add("VM", **values)
    b.tables["VM"][ref]["memory_overhead"] = memory_overhead(b.tables["VM"][ref])
    mac = ":".join(f"{b.rng.getrandbits(8):02x}" for _ in range(3))
    b.add("VIF", VM=ref, network=network, device="0", MAC=f"02:5a:00:{mac}", MTU=1500, currently_attached=bool(runs_on))
    return ref


def _cd(b: Builder, iso: str) -> None:
    """One running VM has a disc in its drive."""
    tables = b.tables
    disc = next(ref for ref, r in tables["VDI"].items() if r["SR"] == iso)
    for vbd in tables["VBD"].values():
        vm = tables["VM"][vbd["VM"]]
        if vbd["type"] == "CD" and vm["resident_on"] != NULL:
            vbd.update(empty=False, VDI=disc)
            return
