"""The rolling maintenance that is under way, on disk from before each of its steps."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from reconciler.core.roll import Phase, Roll
from reconciler.state.disk import damaged, read_json, remove, write_json

FORMAT_VERSION = 1


class RollFile:
    """At most one roll for a pool. Writers are durable when they return and raise StateError (an OSError)."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "roll.json"

    def read(self) -> Roll | None:
        """The roll that is under way. A file that can't be believed is an error and never None: None would allow the
        command to be run again. Raises StateError."""
        content = read_json(self._path, FORMAT_VERSION)
        if content is None:
            return None
        try:
            return _roll(content["roll"])
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(self._path, f"its roll can't be read: {error}") from None

    def write(self, roll: Roll) -> None:
        """Remember how far it is."""
        write_json(self._path, {"format_version": FORMAT_VERSION, "roll": asdict(roll)})

    def clear(self) -> None:
        """It is over."""
        remove(self._path)


def _roll(told: dict[str, Any]) -> Roll:
    known = {**told, "phase": Phase(told["phase"])}
    for name in ("hosts", "command", "done"):
        if not isinstance(told[name], list) or not all(isinstance(one, str) for one in told[name]):
            raise ValueError(f"its {name} are not a list of texts")
        known[name] = tuple(told[name])
    for name in ("begun_at", "deadline", "patience"):
        known[name] = float(told[name])
    if not isinstance(told["reboots"], bool):
        raise TypeError("reboots is neither true nor false")
    return Roll(**known)
