"""xenrec drill: what would happen if a host died now."""

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
    plan_code,
    reconciler,
    say,
    screen,
    troubles,
)
from reconciler.cli.exits import Exit
from reconciler.core.drill import drill as run_drill
from reconciler.views.drill import drill_json, drill_text
from reconciler.views.text import plan_text


class DrillFormat(StrEnum):
    """How a drill is written."""

    TEXT = "text"
    JSON = "json"


def drill(
    path: PathArgument,
    hosts: Annotated[int, typer.Option("--hosts", min=1, max=4, help="Also lose sets of up to so many hosts.")] = 1,
    form: Annotated[DrillFormat, typer.Option("--format", help="text or json.")] = DrillFormat.TEXT,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also the losses that the pool survives.")] = False,
    repo: RepoOption = None,
    revision: RevisionOption = "HEAD",
    state_dir: StateOption = None,
) -> None:
    """What would happen if a host died now: which VMs restart where, which can't and why, who becomes master.

    Nothing is changed. Exit: 0 every loss is survived, 3 not, 69 unreachable, 77 login.
    """
    s = screen()
    try:
        with troubles():
            wanted = one(path, repo, revision)
            rec = reconciler(wanted, state_dir)
            look = rec.observe()
            plan = rec.plan_of(look)
    except Stop as stop:
        fail(stop)
    if look.state is None:
        say(plan_text(plan, width=s.width, ascii=s.ascii, color=s.color))
        raise typer.Exit(plan_code(plan) or Exit.PARTIAL)
    found = run_drill(wanted, look.survey, plan.diagnosis, look.state, depth=hosts)
    if form is DrillFormat.JSON:
        say(drill_json(wanted.name, found))
    else:
        say(drill_text(wanted.name, found, width=s.width, ascii=s.ascii, color=s.color, verbose=verbose))
    raise typer.Exit(Exit.DONE if all(c.survives for c in found.cases) else Exit.PARTIAL)
