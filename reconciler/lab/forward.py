"""How a master has other hosts do things, and how it finds out whether they live (sheet §3.1, §3.2, §4.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from reconciler.lab.calls import Call
from reconciler.lab.errors import Failure
from reconciler.lab.kernel import Steps
from reconciler.lab.placement import is_live
from reconciler.lab.records import write_vm
from reconciler.lab.rules import check_operation

if TYPE_CHECKING:
    from reconciler.lab.toolstack import Toolstack

Operation = Callable[["Toolstack"], Steps]
"""What runs on the other host, as threads of its toolstack."""


def forward(call: Call, host: str, operation: Operation, *, move_task: bool = True) -> Steps:
    """Run an operation on a host and return its result; with `move_task` its task then belongs to that host.

    Raises HOST_OFFLINE [host] when live=false; a host that is live=true but cannot be reached is tried ten times,
    ending early when it becomes live=false, then CANNOT_CONTACT_HOST [host]. One that is a master itself, or follows
    another, looks for the session in that database and knows none: SESSION_INVALID [session].
    """
    from reconciler.lab.toolstack import Unreachable  # noqa: PLC0415 - toolstack imports this module's users

    db = call.db
    if host == call.me:
        return (yield from operation(call.ts))
    if not is_live(db, host):
        raise Failure("HOST_OFFLINE", host)
    timing = call.lab.timing
    address = db.get("host", host)["address"]
    for attempt in range(timing.forward_attempts):
        try:
            target: Toolstack = yield from call.lab.connect(call.ts.host, address, timing.forward_connect)
        except Unreachable:
            pass
        else:
            if target.is_master or target.master_run() not in (None, call.ts):
                raise Failure("SESSION_INVALID", call.session)
            if move_task and call.asynchronous and call.db.find("task", call.task) is not None:
                call.db.update("task", call.task, resident_on=host)
            process = target.spawn(operation(target), call.method)
            yield process.done
            while target.alive and not _linked(call, target):
                yield call.lab.change
            if process.error is not None:
                raise process.error
            if target.alive:
                return process.result
        if not is_live(call.db, host):
            break
        if attempt + 1 < timing.forward_attempts:
            yield timing.forward_pause
    raise Failure("CANNOT_CONTACT_HOST", host)


def _linked(call: Call, target: Toolstack) -> bool:
    return call.lab.reaches(call.ts.host.name, target.host)


def is_alive(call: Call, host: str) -> Steps:
    """is_host_alive: live=false is believed without a look; live=true is tried, and any answer counts, any failure is
    taken for death; a host that accepts and never answers holds this up (sheet §3.1)."""
    from reconciler.lab.toolstack import Unreachable  # noqa: PLC0415 - toolstack imports this module's users

    if not is_live(call.db, host):
        return False
    address = call.db.get("host", host)["address"]
    try:
        target: Toolstack = yield from call.lab.connect(call.ts.host, address, call.lab.timing.probe)
    except Unreachable:
        return False
    yield call.lab.timing.repoint_same
    while target.alive and target.db_now() is None and _linked(call, target):
        yield call.lab.change
    return target.alive and _linked(call, target)


def with_vm_operation(call: Call, vm: str, operation: str, body: Steps, *, strict: bool = True) -> Steps:
    """Hold the VM's operation lock around `body`. A conflict is waited for, from 1 to 20 s between tries, for 2 h in
    all (sheet §4.3); every other refusal is raised at once."""
    timing = call.lab.timing
    pause, waited = timing.retry_min, 0.0
    while True:
        try:
            check_operation(call.db, vm, operation, strict=strict)
            break
        except Failure as failure:
            if failure.code != "OTHER_OPERATION_IN_PROGRESS" or waited >= timing.retry_total:
                raise
        task = call.db.find("task", call.task)
        if task is not None and task["current_operations"]:
            raise Failure("TASK_CANCELLED", call.task)
        yield pause
        waited += pause
        pause = min(pause * 2, timing.retry_max)
    current = call.db.get("VM", vm)["current_operations"]
    write_vm(call.db, vm, current_operations={**current, call.task: operation})
    try:
        result: Any = yield from body
    except Failure:
        _release(call, vm)
        raise
    _release(call, vm)
    return result


def _release(call: Call, vm: str) -> None:
    record = call.db.find("VM", vm)
    if record is not None and call.task in record["current_operations"]:
        left = {k: v for k, v in record["current_operations"].items() if k != call.task}
        write_vm(call.db, vm, current_operations=left)
