"""Where a VM can run, by XAPI's own tests in its order, and where it runs best. Pure and deterministic.

The order of the tests is assert_can_boot_here's (sheet §5.3), so that our reason is the one that XAPI would give.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.core.model import Host, PoolState, PowerState, Ref, Vm
from reconciler.core.wanted import PlacementWish
from reconciler.core.words import MIB, names, size


@dataclass(frozen=True, slots=True)
class Drive:
    """A drive that needs storage: what is in it, and the SR that the host must have plugged."""

    vbd_type: str
    what: str
    sr: Ref | None

    @property
    def is_cd(self) -> bool:
        """A CD can be ejected; a disk can't."""
        return self.vbd_type == "CD"


def drives(vm: Vm, state: PoolState) -> tuple[Drive, ...]:
    """Every non-empty drive, and the suspend image of a suspended VM: all of them count (I8, sheet §5.3 test 7)."""
    found = []
    for ref in vm.vbds:
        vbd = state.vbds.get(ref)
        if vbd is None or vbd.empty or vbd.vdi is None:
            continue
        vdi = state.vdis.get(vbd.vdi)
        found.append(Drive(vbd.type, vdi.name or vdi.uuid if vdi else "a lost disk", vdi.sr if vdi else None))
    if vm.power_state is PowerState.SUSPENDED and vm.suspend_vdi:
        vdi = state.vdis.get(vm.suspend_vdi)
        found.append(Drive("Suspend image", "its suspend image", vdi.sr if vdi else None))
    return tuple(found)


