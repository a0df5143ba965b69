"""What becomes of the running VMs of a host when its toolstack starts as a member of another database. Pure.

At that start the host compares its own domains with its master's database (sheet §2.6, recordings 05, 07, 08): a VM
that the database does not know, or has on another host, is killed; one that it has nowhere is adopted as running.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.core.model import PoolState, PowerState
from reconciler.core.words import count, names


@dataclass(frozen=True, slots=True)
class Doomed:
    """One running VM that a step kills: on `host`, for the reason `why`. `twice` is the other host on which the
    winning database has it running, "" where it has it nowhere."""

    name: str
    uuid: str
    host: str
    why: str
    twice: str = ""


@dataclass(frozen=True, slots=True)
class Fates:
    """What becomes of each running VM of the hosts in question, by name."""

    killed: tuple[Doomed, ...] = ()
    adopted: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """In one sentence, for a step's reason; "" where nothing runs there."""
        parts = []
        if self.killed:
            parts.append(f"kills {names(d.name for d in self.killed)}")
        if self.adopted:
            parts.append(f"adopts {names(self.adopted)} as running")
        if self.kept:
            parts.append(f"leaves {names(self.kept)} running")
        return ", ".join(parts)

    @property
    def running(self) -> int:
        """How many VMs run there."""
        return len(self.killed) + len(self.adopted) + len(self.kept)


def fates(theirs: PoolState, uuids: Iterable[str], ours: PoolState, winner: str) -> Fates:
    """What becomes of the VMs that `theirs`, the database that these hosts (by uuid) have obeyed so far, has running on
    them, once they follow the master of `ours`, whose name is `winner`."""
    killed: list[Doomed] = []
    adopted: list[str] = []
    kept: list[str] = []
    known = {vm.uuid: vm for vm in ours.vms.values()}
    wanted = set(uuids)
    for vm in theirs.guests:
        host = theirs.hosts.get(vm.resident_on or "")
        if host is None or host.uuid not in wanted or vm.power_state not in (PowerState.RUNNING, PowerState.PAUSED):
            continue
        record = known.get(vm.uuid)
        if record is None:
            killed.append(Doomed(vm.name, vm.uuid, host.name, f"the database of {winner} does not know it"))
            continue
        place = ours.hosts.get(record.resident_on or "")
        if place is None:
            adopted.append(vm.name)
        elif place.uuid == host.uuid:
            kept.append(vm.name)
        else:
            why = f"the database of {winner} has it on {place.name}"
            killed.append(Doomed(vm.name, vm.uuid, host.name, why, twice=place.name))
    return Fates(tuple(killed), tuple(adopted), tuple(kept))


def twice_words(killed: Iterable[Doomed]) -> str:
    """Which VMs run on two hosts now, in words; "" for none."""
    both = [d for d in killed if d.twice]
    if not both:
        return ""
    told = names(f"{d.name} on {d.host} and {d.twice}" for d in both)
    return f"{count(len(both), 'VM')} {'runs' if len(both) == 1 else 'run'} twice now, by what both say: {told}"
