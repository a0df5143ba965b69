"""Progress of an apply on stderr: a live board on a terminal, a line per event in a pipe, nothing when quiet."""

from __future__ import annotations

import sys
import time
from contextlib import suppress

from rich.console import Console, RenderableType
from rich.live import Live

from reconciler.cli.common import Screen, note
from reconciler.core.plan import Plan
from reconciler.pipeline import Event
from reconciler.views import board as view
from reconciler.views.text import progress_line


class _Now:
    """Drawn anew at every refresh, so that the seconds run."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def __rich__(self) -> RenderableType:
        return self._board.render()


class Board:
    """Shows events as they come. A pipe that nobody reads, a log on a full disk or a terminal that is gone ends the
    showing, never the run."""

    def __init__(self, s: Screen, *, quiet: bool) -> None:
        self._screen = s
        self._quiet = quiet
        self._state: view.Board | None = None
        self._live: Live | None = None
        self._console = Console(stderr=True, width=s.width, no_color=not s.color, highlight=False)

    def begin(self, plan: Plan) -> None:
        """Before the first action."""
        self._state = view.Board(plan.pool, plan.actions, time.time())
        if not self._quiet and sys.stderr.isatty():
            self._live = Live(_Now(self), console=self._console, refresh_per_second=4, transient=True)
            self._live.start()

    def render(self) -> RenderableType:
        """The board as it is now."""
        if self._state is None:
            return ""
        height = max(5, self._console.height - 2)
        return view.board(self._state, time.time(), width=self._screen.width, height=height, ascii=self._screen.ascii)

    def event(self, event: Event) -> None:
        """One thing that happened."""
        if self._state is None or self._quiet:
            return
        self._state = self._state.told(event)
        if self._live is None:
            try:
                note(progress_line(event, started_at=self._state.started_at, ascii=self._screen.ascii))
            except OSError:
                self._quiet = True

    def end(self) -> None:
        """After the last action, and before asking a person something."""
        live, self._live = self._live, None
        if live is not None:
            with suppress(OSError):
                live.stop()
