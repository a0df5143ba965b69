"""One copy of a pool database: tables of records, a generation, and what changed when.

Records and the values in them are never changed in place: an update makes a new record. So a backup copies tables
only, never records, and costs little for thousands of VMs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.lab.errors import Failure
from reconciler.lab.schema import CHILDREN, NULL, SCHEMA, blank, copy_record

Record = dict[str, Any]

VOLATILE = frozenset({"task", "session", "message"})
"""Not in the database file: tasks and sessions live in memory, messages are files of one host (sheet §2.7, §9)."""

DELETED_KEPT = 512
"""Deleted objects remembered per class; then trimmed to half (sheet §8.2)."""


@dataclass(frozen=True)
class Snapshot:
    """A database as a file holds it. Times in seconds."""

    tables: Mapping[str, Mapping[str, Record]]
    generation: int
    taken_at: float


@dataclass
class Stamps:
    """Per class: when (in generations) each object was created and last changed, and what was deleted."""

    created: dict[str, int] = field(default_factory=dict)
    modified: dict[str, int] = field(default_factory=dict)
    deleted: list[tuple[int, int, str]] = field(default_factory=list)
    """(generation of deletion, of creation, ref)"""


class Records(dict[str, Record]):
    """Records of one class by ref, as a database holds them: the answer to get_all_records, to be read and not
    changed. Whoever wants it for himself takes own()."""

    def __init__(self, cls: str, records: Mapping[str, Record]) -> None:
        super().__init__(records)
        self.cls = cls

    def own(self) -> dict[str, Record]:
        """Copies that share nothing with the database."""
        return {ref: copy_record(self.cls, record) for ref, record in self.items()}


class Database:
    """The tables that one master holds in memory.

    `on_write` runs before each change (to flush what was there), each of `listeners` after it, with class and ref.
    """

    def __init__(self, tables: Mapping[str, Mapping[str, Record]], generation: int) -> None:
        self.tables: dict[str, dict[str, Record]] = {c: dict(tables.get(c, {})) for c in SCHEMA}
        self.generation = generation
        self.base = generation
        self.stamps = {c: Stamps() for c in SCHEMA}
        self.on_write: Callable[[], None] = lambda: None
        self.listeners: list[Callable[[str, str], None]] = []
        self._by_uuid: dict[str, dict[str, str]] = {}
        self.scheduled = {
            ref for ref, r in self.tables["VM"].items() if r["scheduled_to_be_resident_on"] not in (NULL, "")
        }
        """VMs that are on their way to a host."""
        self.groups = any("groups" in record for record in self.tables["VM"].values())
        """VMs have groups, as in releases after 24.16."""

    @classmethod
    def restore(cls, snapshot: Snapshot) -> Database:
        """The database that a starting master loads from its file."""
        return cls(snapshot.tables, snapshot.generation)

    def snapshot(self, now: float) -> Snapshot:
        """What a backup of it holds."""
        return Snapshot({c: {} if c in VOLATILE else dict(t) for c, t in self.tables.items()}, self.generation, now)

    def in_order(self, cls: str) -> list[str]:
        """Refs in the order in which XAPI goes through a table: the greatest first (recordings 13, 18, 20)."""
        return sorted(self.tables[cls], reverse=True)

    def find(self, cls: str, ref: str) -> Record | None:
        """The record, or None."""
        return self.tables[cls].get(ref)

    def get(self, cls: str, ref: str) -> Record:
        """The record; raises HANDLE_INVALID [class; ref]."""
        record = self.tables[cls].get(ref)
        if record is None:
            raise Failure("HANDLE_INVALID", cls, str(ref))
        return record

    def by_uuid(self, cls: str, uuid: str) -> str | None:
        """The ref of the object with that uuid."""
        index = self._by_uuid.get(cls)
        if index is None:
            index = self._by_uuid[cls] = {r["uuid"]: ref for ref, r in self.tables[cls].items()}
        ref = index.get(uuid)
        return ref if ref in self.tables[cls] else None

    def pool(self) -> tuple[str, Record]:
        """Ref and record of the one pool."""
        return next(iter(self.tables["pool"].items()))

    def create(self, cls: str, ref: str, values: Mapping[str, Any]) -> str:
        """Add an object; fields not named are at their default."""
        self.on_write()
        record = blank(cls)
        if cls == "VM" and self.groups:
            record["groups"] = []
        record.update(values)
        self.generation += 1
        self.tables[cls][ref] = record
        self.stamps[cls].created[ref] = self.stamps[cls].modified[ref] = self.generation
        if cls in self._by_uuid:
            self._by_uuid[cls][record.get("uuid", "")] = ref
        for name, parent, members in CHILDREN.get(cls, ()):
            self._link(parent, record[name], members, ref, add=True)
        for group in record.get("groups", ()):
            self._link("VM_group", group, "VMs", ref, add=True)
        self.tell(cls, ref)
        return ref

    def update(self, cls: str, ref: str, **values: Any) -> None:
        """Change fields of an object; nothing happens when they already have these values. Raises HANDLE_INVALID."""
        old = self.get(cls, ref)
        changed = {k: v for k, v in values.items() if old.get(k) != v}
        if not changed:
            return
        self.on_write()
        self.generation += 1
        self.tables[cls][ref] = {**old, **changed}
        self.stamps[cls].modified[ref] = self.generation
        if "scheduled_to_be_resident_on" in changed:
            (self.scheduled.discard if changed["scheduled_to_be_resident_on"] == NULL else self.scheduled.add)(ref)
        for name, parent, members in CHILDREN.get(cls, ()):
            if name in changed:
                self._link(parent, old[name], members, ref, add=False)
                self._link(parent, changed[name], members, ref, add=True)
        if "groups" in changed:
            for group in old.get("groups", ()):
                self._link("VM_group", group, "VMs", ref, add=False)
            for group in changed["groups"]:
                self._link("VM_group", group, "VMs", ref, add=True)
        self.tell(cls, ref)

    def delete(self, cls: str, ref: str) -> None:
        """Remove an object; a missing one is fine."""
        old = self.tables[cls].get(ref)
        if old is None:
            return
        self.on_write()
        self.generation += 1
        del self.tables[cls][ref]
        stamps = self.stamps[cls]
        stamps.deleted.append((self.generation, stamps.created.pop(ref, self.base), ref))
        stamps.modified.pop(ref, None)
        if len(stamps.deleted) > DELETED_KEPT:
            del stamps.deleted[: DELETED_KEPT // 2]
        for name, parent, members in CHILDREN.get(cls, ()):
            self._link(parent, old[name], members, ref, add=False)
        for group in old.get("groups", ()):
            self._link("VM_group", group, "VMs", ref, add=False)
        self.tell(cls, ref)

    def tell(self, cls: str, ref: str) -> None:
        """Let everybody know who listens for changes."""
        for listener in self.listeners:
            listener(cls, ref)

    def touch(self, cls: str, ref: str) -> None:
        """Count as changed (event.inject)."""
        self.get(cls, ref)
        self.generation += 1
        self.stamps[cls].modified[ref] = self.generation
        self.tell(cls, ref)

    def _link(self, parent: str, target: str, members: str, ref: str, *, add: bool) -> None:
        record = self.tables[parent].get(target)
        if target == NULL or record is None:
            return
        if add == (ref in record[members]):
            return
        kept = [*record[members], ref] if add else [r for r in record[members] if r != ref]
        self.tables[parent][target] = {**record, members: kept}
        self.stamps[parent].modified[target] = self.generation
        self.tell(parent, target)

    def created_at(self, cls: str, ref: str) -> int:
        """Generation at which the object came into being."""
        return self.stamps[cls].created.get(ref, self.base)

    def modified_at(self, cls: str, ref: str) -> int:
        """Generation of its last change."""
        return self.stamps[cls].modified.get(ref, self.base)


def relink(tables: dict[str, dict[str, Record]]) -> None:
    """Regenerate every set that XAPI derives from the other side; `tables` and its records are changed in place."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for cls, links in CHILDREN.items():
        for ref, record in tables.get(cls, {}).items():
            for name, parent, members in links:
                found.setdefault((parent, record[name], members), []).append(ref)
    touched = {(parent, members) for links in CHILDREN.values() for _, parent, members in links}
    for parent, members in touched:
        for ref, record in tables.get(parent, {}).items():
            record[members] = found.get((parent, ref, members), [])


def refs_where(table: Mapping[str, Record], **wanted: Any) -> Iterable[str]:
    """Refs of the records whose fields have these values."""
    return [ref for ref, r in table.items() if all(r.get(k) == v for k, v in wanted.items())]
