"""Power operations on one VM, and its migration: read, submit, wait, verify. Never hard, never blindly repeated
(sheet §5)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace

from reconciler.core.draft import apply_command
from reconciler.core.plan import Action, Done, Result, Verb
from reconciler.core.port import Json, TaskResult, TaskStatus, XapiFailure
from reconciler.core.unsettled import Unsettled
from reconciler.core.wanted import Limits
from reconciler.core.words import names
from reconciler.execute.bench import Bench, Steps, Wait, already, barred, done, failed, host_now, refused, unknown
from reconciler.execute.desk import NULL, LostReply
from reconciler.execute.faults import Explained, Turn
from reconciler.execute.locks import explained
from reconciler.execute.moving import CANCEL_FOR, astray, is_there, options, silent_end, source_trouble
from reconciler.execute.proof import Prover

TRIES = 3
BACKOFF = (5.0, 15.0, 30.0)  # s before the next try, by how many were made
BUSY_POLL = 5.0  # s
BUSY_FOR = 60.0  # s that another operation on the VM is waited for; one that reaches our goal gets the whole deadline
OBSERVE_POLL = 2.0  # s
SETTLED = 30.0
"""Seconds without an operation on the VM after which a lost call is taken to have had no effect any more."""
PLACED = frozenset({Verb.START, Verb.RESUME, Verb.MIGRATE})


@dataclass(frozen=True, slots=True)
class Way:
    """How one verb goes: the call, the state that it needs and the one that it reaches, the operations it is."""

    method: str
    needs: str
    goal: str
    operations: frozenset[str]
    command: str


WAYS = {
    Verb.START: Way(
        "VM.start_on", "Halted", "Running", frozenset({"start", "start_on"}), "xe vm-start uuid={uuid} on={to}"
    ),
    Verb.RESUME: Way(
        "VM.resume_on", "Suspended", "Running", frozenset({"resume", "resume_on"}), "xe vm-resume uuid={uuid} on={to}"
    ),
    Verb.UNPAUSE: Way("VM.unpause", "Paused", "Running", frozenset({"unpause"}), "xe vm-unpause uuid={uuid}"),
    Verb.SHUTDOWN: Way(
        "VM.clean_shutdown",
        "Running",
        "Halted",
        frozenset({"clean_shutdown", "shutdown", "hard_shutdown"}),
        "xe vm-shutdown uuid={uuid} --force (it cuts the power: what the guest has not written to disk is lost)",
    ),
    Verb.SUSPEND: Way("VM.suspend", "Running", "Suspended", frozenset({"suspend"}), "xe vm-suspend uuid={uuid}"),
    Verb.MIGRATE: Way(
        "VM.pool_migrate",
        "Running",
        "Running",
        frozenset({"pool_migrate"}),
        "xe vm-migrate uuid={uuid} host={to} live=true",
    ),
}


@dataclass(frozen=True, slots=True)
class Ready:
    """A VM whose precondition holds now. `host` is the ref of the target of a start, resume or migration, "" otherwise;
    `options` are the migration's."""

    vm: str
    host: str
    record: dict[str, Json]
    options: dict[str, Json] = field(default_factory=dict)
    toolstack: str = ""
    """When the target's toolstack started, as it wrote it."""


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
        ready = yield from _ready(bench, prover, action, way)
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
    return failed(action, told.sentence, told.remedy or _command(way, action))


def _ready(
    bench: Bench, prover: Prover, action: Action, way: Way
) -> Generator[Wait, TaskResult | None, Ready | Done | Explained]:
    """The precondition, read now. An Explained with Turn.RETRY passes by itself; any other answer is final."""
    began = bench.port.now()
    told = ""
    while True:
        if doubt := prover.doubt(action):
            return refused(action, doubt.why, doubt.remedy)
        try:
            ref, vm = bench.desk().record("VM", action.target.uuid)
        except XapiFailure as failure:
            if failure.code in ("UUID_INVALID", "HANDLE_INVALID"):
                return refused(action, f"{action.target.name} is gone from the pool", "plan again")
            raise
        busy = sorted({str(op) for op in dict(vm.get("current_operations") or {}).values()})
        if not busy:
            break
        ours = way.operations.issuperset(busy)
        patience = _deadline(bench.wanted.policy.limits, action, vm) if ours else BUSY_FOR
        if bench.port.now() - began >= patience:
            return refused(
                action, f"another operation is running on it: {names(busy)}", "xe task-list; then plan again"
            )
        if (words := f"waiting for {names(busy)}") != told:
            bench.say(action, words)
            told = words
        yield Wait(None, bench.port.now() + BUSY_POLL)
    if wrong := _unfit_vm(bench, action, way, vm):
        return wrong
    if action.verb not in PLACED:
        return Ready(ref, "", vm)
    ready = _fit_host(bench, action, ref, vm)
    if action.verb is not Verb.MIGRATE or not isinstance(ready, Ready):
        return ready
    chosen = options(bench, action)
    return chosen if isinstance(chosen, Done) else replace(ready, options=chosen)


