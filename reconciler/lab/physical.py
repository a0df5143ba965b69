"""The physical world: what has power, what is linked, which domains really run and which disks they hold open.

Nothing here reads a database: harm is judged by what is, not by what is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk that a domain holds open, by uuids; `writable` unless attached read-only."""

    vdi: str
    sr: str
    writable: bool
    sharable: bool = False


@dataclass(slots=True)
class Domain:
    """A VM that really runs on a host. `since` in seconds, memory in bytes."""

    vm: str
    name: str
    host: str
    since: float
    memory: int
    domid: int
    disks: tuple[Disk, ...] = ()
    paused: bool = False

    @property
    def uuid(self) -> str:
        """The VM's uuid."""
        return self.vm


@dataclass(frozen=True, slots=True)
class Harm:
    """Something that must never happen. Kinds: two-domains, two-writers, no-storage, resync-kill, two-masters."""

    at: float
    kind: str
    text: str
    vm: str = ""
    host: str = ""


@dataclass
class Box:
    """One host's hardware. `sees` are the uuids of the SRs that it is cabled to."""

    name: str
    powered: bool = True
    memory: int = 0
    sees: frozenset[str] = frozenset()
    domains: dict[str, Domain] = field(default_factory=dict)
    next_domid: int = 1
    taken: int = 0
    """Bytes of memory that something else than a domain has taken, which no toolstack knows of."""
    skew: float = 0.0
    """Seconds by which its clock is ahead of the true time."""


class World:
    """All boxes, the links between them, and the monitor that records harm."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.boxes: dict[str, Box] = {}
        self.sr_names: dict[str, str] = {}
        """uuid -> name, for cuts by name and for texts."""
        self._cuts: set[tuple[str, str]] = set()
        self._openers: dict[str, list[Domain]] = {}
        """Disk -> domains that opened it; some may be gone by now."""
        self.harm: list[Harm] = []

    # -- links -------------------------------------------------------------------------------------------------

    def cut(self, a: str, b: str) -> None:
        """Cut the link between two endpoints: host names, "client", "storage" or the name or uuid of an SR, or "*"
        for every host and client (not storage)."""
        self._cuts.add(self._pair(a, b))

    def heal(self, a: str, b: str) -> None:
        """Undo a cut; "*" undoes every cut of `a`, storage included."""
        if "*" in (a, b):
            one = b if a == "*" else a
            self._cuts = {pair for pair in self._cuts if one not in pair}
        else:
            self._cuts.discard(self._pair(a, b))

    @staticmethod
    def _pair(a: str, b: str) -> tuple[str, str]:
        return (a, b) if a <= b else (b, a)

    def linked(self, a: str, b: str) -> bool:
        """Packets get from one endpoint to the other; says nothing about power."""
        if a == b:
            return True
        cuts = self._cuts
        return not cuts or not ({self._pair(a, b), self._pair(a, "*"), self._pair(b, "*")} & cuts)

    def isolated(self, host: str) -> bool:
        """Its own cable is out."""
        return self._pair(host, "*") in self._cuts

    def cuts(self) -> list[tuple[str, str]]:
        """Every cut, sorted."""
        return sorted(self._cuts)

    def reaches_sr(self, host: str, sr: str) -> bool:
        """The host is cabled to the SR (by uuid) and nothing is cut."""
        box = self.boxes[host]
        if sr not in box.sees:
            return False
        ends = ("storage", sr, self.sr_names.get(sr, ""))
        return not any(self._pair(host, end) in self._cuts for end in ends if end)

    # -- domains -----------------------------------------------------------------------------------------------

    def copies(self, vm: str) -> list[Domain]:
        """Every live domain of a VM."""
        return [box.domains[vm] for box in self.boxes.values() if vm in box.domains]

    def memory_free(self, host: str) -> int:
        """Bytes that no domain holds."""
        box = self.boxes[host]
        return box.memory - box.taken - sum(d.memory for d in box.domains.values())

    def fill_memory(self, host: str, leave: int) -> None:
        """Something takes all memory of a host but `leave` bytes."""
        self.boxes[host].taken = 0
        self.boxes[host].taken = max(0, self.memory_free(host) - leave)

    def release_memory(self, host: str) -> None:
        """Undo fill_memory."""
        self.boxes[host].taken = 0

    def start(
        self, host: str, vm: str, name: str, memory: int, disks: Iterable[Disk], *, paused: bool = False
    ) -> Domain:
        """A domain comes to life; harm that this does is recorded, never prevented."""
        box = self.boxes[host]
        domain = Domain(vm, name, host, self._clock(), memory, box.next_domid, tuple(disks), paused)
        box.next_domid += 1
        others = self.copies(vm)
        box.domains[vm] = domain
        self._note_disks(domain)
        for other in others:
            self.record("two-domains", f"{name} runs on {other.host} and on {host}", vm=vm, host=host)
        self._judge_disks(domain)
        return domain

    def _judge_disks(self, domain: Domain) -> None:
        for disk in domain.disks:
            if not self.reaches_sr(domain.host, disk.sr):
                where = self.sr_names.get(disk.sr, disk.sr)
                text = f"{domain.name} runs on {domain.host}, which cannot reach {where}"
                self.record("no-storage", text, vm=domain.vm, host=domain.host)
            for holder in self.holders(disk.vdi):
                if holder is domain:
                    continue
                theirs = next(d for d in holder.disks if d.vdi == disk.vdi)
                if (disk.writable or theirs.writable) and not (disk.sharable and theirs.sharable):
                    text = (
                        f"disk {disk.vdi} is open by {holder.name} on {holder.host} and by {domain.name} "
                        f"on {domain.host}, and not only for reading"
                    )
                    self.record("two-writers", text, vm=domain.vm, host=domain.host)

    def holders(self, vdi: str) -> list[Domain]:
        """Domains that hold a disk open."""
        there = [
            d
            for d in self._openers.get(vdi, ())
            if self.boxes[d.host].domains.get(d.vm) is d and any(disk.vdi == vdi for disk in d.disks)
        ]
        self._openers[vdi] = there
        return list(there)

    def reopen(self, domain: Domain, disks: Iterable[Disk]) -> None:
        """A running domain gets other disks: one was put in or taken out."""
        domain.disks = tuple(disks)
        self._note_disks(domain)

    def _note_disks(self, domain: Domain) -> None:
        for disk in domain.disks:
            openers = self._openers.setdefault(disk.vdi, [])
            if not any(known is domain for known in openers):
                openers.append(domain)

    def stop(self, host: str, vm: str) -> Domain | None:
        """A domain ends; None if there was none."""
        return self.boxes[host].domains.pop(vm, None)

    def move(self, vm: str, source: str, target: str) -> Domain | None:
        """Live migration's switch: at no instant are there two live copies."""
        domain = self.stop(source, vm)
        if domain is None:
            return None
        moved = self.start(target, vm, domain.name, domain.memory, domain.disks, paused=domain.paused)
        moved.since = domain.since
        return moved

    def power_off(self, host: str) -> None:
        """All that ran there is gone."""
        box = self.boxes[host]
        box.powered = False
        box.domains.clear()

    def record(self, kind: str, text: str, *, vm: str = "", host: str = "") -> None:
        """Write harm down, with the time."""
        self.harm.append(Harm(self._clock(), kind, text, vm, host))
