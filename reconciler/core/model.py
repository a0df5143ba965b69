"""The pool as values: what XAPI recorded, typed, with ints as ints and null refs as None.

Names are XenAPI's. Desired and observed pools are the same type, so that a comparison is field by field and what
nobody declared cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from reconciler.core.devices import Devices

Ref = str
"""An opaque reference of one XAPI database. It means nothing after a change of database: uuids do."""


class PowerState(StrEnum):
    """XenAPI's vm_power_state, spelled as on the wire."""

    HALTED = "Halted"
    PAUSED = "Paused"
    RUNNING = "Running"
    SUSPENDED = "Suspended"


@dataclass(frozen=True, slots=True)
class Pool:
    """The one pool record."""

    ref: Ref
    uuid: str
    name: str
    master: Ref | None
    default_sr: Ref | None
    suspend_image_sr: Ref | None
    ha_enabled: bool = False
    wlb_enabled: bool = False
    other_config: Mapping[str, str] = field(default_factory=dict)
    current_operations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Host:
    """A host record joined with its host_metrics; memory in bytes.

    `live` is XAPI's opinion and proves nothing: after a master start it is wrong in either direction
    (recordings 11 and 21; xapi_host.ml:is_host_alive).
    """

    ref: Ref
    uuid: str
    name: str
    address: str
    enabled: bool
    live: bool
    memory_total: int
    memory_overhead: int
    cpus: int = 0
    product_version: str = ""
    xapi_version: str = ""
    hvm_capable: bool = True
    cpu_vendor: str = ""
    cpu_features_hvm: str = ""
    """CPU features that it offers to HVM guests, as hex words joined by hyphens; "" where it does not tell."""
    cpu_features_pv: str = ""
    iommu: bool | None = None
    """It can pass hardware through; None where it does not tell."""
    current_operations: tuple[str, ...] = ()
    other_config: Mapping[str, str] = field(default_factory=dict)

    @property
    def leaving(self) -> tuple[str, ...]:
        """What somebody does to empty or restart it: nothing is started on such a host."""
        return tuple(o for o in self.current_operations if o in ("evacuate", "shutdown", "reboot", "apply_updates"))


@dataclass(frozen=True, slots=True)
class Vm:
    """A VM record; memory in bytes, delays in seconds."""

    ref: Ref
    uuid: str
    name: str
    power_state: PowerState
    resident_on: Ref | None
    affinity: Ref | None
    scheduled_on: Ref | None = None
    is_template: bool = False
    is_snapshot: bool = False
    is_control_domain: bool = False
    memory_static_max: int = 0
    memory_dynamic_min: int = 0
    memory_dynamic_max: int = 0
    memory_overhead: int = 0
    vcpus: int = 1
    needs_hvm: bool = False
    tags: tuple[str, ...] = ()
    order: int = 0
    start_delay: int = 0
    appliance: Ref | None = None
    ha_restart_priority: str = ""
    suspend_vdi: Ref | None = None
    vbds: tuple[Ref, ...] = ()
    vifs: tuple[Ref, ...] = ()
    pinned_devices: tuple[str, ...] = ()
    """What ties it to one host's hardware: "VGPU", "PCI", "VUSB"."""
    immobile: str = ""
    """Why XAPI would move it to no host, for what its guest is; "" if it would (sheet §4.3)."""
    unstoppable: str = ""
    """Why XAPI could only switch it off; "" if it can be asked to shut down."""
    boot_cpu: Mapping[str, str] = field(default_factory=dict)
    """The CPU on which it was started, as its last_boot_CPU_flags tell: vendor and features."""
    blocked_operations: Mapping[str, str] = field(default_factory=dict)
    current_operations: tuple[str, ...] = ()
    other_config: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_guest(self) -> bool:
        """A real VM: neither template, snapshot nor control domain (I11 forbids acting on those)."""
        return not (self.is_template or self.is_snapshot or self.is_control_domain)


@dataclass(frozen=True, slots=True)
class Vbd:
    """A drive of a VM; `type` is Disk, CD or Floppy; an empty CD drive needs no storage."""

    ref: Ref
    uuid: str
    vm: Ref
    vdi: Ref | None
    userdevice: str
    type: str
    mode: str
    empty: bool
    currently_attached: bool


@dataclass(frozen=True, slots=True)
class Vdi:
    """A virtual disk or an ISO image."""

    ref: Ref
    uuid: str
    name: str
    sr: Ref | None
    sharable: bool = False
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Sr:
    """A storage repository. `shared` is a stored flag; reachability is the PBD of the host in question."""

    ref: Ref
    uuid: str
    name: str
    type: str
    content_type: str
    shared: bool


@dataclass(frozen=True, slots=True)
class Pbd:
    """One host's connection to one SR. `currently_attached` of a dead host stays true (sheet §6)."""

    ref: Ref
    uuid: str
    host: Ref
    sr: Ref
    currently_attached: bool


@dataclass(frozen=True, slots=True)
class Vif:
    """A network interface of a VM."""

    ref: Ref
    uuid: str
    vm: Ref
    network: Ref
    device: str
    currently_attached: bool


