"""Pool calls: who is master, and how that changes (sheet §2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.lab.calls import Call, method
from reconciler.lab.errors import Failure
from reconciler.lab.forward import forward
from reconciler.lab.kernel import Steps

if TYPE_CHECKING:
    from reconciler.lab.toolstack import Toolstack


@method("pool.is_slave", "host:host", result="b")
def is_slave(call: Call, host: str) -> bool:
    """Of the connected host, whatever the parameter; needs the database, so hangs without a master (sheet §1.5)."""
    return not call.ts.is_master


@method("pool.emergency_transition_to_master", db_free=True)
def emergency_transition_to_master(call: Call) -> Steps:
    """No guard but HA: works on a healthy member beside a living master. Returns before anything happened."""
    ts = call.ts
    if ts.host.ha_armed:
        raise Failure("HA_IS_ENABLED")
    ts.host.role = "master"
    ts.host.just_became_master = True
    lost = not ts.is_master and ts.db_now() is None
    saving = ts.lab.timing.promote_call_lost if lost else ts.lab.timing.promote_call
    ts.light_fuse(saving)
    yield saving


def reset_master(ts: Toolstack, address: str) -> Steps:
    """become_another_masters_slave, on that host: does nothing when it is so already."""
    if ts.host.ha_armed:
        raise Failure("HA_IS_ENABLED")
    timing = ts.lab.timing
    if ts.host.role == f"slave:{address}":
        yield timing.repoint_same
        return
    stuck = ts.db_now() is None
    ts.host.role = f"slave:{address}"
    ts.host.just_became_master = False
    ts.light_fuse(timing.repoint_stuck_saving if stuck else timing.repoint)
    yield timing.repoint_stuck if stuck else timing.repoint


@method("pool.emergency_reset_master", "master_address:s", db_free=True)
def emergency_reset_master(call: Call, master_address: str) -> Steps:
    """Follow that address from the next start on; nobody looks whether a master is there."""
    yield from reset_master(call.ts, master_address)


@method("pool.recover_slaves", result="set(host)", acts=True)
def recover_slaves(call: Call) -> Steps:
    """Tell every other host in the database, one after the other, to follow this one; errors are swallowed. A second
    living master is demoted. On a member it tangles the pool (recording 13): nothing forbids it."""
    from reconciler.lab.toolstack import Unreachable  # noqa: PLC0415 - toolstack imports the table of calls

    db = call.db
    me = call.me
    mine = db.get("host", me)["address"]
    told: list[str] = []
    repointed = []
    for ref in db.in_order("host"):
        record = db.get("host", ref)
        if ref == me:
            continue
        try:
            other: Toolstack = yield from call.lab.connect(call.ts.host, record["address"], call.lab.timing.no_route)
            process = other.spawn(reset_master(other, mine), "emergency_reset_master")
            yield process.done
            if process.error is None and other.alive and call.lab.reaches(call.ts.host.name, other.host):
                told.insert(0, ref)
                repointed.append(other)
        except Unreachable:
            continue
    for other in repointed:
        other.repointed = True
    call.lab.changed()  # a master that waits in its start for what these say waits no longer (recordings 14, 20)
    return told


@method("pool.sync_database", asynchronous=True)
def sync_database(call: Call) -> Steps:
    """A backup on every host now. All are asked at once and all are waited for; then one of the errors, the last that
    came, is the call's, and says nothing of the other hosts: those that live have their backup (sheet §2.7;
    xapi_pool.ml:sync_database, threadext.ml:thread_iter). With HA on it goes to the heartbeat disk and to no host."""
    db = call.db
    if db.pool()[1]["ha_enabled"]:
        yield call.lab.timing.backup_fetch
        return
    failed: list[Failure] = []

    def fetch(ts: Toolstack) -> Steps:
        yield ts.lab.timing.backup_fetch
        if ts.host.backup_held:
            # Its disk is full, say: what writing the file raises is the call's error.
            raise Failure("INTERNAL_ERROR", 'Unix.Unix_error(Unix.ENOSPC, "write", "")')
        if call.ts.db is not None:
            ts.host.disk = call.ts.db.snapshot(ts.lab.now)

    def ask(ref: str) -> Steps:
        try:
            yield from forward(call, ref, fetch, move_task=False)
        except Failure as failure:
            failed.append(failure)

    asked = [call.ts.spawn(ask(ref), "request_backup") for ref in db.in_order("host") if ref != call.me]
    for process in asked:
        yield process.done
        if process.error is not None:
            raise process.error
    if call.ts.db is not None:
        call.ts.host.disk = call.ts.db.snapshot(call.now)
    if failed:
        raise failed[-1]


@method("pool.set_ha_host_failures_to_tolerate", "self:pool value:i")
def set_ha_host_failures_to_tolerate(call: Call, pool: str, value: int) -> None:
    """A plain number while HA is off."""
    if value < 0:
        raise Failure("INVALID_VALUE", "ha_host_failures_to_tolerate", str(value))
    call.db.update("pool", pool, ha_host_failures_to_tolerate=value)


@method("pool.enable_ha", "heartbeat_srs:set(SR) configuration:m", asynchronous=True)
def enable_ha(call: Call, heartbeat_srs: list[str], configuration: dict[str, str]) -> Steps:
    """Needs every host alive and a shared SR for the statefile; then every host is armed."""
    db = call.db
    ref, record = db.pool()
    if record["ha_enabled"]:
        raise Failure("HA_IS_ENABLED")
    for host, r in db.tables["host"].items():
        if not db.get("host_metrics", r["metrics"])["live"]:
            raise Failure("HOST_OFFLINE", host)
    if not heartbeat_srs and record["default_SR"] not in db.tables["SR"]:
        raise Failure("CANNOT_CREATE_STATE_FILE")
    for sr in heartbeat_srs or [record["default_SR"]]:
        record = db.get("SR", sr)
        drivers = [r for r in db.tables["SM"].values() if r["type"] == record["type"]]
        able = not drivers or any("VDI_GENERATE_CONFIG" in driver["features"] for driver in drivers)
        if not (record["shared"] and able):
            raise Failure("CANNOT_CREATE_STATE_FILE")
    yield call.lab.timing.repoint
    call.db.update("pool", ref, ha_enabled=True, ha_configuration=dict(configuration))
    for box in call.lab.hosts.values():
        box.ha_armed = True


@method("pool.disable_ha", asynchronous=True)
def disable_ha(call: Call) -> None:
    """Disarms every host."""
    ref, record = call.db.pool()
    if not record["ha_enabled"]:
        raise Failure("HA_NOT_ENABLED")
    call.db.update("pool", ref, ha_enabled=False)
    for host in call.lab.hosts.values():
        host.ha_armed = False
