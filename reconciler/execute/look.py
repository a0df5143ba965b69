"""Looking at hosts from here: who answers, as what, and whom it follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reconciler.core.evidence import ANSWERING, LoginAnswer
from reconciler.core.port import Ask, FaultKind, Session, TransportFault, XapiFailure
from reconciler.core.wanted import Member
from reconciler.core.words import address_host
from reconciler.execute.bench import Bench

TCP_DEADLINE = 1.5
"""Seconds; a lost packet is sent again after 1 s and then after 3 s, so a deadline of 3 s would not see more. A
powered-off host on one LAN is told unreachable after about 3 s (recordings/README)."""
LOGIN_DEADLINE = 5.0  # s; a living toolstack answers a login in milliseconds, a wrong password in 2 s (recording 02)

_TRANSPORT = {
    FaultKind.REFUSED: LoginAnswer.REFUSED,
    FaultKind.UNREACHABLE: LoginAnswer.SILENT,
    FaultKind.TIMEOUT: LoginAnswer.SILENT,
    FaultKind.DROPPED: LoginAnswer.STRANGE,
    FaultKind.TLS: LoginAnswer.UNTRUSTED,
    FaultKind.PROTOCOL: LoginAnswer.STRANGE,
}
_REJECTIONS = frozenset({"SESSION_AUTHENTICATION_FAILED", "RBAC_PERMISSION_DENIED"})


@dataclass(frozen=True, slots=True)
class Look:
    """What an address said to a normal login. `session` is open when it was accepted: the caller closes it."""

    answer: LoginAnswer
    detail: str = ""
    follows: str = ""
    """The address of the master that it follows."""
    session: Session | None = None
    connected: bool = False
    """Something took a connection there before the login was tried; False also where that was not looked at."""
    followed: str = ""
    """That master's name, for people."""

    @property
    def answers(self) -> bool:
        """A living XAPI answered."""
        return self.answer in ANSWERING

    def close(self) -> None:
        """Log out, if it was accepted."""
        if self.session is not None:
            self.session.close()

    def __str__(self) -> str:
        return {
            LoginAnswer.MASTER: "accepts logins as a master",
            LoginAnswer.SLAVE: f"answers as a member of {self.followed or self.follows or 'another host'}",
            LoginAnswer.EMERGENCY: f"answers in emergency mode ({self.detail})",
            LoginAnswer.REJECTED: f"answers and rejects our login ({self.detail}), as only a master does",
            LoginAnswer.UNTRUSTED: "answers with a certificate that the manifest does not trust",
            LoginAnswer.REFUSED: "refuses connections: its host is up, its toolstack is not",
            LoginAnswer.SILENT: "does not answer",
            LoginAnswer.STRANGE: f"answers, but not as XAPI does ({self.detail})",
        }[self.answer]


def look(bench: Bench, address: str, *, deadline: float = LOGIN_DEADLINE) -> Look:
    """One normal login, and what came of it. An accepted session is left open in the result.

    A member says HOST_IS_SLAVE before it looks at the password (sheet §7.4), so a rejected login comes from a master.
    """
    try:
        return Look(LoginAnswer.MASTER, session=bench.sessions.login(address, deadline=deadline))
    except XapiFailure as failure:
        if failure.code == "HOST_IS_SLAVE":
            follows = failure.params[0] if failure.params else ""
            return Look(LoginAnswer.SLAVE, follows=follows, followed=bench.name_at(follows))
        kind = LoginAnswer.REJECTED if failure.code in _REJECTIONS else LoginAnswer.EMERGENCY
        return Look(kind, detail=failure.code)
    except TransportFault as fault:
        return Look(_TRANSPORT[fault.kind], detail=str(fault))


def tcp_round(bench: Bench, members: Sequence[Member]) -> dict[str, FaultKind | None]:
    """One connection attempt to each member in parallel: name -> what the network did, None when it connected."""
    answers = bench.port.ask_all([_tcp(m.address) for m in members])
    found: dict[str, FaultKind | None] = {}
    for member, answer in zip(members, answers, strict=True):
        fault = answer.fault
        found[member.name] = fault.kind if isinstance(fault, TransportFault) else None
    return found


def sign_of_life(bench: Bench, member: Member) -> str:
    """What at that address shows life now, "" when it is silent to TCP and to a normal login alike."""
    seen = look_quickly(bench, member)
    seen.close()
    if seen.answer is LoginAnswer.REFUSED:
        return "it refuses connections, so its host is up"
    if seen.answer is not LoginAnswer.SILENT:
        return f"it {seen}"
    return "it takes connections, though its toolstack hangs" if seen.connected else ""


def takes_connections(bench: Bench, member: Member) -> bool:
    """Whether anything takes, or refuses, a connection there: then the host is up, whatever its toolstack does."""
    return tcp_round(bench, [member])[member.name] in (None, FaultKind.REFUSED)


def look_quickly(bench: Bench, member: Member) -> Look:
    """A connection first, and a login only over one: a dead host costs the shorter deadline."""
    return ask_members(bench, [member])[member.name]


def ask_members(bench: Bench, members: Sequence[Member]) -> dict[str, Look]:
    """The same for several: those that take no connection cost one parallel round. Accepted sessions are open."""
    network = tcp_round(bench, members) if members else {}
    found: dict[str, Look] = {}
    for member in members:
        fault = network[member.name]
        found[member.name] = (
            replace(look(bench, member.address), connected=True)
            if fault is None
            else Look(_TRANSPORT[fault], detail=str(fault))
        )
    return found


def rivals(bench: Bench, master: str) -> tuple[list[tuple[Member, Look]], dict[str, Look]]:
    """(members other than `master` that may be masters too, what each member that connects said).

    Members that take no connection cannot accept a login, so they cost one parallel round and not a deadline each.
    """
    others = [m for m in bench.wanted.members if address_host(m.address) != address_host(master)]
    network = tcp_round(bench, others) if others else {}
    seen: dict[str, Look] = {}
    found: list[tuple[Member, Look]] = []
    for member in others:
        if network[member.name] is not None:
            continue
        answer = look(bench, member.address)
        answer.close()
        seen[member.name] = answer
        if answer.answer in (LoginAnswer.MASTER, LoginAnswer.REJECTED):
            found.append((member, answer))
    return found, seen


def _tcp(address: str) -> Ask:
    host = address_host(address)
    tail = address.rpartition("]")[2] if address.startswith("[") else address[len(host) :]
    port = int(tail[1:]) if tail.startswith(":") and tail[1:].isdigit() else 443
    return Ask("tcp", TCP_DEADLINE, address=host, port=port)
