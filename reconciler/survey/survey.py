"""One survey: every witness about every member, asked in parallel rounds, so that a member that hangs costs one
deadline and not the run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from reconciler.core.evidence import ANSWERING, BmcPower, CopyTold, LoginAnswer, Survey, Testimony
from reconciler.core.fence_text import hide
from reconciler.core.port import (
    AgentRun,
    Answer,
    Ask,
    Fault,
    FaultKind,
    Port,
    TransportFault,
    XapiFailure,
)
from reconciler.core.probe_text import probe_told
from reconciler.core.wanted import Member
from reconciler.survey.case import Case, Reader
from reconciler.survey.power import FenceOptions, Power

ORIGINATOR = "xenrec survey"
"""XAPI keeps 500 sessions per originator; each of ours lives for a second."""
LOGOUT_DEADLINE = 3.0
TCP_DEADLINE = 1.5
"""Seconds for a connection: what takes longer on the way to a hypervisor's management network is no connection. A lost
packet is sent again after 1 s and then after 3 s, so 3 s would not see more; and a silent host costs it at every look.
A powered-off host on one LAN is told unreachable after about 3 s (recordings/README)."""

REJECTIONS = frozenset({"SESSION_AUTHENTICATION_FAILED", "RBAC_PERMISSION_DENIED", "SESSION_AUTHORIZATION_FAILED"})
EMERGENCIES = frozenset(
    {
        "HOST_BROKEN",
        "HOST_HAS_NO_MANAGEMENT_IP",
        "HOST_ITS_OWN_SLAVE",
        "HOST_MASTER_CANNOT_TALK_BACK",
        "HOST_STILL_BOOTING",
        "HOST_UNKNOWN_TO_MASTER",
        "HOST_XAPI_VERSION_HIGHER_THAN_COORDINATOR",
        "INTERNAL_ERROR",
    }
)
"""What the gate of a host in emergency mode answers to a login (sheet §1.2), besides HA_*."""

_BY_FAULT = {
    FaultKind.REFUSED: LoginAnswer.REFUSED,
    FaultKind.UNREACHABLE: LoginAnswer.SILENT,
    FaultKind.TIMEOUT: LoginAnswer.SILENT,
    FaultKind.TLS: LoginAnswer.UNTRUSTED,
    FaultKind.DROPPED: LoginAnswer.STRANGE,
    FaultKind.PROTOCOL: LoginAnswer.STRANGE,
}


ProbeOf = Callable[[Member], tuple[str, ...]]
"""The command and its arguments that tell how old a member's copy of the pool database is; () for none."""


def survey(
    port: Port,
    wanted_members: Sequence[Member],
    *,
    credentials: Callable[[], tuple[str, str]],
    fence_options: FenceOptions,
    local_credentials: Callable[[], tuple[str, str] | None] | None = None,
    deadline: float = 5.0,
    hang_deadline: float = 5.0,
    bmc_deadline: float = 10.0,
    ask_bmc: bool = True,
    known_lost: Collection[str] = (),
    probe: ProbeOf = lambda member: (),
    probe_deadline: float = 10.0,
) -> Survey:
    """One testimony per member, in the order given. Deadlines in seconds per question.

    Rounds: (1) a connection to every member, then a login at each that takes one; (2) a local login where the host is
    a member or in emergency mode, the pool's uuid where the login was accepted, the BMC's power state of those whose
    XAPI did not answer; (3) with the local sessions the emergency flag and, once, a database read: it is answered where
    the member reaches its master and hangs where it doesn't (recording 03); beside them the next fence device of those
    whose first one does not know, and so on while devices are left; (4) logout. Each such read holds a thread of that
    xapi until its master is back, which is why nothing here is repeated.

    `known_lost` names members whose read hung earlier in this run, with their master proved dead since: they are not
    asked again, and still count as having lost it.

    `probe` gives the command that tells how old a member's copy of the database is: it is run for every member that
    could be promoted, beside the second round.

    `credentials` gives user and password, `local_credentials` those of local logins where they are others (None: they
    can't be had, so nobody is asked with them); `fence_options` the options of a member's fence device, None for one
    that can't be asked. Faults become testimony; anything else that these two raise comes through.
    """
    started = port.now()
    user, password = credentials()
    local = local_credentials() if local_credentials is not None else (user, password)
    cases = _logins(port, wanted_members, user, password, deadline)
    for case in cases:
        # The power of a host whose XAPI answers is known; asking its BMC too would slow every healthy run.
        if ask_bmc and case.testimony.login not in ANSWERING:
            case.levels = list(case.member.fencing)
    power = Power(cases, fence_options, bmc_deadline)
    _second_round(port, cases, local, deadline, power, _probes(cases, probe, probe_deadline))
    _third_round(port, cases, deadline, hang_deadline, known_lost, power)
    while more := power.asks():
        _ask(port, more)
    _log_out(port, cases)
    # A toolstack that repeats what it was told must not get the password into a report.
    told = tuple(replace(c.testimony, detail=_hidden(c.testimony.detail, (user, password), local)) for c in cases)
    return Survey(at=started, testimonies=told, took=port.now() - started)


