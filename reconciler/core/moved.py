"""VMs that were found on another host than before: somebody moved them, and `rebalance` leaves them there for a while.

XAPI keeps no time of a migration, so two looks are compared: the last known pool and the pool as read now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.core.model import PoolState, PowerState

KEPT = 7 * 86_400.0
"""Seconds for which a move is remembered at most."""


@dataclass(frozen=True, slots=True)
class Moved:
    """One VM: it was first found on `host` at `seen_at` (UTC seconds), having run elsewhere before."""

    uuid: str
    name: str
    host: str
    seen_at: float


def newly_moved(before: PoolState, now: PoolState) -> tuple[Moved, ...]:
    """VMs that run in both looks, on different hosts."""
    then = {
        vm.uuid: host.uuid
        for vm in before.guests
        if vm.power_state is PowerState.RUNNING and (host := before.hosts.get(vm.resident_on or ""))
    }
    found = []
    for vm in now.guests:
        host = now.hosts.get(vm.resident_on or "")
        if vm.power_state is PowerState.RUNNING and host is not None and then.get(vm.uuid, host.uuid) != host.uuid:
            found.append(Moved(vm.uuid, vm.name, host.name, now.read_at))
    return tuple(found)


def still_remembered(held: Sequence[Moved], fresh: Sequence[Moved], now: float) -> tuple[Moved, ...]:
    """The last move of each VM, unless it is forgotten by now."""
    latest = {m.uuid: m for m in (*held, *fresh) if now - m.seen_at < KEPT}
    return tuple(latest.values())


def resting(moves: Sequence[Moved], cool_down: float, now: float) -> frozenset[str]:
    """Uuids of the VMs that were moved a short time ago."""
    return frozenset(m.uuid for m in moves if now - m.seen_at < cool_down)
