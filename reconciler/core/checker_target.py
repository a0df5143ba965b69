"""Whether a VM may be on a host: its storage, networks and hardware, and what its entry asks for. No planner's code."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.model import Host, PoolState, PowerState, Ref, Vm
from reconciler.core.wanted import VmWish


def target_faults(
    vm: Vm, target: Host, wish: VmWish | None, state: PoolState, where: Mapping[Ref, Ref | None], power: PowerState
) -> list[str]:
    """Everything but memory that keeps a VM off a host; `where` tells on which host each VM is by now."""
    why = _storage(vm, target, state, power) + _networks(vm, target, state, where, power)
    if vm.needs_hvm and not target.hvm_capable:
        why.append(f"{target.name} can't run HVM guests")
    if target.cpus and vm.vcpus > target.cpus:
        why.append(f"{target.name} has fewer CPUs than it has virtual ones")
    return why + (wish_faults(target, wish) if wish is not None else [])


def wish_faults(host: Host, wish: VmWish) -> list[str]:
    """What require and avoid have against a host."""
    why = []
    called = (host.name, host.uuid)
    if wish.placement.require and not set(called) & set(wish.placement.require):
        why.append(f"{host.name} is not in its placement.require")
    if set(called) & set(wish.placement.avoid):
        why.append(f"{host.name} is in its placement.avoid")
    return why


def _storage(vm: Vm, target: Host, state: PoolState, power: PowerState) -> list[str]:
    plugged = {p.sr for p in state.pbds.values() if p.host == target.ref and p.currently_attached}
    why = []
    for vbd in (state.vbds[r] for r in vm.vbds if r in state.vbds):
        if vbd.empty or vbd.vdi is None:
            continue
        vdi = state.vdis.get(vbd.vdi)
        if vdi is None or vdi.sr not in plugged:
            why.append(f"{target.name} does not reach the storage of its drive {vbd.userdevice}")
    image = state.vdis.get(vm.suspend_vdi or "")
    if power is PowerState.SUSPENDED and image is not None and image.sr not in plugged:
        why.append(f"{target.name} does not reach the storage of its suspend image")
    return why


def _networks(vm: Vm, target: Host, state: PoolState, where: Mapping[Ref, Ref | None], power: PowerState) -> list[str]:
    why = []
    for vif in (state.vifs[r] for r in vm.vifs if r in state.vifs):
        network = state.networks.get(vif.network)
        if network is None:
            continue
        there = {p.host for p in state.pifs.values() if p.network == network.ref}
        if there:
            if target.ref not in there:
                why.append(f"{target.name} is not connected to network {network.name}")
        elif network.managed and network.other_config.get("assume_network_is_shared") != "true":
            users = {
                where.get(other.vm)
                for other in state.vifs.values()
                if other.network == network.ref and other.vm != vm.ref and state.vms[other.vm].is_guest
            } - {None}
            if power is PowerState.RUNNING and target.ref not in users:
                why.append(
                    f"it runs on the internal network {network.name}, and no other VM on that is on {target.name}"
                )
            elif users and target.ref not in users:
                why.append(f"other VMs use the internal network {network.name} on another host than {target.name}")
    return why


def parted(moved: Mapping[Ref, VmWish], wishes: Mapping[Ref, VmWish], where: Mapping[Ref, Ref | None]) -> list[Ref]:
    """Of the VMs that a plan brought to a host those of a `together` group that ended apart from all others of it."""
    found = []
    for ref, wish in moved.items():
        group = wish.placement.together
        if not group or where.get(ref) is None:
            continue
        others = {where.get(o) for o, w in wishes.items() if o != ref and w.placement.together == group} - {None}
        if others and where[ref] not in others:
            found.append(ref)
    return found
