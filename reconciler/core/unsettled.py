"""Starts whose end nobody saw: the VM may run on the host that was asked, whatever the database says. Pure.

When a master loses a host while that host starts a VM, XAPI reports CANNOT_CONTACT_HOST
(message_forwarding.ml:do_op_on) and records the VM as halted; the host goes on, and its VM runs. It tells so only when
its toolstack starts again (recordings 15, 21).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from reconciler.core.draft import toolstack_command
from reconciler.core.model import PoolState, PowerState
from reconciler.core.plan import Verb
from reconciler.core.standing import Stand, Stands
from reconciler.core.words import utc

SECOND_MASTER = "record"
"""Nothing that we sent: a second master that gave way had the VM as running there."""


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A start, resume or migration (`verb`) of one VM to one host, sent at `at` (UTC seconds) by run `run`, that may
    have taken effect.

    `toolstack` is the host's other_config:agent_start_time at that moment, "" when it has none: while it is the same,
    the host has not told what it runs. `freed`: that host was declared dead since, which freed the locks of its disks.
    """

    uuid: str
    name: str
    verb: str
    host_uuid: str
    host: str
    toolstack: str
    at: float
    run: str
    freed: bool = False


def still_unsettled(found: Sequence[Unsettled], state: PoolState, sound: Collection[str] = ()) -> tuple[Unsettled, ...]:
    """Those that the pool as it was read does not settle. One is settled when the database has the VM as running (of a
    migration: there, or on a host that can write into the database: `sound` are addresses of hosts that reach their
    master as we saw ourselves, for XAPI's `live` is minutes old), when its host's toolstack started anew and the host
    is enabled again (then it told what it runs), or when the VM or the host is gone."""
    vms = {vm.uuid: vm for vm in state.guests}
    hosts = {host.uuid: host for host in state.hosts.values()}
    left = []
    for one in found:
        vm, host = vms.get(one.uuid), hosts.get(one.host_uuid)
        if vm is None or host is None:
            continue
        runs = vm.power_state in (PowerState.RUNNING, PowerState.PAUSED) and not vm.current_operations
        if one.verb in (Verb.MIGRATE, SECOND_MASTER):
            where = state.hosts.get(vm.resident_on or "")
            runs = runs and where is not None and (where is host or (where.enabled and where.address in sound))
        told = host.live and host.enabled and host.other_config.get("agent_start_time", "") != one.toolstack
        if not runs and not told:
            left.append(one)
    return tuple(left)


def under_way(state: PoolState, run: str) -> tuple[Unsettled, ...]:
    """The migrations that the pool shows, whosever they are. When the source dies in one of them after the switch,
    nobody tells: the record stays with the source (xapi_vm_migrate.ml:pool_migrate, pool_migrate_complete comes
    from there), and after XAPI's attempts to reach it the target is forgotten, too."""
    found = []
    for vm in state.guests:
        host = state.hosts.get(vm.scheduled_on or "")
        if host is not None and vm.power_state is PowerState.RUNNING and "pool_migrate" in vm.current_operations:
            toolstack = host.other_config.get("agent_start_time", "")
            verb = str(Verb.MIGRATE)
            found.append(Unsettled(vm.uuid, vm.name, verb, host.uuid, host.name, toolstack, state.read_at, run))
    return tuple(found)


def known_elsewhere(loser: PoolState, winner: PoolState, gives_way: str, run: str) -> tuple[Unsettled, ...]:
    """VMs that the database of a master which gives way (host uuid `gives_way`) has as running on another host, where
    the winner's does not have them: they were started or moved by the loser's word, and those hosts tell the winner
    nothing until their toolstacks start again (recording 22)."""
    kept = {
        (vm.uuid, host.uuid) for vm in winner.guests if (host := winner.hosts.get(vm.resident_on or "")) is not None
    }
    toolstacks = {h.uuid: h.other_config.get("agent_start_time", "") for h in winner.hosts.values()}
    found = []
    for vm in loser.guests:
        host = loser.hosts.get(vm.resident_on or "")
        if host is None or host.uuid == gives_way or vm.power_state not in (PowerState.RUNNING, PowerState.PAUSED):
            continue
        if (vm.uuid, host.uuid) not in kept and host.uuid in toolstacks:
            told = toolstacks[host.uuid]
            found.append(Unsettled(vm.uuid, vm.name, SECOND_MASTER, host.uuid, host.name, told, loser.read_at, run))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Tie:
    """A VM that may only be started on `stand`'s host, and what people are told about it."""

    stand: Stand
    why: str
    remedy: str
    again: bool = True
    """What was cut off is tried again there, where a second domain is refused; else it waits for that host's word."""
    freed: bool = False
    """Its host was declared dead since: no lock of a disk is left to be freed."""


def tie(one: Unsettled, stands: Stands) -> Tie | None:
    """What the start of its VM is tied to; None when its host is not in the pool."""
    stand = next((s for s in stands.by_ref.values() if s.host.uuid == one.host_uuid), None)
    if stand is None:
        return None
    where = f"{'to' if one.verb == Verb.MIGRATE else 'on'} {one.host}"
    what = f"the {one.verb} of {one.name} {where} at {utc(one.at)} was cut off"
    if one.verb == SECOND_MASTER:
        what = f"a second master had {one.name} as running on {one.host} at {utc(one.at)}"
    return Tie(
        stand,
        f"{what}: it may run there, whatever is recorded",
        f"then {one.host} tells what it runs, and keeps what the pool has there or as halted: "
        f"{toolstack_command(stand)}",
        again=one.verb != SECOND_MASTER,
        freed=one.freed,
    )
