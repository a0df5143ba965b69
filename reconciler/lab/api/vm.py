"""Power calls on VMs (sheet §4, §5)."""

from __future__ import annotations

from reconciler.lab import hypervisor
from reconciler.lab.calls import Call, method
from reconciler.lab.devices import allocate, settle
from reconciler.lab.errors import Failure
from reconciler.lab.forward import forward, is_alive, with_vm_operation
from reconciler.lab.kernel import Steps
from reconciler.lab.placement import assert_can_boot_here, choose_host, possible_hosts
from reconciler.lab.records import drives, force_reset, note, write_vm
from reconciler.lab.rules import MIB, is_template, memory_overhead
from reconciler.lab.schema import NULL


def check_drives(call: Call, vm: str) -> None:
    """VDI_IN_USE [vdi] when another attached drive has the same disk and either may write (sheet §5.1 step 3)."""
    db = call.db
    for ref, vbd, vdi_ref, vdi in drives(db, db.get("VM", vm)):
        if vdi["sharable"]:
            continue
        for other_ref in vdi["VBDs"]:
            other = db.find("VBD", other_ref)
            if other is None or other_ref == ref or not other["currently_attached"]:
                continue
            if "RW" in (vbd["mode"], other["mode"]) and not vdi["read_only"]:
                raise Failure("VDI_IN_USE", vdi_ref)


def _refresh_overhead(call: Call, vm: str) -> None:
    write_vm(call.db, vm, memory_overhead=memory_overhead(call.db.get("VM", vm)))


def _busy(call: Call, host: str, operation: str | None) -> None:
    """Note in the host's record what is being done on it; None: no more (recording 06)."""
    record = call.db.find("host", host)
    if record is not None:
        kept = {task: op for task, op in record["current_operations"].items() if task != call.task}
        call.db.update("host", host, current_operations=kept | ({call.task: operation} if operation else {}))


def _bring_up(call: Call, vm: str, host: str, *, paused: bool, resume: bool = False) -> Steps:
    """Reserve, forward, release; on failure the VM is as it was."""
    timing = call.lab.timing
    before = call.db.get("VM", vm)
    allocate(call.db, vm, host)
    call.db.update("VM", vm, scheduled_to_be_resident_on=host)
    seconds = timing.vm_resume if resume else timing.vm_start
    _busy(call, host, "vm_resume" if resume else "vm_start")
    try:
        yield from forward(call, host, lambda ts: hypervisor.start_domain(ts, vm, paused=paused, seconds=seconds))
    except Failure:
        if vm in call.db.tables["VM"]:
            write_vm(call.db, vm, scheduled_to_be_resident_on=NULL)
            settle(call.db, call.db.get("VM", vm), attached=call.db.get("VM", vm)["power_state"] == "Running")
        _busy(call, host, None)
        raise
    _busy(call, host, None)
    record = call.db.get("VM", vm)
    if resume and record["suspend_VDI"] in call.db.tables["VDI"]:
        call.db.delete("VDI", record["suspend_VDI"])
    if record["ha_restart_priority"] == "restart":
        call.db.update("VM", vm, ha_always_run=True)
    write_vm(call.db, vm, scheduled_to_be_resident_on=NULL, suspend_VDI=NULL if resume else record["suspend_VDI"])
    name = call.db.tables["host"].get(host, {}).get("name_label", "")
    word, kind = ("resumed", "VM_RESUMED") if resume else ("started", "VM_STARTED")
    where = f"{name} (uuid: {call.db.tables['host'].get(host, {}).get('uuid', '')})"
    body = f"VM '{before['name_label']}' (uuid: {before['uuid']}) {word} on host: {where}"
    note(call.ts, kind, 5, "VM", before["uuid"], body)
    if not resume and before["start_delay"] > 0:
        yield float(before["start_delay"] * (2 if call.operation == "start_on" else 1))


@method("VM.start", "vm:VM start_paused:b force:b", asynchronous=True, acts=True)
def start(call: Call, vm: str, start_paused: bool, force: bool) -> Steps:
    """On a host of XAPI's choice: a dead or unable affinity host is silently ignored."""

    def body() -> Steps:
        check_drives(call, vm)
        _refresh_overhead(call, vm)
        host = choose_host(call.db, vm, call.lab.random, call.me)
        yield from _bring_up(call, vm, host, paused=start_paused)

    yield from with_vm_operation(call, vm, "start", body())


