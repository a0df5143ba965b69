"""Testimony -> verdict on every host -> the situation of the pool. Pure: a table of cases, no clock.

Silence is never death: a host is DEAD only where a certificate covers it and nothing at its address shows life.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from reconciler.core.evidence import (
    BmcPower,
    Certificate,
    CertificateKind,
    Diagnosis,
    Incident,
    Judged,
    LoginAnswer,
    Situation,
    Survey,
    Testimony,
    Verdict,
)
from reconciler.core.model import PoolState
from reconciler.core.wanted import Member, MemberState, Wanted
from reconciler.core.words import address_host, ago, count, names, utc

_LIFE = {
    LoginAnswer.REFUSED: "its host answers but its toolstack does not (connection refused)",
    LoginAnswer.UNTRUSTED: "something answers with a certificate that the manifest does not trust",
    LoginAnswer.STRANGE: "something answers, but not as XAPI does",
}


def uuid_of(member: Member, state: PoolState | None) -> str | None:
    """The host uuid of a declared member, as far as a database tells; by name first, then by address."""
    if state is None:
        return None
    host = state.host_named(member.name)
    if host is None:
        found = [h for h in state.hosts.values() if h.address == address_host(member.address)]
        host = found[0] if len(found) == 1 else None
    return host.uuid if host else None


def _sign_of_life(t: Testimony) -> str:
    if t.answers:
        return "its XAPI answers"
    if t.login in _LIFE:
        return _LIFE[t.login]
    if t.tcp:
        return "its host takes connections, but its toolstack does not answer: it hangs"
    return ""


def judge_member(
    member: Member,
    t: Testimony,
    certificates: Iterable[Certificate],
    uuid: str | None,
    now: float,
    master: str = "",
    others: str = "",
) -> Judged:
    """The verdict on one member from all testimonies about it and the certificates that may cover it.

    For people: `master` names whom it follows, by default its address; `others` says what the other members and the
    acting master know of it. Neither changes a verdict: silence never adds up to dead.
    """
    held = [c for c in certificates if c.covers(host=member.name, address=member.address, uuid=uuid, now=now)]
    certificate = max(held, key=lambda c: c.expires_at) if held else None
    life = _sign_of_life(t)
    if t.answers:
        return Judged(member.name, member.address, Verdict.ALIVE, _alive_words(t, master), voided=certificate)
    if life:
        return Judged(member.name, member.address, Verdict.SUSPECT, life, voided=certificate)
    power = {
        BmcPower.ON: "BMC says power is on: not dead",
        BmcPower.OFF: "BMC says power is off",
        BmcPower.UNKNOWN: "BMC does not answer either, which proves nothing",
        BmcPower.NONE: "no fence agent is declared to ask",
    }[t.bmc]
    unheard = "; ".join(part for part in ("not answering from here", others) if part)
    if certificate is not None and t.bmc is BmcPower.ON:
        words = f"{unheard}; {_proof_words(certificate)}, but {power}"
        return Judged(member.name, member.address, Verdict.UNREACHABLE, words, voided=certificate)
    if certificate is not None:
        words = f"no answer; {_proof_words(certificate)}"
        return Judged(member.name, member.address, Verdict.DEAD, words, certificate=certificate)
    if member.state is MemberState.MAINTENANCE:
        return Judged(member.name, member.address, Verdict.PLANNED_DOWN, "no answer, as its maintenance lets expect")
    return Judged(member.name, member.address, Verdict.UNREACHABLE, f"{unheard}; {power}")


def told_by_others(wanted: Wanted, survey: Survey, t: Testimony, known: PoolState | None) -> str:
    """What the rest of the pool knows of a member that does not answer us: its followers, or else the acting master.

    The master's opinion (host_metrics.live) counts only where its pool was read after this survey and it has settled:
    right after a master start `live` is wrong in either direction (recordings 14, 21).
    """
    here = address_host(t.address)
    asked = [o for o in survey.testimonies if o.follows == here and o.reaches_master is not None]
    if asked:
        lost = sum(o.reaches_master is False for o in asked)
        if lost == len(asked):
            return f"{lost} of {count(len(asked), 'member')} {'has' if len(asked) == 1 else 'have'} lost it"
        reach = names(o.name for o in asked if o.reaches_master)
        reaching = len(asked) - lost
        still = f"{reach} still {'reaches' if reaching == 1 else 'reach'} it"
        have = "has" if lost == 1 else "have"
        return f"{lost} of {count(len(asked), 'member')} {have} lost it, but {still}" if lost else still
    if known is None or known.read_at < survey.at or known.master is None or not known.master.enabled:
        return ""
    masters = [o.name for o in survey.testimonies if o.login is LoginAnswer.MASTER]
    member = wanted.member(t.name)
    uuid = uuid_of(member, known) if member else None
    host = next((h for h in known.hosts.values() if h.uuid == uuid), None)
    if len(masters) != 1 or host is None:
        return ""
    return f"{masters[0]} still counts it as live" if host.live else f"{masters[0]} has lost it"


def _proof_words(certificate: Certificate) -> str:
    if certificate.kind is CertificateKind.FENCED:
        return f"fenced at {utc(certificate.issued_at)}"
    return f"attested dead by {certificate.by} ({certificate.reason})"


def _alive_words(t: Testimony, master: str = "") -> str:
    if t.login is LoginAnswer.MASTER:
        return "acts as master"
    if t.login is LoginAnswer.SLAVE:
        gone = "; has lost it" if t.reaches_master is False else ""
        return f"follows {master or t.follows}{gone}"
    if t.login is LoginAnswer.EMERGENCY:
        return f"in emergency mode ({t.detail})"
    return f"answers, but rejects our login ({t.detail})"


def answering_share(survey: Survey) -> float:
    """Share 0..1 of the declared members whose XAPI answered."""
    return sum(t.answers for t in survey.testimonies) / max(1, len(survey.testimonies))


def brake_reason(wanted: Wanted, survey: Survey) -> str:
    """Why the storm brake holds, "" if it doesn't (I6)."""
    share = answering_share(survey)
    if share >= wanted.policy.brake.min_healthy:
        return ""
    up = sum(t.answers for t in survey.testimonies)
    refused = [t.name for t in survey.testimonies if t.login is LoginAnswer.REFUSED]
    guess = "it may be this machine that is cut off"
    if refused:
        guess = f"the toolstack of {names(refused)} is down or restarting"
    return (
        f"only {up} of {len(survey.testimonies)} members answer and policy.brake.minHealthy is "
        f"{wanted.policy.brake.min_healthy:.0%}: {guess}"
    )


