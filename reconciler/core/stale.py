"""What a promotion from an old copy of the database costs: VMs that hosts kill as they come back to it. Pure.

At each start of its xapi a host compares what it runs with the master's database (sheet §2.6; recordings 05, 08): a VM
that the database does not know, or has on another host, is killed; one that it has as halted is adopted. The promoted
host does so first, and a VM that it should run and does not is halted then, so that its real host adopts it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from reconciler.core.copies import Change, Copy, CopyMemory, Spell, spells
from reconciler.core.plan import Thing
from reconciler.core.words import count, utc


class Chance(StrEnum):
    """How likely a loss is."""

    SURE = "will"
    MAY = "may"  # the copy may be of before or of after, or it is a matter of who comes back first
    UNLIKELY = "hardly"  # only where XAPI's own backups failed, or a member comes back before the new master is up


@dataclass(frozen=True, slots=True)
class Loss:
    """One VM that the promotion would kill on `host` (a name), or, with `host` "", only forget: its record is lost."""

    vm: Thing
    host: str
    chance: Chance
    why: str

    def __str__(self) -> str:
        return f"{self.vm.name}{f' on {self.host}' if self.host else ''} ({self.why})"


@dataclass(frozen=True)
class Toll:
    """What one candidate's copy would cost, by the VM's name."""

    killed: tuple[Loss, ...] = ()
    forgotten: tuple[Loss, ...] = ()

    @property
    def counted(self) -> tuple[Loss, ...]:
        """Those that count against policy.metadata.maxKilled."""
        return tuple(one for one in self.killed if one.chance is not Chance.UNLIKELY)

    @property
    def likely(self) -> tuple[Loss, ...]:
        """Every loss but the unlikely ones."""
        return self.counted + tuple(one for one in self.forgotten if one.chance is not Chance.UNLIKELY)

    def __bool__(self) -> bool:
        return bool(self.killed or self.forgotten)

    def spared(self, hosts: Collection[str]) -> Toll:
        """Without the VMs on these hosts (names), which are lost themselves."""
        return Toll(tuple(one for one in self.killed if one.host not in hosts), self.forgotten)

    def words(self) -> list[str]:
        """A sentence for each kind of loss, with every VM by name."""
        told = []
        for chance, verb in ((Chance.SURE, "kills"), (Chance.MAY, "may kill")):
            if found := [str(one) for one in self.killed if one.chance is chance]:
                told.append(f"it {verb} {count(len(found), 'running VM')}: {', '.join(found)}")
        if found := [str(one) for one in self.forgotten if one.chance is not Chance.UNLIKELY]:
            told.append(f"it may forget {count(len(found), 'VM')}, whose disks stay: {', '.join(found)}")
        if found := [str(one) for one in self.killed + self.forgotten if one.chance is Chance.UNLIKELY]:
            told.append(f"it hardly risks {count(len(found), 'VM')}: {', '.join(found)}")
        return told


@dataclass(frozen=True)
class Hosts:
    """Hosts of the last known pool by uuid: their names, those that answer now, and those that are dead or taken for
    dead by the promotion itself."""

    names: Mapping[str, str]
    answering: frozenset[str]
    dead: frozenset[str]


def toll(known: Mapping[str, tuple[str, str]], memory: CopyMemory, copy: Copy, candidate: str, hosts: Hosts) -> Toll:
    """What a promotion of the host with the uuid `candidate` would cost, as far as this machine saw the pool; `known`
    is copies.residence of the pool as last read.

    Every VM that a host could kill is in it, if it was seen to change; those of dead hosts run nowhere.
    """
    killed: list[Loss] = []
    forgotten: list[Loss] = []
    changed: dict[str, list[Change]] = {}
    for change in memory.changes:
        if change.uuid in known:
            changed.setdefault(change.uuid, []).append(change)
    for uuid, changes in sorted(changed.items(), key=lambda item: (known[item[0]][0], item[0])):
        name, where = known[uuid]
        told = spells(where, changes, until=copy.high)
        runs = bool(where) and where not in hosts.dead
        found = _worst(told, where if runs else "", copy, candidate, hosts)
        if found is None:
            continue
        chance, why = found
        loss = Loss(Thing("vm", name, uuid), hosts.names.get(where, "") if runs else "", chance, why)
        (killed if runs else forgotten).append(loss)
    return Toll(tuple(killed), tuple(forgotten))


_RANK = {Chance.SURE: 0, Chance.MAY: 1, Chance.UNLIKELY: 2}


def _worst(told: list[Spell], where: str, copy: Copy, candidate: str, hosts: Hosts) -> tuple[Chance, str] | None:
    """The likeliest way in which a VM dies or is forgotten, None when it can't."""
    found: list[tuple[Chance, str]] = []
    saved = told[-1].begin < copy.high  # the copy may know where it is now
    for number, spell in enumerate(told[:-1]):
        fate = _fate(spell.where, where, candidate, hosts)
        possible = spell.begin < copy.high and spell.end > copy.low
        if fate is None:
            saved = saved or possible
            continue
        chance, because = fate
        left = told[number + 1].begin
        if spell.where is None:
            why = f"created between {_clock(left)} and {_clock(spell.end)} UTC"
        else:
            why = f"it left {hosts.names[spell.where]} between {_clock(left)} and {_clock(spell.end)} UTC"
        why += because
        if possible:
            found.append((chance, why))
        elif copy.proved is not None and copy.proved < spell.end and spell.begin < copy.low:
            found.append((Chance.UNLIKELY, f"{why}; only if XAPI's own backups failed since"))
    if not found:
        return None
    chance, why = min(found, key=lambda one: _RANK[one[0]])
    if chance is Chance.SURE and saved:
        chance = Chance.MAY
    return chance, why


def _fate(was: str | None, where: str, candidate: str, hosts: Hosts) -> tuple[Chance, str] | None:
    """What becomes of a VM that runs on `where` ("": nowhere) and that the copy has at `was`."""
    if was is None:
        return Chance.SURE, ""
    if not where or was in ("", where) or was not in hosts.names:
        return None
    if where == candidate or was not in hosts.answering:
        return Chance.SURE, ""
    if was == candidate:
        new, old = hosts.names[candidate], hosts.names[where]
        return Chance.UNLIKELY, f"; only if {old} is back before {new} has looked at its own VMs"
    return Chance.MAY, f"; safe if {hosts.names[was]} comes back first"


def _clock(at: float) -> str:
    return utc(at).split()[1]