@method("VM.start_on", "vm:VM host:host start_paused:b force:b", asynchronous=True, acts=True)
def start_on(call: Call, vm: str, host: str, start_paused: bool, force: bool) -> Steps:
    """On that host or not at all."""
    call.db.get("host", host)
    record = call.db.get("VM", vm)
    if record["is_control_domain"] and record["resident_on"] != host:
        raise Failure("OPERATION_NOT_ALLOWED", "Cannot boot a control domain on a host different from its affinity")
    if "evacuate" in call.db.get("host", host)["current_operations"].values():
        raise Failure("HOST_EVACUATE_IN_PROGRESS", host)

    def body() -> Steps:
        check_drives(call, vm)
        _refresh_overhead(call, vm)
        assert_can_boot_here(call.db, vm, host)
        yield from _bring_up(call, vm, host, paused=start_paused)

    yield from with_vm_operation(call, vm, "start_on", body())


@method("VM.resume", "vm:VM start_paused:b force:b", asynchronous=True, acts=True)
def resume(call: Call, vm: str, start_paused: bool, force: bool) -> Steps:
    """On a host of XAPI's choice."""

    def body() -> Steps:
        check_drives(call, vm)
        host = choose_host(call.db, vm, call.lab.random, call.me)
        yield from _bring_up(call, vm, host, paused=start_paused, resume=True)

    yield from with_vm_operation(call, vm, "resume", body())


@method("VM.resume_on", "vm:VM host:host start_paused:b force:b", asynchronous=True, acts=True)
def resume_on(call: Call, vm: str, host: str, start_paused: bool, force: bool) -> Steps:
    """On that host or not at all."""
    call.db.get("host", host)

    def body() -> Steps:
        check_drives(call, vm)
        assert_can_boot_here(call.db, vm, host, cpu=True)
        yield from _bring_up(call, vm, host, paused=start_paused, resume=True)

    yield from with_vm_operation(call, vm, "resume_on", body())


def _resident(call: Call, vm: str) -> str:
    return str(call.db.get("VM", vm)["resident_on"])


def _stopped(call: Call, vm: str, how: str) -> None:
    record = call.db.find("VM", vm)
    if record is not None:
        call.db.update("VM", vm, ha_always_run=False)
        body = f"VM '{record['name_label']}' (uuid: {record['uuid']}) {how}"
        note(call.ts, "VM_SHUTDOWN", 5, "VM", record["uuid"], body)


def _clean(call: Call, vm: str) -> Steps:
    seconds = call.lab.timing.vm_clean_shutdown
    delay = call.db.get("VM", vm)["shutdown_delay"]
    yield from forward(call, _resident(call, vm), lambda ts: hypervisor.stop_domain(ts, vm, seconds=seconds))
    _stopped(call, vm, "shutdown")
    yield float(max(0, delay))  # Halted already


def _hard(call: Call, vm: str) -> Steps:
    record = call.db.get("VM", vm)
    if record["power_state"] == "Suspended":
        if record["suspend_VDI"] in call.db.tables["VDI"]:
            call.db.delete("VDI", record["suspend_VDI"])
        write_vm(call.db, vm, power_state="Halted", suspend_VDI=NULL)
        return
    seconds = call.lab.timing.vm_stop
    host = _resident(call, vm)
    yield from _after_migration(call, vm)
    if _resident(call, vm) != host:
        raise Failure("INTERNAL_ERROR", f"Xenops_interface.Xenopsd_error([S(Does_not_exist);[S(VM);S({vm})]])")
    yield from forward(call, host, lambda ts: hypervisor.stop_domain(ts, vm, seconds=seconds))
    _stopped(call, vm, "shutdown forcibly")


def _after_migration(call: Call, vm: str) -> Steps:
    """Cancel a migration under way and wait for its end: the host does one thing after the other with a VM. The call
    was forwarded to where the VM was, which has nothing to stop where the migration came first (sheet §4.3, §6;
    message_forwarding.ml:hard_shutdown)."""
    for task, operation in call.db.get("VM", vm)["current_operations"].items():
        record = call.db.find("task", task)
        if operation == "pool_migrate" and record is not None and record["status"] == "pending":
            call.db.update("task", task, current_operations={f"DummyRef:|{call.lab.uuid()}|task.cancel": "cancel"})
    while "pool_migrate" in call.db.get("VM", vm)["current_operations"].values():
        yield call.lab.timing.vm_switch


