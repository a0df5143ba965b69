"""Watch a member that was told to become master until it accepts a normal login as that; nothing is sent."""

from __future__ import annotations

from reconciler.core.draft import apply_command
from reconciler.core.evidence import Incident, LoginAnswer
from reconciler.core.masterless import NEVER_TOOK_EFFECT
from reconciler.core.plan import Action, Done
from reconciler.core.port import XapiFailure
from reconciler.core.wanted import Member
from reconciler.execute.bench import Bench, done, failed, refused
from reconciler.execute.desk import MasterLost, same_address
from reconciler.execute.look import Look, look, takes_connections

POLL = 1.0  # s
RESTARTING = "restarting"
VANISHED = NEVER_TOOK_EFFECT
"""Seconds of silence after which a candidate is not waited for: a restarting toolstack refuses connections or takes
them (recordings 03, 11), only a host without power or network is silent."""


def await_master(bench: Bench, action: Action) -> Done:
    """Watch a promotion that was sent earlier, without sending anything. Sets `bench.master`."""
    sent = bench.store.incident()
    member = bench.member_of(action.target) or (bench.member_at(action.via) if action.via else None)
    if sent is not None:
        member = bench.wanted.member(sent.candidate) or member
    if member is None:
        return refused(action, f"{action.target.name} is not a declared member", "declare it in members")
    return watch(bench, action, member, sent, sure=False)


def watch(bench: Bench, action: Action, member: Member, sent: Incident | None, *, sure: bool) -> Done:
    """Poll until the member accepts normal logins as master of our pool; `sure`: XAPI said that it accepted the call.

    It answers as a member for 8-12 s more, refuses for 1-3 s, accepts logins after 9-14 s (recordings 03, 11).
    """
    limits = bench.wanted.policy.limits
    began = bench.port.now()
    told = ""
    restarted = False
    why = ""
    heard = began
    while True:
        seen = look(bench, member.address)
        if seen.answer is LoginAnswer.MASTER and not (why := _take_office(bench, action, member, seen)):
            bench.milestone(action, f"{member.name} accepts logins")
            return done(action, f"{member.name} acts as master, {bench.port.now() - began:.0f} s after")
        seen.close()
        words = why if seen.answer is LoginAnswer.MASTER else _stage_of(seen, restarted)
        if words != told:
            bench.say(action, f"{member.name}: {words}")
            told = words
            if words == RESTARTING and not restarted:
                bench.milestone(action, f"the toolstack of {member.name} restarts")
        restarted = restarted or seen.answer in (LoginAnswer.REFUSED, LoginAnswer.STRANGE, LoginAnswer.MASTER)
        if seen.answer is LoginAnswer.REJECTED:
            return failed(action, f"{member.name} {seen}", "check connection.username and its password")
        if seen.answer is LoginAnswer.SLAVE and sent and not _as_before(seen, sent, member):
            return failed(
                action,
                f"{member.name} follows {bench.name_at(seen.follows)} by now: it was pointed there since it was told",
                f"xenrec plan {bench.wanted.argument}",
            )
        if restarted and seen.answer is LoginAnswer.SLAVE and sent and _is_back(bench, sent):
            return failed(
                action,
                f"{sent.lost_master} is back and accepts logins as master, and {member.name} found it as it started: "
                "it follows it again",
                f"xenrec plan {bench.wanted.argument}",
            )
        now = bench.port.now()
        if seen.answer is not LoginAnswer.SILENT or takes_connections(bench, member):
            heard = now
        elif now - heard >= VANISHED:
            return failed(
                action,
                f"{member.name} was told to become master, and its host has not answered for {now - heard:.0f} s: it "
                "may be dead, too",
                f"xenrec plan {bench.wanted.argument}",
            )
        member_still = not restarted and seen.answer in (LoginAnswer.SLAVE, LoginAnswer.EMERGENCY)
        if not sure and member_still and sent and now - sent.sent_at > NEVER_TOOK_EFFECT:
            if seen.answer is LoginAnswer.EMERGENCY:
                # One that tells whom it follows is recognised by the judge, who then keeps to the same candidate.
                bench.clear_incident()
            return failed(
                action,
                f"the promotion of {member.name} never arrived: it answers as a member "
                f"{now - sent.sent_at:.0f} s after",
                apply_command(bench.wanted),
            )
        if now - began >= limits.promotion_timeout:
            return failed(
                action,
                f"{member.name} does not act as master after {now - began:.0f} s: it {seen}",
                f"on {member.name}: look at /var/log/xensource.log, then xe-toolstack-restart",
            )
        bench.port.wait(POLL)


def _take_office(bench: Bench, action: Action, member: Member, seen: Look) -> str:
    """Confirm that the host that accepted a login serves our pool as its master; why not, "" if it does."""
    assert seen.session is not None
    before = bench.master
    bench.leave()
    bench.master = member.address
    desk = bench.desk()
    try:
        desk.adopt(seen.session)
        ref = str(desk.pool().get("master", ""))
        host = dict(desk.read("host.get_record", ref))
    except (MasterLost, XapiFailure) as error:
        bench.leave()
        bench.master = before
        return f"accepts logins, but {error}"
    named = host.get("name_label") == member.name or same_address(str(host.get("address", "")), member.address)
    if action.target.uuid and member.name == action.target.name:
        named = host.get("uuid") == action.target.uuid
    if named:
        return ""
    bench.leave()
    bench.master = before
    return f"accepts logins, but its database names {host.get('name_label')} as master"


def _stage_of(seen: Look, restarted: bool) -> str:
    if seen.answer is LoginAnswer.SLAVE:
        return f"{seen}" + (" again" if restarted else " until its toolstack restarts")
    if seen.answer in (LoginAnswer.REFUSED, LoginAnswer.SILENT, LoginAnswer.STRANGE):
        return RESTARTING
    return str(seen)


def _is_back(bench: Bench, sent: Incident) -> bool:
    """The master that was lost accepts logins as master: a candidate that starts beside it becomes its member, and is
    never told again."""
    if not sent.lost_address:
        return False
    seen = look(bench, sent.lost_address)
    seen.close()
    return seen.answer is LoginAnswer.MASTER


def _as_before(seen: Look, sent: Incident, member: Member) -> bool:
    """A member still follows whom it followed when it was told, or, on releases with emergency mode, itself. One that
    was told in that mode did not say whom it followed."""
    before = (sent.lost_address, member.address)
    return not sent.lost_address or any(same_address(seen.follows, address) for address in before)