def need(vm: Vm) -> int:
    """Bytes that a start takes: dynamic_min rounded up to MiB, plus overhead (memory_check.ml)."""
    return -(-vm.memory_dynamic_min // MIB) * MIB + vm.memory_overhead


def held(vm: Vm) -> int:
    """Bytes that a VM takes where it runs (memory_check.ml:host_compute_memory_summary)."""
    return vm.memory_dynamic_min + vm.memory_overhead


def devices(vm: Vm, state: PoolState) -> Mapping[str, int]:
    """What a VM takes of its host's devices."""
    if not state.devices.vgpus and not state.devices.functions:
        return {}  # a drill asks for each VM and host
    return state.devices.takes(vm.ref, state.networks_of(vm))


@dataclass
class Room:
    """What is left on each host while a plan is made; `groups` counts VMs of each spread/together group per host."""

    state: PoolState
    free: dict[Ref, int]
    """Bytes; negative on a host that is overcommitted, so that what a stop gives back is not counted twice."""
    groups: dict[tuple[str, Ref], int] = field(default_factory=dict)
    networks: dict[Ref, Ref] = field(default_factory=dict)
    """Internal network -> the host where VMs on it run."""
    stock: dict[tuple[Ref, str], int] = field(default_factory=dict)
    """What is left of a host's devices; no entry: no limit is known."""
    closed: Mapping[Ref, str] = field(default_factory=dict)
    """Hosts to which no running VM can be moved, whatever it is, each with why."""
    promised: dict[Ref, tuple[tuple[int, str], ...]] = field(default_factory=dict)
    """Host -> what stops and moves of this plan give back there: bytes and the action's id, in the plan's order."""
    lent: dict[tuple[Ref, str], tuple[tuple[int, str], ...]] = field(default_factory=dict)
    """The same of its devices."""

    def waits_for(self, vm: Vm, host: Ref) -> tuple[str, ...]:
        """Ids of the stops and moves that must be over before a VM fits on a host; () if it fits already.

        Everything else that this plan brings there counts as there already, so the order in which actions go that do
        not follow each other makes no difference.
        """
        waits = list(_waits(need(vm), self.free[host], self.promised.get(host, ())))
        for what, number in devices(vm, self.state).items():
            if (host, what) in self.stock:
                waits += _waits(number, self.stock[host, what], self.lent.get((host, what), ()))
        return tuple(dict.fromkeys(waits))

    def copy(self) -> Room:
        """The same room, to try something in."""
        return replace(
            self,
            free=dict(self.free),
            groups=dict(self.groups),
            networks=dict(self.networks),
            stock=dict(self.stock),
            promised=dict(self.promised),
            lent=dict(self.lent),
        )

    @classmethod
    def of(cls, state: PoolState, placements: Mapping[Ref, PlacementWish]) -> Room:
        """The room in the pool as it is; `placements` by VM ref, for the groups."""
        taken: dict[Ref, int] = {}
        for vm in state.vms.values():
            for place in (vm.resident_on, vm.scheduled_on):
                if place is not None:
                    taken[place] = taken.get(place, 0) + held(vm)
        room = cls(
            state,
            {h.ref: h.memory_total - h.memory_overhead - taken.get(h.ref, 0) for h in state.hosts.values()},
            stock={(host, what): n for host, there in state.devices.stock.items() for what, n in there.items()},
        )
        for vm in state.vms.values():
            if vm.resident_on and vm.is_guest:
                room._count(vm, vm.resident_on, placements.get(vm.ref))
        return room

    def _count(self, vm: Vm, host: Ref, wish: PlacementWish | None) -> None:
        for group in groups(wish):
            self.groups[group, host] = self.groups.get((group, host), 0) + 1
        for network in internal_networks(vm, self.state):
            self.networks.setdefault(network, host)

    def _use(self, vm: Vm, host: Ref, sign: int) -> None:
        for what, number in devices(vm, self.state).items():
            if (host, what) in self.stock:
                self.stock[host, what] += sign * number

    def take(self, vm: Vm, host: Ref, wish: PlacementWish | None) -> None:
        """Reserve the room of a VM on a host."""
        self.free[host] -= need(vm)
        self._use(vm, host, -1)
        self._count(vm, host, wish)

    def vacate(self, vm: Vm, host: Ref, wish: PlacementWish | None, stop: str) -> None:
        """Give back the room of a VM that the action of id `stop` stops or moves away; who needs that room waits."""
        given = held(vm)
        self.free[host] += given
        self.promised[host] = (*self.promised.get(host, ()), (given, stop))
        self._use(vm, host, 1)
        for what, number in devices(vm, self.state).items():
            self.lent[host, what] = (*self.lent.get((host, what), ()), (number, stop))
        for group in groups(wish):
            if self.groups.get((group, host)):
                self.groups[group, host] -= 1
        for network in internal_networks(vm, self.state):
            if self.networks.get(network) == host:
                del self.networks[network]


def _waits(needed: int, left: int, given: Sequence[tuple[int, str]]) -> Iterable[str]:
    """Ids of the actions, in order, until what they give back is enough; `left` counts all of them as over."""
    left -= sum(number for number, _ in given)
    for number, action in given:
        if left >= needed:
            return
        left += number
        yield action


def groups(wish: PlacementWish | None) -> tuple[str, ...]:
    """The names under which a VM's groups are counted."""
    if wish is None:
        return ()
    kinds = (("spread", wish.spread), ("together", wish.together), ("apart", wish.apart))
    return tuple(f"{kind}:{name}" for kind, name in kinds if name)


def internal_networks(vm: Vm, state: PoolState) -> Iterable[Ref]:
    """Networks without any PIF: VMs on one see each other only on one host (sheet §5.3)."""
    for ref in vm.vifs:
        vif = state.vifs.get(ref)
        network = state.networks.get(vif.network) if vif else None
        if (
            network is not None
            and not state.network_hosts.get(network.ref)
            and network.managed
            and network.other_config.get("assume_network_is_shared") != "true"
        ):
            yield network.ref


def anchored(vm: Vm, host: Host, state: PoolState) -> str:
    """The internal network that keeps a running VM off a host, by name; "" if none does.

    XAPI counts the VM itself among those that use the network (xapi_network_attach_helpers.ml:
    assert_can_see_named_networks), so it moves one to no host but where another runs that uses it, too.
    """
    if vm.power_state is not PowerState.RUNNING:
        return ""
    for network in internal_networks(vm, state):
        if host.ref not in state.network_users.get(network, frozenset()):
            return state.name_of(network)
    return ""


def bound_by(vm: Vm, state: PoolState) -> str:
    """The internal network, by name, that keeps a running VM on its host, whichever others there are; "" if none."""
    found = [anchored(vm, host, state) for host in state.hosts.values() if host.ref != vm.resident_on]
    return found[0] if found and all(found) else ""


def obstacle(vm: Vm, host: Host, room: Room, placement: PlacementWish) -> str:
    """Why a VM can't be started on, or moved to, a living host; "" if it can. Names, not refs; the first test that
    fails, in XAPI's order, and after them the manifest's hard wishes."""
    state = room.state
    for network in internal_networks(vm, state) if vm.power_state is not PowerState.RUNNING else ():
        if room.networks.get(network, host.ref) != host.ref:
            internal = (
                f"is not where other VMs use the internal network {state.name_of(network)} "
                f"({state.name_of(room.networks[network])} is)"
            )
            break
    else:
        internal = ""
    short = ""
    if room.free.get(host.ref, 0) < need(vm):
        short = f"has {size(max(0, room.free.get(host.ref, 0)))} free and {size(need(vm))} are needed"
    return (
        _unreachable(vm, host, state)
        or unreached(vm, host, room)
        or internal
        or _lacking(vm, host, state)
        or used_up(vm, host, room)
        or _unfit(vm, host)
        or short
        or _too_few_cpus(vm, host)
        or barred(host, placement)
        or _group_obstacle(host, room, placement)
    )


def unreached(vm: Vm, host: Host, room: Room) -> str:
    """Why no migration leads to a host; "" for a VM that does not run, or where one does."""
    return room.closed.get(host.ref, "") if vm.power_state is PowerState.RUNNING else ""


def lasting_obstacle(vm: Vm, host: Host, state: PoolState) -> str:
    """Why a VM can't run on a living host however much memory is free there, wherever other VMs are; "" if it can."""
    return _unreachable(vm, host, state) or _lacking(vm, host, state) or _unfit(vm, host) or _too_few_cpus(vm, host)


def _lacking(vm: Vm, host: Host, state: PoolState) -> str:
    """Devices that the host has none of (sheet §5.3, tests 9 and 10)."""
    if not state.devices.vgpus and not state.devices.usbs:
        return ""
    hosts = {ref: other.name for ref, other in state.hosts.items()}
    return state.devices.lacking(vm.ref, host.ref, iommu=host.iommu, names=hosts)


def used_up(vm: Vm, host: Host, room: Room) -> str:
    """Devices of which too few are left (sheet §5.3, tests 9 and 11)."""
    for what, number in devices(vm, room.state).items():
        if room.stock.get((host.ref, what), number) < number:
            return room.state.devices.short(what)
    return ""


def _unreachable(vm: Vm, host: Host, state: PoolState) -> str:
    """Storage and networks (sheet §5.3, tests 4, 6, 7 and 8)."""
    if not host.enabled:
        return "is disabled"
    if reason := cpu_mismatch(vm, host):
        return reason
    for drive in drives(vm, state):
        if drive.sr is None or (host.ref, drive.sr) not in state.attached:
            label = "CD" if drive.is_cd else "disk"
            return f"has not plugged {state.name_of(drive.sr)}, where the {label} {drive.what} is"
    for ref in vm.vifs:
        vif = state.vifs.get(ref)
        if vif is None or vif.network not in state.networks:
            continue
        where = state.network_hosts.get(vif.network, frozenset())
        if where and host.ref not in where:
            return f"is not connected to network {state.name_of(vif.network)}"
    if network := anchored(vm, host, state):
        return f"runs no VM on the internal network {network}, and XAPI moves it only to where one does"
    return ""


def _unfit(vm: Vm, host: Host) -> str:
    return "can't run HVM guests" if vm.needs_hvm and not host.hvm_capable else ""


def _too_few_cpus(vm: Vm, host: Host) -> str:
    return f"has {host.cpus} CPUs and {vm.vcpus} are needed" if host.cpus and vm.vcpus > host.cpus else ""


def cpu_mismatch(vm: Vm, host: Host) -> str:
    """Why a VM that booted on another CPU can't go on here; "" if it can. A halted VM boots anew, on any CPU.

    The vendor must be the same and every feature that it saw at its boot must be here: features are hex words joined by
    hyphens, the shorter one is filled with zeros (cpuid_helpers.ml:assert_vm_is_compatible, is_subset).
    """
    if vm.power_state is PowerState.HALTED:
        return ""
    vendor, seen = vm.boot_cpu.get("vendor", ""), vm.boot_cpu.get("features", "")
    if vendor and host.cpu_vendor and vendor != host.cpu_vendor:
        return f"has a CPU of {host.cpu_vendor}, and the VM was started on one of {vendor}"
    has = host.cpu_features_hvm if vm.needs_hvm else host.cpu_features_pv
    if seen and has and not _subset(seen, has):
        return "has a CPU without features that the VM saw when it was started"
    return ""


def _subset(features: str, of: str) -> bool:
    """Every feature of one set is in another; what is no set of hex words is not judged here."""
    try:
        seen, has = ([int(word, 16) for word in text.split("-")] for text in (features, of))
    except ValueError:
        return True
    has += [0] * (len(seen) - len(has))
    return all(word & ~there == 0 for word, there in zip(seen, has, strict=False))


def barred(host: Host, placement: PlacementWish) -> str:
    """Why require or avoid keep a VM off a host."""
    if placement.require and not listed(host, placement.require):
        return f"is not in placement.require ({names(placement.require)})"
    return "is in placement.avoid" if listed(host, placement.avoid) else ""


def _group_obstacle(host: Host, room: Room, placement: PlacementWish) -> str:
    if placement.together:
        key = f"together:{placement.together}"
        homes = {h for (g, h), n in room.groups.items() if g == key and n > 0}
        if homes and host.ref not in homes:
            where = names(room.state.name_of(h) for h in sorted(homes))
            return f"is not where the group {placement.together} runs ({where})"
    if placement.apart and room.groups.get((f"apart:{placement.apart}", host.ref), 0):
        return f"runs another VM of {placement.apart}, from which it must be apart"
    return ""


def listed(host: Host, wished: Sequence[str]) -> bool:
    """A list of the manifest names the host."""
    return host.name in wished or host.uuid in wished
