"""Host calls (sheet §1.6, §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.lab.calls import Call, method
from reconciler.lab.errors import Failure
from reconciler.lab.forward import forward, is_alive
from reconciler.lab.kernel import Steps
from reconciler.lab.records import free_locks, set_enabled
from reconciler.lab.rules import free_memory
from reconciler.lab.timing import Release
from reconciler.lab.wiretext import date

if TYPE_CHECKING:
    from reconciler.lab.toolstack import Toolstack


def _nothing(ts: Toolstack) -> Steps:
    yield ts.lab.timing.call


def _clock(ts: Toolstack) -> Steps:
    yield ts.lab.timing.call
    return date(ts.wall)


@method("host.is_in_emergency_mode", db_free=True, result="b")
def is_in_emergency_mode(call: Call) -> bool:
    """Of the connected host."""
    return call.ts.emergency


@method("host.local_assert_healthy", db_free=True)
def local_assert_healthy(call: Call) -> None:
    """Raises what keeps it in emergency mode."""
    if call.ts.emergency:
        raise call.ts.emergency_error()


@method("host.ha_xapi_healthcheck", db_free=True, result="b")
def ha_xapi_healthcheck(_call: Call) -> bool:
    """It answers."""
    return True


@method("host.emergency_ha_disable", "soft:b=false", db_free=True)
def emergency_ha_disable(call: Call, soft: bool) -> None:
    """Disarm this host; pool.ha_enabled stays."""
    if not call.ts.host.ha_armed:
        if soft:
            return
        raise Failure("HA_NOT_ENABLED")
    if not soft:
        call.ts.host.ha_armed = False


@method("host.propose_new_master", "address:s manual:b", db_free=True, pool_internal=True)
def propose_new_master(call: Call, address: str, manual: bool) -> None:
    """First phase of a hand-over."""
    if call.ts.proposed not in (None, address):
        raise Failure("HA_ABORT_NEW_MASTER", f"another proposal is pending: {call.ts.proposed}")
    call.ts.proposed = address


@method("host.abort_new_master", "address:s", db_free=True, pool_internal=True)
def abort_new_master(call: Call, address: str) -> None:
    """Forget a proposal."""
    call.ts.proposed = None


@method("host.commit_new_master", "address:s", db_free=True, pool_internal=True)
def commit_new_master(call: Call, address: str) -> Steps:
    """Second phase: only after the first."""
    from reconciler.lab.api.pool import reset_master  # noqa: PLC0415 - pool is its own module

    if call.ts.proposed != address:
        text = f"Received commit_new_master({address}) but never received a proposal"
        raise Failure("HA_ABORT_NEW_MASTER", text)
    yield from reset_master(call.ts, address)


@method("host.get_servertime", "host:host", db_free=True, result="d")
def get_servertime(call: Call, host: str) -> Steps:
    """Of that host; a member asked with a local session answers itself, even without a master (recording 03)."""
    if call.local and not call.ts.is_master:
        return (yield from _clock(call.ts))
    return (yield from forward(call, host, _clock))


@method("host.get_server_localtime", "host:host", result="d")
def get_server_localtime(call: Call, host: str) -> Steps:
    """The same without the Z."""
    told: str = yield from forward(call, host, _clock)
    return told.rstrip("Z")


@method("host.compute_free_memory", "host:host", result="i", asynchronous=True)
def compute_free_memory(call: Call, host: str) -> int:
    """A calculation: answers for dead hosts too."""
    return free_memory(call.db, host)


@method("host.compute_memory_overhead", "host:host", result="i", asynchronous=True)
def compute_memory_overhead(call: Call, host: str) -> int:
    """What Xen itself takes."""
    return int(call.db.get("host", host)["memory_overhead"])


@method("host.disable", "host:host auto_enable:b=true", asynchronous=True)
def disable(call: Call, host: str, auto_enable: bool) -> Steps:
    """No new VMs; a dead host can't be disabled. The host remembers it until its toolstack restarts (recording
    15); with auto_enable=false, which 24.16 does not know, for ever (sheet §3.3)."""
    call.db.get("host", host)
    if not auto_enable and call.lab.release is Release.V24_16:
        raise Failure("MESSAGE_PARAMETER_COUNT_MISMATCH", "host.disable", "1", "2")

    def on_host(ts: Toolstack) -> Steps:
        yield ts.lab.timing.call
        ts.user_disabled = True
        ts.host.auto_enable = ts.host.auto_enable and auto_enable

    yield from forward(call, host, on_host)
    set_enabled(call.db, host, False)


@method("host.enable", "host:host", asynchronous=True)
def enable(call: Call, host: str) -> Steps:
    """New VMs again."""
    call.db.get("host", host)

    def on_host(ts: Toolstack) -> Steps:
        yield ts.lab.timing.call
        if not ts.ready:
            raise Failure("HOST_STILL_BOOTING")
        ts.user_disabled, ts.host.auto_enable = False, True

    yield from forward(call, host, on_host)
    set_enabled(call.db, host, True)


def _assert_dead(call: Call, host: str) -> Steps:
    call.db.get("host", host)
    if host == call.me:
        raise Failure("HOST_IS_LIVE", host)
    alive = yield from is_alive(call, host)
    if alive:
        raise Failure("HOST_IS_LIVE", host)


@method("host.declare_dead", "host:host", asynchronous=True, acts=True)
def declare_dead(call: Call, host: str) -> Steps:
    """Reset the host's VMs and free its disk locks. Its only proof is one failed probe, and none at all when
    live=false (sheet §3.6); `live` itself stays as it is."""
    from reconciler.lab.api.vm import power_state_reset  # noqa: PLC0415 - vm is its own module

    yield from _assert_dead(call, host)
    for vm in list(call.db.get("host", host)["resident_VMs"]):
        if not call.db.get("VM", vm)["is_control_domain"]:
            yield from power_state_reset(call, vm)
    set_enabled(call.db, host, False)
    free_locks(call.db, host)


@method("host.destroy", "self:host", asynchronous=True, acts=True)
def destroy(call: Call, host: str) -> Steps:
    """Forget a dead host; its local SRs stay as records."""
    yield from _assert_dead(call, host)
    db = call.db
    record = db.get("host", host)
    if db.pool()[1]["ha_enabled"]:
        raise Failure("HA_IS_ENABLED")
    guests = [ref for ref in record["resident_VMs"] if not db.get("VM", ref)["is_control_domain"]]
    if guests:
        raise Failure("HOST_HAS_RESIDENT_VMS", host)
    free_locks(db, host)
    for ref in record["resident_VMs"]:
        db.delete("VM", ref)
    for cls, refs in (("PIF", record["PIFs"]), ("host_cpu", record["host_CPUs"])):
        for ref in refs:
            db.delete(cls, ref)
    db.delete("host", host)  # its PBDs and metrics stay until the next round of db_gc (recording 16)
    pool, about = db.pool()
    less = {
        key: str(int(about["cpu_info"][key]) - int(record["cpu_info"].get(key, "0")))
        for key in ("cpu_count", "socket_count")
        if key in about["cpu_info"]
    }
    db.update("pool", pool, cpu_info={**about["cpu_info"], **less})


@method("host.restart_agent", "host:host", asynchronous=True)
def restart_agent(call: Call, host: str) -> Steps:
    """Restart that host's toolstack, after its fuse."""

    def on_host(ts: Toolstack) -> Steps:
        ts.light_fuse(0.0)
        yield ts.lab.timing.call

    yield from forward(call, host, on_host)


