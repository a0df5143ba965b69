"""Migration and evacuation (sheet §3.5, §5.6)."""

from __future__ import annotations

from typing import Any

from reconciler.lab import hypervisor
from reconciler.lab.calls import Call, method
from reconciler.lab.errors import Failure
from reconciler.lab.forward import forward, with_vm_operation
from reconciler.lab.kernel import Steps
from reconciler.lab.placement import assert_can_boot_here, attached_srs, evacuation_plan
from reconciler.lab.records import drives, note
from reconciler.lab.schema import NULL


def migrate(call: Call, vm: str, host: str, network: str = NULL) -> Steps:
    """Move a running VM; the source does the work. Cancelling its task ends it until the switch begins."""
    db = call.db
    before = db.get("VM", vm)
    source = db.get("VM", vm)["resident_on"]
    if source != host:
        db.update("VM", vm, scheduled_to_be_resident_on=host)

    def cancelled() -> bool:
        task = call.db.find("task", call.task)
        return task is not None and bool(task["current_operations"])

    try:
        yield from forward(
            call,
            source,
            lambda ts: hypervisor.migrate_domain(ts, vm, host, network=network, task=call.task, cancelled=cancelled),
        )
    except Failure:
        if vm in call.db.tables["VM"]:
            call.db.update("VM", vm, scheduled_to_be_resident_on=NULL)
        raise
    hosts = call.db.tables["host"]
    one, other = (hosts.get(ref, {"name_label": "", "uuid": ""}) for ref in (source, host))
    body = (
        f"VM '{before['name_label']}' (uuid: {before['uuid']}) migrated from host '{one['name_label']}' "
        f"(uuid: {one['uuid']}) to host '{other['name_label']}' (uuid: {other['uuid']})"
    )
    note(call.ts, "VM_MIGRATED", 5, "VM", before["uuid"], body)


@method("VM.pool_migrate", "vm:VM host:host options:m", asynchronous=True, acts=True)
def pool_migrate(call: Call, vm: str, host: str, options: dict[str, Any]) -> Steps:
    """Live migration within the pool; to its own host is a local one."""
    call.db.get("host", host)
    strict = options.get("force") != "true"

    def body() -> Steps:
        resident = call.db.get("VM", vm)["resident_on"]
        if resident != host:
            assert_can_boot_here(call.db, vm, host, cpu=strict)
            for task, other in call.db.get("host", host)["current_operations"].items():
                if other in ("evacuate", "shutdown", "reboot"):
                    raise Failure("OTHER_OPERATION_IN_PROGRESS", "host", host, other, task)
        yield from migrate(call, vm, host, options.get("network", NULL))

    yield from with_vm_operation(call, vm, "pool_migrate", body(), strict=strict)


@method("host.get_vms_which_prevent_evacuation", "self:host", asynchronous=True, result="map(VM>S)")
def get_vms_which_prevent_evacuation(call: Call, host: str) -> dict[str, list[str]]:
    """VM -> code and parameters."""
    plan = evacuation_plan(call.db, host)
    return {vm: found.description for vm, found in plan.items() if isinstance(found, Failure)}


@method("host.assert_can_evacuate", "host:host", asynchronous=True)
def assert_can_evacuate(call: Call, host: str) -> None:
    """One error for all VMs that can't go."""
    bad = [",".join(f.description) for f in evacuation_plan(call.db, host).values() if isinstance(f, Failure)]
    if bad:
        raise Failure("CANNOT_EVACUATE_HOST", "|".join(bad))


@method("host.evacuate", "host:host network:network= evacuate_batch_size:i=0", asynchronous=True, acts=True)
def evacuate(call: Call, host: str, network: str, evacuate_batch_size: int) -> Steps:
    """Moves every VM away, or none when one can't go; the host stays as enabled as it was."""
    db = call.db
    record = db.get("host", host)
    plan = evacuation_plan(db, host)
    for found in plan.values():
        if isinstance(found, Failure):
            raise found
    db.update("host", host, current_operations={**record["current_operations"], call.task: "evacuate"})
    failure: Failure | None = None
    moves = [(vm, target) for vm, target in plan.items() if isinstance(target, str)]
    batch = evacuate_batch_size or call.lab.timing.evacuate_batch
    for first in range(0, len(moves), batch):
        going = [call.ts.spawn(_one(call, vm, target), f"evacuate {vm}") for vm, target in moves[first : first + batch]]
        for process in going:
            yield process.done
            if isinstance(process.error, Failure):
                failure = failure or process.error
    current = call.db.get("host", host)["current_operations"]
    call.db.update("host", host, current_operations={k: v for k, v in current.items() if k != call.task})
    if failure is not None:
        raise failure


def _one(call: Call, vm: str, target: str) -> Steps:
    own = Call(call.ts, "VM.pool_migrate", call.session, False)
    yield from with_vm_operation(own, vm, "pool_migrate", migrate(own, vm, target))


@method("VM.assert_agile", "self:VM", asynchronous=True)
def assert_agile(call: Call, vm: str) -> None:
    """It could be on every enabled host: no passthrough, every drive's SR (a CD's too) shared and plugged there, every
    network there; the first reason why not in XAPI's order (sheet §6)."""
    db = call.db
    record = db.get("VM", vm)
    for devices, code in (("VGPUs", "VM_HAS_VGPU"), ("VUSBs", "VM_HAS_VUSBS")):
        if record[devices]:
            raise Failure(code, vm)
    enabled = [ref for ref, r in db.tables["host"].items() if r["enabled"]]
    for _, _, _, vdi in drives(db, record):
        sr = db.get("SR", vdi["SR"])
        if not sr["shared"] or any(vdi["SR"] not in attached_srs(db, host) for host in enabled):
            raise Failure("HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", vdi["SR"])
    for ref in record["VIFs"]:
        vif = db.find("VIF", ref)
        network = db.find("network", vif["network"]) if vif is not None else None
        if vif is None or network is None:
            continue
        hosts = {db.tables["PIF"][p]["host"] for p in network["PIFs"] if p in db.tables["PIF"]}
        if any(host not in hosts for host in enabled):
            raise Failure("HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED", vif["network"])
    for ref in record["VIFs"]:
        vif = db.find("VIF", ref)
        network = db.find("network", vif["network"]) if vif is not None else None
        pifs = [db.find("PIF", pif) for pif in network["PIFs"]] if network is not None else []
        if any(pif is not None and pif["sriov_logical_PIF_of"] for pif in pifs):
            raise Failure("VM_HAS_SRIOV_VIF", vm)
