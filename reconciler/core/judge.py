"""Testimony -> verdict on every host. Pure: a table of cases, no clock.

Silence is never death: a host is DEAD only where a certificate covers it and nothing at its address shows life.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.core.emergency import meaning
from reconciler.core.evidence import (
    BmcPower,
    Certificate,
    CertificateKind,
    Judged,
    LoginAnswer,
    Survey,
    Testimony,
    Verdict,
)
from reconciler.core.model import PoolState
from reconciler.core.wanted import Member, MemberState, Wanted
from reconciler.core.words import address_host, count, names, utc

RECENTLY = 86_400.0
"""Seconds for which it is told that a proof of death has ended."""
LIFE = {
    LoginAnswer.REFUSED: "its host answers but its toolstack does not (connection refused)",
    LoginAnswer.UNTRUSTED: "something answers with a certificate that the manifest does not trust",
    LoginAnswer.STRANGE: "something answers, but not as XAPI does",
}
"""What an answer that is no XAPI's says about its host."""


def life_words(t: Testimony) -> str:
    """What an answer that is no XAPI's says about its host; "" for any other. Behind TLS a toolstack that is down shows
    as connections that are taken and dropped: the TLS server in front of it goes on (recording 12: 80 refuses, 443
    accepts)."""
    if t.login is LoginAnswer.STRANGE and t.detail.startswith("dropped"):
        return "its host takes connections and drops them: its toolstack is down or restarting"
    return LIFE.get(t.login, "")


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
    if words := life_words(t):
        return words
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
    found = [c for c in certificates if c.speaks_of(host=member.name, address=member.address, uuid=uuid)]
    # A person's word goes before a fence agent's: it needs no BMC that answers, and it counts for the brake.
    found.sort(key=lambda c: (c.kind is CertificateKind.ATTESTED, c.expires_at), reverse=True)
    held = [c for c in found if c.covers(host=member.name, address=member.address, uuid=uuid, now=now)]
    certificate = held[0] if held else None
    # All of them end, or else another one proves it dead as soon as it is silent again.
    void = (*held, *(c for c in found if c not in held and now < c.expires_at))
    life = _sign_of_life(t)
    if t.answers:
        resting = "; in maintenance" if member.state is MemberState.MAINTENANCE else ""
        return Judged(member.name, member.address, Verdict.ALIVE, alive_words(t, master) + resting, voided=void)
    if life:
        return Judged(member.name, member.address, Verdict.SUSPECT, life, voided=void)
    power = {
        BmcPower.ON: "BMC says power is on: not dead",
        BmcPower.OFF: "BMC says power is off",
        BmcPower.UNKNOWN: "BMC does not answer either, which proves nothing",
        BmcPower.NONE: "no fence agent is declared to ask",
    }[t.bmc]
    unheard = "; ".join(part for part in ("not answering from here", others) if part)
    if certificate is not None and t.bmc is BmcPower.ON:
        words = f"{unheard}; {_proof_words(certificate)}, but {power}"
        return Judged(member.name, member.address, Verdict.UNREACHABLE, words, voided=void)
    if certificate is not None:
        words = f"no answer; {_proof_words(certificate)}"
        return Judged(member.name, member.address, Verdict.DEAD, words, certificate=certificate)
    void = void if t.bmc is BmcPower.ON else ()
    if member.state is MemberState.MAINTENANCE:
        words = "no answer, as its maintenance lets expect"
        return Judged(member.name, member.address, Verdict.PLANNED_DOWN, words, voided=void)
    power += _ended(member, certificates, now)
    return Judged(member.name, member.address, Verdict.UNREACHABLE, f"{unheard}; {power}", voided=void)


def _ended(member: Member, certificates: Iterable[Certificate], now: float) -> str:
    """That there was a proof until a while ago, for who gave it may think that it still holds; "" if there was none."""
    mine = [c for c in certificates if c.host == member.name and c.address == member.address]
    over = [c for c in mine if now - RECENTLY < c.expires_at <= now]
    if not over:
        return ""
    last = max(over, key=lambda c: c.expires_at)
    return f"; the proof that it is dead ({last.kind} by {last.by}) ended at {utc(last.expires_at)}"


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


def alive_words(t: Testimony, master: str = "") -> str:
    """What a host that answers says of itself; `master` names whom it follows, by default its address."""
    if t.login is LoginAnswer.MASTER:
        return "acts as master"
    if t.login is LoginAnswer.SLAVE:
        gone = "; has lost it" if t.reaches_master is False else ""
        return f"follows {master or t.follows}{gone}"
    if t.login is LoginAnswer.EMERGENCY:
        told = meaning(t.detail)
        return f"in emergency mode: {told} ({t.detail})" if told else f"in emergency mode ({t.detail})"
    return f"answers, but rejects our login ({t.detail})"


def restart_command(t: Testimony) -> str:
    """The command that restarts the toolstack of a host, which touches no running VM."""
    return f"ssh root@{address_host(t.address)} xe-toolstack-restart"
