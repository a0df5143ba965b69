"""Which member is to be promoted: whose copy of the database costs least, then the manifest's order. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.core.copies import NOTHING, Basis, Copy, CopyMemory, age_words, copy_of, residence
from reconciler.core.evidence import Diagnosis, Incident, LoginAnswer, Survey, Verdict
from reconciler.core.fates import Doomed
from reconciler.core.judge import uuid_of
from reconciler.core.model import PoolState
from reconciler.core.rights import no_local_session
from reconciler.core.stale import Hosts, Toll, toll
from reconciler.core.wanted import Member, Wanted
from reconciler.core.words import address_host, count, names, utc

BACKUP_MINUTES = 5
"""As copies.BACKUP_EVERY, for a pool of which nothing else is known."""


NO_TOLL = Toll()


@dataclass(frozen=True)
class Option:
    """A member that could be promoted: its copy, what that costs, and the shared SRs that it does not reach; the copy
    is None where the pool was never read from here."""

    member: Member
    copy: Copy | None = None
    toll: Toll = NO_TOLL
    without: tuple[str, ...] = ()

    @property
    def cost(self) -> tuple[int, int, int]:
        """What is compared: VMs killed, VMs forgotten, SRs out of reach."""
        return len(self.toll.counted), len(self.toll.likely), len(self.without)

    @property
    def kills(self) -> tuple[Doomed, ...]:
        """The running VMs that its promotion may kill, those that count against policy.metadata.maxKilled."""
        return tuple(Doomed(one.vm.name, one.vm.uuid, one.host, one.why) for one in self.toll.counted)

    def words(self) -> str:
        """What its promotion would cost."""
        return "; ".join(self.toll.words()) or "no VM is known to have started, moved or been created since"


@dataclass(frozen=True)
class Succession:
    """Everybody who could be promoted, in the order of preference; why others were passed over, a sentence each."""

    options: tuple[Option, ...]
    passed: tuple[str, ...] = ()

    @property
    def first(self) -> Option | None:
        """Who is promoted."""
        return self.options[0] if self.options else None

    def why(self, wanted: Wanted) -> str:
        """Why the first and not another, "" where the manifest's order says it already."""
        order = [m for m in ranked(wanted) if any(o.member.name == m for o in self.options)]
        if not self.options or order[0] == self.options[0].member.name:
            return ""
        chosen = self.options[0]
        declared = next(o for o in self.options if o.member.name == order[0])
        if declared.cost[:2] != chosen.cost[:2]:
            return f"{chosen.member.name} and not {declared.member.name}, whose copy of the database costs more VMs"
        return f"{chosen.member.name} and not {declared.member.name}, which does not reach {names(declared.without)}"

    def forewarning(self, wanted: Wanted, master: str, now: float) -> str:
        """What the loss of the master now would cost, with the basis; "" where nobody can tell."""
        first = self.first
        if first is None or first.copy is None:
            return f"if {master} were lost now, no member could be promoted" if wanted.members[1:] else ""
        told = (
            f"if {master} were lost now, promoting {first.member.name} would lose at most {age_words(first.copy, now)}"
        )
        if first.toll.likely:
            told += f"; {first.words()}"
        if wanted.policy.metadata.refresh_every is None and first.copy.basis is not Basis.PROBE:
            told += ". To bound it declare policy.metadata.refreshEvery"
        return told

    def notes(self, known: PoolState | None, members: int) -> list[str]:
        """What the promotion of each would lose, the chosen one first."""
        if not self.options:
            return []
        first, others = self.options[0], self.options[1:]
        name = first.member.name
        if first.copy is None or known is None:
            oldest = BACKUP_MINUTES * max(1, members - 1)
            return [
                f"{name} becomes master with its own copy of the database, which may be up to {oldest} min old: VMs "
                "that started, moved or were created since then may be killed when the hosts come back to it. Which "
                "ones is not known, for the pool was never read from this machine"
            ]
        risk = f"When the hosts come back to it, {first.words()}" if first.toll else _upper(first.words())
        found = [
            f"{name} becomes master with its own copy of the database, {first.copy.words()}. {risk}. What happened "
            f"after {utc(known.read_at)}, when the pool was read last, is not known"
        ]
        same = [o for o in others if o.cost == first.cost and _age(o) == _age(first) and o.words() == first.words()]
        if same:
            found.append(f"{names(o.member.name for o in same)} instead would cost the same")
        for other in others:
            if other not in same and other.copy is not None:
                cut = f"; it does not reach {names(other.without)}" if other.without else ""
                found.append(f"{other.member.name} instead: its copy is {other.copy.words()}; {other.words()}{cut}")
        found += [f"{o.member.name}: {o.copy.doubt}" for o in self.options if o.copy is not None and o.copy.doubt]
        return found


def _age(option: Option) -> tuple[object, ...]:
    return (option.copy.basis, option.copy.low) if option.copy is not None else ()


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def same_host(follows: str, member: Member) -> bool:
    """Whether an address as XAPI tells it is that member's."""
    return address_host(follows) == address_host(member.address)


def ranked(wanted: Wanted) -> list[str]:
    """Names of members in the manifest's order of succession: the declared master, successors, the others."""
    wish = wanted.master
    return list(dict.fromkeys([*((wish.host, *wish.successors) if wish else ()), *(m.name for m in wanted.members)]))