@method("VM.clean_shutdown", "vm:VM", asynchronous=True, acts=True)
def clean_shutdown(call: Call, vm: str) -> Steps:
    """The guest shuts itself down."""
    yield from with_vm_operation(call, vm, "clean_shutdown", _clean(call, vm))


@method("VM.hard_shutdown", "vm:VM", asynchronous=True, acts=True)
def hard_shutdown(call: Call, vm: str) -> Steps:
    """The domain ends at once: only the copy on the host where the database places it (recording 22)."""
    yield from with_vm_operation(call, vm, "hard_shutdown", _hard(call, vm))


@method("VM.shutdown", "vm:VM", asynchronous=True, acts=True)
def shutdown(call: Call, vm: str) -> Steps:
    """Clean, and hard when that fails."""

    def body() -> Steps:
        from reconciler.lab.rules import guest_refuses  # noqa: PLC0415 - only here

        record = call.db.get("VM", vm)
        if record["power_state"] == "Running" and "clean_shutdown" not in guest_refuses(call.db, record):
            yield from _clean(call, vm)
        else:
            yield from _hard(call, vm)

    yield from with_vm_operation(call, vm, "shutdown", body())


@method("VM.clean_reboot", "vm:VM", asynchronous=True, acts=True)
def clean_reboot(call: Call, vm: str) -> Steps:
    """The guest reboots itself."""
    yield from with_vm_operation(call, vm, "clean_reboot", _reboot(call, vm))


@method("VM.hard_reboot", "vm:VM", asynchronous=True, acts=True)
def hard_reboot(call: Call, vm: str) -> Steps:
    """A new domain at once."""
    yield from with_vm_operation(call, vm, "hard_reboot", _reboot(call, vm))


def _reboot(call: Call, vm: str) -> Steps:
    seconds = call.lab.timing.vm_reboot
    yield from forward(call, _resident(call, vm), lambda ts: hypervisor.reboot_domain(ts, vm, seconds=seconds))


@method("VM.pause", "vm:VM", asynchronous=True)
def pause(call: Call, vm: str) -> Steps:
    """Stop scheduling it."""
    steps = forward(call, _resident(call, vm), lambda ts: hypervisor.pause_domain(ts, vm, paused=True))
    yield from with_vm_operation(call, vm, "pause", steps)


@method("VM.unpause", "vm:VM", asynchronous=True)
def unpause(call: Call, vm: str) -> Steps:
    """Go on scheduling it."""
    steps = forward(call, _resident(call, vm), lambda ts: hypervisor.pause_domain(ts, vm, paused=False))
    yield from with_vm_operation(call, vm, "unpause", steps)


@method("VM.suspend", "vm:VM", asynchronous=True, acts=True)
def suspend(call: Call, vm: str) -> Steps:
    """Memory goes to a new disk on VM.suspend_SR, else the pool's, else the host's suspend SR."""

    def body() -> Steps:
        db = call.db
        record = db.get("VM", vm)
        host = db.find("host", record["resident_on"])
        wanted = [record["suspend_SR"], db.pool()[1]["suspend_image_SR"]]
        wanted.append(host["suspend_image_sr"] if host is not None else NULL)
        sr = next((ref for ref in wanted if ref in db.tables["SR"]), None)
        if sr is None:
            raise Failure("VM_NO_SUSPEND_SR", vm)
        seconds = call.lab.timing.vm_suspend
        yield from forward(
            call,
            record["resident_on"],
            lambda ts: hypervisor.stop_domain(ts, vm, seconds=seconds, state="Suspended"),
        )
        image = {
            "uuid": call.lab.uuid(),
            "name_label": "Suspend image",
            "SR": sr,
            "type": "suspend",
            "virtual_size": record["memory_static_max"],
            "managed": True,
        }
        write_vm(call.db, vm, suspend_VDI=call.db.create("VDI", call.lab.ref(), image), ha_always_run=False)

    yield from with_vm_operation(call, vm, "suspend", body())


@method("VM.power_state_reset", "vm:VM", asynchronous=True, acts=True)
def power_state_reset(call: Call, vm: str) -> Steps:
    """Record it as Halted. Under no lock, blocked by nothing; storage locks stay (sheet §4.4)."""
    db = call.db
    record = db.get("VM", vm)
    if record["is_control_domain"]:
        raise Failure("CANNOT_RESET_CONTROL_DOMAIN", vm)
    if record["power_state"] in ("Running", "Paused"):
        host = record["resident_on"]
        if host == call.me:
            if record["uuid"] in call.lab.world.boxes[call.ts.host.name].domains:
                raise Failure("DOMAIN_EXISTS", vm)
        elif host in db.tables["host"]:
            alive = yield from is_alive(call, host)
            if alive:
                raise Failure("HOST_IS_LIVE", host)
    yield call.lab.timing.call
    force_reset(call.db, vm)


