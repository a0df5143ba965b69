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
from reconciler.core.wanted import Wanted
from reconciler.views.drill import drill_json, drill_text
from reconciler.views.text import plan_text


def command(wanted: Wanted) -> str:
    """What to type for the whole drill of a pool."""
    return f"xenrec drill {wanted.argument}"


class DrillFormat(StrEnum):
    """How a drill is written."""

    TEXT = "text"
    JSON = "json"


def drill(
    path: PathArgument,
    hosts: Annotated[
        int | None,
        typer.Option(
            "--hosts",
            min=1,
            max=4,
            metavar="N",
            help="Sets of up to N hosts; unset: policy.placement.reserve, or 1.",
        ),
    ] = None,
    form: Annotated[DrillFormat, typer.Option("--format", help="text or json.")] = DrillFormat.TEXT,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also the losses that the pool survives.")] = False,
    acknowledge: Annotated[
        bool, typer.Option("--acknowledge", help="Take note of what was found: it is no longer told as news.")
    ] = False,
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
            drilled = rec.drilled(look, plan, depth=hosts or 0, taken=acknowledge)
    except Stop as stop:
        fail(stop)
    if drilled is None:
        say(plan_text(plan, width=s.width, ascii=s.ascii, color=s.color))
        raise typer.Exit(plan_code(plan) or Exit.PARTIAL)
    found, told = drilled
    if form is DrillFormat.JSON:
        say(drill_json(wanted.name, found, told))
    else:
        say(
            drill_text(
                wanted.name,
                found,
                told,
                width=s.width,
                ascii=s.ascii,
                color=s.color,
                verbose=verbose,
                acknowledge="" if acknowledge else f"{command(wanted)} --acknowledge",
            )
        )
    raise typer.Exit(Exit.DONE if all(c.survives for c in found.cases) else Exit.PARTIAL)
