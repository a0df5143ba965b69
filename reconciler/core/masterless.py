"""The situation of a pool in which nobody accepts a login: whom its members lost, and what is told instead of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reconciler.core.brake import storm_brake
from reconciler.core.draft import plan_command, role_command
from reconciler.core.evidence import (
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
from reconciler.core.judge import life_words, restart_command, uuid_of
from reconciler.core.model import PoolState
from reconciler.core.ties import End, chains, circle_of, roots, ties_of
from reconciler.core.wanted import Member, Wanted
from reconciler.core.words import address_host, ago, count, names


def lost_master_of(
    wanted: Wanted, survey: Survey, known: PoolState | None, answering: Sequence[Testimony]
) -> tuple[str | None, str]:
    """(name of the declared master that is lost, its address) when nobody accepts logins: where members' chains end.

    Members in emergency mode don't say whom they follow: then the last known database, then the manifest, tells; but a
    member that answers as one is not the lost master, whoever says so.
    """
    if ends := roots(ties_of(wanted, survey)):
        first = next(iter(ends))
        member = wanted.member(first)
        return (member.name if member else None), (member.address if member else first)
    here = {t.name for t in answering}
    if known and known.master:
        for member in wanted.members:
            if uuid_of(member, known) == known.master.uuid and member.name not in here:
                return member.name, member.address
    if wanted.master and (member := wanted.member(wanted.master.host)) and member.name not in here:
        return member.name, member.address
    if (only := _only_one_left(wanted, known, answering)) is not None:
        return only.name, only.address
    return None, ""


def _only_one_left(wanted: Wanted, known: PoolState | None, answering: Sequence[Testimony]) -> Member | None:
    """The one member that does not answer, where all others are in emergency mode and the pool has no more: only a
    member gets into that mode, so none of them is the master (sheet §1.2; their own flag says it, for a master that
    starts gives the same answers to a login)."""
    here = {t.name for t in answering}
    missing = [m for m in wanted.members if m.name not in here]
    if any(t.broken for t in answering):  # who is neither master nor member gets into it, too
        return None
    if known is None or len(missing) != 1 or not all(t.is_emergency for t in answering):
        return None
    declared = {uuid_of(member, known) for member in wanted.members}
    return missing[0] if all(host.uuid in declared for host in known.hosts.values()) else None


def may_be_master(wanted: Wanted, survey: Survey, lost: str, known: PoolState | None) -> tuple[str, ...]:
    """Members besides `lost` that may be the master for all that anybody says (I2). Where no member tells whom it
    follows, `lost` is only what an earlier reading or the manifest says, and every other silent member may have
    followed it in office since. Where they tell, it is the one that was master when the pool was last read, if it is
    silent: whoever answers may have been pointed elsewhere while it goes on as master, cut off."""
    silent = [t.name for t in survey.testimonies if not t.answers and t.name != lost]
    if not any(t.answers and t.follows for t in survey.testimonies):
        return tuple(silent)
    if known is None or known.master is None:
        return ()
    return tuple(m.name for m in wanted.members if m.name in silent and uuid_of(m, known) == known.master.uuid)


def _untrusted(t: Testimony, judged: tuple[Judged, ...]) -> Diagnosis:
    return Diagnosis(
        Situation.DENIED,
        f"the certificate of {t.name} ({t.address}) is not the one that the manifest trusts: {t.detail}",
        judged,
        remedy="if the host was reinstalled, put its new fingerprint into the manifest after checking it on its "
        "console: openssl x509 -in /etc/xensource/xapi-ssl.pem -noout -fingerprint -sha256",
    )


NEVER_TOOK_EFFECT = 120.0
"""Seconds after which a candidate that still follows the lost master has never received the call, and one that follows
another was pointed there since: XAPI writes the role file before it answers and restarts 5-10 s later (recordings 03
and 11: master within 14 s)."""


def promotion_is_void(incident: Incident, survey: Survey, judged: Sequence[Judged], now: float) -> bool:
    """A promotion that was sent and can no longer take effect: its candidate is proved dead, or it is a member long
    after the restart that the call would have caused. Only then may one be sent (I3)."""
    candidate = next((j for j in judged if j.name == incident.candidate), None)
    if candidate is not None and candidate.verdict is Verdict.DEAD:
        return True
    t = survey.of(incident.candidate)
    return (
        t is not None
        and t.login is LoginAnswer.SLAVE
        and t.reaches_master is not True
        and now - incident.sent_at > NEVER_TOOK_EFFECT
    )


def candidate_vanished(incident: Incident, survey: Survey) -> bool:
    """The candidate of a promotion is silent for longer than its toolstack takes to restart: it, too, may be dead. Not
    where a member follows it, unless that hangs on it: then it is we who don't reach it."""
    t = survey.of(incident.candidate)
    return (
        t is not None
        and t.login is LoginAnswer.SILENT
        and not t.tcp
        and survey.at - incident.sent_at > NEVER_TOOK_EFFECT
        and not any(
            o.follows == address_host(incident.candidate_address) and o.reaches_master is not False
            for o in survey.testimonies
        )
    )


