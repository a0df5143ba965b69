"""The manifest laid over the observed pool: the same type, so comparing is simple and nothing unnamed can differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconciler.core.model import Host, PoolState, PowerState, Ref, Sr, Vm
from reconciler.core.select import Selection
from reconciler.core.wanted import VmWish, Wanted, WantedState

POWER = {
    WantedState.RUNNING: PowerState.RUNNING,
    WantedState.HALTED: PowerState.HALTED,
    WantedState.SUSPENDED: PowerState.SUSPENDED,
}


def one_sr(name: str | None, state: PoolState) -> Sr | None:
    """The SR of that name or uuid when there is exactly one."""
    found = state.srs_named(name) if name else ()
    return found[0] if len(found) == 1 else None


def desired_vm(vm: Vm, wish: VmWish, hosts: Mapping[str, Host]) -> Vm:
    """The VM as its entry wishes it; unset means as it is. `hosts` maps member names to host records."""
    power = POWER.get(wish.state, vm.power_state)
    home = hosts.get(wish.home) if wish.home else None
    affinity = home.ref if home else vm.affinity
    resident = None if power in (PowerState.HALTED, PowerState.SUSPENDED) else vm.resident_on
    if (power, affinity, resident) == (vm.power_state, vm.affinity, vm.resident_on):
        return vm
    return replace(vm, power_state=power, affinity=affinity, resident_on=resident)


def desired_pool(
    wanted: Wanted, selection: Selection, state: PoolState, hosts: Mapping[str, Host], master: Host | None
) -> PoolState:
    """The whole pool as it should be. Objects that no wish touches are the very same objects."""
    default_sr = one_sr(wanted.storage.default_sr, state)
    suspend_sr = one_sr(wanted.storage.suspend_image_sr, state)
    pool = replace(
        state.pool,
        default_sr=default_sr.ref if default_sr else state.pool.default_sr,
        suspend_image_sr=suspend_sr.ref if suspend_sr else state.pool.suspend_image_sr,
        master=master.ref if master else state.pool.master,
    )
    vms: dict[Ref, Vm] = dict(state.vms)
    for ref, wish in selection.wishes.items():
        vms[ref] = desired_vm(vms[ref], wish, hosts)
    return replace(state, pool=pool, vms=vms)
