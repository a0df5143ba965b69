"""xenrec check: does a saved plan keep every rule, on the pool as it is now?"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reconciler import rooms
from reconciler.cli.apply import manifest_of
from reconciler.cli.common import (
    RepoOption,
    SignedOption,
    SignersOption,
    StateOption,
    Stop,
    fail,
    reconciler,
    say,
    screen,
    troubles,
    wanted_of,
)
from reconciler.cli.exits import Exit
from reconciler.cli.plan import read_file
from reconciler.core.plan import Plan
from reconciler.core.wanted import Wanted
from reconciler.views.check import Checked, check_json, check_text
from reconciler.views.saved_plan import load_plan, moved_facts


class CheckFormat(StrEnum):
    """How the findings are written."""

    TEXT = "text"
    JSON = "json"


def check(
    file: Annotated[Path, typer.Argument(metavar="PLAN", help="A plan saved with plan --out.")],
    snapshot: Annotated[
        Path | None, typer.Option("--snapshot", help="Against a captured file, with no network.")
    ] = None,
    form: Annotated[CheckFormat, typer.Option("--format", help="text or json.")] = CheckFormat.TEXT,
    repo: RepoOption = None,
    signed: SignedOption = False,
    signers: SignersOption = None,
    state_dir: StateOption = None,
) -> None:
    """Replay a saved plan, step by step, against the pool as it is: does any step break a rule?

    By code that shares nothing with the planner. Nothing is changed. Exit: 0 it keeps every rule, 1 it breaks one, 69
    unreachable, 77 login.
    """
    try:
        with troubles():
            saved = load_plan(read_file(file), str(file))
            wanted = wanted_of(manifest_of(saved, repo, signed=signed, signers=signers)[0])
            found = _against(wanted, saved, snapshot, state_dir)
    except Stop as stop:
        fail(stop)
    if form is CheckFormat.JSON:
        say(check_json(saved, found))
    else:
        s = screen()
        say(check_text(str(file), saved, found, width=s.width, ascii=s.ascii, color=s.color))
    raise typer.Exit(Exit.ERROR if found.broken else Exit.DONE)


def _against(wanted: Wanted, saved: Plan, snapshot: Path | None, state_dir: Path | None) -> Checked:
    if snapshot is not None:
        fresh, taken = rooms.plan_capture(wanted, snapshot, failback=saved.failback, attended=True)
        broken = rooms.check_capture(wanted, saved, taken)
        return Checked(broken, moved_facts(saved, fresh), taken.at, known=taken.state is not None)
    rec = reconciler(wanted, state_dir, failback=saved.failback)
    look = rec.observe()
    fresh = rec.plan_of(look)
    return Checked(
        rec.broken(saved, fresh.certificates), moved_facts(saved, fresh), look.at, known=look.state is not None
    )