def _nobody_remedy(wanted: Wanted, survey: Survey, known: PoolState | None, refused: Sequence[Testimony]) -> str:
    """What to do when no XAPI answers at all; `refused` are hosts that are up without it."""
    if not refused:
        return "check this machine's network first"
    master = lost_master_of(wanted, survey, known, ())[0]
    if master is None or master in (t.name for t in refused):
        return f"wait a minute, then: {restart_command(next((t for t in refused if t.name == master), refused[0]))}"
    # A starting member waits for its master before it starts its TLS server (recording 03: Xapi_stunnel_server.sync).
    return (
        f"if the machine of {master}, the last known master, can be powered on, do that first, for the toolstacks of "
        f"its members wait for it when they start; else: {restart_command(refused[0])}"
    )


def masterless(
    wanted: Wanted,
    survey: Survey,
    judged: tuple[Judged, ...],
    *,
    known: PoolState | None,
    incident: Incident | None,
    now: float,
) -> Diagnosis:
    """The situation where nobody accepts a login: whom the members lost, or why it can't be told."""
    answering = [t for t in survey.testimonies if t.answers]
    untrusted = [t for t in survey.testimonies if t.login is LoginAnswer.UNTRUSTED]
    if not answering and untrusted:
        return _untrusted(untrusted[0], judged)
    if not answering:
        refused = [t for t in survey.testimonies if t.login is LoginAnswer.REFUSED]
        why = f"none of the {count(len(judged), 'member')} answers"
        if refused:
            why += (
                f"; the toolstack of {refused[0].name} is down or restarting, its host is up"
                if len(refused) == 1
                else f"; the toolstacks of {names(t.name for t in refused)} are down or restarting, their hosts are up"
            )
        return Diagnosis(
            Situation.CUT_OFF,
            why,
            judged,
            remedy=_nobody_remedy(wanted, survey, known, refused),
        )
    ties = ties_of(wanted, survey)
    name, address = lost_master_of(wanted, survey, known, answering)
    in_office = survey.of(name) if name else None
    if in_office is not None and in_office.login is LoginAnswer.UNTRUSTED:
        return _untrusted(in_office, judged)
    shown = f"{name} ({address})" if name else (address or "an unknown master")
    if incident is not None and not promotion_is_void(incident, survey, judged, now):
        told = f"{incident.candidate} was told {ago(now - incident.sent_at)} ago to become master and "
        vanished = candidate_vanished(incident, survey)
        return Diagnosis(
            Situation.BOOTING,
            told + ("does not answer at all any more" if vanished else "does not accept logins yet"),
            judged,
            lost_master=incident.lost_master,
            remedy="" if vanished else f"that is never sent twice, only watched: xenrec apply {wanted.argument}",
        )
    if in_office is not None and (broke := _hand_over_broke(wanted, survey, in_office, known)):
        return replace(broke, members=judged)
    brake, brake_remedy = storm_brake(wanted, survey, judged)
    if brake:
        return Diagnosis(
            Situation.CUT_OFF,
            f"no master answers, and {brake}",
            judged,
            lost_master=name,
            remedy=brake_remedy,
        )
    reach = [t.name for t in answering if t.reaches_master]
    if not reach and (tangle := _broke_words(wanted, survey, known) or _tangle_words(ties, survey)):
        remedy = f"restart no toolstack, which changes nothing; see the way out: {plan_command(wanted)}"
        return Diagnosis(Situation.TANGLED, tangle, judged, remedy=remedy, ties=ties)
    if reach and in_office is not None and in_office.login in (LoginAnswer.REFUSED, LoginAnswer.STRANGE):
        return Diagnosis(
            Situation.BOOTING,
            f"{shown} is the master and its toolstack is restarting: it refused us, and a moment later {names(reach)} "
            "reached it",
            judged,
            lost_master=name,
            remedy=f"wait half a minute, then: xenrec plan {wanted.argument}",
        )
    if reach:
        return Diagnosis(
            Situation.CUT_OFF,
            f"{shown} does not answer us, but {names(reach)} still "
            + ("reaches" if len(reach) == 1 else "reach")
            + " it: "
            "the master is alive and it is this machine that is cut off from it",
            judged,
            lost_master=name,
            remedy=f"mend the network between this machine and {shown}",
        )
    if in_office is not None and in_office.login is not LoginAnswer.SILENT and not in_office.answers:
        return Diagnosis(
            Situation.BOOTING,
            f"{shown} is the master: {life_words(in_office)}",
            judged,
            lost_master=name,
            remedy="a promotion beside a living host would make two masters; start its toolstack, which touches no "
            f"running VM: {restart_command(in_office)}",
        )
    if in_office is not None and in_office.login is LoginAnswer.SILENT and in_office.tcp:
        return Diagnosis(
            Situation.BOOTING,
            f"{shown} is the master and its host takes connections, but its toolstack does not answer: it hangs",
            judged,
            lost_master=name,
            remedy="a promotion beside a living host would make two masters; restart its toolstack, which touches no "
            f"running VM: {restart_command(in_office)}",
        )
    emergency = [t.name for t in answering if t.login is LoginAnswer.EMERGENCY]
    hanging = [t.name for t in answering if t.reaches_master is False]
    seen = "; ".join(
        s
        for s in (
            *(f"{n} follows {c.path[1]}, which is no master" for n, c in chains(ties).items() if len(c.path) > 2),
            f"{names(hanging)} hang on it" if len(hanging) > 1 else (f"{hanging[0]} hangs on it" if hanging else ""),
            f"in emergency mode: {names(emergency)}" if emergency else "",
        )
        if s
    )
    return Diagnosis(
        Situation.LOST,
        (f"the master {shown} is lost: it answers nobody" if address else "nobody accepts logins")
        + (f" ({seen})" if seen else ""),
        judged,
        lost_master=name,
        remedy=_who_was_it(wanted, survey, address, known) if name is None else "",
        ties=ties if any(len(c.path) > 2 for c in chains(ties).values()) else (),
    )


