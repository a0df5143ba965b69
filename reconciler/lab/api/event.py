"""event.from: what changed since a token, or a wait until something does (sheet §8.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reconciler.lab.calls import Call, method
from reconciler.lab.database import Database
from reconciler.lab.errors import Failure
from reconciler.lab.kernel import Steps
from reconciler.lab.schema import CLASS_OF, SCHEMA, copy_record

SILENT = frozenset({"session", "user", "event", "data_source", "message", "role"})
"""Tables whose changes make no events; messages are no table."""
LONGEST = 86400.0
_OTHERS = """
auth data_source diagnostics event lvhd observer probe_result pvs_cache_storage pvs_proxy pvs_server
pvs_site repository sr_stat vdi_nbd_server_info
"""
COUNTED = dict.fromkeys(_OTHERS.split(), 0)
"""Tables that XAPI counts in every answer though nothing here is ever in them (recordings 01, 02)."""


@dataclass(frozen=True)
class Subscription:
    """What a client asked for: whole classes and single objects."""

    classes: frozenset[str]
    objects: frozenset[tuple[str, str]]
    messages: bool

    def wants(self, cls: str, ref: str) -> bool:
        """A change of that object is of interest."""
        return cls in self.classes or (cls, ref) in self.objects or (cls == "message" and self.messages)


def subscribe(names: list[Any]) -> Subscription:
    """Parse `classes`; nonsense subscribes to nothing (recording 02)."""
    classes: set[str] = set()
    objects: set[tuple[str, str]] = set()
    messages = False
    for name in names:
        if not isinstance(name, str):
            raise Failure("EVENT_SUBSCRIPTION_PARSE_FAILURE", str(name))
        if name == "*":
            classes |= set(SCHEMA) - SILENT
            messages = True
            continue
        low, _, ref = name.partition("/")
        low = low.lower()
        if low == "message":
            messages = True
        elif low in CLASS_OF and CLASS_OF[low] not in SILENT:
            if ref:
                objects.add((CLASS_OF[low], ref))
            else:
                classes.add(CLASS_OF[low])
    return Subscription(frozenset(classes), frozenset(objects), messages)


def parse_token(token: str) -> tuple[int, int]:
    """(database generation, message generation); -1 for the empty token: from the beginning."""
    if token == "":
        return -1, -1
    first, comma, second = token.partition(",")
    if not (comma and first.isdigit() and second.isdigit() and int(first) < 1 << 63):
        raise Failure("EVENT_FROM_TOKEN_PARSE_FAILURE", token)
    return int(first), int(second)


@method("event.from", "classes:S token:s timeout:f", result="events")
def event_from(call: Call, classes: list[Any], token: str, timeout: float) -> Steps:
    """Everything since the token in one answer, or after at most `timeout` seconds an empty one."""
    if not call.ts.is_master:
        raise Failure("INTERNAL_ERROR", "missing table", "subject", "")  # recording 16
    wanted = subscribe(classes)
    since, messages_since = parse_token(token)
    timing = call.lab.timing
    wait = timeout if 0 <= timeout < LONGEST else LONGEST
    until = call.now + wait
    db = call.db
    batch = 0.0 if wanted.objects and not wanted.classes and not wanted.messages else timing.event_batch
    while True:
        events = _changes(call, db, wanted, since, messages_since)
        if events or call.now >= until:
            break
        changed = call.lab.kernel.event()
        listener = _listen(db, wanted, changed.fire)
        try:
            if not (yield from call.lab.kernel.either(changed, until - call.now)):
                yield timing.event_late
        finally:
            db.listeners.remove(listener)
        if batch:
            yield batch
        if call.session not in call.ts.sessions and call.session not in call.ts.local_sessions:
            raise Failure("SESSION_INVALID", call.session)
    ages = call.ts.host.message_ages
    newest = max(ages.values(), default=0) if wanted.messages else 0
    return {
        "events": events,
        "valid_ref_counts": {
            **COUNTED,
            **{c.lower(): len(t) for c, t in db.tables.items() if db.groups or c != "VM_group"},
        },
        "token": f"{max(db.generation, since):020d},{newest:020d}",
    }


def _listen(db: Database, wanted: Subscription, wake: Any) -> Any:
    def listener(cls: str, ref: str) -> None:
        if wanted.wants(cls, ref):
            wake()

    db.listeners.append(listener)
    return listener


def _event(generation: int, cls: str, operation: str, ref: str, snapshot: dict[str, Any] | None) -> dict[str, Any]:
    event: dict[str, Any] = {
        "id": str(generation),
        "timestamp": "0.0",
        "class": cls.lower(),
        "operation": operation,
        "ref": ref,
    }
    if snapshot is not None:
        event["snapshot"] = snapshot
    return event


def _changes(call: Call, db: Database, wanted: Subscription, since: int, messages_since: int) -> list[dict[str, Any]]:
    """Messages, then adds, then mods, then dels; one event per object at most, with its state as it is now."""
    adds: list[dict[str, Any]] = []
    mods: list[dict[str, Any]] = []
    dels: list[dict[str, Any]] = []
    if db.generation > since:
        for cls in sorted(wanted.classes):
            refs = db.tables[cls] if since < db.base else db.stamps[cls].modified
            for ref in list(refs):
                _change(db, cls, ref, since, adds, mods)
        for cls, ref in sorted(wanted.objects):
            if cls not in wanted.classes and ref in db.tables[cls]:
                _change(db, cls, ref, since, adds, mods)
        for cls in sorted(wanted.classes | {c for c, _ in wanted.objects}):
            for gone, born, ref in db.stamps[cls].deleted:
                if gone > since >= born and wanted.wants(cls, ref):
                    dels.append(_event(gone, cls, "del", ref, None))
    messages = []
    if wanted.messages:
        for ref, age in call.ts.host.message_ages.items():
            if age > messages_since:
                messages.append(_event(0, "message", "add", ref, dict(call.ts.host.messages[ref])))
    return messages + adds + mods + dels


def _change(
    db: Database, cls: str, ref: str, since: int, adds: list[dict[str, Any]], mods: list[dict[str, Any]]
) -> None:
    modified = db.modified_at(cls, ref)
    if modified <= since or ref not in db.tables[cls]:
        return
    born = db.created_at(cls, ref)
    snapshot = copy_record(cls, db.tables[cls][ref])
    if born > since:
        adds.append(_event(modified, cls, "add", ref, snapshot))
    else:
        mods.append(_event(modified, cls, "mod", ref, snapshot))


@method("event.inject", "class:s ref:s", result="s")
def inject(call: Call, cls: str, ref: str) -> str:
    """Makes a change that changes nothing."""
    name = CLASS_OF.get(cls.lower())
    if name is None:
        raise Failure("INTERNAL_ERROR", f"Db_exn.DBCache_NotFound(missing table, {cls}, )")
    call.db.touch(name, ref)
    return f"{call.db.generation:020d},{0:020d}"


@method("event.get_current_id", result="i")
def get_current_id(call: Call) -> int:
    """The generation."""
    return call.db.generation
