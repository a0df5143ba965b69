"""What later runs must know of a pool besides proofs: pauses, obligations, and VMs found stopped. One file."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from reconciler.core.limits import Pause
from reconciler.core.obligations import Obligation
from reconciler.core.stopped import Stopped
from reconciler.state.disk import StateError, damaged, give_to_owner_of, make_folder, read_json, write_json

FORMAT_VERSION = 1
SETTLED_KEPT = 100
T = TypeVar("T", Pause, Obligation, Stopped)


class Memory:
    """Readers raise StateError for what can't be believed: a pause or an obligation that is lost would be harm. What is
    not there is empty. Writers are durable when they return."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "memory.json"

    # --- pauses ---------------------------------------------------------------------------------------------------

    def pauses(self, *, now: float | None = None) -> tuple[Pause, ...]:
        """Every pause, oldest first; with `now`, those that hold."""
        return tuple(p for p in self._read("pauses", Pause) if now is None or p.holds(now))

    def pause(self, pause: Pause) -> None:
        """Remember a pause; it replaces one for the same VM or pool. Pauses that are over are dropped."""
        with self._content() as content:
            kept = [
                p
                for p in self._listed(content, "pauses", Pause)
                if (p.vm, p.vm_uuid) != (pause.vm, pause.vm_uuid) and p.holds(pause.since)
            ]
            content["pauses"] = [asdict(p) for p in (*kept, pause)]

    def unpause(self, vm: str | None, *, everything: bool = False) -> tuple[Pause, ...]:
        """End the pause of a VM (by the name or uuid), of the pool (None), or every one; those that were ended."""
        if not self._path.exists():
            return ()
        with self._content() as content:
            found = self._listed(content, "pauses", Pause)
            gone = [p for p in found if everything or (vm in (p.vm, p.vm_uuid) if vm else p.vm is None)]
            content["pauses"] = [asdict(p) for p in found if p not in gone]
        return tuple(gone)

    # --- obligations ----------------------------------------------------------------------------------------------

    def obligations(self) -> tuple[Obligation, ...]:
        """Those that are open, oldest first."""
        return self._read("obligations", Obligation)

    def oblige(self, obligation: Obligation) -> None:
        """Remember it; it replaces an older one about the same host."""
        with self._content() as content:
            kept = [o for o in self._listed(content, "obligations", Obligation) if o.host != obligation.host]
            content["obligations"] = [asdict(o) for o in (*kept, obligation)]

    def settle(self, obligation: Obligation, why: str, *, at: float) -> None:
        """It was met: kept aside with the reason and the time (UTC seconds)."""
        with self._content() as content:
            found = self._listed(content, "obligations", Obligation)
            content["obligations"] = [asdict(o) for o in found if o != obligation]
            aside = content.get("settled")
            aside = aside if isinstance(aside, list) else []
            if obligation in found:
                aside.append({"obligation": asdict(obligation), "why": why, "at": at})
            content["settled"] = aside[-SETTLED_KEPT:]

    # --- stops ----------------------------------------------------------------------------------------------------

    def stops(self) -> tuple[Stopped, ...]:
        """VMs that were found stopped."""
        return self._read("stops", Stopped)

    def keep_stops(self, stops: Sequence[Stopped]) -> None:
        """These and no others; nothing is written where nothing changed."""
        if tuple(stops) == self.stops():
            return
        with self._content() as content:
            content["stops"] = [asdict(s) for s in stops]

    # --- the file -------------------------------------------------------------------------------------------------

    def _read(self, name: str, kind: type[T]) -> tuple[T, ...]:
        return tuple(self._listed(read_json(self._path, FORMAT_VERSION) or {}, name, kind))

    def _listed(self, content: Mapping[str, Any], name: str, kind: type[T]) -> list[T]:
        listed = content.get(name, [])
        if not isinstance(listed, list):
            raise damaged(self._path, f"its {name} are not a list")
        return [self._one(record, kind) for record in listed]

    def _one(self, record: object, kind: type[T]) -> T:
        if not isinstance(record, dict):
            raise damaged(self._path, f"a {kind.__name__.lower()} in it is not an object")
        values: dict[str, Any] = {}
        for field in fields(kind):
            value = record.get(field.name)
            if field.type == "float":
                right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            else:
                right = isinstance(value, str) or (value is None and "None" in str(field.type))
            if not right:
                raise damaged(self._path, f"the {field.name} of a {kind.__name__.lower()} is missing or wrong")
            values[field.name] = value
        return kind(**values)

    @contextlib.contextmanager
    def _content(self) -> Iterator[dict[str, Any]]:
        """Read, change, write back, alone: a person pauses while a run goes on."""
        make_folder(self._folder)
        guard = self._folder / "memory.lock"
        try:
            descriptor = os.open(guard, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"{guard} can't be opened: {error.strerror or error}", f"ls -l {self._folder}") from None
        try:
            give_to_owner_of(self._folder, guard)
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # held for one read and one write
            content = read_json(self._path, FORMAT_VERSION) or {"format_version": FORMAT_VERSION}
            before = repr(content)
            yield content
            if repr(content) != before:
                write_json(self._path, content)
        finally:
            os.close(descriptor)
