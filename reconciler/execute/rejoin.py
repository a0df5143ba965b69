"""Bring the members behind a new master, and wait until each follows it, is live and has resynchronised its VMs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.core.draft import apply_command
from reconciler.core.evidence import LoginAnswer, Verdict
from reconciler.core.mark import mark_of
from reconciler.core.plan import Action, Done
from reconciler.core.port import Json, TransportFault, XapiFailure
from reconciler.core.wanted import Member, MemberState
from reconciler.core.words import names
from reconciler.execute.bench import Bench, already, because, done, failed, refused
from reconciler.execute.desk import LostReply, MasterLost, same_address
from reconciler.execute.look import Look, look, rivals, tcp_round
from reconciler.execute.proof import Prover

RECOVER = "pool.recover_slaves"
POLL = 2.0  # s
ASK_AGAIN = 30.0
"""Seconds after which those that still follow the lost master are asked for once more: the fuse burns for 12 s, so the
first call missed them."""
ASKS = 2  # more times, before each straggler is told by itself


@dataclass(frozen=True, slots=True)
class Seat:
    """One member as its own login and the master's database show it."""

    member: Member
    follows: bool
    known: bool
    live: bool
    enabled: bool
    said: str = ""
    resting: bool = False
    """It may stay disabled: in maintenance, or disabled by us for one that is over."""

    @property
    def back(self) -> bool:
        """It follows, is live and enabled, so its VMs are resynchronised (sheet §2.6: before it enables itself).

        A member in maintenance is disabled on purpose.
        """
        return self.follows and self.live and (self.enabled or self.resting)

    def missing(self, master: str) -> str:
        """What keeps it from being back, for people."""
        name = self.member.name
        if not self.follows:
            return f"{name} does not follow {master}: it {self.said}"
        if not self.known:
            return f"{name} follows {master}, whose database does not know it"
        if not self.live:
            return f"{name} follows {master}, but is not live yet"
        return f"{name} follows {master} but stays disabled: run xe-toolstack-restart on it"


@dataclass(frozen=True, slots=True)
class Office:
    """The acting master as its own database shows it."""

    name: str
    address: str
    live: bool
    enabled: bool
    """Or disabled on purpose: in maintenance."""
    hosts: dict[str, dict[str, Json]]
    metrics: dict[str, dict[str, Json]]

    def host_of(self, member: Member) -> dict[str, Json] | None:
        """The record of a declared member: by name, then by address."""
        for fits in (
            lambda h: h.get("name_label") == member.name,
            lambda h: same_address(str(h.get("address", "")), member.address),
        ):
            found = [h for h in self.hosts.values() if fits(h)]
            if len(found) == 1:
                return found[0]
        return None

    def is_live(self, host: dict[str, Json]) -> bool:
        """Its host_metrics.live."""
        return bool(self.metrics.get(str(host.get("metrics", "")), {}).get("live", False))


def rests(member: Member, host: Mapping[str, Json]) -> bool:
    """Its record may say disabled though it has rejoined: it is in maintenance, or still carries our mark."""
    if member.state is MemberState.MAINTENANCE:
        return True
    return mark_of({str(k): str(v) for k, v in dict(host.get("other_config") or {}).items()}) is not None


