"""What a live migration needs beside any power operation: where the VM is now, its source, and the network to use.

`VM.pool_migrate(vm, host, options)` is forwarded to the source, which copies the memory and then switches (sheet §5.6).
A migration that fails while it copies leaves the VM running where it was; one that fails in the moment of the switch,
when the domain is suspended already, has the source shut it down (xapi_vm_migrate.ml:pool_migrate, "tidy up").
"""

from __future__ import annotations

from reconciler.core.migration_network import OF_XEN_ORCHESTRA
from reconciler.core.plan import Action, Done
from reconciler.core.port import FaultKind, Json, XapiFailure
from reconciler.core.words import names
from reconciler.execute.bench import Bench, barred, refused
from reconciler.execute.desk import NULL
from reconciler.execute.faults import Explained, Turn
from reconciler.execute.look import tcp_round

CANCEL_FOR = 120.0
"""Seconds for a cancelled migration to end: cancelling is best effort (sheet §8.1)."""


def is_there(bench: Bench, action: Action, vm: dict[str, Json]) -> bool:
    """The record places it on the host that the action names."""
    return action.to is not None and _uuid(bench, vm) == action.to.uuid


def astray(bench: Bench, action: Action, vm: dict[str, Json]) -> Done | None:
    """Why a running VM is not where the plan would move it from, or stop it for that host's sake."""
    if action.source is None:
        return refused(action, "the plan does not name the host that it leaves", "plan again")
    if _uuid(bench, vm) == action.source.uuid:
        return None
    where = str(vm.get("resident_on", ""))
    on = f"on {bench.name_of('host', where)}" if where not in NULL else "nowhere"
    return refused(action, f"it runs {on}, not on {action.source.name}", "plan again")


def source_trouble(bench: Bench, action: Action) -> Explained | None:
    """Why its source can't send it now: it must be live, or the call is refused with HOST_OFFLINE (recording 03)."""
    desk = bench.desk()
    if action.source is None:
        return None
    try:
        _, host = desk.record("host", action.source.uuid)
        metrics = dict(desk.read("host_metrics.get_record", host.get("metrics", "")))
    except XapiFailure as failure:
        return bench.explain(failure)
    if metrics.get("live"):
        return None
    return Explained(Turn.RETRY, f"{action.source.name}, which it leaves, is not live", "plan again")


def silent_end(bench: Bench, action: Action) -> str:
    """The name of the declared host that takes no part because nothing answers at its address, the target first; "" if
    both are there. XAPI goes on believing in a dead host for minutes (recording 06), and each try would cost them."""
    ends = [thing for thing in (action.to, action.source) if thing is not None]
    members = [m for m in map(bench.member_of, ends) if m is not None]
    told = tcp_round(bench, members)
    return next((m.name for m in members if told[m.name] in (FaultKind.TIMEOUT, FaultKind.UNREACHABLE)), "")


def options(bench: Bench, action: Action) -> dict[str, Json] | Done:
    """The options of the call: `live`, and `network` where the manifest or the pool names one."""
    desk = bench.desk()
    declared = bench.wanted.policy.migration_network
    key = declared or dict(desk.pool().get("other_config") or {}).get(OF_XEN_ORCHESTRA)
    if not key:
        return {"live": "true"}
    records = dict(desk.read("network.get_all_records"))
    found = [ref for ref, one in records.items() if key in (one.get("uuid"), one.get("name_label"))]
    if len(found) == 1:
        return {"live": "true", "network": found[0]}
    if declared is None:
        return {"live": "true"}  # Xen Orchestra's word about a network that is gone: as if it had said nothing
    what = f"{names([key])} means several networks" if found else f"the pool has no network {names([key])}"
    return barred(action, f"{what} (policy.placement.migrationNetwork)", "xe network-list; then correct the manifest")


def _uuid(bench: Bench, vm: dict[str, Json]) -> str:
    """The uuid of the host where the record places it; "" for nowhere."""
    where = str(vm.get("resident_on", ""))
    if where in NULL:
        return ""
    try:
        return str(dict(bench.desk().read("host.get_record", where)).get("uuid", ""))
    except XapiFailure:
        return ""
