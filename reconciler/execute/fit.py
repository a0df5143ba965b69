"""Whether a VM, and the host that it is to go to, are as the plan has them: read right before each call (I7)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace

from reconciler.core.plan import Action, Done, Verb
from reconciler.core.port import Json, TaskResult, XapiFailure
from reconciler.core.words import names
from reconciler.execute.bench import Bench, Wait, already, barred, failed, host_now, refused, vm_now
from reconciler.execute.desk import NULL
from reconciler.execute.faults import Explained, Turn
from reconciler.execute.moving import astray, options, source_trouble
from reconciler.execute.proof import Prover
from reconciler.execute.ways import PLACED, Way, deadline, on_host, reached

BUSY_POLL = 5.0  # s
BUSY_FOR = 60.0  # s that another operation on the VM is waited for; one that reaches our goal gets the whole deadline


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


def ready_now(
    bench: Bench, prover: Prover, action: Action, way: Way
) -> Generator[Wait, TaskResult | None, Ready | Done | Explained]:
    """The precondition, read now. An Explained with Turn.RETRY passes by itself; any other answer is final."""
    began = bench.port.now()
    told = ""
    while True:
        if doubt := prover.doubt(action):
            return refused(action, doubt.why, doubt.remedy)
        found = vm_now(bench, action)
        if isinstance(found, Done):
            return found
        ref, vm = found
        busy = sorted({str(op) for op in dict(vm.get("current_operations") or {}).values()})
        if not busy:
            break
        ours = way.operations.issuperset(busy)
        patience = deadline(bench.wanted.policy.limits, action, vm) if ours else BUSY_FOR
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
    if reached(bench, action, way, vm):
        if way.goal == "Running" and (dead := _dead_residence(bench, action, where)):
            return refused(action, dead, "plan again: that host must be declared dead first")
        on = on_host(bench, where)
        return already(action, f"it is {state} already{on}")
    if state != way.needs:
        return refused(action, f"it is {state}, not {way.needs}", "plan again")
    if (action.verb is Verb.MIGRATE or action.source) and (wrong := astray(bench, action, vm)):
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
