"""How old each member's copy of the pool database may be, and what changed meanwhile (sheet §2.7). Pure.

A promoted member boots from its copy, and XAPI tells nobody how old that is. What bounds it: the last refresh that
XAPI confirmed, XAPI's own backups, and the word of a probe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from reconciler.core.evidence import LoginAnswer, Survey
from reconciler.core.model import PoolState, PowerState
from reconciler.core.words import lasting, utc

BACKUP_EVERY = 300.0
"""Seconds: a master gives its database to one member after the other, so long apart (xapi.conf pool_db_sync_interval;
pool_db_backup.ml; sheet §2.7)."""
PROBE_MARGIN = 60.0
"""Seconds by which a host's clock and the time at which its file was written may mislead."""
CHANGES_KEPT = 7 * 86_400.0
"""Seconds for which a change is remembered: no copy that somebody would promote is older."""
MOST_CHANGES = 20_000


@dataclass(frozen=True, slots=True)
class Change:
    """A VM's residence changed. `was` and `now` are a host's uuid, "" for none (halted, suspended), None where the pool
    has no such VM. It happened after `after` and was seen at `seen` (UTC seconds)."""

    uuid: str
    name: str
    was: str | None
    now: str | None
    after: float
    seen: float


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The host of that uuid has a copy of the database as it was at `at` (UTC seconds) or later. `assumed`: the call
    failed for another host, and XAPI names only one that failed."""

    host: str
    at: float
    assumed: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """A member was out of the master's reach: fine at `lost_at`, and again at `back_at` (UTC seconds; None: not yet).
    XAPI's own backups did not reach it meanwhile, nor for a round after."""

    member: str
    lost_at: float
    back_at: float | None = None


@dataclass(frozen=True)
class CopyMemory:
    """What this machine remembers: `since` when (UTC seconds) it has noted every change that it could see, None: never.
    A VM that moved and came back between two looks was not seen."""

    since: float | None = None
    changes: tuple[Change, ...] = ()
    refreshed: tuple[Refreshed, ...] = ()
    gaps: tuple[Gap, ...] = ()
    failed: float | None = None
    """When the last refresh failed (UTC seconds), for another reason than a host that is down; None: it did not. What
    keeps it from working keeps XAPI's own backups from working, too."""

    def of(self, host: str) -> Refreshed | None:
        """The last refresh of the host of that uuid."""
        return next((r for r in self.refreshed if r.host == host), None)

    def with_refreshed(self, fresh: tuple[Refreshed, ...]) -> CopyMemory:
        """With these in the place of older ones."""
        named = {r.host for r in fresh}
        return replace(self, refreshed=(*(r for r in self.refreshed if r.host not in named), *fresh), failed=None)


NOTHING = CopyMemory()


def residence(state: PoolState) -> dict[str, tuple[str, str]]:
    """VM uuid -> (name, where its domain is: a host's uuid, or "") of every guest."""
    found = {}
    for vm in state.guests:
        host = state.hosts.get(vm.resident_on or "")
        runs = host is not None and vm.power_state in (PowerState.RUNNING, PowerState.PAUSED)
        found[vm.uuid] = (vm.name, host.uuid if runs and host is not None else "")
    return found


def remembered(memory: CopyMemory, before: PoolState | None, state: PoolState, seen: Survey, now: float) -> CopyMemory:
    """The memory after a look at a managed pool; `before` is the pool as it was read last, `now` when this reading had
    ended. Another pool's reading, or none, begins anew."""
    if before is None or before.pool.uuid != state.pool.uuid or memory.since is None:
        memory = replace(memory, since=state.read_at, changes=())
        before = None
    changes = list(memory.changes)
    if before is not None:
        was, is_now = residence(before), residence(state)
        for uuid in sorted(was.keys() | is_now.keys()):
            old, new = was.get(uuid), is_now.get(uuid)
            if (old and old[1]) != (new and new[1]):
                name = (new or old or ("", ""))[0]
                changes.append(
                    Change(uuid, name, old[1] if old else None, new[1] if new else None, before.read_at, now)
                )
    horizon = now - CHANGES_KEPT
    kept = [c for c in changes if c.seen >= horizon][-MOST_CHANGES:]
    since = memory.since
    if len(kept) < len(changes):
        dropped = changes[len(changes) - len(kept) - 1] if kept else changes[-1]
        since = max(since or 0.0, dropped.seen)
    gaps = _gaps(memory, before, seen, now)
    if (since, tuple(kept), gaps) == (memory.since, memory.changes, memory.gaps):
        return memory
    return replace(memory, since=since, changes=tuple(kept), gaps=gaps)


def cut_off(memory: CopyMemory, before: PoolState | None, seen: Survey, now: float) -> CopyMemory:
    """Only who was out of the master's reach, where what the master says is not to be remembered."""
    return replace(memory, gaps=_gaps(memory, before, seen, now))


def _gaps(memory: CopyMemory, before: PoolState | None, seen: Survey, now: float) -> tuple[Gap, ...]:
    known = {g.member: g for g in memory.gaps}
    for t in seen.testimonies:
        fine = t.login is LoginAnswer.MASTER or (t.login is LoginAnswer.SLAVE and t.reaches_master is not False)
        gap = known.get(t.name)
        if fine and gap is not None and gap.back_at is None:
            known[t.name] = replace(gap, back_at=now)
        elif not fine and (gap is None or gap.back_at is not None):
            known[t.name] = Gap(t.name, before.read_at if before else now)
    declared = {t.name for t in seen.testimonies}
    return tuple(g for name, g in sorted(known.items()) if name in declared)


