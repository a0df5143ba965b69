"""`pool.designate_new_master` in a healthy pool: once, then the same watching as after a promotion (sheet §2.8)."""

from __future__ import annotations

from reconciler.core.evidence import Incident, LoginAnswer
from reconciler.core.masterless import NEVER_TOOK_EFFECT
from reconciler.core.office import MOVING, on_the_way
from reconciler.core.plan import Action, Done, Result
from reconciler.core.port import Json, XapiFailure
from reconciler.core.wanted import Member
from reconciler.core.words import names
from reconciler.execute.bench import Bench, CannotRecord, already, because, failed, refused
from reconciler.execute.desk import LostReply, same_address
from reconciler.execute.look import ask_members, look
from reconciler.execute.proof import Prover
from reconciler.execute.rejoin import wait_for
from reconciler.execute.seats import office, rests
from reconciler.execute.watching import watch

DESIGNATE = "pool.designate_new_master"
POLL = 2.0  # s
SETTLE = 16.0
"""Seconds after which a member that was told to follow another master has restarted: its fuse burns for up to 12
(recordings 09 and 11)."""
_AT_ONCE = frozenset({"HA_IS_ENABLED", "POOL_SECRET_ROTATION_PENDING", "RBAC_PERMISSION_DENIED", "HANDLE_INVALID"})


def designate(bench: Bench, prover: Prover, action: Action) -> Done:
    """Hand the office over: every host live and enabled, no pool operation, HA off. Sets `bench.master`.

    It is not idempotent and restarts every toolstack, so it is sent once and a lost reply is observed.
    """
    target = bench.member_of(action.target)
    if target is None:
        return refused(action, f"{action.target.name} is not a declared member", "declare it in members")
    desk = bench.desk()
    ref, _ = desk.record("host", action.target.uuid)
    pool = desk.pool()
    before = desk.address
    if pool.get("master") == ref:
        _forget(bench)
        return already(action, f"{target.name} is master already")
    if pool.get("ha_enabled"):
        return refused(action, "XAPI's own HA is on: it decides who is master", "xe pool-ha-disable, if you want to")
    if operations := dict(pool.get("current_operations") or {}):
        return refused(action, f"the pool is busy: {names(sorted(set(operations.values())))}", "wait, then plan again")
    if sent := _sent_before(bench):
        bench.say(action, f"run {sent.run} told {sent.candidate} to take over: watching, not asking again")
        return _watch(bench, prover, action, target, before, sent)
    vms = {str(k): dict(v) for k, v in dict(desk.read("VM.get_all_records")).items()}
    if moving := [str(vm["name_label"]) for vm in vms.values() if MOVING & {*dict(vm["current_operations"]).values()}]:
        return refused(action, *on_the_way(moving))
    now = office(bench)
    unwell = [str(h.get("name_label")) for h in now.hosts.values() if not (now.is_live(h) and _well(bench, h, target))]
    if unwell:
        return refused(
            action,
            f"{names(sorted(unwell))} must be live and enabled for a hand-over",
            "bring every host back first",
        )
    sent = Incident(
        bench.wanted.name,
        target.name,
        target.address,
        bench.name_at(before),
        before,
        bench.port.now(),
        bench.run_id,
    )
    with bench.recording("the hand-over"):
        bench.store.save_handover(sent)
    bench.intend(action, DESIGNATE, before, host=target.name)
    bench.say(action, f"handing the office from {bench.name_at(before)} to {target.name}")
    try:
        desk.write(DESIGNATE, ref, deadline=300.0)
        bench.reply(action, DESIGNATE, "accepted")
        bench.milestone(action, f"{target.name} accepted to take over")
    except LostReply as lost:
        bench.reply(action, DESIGNATE, "no reply")
        bench.say(action, f"{lost}: watching, not asking again")
    except XapiFailure as failure:
        bench.reply(action, DESIGNATE, failure.code)
        told = bench.explain(failure)
        moved = "" if refused_at_once(failure.code) else _moved(bench, action, target, before)
        if not moved:  # else it is why members follow another, who may be silent
            _forget(bench)
        why = f"the hand-over was refused: {told.sentence}" + (f"; {moved}" if moved else "")
        again = f"xenrec plan {bench.wanted.argument}"
        return failed(action, why, again if moved else told.remedy or again)
    return _watch(bench, prover, action, target, before, None)


def refused_at_once(code: str) -> bool:
    """XAPI refused before it told anybody (sheet §2.8, steps 1 to 3)."""
    return code.endswith("_IN_PROGRESS") or code in _AT_ONCE


def _moved(bench: Bench, action: Action, target: Member, before: str) -> str:
    """After a hand-over that XAPI gave up: who was told already to follow the new master. A member that was shows it
    only when its fuse has burnt (sheet §2.8, step 6), and what is begun there until then hangs."""
    bench.say(action, f"XAPI gave it up: looking for {SETTLE:.0f} s whether a member was told already")
    until = bench.port.now() + SETTLE
    while (left := until - bench.port.now()) > 0:
        bench.port.wait(min(left, POLL))
        bench.keep()
    moved = []
    for name, seen in ask_members(bench, bench.wanted.members).items():
        seen.close()
        if name == target.name and (
            seen.answer in (LoginAnswer.REFUSED, LoginAnswer.STRANGE) or seen.detail == "HOST_BROKEN"
        ):
            moved.append(f"the toolstack of {name} is down: a hand-over that fails midway leaves its role file broken")
        if seen.answer is LoginAnswer.SLAVE and not same_address(seen.follows, before):
            moved.append(f"{name} follows {bench.name_at(seen.follows)} already")
    return because(moved)


def _well(bench: Bench, host: dict[str, Json], target: Member) -> bool:
    """Enabled; or, unless it is the one to take the office, disabled for its maintenance."""
    member = bench.member_of_record(host)
    return bool(host.get("enabled")) or (member is not None and member is not target and rests(member, host))


def _watch(bench: Bench, prover: Prover, action: Action, target: Member, before: str, sent: Incident | None) -> Done:
    """Observe a hand-over; `sent` when it was an earlier run that asked for it, perhaps in vain."""
    member = bench.wanted.member(sent.candidate) or target if sent else target
    outcome = watch(bench, action, member, sent, sure=sent is None)
    _forget(bench)
    if outcome.result is not Result.DONE:
        bench.leave()
        bench.master = _still(bench, before)
        return outcome
    now = office(bench)
    others = [m for m in bench.wanted.members if m.name != member.name and now.host_of(m) is not None]
    return wait_for(bench, prover, action, others, None)


def _sent_before(bench: Bench) -> Incident | None:
    """The hand-over that a run that died had sent so lately that it may still take effect.

    XAPI returns before the toolstacks restart, so for some seconds the old master looks as if nothing had been asked.
    """
    try:
        sent = bench.store.handover()
    except OSError as error:
        raise CannotRecord(f"whether a hand-over was sent is not known: {error}") from error
    if sent is None:
        return None
    arrived = same_address(sent.candidate_address, bench.desk().address)
    if arrived or not 0 <= bench.port.now() - sent.sent_at <= NEVER_TOOK_EFFECT:
        _forget(bench)
        return None
    return sent


def _forget(bench: Bench) -> None:
    with bench.recording("that the hand-over is over"):
        bench.store.clear_handover()


def _still(bench: Bench, before: str) -> str | None:
    """The old master's address, if it still accepts logins."""
    seen = look(bench, before)
    seen.close()
    return before if seen.answer is LoginAnswer.MASTER else None
