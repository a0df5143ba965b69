"""A pool as it was read, in a file: for `capture`, for planning without a network, and as the last known pool that a
forecast is made from when the master is gone."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from reconciler.core.evidence import Survey
from reconciler.core.model import PoolState

FORMAT_VERSION = 1
MAX_SIZE = 1024 * 1024 * 1024
"""Bytes: 5,000 VMs are some 15 MB."""
HIDDEN = "(not saved)"
_SECRET_KEY = re.compile(r"passw|secret|token|credential|private|api.?key", re.IGNORECASE)
_T = TypeVar("_T")


class SnapshotError(Exception):
    """A snapshot file that can't be used: which, why, and what to do."""


@dataclass(frozen=True)
class Snapshot:
    """What was learnt of one pool at one time. `name` is the manifest's; `taken_at` UTC seconds.

    `survey` and `state` are None where there was none: a pool without a master has a survey only.
    """

    name: str
    taken_at: float
    survey: Survey | None = None
    state: PoolState | None = None
    format_version: int = FORMAT_VERSION


_ADAPTER = TypeAdapter(Snapshot)
_END = b',"format_version":%d}\n' % FORMAT_VERSION


def save(snapshot: Snapshot, path: Path) -> None:
    """Write it whole or not at all, readable by its owner only; a crash leaves the old file. Raises SnapshotError.

    Values of other_config whose key looks like a secret's are left out: tools keep passwords there.
    """
    if snapshot.state is not None:
        snapshot = replace(snapshot, state=_without_secrets(snapshot.state))
    data = _ADAPTER.dump_json(snapshot, indent=None)
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # mkstemp makes the file 0600; in the same folder, so that the rename is one step.
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise SnapshotError(
            f"{path}: the snapshot can't be written: {error.strerror}. Free or mount that disk (df -h {path.parent}), "
            "or write it elsewhere"
        ) from None


def load(path: Path) -> Snapshot:
    """Read a snapshot; raises SnapshotError with what is wrong and what to do."""
    again = "Take a new one with: xenrec capture MANIFEST FILE"
    try:
        if path.stat().st_size > MAX_SIZE:
            raise SnapshotError(f"{path}: larger than any snapshot ({MAX_SIZE} bytes). {again}")
        data = path.read_bytes()
    except OSError as error:
        raise SnapshotError(f"{path}: the snapshot cannot be read: {error.strerror}. {again}") from None
    try:
        # What we wrote ends so, and the large file need not be parsed twice.
        head = {"format_version": FORMAT_VERSION} if data.endswith(_END) else json.loads(data)
    except (ValueError, RecursionError):
        raise SnapshotError(f"{path}: not a snapshot: it is not JSON, or was cut short. {again}") from None
    version = head.get("format_version") if isinstance(head, dict) else None
    if version is None:
        raise SnapshotError(f"{path}: not a snapshot: it has no format_version. {again}")
    if version != FORMAT_VERSION:
        raise SnapshotError(
            f"{path}: its format_version is {version!r} and this release reads {FORMAT_VERSION}. "
            f"Read it with the release that wrote it. {again}"
        )
    try:
        return _ADAPTER.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise SnapshotError(f"{path}: not a snapshot: it is not JSON, or was cut short. {again}") from None
        place = ".".join(str(p) for p in first["loc"])
        raise SnapshotError(f"{path}: damaged at {place}: {first['msg']}. {again}") from None


def _hidden(other_config: Mapping[str, str]) -> dict[str, str]:
    return {k: HIDDEN if _SECRET_KEY.search(k) else v for k, v in other_config.items()}


def _without_secrets(state: PoolState) -> PoolState:
    def each(table: Mapping[str, _T]) -> dict[str, _T]:
        return {ref: _hide(thing) for ref, thing in table.items()}

    return replace(
        state, pool=_hide(state.pool), hosts=each(state.hosts), vms=each(state.vms), networks=each(state.networks)
    )


def _hide(thing: _T) -> _T:
    record: Any = thing
    if any(_SECRET_KEY.search(k) for k in record.other_config):
        record = replace(record, other_config=_hidden(record.other_config))
    hidden: _T = record
    return hidden