@method("VM.assert_can_boot_here", "self:VM host:host", asynchronous=True)
def can_boot_here(call: Call, vm: str, host: str) -> None:
    """Raises the first reason why not; HOST_NOT_LIVE for a host that does not exist (recording 02)."""
    assert_can_boot_here(call.db, vm, host, cpu=True, ignore_scheduled=vm)


@method("VM.get_possible_hosts", "vm:VM", asynchronous=True, result="set(host)")
def get_possible_hosts(call: Call, vm: str) -> list[str]:
    """Hosts that could take it now, memory included."""
    return possible_hosts(call.db, vm)


@method("VM.compute_memory_overhead", "vm:VM", asynchronous=True, result="i")
def compute_memory_overhead(call: Call, vm: str) -> int:
    """Bytes."""
    return memory_overhead(call.db.get("VM", vm))


@method("VM.set_memory", "self:VM value:i", asynchronous=True)
def set_memory(call: Call, vm: str, value: int) -> None:
    """All four limits at once; only when halted."""
    _limits(call, vm, value, value, value, value)


@method("VM.set_memory_limits", "self:VM smin:i smax:i dmin:i dmax:i", asynchronous=True)
def set_memory_limits(call: Call, vm: str, smin: int, smax: int, dmin: int, dmax: int) -> None:
    """static_min ≤ dynamic_min ≤ dynamic_max ≤ static_max; only when halted."""
    _limits(call, vm, smin, dmin, dmax, smax)


def _limits(call: Call, vm: str, smin: int, dmin: int, dmax: int, smax: int) -> None:
    record = call.db.get("VM", vm)
    if record["power_state"] != "Halted":
        raise Failure("VM_BAD_POWER_STATE", vm, "halted", record["power_state"].lower())
    if not smin <= dmin <= dmax <= smax:
        raise Failure("MEMORY_CONSTRAINT_VIOLATION_ORDER")
    write_vm(
        call.db,
        vm,
        memory_static_min=smin,
        memory_dynamic_min=dmin,
        memory_dynamic_max=dmax,
        memory_static_max=smax,
        memory_target=dmin,
        memory_overhead=memory_overhead({**record, "memory_static_max": max(smax, MIB)}),
    )


@method("VM.set_is_a_template", "self:VM value:b")
def set_is_a_template(call: Call, vm: str, value: bool) -> None:
    """Templates are never kept running."""
    record = call.db.get("VM", vm)
    if value and record["power_state"] != "Halted" and not is_template(record):
        raise Failure("VM_BAD_POWER_STATE", vm, "halted", record["power_state"].lower())
    write_vm(call.db, vm, is_a_template=value, ha_always_run=False)


@method("VM.set_VCPUs_max", "self:VM value:i")
def set_vcpus_max(call: Call, vm: str, value: int) -> None:
    """Only when halted."""
    _vcpus(call, vm, VCPUs_max=value)


@method("VM.set_VCPUs_at_startup", "self:VM value:i")
def set_vcpus_at_startup(call: Call, vm: str, value: int) -> None:
    """Only when halted."""
    _vcpus(call, vm, VCPUs_at_startup=value)


def _vcpus(call: Call, vm: str, **values: int) -> None:
    record = call.db.get("VM", vm)
    if record["power_state"] != "Halted":
        raise Failure("VM_BAD_POWER_STATE", vm, "halted", record["power_state"].lower())
    write_vm(call.db, vm, memory_overhead=memory_overhead({**record, **values}), **values)


@method("VM.destroy", "self:VM", asynchronous=True)
def destroy(call: Call, vm: str) -> Steps:
    """The record and its drives go; disks stay."""

    def body() -> Steps:
        yield call.lab.timing.call
        record = call.db.get("VM", vm)
        for ref in record["VBDs"]:
            call.db.delete("VBD", ref)
        for ref in record["VIFs"]:
            call.db.delete("VIF", ref)
        for ref in record["consoles"]:
            call.db.delete("console", ref)
        call.db.delete("VM_metrics", record["metrics"])
        call.db.delete("VM", vm)

    yield from with_vm_operation(call, vm, "destroy", body())