def _unfit_vm(bench: Bench, action: Action, way: Way, vm: dict[str, Json]) -> Done | None:
    """Why the VM itself may not be acted on now."""
    name = action.target.name
    if vm.get("is_control_domain") or vm.get("is_a_template") or vm.get("is_a_snapshot"):
        return refused(action, f"{name} is not a guest (control domain, template or snapshot): it is never touched")
    state = str(vm.get("power_state"))
    where = str(vm.get("resident_on", ""))
    if _reached(action, way, vm, bench):
        if way.goal == "Running" and (dead := _dead_residence(bench, action, where)):
            return refused(action, dead, "plan again: that host must be declared dead first")
        on = f" on {bench.name_of('host', where)}" if where not in NULL else ""
        return already(action, f"it is {state} already{on}")
    if state != way.needs:
        return refused(action, f"it is {state}, not {way.needs}", "plan again")
    if action.verb is Verb.MIGRATE and (wrong := astray(bench, action, vm)):
        return wrong
    for operation in sorted(way.operations):
        if (text := dict(vm.get("blocked_operations") or {}).get(operation)) is not None:
            return barred(
                action,
                f"somebody blocked {operation} on it: {text or 'without a reason'}",
                f"xe vm-param-remove uuid={action.target.uuid} param-name=blocked-operations param-key={operation}",
            )
    protected = vm.get("ha_restart_priority") == "restart"
    if protected and bench.desk().pool().get("ha_enabled"):
        return refused(action, "XAPI's own HA protects it and starts or stops it itself", "leave it to HA")
    return None


def _dead_residence(bench: Bench, action: Action, where: str) -> str:
    """A VM that "runs" on a host whose death the action rests on runs nowhere: its record is stale."""
    if where in NULL or not action.certificate_of:
        return ""
    try:
        member = bench.member_of_record(bench.desk().read("host.get_record", where))
    except XapiFailure:
        return "the database says that it runs on a host that is gone"
    if member is None or member.name not in action.certificate_of:
        return ""
    return f"the database still says that it runs on {member.name}, which is dead"


def _fit_host(bench: Bench, action: Action, ref: str, vm: dict[str, Json]) -> Ready | Done | Explained:
    """The target host, read now, and XAPI's own judgement on it (I8)."""
    if action.to is None or not action.to.uuid:
        return refused(action, "the plan names no host for it, and XAPI's own choice is random", "plan again")
    found = host_now(bench, action, action.to)
    if isinstance(found, Done):
        return found
    host_ref, host, live = found
    if action.verb is Verb.MIGRATE and (trouble := source_trouble(bench, action)):
        return trouble
    if not live:
        return Explained(Turn.RETRY, f"{action.to.name} is not live", f"xe host-list uuid={action.to.uuid}")
    if not host.get("enabled"):
        return Explained(Turn.RETRY, f"{action.to.name} is disabled", f"xe host-enable uuid={action.to.uuid}")
    if action.verb in PLACED:
        try:
            bench.desk().read("VM.assert_can_boot_here", ref, host_ref)
        except XapiFailure as failure:
            told = bench.explain(failure)
            if told.turn is Turn.RETRY:
                return told
            remedy = told.remedy or f"xenrec plan {bench.wanted.argument}"
            what = "run" if action.verb is Verb.MIGRATE else "boot" if action.verb is Verb.START else "resume"
            return failed(action, f"it cannot {what} on {action.to.name}: {told.sentence}", remedy)
    toolstack = str(dict(host.get("other_config") or {}).get("agent_start_time", ""))
    return Ready(ref, host_ref, vm, toolstack=toolstack)


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
    limit = _deadline(bench.wanted.policy.limits, action, ready.record)
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
        return failed(action, "somebody cancelled it", _command(way, action))
    return (yield from _observe(bench, action, way, until, "its task vanished", start))


def _verify(bench: Bench, action: Action, way: Way, ready: Ready) -> Done:
    """A task's success is XAPI's word; the record is what counts."""
    _, vm = bench.desk().record("VM", action.target.uuid)
    state = str(vm.get("power_state"))
    where = str(vm.get("resident_on", ""))
    if not _reached(action, way, vm, bench):
        on = f" on {bench.name_of('host', where)}" if where not in NULL else ""
        return failed(action, f"XAPI reported success, and it is {state}{on}", _command(way, action))
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
        on = f" on {bench.name_of('host', where)}" if where not in NULL else ""
        if _reached(action, way, vm, bench) and not busy:
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


def _deadline(limits: Limits, action: Action, vm: dict[str, Json]) -> float:
    """Seconds for the whole operation; start_on sleeps the VM's start_delay twice (sheet §5.1)."""
    if action.verb is Verb.MIGRATE:
        return limits.migrate_timeout
    if action.verb in (Verb.SHUTDOWN, Verb.SUSPEND):
        return limits.shutdown_timeout + float(vm.get("shutdown_delay") or 0)
    return limits.start_timeout + 2 * float(vm.get("start_delay") or 0)


def _reached(action: Action, way: Way, vm: dict[str, Json], bench: Bench) -> bool:
    """The record says what the action is for: the state, and of a migration the host."""
    there = action.verb is not Verb.MIGRATE or is_there(bench, action, vm)
    return str(vm.get("power_state")) == way.goal and there


def _reached_on(bench: Bench, action: Action, way: Way) -> str | None:
    """ " on" the host where it runs when its goal is reached; None when it is not, or can't be read."""
    try:
        vm = bench.desk().record("VM", action.target.uuid)[1]
    except XapiFailure:
        return None
    where = str(vm.get("resident_on", ""))
    on = f" on {bench.name_of('host', where)}" if where not in NULL else ""
    return on if _reached(action, way, vm, bench) else None


def _command(way: Way, action: Action) -> str:
    return way.command.format(uuid=action.target.uuid, to=action.to.name if action.to else "")
