"""Two hosts accept logins as master: which of them is the pool's, and how the other is led back. Pure.

XAPI goes on so for ever: nothing looks for a second master but a toolstack's start, and whoever starts first gives way,
right or wrong (recordings 05, 18). The other is told with pool.emergency_reset_master on a local session of its own,
which reaches nobody else, and not with pool.recover_slaves, with which whoever is asked wins (recording 20).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.core.armed import armed_why, disarm_words
from reconciler.core.draft import Draft, apply_command
from reconciler.core.evidence import Diagnosis, Incident, LoginAnswer, Survey, Tie
from reconciler.core.fates import Fates, fates, twice_words
from reconciler.core.judge import uuid_of
from reconciler.core.model import PoolState
from reconciler.core.obligations import Obligation
from reconciler.core.plan import Action, Thing, Verb
from reconciler.core.wanted import Wanted
from reconciler.core.words import names, utc


@dataclass(frozen=True, slots=True)
class Ruling:
    """Which of several masters is the pool's (None: it can't be told), and by what."""

    right: str | None
    why: str


def followers(ties: Sequence[Tie], master: str) -> tuple[str, ...]:
    """The members that follow a master, themselves."""
    return tuple(t.member for t in ties if t.follows == master)


def replaced(incident: Incident | None, obligations: Sequence[Obligation]) -> tuple[Obligation, ...]:
    """Every promotion in another's place that is not settled yet, the newest last: the one under way among them."""
    known = [*obligations]
    if incident is not None and incident.lost_master != incident.candidate:
        known.append(
            Obligation(incident.lost_master, incident.lost_address, incident.candidate, incident.sent_at, incident.run)
        )
    return tuple(sorted(known, key=lambda o: o.since))


def rule(
    ties: Sequence[Tie],
    *,
    incident: Incident | None,
    obligations: Sequence[Obligation],
    yields: frozenset[str],
) -> Ruling:
    """Who is right, by a person's word, else by a promotion that is not settled and by who is followed. Two masters
    that these tell apart differently, or not at all, are told apart by nobody: each holds what the other has lost."""
    masters = [t.member for t in ties if t.login is LoginAnswer.MASTER]
    left = [m for m in masters if m not in yields]
    if len(left) == 1 and len(left) < len(masters):
        return Ruling(left[0], f"you said that {names(m for m in masters if m in yields)} gives way")
    followed = [m for m in masters if followers(ties, m)]
    promoted = next(
        (o for o in reversed(replaced(incident, obligations)) if o.host in masters and o.master in masters), None
    )
    if promoted is not None and followed and promoted.master not in followed:
        return Ruling(
            None, f"{promoted.master} was promoted in place of {promoted.host}, yet members follow {names(followed)}"
        )
    if promoted is not None:
        return Ruling(promoted.master, f"it was promoted in place of {promoted.host} at {utc(promoted.since)}")
    if len(followed) == 1:
        told = followers(ties, followed[0])
        return Ruling(followed[0], f"{names(told)} {'follows' if len(told) == 1 else 'follow'} it and nobody the other")
    if followed:
        return Ruling(None, f"members follow {names(followed)}, and this machine promoted none of them")
    return Ruling(None, "no member follows either, and this machine promoted none of them")


def fates_of(
    wanted: Wanted, ties: Sequence[Tie], loser: str, winner: str, realms: Mapping[str, PoolState]
) -> Fates | None:
    """What becomes of the VMs of a master that gives way, and of those of its followers; None where one of the two
    databases could not be read. Members are looked up by what the loser's own database calls them."""
    theirs, ours = realms.get(loser), realms.get(winner)
    if theirs is None or ours is None:
        return None
    hosts = [uuid_of(m, theirs) for m in wanted.members if m.name in (loser, *followers(ties, loser))]
    return fates(theirs, [u for u in hosts if u], ours, winner)


def plan_rivals(
    wanted: Wanted,
    survey: Survey,
    diagnosis: Diagnosis,
    realms: Mapping[str, PoolState],
    yields: frozenset[str],
) -> Draft:
    """FOLLOW for every master that is not the pool's. One that runs VMs, or may, waits for a person's word that names
    it; where nobody knows which is right, each is shown with what its giving way would kill."""
    draft = Draft()
    masters = diagnosis.masters
    for loser in masters:
        winner = diagnosis.right or next(m for m in masters if m != loser)
        if loser == winner:
            continue
        found = fates_of(wanted, diagnosis.ties, loser, winner, realms)
        action = _follow(wanted, diagnosis, loser, winner, found, realms)
        remedy = apply_command(wanted, "--yield", loser)
        t = survey.of(loser)
        if t is not None and t.ha_armed:
            draft.hold(action, armed_why(t), disarm_words(wanted, loser))
        elif diagnosis.right is not None and _starting(realms.get(loser)) and loser not in yields:
            draft.hold(
                _follow(wanted, diagnosis, loser, winner, None, realms),
                f"{loser} has not finished its start, so what it says of VMs is old; where it reaches {winner} it "
                "becomes its member by itself in seconds",
                f"wait half a minute, then: xenrec plan {wanted.argument}; if it still accepts logins: {remedy}",
            )
        elif diagnosis.right is None:
            draft.hold(action, "which of them is right can't be told from here, and it is for a person to say", remedy)
        elif loser in yields or (found is not None and not found.running):
            draft.actions.append(action)
        elif found is None:
            draft.hold(action, f"what runs on {loser} could not be read: it may run VMs that this kills", remedy)
        else:
            draft.hold(action, f"{loser} has VMs of its own, so it gives way only at a person's word", remedy)
    return draft


def _starting(theirs: PoolState | None) -> bool:
    """By its own database it has not enabled itself since its start: it has not yet compared that database with what
    runs, and looks for another master just now (sheet §2.2, steps 5 to 9; recordings 04, 19)."""
    return theirs is not None and theirs.master is not None and not theirs.master.enabled


def _follow(
    wanted: Wanted,
    diagnosis: Diagnosis,
    loser: str,
    winner: str,
    found: Fates | None,
    realms: Mapping[str, PoolState],
) -> Action:
    known = realms.get(winner)
    by_name = {m.name: m for m in wanted.members}
    things = {n: Thing("host", n, uuid_of(by_name[n], known) or "", by_name[n].address) for n in (loser, winner)}
    behind = followers(diagnosis.ties, loser)
    if found is None:
        does = "what it does to running VMs could not be read"
    elif not found.running:
        does = "nothing runs there that it could touch"
    else:
        does = f"it {found.words}"
        if twice := twice_words(found.killed):
            does += f". {twice}"
    also = f", and {names(behind)} must be led after it" if behind else ""
    return Action(
        Verb.FOLLOW,
        things[loser],
        f"two masters start VMs from two databases; its toolstack restarts as a member of {winner}{also}: {does}",
        before="a master of its own",
        after=f"member of {winner}",
        to=things[winner],
        via=by_name[loser].address,
        kills=found.killed if found is not None else (),
    )
