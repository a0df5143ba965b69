"""Appliances: VMs that are started and stopped as one, in groups by VM.order (sheet §10.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reconciler.lab.api import vm as power
from reconciler.lab.calls import Call, convert, method
from reconciler.lab.errors import Failure
from reconciler.lab.kernel import Steps
from reconciler.lab.schema import NULL

OPERATIONS = ["start", "clean_shutdown", "hard_shutdown", "shutdown"]
"""Allowed while none of them is under way."""


def _groups(call: Call, appliance: str, *, ascending: bool) -> list[list[str]]:
    """VMs of equal order together."""
    vms = [(ref, call.db.get("VM", ref)["order"]) for ref in call.db.get("VM_appliance", appliance)["VMs"]]
    orders = sorted({order for _, order in vms}, reverse=not ascending)
    return [[ref for ref, own in vms if own == order] for order in orders]


def _all(
    call: Call,
    appliance: str,
    operation: str,
    wanted: tuple[str, ...],
    one: Callable[[Call, str], Steps],
    *,
    ascending: bool,
) -> Steps:
    """Do it group by group, a group's VMs together; one that fails holds up nobody.

    Raises OPERATION_PARTIALLY_FAILED [operation; VMs] when a VM is not in a wanted state at the end, without reasons.
    """
    db = call.db
    record = db.get("VM_appliance", appliance)
    for task, other in record["current_operations"].items():
        raise Failure("OTHER_OPERATION_IN_PROGRESS", "VM_appliance", appliance, other, task)
    db.update("VM_appliance", appliance, current_operations={call.task: operation}, allowed_operations=[])
    try:
        for group in _groups(call, appliance, ascending=ascending):
            going = []
            for ref in group:
                if call.db.get("VM", ref)["power_state"] in wanted:
                    continue
                own = Call(call.ts, f"VM.{operation}", call.session, False)
                going.append(call.ts.spawn(one(own, ref), f"VM.{operation}"))
            for process in going:
                yield process.done
                if process.error is not None and not isinstance(process.error, Failure):
                    raise process.error
    finally:
        _release(call, appliance)
    vms = call.db.get("VM_appliance", appliance)["VMs"]
    left = [ref for ref in vms if call.db.get("VM", ref)["power_state"] not in wanted]
    if left:
        raise Failure("OPERATION_PARTIALLY_FAILED", f"VM_appliance.{operation}", *left)


def _release(call: Call, appliance: str) -> None:
    db = call.ts.db_now()
    if db is not None and appliance in db.tables["VM_appliance"]:
        db.update("VM_appliance", appliance, current_operations={}, allowed_operations=OPERATIONS)


@method("VM_appliance.start", "self:VM_appliance paused:b", asynchronous=True, acts=True)
def start(call: Call, appliance: str, paused: bool) -> Steps:
    """In ascending order, each with its start_delay. With `paused` a VM that is paused already will do."""
    wanted = ("Paused",) if paused else ("Running",)

    def one(own: Call, ref: str) -> Steps:
        state = own.db.get("VM", ref)["power_state"]
        if state == "Paused":
            yield from power.unpause(own, ref)
        else:
            yield from power.start(own, ref, paused, False)

    yield from _all(call, appliance, "start", wanted, one, ascending=True)


@method("VM_appliance.clean_shutdown", "self:VM_appliance", asynchronous=True, acts=True)
def clean_shutdown(call: Call, appliance: str) -> Steps:
    """In descending order."""
    yield from _all(call, appliance, "clean_shutdown", ("Halted",), power.clean_shutdown, ascending=False)


@method("VM_appliance.hard_shutdown", "self:VM_appliance", asynchronous=True, acts=True)
def hard_shutdown(call: Call, appliance: str) -> Steps:
    """In descending order."""
    yield from _all(call, appliance, "hard_shutdown", ("Halted",), power.hard_shutdown, ascending=False)


@method("VM_appliance.shutdown", "self:VM_appliance", asynchronous=True, acts=True)
def shutdown(call: Call, appliance: str) -> Steps:
    """In descending order: clean, and hard where that fails."""

    def one(own: Call, ref: str) -> Steps:
        try:
            yield from power.clean_shutdown(own, ref)
        except Failure:
            yield from power.hard_shutdown(own, ref)

    yield from _all(call, appliance, "shutdown", ("Halted",), one, ascending=False)


@method("VM_appliance.create", "args:record:VM_appliance", asynchronous=True, result="VM_appliance")
def create(call: Call, args: dict[str, Any]) -> str:
    """Without VMs: each joins by VM.set_appliance."""
    for name in ("name_label", "name_description"):
        if name not in args:
            raise Failure("INTERNAL_ERROR", f'Failure("The mandatory field {name} is missing")')
    values = {
        "uuid": call.lab.uuid(),
        "name_label": convert("s", args["name_label"]),
        "name_description": convert("s", args["name_description"]),
        "allowed_operations": OPERATIONS,
    }
    return call.db.create("VM_appliance", call.lab.ref(), values)


@method("VM_appliance.destroy", "self:VM_appliance", asynchronous=True)
def destroy(call: Call, appliance: str) -> None:
    """Its VMs stay."""
    for ref in list(call.db.get("VM_appliance", appliance)["VMs"]):
        call.db.update("VM", ref, appliance=NULL)
    call.db.delete("VM_appliance", appliance)