def _hidden(detail: str, *accounts: tuple[str, str] | None) -> str:
    for account in accounts:
        if account is not None:
            detail = hide(detail, [account[1]], username=account[0])
    return detail


def classify(answer: Answer) -> tuple[LoginAnswer, str]:
    """What a normal login's answer means, and its words. A code that we don't know counts as EMERGENCY for now."""
    fault = answer.fault
    if fault is None:
        if isinstance(answer.value, str) and answer.value:
            return LoginAnswer.MASTER, ""
        return LoginAnswer.STRANGE, "accepted the login without giving a session"
    if isinstance(fault, TransportFault):
        return _BY_FAULT[fault.kind], str(fault)
    assert isinstance(fault, XapiFailure)
    if fault.code == "HOST_IS_SLAVE" and fault.params:
        return LoginAnswer.SLAVE, str(fault)
    if fault.code in REJECTIONS:
        return LoginAnswer.REJECTED, str(fault)
    return LoginAnswer.EMERGENCY, str(fault)


def _is_known(fault: Fault | None) -> bool:
    return not isinstance(fault, XapiFailure) or (
        fault.code in EMERGENCIES
        or fault.code in REJECTIONS
        or fault.code.startswith("HA_")
        or (fault.code == "HOST_IS_SLAVE" and bool(fault.params))
    )


def _logins(port: Port, members: Sequence[Member], user: str, password: str, deadline: float) -> list[Case]:
    asked_at = port.now()
    login = ("session.login_with_password", (user, password, "1.0", ORIGINATOR))
    # Of a host whose toolstack hangs the port still answers: a sign of life that the login alone does not show. Where
    # no connection comes about no login can, so that a dead host costs the shorter deadline.
    connects = port.ask_all(
        [Ask("tcp", min(deadline, TCP_DEADLINE), address=m.address, port=_port(m.address)) for m in members]
    )
    open_to_us = [m for m, tcp in zip(members, connects, strict=True) if tcp.fault is None]
    asks = [Ask("xapi", deadline, address=m.address, method=login[0], params=login[1]) for m in open_to_us]
    said = iter(port.ask_all(asks) if asks else [])
    cases = []
    for member, tcp in zip(members, connects, strict=True):
        answer = next(said) if tcp.fault is None else tcp
        kind, detail = classify(answer)
        fault = answer.fault
        testimony = Testimony(
            name=member.name,
            address=member.address,
            at=asked_at,
            login=kind,
            detail=detail,
            follows=fault.params[0] if kind is LoginAnswer.SLAVE and isinstance(fault, XapiFailure) else None,
            tcp=tcp.fault is None,
            bmc=BmcPower.UNKNOWN if member.fencing else BmcPower.NONE,
            bmc_detail="not asked" if member.fencing else "",
            took=answer.took,
        )
        session = answer.value if kind is LoginAnswer.MASTER else None
        cases.append(Case(member, testimony, session=session, unsure=not _is_known(fault)))
    return cases


def _ask(port: Port, asks: Sequence[tuple[Ask, Reader]]) -> None:
    answers = port.ask_all([ask for ask, _ in asks]) if asks else []
    for answer, (_, read) in zip(answers, asks, strict=True):
        read(answer)


def _second_round(
    port: Port,
    cases: Sequence[Case],
    account: tuple[str, str] | None,
    deadline: float,
    power: Power,
    probes: list[tuple[Ask, Reader]],
) -> None:
    asks: list[tuple[Ask, Reader]] = power.asks() + probes
    for case in cases:
        address, login = case.member.address, case.testimony.login
        if login is LoginAnswer.MASTER:
            ask = Ask("xapi", deadline, address, "pool.get_all_records", (case.session,))
            asks.append((ask, partial(_read_pool_uuid, case)))
        elif login in (LoginAnswer.SLAVE, LoginAnswer.EMERGENCY) and account is not None:
            method = "session.slave_local_login_with_password"
            asks.append((Ask("xapi", deadline, address, method, account), partial(_read_local_login, case)))
    _ask(port, asks)


