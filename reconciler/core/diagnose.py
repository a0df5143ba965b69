"""Verdicts -> the situation of the pool: who manages it. Pure: a table of cases, no clock."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.core.draft import apply_command, look_and_attest, plan_command
from reconciler.core.evidence import (
    Certificate,
    Diagnosis,
    Incident,
    Judged,
    LoginAnswer,
    Situation,
    Survey,
    Testimony,
    Tie,
    Verdict,
)
from reconciler.core.judge import judge_member, told_by_others, uuid_of
from reconciler.core.masterless import masterless
from reconciler.core.model import PoolState
from reconciler.core.obligations import Obligation
from reconciler.core.rivals import followers, replaced, rule
from reconciler.core.ties import ties_of
from reconciler.core.wanted import Wanted
from reconciler.core.words import address_host, names, utc


def diagnose(
    wanted: Wanted,
    survey: Survey,
    certificates: Sequence[Certificate],
    *,
    now: float,
    known: PoolState | None = None,
    incident: Incident | None = None,
    obligations: Sequence[Obligation] = (),
    yields: frozenset[str] = frozenset(),
) -> Diagnosis:
    """Who manages the pool, and the verdict on every member. `known` is the pool as read now or last known;
    `obligations` are promotions that are not settled, `yields` the hosts of which a person said that they give way."""
    called = {address_host(m.address): m.name for m in wanted.members}
    ours = [c for c in certificates if c.pool == wanted.name]
    judged = tuple(
        judge_member(
            m,
            t,
            ours,
            uuid_of(m, known),
            now,
            called.get(t.follows or "", ""),
            "" if t.answers else told_by_others(wanted, survey, t, known),
        )
        for m, t in zip(wanted.members, survey.testimonies, strict=True)
    )
    expected = wanted.uuid or (known.pool.uuid if known else None)
    masters = [t for t in survey.testimonies if t.login is LoginAnswer.MASTER]
    strangers = [t for t in masters if expected and t.pool_uuid and t.pool_uuid != expected]
    if strangers:
        them = strangers[0]
        remedy = "correct the member's address, or spec.uuid if the pool was made anew"
        if len(masters) > len(strangers) or any(t.login is LoginAnswer.SLAVE for t in survey.testimonies):
            remedy += (
                f"; if {them.name} was installed anew, shut it down and {look_and_attest(wanted, them.name)}. It can "
                "join once the pool is as declared without it"
            )
        return Diagnosis(
            Situation.STRANGER,
            f"{them.name} ({them.address}) is master of another pool: its uuid is {them.pool_uuid}, not {expected}",
            judged,
            remedy=remedy,
        )
    if len(masters) > 1:
        return _two_masters(wanted, survey, judged, incident, obligations, yields)
    rejected = [t for t in survey.testimonies if t.login is LoginAnswer.REJECTED]
    if rejected and not masters:
        return Diagnosis(
            Situation.DENIED,
            f"{names(t.name for t in rejected)} rejects the login of {wanted.connection.username}",
            judged,
            remedy="check connection.username and where connection.password comes from",
        )
    if masters and (one := _deposed(masters[0], wanted, survey, judged, incident, obligations, yields)):
        return _deposed_words(wanted, one, judged, ties_of(wanted, survey), demoted=_is_demoted(survey, one.master))
    if masters:
        return _managed(wanted, survey, judged, masters[0])
    return masterless(wanted, survey, judged, known=known, incident=incident, now=now)


def _two_masters(
    wanted: Wanted,
    survey: Survey,
    judged: tuple[Judged, ...],
    incident: Incident | None,
    obligations: Sequence[Obligation],
    yields: frozenset[str],
) -> Diagnosis:
    ties = ties_of(wanted, survey)
    masters = tuple(t.member for t in ties if t.login is LoginAnswer.MASTER)
    told = "; ".join(
        f"{m} is followed by {names(behind) if (behind := followers(ties, m)) else 'nobody'}" for m in masters
    )
    ruling = rule(ties, incident=incident, obligations=obligations, yields=yields)
    if ruling.right is not None:
        which = f"{ruling.right} is the pool's: {ruling.why}"
        others = [m for m in masters if m != ruling.right]
        remedy = f"start and move nothing until {names(others)} follows it: {plan_command(wanted)}"
    else:
        which = f"which is the pool's can't be told: {ruling.why}"
        remedy = (
            f"start and move nothing; look which of them has the newest work, and say which gives way: "
            f"{apply_command(wanted, '--yield', masters[0])}"
        )
    return Diagnosis(
        Situation.TWO_MASTERS,
        f"{names(masters)} {'both' if len(masters) == 2 else 'all'} accept logins as master: {told}. Each starts VMs "
        f"from its own database, so one VM may run twice; {which}",
        judged,
        remedy=remedy,
        masters=masters,
        right=ruling.right,
        ties=ties,
    )


def _deposed(
    master: Testimony,
    wanted: Wanted,
    survey: Survey,
    judged: Sequence[Judged],
    incident: Incident | None,
    obligations: Sequence[Obligation],
    yields: frozenset[str],
) -> Obligation | None:
    """The promotion by which the only host that accepts logins was replaced, while the one promoted is not to be seen:
    an old master that comes back then stays master, with the database of that time (sheet §2.9). None where a member
    follows it, where the promoted one follows a master again, or a person said that it gives way, and it is proved dead
    or a member in emergency mode."""
    ties = ties_of(wanted, survey)
    if followers(ties, master.name):
        return None
    for one in reversed(replaced(incident, obligations)):
        if one.host != master.name:
            continue
        successor = next((t for t in ties if t.member == one.master), None)
        dead = any(j.name == one.master and j.verdict is Verdict.DEAD for j in judged)
        if successor is None or successor.follows:
            return None
        if one.master in yields and (dead or _is_demoted(survey, one.master)):
            return None
        return one
    return None


def _is_demoted(survey: Survey, name: str) -> bool:
    """It says that it is in emergency mode: only a member gets into that (sheet §1.2)."""
    t = survey.of(name)
    return t is not None and t.login is LoginAnswer.EMERGENCY and t.is_emergency is True


def _deposed_words(
    wanted: Wanted, one: Obligation, judged: tuple[Judged, ...], ties: tuple[Tie, ...], *, demoted: bool
) -> Diagnosis:
    astray = [t.member for t in ties if t.follows == one.master]
    behind = f", and {names(astray)} {'follows' if len(astray) == 1 else 'follow'} that one" if astray else ""
    dead = any(j.name == one.master and j.verdict is Verdict.DEAD for j in judged)
    proof = "it is proved dead, so " if dead else f"{look_and_attest(wanted, one.master)}, and "
    give_back = apply_command(wanted, "--yield", one.master)
    first = f"ssh root@{address_host(one.address)} systemctl stop xapi"
    if demoted:
        # Its role file says member: no start makes it master again, a call on its own console does (sheet §2.1).
        remedy = (
            f"start and move nothing. {one.master} is a member now, in emergency mode: somebody pointed it elsewhere. "
            f"To keep what happened since: stop the toolstack of {one.host} ({first}), make {one.master} master again "
            "by hand (there: xe pool-emergency-transition-to-master), and start that toolstack again once it accepts "
            f"logins. To give up what happened since: {give_back}"
        )
        return Diagnosis(Situation.DEPOSED, _deposed_why(one, behind), judged, remedy=remedy, ties=ties)
    return Diagnosis(
        Situation.DEPOSED,
        _deposed_why(one, behind),
        judged,
        # Recording 18: of two masters the one that starts gives way, whichever it is.
        remedy=f"start and move nothing. To keep what happened since: stop the toolstack of {one.host}, only then "
        f"bring {one.master} back (it would give way to {one.host} when it starts), then start that toolstack again. "
        f"If {one.master} is gone for good: {proof}give the office back with {give_back} instead. First: {first}",
        ties=ties,
    )


def _deposed_why(one: Obligation, behind: str) -> str:
    return (
        f"only {one.host} accepts logins, and it is no longer the pool's master: {one.master} was promoted in its "
        f"place at {utc(one.since)}{behind}. {one.host} knows nothing of what happened since: a VM that it starts may "
        "run already, and a host that joins it kills the VMs that it does not know"
    )


def _managed(wanted: Wanted, survey: Survey, judged: tuple[Judged, ...], master: Testimony) -> Diagnosis:
    alive = [j for j in judged if j.verdict is Verdict.ALIVE]
    down = [j for j in judged if j.verdict is not Verdict.ALIVE]
    astray = [
        t
        for t in survey.testimonies
        if t.login is LoginAnswer.SLAVE and t.follows and not _same_host(wanted, master, t.follows)
    ]
    why = f"{master.name} is master; {len(alive)} of {len(judged)} members answer"
    if down:
        why += f"; {names(j.name for j in down)} " + ("does" if len(down) == 1 else "do") + " not"
    if astray:
        why += f"; {names(t.name for t in astray)} still " + ("follows" if len(astray) == 1 else "follow") + " another"
    if untrusted := [t.name for t in survey.testimonies if t.login is LoginAnswer.UNTRUSTED]:
        why += f"; the certificate of {names(untrusted)} is not the one that the manifest trusts"
    rejecting = [t.name for t in survey.testimonies if t.login is LoginAnswer.REJECTED]
    if rejecting:
        why += f"; {names(rejecting)} rejects our login, as only a master does: it may be a second one"
    if astray and not followers(ties_of(wanted, survey), master.name):
        why += f". {master.name} is a master that nobody follows"
    return Diagnosis(
        Situation.MANAGED,
        why,
        judged,
        master=master.name,
        astray=tuple(t.name for t in astray),
        ties=ties_of(wanted, survey) if astray else (),
    )


def _same_host(wanted: Wanted, master: Testimony, follows: str) -> bool:
    """Whether `follows`, an address as XAPI tells it, is the master's; a manifest may give host:port or a name."""
    member = wanted.member(master.name)
    return follows in (address_host(master.address), address_host(member.address) if member else "")
