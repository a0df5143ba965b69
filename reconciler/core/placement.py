"""Where a VM can run, by XAPI's own tests in its order, and where it runs best. Pure and deterministic.

The order of the tests is assert_can_boot_here's (sheet §5.3), so that our reason is the one that XAPI would give.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

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


@dataclass
class Room:
    """What is left on each host while a plan is made; `groups` counts VMs of each spread/together group per host."""

    state: PoolState
    free: dict[Ref, int]
    """Bytes; negative on a host that is overcommitted, so that what a stop gives back is not counted twice."""
    groups: dict[tuple[str, Ref], int] = field(default_factory=dict)
    networks: dict[Ref, Ref] = field(default_factory=dict)
    """Internal network -> the host where VMs on it run."""
    promised: dict[Ref, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    """Host -> bytes of its free memory that stops of this plan give back, and their ids."""

    def waits_for(self, vm: Vm, host: Ref) -> tuple[str, ...]:
        """Ids of the stops that must be over before a VM fits on a host; () if it fits already."""
        given, stops = self.promised.get(host, (0, ()))
        return stops if need(vm) > self.free[host] - given else ()

    @classmethod
    def of(cls, state: PoolState, placements: Mapping[Ref, PlacementWish]) -> Room:
        """The room in the pool as it is; `placements` by VM ref, for the groups."""
        taken: dict[Ref, int] = {}
        for vm in state.vms.values():
            for place in (vm.resident_on, vm.scheduled_on):
                if place is not None:
                    taken[place] = taken.get(place, 0) + vm.memory_dynamic_min + vm.memory_overhead
        room = cls(
            state,
            {h.ref: h.memory_total - h.memory_overhead - taken.get(h.ref, 0) for h in state.hosts.values()},
        )
        for vm in state.vms.values():
            if vm.resident_on and vm.is_guest:
                room._count(vm, vm.resident_on, placements.get(vm.ref))
        return room

    def _count(self, vm: Vm, host: Ref, wish: PlacementWish | None) -> None:
        for group in _groups(wish):
            self.groups[group, host] = self.groups.get((group, host), 0) + 1
        for network in _internal_networks(vm, self.state):
            self.networks.setdefault(network, host)

    def take(self, vm: Vm, host: Ref, wish: PlacementWish | None) -> None:
        """Reserve the room of a VM on a host."""
        self.free[host] -= need(vm)
        self._count(vm, host, wish)

    def vacate(self, vm: Vm, host: Ref, wish: PlacementWish | None, stop: str) -> None:
        """Give back the room of a VM that the action of id `stop` stops; who needs that room waits for it."""
        given = vm.memory_dynamic_min + vm.memory_overhead
        self.free[host] += given
        bytes_, stops = self.promised.get(host, (0, ()))
        self.promised[host] = (bytes_ + given, (*stops, stop))
        for group in _groups(wish):
            if self.groups.get((group, host)):
                self.groups[group, host] -= 1
        for network in _internal_networks(vm, self.state):
            if self.networks.get(network) == host:
                del self.networks[network]


def _groups(wish: PlacementWish | None) -> tuple[str, ...]:
    if wish is None:
        return ()
    return tuple(f"{kind}:{name}" for kind, name in (("spread", wish.spread), ("together", wish.together)) if name)


def _internal_networks(vm: Vm, state: PoolState) -> Iterable[Ref]:
    """Networks without any PIF: VMs on one see each other only on one host (sheet §5.3)."""
    for ref in vm.vifs:
        vif = state.vifs.get(ref)
        network = state.networks.get(vif.network) if vif else None
        if (
            network is not None
            and not state.network_hosts.get(network.ref)
            and network.other_config.get("assume_network_is_shared") != "true"
        ):
            yield network.ref


def obstacle(vm: Vm, host: Host, room: Room, placement: PlacementWish) -> str:
    """Why a VM can't be started on a living host; "" if it can. Names, not refs; the first test that fails."""
    state = room.state
    if not host.enabled:
        return "is disabled"
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
    for network in _internal_networks(vm, state):
        if room.networks.get(network, host.ref) != host.ref:
            return (
                f"is not where other VMs use the internal network {state.name_of(network)} "
                f"({state.name_of(room.networks[network])} is)"
            )
    if vm.needs_hvm and not host.hvm_capable:
        return "can't run HVM guests"
    if room.free.get(host.ref, 0) < need(vm):
        return f"has {size(max(0, room.free.get(host.ref, 0)))} free and {size(need(vm))} are needed"
    if host.cpus and vm.vcpus > host.cpus:
        return f"has {host.cpus} CPUs and {vm.vcpus} are needed"
    if placement.require and not _listed(host, placement.require):
        return f"is not in placement.require ({names(placement.require)})"
    if _listed(host, placement.avoid):
        return "is in placement.avoid"
    if placement.together:
        key = f"together:{placement.together}"
        homes = {h for (g, h), n in room.groups.items() if g == key and n > 0}
        if homes and host.ref not in homes:
            return (
                f"is not where the group {placement.together} runs ({names(state.name_of(h) for h in sorted(homes))})"
            )
    return ""


def _listed(host: Host, listed: Sequence[str]) -> bool:
    return host.name in listed or host.uuid in listed


@dataclass(frozen=True, slots=True)
class Choice:
    """A host and why it, or None and why each of the others is not possible (host name, reason)."""

    host: Host | None
    why: str
    obstacles: tuple[tuple[str, str], ...] = ()


def choose(vm: Vm, hosts: Sequence[Host], room: Room, placement: PlacementWish, home: Ref | None) -> Choice:
    """The best of `hosts` for a start: home, then preferred hosts, then the emptiest of its spread group, then the
    host with most room left. Ties fall by name, so that the same input gives the same plan."""
    fit, obstacles = [], []
    for host in hosts:
        reason = obstacle(vm, host, room, placement)
        if reason:
            obstacles.append((host.name, reason))
        else:
            fit.append(host)
    if not fit:
        return Choice(None, "", tuple(sorted(obstacles)))

    def rank(host: Host) -> tuple[int, int, int, int, str, str]:
        preferred = next((i for i, p in enumerate(placement.prefer) if p in (host.name, host.uuid)), 99)
        crowd = room.groups.get((f"spread:{placement.spread}", host.ref), 0) if placement.spread else 0
        return (host.ref != home, preferred, crowd, -room.free.get(host.ref, 0), host.name, host.uuid)

    best = min(fit, key=rank)
    if best.ref == home:
        why = "its home"
    elif placement.prefer and _listed(best, placement.prefer):
        why = "preferred for it"
    elif placement.spread:
        why = f"fewest of group {placement.spread}, then most free memory"
    elif len(fit) == 1:
        why = "the only host that can run it"
    else:
        why = "most free memory"
    return Choice(best, why, tuple(sorted(obstacles)))