def office(bench: Bench) -> Office:
    """Read who is master and how every host stands, in three calls. Raises MasterLost, XapiFailure."""
    desk = bench.desk()
    hosts = dict(desk.read("host.get_all_records"))
    metrics = dict(desk.read("host_metrics.get_all_records"))
    mine = dict(hosts.get(str(desk.pool().get("master", "")), {}))
    live = bool(metrics.get(str(mine.get("metrics", "")), {}).get("live", False))
    return Office(
        str(mine.get("name_label", desk.address)),
        str(mine.get("address", desk.address)),
        live,
        bool(mine.get("enabled", False)) or ((own := bench.member_of_record(mine)) is not None and rests(own, mine)),
        hosts,
        metrics,
    )


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
    seats = _seats(bench, master, expected, {m.name: seen.get(m.name, silent) for m in expected})
    if master.enabled and master.live and all(s.back for s in seats):
        bench.clear_incident()
        return already(action, f"every answering member follows {bench.name_at(desk.address)} already")
    if refusal := _ask(bench, action, expected, [s.member for s in seats if not s.follows]):
        return refusal
    asks = 0

    def nudge(astray: Sequence[Member]) -> Done | None:
        nonlocal asks
        asks += 1
        rival, _ = rivals(bench, bench.desk().address)
        if rival:
            return _second_master(bench, prover, action, rival)
        if asks <= ASKS:
            return _ask(bench, action, expected, astray)
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
    """Poll until every expected member and the master itself are back, at most limits.rejoin_timeout.

    `nudge` is called with those astray every ASK_AGAIN seconds; an outcome that it returns ends the wait.
    """
    began = bench.port.now()
    until = began + bench.wanted.policy.limits.rejoin_timeout
    next_nudge = began + ASK_AGAIN
    back: set[str] = set()
    while True:
        seats: list[Seat] = []
        trouble = ""
        try:
            bench.keep()
            master = office(bench)
            seats = _seats(bench, master, expected, _ask_members(bench, expected))
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
                bench.say(action, f"{seat.member.name} is back")
        absent = [s for s in seats if not s.back]
        if ready and not absent:
            return _confirm(bench, prover, action, expected, began)
        now = bench.port.now()
        if now >= until:
            return _late(bench, prover, action, absent, trouble, ready)
        if nudge is not None and now >= next_nudge:
            next_nudge = now + ASK_AGAIN
            astray = [s.member for s in absent if not s.follows]
            if astray and (ended := nudge(astray)):
                return ended
        bench.port.wait(POLL)


def _confirm(bench: Bench, prover: Prover, action: Action, expected: Sequence[Member], began: float) -> Done:
    """Exactly one master, asked of everybody once more; only then is the incident over."""
    others, _ = rivals(bench, bench.desk().address)
    if others:
        return _second_master(bench, prover, action, others)
    bench.clear_incident()
    verb = "follows it and is" if len(expected) == 1 else "follow it and are"
    behind = f"; {names(m.name for m in expected)} {verb} live and enabled" if expected else ""
    name = bench.name_at(bench.desk().address)
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


def _seats(bench: Bench, master: Office, expected: Sequence[Member], seen: dict[str, Look]) -> list[Seat]:
    """How each expected member stands, by its own answer and the master's database."""
    seats: list[Seat] = []
    own = bench.desk().address
    for member in expected:
        answer = seen[member.name]
        follows = answer.answer is LoginAnswer.SLAVE and (
            same_address(answer.follows, master.address) or same_address(answer.follows, own)
        )
        host = master.host_of(member)
        seats.append(
            Seat(
                member,
                follows,
                known=host is not None,
                live=host is not None and master.is_live(host),
                enabled=bool(host and host.get("enabled", False)),
                said=str(answer),
                resting=host is not None and rests(member, host),
            )
        )
    return seats


def _ask_members(bench: Bench, members: Sequence[Member]) -> dict[str, Look]:
    """What each says to a normal login; those that take no connection cost one parallel round together."""
    network = tcp_round(bench, members) if members else {}
    found: dict[str, Look] = {}
    for member in members:
        if network[member.name] is not None:
            found[member.name] = Look(LoginAnswer.SILENT)
            continue
        answer = look(bench, member.address)
        answer.close()
        found[member.name] = answer
    return found


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


def _ask(bench: Bench, action: Action, expected: Sequence[Member], astray: Sequence[Member]) -> Done | None:
    """Send recover_slaves once, for those astray; an outcome only if it can't go on.

    A lost reply is observed by the polling.
    """
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
        told = bench.explain(failure)
        return failed(action, told.sentence, told.remedy)
    reached = sorted(bench.name_of("host", r) for r in refs)
    bench.reply(action, RECOVER, f"reached {names(reached, most=64)}")
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
        bench.say(action, f"told {member.name} by itself to follow {bench.name_at(address)}")
    except (XapiFailure, TransportFault) as fault:
        bench.reply(action, method, f"{member.name}: {fault}")
        bench.say(action, f"{member.name} did not take it: {fault}")
    finally:
        local.close()


def _second_master(bench: Bench, prover: Prover, action: Action, others: Sequence[tuple[Member, Look]]) -> Done:
    for member, seen in others:
        if held := prover.held(member):
            prover.void(member, held, f"it {seen}", action)
    told = because(f"{m.name} {seen}" for m, seen in others)
    name = bench.name_at(bench.desk().address)
    return refused(
        action,
        f"a second master: {told}, beside {name}",
        f"wait a minute, for a master that comes back finds out by itself; then: xenrec plan {bench.wanted.argument}",
    )
