"""Verdicts -> the situation of the pool: who manages it. Pure: a table of cases, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from reconciler.core.evidence import (
    Certificate,
    Diagnosis,
    Incident,
    Judged,
    LoginAnswer,
    Situation,
    Survey,
    Testimony,
    Verdict,
)
from reconciler.core.judge import judge_member, told_by_others, uuid_of
from reconciler.core.masterless import masterless
from reconciler.core.model import PoolState
from reconciler.core.wanted import Wanted
from reconciler.core.words import address_host, count, names


def diagnose(
    wanted: Wanted,
    survey: Survey,
    certificates: Sequence[Certificate],
    *,
    now: float,
    known: PoolState | None = None,
    incident: Incident | None = None,
) -> Diagnosis:
    """Who manages the pool, and the verdict on every member. `known` is the pool as read now or last known."""
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
        return Diagnosis(
            Situation.STRANGER,
            f"{them.name} ({them.address}) is master of another pool: its uuid is {them.pool_uuid}, not {expected}",
            judged,
            remedy="correct the member's address, or spec.uuid if the pool was made anew",
        )
    if len(masters) > 1:
        followers = Counter(t.follows for t in survey.testimonies if t.login is LoginAnswer.SLAVE)
        told = "; ".join(
            f"{m.name} is followed by {count(followers[address_host(m.address)], 'member')}" for m in masters
        )
        word = "both" if len(masters) == 2 else "all"
        return Diagnosis(
            Situation.TWO_MASTERS,
            f"{names(m.name for m in masters)} {word} accept logins as master: {told}. "
            "Each starts VMs from its own database, so one VM may run twice",
            judged,
            remedy=_two_masters_remedy([m for m in masters if followers[address_host(m.address)]]),
        )
    rejected = [t for t in survey.testimonies if t.login is LoginAnswer.REJECTED]
    if rejected and not masters:
        return Diagnosis(
            Situation.DENIED,
            f"{names(t.name for t in rejected)} rejects the login of {wanted.connection.username}",
            judged,
            remedy="check connection.username and where connection.password comes from",
        )
    if masters:
        return _managed(wanted, survey, judged, masters[0])
    return masterless(wanted, survey, judged, known=known, incident=incident, now=now)


def _two_masters_remedy(followed: Sequence[Testimony]) -> str:
    """What a person may do about two masters; nothing that xenrec would do itself."""
    rest = (
        "The other one becomes its member, and when it resynchronises its copies of VMs that this one has elsewhere "
        "are killed"
    )
    if len(followed) == 1:
        right = followed[0]
        return (
            f"start and move nothing until there is one. {rest}. If {right.name}, whom members follow, is the right "
            f"one: ssh root@{address_host(right.address)} xe pool-recover-slaves"
        )
    return (
        f"start and move nothing until there is one. Decide which is right, then on that host only: "
        f"xe pool-recover-slaves. {rest}"
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
    return Diagnosis(Situation.MANAGED, why, judged, master=master.name, astray=tuple(t.name for t in astray))


def _same_host(wanted: Wanted, master: Testimony, follows: str) -> bool:
    """Whether `follows`, an address as XAPI tells it, is the master's; a manifest may give host:port or a name."""
    member = wanted.member(master.name)
    return follows in (address_host(master.address), address_host(member.address) if member else "")
