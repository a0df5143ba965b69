"""How long actions on VMs took in earlier runs, for forecasts. Nothing rests on it: what can't be read is nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from reconciler.core.expected import Took
from reconciler.state.disk import StateError
from reconciler.state.shelf import Shelf

log = logging.getLogger(__name__)


class Durations:
    """Reading raises nothing; writing raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._shelf = Shelf(folder, "durations")

    def load(self) -> tuple[Took, ...]:
        """What is known."""
        try:
            return self._shelf.read("took", Took)
        except (StateError, OSError) as error:
            log.warning("how long things took can't be read: %s", error)
            return ()

    def keep(self, took: Sequence[Took]) -> None:
        """These and no others; nothing is written where nothing changed."""
        if tuple(took) == self.load():
            return
        with self._shelf.content() as content:
            content["took"] = [asdict(t) for t in took]
