"""Tasks and messages (sheet §8.1, §9)."""

from __future__ import annotations

from typing import Any

from reconciler.lab import roles
from reconciler.lab.calls import Call, method
from reconciler.lab.errors import Failure
from reconciler.lab.records import note
from reconciler.lab.wiretext import date

CLASSES = {"VM": "VM", "Host": "host", "SR": "SR", "Pool": "pool", "VMPP": "VMPP", "VMSS": "VMSS", "VDI": "VDI"}


@method("task.create", "label:s description:s", result="task")
def create(call: Call, label: str, description: str) -> str:
    """A task of the client's own."""
    values = {
        "uuid": call.lab.uuid(),
        "name_label": label,
        "name_description": description,
        "created": date(call.ts.wall),
        "status": "pending",
        "resident_on": call.me,
        "type": "<none/>",
    }
    task = call.db.create("task", call.lab.ref(), values)
    call.ts.desk.owners[task] = call.user
    return task


def _assert_own(call: Call, task: str) -> None:
    """Other people's tasks are for those with the right to any (sheet §8.1)."""
    if call.role is not None and call.ts.desk.owners.get(task) != call.user:
        roles.check(call.method, call.role, suffix=roles.TASK_ANY)


@method("task.cancel", "task:task", asynchronous=True)
def cancel(call: Call, task: str) -> None:
    """Best effort: an operation that waits in a queue ends as TASK_CANCELLED, one that works goes on."""
    record = call.db.get("task", task)
    _assert_own(call, task)
    if record["status"] == "pending":
        call.db.update("task", task, current_operations={f"DummyRef:|{call.lab.uuid()}|task.cancel": "cancel"})


@method("task.destroy", "self:task")
def destroy(call: Call, task: str) -> None:
    """A pending operation's task is only marked, and goes when the operation ends."""
    record = call.db.get("task", task)
    _assert_own(call, task)
    if record["status"] == "pending" and record["name_label"].startswith("Async."):
        call.ts.desk.doomed.add(task)
    else:
        call.db.delete("task", task)


@method("task.set_status", "self:task value:e")
def set_status(call: Call, task: str, value: str) -> None:
    """For tasks of the client's own."""
    call.db.get("task", task)
    _assert_own(call, task)
    done = value != "pending"
    call.db.update("task", task, status=value, finished=date(call.ts.wall) if done else date(0))


@method("task.set_progress", "self:task value:f")
def set_progress(call: Call, task: str, value: float) -> None:
    """For tasks of the client's own."""
    call.db.get("task", task)
    _assert_own(call, task)
    call.db.update("task", task, progress=value)


@method("message.create", "name:s priority:i cls:e obj_uuid:s body:s", result="message")
def message_create(call: Call, name: str, priority: int, cls: str, obj_uuid: str, body: str) -> str:
    """The object must exist; the message is a file of the host that takes it."""
    if cls not in CLASSES:
        raise Failure("INTERNAL_ERROR", 'Failure("Unknown tag/contents")')
    if call.db.by_uuid(CLASSES[cls], obj_uuid) is None:
        raise Failure("UUID_INVALID", cls, obj_uuid)
    return note(call.ts, name, priority, cls, obj_uuid, body)


@method("message.get_all", result="set(message)")
def message_get_all(call: Call) -> list[str]:
    """Those that this host has: a new master lacks recent ones."""
    return list(call.ts.host.messages)


@method("message.get_all_records", result="records:message")
def message_get_all_records(call: Call) -> dict[str, Any]:
    """Those that this host has."""
    return {ref: dict(record) for ref, record in call.ts.host.messages.items()}


@method("message.get", "cls:e obj_uuid:s since:d", result="records:message")
def message_get(call: Call, cls: str, obj_uuid: str, since: str) -> dict[str, Any]:
    """Those about one object since a date."""
    return {
        ref: dict(record)
        for ref, record in call.ts.host.messages.items()
        if record["cls"] == cls and record["obj_uuid"] == obj_uuid and record["timestamp"] >= since
    }


@method("message.destroy", "self:message")
def message_destroy(call: Call, ref: str) -> None:
    """Remove the file."""
    if call.ts.host.messages.pop(ref, None) is None:
        raise Failure("HANDLE_INVALID", "message", ref)
    call.ts.host.message_ages.pop(ref, None)