@dataclass(frozen=True, slots=True)
class Network:
    """A pool-wide network; without PIFs it is internal to each host, unless XAPI does not manage it."""

    ref: Ref
    uuid: str
    name: str
    bridge: str = ""
    other_config: Mapping[str, str] = field(default_factory=dict)
    managed: bool = True


@dataclass(frozen=True, slots=True)
class Pif:
    """One host's connection to a network."""

    ref: Ref
    uuid: str
    host: Ref
    network: Ref
    device: str
    management: bool
    currently_attached: bool
    is_bond_slave: bool = False
    address: str | None = None
    """Its primary address; "": it has none, None: not known."""


@dataclass(frozen=True)
class PoolState:
    """A whole pool as one master recorded it at one time. Maps are keyed by ref.

    `read_at` is UTC seconds since the epoch on our clock; `read_from` the address of the master that answered.
    """

    pool: Pool
    hosts: Mapping[Ref, Host]
    vms: Mapping[Ref, Vm]
    vbds: Mapping[Ref, Vbd]
    vdis: Mapping[Ref, Vdi]
    srs: Mapping[Ref, Sr]
    pbds: Mapping[Ref, Pbd]
    vifs: Mapping[Ref, Vif]
    networks: Mapping[Ref, Network]
    pifs: Mapping[Ref, Pif]
    devices: Devices = Devices()  # noqa: RUF009 - frozen
    read_at: float = 0.0
    read_from: str = ""

    @cached_property
    def master(self) -> Host | None:
        """The host that the pool record names as master."""
        return self.hosts.get(self.pool.master or "")

    @cached_property
    def guests(self) -> tuple[Vm, ...]:
        """Every real VM, by name then uuid."""
        return tuple(sorted((v for v in self.vms.values() if v.is_guest), key=lambda v: (v.name, v.uuid)))

    @cached_property
    def attached(self) -> frozenset[tuple[Ref, Ref]]:
        """(host, SR) pairs that have a plugged PBD."""
        return frozenset((p.host, p.sr) for p in self.pbds.values() if p.currently_attached)

    @cached_property
    def sr_hosts(self) -> Mapping[Ref, frozenset[Ref]]:
        """Every host with a PBD for the SR, plugged or not."""
        found: dict[Ref, set[Ref]] = {}
        for pbd in self.pbds.values():
            found.setdefault(pbd.sr, set()).add(pbd.host)
        return {sr: frozenset(hosts) for sr, hosts in found.items()}

    @cached_property
    def network_hosts(self) -> Mapping[Ref, frozenset[Ref]]:
        """Hosts that have a PIF on the network."""
        found: dict[Ref, set[Ref]] = {}
        for pif in self.pifs.values():
            found.setdefault(pif.network, set()).add(pif.host)
        return {net: frozenset(hosts) for net, hosts in found.items()}

    def networks_of(self, vm: Vm) -> tuple[Ref, ...]:
        """The networks of its interfaces, one each."""
        return tuple(self.vifs[ref].network for ref in vm.vifs if ref in self.vifs)

    @cached_property
    def network_users(self) -> Mapping[Ref, frozenset[Ref]]:
        """Hosts on which VMs run that have an interface on the network, whether it is plugged or not."""
        found: dict[Ref, set[Ref]] = {}
        for vm in self.vms.values():
            if vm.power_state is PowerState.RUNNING and vm.resident_on is not None:
                for vif in (self.vifs[ref] for ref in vm.vifs if ref in self.vifs):
                    found.setdefault(vif.network, set()).add(vm.resident_on)
        return {net: frozenset(hosts) for net, hosts in found.items()}

    @cached_property
    def residents(self) -> Mapping[Ref, tuple[Vm, ...]]:
        """VMs that the database places on a host, control domains included, whatever their state, by name."""
        found: dict[Ref, list[Vm]] = {}
        for vm in sorted(self.vms.values(), key=lambda v: (v.name, v.uuid)):
            if vm.resident_on is not None:
                found.setdefault(vm.resident_on, []).append(vm)
        return {host: tuple(vms) for host, vms in found.items()}

    def host_named(self, name: str) -> Host | None:
        """The host with this name_label or uuid; None when there is none or more than one."""
        found = [h for h in self.hosts.values() if name in (h.name, h.uuid)]
        return found[0] if len(found) == 1 else None

    def srs_named(self, name: str) -> tuple[Sr, ...]:
        """Every SR with this name_label or uuid, by uuid: several local SRs often share one name."""
        return tuple(sorted((s for s in self.srs.values() if name in (s.name, s.uuid)), key=lambda s: s.uuid))

    def name_of(self, ref: Ref | None) -> str:
        """A name for people for any ref of this pool; the ref itself when the object is unknown."""
        if ref is None:
            return "nothing"
        for table in (self.hosts, self.vms, self.srs, self.vdis, self.networks):
            if ref in table:
                return str(getattr(table[ref], "name", ref))
        return ref
