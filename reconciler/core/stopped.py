"""VMs that ran and are found stopped while their host lives: somebody stopped them, or they crashed. Pure.

XAPI keeps no word on who stopped a VM (releases before 6.1 wrote other_config:last_shutdown_initiator, later ones
don't), so two looks are compared: the last known pool and the pool as read now.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from reconciler.core.evidence import Survey
from reconciler.core.limits import booted
from reconciler.core.model import Host, PoolState, PowerState
from reconciler.core.words import address_host, lasting, utc

KEPT = 86_400.0
"""Seconds for which a stop is remembered at most."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """One VM: it ran on `host` at `ran_at` and was first found Halted at `seen_at` (UTC seconds)."""

    uuid: str
    name: str
    host: str
    ran_at: float
    seen_at: float

    @property
    def words(self) -> str:
        """What was seen."""
        return (
            f"it ran on {self.host} at {utc(self.ran_at)} and was found halted at {utc(self.seen_at)} while "
            f"{self.host} lives: somebody stopped it, or it crashed"
        )


def newly_stopped(
    before: PoolState, now: PoolState, answering: Collection[str], *, ours: Collection[str] = ()
) -> tuple[Stopped, ...]:
    """VMs that ran in `before` and are Halted in `now` on a host that went on all the time.

    Only under the same master (a promoted member's database is older than what happened: VMs that it halts were
    stopped by XAPI, sheet §2) and on a host that answers (`answering`: addresses) and did not boot in between. `ours`
    are uuids of VMs that this program stopped.
    """
    if before.master is None or now.master is None or before.master.uuid != now.master.uuid:
        return ()
    if _restarted(before.master, now.master):
        return ()
    then = {vm.uuid: vm for vm in before.guests if vm.power_state is PowerState.RUNNING}
    hosts = {host.uuid: host for host in now.hosts.values()}
    found = []
    for vm in now.guests:
        old = then.get(vm.uuid)
        if old is None or vm.power_state is not PowerState.HALTED or vm.uuid in ours:
            continue
        was = before.hosts.get(old.resident_on or "")
        host = hosts.get(was.uuid) if was else None
        if was is None or host is None or not host.live or not host.enabled or _restarted(was, host):
            continue
        if host.address in answering:
            found.append(Stopped(vm.uuid, vm.name, host.name, before.read_at, now.read_at))
    return tuple(found)


def _restarted(before: Host, now: Host) -> bool:
    """Its machine or its toolstack started anew between the two looks, as far as it tells."""
    keys = ("boot_time", "agent_start_time")
    return booted(before) != booted(now) or any(before.other_config.get(k) != now.other_config.get(k) for k in keys)


def still_stopped(held: Sequence[Stopped], state: PoolState, now: float) -> tuple[Stopped, ...]:
    """Those that are still Halted and not forgotten yet."""
    halted = {vm.uuid for vm in state.guests if vm.power_state is PowerState.HALTED}
    return tuple(s for s in held if s.uuid in halted and now - s.seen_at < KEPT)


def holds_back(stop: Stopped, *, respect: float, now: float) -> str:
    """Why an unattended run leaves it alone now, "" when it need not."""
    left = stop.seen_at + respect - now
    if left <= 0:
        return ""
    return f"{stop.words}; an unattended run leaves it alone for {lasting(left)} more (policy.respectManualStop)"


def answering(survey: Survey) -> frozenset[str]:
    """Addresses, as XAPI tells them, of the members whose XAPI answered."""
    return frozenset(address_host(t.address) for t in survey.testimonies if t.answers)