def brake_remedy(survey: Survey) -> str:
    """What to do about the brake."""
    refused = [t for t in survey.testimonies if t.login is LoginAnswer.REFUSED]
    if refused:
        return f"wait a minute; if it stays down: {_restart(refused[0])}"
    return "look from another network; if it is true, lower policy.brake.minHealthy in the manifest"


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
    return _masterless(wanted, survey, judged, known=known, incident=incident, now=now)


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


def lost_master_of(
    wanted: Wanted, survey: Survey, known: PoolState | None, answering: Sequence[Testimony]
) -> tuple[str | None, str, tuple[str, ...]]:
    """(name of the declared master that is lost, its address, all addresses followed) when nobody accepts logins.

    Members in emergency mode don't say whom they follow: then the last known database, then the manifest, tells; but a
    member that answers as one is not the lost master, whoever says so.
    """
    followed = Counter(t.follows for t in answering if t.follows)
    addresses = tuple(sorted(followed))
    if followed:
        address = max(sorted(followed), key=lambda a: followed[a])
        member = next((m for m in wanted.members if address_host(m.address) == address), None)
        return (member.name if member else None), address, addresses
    here = {t.name for t in answering}
    if known and known.master:
        for member in wanted.members:
            if uuid_of(member, known) == known.master.uuid and member.name not in here:
                return member.name, member.address, ()
    if wanted.master and (member := wanted.member(wanted.master.host)) and member.name not in here:
        return member.name, member.address, ()
    return None, "", ()


def may_be_master(survey: Survey, lost: str) -> tuple[str, ...]:
    """Members besides `lost` that may be the master for all that anybody says: where no member tells whom it follows,
    `lost` is only what an earlier reading or the manifest says, and every other silent member may have followed it in
    office since (I2). () where somebody tells."""
    if any(t.answers and t.follows for t in survey.testimonies):
        return ()
    return tuple(t.name for t in survey.testimonies if not t.answers and t.name != lost)


def _untrusted(t: Testimony, judged: tuple[Judged, ...]) -> Diagnosis:
    return Diagnosis(
        Situation.DENIED,
        f"the certificate of {t.name} ({t.address}) is not the one that the manifest trusts: {t.detail}",
        judged,
        remedy="if the host was reinstalled, put its new fingerprint into the manifest after checking it on its "
        "console: openssl x509 -in /etc/xensource/xapi-ssl.pem -noout -fingerprint -sha256",
    )


def _restart(t: Testimony) -> str:
    return f"ssh root@{address_host(t.address)} xe-toolstack-restart"


NEVER_TOOK_EFFECT = 120.0
"""Seconds after which a candidate that still follows the lost master has never received the call: XAPI writes the role
file before it answers and restarts 5-10 s later (recordings 03 and 11: master within 14 s)."""


