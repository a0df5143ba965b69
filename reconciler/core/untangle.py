"""Out of a tangle: nobody is master, and the members follow one another or different hosts. Pure.

No chain of masters ends at a living one, so one host must become master and the others be pointed at it. The one that
was master last is right: its own database is the newest, and what the hosts run is what it has. It is no promotion
beside a living master: every declared member says itself that it is none, or is proved dead (recording 13: out of the
circle by emergency_transition_to_master; pool.recover_slaves then brings those that still follow another).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reconciler.core.armed import armed_bar, armed_first, disarm_words, pool_says_on
from reconciler.core.copies import CopyMemory
from reconciler.core.draft import Draft, apply_command, fence_command, look_and_attest, plan_command
from reconciler.core.evidence import Diagnosis, Incident, LoginAnswer, Survey, Verdict
from reconciler.core.judge import uuid_of
from reconciler.core.masterless import role_files
from reconciler.core.model import PoolState
from reconciler.core.plan import Action, Verb
from reconciler.core.regain import Regain, host_thing, recovery
from reconciler.core.rights import RUN_ELSEWHERE, local_remedy, no_local_session
from reconciler.core.succession import Succession, option_of, succession, too_many
from reconciler.core.ties import End, roots
from reconciler.core.wanted import Member, Wanted
from reconciler.core.words import names, utc

_MEMBERS = (LoginAnswer.SLAVE, LoginAnswer.EMERGENCY)


def plan_tangle(
    wanted: Wanted,
    survey: Survey,
    diagnosis: Diagnosis,
    *,
    known: PoolState | None,
    incident: Incident | None,
    yields: frozenset[str] = frozenset(),
    memory: CopyMemory | None = None,
    now: float = 0.0,
) -> Regain:
    """PROMOTE of the host that was master last, and RECOVER_MEMBERS; withheld while any member may be a master.

    Of several dead hosts that members follow each may have been master last: `yields` are those of which a person said
    that they were not.
    """
    regain = Regain(draft := Draft())
    last, told = _last_master(wanted, known)
    followed = [wanted.member(x) for x, end in roots(diagnosis.ties).items() if end is End.SILENT]
    left = [m for m in followed if m is not None and m.name not in yields]
    if len(followed) > 1 and len(left) == 1:
        last, told = left[0], f"you said that {left[0].name} was master last"
    if last is None:
        # Whom they follow is told, or only their role files tell it.
        known_ties = any(tie.follows for tie in diagnosis.ties)
        return replace(regain, remedy=told if known_ties else role_files(wanted, survey))
    silent = [t.name for t in survey.testimonies if t.login not in _MEMBERS]
    dead = [n for n in silent if (j := diagnosis.of(n)) is not None and j.verdict is Verdict.DEAD]
    candidate: Member | None = last
    option = option_of(wanted, survey, diagnosis, last, (), known=known, memory=memory, now=now)
    if last.name in dead:
        heirs = succession(
            wanted, survey, diagnosis, [last.name], known=known, memory=memory, incident=incident, now=now
        )
        draft.notes += [*heirs.passed, *heirs.notes(known, len(wanted.members))]
        candidate, option = (heirs.first.member, heirs.first) if heirs.first else (None, option)
    if candidate is None:
        draft.notes.append("no member that answers can be promoted: its local login must work")
        return regain
    why = told if candidate is last else f"{told}, and it is proved dead"
    why += ". Only its toolstack restarts; running VMs are not touched"
    if option.kills:  # a probe says that its database is older than what runs
        why = f"{told.partition(', so its own')[0]}. Its toolstack restarts"
    promote = Action(
        Verb.PROMOTE,
        host_thing(candidate, known),
        why,
        before=_follows(diagnosis, candidate.name),
        after="master",
        certificate_of=tuple(dead),
        via=candidate.address,
        kills=option.kills,
    )
    if candidate is last and option.toll:
        draft.notes += Succession((option,)).notes(known, len(wanted.members))
    why, remedy = _bars(wanted, survey, diagnosis, known, candidate, [n for n in silent if n not in dead])
    if not why and len(followed) > 1 and len(left) != 1:
        why = (
            f"members follow {names(m.name for m in followed if m)}, and which of them was master last can't be told: "
        )
        why += "a copy of the other's time has lost what came after"
        remedy = f"say which one was not: {apply_command(wanted, '--yield', last.name)}"
    if not why:
        why, remedy = too_many(wanted, option, lost=candidate is not last)
    if why:
        draft.hold(promote, why, remedy)
        return Regain(draft, candidate, last if last.name in dead else None)
    why = f"the others still follow one another; {candidate.name} can't finish its start until they follow it"
    recover = recovery(wanted, known, candidate, promote, why, "members follow one another")
    draft.actions += [promote, recover]
    return Regain(draft, candidate, last if last.name in dead else None)


def _bars(
    wanted: Wanted,
    survey: Survey,
    diagnosis: Diagnosis,
    known: PoolState | None,
    candidate: Member,
    doubtful: Sequence[str],
) -> tuple[str, str]:
    """Why nobody may be promoted, and the next step; ("", "") where nothing bars it."""
    ends = roots(diagnosis.ties)
    if (known is not None and known.pool.ha_enabled) or pool_says_on(survey):
        return (
            "XAPI's own HA is on in this pool, and it chooses a new master by itself",
            f"wait and look: xenrec status {wanted.argument}",
        )
    for foreign in (x for x, end in ends.items() if end is End.FOREIGN):
        behind = [tie.member for tie in diagnosis.ties if tie.follows == foreign]
        return (
            f"{names(behind)} {'follows' if len(behind) == 1 else 'follow'} {foreign}, which is no declared "
            "member's address: the pool's master may be there",
            f"declare the host at {foreign} under spec.members",
        )
    if not any(tie.follows for tie in diagnosis.ties) and (others := _undeclared(wanted, known)):
        return (
            f"nobody says whom it follows, and the pool may have a master that is not declared: {others}",
            role_files(wanted, survey) if known is None else "declare every host of the pool under spec.members",
        )
    for name in unflagged(survey):
        return (
            f"{name} does not say whom it follows, nor that it is in emergency mode: it may be a master that starts",
            f"wait a minute, then: {plan_command(wanted)}",
        )
    # In emergency mode a member obeys nobody. Whom it follows is declared, and so heard or proved dead, or it is not.
    for untold in (x for x, end in ends.items() if end is End.UNTOLD and _undeclared(wanted, known)):
        return (
            f"members follow {untold}, which does not say whom it follows: it may be a host that is not declared, for "
            f"{_undeclared(wanted, known)}",
            role_files(wanted, survey) if known is None else "declare every host of the pool under spec.members",
        )
    for name in doubtful:
        member, judged = wanted.member(name), diagnosis.of(name)
        fences = member is not None and bool(member.fencing)
        return (
            f"{name} may be a master that nobody hears: {judged.why if judged else 'it was not asked'}",
            fence_command(wanted, name) if fences else look_and_attest(wanted, name),
        )
    if why := armed_bar(survey, candidate.name):
        return why, disarm_words(wanted, armed_first(survey))
    t = survey.of(candidate.name)
    if t is not None and no_local_session(t):
        account = wanted.connection.local_account.username
        return (
            f"{candidate.name} gave no local session to {account}, and a promotion needs one",
            local_remedy(wanted) if t.local_login is False else RUN_ELSEWHERE,
        )
    return "", ""


def unflagged(survey: Survey) -> list[str]:
    """Members of which only the login speaks of emergency mode: a master that starts gives the same answers to one."""
    return [t.name for t in survey.testimonies if t.login is LoginAnswer.EMERGENCY and not t.is_emergency]


def _last_master(wanted: Wanted, known: PoolState | None) -> tuple[Member | None, str]:
    """Who was master last, and how that is known; or None, and what would tell."""
    if known is not None and known.master is not None:
        for one in wanted.members:
            if uuid_of(one, known) == known.master.uuid:
                read = f"when the pool was last read, at {utc(known.read_at)}"
                return one, f"{one.name} was master {read}, so its own database is the newest"
    if wanted.master is not None and (member := wanted.member(wanted.master.host)) is not None:
        return member, f"this machine never read the pool, and the manifest names {member.name} as master"
    return None, (
        "who was master last can't be told, for this machine never read the pool: set spec.master.host in "
        f"{wanted.source or 'the manifest'} to that host"
    )


def _undeclared(wanted: Wanted, known: PoolState | None) -> str:
    """Why a host that is not declared may be the pool's master; "" where every host of the pool is declared."""
    if known is None:
        return "this machine never read the pool"
    declared = {uuid_of(member, known) for member in wanted.members}
    others = sorted(host.name for host in known.hosts.values() if host.uuid not in declared)
    return f"{names(others)} was in it" if others else ""


def _follows(diagnosis: Diagnosis, name: str) -> str:
    whom = next((tie.follows for tie in diagnosis.ties if tie.member == name), "")
    return f"member of {whom}" if whom else "a member"
