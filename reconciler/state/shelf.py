"""One JSON file of lists of records, read and changed by several processes. Whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from reconciler.state.disk import (
    StateError,
    damaged,
    give_to_owner_of,
    make_folder,
    opened_by_its_owner,
    read_json,
    write_json,
)

FORMAT_VERSION = 1
T = TypeVar("T")


class Shelf:
    """The file `NAME.json` of a folder, guarded by `NAME.lock`. Records are dataclasses of texts, numbers and truths.
    Readers raise StateError for what can't be believed, and what is not there is empty. Writers are durable."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._path = folder / f"{name}.json"

    def read(self, name: str, kind: type[T]) -> tuple[T, ...]:
        """The records of one list."""
        return tuple(self.listed(read_json(self._path, FORMAT_VERSION) or {}, name, kind))

    def keep(self, name: str, kind: type[T], records: Sequence[T]) -> None:
        """These records of one list and no others; nothing is written where nothing changed."""
        if tuple(records) == self.read(name, kind):
            return
        with self.content() as content:
            content[name] = [asdict(r) for r in records]  # type: ignore[call-overload]

    def listed(self, content: Mapping[str, Any], name: str, kind: type[T]) -> list[T]:
        """The same, of what was read."""
        listed = content.get(name, [])
        if not isinstance(listed, list):
            raise damaged(self._path, f"its {name} are not a list")
        return [self._one(record, kind) for record in listed]

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def _one(self, record: object, kind: type[T]) -> T:
        if not isinstance(record, dict):
            raise damaged(self._path, f"a {kind.__name__.lower()} in it is not an object")
        values: dict[str, Any] = {}
        for field in fields(kind):  # type: ignore[arg-type]
            if field.name not in record and field.default is not MISSING:
                continue  # written before there was such a field
            value = record.get(field.name)
            optional = value is None and "None" in str(field.type)
            if str(field.type).startswith("float"):
                right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            elif field.type == "bool":
                right = isinstance(value, bool)
            else:
                right = isinstance(value, str)
            if not (right or optional):
                raise damaged(self._path, f"the {field.name} of a {kind.__name__.lower()} is missing or wrong")
            values[field.name] = value
        return kind(**values)

    @contextlib.contextmanager
    def content(self) -> Iterator[dict[str, Any]]:
        """Read, change, write back, alone: a person pauses while a run goes on."""
        make_folder(self._folder)
        guard = self._folder / f"{self._name}.lock"
        try:
            descriptor = os.open(guard, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            what = f"{guard} can't be opened: {error.strerror or error}"
            raise StateError(what, opened_by_its_owner(error, guard)) from None
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