def promotion_is_void(incident: Incident, survey: Survey, judged: Sequence[Judged], now: float) -> bool:
    """A promotion that was sent and can no longer take effect: its candidate is proved dead, or it goes on following
    the lost master long after the restart that the call would have caused. Only then may one be sent (I3)."""
    candidate = next((j for j in judged if j.name == incident.candidate), None)
    if candidate is not None and candidate.verdict is Verdict.DEAD:
        return True
    t = survey.of(incident.candidate)
    return (
        t is not None
        and t.login is LoginAnswer.SLAVE
        and t.follows == address_host(incident.lost_address)
        and t.reaches_master is not True
        and now - incident.sent_at > NEVER_TOOK_EFFECT
    )


def candidate_vanished(incident: Incident, survey: Survey) -> bool:
    """The candidate of a promotion is silent for longer than its toolstack takes to restart: it, too, may be dead. Not
    where a member follows it: then it is we who don't reach it."""
    t = survey.of(incident.candidate)
    return (
        t is not None
        and t.login is LoginAnswer.SILENT
        and not t.tcp
        and survey.at - incident.sent_at > NEVER_TOOK_EFFECT
        and not any(o.follows == address_host(incident.candidate_address) for o in survey.testimonies)
    )


def _nobody_remedy(wanted: Wanted, survey: Survey, known: PoolState | None, refused: Sequence[Testimony]) -> str:
    """What to do when no XAPI answers at all; `refused` are hosts that are up without it."""
    if not refused:
        return "check this machine's network first"
    master = lost_master_of(wanted, survey, known, ())[0]
    if master is None or master in (t.name for t in refused):
        return f"wait a minute, then: {_restart(next((t for t in refused if t.name == master), refused[0]))}"
    # A starting member waits for its master before it starts its TLS server (recording 03: Xapi_stunnel_server.sync).
    return (
        f"if the machine of {master}, the last known master, can be powered on, do that first, for the toolstacks of "
        f"its members wait for it when they start; else: {_restart(refused[0])}"
    )


def _masterless(
    wanted: Wanted,
    survey: Survey,
    judged: tuple[Judged, ...],
    *,
    known: PoolState | None,
    incident: Incident | None,
    now: float,
) -> Diagnosis:
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
    name, address, followed = lost_master_of(wanted, survey, known, answering)
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
    if brake := brake_reason(wanted, survey):
        return Diagnosis(
            Situation.CUT_OFF,
            f"no master answers, and {brake}",
            judged,
            lost_master=name,
            remedy=brake_remedy(survey),
        )
    if len(followed) > 1:
        called = {address_host(m.address): m.name for m in wanted.members}
        told = "; ".join(f"{t.name} follows {called.get(t.follows, t.follows)}" for t in answering if t.follows)
        return Diagnosis(
            Situation.LOST,
            f"nobody accepts logins, and the members follow different masters: {told}",
            judged,
            lost_master=None,
            remedy="find out which of them was master last; xenrec promotes nobody in a tangle",
        )
    reach = [t.name for t in answering if t.reaches_master]
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
            f"{shown} is the master: {_LIFE.get(in_office.login, 'it answers strangely')}",
            judged,
            lost_master=name,
            remedy="a promotion beside a living host would make two masters; start its toolstack, which touches no "
            f"running VM: {_restart(in_office)}",
        )
    if in_office is not None and in_office.login is LoginAnswer.SILENT and in_office.tcp:
        return Diagnosis(
            Situation.BOOTING,
            f"{shown} is the master and its host takes connections, but its toolstack does not answer: it hangs",
            judged,
            lost_master=name,
            remedy="a promotion beside a living host would make two masters; restart its toolstack, which touches no "
            f"running VM: {_restart(in_office)}",
        )
    if in_office is not None and in_office.answers:
        return Diagnosis(
            Situation.LOST,
            f"nobody accepts logins: the members follow {shown}, which itself {_alive_words(in_office)}",
            judged,
            lost_master=None,
            remedy="find out which of them was master last; xenrec promotes nobody in a tangle",
        )
    emergency = [t.name for t in answering if t.login is LoginAnswer.EMERGENCY]
    hanging = [t.name for t in answering if t.reaches_master is False]
    seen = "; ".join(
        s
        for s in (
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
        remedy=_who_was_it(wanted, address) if name is None else "",
    )


def _who_was_it(wanted: Wanted, address: str) -> str:
    """The next step where nobody declared is known to be the lost master."""
    if address:
        return f"declare the host at {address} under spec.members"
    return (
        "the members don't say whom they follow and this machine never read the pool: set spec.master.host in "
        f"{wanted.source or 'the manifest'} to the host that was master"
    )
