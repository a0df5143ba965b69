"""Bring the members behind a new master, and wait until each follows it, is live and has resynchronised its VMs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reconciler.core.draft import apply_command
from reconciler.core.evidence import LoginAnswer, Verdict
from reconciler.core.plan import Action, Done
from reconciler.core.port import TransportFault, XapiFailure
from reconciler.core.wanted import Member
from reconciler.core.words import names
from reconciler.execute.bench import Bench, already, because, done, failed, refused
from reconciler.execute.desk import UNHEARD, LostReply, MasterLost, same_address
from reconciler.execute.look import Look, ask_members, look, rivals
from reconciler.execute.proof import Prover
from reconciler.execute.seats import Seat, office, seats_of, waiting_for

RECOVER = "pool.recover_slaves"
POLL = 2.0  # s
ASK_AGAIN = 30.0
"""Seconds after which those that still follow the lost master are asked for once more: the fuse burns for 12 s, so the
first call missed them."""
ASKS = 1  # more times, before each straggler is told by itself
GONE_AFTER = 60.0
"""Seconds of silence after which a member is not waited for once everybody else is back: a restarting toolstack refuses
connections or takes them, only a host without power or network is silent (recordings 03, 15). The next plan judges it
as any host that does not answer: nothing that it may run is started before it is proved dead."""


def recover(bench: Bench, prover: Prover, action: Action) -> Done:
    """`pool.recover_slaves` on the acting master, at once, and only beside no second master; then wait (sheet §2.5).

    Without it the new master stays disabled for ever (recording 14). Sent to anything but a host that accepts a normal
    login it tangles the pool (recording 13), so the session is always a normal one, opened or checked by the desk.
    """
    desk = bench.desk()
    desk.session()
    others, seen = rivals(bench, desk.address)
    if others:
        return _second_master(bench, prover, action, others)
    if strange := sorted(n for n, answer in seen.items() if answer.answer is LoginAnswer.UNTRUSTED):
        verb = "answers" if len(strange) == 1 else "answer"
        return refused(
            action,
            f"{names(strange)} {verb} with a certificate that the manifest does not trust: it may be a second master",
            "correct its fingerprint in the manifest, or shut it down",
        )
    expected = _expected(bench, prover, seen)
    master = office(bench)
    silent = Look(LoginAnswer.SILENT)
    seats = seats_of(bench, master, expected, {m.name: seen.get(m.name, silent) for m in expected})
    if master.enabled and master.live and all(s.back for s in seats):
        bench.clear_incident()
        return already(action, f"every answering member follows {bench.name_at(desk.address)} already")
    if refusal := _ask(bench, prover, action, expected, [s.member for s in seats if not s.follows]):
        return refusal
    asks = 0

    def nudge(astray: Sequence[Member]) -> Done | None:
        nonlocal asks
        asks += 1
        rival, _ = rivals(bench, bench.desk().address)
        if rival:
            return _second_master(bench, prover, action, rival)
        if asks <= ASKS:
            return _ask(bench, prover, action, expected, astray)
        for member in astray:
            _tell(bench, action, member)
        return None

    return wait_for(bench, prover, action, expected, nudge)


def await_members(bench: Bench, prover: Prover, action: Action) -> Done:
    """Wait until every member that answers follows the acting master, is live and enabled; sends nothing."""
    desk = bench.desk()
    desk.session()
    others, seen = rivals(bench, desk.address)
    if others:
        return _second_master(bench, prover, action, others)
    return wait_for(bench, prover, action, _expected(bench, prover, seen), None)


def wait_for(
    bench: Bench,
    prover: Prover,
    action: Action,
    expected: Sequence[Member],
    nudge: Callable[[Sequence[Member]], Done | None] | None,
) -> Done:
    """Poll until every expected member and the master itself are back, at most limits.rejoin_timeout. What is still
    waited for is told whenever it changes. A member that fell silent is left to the next plan (GONE_AFTER).

    `nudge` is called with those astray every ASK_AGAIN seconds; an outcome that it returns ends the wait.
    """
    began = bench.port.now()
    until = began + bench.wanted.policy.limits.rejoin_timeout
    next_nudge = began + ASK_AGAIN
    back: set[str] = set()
    heard = {m.name: began for m in expected}
    told = ""
    while True:
        seats: list[Seat] = []
        trouble = ""
        try:
            bench.keep()
            master = office(bench)
            seats = seats_of(bench, master, expected, _said(bench, expected))
            ready = master.enabled and master.live
        except MasterLost as lost:
            if lost.deposed:
                raise
            trouble, ready = lost.why, False
        except XapiFailure as failure:
            trouble, ready = bench.explain(failure).sentence, False
        for seat in seats:
            if seat.back and seat.member.name not in back:
                back.add(seat.member.name)
                bench.milestone(action, f"{seat.member.name} is back")
        now = bench.port.now()
        heard |= {s.member.name: now for s in seats if not s.silent}
        absent = [s for s in seats if not s.back]
        gone = [s.member for s in absent if now - heard[s.member.name] >= GONE_AFTER]
        if ready and len(gone) == len(absent):
            return _confirm(bench, prover, action, expected, began, gone)
        if (words := waiting_for(bench, seats, trouble, ready)) != told:
            bench.say(action, words)
            told = words
        if now >= until:
            return _late(bench, prover, action, absent, trouble, ready)
        if nudge is not None and now >= next_nudge:
            next_nudge = now + ASK_AGAIN
            astray = [s.member for s in absent if not s.follows]
            if astray and (ended := nudge(astray)):
                return ended
        bench.port.wait(POLL)


def _confirm(
    bench: Bench,
    prover: Prover,
    action: Action,
    expected: Sequence[Member],
    began: float,
    gone: Sequence[Member] = (),
) -> Done:
    """Exactly one master, asked of everybody once more; only then is the incident over."""
    others, _ = rivals(bench, bench.desk().address)
    if others:
        return _second_master(bench, prover, action, others)
    bench.clear_incident()
    here = [m for m in expected if m not in gone]
    verb = "follows it and is" if len(here) == 1 else "follow it and are"
    behind = f"; {names(m.name for m in here)} {verb} live and enabled" if here else ""
    if gone:
        behind += f"; {names(m.name for m in gone)} fell silent and {'is' if len(gone) == 1 else 'are'} not waited for"
    name = bench.name_at(bench.desk().address)
    bench.milestone(action, f"the pool is managed again: {name} is its only master")
    took = f"{bench.port.now() - began:.0f} s"
    return done(action, f"{name} is the only master{behind}, after {took}")


def _late(bench: Bench, prover: Prover, action: Action, absent: Sequence[Seat], trouble: str, ready: bool) -> Done:
    name = bench.name_at(bench.master or "")
    parts = [s.missing(name) for s in absent]
    if trouble:
        parts.append(trouble)
    elif not ready:
        parts.append(f"{name} itself stays disabled: run xe-toolstack-restart on it")
    if not trouble:
        others, _ = rivals(bench, bench.desk().address)
        if others:
            return _second_master(bench, prover, action, others)
        bench.clear_incident()
    first = absent[0].member.name if absent else name
    return failed(action, because(parts), f"on {first}: xe-toolstack-restart; then {apply_command(bench.wanted)}")


def _expected(bench: Bench, prover: Prover, seen: dict[str, Look]) -> list[Member]:
    """Members that must come back: whoever answers now, answered the last survey, or was alive in the plan."""
    alive = {name for name, answer in seen.items() if answer.answers}
    if bench.last_survey is not None:
        alive |= {t.name for t in bench.last_survey.testimonies if t.answers}
    alive |= {j.name for j in bench.plan.diagnosis.members if j.verdict is Verdict.ALIVE}
    own = bench.desk().address
    return [
        m for m in bench.wanted.members if m.name in alive and not same_address(m.address, own) and not prover.held(m)
    ]


def _said(bench: Bench, members: Sequence[Member]) -> dict[str, Look]:
    """What each says to a normal login."""
    found = ask_members(bench, members)
    for answer in found.values():
        answer.close()
    return found


def _ask(
    bench: Bench, prover: Prover, action: Action, expected: Sequence[Member], astray: Sequence[Member]
) -> Done | None:
    """Send recover_slaves for those astray; an outcome only if it can't go on.

    Where it was surely not executed (UNHEARD), it is sent once more, after another look for a second master (I7). A
    lost reply is observed by the polling.
    """
    outcome = _send(bench, action, expected, astray)
    if isinstance(outcome, XapiFailure) and outcome.code in UNHEARD:
        others, _ = rivals(bench, bench.desk().address)
        if others:
            return _second_master(bench, prover, action, others)
        outcome = _send(bench, action, expected, astray)
    if isinstance(outcome, XapiFailure):
        told = bench.explain(outcome)
        return failed(action, told.sentence, told.remedy)
    return None


def _send(bench: Bench, action: Action, expected: Sequence[Member], astray: Sequence[Member]) -> XapiFailure | None:
    """Send recover_slaves once; XAPI's refusal if that is what came of it."""
    desk = bench.desk()
    silent = max(0, len(bench.wanted.members) - 1 - len(expected))
    # 3 s per powered-off host on one LAN and much more behind a router, 7-8 s per member (recordings/README, 2.5).
    deadline = 30.0 + 10.0 * len(expected) + 30.0 * silent
    bench.intend(action, RECOVER, desk.address)
    master = bench.name_at(desk.address)
    if astray:
        bench.say(action, f"telling {names(m.name for m in astray)} to follow {master}")
    else:
        bench.say(action, f"telling every member to follow {master}, which enables {master} itself")
    try:
        refs = [str(r) for r in desk.write(RECOVER, deadline=deadline)]
    except LostReply as lost:
        bench.reply(action, RECOVER, "no reply")
        bench.say(action, f"{lost}: watching the members")
        return None
    except XapiFailure as failure:
        bench.reply(action, RECOVER, failure.code)
        return failure
    reached = sorted(bench.name_of("host", r) for r in refs)
    bench.reply(action, RECOVER, f"reached {names(reached, most=64)}")
    if behind := [m.name for m in astray if m.name in reached]:
        bench.milestone(action, f"{names(behind)} told to follow {master}")
    if missed := [m.name for m in astray if m.name not in reached]:
        some = f"it reached {names(reached)}, and not {names(missed)}"
        bench.say(action, some if reached else f"it did not reach {names(missed)} yet")
    return None