class Basis(StrEnum):
    """What the age of a copy is known by."""

    PROBE = "probe"
    OWN = "own"  # it was master itself when the pool was read last
    REFRESH = "refresh"
    ASSUMED = "assumed"  # a refresh that failed for another host
    BACKUPS = "backups"  # XAPI's own, by its default
    FAILED = "failed"  # not even those: a refresh failed since
    NOTHING = "nothing"  # not even those: it was out of the master's reach


@dataclass(frozen=True, slots=True)
class Copy:
    """One member's copy: it holds the pool as it was at some time from `low` on and not after `high` (UTC seconds).

    `proved` is the earliest time that it may be of where XAPI's own backups failed: the last refresh or the probe's
    word, None where there is neither. `generation` is the database's own counter, as the probe told it. `doubt` says
    why a probe's answer was not used.
    """

    member: str
    low: float
    high: float
    basis: Basis
    proved: float | None = None
    generation: int | None = None
    doubt: str = ""

    def words(self) -> str:
        """Of which time it is, and how that is known."""
        match self.basis:
            case Basis.PROBE:
                return f"of {utc(self.low + PROBE_MARGIN)} (its probe says so)"
            case Basis.OWN:
                return f"of {utc(self.low)} or later (it was master then)"
            case Basis.REFRESH:
                return f"of {utc(self.low)} or later (refreshed by xenrec)"
            case Basis.ASSUMED:
                return f"of {utc(self.low)} or later (refreshed by xenrec while another host was down)"
            case Basis.BACKUPS:
                return f"of {utc(self.low)} or later, if XAPI's own backups work (one per 5 min and member)"
            case Basis.FAILED:
                return f"perhaps of {utc(self.low)}: a refresh has failed since, so XAPI's own backups may fail, too"
            case Basis.NOTHING:
                return f"perhaps of {utc(self.low)}: it was out of the master's reach, and no refresh is known since"


def copy_of(member: str, host: str | None, known: PoolState, memory: CopyMemory, survey: Survey, now: float) -> Copy:
    """How old a member's copy may be. `host` is its uuid, `known` the pool as last read under its last master: until
    then XAPI's backups went on, and a loss after it only makes them later."""
    alive_at = known.read_at
    round_takes = BACKUP_EVERY * max(1, len(known.hosts) - 1)
    gap = next((g for g in memory.gaps if g.member == member), None)
    cut = gap is not None and (gap.back_at is None or alive_at - gap.back_at < round_takes)
    by_backups = (gap.lost_at if gap is not None and cut else alive_at) - round_takes
    fresh = memory.of(host or "")
    t = survey.of(member)
    told = t.copy if t is not None else None
    doubt = told.why if told is not None else ""
    if told is not None and told.at is not None and told.at > now + PROBE_MARGIN:
        doubt = f"the probe says that its copy is of {utc(told.at)}, which is still to come"
        told = None
    generation = told.generation if told is not None else None
    if told is not None and told.at is not None:
        low = told.at - PROBE_MARGIN
        if fresh is not None and not fresh.assumed and told.at + PROBE_MARGIN < fresh.at:
            doubt = f"XAPI confirmed a refresh at {utc(fresh.at)}, and the probe tells of an older copy: it is believed"
        return Copy(member, low, min(now, told.at + PROBE_MARGIN), Basis.PROBE, low, generation, doubt)
    if known.master is not None and known.master.uuid == host:
        return Copy(member, alive_at, now, Basis.OWN, alive_at, generation, doubt)
    proved = fresh.at if fresh is not None and not fresh.assumed else None
    if memory.failed is not None and (fresh is None or memory.failed > fresh.at):
        low = fresh.at if fresh is not None else min(by_backups, memory.failed - round_takes)
        return Copy(member, low, now, Basis.FAILED, proved, generation, doubt)
    if fresh is not None and fresh.at >= by_backups:
        basis = Basis.ASSUMED if fresh.assumed else Basis.REFRESH
        return Copy(member, fresh.at, now, basis, proved, generation, doubt)
    return Copy(member, by_backups, now, Basis.NOTHING if cut else Basis.BACKUPS, proved, generation, doubt)


def age_words(copy: Copy, now: float) -> str:
    """What a loss of the master now would cost at most, with the basis: "the changes of the last 12 min (…)"."""
    span = lasting(max(0.0, now - copy.low))
    how = {
        Basis.PROBE: "by its probe",
        Basis.OWN: f"it was master itself at {utc(copy.low)}",
        Basis.REFRESH: f"refreshed at {utc(copy.low)}",
        Basis.ASSUMED: f"refreshed at {utc(copy.low)} while another host was down, which XAPI does not confirm",
        Basis.BACKUPS: "by XAPI's own backups, one per 5 min and member",
        Basis.FAILED: "a refresh has failed since, so XAPI's own backups may fail, too",
        Basis.NOTHING: "it was out of the master's reach, and no refresh is known since",
    }[copy.basis]
    return f"the changes of the last {span} ({how})"


@dataclass(frozen=True, slots=True)
class Spell:
    """Where a VM was in a span of time: a host's uuid, "" or None; the copy may say so if it is of a time after
    `begin` and before `end` (UTC seconds)."""

    where: str | None
    begin: float
    end: float


def spells(now_at: str | None, changes: Sequence[Change], *, until: float) -> list[Spell]:
    """What copies of different times may say of the VM that these are the changes of, the oldest first. Spans of two
    spells overlap by the time between the two looks that saw the change."""
    found: list[Spell] = []
    begin = float("-inf")
    for change in changes:
        found.append(Spell(change.was, begin, change.seen))
        begin = change.after
    found.append(Spell(now_at, begin, max(until, begin) + 1.0))
    return found
