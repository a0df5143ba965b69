"""Power operations on one VM, and its migration: read, submit, wait, verify. Never hard, never blindly repeated
(sheet §5)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from reconciler.core.draft import apply_command
from reconciler.core.plan import Action, Done, Result, Verb
from reconciler.core.port import Json, TaskResult, TaskStatus, XapiFailure
from reconciler.core.unsettled import Unsettled
from reconciler.execute.bench import Bench, Steps, Wait, already, done, failed, unknown
from reconciler.execute.desk import LostReply
from reconciler.execute.faults import Explained, Turn
from reconciler.execute.fit import Ready, ready_now
from reconciler.execute.locks import explained
from reconciler.execute.moving import CANCEL_FOR, silent_end
from reconciler.execute.proof import Prover
from reconciler.execute.ways import PLACED, WAYS, Way, deadline, on_host, reached

TRIES = 3
BACKOFF = (5.0, 15.0, 30.0)  # s before the next try, by how many were made
OBSERVE_POLL = 2.0  # s
SETTLED = 30.0
"""Seconds without an operation on the VM after which a lost call is taken to have had no effect any more."""


def power(bench: Bench, prover: Prover, action: Action) -> Steps:
    """Bring one VM to the state of its verb. Every try reads VM, host, pool and certificate again first."""
    way = WAYS[action.verb]
    told = Explained(Turn.RETRY, "")
    for attempt in range(TRIES + 1):
        if attempt:
            bench.say(action, f"{told.sentence}: trying again in {BACKOFF[attempt - 1]:.0f} s")
            yield Wait(None, bench.port.now() + BACKOFF[attempt - 1])
            if action.verb is Verb.MIGRATE and (silent := silent_end(bench, action)):
                return failed(action, f"{silent} does not answer any more; {told.sentence}", "plan again")
        ready = yield from ready_now(bench, prover, action, way)
        if isinstance(ready, Done):
            # A try before this one may have failed only in its reply.
            lost = attempt and ready.result is Result.REFUSED
            return replace(ready, why=f"{ready.why}, after this: {told.sentence}") if lost else ready
        if isinstance(ready, Explained):
            told = ready
            continue
        ended = yield from _send(bench, action, way, ready)
        if isinstance(ended, Done):
            return ended
        told = ended
        if told.turn is not Turn.RETRY:
            break
    if told.turn is Turn.LOOK and (where := _reached_on(bench, action, way)) is not None:
        return already(action, f"it is {way.goal} already{where}")
    return failed(action, told.sentence, told.remedy or way.typed(action))


@dataclass(frozen=True, slots=True)
class _Begun:
    """A start that is written down until it is known what came of it; of other verbs nothing is."""

    bench: Bench
    held: Unsettled | None
    ours: bool = True
    """False: an earlier one of the same VM on the same host is not settled either."""

    def over(self) -> None:
        """The VM runs: nothing is open any more. Raises CannotRecord."""
        if self.held is not None:
            with self.bench.recording("the end of a start"):
                self.bench.store.end(self.held)

    def refused(self) -> None:
        """This one surely had no effect. Raises CannotRecord."""
        if self.ours:
            self.over()


def _begun(bench: Bench, action: Action, ready: Ready) -> _Begun:
    """Write a start, resume or move down before it is sent: the host may do it and nobody be told."""
    if action.verb not in PLACED or action.to is None:
        return _Begun(bench, None)
    target, to = action.target, action.to
    start = Unsettled(
        target.uuid, target.name, str(action.verb), to.uuid, to.name, ready.toolstack, bench.port.now(), bench.run_id
    )
    with bench.recording("the start"):
        held = bench.store.begin(start)
    return _Begun(bench, held, held == start)


def _cut_off(failure: XapiFailure) -> bool:
    """XAPI lost the host meanwhile (message_forwarding.ml:do_op_on), or says that the domain is there: it may run."""
    lost = failure.code == "INTERNAL_ERROR" and any("Unix" in str(p) or "Http" in str(p) for p in failure.params)
    return lost or failure.code in ("CANNOT_CONTACT_HOST", "DOMAIN_EXISTS")


def _send(bench: Bench, action: Action, way: Way, ready: Ready) -> Generator[Wait, TaskResult | None, Done | Explained]:
    """Submit once and see it through."""
    desk = bench.desk()
    params: tuple[Json, ...] = (ready.vm,)
    if action.verb is Verb.MIGRATE:
        params = (ready.vm, ready.host, ready.options)
    elif action.verb in PLACED:
        params = (ready.vm, ready.host, False, False)
    limit = deadline(bench.wanted.policy.limits, action, ready.record)
    until = bench.port.now() + limit
    start = _begun(bench, action, ready)
    bench.intend(action, way.method, desk.address, to=action.to.name if action.to else "")
    bench.say(action, "submitted")
    try:
        task = desk.submit(way.method, *params)
    except LostReply as lost:
        return (yield from _observe(bench, action, way, until, str(lost), start))
    except XapiFailure as failure:
        bench.reply(action, way.method, failure.code)
        start.refused()
        return explained(bench, action, failure)
    result = yield Wait(task, until)
    if result is None and action.verb is Verb.MIGRATE:
        bench.say(action, f"still under way after {limit:.0f} s: cancelling it")
        bench.note("cancel", action=action.id, method=way.method)
        desk.tasks().cancel(task)
        result = yield Wait(task, bench.port.now() + CANCEL_FOR)
        if result is not None and result.status is TaskStatus.CANCELLED:
            bench.reply(action, way.method, "cancelled at its deadline")
            start.refused()
            return failed(action, f"it took more than {limit:.0f} s and was cancelled", "raise limits.migrateTimeout")
    if result is None and action.verb is Verb.MIGRATE:
        bench.reply(action, way.method, "still pending after its cancellation")
        why = f"it is still under way after {limit:.0f} s and does not end when it is cancelled"
        return unknown(action, why, "xe task-list")
    if result is None:
        bench.reply(action, way.method, "still pending at its deadline")
        return unknown(action, f"it is still under way after {limit:.0f} s; it was not cancelled", "xe task-list")
    if result.status is TaskStatus.SUCCESS:
        bench.reply(action, way.method, "success")
        start.over()
        return _verify(bench, action, way, ready)
    if result.failure is not None:
        bench.reply(action, way.method, result.failure.code)
        if not _cut_off(result.failure):
            start.refused()
        return explained(bench, action, result.failure)
    if result.status is TaskStatus.CANCELLED:
        bench.reply(action, way.method, "cancelled")
        return failed(action, "somebody cancelled it", way.typed(action))
    return (yield from _observe(bench, action, way, until, "its task vanished", start))


def _verify(bench: Bench, action: Action, way: Way, ready: Ready) -> Done:
    """A task's success is XAPI's word; the record is what counts."""
    _, vm = bench.desk().record("VM", action.target.uuid)
    state = str(vm.get("power_state"))
    where = str(vm.get("resident_on", ""))
    if not reached(bench, action, way, vm):
        on = on_host(bench, where)
        return failed(action, f"XAPI reported success, and it is {state}{on}", way.typed(action))
    if action.verb in PLACED and where != ready.host:
        return done(action, f"{state}, but on {bench.name_of('host', where)}")
    on = f" on {action.to.name}" if action.verb in PLACED and action.to else ""
    return done(action, f"{state}{on}")


def _observe(
    bench: Bench, action: Action, way: Way, until: float, why: str, start: _Begun
) -> Generator[Wait, TaskResult | None, Done]:
    """Whether a call without an answer took effect: read the record until it is there, or nothing happens any more."""
    bench.say(action, f"{why}: watching it")
    quiet_since = bench.port.now()
    while True:
        _, vm = bench.desk().record("VM", action.target.uuid)
        state = str(vm.get("power_state"))
        busy = dict(vm.get("current_operations") or {})
        now = bench.port.now()
        where = str(vm.get("resident_on", ""))
        on = on_host(bench, where)
        if reached(bench, action, way, vm) and not busy:
            bench.reply(action, way.method, f"observed: {state}")
            start.over()
            return done(action, f"{state}{on}; {why}")
        if busy:
            quiet_since = now
        if now >= until or now - quiet_since >= SETTLED:
            bench.reply(action, way.method, f"observed: {state}")
            state += on if action.verb is Verb.MIGRATE else ""
            return unknown(action, f"{why}, and it is {state}; it was not sent again", apply_command(bench.wanted))
        yield Wait(None, now + OBSERVE_POLL)


def _reached_on(bench: Bench, action: Action, way: Way) -> str | None:
    """ " on" the host where it runs when its goal is reached; None when it is not, or can't be read."""
    try:
        vm = bench.desk().record("VM", action.target.uuid)[1]
    except XapiFailure:
        return None
    where = str(vm.get("resident_on", ""))
    on = on_host(bench, where)
    return on if reached(bench, action, way, vm) else None