def _tell(bench: Bench, action: Action, member: Member) -> None:
    """Point one straggler at the master by itself; never one that accepts logins as a master."""
    seen = look(bench, member.address)
    seen.close()
    if seen.answer not in (LoginAnswer.SLAVE, LoginAnswer.EMERGENCY):
        return
    try:
        address = office(bench).address
        local = bench.sessions.local(member.address)
    except (MasterLost, XapiFailure, TransportFault) as error:
        bench.say(action, f"{member.name} cannot be told by itself: {error}")
        return
    method = "pool.emergency_reset_master"
    bench.intend(action, method, member.address, host=member.name)
    try:
        local.call(method, address, deadline=30.0)
        bench.reply(action, method, f"{member.name} accepted")
        bench.milestone(action, f"{member.name} told by itself to follow {bench.name_at(address)}")
    except (XapiFailure, TransportFault) as fault:
        if isinstance(fault, XapiFailure):
            bench.refuses_for_ha(member.name, fault)
        bench.reply(action, method, f"{member.name}: {fault}")
        bench.say(action, f"{member.name} did not take it: {fault}")
    finally:
        local.close()


def _second_master(bench: Bench, prover: Prover, action: Action, others: Sequence[tuple[Member, Look]]) -> Done:
    for member, seen in others:
        if prover.held(member):
            prover.void(member, f"it {seen}", action)
    told = because(f"{m.name} {seen}" for m, seen in others)
    name = bench.name_at(bench.desk().address)
    return refused(
        action,
        f"a second master: {told}, beside {name}",
        f"wait a minute, for a master that comes back finds out by itself; then: xenrec plan {bench.wanted.argument}",
    )