def succession(
    wanted: Wanted,
    survey: Survey,
    diagnosis: Diagnosis,
    lost: Sequence[str],
    *,
    known: PoolState | None,
    memory: CopyMemory | None,
    incident: Incident | None,
    now: float,
) -> Succession:
    """Who could take over from `lost` (names; the first is the master), the best first: the one of an earlier
    promotion of this incident alone while it answers and nobody pointed it elsewhere since; else by the fewest VMs
    killed and forgotten, then the storage in reach, then the manifest's order. A generation breaks no tie: it does not
    tell what changed. One that follows another member is passed over: whether it heard of a promotion could not be told
    from whom it follows.
    """
    order = ranked(wanted)
    if incident is not None:
        pinned = survey.of(incident.candidate)
        elsewhere = pinned is not None and pinned.follows not in (None, address_host(incident.lost_address))
        if pinned is not None and pinned.answers and not elsewhere:
            order = [incident.candidate]
    passed: list[str] = []
    found: list[Member] = []
    broken: list[Member] = []
    master = wanted.member(lost[0]) if lost else None
    direct = master is not None and any(t.follows and same_host(t.follows, master) for t in survey.testimonies)
    for name in order:
        member, t = wanted.member(name), survey.of(name)
        if member is None or t is None or name in lost:
            continue
        if not t.answers:
            passed.append(f"{name} was passed over as new master: it does not answer")
        elif no_local_session(t):
            said = "it rejects our local login" if t.local_login is False else "it was not asked for a local session"
            passed.append(f"{name} was passed over as new master: {said}")
        elif member.state == "maintenance":
            passed.append(f"{name} was passed over as new master: it is declared in maintenance")
        elif direct and t.follows and not (master and same_host(t.follows, master)):
            passed.append(f"{name} was passed over as new master: it follows {t.follows}, and not {lost[0]}")
        elif t.broken:
            broken.append(member)
        elif t.login in (LoginAnswer.SLAVE, LoginAnswer.EMERGENCY):
            found.append(member)
    if found:
        passed += [f"{m.name} was passed over as new master: its role file is broken" for m in broken]
    else:
        found = broken  # XAPI promotes it, too, and then its role file says master (sheet §2.8)
    if known is None:
        return Succession(tuple(Option(m) for m in found), tuple(passed))
    hosts = _hosts(wanted, survey, diagnosis, lost, known)
    where = residence(known)
    options = [_option(m, known, where, memory or NOTHING, survey, hosts, now) for m in found]
    return Succession(tuple(sorted(options, key=lambda o: o.cost)), tuple(passed))


def option_of(
    wanted: Wanted,
    survey: Survey,
    diagnosis: Diagnosis,
    member: Member,
    lost: Sequence[str],
    *,
    known: PoolState | None,
    memory: CopyMemory | None,
    now: float,
) -> Option:
    """What the promotion of that member would cost, whether or not it would be chosen."""
    if known is None:
        return Option(member)
    hosts = _hosts(wanted, survey, diagnosis, lost, known)
    return _option(member, known, residence(known), memory or NOTHING, survey, hosts, now)


def _hosts(wanted: Wanted, survey: Survey, diagnosis: Diagnosis, lost: Sequence[str], known: PoolState) -> Hosts:
    answering, dead = set(), set()
    for member in wanted.members:
        uuid, t, judged = uuid_of(member, known), survey.of(member.name), diagnosis.of(member.name)
        if uuid is None:
            continue
        if member.name in lost or (judged is not None and judged.verdict is Verdict.DEAD):
            dead.add(uuid)
        elif t is not None and t.answers:
            answering.add(uuid)
    named = {h.uuid: h.name for h in known.hosts.values()}
    return Hosts(named, frozenset(answering), frozenset(dead))


def _option(
    member: Member,
    known: PoolState,
    where: Mapping[str, tuple[str, str]],
    memory: CopyMemory,
    survey: Survey,
    hosts: Hosts,
    now: float,
) -> Option:
    uuid = uuid_of(member, known)
    copy = copy_of(member.name, uuid, known, memory, survey, now)
    ref = next((h.ref for h in known.hosts.values() if h.uuid == uuid), "")
    without = sorted(
        known.srs[p.sr].name
        for p in known.pbds.values()
        if p.host == ref and not p.currently_attached and p.sr in known.srs and known.srs[p.sr].shared
    )
    return Option(member, copy, toll(where, memory, copy, uuid or "", hosts), tuple(without))


def too_many(wanted: Wanted, option: Option, *, lost: bool = True) -> tuple[str, str]:
    """Why a promotion kills too many VMs, and what to do; ("", "") when it does not. `lost`: there is a lost master."""
    most, killed = wanted.policy.metadata.max_killed, len(option.toll.counted)
    if killed <= most:
        return "", ""
    return (
        f"it may kill {count(killed, 'running VM')} (the notes name each), and policy.metadata.maxKilled is {most}",
        ("bring the lost master back, whose own database knows them all; or, " if lost else "") + "to accept it, set "
        f"policy.metadata.maxKilled to {killed}",
    )
