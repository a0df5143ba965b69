"""Lead a second master back: one call on a local session of its own, and then see it follow the right one."""

from __future__ import annotations

from reconciler.core.evidence import LoginAnswer, Survey
from reconciler.core.fates import Fates
from reconciler.core.model import PoolState
from reconciler.core.plan import Action, Done
from reconciler.core.port import Fault, Session, TransportFault, XapiFailure
from reconciler.core.rivals import fates_of, followers
from reconciler.core.ties import ties_of
from reconciler.core.unsettled import known_elsewhere
from reconciler.core.wanted import Member
from reconciler.core.words import names
from reconciler.execute.bench import Bench, already, done, failed, refused
from reconciler.execute.desk import same_address
from reconciler.execute.faults import explain
from reconciler.execute.look import look
from reconciler.execute.seats import office

RESET = "pool.emergency_reset_master"
POLL = 1.0  # s


def follow(bench: Bench, action: Action) -> Done:
    """Make a second master a member of `action.to`, whose database wins. Sets `bench.master`.

    Everything is read again first: that both still accept logins, who follows whom, and what the loser's toolstack will
    kill when it starts again; a VM that the plan did not name stops it. The call names the winner by the address that
    its own database has, and touches nobody else (sheet §2.3); pool.recover_slaves would reach every host at once. It
    is sent once: its lost reply is observed.
    """
    loser = bench.member_of(action.target)
    winner = bench.member_of(action.to) if action.to is not None else None
    if loser is None or winner is None:
        return refused(action, "it names a host that is not a declared member", "declare it in members")
    bench.say(action, "asking every member again")
    bench.last_survey = survey = bench.survey()
    if why := _unfit(bench, action, loser, winner, survey):
        return why
    bench.leave()
    bench.master = winner.address
    bench.desk().session()
    address = office(bench).address
    if why := _kills_more(bench, action, loser, winner, survey):
        return why
    try:
        local = bench.sessions.local(loser.address)
    except (XapiFailure, TransportFault) as fault:
        return refused(action, f"{loser.name} gives no local session: {fault}", _by_hand(loser, address))
    try:
        if why := _changed(bench, action, loser, winner):
            return why
        bench.intend(action, RESET, loser.address, to=winner.name, kills=[d.name for d in action.kills])
        bench.say(action, f"telling {loser.name} to follow {winner.name}")
        try:
            local.call(RESET, address, deadline=30.0)
            bench.reply(action, RESET, "accepted")
        except XapiFailure as failure:
            bench.reply(action, RESET, failure.code)
            bench.refuses_for_ha(loser.name, failure)
            told = explain(failure, lambda _, ref: ref)
            return failed(action, f"{loser.name} did not take it: {told.sentence}", told.remedy)
        except TransportFault as fault:
            bench.reply(action, RESET, f"no reply: {fault.kind}")
            bench.say(action, "the reply was lost: watching, not asking again")
    finally:
        local.close()
    return _watch(bench, action, loser, winner, address)


def _by_hand(loser: Member, address: str) -> str:
    return f"on {loser.name}: xe pool-emergency-reset-master master-address={address}"


def _unfit(bench: Bench, action: Action, loser: Member, winner: Member, survey: Survey) -> Done | None:
    """Why it is not to be told any more, by what every member said a moment ago; ALREADY where it follows by now."""
    ties = ties_of(bench.wanted, survey)
    mine = next((t for t in ties if t.member == loser.name), None)
    if mine is not None and mine.follows == winner.name:
        return already(action, f"{loser.name} follows {winner.name} by now")
    masters = [t.member for t in ties if t.login is LoginAnswer.MASTER]
    for name in (winner.name, loser.name):
        if name not in masters:
            return refused(action, f"{name} does not accept logins as master any more", "plan again")
    if loser.name not in bench.yields and followers(ties, loser.name) and not followers(ties, winner.name):
        return refused(
            action, f"{names(followers(ties, loser.name))} by now follows {loser.name}, and nobody {winner.name}", ""
        )
    return None


def _kills_more(bench: Bench, action: Action, loser: Member, winner: Member, survey: Survey) -> Done | None:
    """Refused where the loser would kill, or may hold, what the plan did not say; both databases are read again."""
    ties = ties_of(bench.wanted, survey)
    realms = {}
    try:
        realms[winner.name] = bench.read(bench.desk().session())
        realms[loser.name] = _read(bench, bench.sessions.login(loser.address))
    except Fault as fault:
        if loser.name not in bench.yields:
            return refused(action, f"what runs on {loser.name} could not be read again: {fault}", "plan again")
    found = fates_of(bench.wanted, ties, loser.name, winner.name, realms) or Fates()
    said = {d.uuid for d in action.kills}
    if more := [d.name for d in found.killed if d.uuid not in said]:
        return refused(action, f"it would kill {names(more)} too, which the plan did not say", "plan again")
    if found.running and loser.name not in bench.yields:
        return refused(action, f"{loser.name} runs VMs of its own by now, and nobody said that it gives way", "")
    if loser.name in realms:
        held = known_elsewhere(realms[loser.name], realms[winner.name], action.target.uuid, bench.run_id)
        with bench.recording("where the second master had VMs"):
            for one in held:
                bench.store.begin(one)
    return None


def _read(bench: Bench, session: Session) -> PoolState:
    try:
        return bench.read(session)
    finally:
        session.close()


def _changed(bench: Bench, action: Action, loser: Member, winner: Member) -> Done | None:
    """The last thing before the call: both accept logins now. A winner that went away must not be followed."""
    for member in (winner, loser):
        seen = look(bench, member.address)
        seen.close()
        if seen.answer is not LoginAnswer.MASTER:
            return refused(action, f"{member.name} accepted logins a moment ago, and now it {seen}", "plan again")
    return None


def _watch(bench: Bench, action: Action, loser: Member, winner: Member, address: str) -> Done:
    """It acts as a master for 7 s more, refuses for 3 s, and then answers as a member (recording 05)."""
    began = bench.port.now()
    while True:
        seen = look(bench, loser.address)
        seen.close()
        took = bench.port.now() - began
        if seen.answer is LoginAnswer.SLAVE and any(
            same_address(seen.follows, one) for one in (address, winner.address)
        ):
            return done(action, f"{loser.name} follows {winner.name}, after {took:.0f} s")
        if took >= bench.wanted.policy.limits.rejoin_timeout:
            return failed(
                action,
                f"{loser.name} does not follow {winner.name} after {took:.0f} s: it {seen}",
                f"on {loser.name}: look at /var/log/xensource.log",
            )
        bench.port.wait(POLL)
