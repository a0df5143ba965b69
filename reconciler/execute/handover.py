"""`pool.designate_new_master` in a healthy pool: once, then the same watching as after a promotion (sheet §2.8)."""

from __future__ import annotations

from reconciler.core.evidence import LoginAnswer
from reconciler.core.plan import Action, Done, Result
from reconciler.core.port import XapiFailure
from reconciler.core.words import names
from reconciler.execute.bench import Bench, already, failed, refused
from reconciler.execute.crown import watch
from reconciler.execute.desk import LostReply
from reconciler.execute.look import look
from reconciler.execute.proof import Prover
from reconciler.execute.rejoin import office, wait_for

DESIGNATE = "pool.designate_new_master"


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
        return already(action, f"{target.name} is master already")
    if pool.get("ha_enabled"):
        return refused(action, "XAPI's own HA is on: it decides who is master", "xe pool-ha-disable, if you want to")
    if operations := dict(pool.get("current_operations") or {}):
        return refused(action, f"the pool is busy: {names(sorted(set(operations.values())))}", "wait, then plan again")
    now = office(bench)
    unwell = [str(h.get("name_label")) for h in now.hosts.values() if not (h.get("enabled") and now.is_live(h))]
    if unwell:
        return refused(
            action,
            f"{names(sorted(unwell))} must be live and enabled for a hand-over",
            "bring every host back first",
        )
    bench.intend(action, DESIGNATE, before, host=target.name)
    bench.say(action, f"handing the office from {bench.name_at(before)} to {target.name}")
    try:
        desk.write(DESIGNATE, ref, deadline=300.0, resend=False)
        bench.reply(action, DESIGNATE, "accepted")
    except LostReply as lost:
        bench.reply(action, DESIGNATE, "no reply")
        bench.say(action, f"{lost}: watching, not asking again")
    except XapiFailure as failure:
        bench.reply(action, DESIGNATE, failure.code)
        told = bench.explain(failure)
        return failed(action, f"the hand-over was refused: {told.sentence}", told.remedy)
    outcome = watch(bench, action, target, None, sure=True)
    if outcome.result is not Result.DONE:
        bench.leave()
        bench.master = _still(bench, before)
        return outcome
    others = [m for m in bench.wanted.members if m.name != target.name and now.host_of(m) is not None]
    return wait_for(bench, prover, action, others, None)


def _still(bench: Bench, before: str) -> str | None:
    """The old master's address, if it still accepts logins."""
    seen = look(bench, before)
    seen.close()
    return before if seen.answer is LoginAnswer.MASTER else None
