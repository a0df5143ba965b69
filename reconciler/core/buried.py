"""VMs that were reset for a host that was declared dead, and which it runs after all. Pure.

A host that was only cut off comes back with its VMs running: nothing resynchronises them until its toolstack starts
again (recording 07), and a pool of which all hosts are green may run a VM twice (recording 22). No call asks a host
what it runs beside the database, but its toolstack's age tells: one that is older than the burial never told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.core.draft import toolstack_command
from reconciler.core.model import PoolState, PowerState
from reconciler.core.plan import Unmet
from reconciler.core.standing import Stand, Stands
from reconciler.core.words import names, utc


@dataclass(frozen=True, slots=True)
class Buried:
    """A VM that was recorded as running on `host` when that was declared dead at `at` (UTC seconds), in run `run`.

    `toolstack` is the host's other_config:agent_start_time at that moment, "" where it had none.
    """

    name: str
    uuid: str
    host: str
    host_uuid: str
    toolstack: str
    at: float
    run: str


def still_buried(found: Sequence[Buried], state: PoolState) -> tuple[Buried, ...]:
    """Those that the pool as it was read does not settle: it has the VM and the host, and the host's toolstack has not
    started anew and then enabled the host, which it does after it told what it runs (sheet §2.6)."""
    vms = {vm.uuid for vm in state.guests}
    hosts = {host.uuid: host for host in state.hosts.values()}
    left = []
    for one in found:
        host = hosts.get(one.host_uuid)
        if host is None or one.uuid not in vms:
            continue
        if host.live and host.enabled and host.other_config.get("agent_start_time", "") != one.toolstack:
            continue
        left.append(one)
    return tuple(left)


def copies(found: Sequence[Buried], stands: Stands, state: PoolState) -> list[Unmet]:
    """One for each host that answers with the toolstack that it had when it was declared dead: it did not die, and goes
    on running what it ran. The way out is a restart of that toolstack, on the host and by a person: it kills VMs."""
    told = []
    for stand in stands.by_ref.values():
        mine = [one for one in found if one.host_uuid == stand.host.uuid]
        if not (mine and stand.answers and stand.host.live):
            continue
        if all(stand.host.other_config.get("agent_start_time", "") != one.toolstack for one in mine):
            continue
        told.append(_unmet(mine, stand, state))
    return told


def _unmet(mine: Sequence[Buried], stand: Stand, state: PoolState) -> Unmet:
    twice, once = [], []
    by_uuid = {vm.uuid: vm for vm in state.guests}
    for one in sorted(mine, key=lambda b: b.name):
        vm = by_uuid[one.uuid]
        where = state.hosts.get(vm.resident_on or "")
        if vm.power_state in (PowerState.RUNNING, PowerState.PAUSED) and where is not None:
            if where.uuid != stand.host.uuid:
                twice.append((one.name, where.name))
        else:
            once.append(one.name)
    name = stand.thing.name
    parts = [
        f"it was declared dead at {utc(mine[0].at)}, and its toolstack has run ever since: it was only cut off, and "
        "goes on running what it ran"
    ]
    does = []
    if twice:
        parts.append(f"{names(f'{vm} on {name} and on {host}' for vm, host in twice)}: running twice destroys a disk")
        does.append(f"kills {names(vm for vm, _ in twice)} on {name}, and leaves what runs elsewhere")
    if once:
        parts.append(f"{names(once)} on {name}, while the pool has {'it' if len(once) == 1 else 'them'} as halted")
        does.append(f"makes the pool know {names(once)} as running there")
    remedy = f"restart its toolstack, which {' and '.join(does) or 'makes it tell what it runs'}"
    return Unmet(stand.thing, "run each VM once", ". ".join(parts), f"{remedy}: {toolstack_command(stand)}")
