"""xenrec history: the runs that this machine made on a pool, and the time line of one."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from reconciler.cli.common import (
    PathArgument,
    RepoOption,
    RevisionOption,
    StateOption,
    Stop,
    fail,
    one,
    reconciler,
    say,
    screen,
    troubles,
)
from reconciler.cli.exits import Exit
from reconciler.core.history import summary
from reconciler.views.terminal_history import history_json, history_text, run_json, run_text


class HistoryFormat(StrEnum):
    """How the history is written."""

    TEXT = "text"
    JSON = "json"


def history(
    path: PathArgument,
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Show this run line by line; or: last.")] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="How many runs to list.")] = 20,
    form: Annotated[HistoryFormat, typer.Option("--format", help="text or json.")] = HistoryFormat.TEXT,
    repo: RepoOption = None,
    revision: RevisionOption = "HEAD",
    state_dir: StateOption = None,
) -> None:
    """Who ran what on a pool, when, and what came of it; with RUN its time line. Nothing is contacted.

    A run that was killed is told by what it had begun.
    """
    s = screen()
    try:
        with troubles():
            wanted = one(path, repo, revision, state_dir)
            path = wanted.argument
            folder = reconciler(wanted, state_dir).folder
            known = folder.runs()
            if run is None:
                runs = [summary(name, folder.lines(name)) for name in known[:most]]
                told = history_json(wanted.name, runs)
                if form is HistoryFormat.TEXT:
                    told = history_text(wanted.name, runs, width=s.width, ascii=s.ascii, color=s.color)
            else:
                name = known[0] if run == "last" and known else run
                if name not in known:
                    raise Stop(Exit.USAGE, f"no run {run} is recorded here", f"xenrec history {path}")
                lines = folder.lines(name)
                short = summary(name, lines)
                told = run_json(short, lines)
                if form is HistoryFormat.TEXT:
                    told = run_text(short, lines, width=s.width, ascii=s.ascii, color=s.color)
    except Stop as stop:
        fail(stop)
    say(told)