def _hand_over_broke(wanted: Wanted, survey: Survey, t: Testimony, known: PoolState | None) -> Diagnosis | None:
    """The members follow a host whose toolstack is down and which was not the master when the pool was read last,
    while that one now follows it, too: a hand-over under way, or one that failed midway. XAPI writes `broken` into the
    new master's role file before it tells the others, and restarts it so where one could not be told (sheet §2.8); its
    toolstack then dies at each start (recording 12). Without `members`."""
    if t.login not in (LoginAnswer.REFUSED, LoginAnswer.STRANGE):
        return None
    before = _last_master(wanted, survey, known)
    if before is None or before.follows != address_host(t.address):
        return None
    return Diagnosis(
        Situation.BOOTING,
        f"{t.name} ({t.address}) is to be the master: {before.name} handed the office over, for it was master when the "
        f"pool was read last and now follows {t.name}; {life_words(t)}. A hand-over restarts it for half a minute; "
        "one that fails midway leaves its role file broken, and then its toolstack dies at each start",
        (),
        lost_master=t.name,
        remedy=f"wait a minute; if it stays so, nobody else is master and its role file says broken "
        f"(ssh root@{address_host(t.address)} cat /etc/xensource/pool.conf), finish the hand-over: "
        f"{role_command(t.address, 'master')}",
    )


