"""A planned hand-over of the master's office, and how it breaks midway (sheet §2.8, recording 09)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.lab.api.pool import reset_master, sync_database
from reconciler.lab.calls import Call, method
from reconciler.lab.errors import Failure
from reconciler.lab.forward import forward
from reconciler.lab.kernel import Steps

if TYPE_CHECKING:
    from reconciler.lab.toolstack import Toolstack


@method("pool.designate_new_master", "host:host", asynchronous=True)
def designate_new_master(call: Call, host: str) -> Steps:
    """Needs every host alive; ends with every toolstack restarted."""
    ts = call.ts
    if ts.pool_operation is not None:
        raise Failure("DESIGNATE_NEW_MASTER_IN_PROGRESS")
    call.db.get("host", host)
    ts.pool_operation = "designate_new_master"
    try:
        yield from _hand_over(call, host)
    except Failure:
        ts.pool_operation = None
        raise
    ts.pool_operation = None


def _hand_over(call: Call, host: str) -> Steps:
    db = call.db

    def nothing(ts: Toolstack) -> Steps:
        yield ts.lab.timing.call

    yield from forward(call, host, nothing)
    if host == call.me:
        return
    if db.pool()[1]["ha_enabled"]:
        raise Failure("HA_IS_ENABLED")
    yield from sync_database(call)
    box = call.lab.at(db.get("host", host)["address"])
    target = box.toolstack if box is not None else None
    if target is None or not target.api_up:
        raise Failure("CANNOT_CONTACT_HOST", host)
    peers = [db.get("host", ref)["address"] for ref in db.in_order("host") if ref not in (host, call.me)]
    process = target.spawn(_take_over(target, peers, call.ts), "designate_new_master")
    yield process.done
    if process.error is not None:
        raise process.error
    if process.result is not True:  # its toolstack ended meanwhile
        raise Failure("CANNOT_CONTACT_HOST", host)


def _take_over(ts: Toolstack, peers: list[str], old: Toolstack) -> Steps:
    """Runs on the new master: everybody is asked, then everybody else is told, the old master last. From the first
    telling until the last its role file says `broken`; it restarts so at once where somebody could not be told
    (xapi_pool_transition.ml:attempt_two_phase_commit_of_new_master). True when all went well."""
    from reconciler.lab.toolstack import Unreachable  # noqa: PLC0415 - toolstack imports the table of calls

    timing, mine = ts.lab.timing, ts.host.address
    try:
        for address in peers:
            yield from ts.lab.connect(ts.host, address, timing.no_route)
    except Unreachable as unreachable:
        raise Failure("HA_ABORT_NEW_MASTER", f"Unable to reach {unreachable}") from None
    ts.host.role = "broken"
    failed = False
    for address in peers:
        try:
            peer: Toolstack = yield from ts.lab.connect(ts.host, address, timing.no_route)
        except Unreachable:
            failed = True
            continue
        process = peer.spawn(reset_master(peer, mine), "commit_new_master")
        yield process.done
        failed = failed or process.error is not None or not peer.alive
    yield timing.repoint
    if old.alive and ts.lab.reaches(ts.host.name, old.host):
        old.host.role = f"slave:{mine}"
        old.light_fuse(0.0)
    else:
        failed = True
    if failed:
        ts.exit(restart=True)
        return False
    ts.host.role = "master"
    ts.host.just_became_master = True
    ts.light_fuse(0.0)
    return True
