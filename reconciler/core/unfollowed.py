"""The only host that accepts logins is one that nobody follows, while members hang on another that is silent. Pure.

It is a master promoted a moment ago, whose members have not been told yet (recording 14); or an old one that came back
while its successor was away: nothing tells a starting master of a successor that does not answer (sheet §2.9). On the
word of an old one nothing may be started or buried, nobody may be led behind it unasked, and nothing that it says is to
be remembered of the pool.
"""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.core.draft import apply_command, look_and_attest
from reconciler.core.evidence import (
    Diagnosis,
    Incident,
    Judged,
    LoginAnswer,
    Situation,
    Survey,
    Testimony,
    Verdict,
)
from reconciler.core.judge import uuid_of
from reconciler.core.model import PoolState
from reconciler.core.obligations import Obligation
from reconciler.core.rivals import followers, replaced
from reconciler.core.ties import ties_of
from reconciler.core.wanted import Wanted
from reconciler.core.words import address_host, names, utc

HANDED_OVER = 3600.0
"""Seconds for which it explains why members follow another that we handed the office over to it, in vain."""


def other_master(wanted: Wanted, survey: Survey) -> Testimony | None:
    """Whom the members follow that hang, a declared member from whom nobody hears anything, while the only host that
    accepts logins is followed by nobody; None where it is not so."""
    masters = [t for t in survey.testimonies if t.login is LoginAnswer.MASTER]
    ties = ties_of(wanted, survey)
    if len(masters) != 1 or followers(ties, masters[0].name):
        return None
    if any(t.login is LoginAnswer.SLAVE and t.reaches_master for t in survey.testimonies):
        return None  # they obey a living master: that is another matter
    for tie in ties:
        theirs = survey.of(tie.follows) if tie.follows and tie.follows != masters[0].name else None
        if theirs is not None and theirs.login is LoginAnswer.SILENT and not theirs.tcp:
            return theirs
    return None


def unfollowed(
    wanted: Wanted,
    survey: Survey,
    judged: tuple[Judged, ...],
    *,
    state: PoolState | None,
    before: PoolState | None,
    incident: Incident | None,
    obligations: Sequence[Obligation],
    yields: frozenset[str],
    handover: Incident | None = None,
    now: float = 0.0,
) -> Diagnosis | None:
    """The situation where the only acting master may be an old one; None where it is surely not: a promotion of it in
    the other's place is remembered here, or a hand-over (`handover`) to the other that XAPI gave up lately; or the pool
    was last read (`before`) under the other and what it tells now (`state`) is no older; or where a person said that
    the other, proved dead, gives way."""
    theirs = other_master(wanted, survey)
    master = next((t for t in survey.testimonies if t.login is LoginAnswer.MASTER), None)
    if theirs is None or master is None:
        return None
    dead = any(j.name == theirs.name and j.verdict is Verdict.DEAD for j in judged)
    if dead and theirs.name in yields:
        return None
    if (incident is not None and incident.candidate == master.name) or any(
        one.master == master.name for one in replaced(incident, obligations)
    ):
        return None
    moved = handover is not None and (handover.lost_master, handover.candidate) == (master.name, theirs.name)
    if handover is not None and moved and now - handover.sent_at < HANDED_OVER:
        return None
    why = _told(wanted, master, theirs, state, before)
    if not why:
        return None
    ties = ties_of(wanted, survey)
    behind = followers(ties, theirs.name)
    one = len(behind) == 1
    proof = "" if dead else f"{look_and_attest(wanted, theirs.name)}, and "
    return Diagnosis(
        Situation.DEPOSED,
        f"only {master.name} accepts logins, and nobody follows it: {names(behind)} {'follows' if one else 'follow'} "
        f"{theirs.name}, which does not answer{', and is proved dead' if dead else ''}. {why}, so what {master.name} "
        "knows may be of an earlier time: a VM that it starts may run already, and a host that joins it kills the VMs "
        "that it does not know",
        judged,
        # Recording 18: of two masters the one that starts gives way, whichever it is.
        remedy=f"start and move nothing. If {theirs.name} is the master: stop the toolstack of {master.name} "
        f"(ssh root@{address_host(master.address)} systemctl stop xapi), only then bring {theirs.name} back, then "
        f"start that toolstack again. If {theirs.name} is gone for good, or never was master: {proof}have its members "
        f"follow {master.name}: {apply_command(wanted, '--yield', theirs.name)}",
        ties=ties,
    )


def _told(
    wanted: Wanted, master: Testimony, theirs: Testimony, state: PoolState | None, before: PoolState | None
) -> str:
    """Why the acting master may be an old one, "" where it is no older than the pool as it was read last."""
    if before is None or before.master is None:
        return "Which of the two was made master later is not known, for the pool was never read from here"
    was = next((m.name for m in wanted.members if before.master and uuid_of(m, before) == before.master.uuid), "")
    when = f"when the pool was last read, at {utc(before.read_at)}"
    if was == master.name:
        return f"{master.name} was master {when}, and they follow {theirs.name} since"
    if was != theirs.name:
        return f"Neither was master {when}"
    if state is None:
        return f"{theirs.name} was master {when}"
    if older := _older(state, before):
        return f"{theirs.name} was master {when}, and {master.name} does not know of the last start of {names(older)}"
    return ""


def _older(state: PoolState, before: PoolState) -> list[str]:
    """Hosts of whose toolstack the older reading knows a later start than the newer one: each writes it at its start
    (recording 01), so the newer one is of an older database."""
    known = {h.uuid: h.other_config.get("agent_start_time", "") for h in state.hosts.values()}
    return sorted(
        h.name
        for h in before.hosts.values()
        if _seconds(known.get(h.uuid, "")) < _seconds(h.other_config.get("agent_start_time", ""))
    )


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