def _last_master(wanted: Wanted, survey: Survey, known: PoolState | None) -> Testimony | None:
    """What the host says that was master when the pool was read last."""
    if known is None or known.master is None:
        return None
    return next((survey.of(m.name) for m in wanted.members if uuid_of(m, known) == known.master.uuid), None)


def _broke_words(wanted: Wanted, survey: Survey, known: PoolState | None) -> str:
    """A hand-over that failed midway, as releases show it that have HOST_BROKEN: the last master is a member by now,
    and somebody has that error; "" where it is not so."""
    before, broken = _last_master(wanted, survey, known), [t.name for t in survey.testimonies if t.broken]
    if not broken or before is None or before.login not in (LoginAnswer.SLAVE, LoginAnswer.EMERGENCY):
        return ""
    says = "says" if len(broken) == 1 else "say"
    return (
        f"nobody accepts logins, and nobody is master: {before.name} handed the office over, and that failed midway, "
        f"for {names(broken)} {says} that a role file is broken"
    )


def _tangle_words(ties: Sequence[Tie], survey: Survey) -> str:
    """What is wrong with who follows whom; "" where all chains end at one silent host. Restarting toolstacks changes
    nothing: each role is a file, and no host ever looks for another master than that file's (sheet §1.1)."""
    circle, ends = circle_of(ties), roots(ties)
    if all(t.login is LoginAnswer.EMERGENCY and t.is_emergency for t in survey.testimonies):
        # Only a member gets into that mode, so none of them is the master (sheet §1.2).
        return "nobody accepts logins, and nobody is master: every member is in emergency mode"
    if len(circle) == 1:
        return f"nobody accepts logins, and nobody is master: {circle[0]} follows itself"
    if circle:
        return f"nobody accepts logins, and nobody is master: {names(circle)} follow one another in a circle"
    if len(ends) < 2 and End.UNTOLD not in ends.values():
        return ""
    told = "; ".join(f"{t.member} follows {t.follows}" for t in ties if t.follows)
    if len(ends) == 1:
        behind = [t.member for t in ties if t.follows]
        follow = "follows" if len(behind) == 1 else "follow"
        return f"nobody accepts logins: {names(behind)} {follow} {next(iter(ends))}, which does not say whom it follows"
    return f"nobody accepts logins, and the members follow different hosts: {told}"


def _who_was_it(wanted: Wanted, survey: Survey, address: str, known: PoolState | None) -> str:
    """The next step where nobody declared is known to be the lost master."""
    if address:
        return f"declare the host at {address} under spec.members"
    before = _last_master(wanted, survey, known)
    last = "who was master when the pool was last read is not declared"
    if known is None:
        last = "this machine never read the pool"
    elif before is not None:
        last = f"{before.name}, which was master when the pool was last read, is a member now"
    return f"the members don't say whom they follow, and {last}: {role_files(wanted, survey)}"


def role_files(wanted: Wanted, survey: Survey) -> str:
    """What a person does where no member says whom it follows and nothing else tells: only the role file of each does,
    and only somebody on the host can read that."""
    answering = [t for t in survey.testimonies if t.answers]
    silent = [t.name for t in survey.testimonies if not t.answers]
    first = answering[0]
    chosen = next((t for t in answering if wanted.master is not None and t.name == wanted.master.host), first)
    others = " and on the other members" if len(answering) > 1 else ""
    off = f"make sure that {names(silent)} {'is' if len(silent) == 1 else 'are'} off, then " if silent else ""
    waiting = f"one that does not answer, set spec.master.host in {wanted.source or 'the manifest'} to it; if it is "
    return (
        f"see whom each follows: ssh root@{address_host(first.address)} cat /etc/xensource/pool.conf{others}. If it is "
        f"one that is not declared, declare it under spec.members; if it is {waiting if silent else ''}always one that "
        f"answers here, nobody is master: {off}make {chosen.name} master by hand: "
        f"ssh root@{address_host(chosen.address)} xe pool-emergency-transition-to-master; after that: "
        f"xenrec apply {wanted.argument}"
    )
