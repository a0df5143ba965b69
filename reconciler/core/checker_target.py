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
    why += _devices(vm, target, state, where)
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

    def is_guest(ref: Ref) -> bool:
        return ref in state.vms and state.vms[ref].is_guest  # one that was made while the pool was read is not there

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
                if other.network == network.ref and other.vm != vm.ref and is_guest(other.vm)
            } - {None}
            if power is PowerState.RUNNING and target.ref not in users:
                why.append(
                    f"it runs on the internal network {network.name}, and no other VM on that is on {target.name}"
                )
            elif users and target.ref not in users:
                why.append(f"other VMs use the internal network {network.name} on another host than {target.name}")
    return why


def _devices(vm: Vm, target: Host, state: PoolState, where: Mapping[Ref, Ref | None]) -> list[str]:
    """GPUs, USB devices and virtual functions: that the host has them, and that those which a plan brings there are no
    more than were left. What left the host gives nothing back here but where it is of the very same kind."""
    known = state.devices
    why = []
    for usb in known.usbs:
        if usb.vm == vm.ref and usb.host != target.ref:
            why.append(f"{target.name} has not its USB device {usb.name}")
    for mine in (v for v in known.vgpus if v.vm == vm.ref):
        gpus = [p for p in known.pgpus if p.host == target.ref and p.group == mine.group and mine.type in p.most]
        moved = [other for other in known.vgpus if (other.group, other.type) == (mine.group, mine.type)]
        came = sum(_went(v.vm, target.ref, state, where) for v in moved if v.vm != vm.ref)
        came += sum(v.vm == vm.ref and v.ref < mine.ref for v in moved)
        if sum(p.left.get(mine.type, 0) for p in gpus) - came < 1:
            why.append(f"{target.name} has no GPU left for it")
    for card in {one.card for one in known.functions if one.host == target.ref}:
        nets = {one.network for one in known.functions if one.card == card}
        left = min(one.left for one in known.functions if one.card == card and one.host == target.ref)
        for vif in state.vifs.values():
            if vif.network in nets:
                left -= 1 if vif.vm == vm.ref else _went(vif.vm, target.ref, state, where)
        if left < 0 and any(vif.vm == vm.ref and vif.network in nets for vif in state.vifs.values()):
            why.append(f"{target.name} has no virtual function left for it")
    return why


def _went(vm: Ref, host: Ref, state: PoolState, where: Mapping[Ref, Ref | None]) -> int:
    """1 where a VM was brought to the host, -1 where it left it."""
    return (where.get(vm) == host) - (state.vms[vm].resident_on == host if vm in state.vms else False)


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
