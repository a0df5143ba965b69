"""The journal of a run: JSON lines, each on disk before `write` returns, so that a killed run can be read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from reconciler.state.disk import StateError, give_to_owner_of, make_folder, sync_folder


class Journal:
    """Append-only lines of one run. The file is made by the first line: a run with nothing to do leaves none.

    Times are the caller's fields. Secrets must not be among the fields; of dataclasses only what their repr shows is
    written. Not for several threads.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._torn = False

    def write(self, kind: str, **fields: object) -> None:
        """Append one line; it is on disk when this returns. Raises StateError: then the line may be torn or absent."""
        line = (
            json.dumps({"kind": kind, **fields}, default=_plain, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        )
        try:
            if self._descriptor is None:
                self._descriptor = self._open()
            if self._torn:
                line = b"\n" + line
            self._torn = True
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            os.fdatasync(self._descriptor)
            self._torn = False
        except StateError:
            raise
        except OSError as error:
            raise StateError(
                f"the journal {self.path} can't be written: {error.strerror or error}",
                f"Free or mount that disk (df -h {self.path.parent}), or point XENREC_STATE_DIR elsewhere",
            ) from None

    def close(self) -> None:
        """Close the file; a later `write` opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        make_folder(self.path.parent)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        give_to_owner_of(self.path.parent, self.path)
        sync_folder(self.path.parent)
        size = os.fstat(descriptor).st_size
        # A run that was killed in the middle of a line and carries on must not glue its next line to the torn one.
        self._torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        return descriptor


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Every line of a journal. A torn last line (the run was killed while writing it) is left out; a damaged line
    elsewhere stands as {"kind": "damaged", "line": its number}. Raises StateError when the file can't be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StateError(
            f"the journal {path} can't be read: {error.strerror or error}", f"ls -l {path.parent}"
        ) from None
    lines = content.split(b"\n")
    found: list[dict[str, Any]] = []
    for number, line in enumerate(lines[:-1], 1):  # what follows the last line break is torn, or nothing
        if not line:
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        found.append(value if isinstance(value, dict) else {"kind": "damaged", "line": number})
    return found


def _plain(value: object) -> object:
    """What JSON can say for what it can't: shown fields of dataclasses, sorted sets, texts of paths, else a type."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value) if field.repr}
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Path):
        return str(value)
    return f"<{type(value).__name__}>"