@method("host.shutdown_agent", db_free=True)
def shutdown_agent(call: Call) -> Steps:
    """Stops the toolstack of the connected host; VMs run on."""
    lab, name = call.lab, call.ts.host.name
    lab.kernel.after(lab.timing.supervisor, lambda: lab.stop_toolstack(name))
    yield lab.timing.call


@method("host.get_system_status_capabilities", "host:host", result="s")
def get_system_status_capabilities(call: Call, host: str) -> str:
    """Needs the database, though it is an emergency call (recording 03)."""
    call.ts.assert_known()
    call.db.get("host", host)
    return "<capabilities/>"


@method("host.power_on", "host:host", asynchronous=True)
def power_on(call: Call, host: str) -> None:
    """Refused while live=true, and without a way to do it."""
    from reconciler.lab.placement import is_live  # noqa: PLC0415 - only here

    record = call.db.get("host", host)
    if is_live(call.db, host):
        raise Failure("HOST_IS_LIVE", host)
    if record["power_on_mode"] == "":
        raise Failure("HOST_POWER_ON_MODE_DISABLED")
    raise Failure("XENAPI_MISSING_PLUGIN", "power-on-host")


def _power(call: Call, host: str, *, again: bool) -> Steps:
    record = call.db.get("host", host)
    if record["enabled"]:
        raise Failure("HOST_NOT_DISABLED")

    def on_host(ts: Toolstack) -> Steps:
        yield ts.lab.timing.call
        lab, name = ts.lab, ts.host.name

        def act() -> None:
            lab.power_off(name)
            if again:
                lab.power_on(name)

        lab.kernel.after(lab.timing.fuse, act)

    yield from forward(call, host, on_host)


@method("host.shutdown", "host:host", asynchronous=True, acts=True)
def shutdown(call: Call, host: str) -> Steps:
    """Only of a disabled host; its power goes some seconds after the answer."""
    yield from _power(call, host, again=False)


@method("host.reboot", "host:host", asynchronous=True, acts=True)
def reboot(call: Call, host: str) -> Steps:
    """Only of a disabled host."""
    yield from _power(call, host, again=True)
