"""Past runs for a person at a terminal: all of a pool in a table, or one with its time line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.core.history import Run, timeline
from reconciler.views.layout import Page
from reconciler.views.words import utc

_HEADS = ("RUN", "WHEN", "BY", "RESULT")


def history_text(pool: str, runs: Sequence[Run], *, width: int = 80, ascii: bool = False, color: bool = False) -> str:
    """One row a run, the latest first."""
    page = Page(width=width, ascii=ascii, color=color)
    if not runs:
        page.line(f"No run on pool {pool} is recorded in this state directory.")
        return page.render()
    rows = [(run.run, utc(run.at) if run.at else "?", _by(run), run.result) for run in runs]
    widths = tuple(max(page.measure(row[n]) for row in (*rows, _HEADS)) for n in range(3))
    if sum(widths) + 30 <= page.width:
        page.columns(*((head, "bold") for head in _HEADS), widths=widths, indent=0)
        for row in rows:
            page.columns(*row, widths=widths, indent=0)
        return page.render()
    for run, when, by, result in rows:
        page.line((run, "bold"), f"  {when}, {by}")
        page.line(result, indent=4)
    return page.render()


def run_text(
    run: Run, lines: Sequence[Mapping[str, Any]], *, width: int = 80, ascii: bool = False, color: bool = False
) -> str:
    """One run: who, from what, on what proof, then every line of its journal."""
    page = Page(width=width, ascii=ascii, color=color)
    page.line((f"Run {run.run}", "bold"))
    told = (
        ("when", utc(run.at) if run.at else "?"),
        ("by", _by(run)),
        ("version", run.version),
        ("manifest", run.source + (f", commit {run.commit}" if run.commit else "")),
        ("result", run.result),
    )
    for name, value in told:
        if value:
            page.columns((name, "bold"), value, widths=(8,))
    for proof in run.certificates:
        page.columns(("proof", "bold"), proof, widths=(8,))
    if run.damaged:
        page.columns(("damaged", "bold"), f"{run.damaged} of its lines can't be read", widths=(8,))
    page.blank()
    for at, what in timeline(lines):
        since = f"+{max(at - run.at, 0.0):.1f} s" if at is not None and run.at else ""
        page.columns(since, what, widths=(10,))
    return page.render()


def history_json(pool: str, runs: Sequence[Run]) -> str:
    """Every run, for machines."""
    told = [
        {
            "run": run.run,
            "at": run.at,
            "until": run.until,
            "by": run.by,
            "command": run.command or "apply",
            "version": run.version,
            "source": run.source,
            "commit": run.commit or None,
            "attended": run.attended,
            "results": dict(run.results),
            "final": run.final or None,
            "stopped": run.stopped or None,
            "ended": run.ended,
            "under_way": list(run.under_way),
            "certificates": list(run.certificates),
        }
        for run in runs
    ]
    return json.dumps({"format": "xenrec-history", "format_version": 1, "pool": pool, "runs": told}, indent=2)


def run_json(run: Run, lines: Sequence[Mapping[str, Any]]) -> str:
    """One run's journal as it stands, for machines."""
    told = {"format": "xenrec-journal", "format_version": 1, "run": run.run, "lines": list(lines)}
    return json.dumps(told, indent=2, default=str)


def _by(run: Run) -> str:
    return (run.by or "?") + ("" if run.attended else " (unattended)")
