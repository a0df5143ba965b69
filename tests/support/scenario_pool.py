"""pool.yaml of a scenario -> a lab: a small explicit pool in which every VM is named.

    hosts: 3                  # xen01, xen02, …; xen01 is master
    memory: 32                # GiB of each host, or {xen01: 64, xen02: 16}
    release: "24.16"          # or classic
    srs: [san-1]              # shared ones; there is also an "ISO library", and "Local storage" on every host
    plugged: {san-2: [xen02]} # only these hosts have a PBD for it
    networks: {dmz: [xen02]}  # further networks, and the hosts that have a PIF on them
    default_sr: san-1         # SR name, or local@xen01; also suspend_sr
    ha: true                  # XAPI's own HA
    pool_other_config: {…}
    disabled: [xen02]         # hosts
    cpu: {xen03: AuthenticAMD} # vendor of these hosts' CPUs, else GenuineIntel
    timing: {host_boot: 60}   # seconds, over the lab's own
    vms:
      - {name: db01, at: xen01}
      - {name: web1, state: halted, home: xen02, gib: 8, sr: local@xen02, cd: debian-12.iso, tags: [web], order: 1,
         start_delay: 5, shutdown_delay: 5, vapp: shop, gpu: true, booted_on: AuthenticAMD, blocked: {start: why},
         network: dmz, uuid: …, guest: {tools: never, ports: {5432: 20}, pages: {/health: 503}}}
      - {name: golden, state: halted, kind: template}     # or snapshot

A VM runs on the host `at`, which is also its home unless `home` says otherwise (none: no home). Its uuid, unless
given, is its number in the list. What a guest does comes so many seconds after its start.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from reconciler.lab import NULL, Lab, Release, Seed, Timing
from reconciler.lab.database import relink
from reconciler.lab.generate import generate
from reconciler.lab.generate_parts import GIB, Builder, add_vdi
from reconciler.lab.guests import NEVER
from reconciler.lab.records import guest_metrics
from reconciler.lab.rules import GUEST_FEATURES, allowed_operations, memory_overhead
from tests.support.scenario_hardware import Hardware

START = 1_795_316_400.0
"""2026-11-22 03:00:00 UTC: virtual time when every scenario starts."""

KEYS = {
    *("hosts", "memory", "release", "srs", "plugged", "networks", "default_sr", "suspend_sr", "ha"),
    *("pool_other_config", "disabled", "timing", "vms", "cpu", "gpus", "sriov", "addresses"),
}
VM_KEYS = {
    *("name", "at", "home", "state", "gib", "sr", "cd", "tags", "order", "start_delay", "blocked", "network"),
    *("uuid", "kind", "vapp", "shutdown_delay", "guest", "gpu", "usb", "booted_on"),
}


def make_lab(told: Mapping[str, Any]) -> Lab:
    """The lab that a pool.yaml tells. Raises ValueError for a key that it does not know."""
    if unknown := set(told) - KEYS:
        raise ValueError(f"pool.yaml: unknown keys {sorted(unknown)}")
    memory = told.get("memory", 32)
    tables = generate(
        told.get("hosts", 3),
        0,
        shared_srs=told.get("srs", ["san-1"]),
        memory_per_host=(memory if isinstance(memory, int) else 32) * GIB,
    )
    made = _Pool(tables)
    if not isinstance(memory, int):
        for host, gib in memory.items():
            metrics = tables["host"][made.hosts[host]]["metrics"]
            tables["host_metrics"][metrics]["memory_total"] = gib * GIB
    for host, vendor in told.get("cpu", {}).items():
        record = tables["host"][made.hosts[host]]
        record["cpu_info"] = {**record["cpu_info"], "vendor": vendor}
    for sr, hosts in told.get("plugged", {}).items():
        made.keep_plugs(sr, hosts)
    for host, number in told.get("gpus", {}).items():
        made.hardware.add_gpus(made.hosts[host], number)
    for network, functions in told.get("sriov", {}).items():
        made.hardware.add_sriov(network, {made.hosts[host]: number for host, number in functions.items()})
    for network, hosts in told.get("networks", {}).items():
        made.add_network(network, hosts, told.get("addresses", {}).get(network, ()))
    for number, vm in enumerate(told.get("vms", []), start=1):
        made.add_vm(number, vm)
    _pool_fields(made, told)
    relink(tables)
    lab = Lab(
        Seed(tables),
        timing=Timing(**told.get("timing", {})),
        release=Release(str(told.get("release", "24.16"))),
        start=START,
        random_seed=1,  # not that of the tables: the same seed would make the same refs again
    )
    for host in told.get("disabled", []):
        _disable(lab, made.hosts[host])
    for uuid, guest in made.guests.items():
        _guest(lab, uuid, guest)
    return lab


def _guest(lab: Lab, uuid: str, told: Mapping[str, Any]) -> None:
    guest = lab.guests.of(uuid)
    guest.tools = NEVER if told.get("tools") == "never" else told.get("tools", guest.tools)
    guest.ports = {port: NEVER if after == "never" else after for port, after in told.get("ports", {}).items()}
    guest.pages = dict(told.get("pages", {}))


def _pool_fields(made: _Pool, told: Mapping[str, Any]) -> None:
    pool = next(iter(made.tables["pool"].values()))
    if "default_sr" in told:
        pool["default_SR"] = made.sr(told["default_sr"])
    if "suspend_sr" in told:
        pool["suspend_image_SR"] = made.sr(told["suspend_sr"])
    pool["ha_enabled"] = bool(told.get("ha", False))
    pool["other_config"] = {**pool["other_config"], **told.get("pool_other_config", {})}


def _disable(lab: Lab, ref: str) -> None:
    """As `xe host-disable` does; a lab starts with every host enabled."""
    for host in lab.hosts.values():
        if host.toolstack is not None and host.toolstack.db is not None:
            host.toolstack.db.update("host", ref, enabled=False)


class _Pool:
    """The tables of a generated pool without VMs, by names."""

    def __init__(self, tables: dict[str, dict[str, dict[str, Any]]]) -> None:
        self.tables = tables
        self.build = Builder(7)
        self.build.tables = tables
        self.hosts = {r["name_label"]: ref for ref, r in tables["host"].items()}
        self.domids = dict.fromkeys(self.hosts.values(), 1)
        self.guests: dict[str, Mapping[str, Any]] = {}
        self.hardware = Hardware(self.build, tables)

    def sr(self, name: str | None) -> str:
        """Ref of an SR: by name, local@HOST, or none."""
        if name is None:
            return NULL
        label, _, host = name.partition("@")
        label = "Local storage" if label == "local" else label
        for ref, record in self.tables["SR"].items():
            plugged = {p["host"] for p in self.tables["PBD"].values() if p["SR"] == ref}
            if record["name_label"] == label and (not host or self.hosts[host] in plugged):
                return ref
        raise ValueError(f"pool.yaml: no SR is called {name}")

    def keep_plugs(self, sr: str, hosts: list[str]) -> None:
        """Only these hosts are connected to it."""
        ref, kept = self.sr(sr), {self.hosts[h] for h in hosts}
        for pbd, record in list(self.tables["PBD"].items()):
            if record["SR"] == ref and record["host"] not in kept:
                del self.tables["PBD"][pbd]

    def add_network(self, name: str, hosts: list[str], addressed: Collection[str]) -> None:
        """A network with a PIF on these hosts, some of which have an address there."""
        ref = self.build.add("network", name_label=name, bridge=f"br-{name}", MTU=1500, managed=True)
        for number, host in enumerate(hosts, start=1):
            self.build.add(
                "PIF",
                device="eth2",
                network=ref,
                host=self.hosts[host],
                MTU=1500,
                VLAN=-1,
                currently_attached=True,
                IP=f"10.77.0.{number}" if host in addressed else "",
            )

    def _network(self, name: str | None) -> str:
        for ref, record in self.tables["network"].items():
            if name in (None, record["name_label"]):
                return ref
        raise ValueError(f"pool.yaml: no network is called {name}")

    def add_vm(self, number: int, told: Mapping[str, Any]) -> None:
        """One VM with its disk, drive and interface."""
        if unknown := set(told) - VM_KEYS:
            raise ValueError(f"pool.yaml: unknown keys of a VM {sorted(unknown)}")
        b, name, gib = self.build, told["name"], told.get("gib", 4)
        state = told.get("state", "running" if "at" in told else "halted").capitalize()
        host = self.hosts[told["at"]] if "at" in told else NULL
        runs = state in ("Running", "Paused")
        home = told.get("home", told.get("at"))
        if runs:
            self.domids[host] += 1
        tools = b.add("VM_guest_metrics") if runs and told.get("guest", {}).get("tools") != "never" else NULL
        if tools != NULL:
            self.tables["VM_guest_metrics"][tools].update(guest_metrics(b.uuid(), START - 10_000))
        ref = b.add(
            "VM",
            name_label=name,
            power_state=state,
            resident_on=host if runs else NULL,
            domid=self.domids[host] if runs else -1,
            affinity=self.hosts[home] if home not in (None, "none") else NULL,
            memory_static_max=gib * GIB,
            memory_dynamic_max=gib * GIB,
            memory_dynamic_min=gib * GIB,
            memory_static_min=gib * GIB // 2,
            memory_target=gib * GIB,
            VCPUs_max=2,
            VCPUs_at_startup=2,
            HVM_boot_policy="BIOS order",
            domain_type="hvm",
            metrics=b.add("VM_metrics"),
            guest_metrics=tools,
            tags=told.get("tags", []),
            order=told.get("order", 0),
            start_delay=told.get("start_delay", 0),
            shutdown_delay=told.get("shutdown_delay", 0),
            appliance=self._vapp(told["vapp"]) if "vapp" in told else NULL,
            blocked_operations=told.get("blocked", {}),
            is_a_template=told.get("kind") == "template",
            is_a_snapshot=told.get("kind") == "snapshot",
        )
        vm = self.tables["VM"][ref]
        vm["uuid"] = told.get("uuid", f"00000000-0000-4000-8000-{number:012d}")
        vm["memory_overhead"] = memory_overhead(vm)
        self.guests[vm["uuid"]] = told.get("guest", {})
        sr = self.sr(told.get("sr", "san-1"))
        self._drives(ref, name, sr, gib, told.get("cd"), host if runs else None)
        if state == "Suspended":
            vm["suspend_VDI"] = add_vdi(b, sr, f"{name} memory image", gib * GIB)
        b.add("VIF", VM=ref, network=self._network(told.get("network")), device="0", MTU=1500, currently_attached=runs)
        if told.get("gpu"):
            self.hardware.give_gpu(ref, told["gpu"], host if runs else None)
        if told.get("usb"):
            self.hardware.give_usb(ref, self.hosts[told["usb"]])
        if "booted_on" in told:
            vm["last_boot_CPU_flags"] = {"vendor": told["booted_on"], "features": ""}
        vm["allowed_operations"] = allowed_operations(vm, GUEST_FEATURES if runs and tools == NULL else ())

    def _vapp(self, name: str) -> str:
        for ref, record in self.tables["VM_appliance"].items():
            if record["name_label"] == name:
                return ref
        return self.build.add("VM_appliance", name_label=name)

    def _drives(self, vm: str, name: str, sr: str, gib: int, cd: str | None, host: str | None) -> None:
        b = self.build
        disk = add_vdi(b, sr, f"{name}-disk", (gib + 18) * GIB)
        if host is not None:
            self.tables["VDI"][disk]["sm_config"] = {f"host_{host}": "RW"}
        for device, kind, vdi in (("0", "Disk", disk), ("3", "CD", self._iso(cd))):
            b.add(
                "VBD",
                VM=vm,
                VDI=vdi,
                userdevice=device,
                device=f"xvd{'abcd'[int(device)]}",
                bootable=kind == "Disk",
                mode="RW" if kind == "Disk" else "RO",
                type=kind,
                empty=vdi == NULL,
                currently_attached=host is not None,
            )

    def _iso(self, name: str | None) -> str:
        if name is None:
            return NULL
        return next(ref for ref, r in self.tables["VDI"].items() if r["name_label"] == name)
