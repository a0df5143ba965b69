"""What this machine remembers about the members' copies of the pool database: changes, refreshes, gaps. One file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reconciler.core.copies import NOTHING, Change, CopyMemory, Gap, Refreshed
from reconciler.state.disk import StateError, damaged, read_json
from reconciler.state.shelf import FORMAT_VERSION, Shelf

log = logging.getLogger(__name__)


class Copies:
    """A file that can't be believed counts as empty, and says so in the log: what it holds only bounds losses, and
    without it every bound is wider. Writing then begins it anew."""

    def __init__(self, folder: Path) -> None:
        self._shelf = Shelf(folder, "copies")

    def load(self) -> CopyMemory:
        """What is remembered."""
        try:
            content = read_json(self._shelf.path, FORMAT_VERSION) or {}
            since, failed = (self._time(content, name) for name in ("since", "failed"))
            return CopyMemory(
                since,
                tuple(self._shelf.listed(content, "changes", Change)),
                tuple(self._shelf.listed(content, "refreshed", Refreshed)),
                tuple(self._shelf.listed(content, "gaps", Gap)),
                failed,
            )
        except StateError as error:
            log.warning("what changed in the pool is not remembered: %s", error)
            return NOTHING

    def _time(self, content: Mapping[str, Any], name: str) -> float | None:
        value = content.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise damaged(self._shelf.path, f"its {name} is not a time")
        return value

    def change(self, how: Callable[[CopyMemory], CopyMemory]) -> CopyMemory:
        """Remember what `how` makes of what is remembered; written only where that differs. Raises StateError."""
        before = self.load()
        after = how(before)
        if after == before:
            return before
        if before is NOTHING and self._shelf.path.exists():
            self._shelf.path.replace(self._shelf.path.with_suffix(".json.damaged"))
        with self._shelf.content() as content:
            after = how(self.load())
            content["since"], content["failed"] = after.since, after.failed
            content["changes"] = [asdict(c) for c in after.changes]
            content["refreshed"] = [asdict(r) for r in after.refreshed]
            content["gaps"] = [asdict(g) for g in after.gaps]
        return after