def _probes(cases: Sequence[Case], probe: ProbeOf, deadline: float) -> list[tuple[Ask, Reader]]:
    found: list[tuple[Ask, Reader]] = []
    for case in cases:
        argv = probe(case.member)
        if argv and case.testimony.login in (LoginAnswer.SLAVE, LoginAnswer.EMERGENCY):
            found.append((Ask("probe", deadline, argv=argv), partial(_read_probe, case)))
    return found


def _read_probe(case: Case, answer: Answer) -> None:
    run = answer.value
    if answer.fault is None and isinstance(run, AgentRun):
        told = probe_told(run)
    elif isinstance(answer.fault, TransportFault) and answer.fault.kind is FaultKind.TIMEOUT:
        told = CopyTold(why="the probe did not end in time")
    else:
        told = CopyTold(why=f"the probe could not be run: {answer.fault}")
    case.testimony = replace(case.testimony, copy=told)


def _read_pool_uuid(case: Case, answer: Answer) -> None:
    value = answer.value
    if answer.fault is None and isinstance(value, Mapping):
        uuids = [r.get("uuid") for r in value.values() if isinstance(r, Mapping)]
        if len(uuids) == 1 and isinstance(uuids[0], str):
            case.testimony = replace(case.testimony, pool_uuid=uuids[0])
            return
    why = str(answer.fault) if answer.fault else "it does not have one pool record"
    case.testimony = replace(case.testimony, detail=f"accepted the login, but its pool cannot be read: {why}")


def _read_local_login(case: Case, answer: Answer) -> None:
    if answer.fault is None and isinstance(answer.value, str) and answer.value:
        case.local = answer.value
        case.testimony = replace(case.testimony, local_login=True)
        return
    why = str(answer.fault) if answer.fault else "no session came"
    case.testimony = replace(
        case.testimony, local_login=False, detail=f"{case.testimony.detail}; local login failed: {why}"
    )


def _third_round(
    port: Port,
    cases: Sequence[Case],
    deadline: float,
    hang_deadline: float,
    known_lost: Collection[str],
    power: Power,
) -> None:
    local = [c for c in cases if c.local is not None]
    # The gate of emergency mode refuses a database read, so only a member is asked for one.
    slaves = [c for c in local if c.testimony.login is LoginAnswer.SLAVE]
    for case in slaves:
        if case.member.name in known_lost:
            case.testimony = replace(case.testimony, reaches_master=False)
    members = [c for c in slaves if c.member.name not in known_lost]
    asks = [Ask("xapi", deadline, c.member.address, "host.is_in_emergency_mode", (c.local,)) for c in local]
    asks += [Ask("xapi", hang_deadline, c.member.address, "pool.get_all", (c.local,)) for c in members]
    readers: list[Reader] = [partial(_read_flag, c) for c in local]
    readers += [partial(_read_reach, c) for c in members]
    _ask(port, [*zip(asks, readers, strict=True), *power.asks()])
    for case in cases:
        t = case.testimony
        if case.unsure and t.is_emergency is not True:
            case.testimony = replace(t, login=LoginAnswer.STRANGE)
        elif t.login is LoginAnswer.SLAVE and t.is_emergency and not t.reaches_master:
            # Its gate repeats what its master told it: the address is the one that *that* host follows (sheet §1.2).
            case.testimony = replace(t, login=LoginAnswer.EMERGENCY, follows=None)


def _read_flag(case: Case, answer: Answer) -> None:
    flag = answer.value if answer.fault is None and isinstance(answer.value, bool) else None
    case.testimony = replace(case.testimony, is_emergency=flag)


def _read_reach(case: Case, answer: Answer) -> None:
    case.testimony = replace(case.testimony, reaches_master=_reaches(answer))


def _reaches(answer: Answer) -> bool | None:
    """True if answered, False if it hung; anything else (a refusal, a broken connection) says neither."""
    if answer.fault is None:
        return True
    if isinstance(answer.fault, TransportFault) and answer.fault.kind is FaultKind.TIMEOUT:
        return False
    return None


def _log_out(port: Port, cases: Sequence[Case]) -> None:
    asks = [
        Ask("xapi", LOGOUT_DEADLINE, c.member.address, "session.logout", (c.session,))
        for c in cases
        # Not where the master hung already: its table dies with it, and we would wait once more.
        if c.session is not None and c.testimony.pool_uuid is not None
    ]
    asks += [
        # Answered even where the master is gone: the table of local sessions needs no database (recording 03).
        Ask("xapi", LOGOUT_DEADLINE, c.member.address, "session.local_logout", (c.local,))
        for c in cases
        if c.local is not None
    ]
    if asks:
        port.ask_all(asks)


def _port(address: str) -> int:
    after = address.rpartition("]")[2] if "]" in address else address if address.count(":") == 1 else ""
    port = after.rpartition(":")[2]
    return int(port) if port.isascii() and port.isdigit() else 443
