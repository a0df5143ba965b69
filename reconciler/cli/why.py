"""xenrec why: what is wished of a thing, what is, what was considered, and what comes next."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reconciler import rooms
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
from reconciler.core.plan import Plan
from reconciler.core.wanted import Wanted
from reconciler.core.why import Because, Ground, UnknownName, ground, parse
from reconciler.core.why_host import why_host, why_master, why_sr
from reconciler.core.why_vm import why_vm
from reconciler.core.words import names
from reconciler.views.why import why_json, why_text


class WhyFormat(StrEnum):
    """How an answer is written."""

    TEXT = "text"
    JSON = "json"


def why(
    path: PathArgument,
    what: Annotated[str, typer.Argument(metavar="WHAT", help="vm/NAME, host/NAME, sr/NAME (or a uuid), or master.")],
    form: Annotated[WhyFormat, typer.Option("--format", help="text or json.")] = WhyFormat.TEXT,
    snapshot: Annotated[
        Path | None, typer.Option("--snapshot", help="Answer from a captured file, with no network.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Every alternative, however many.")] = False,
    repo: RepoOption = None,
    revision: RevisionOption = "HEAD",
    state_dir: StateOption = None,
) -> None:
    """Why a VM, a host, an SR or the master is as it is: wished, is, considered, and the next command.

    Nothing is changed. Exit: 0 answered, 64 no such thing, 65 manifest, 69 unreachable, 77 login.
    """
    try:
        with troubles():
            wanted = one(path, repo, revision)
            plan, known = _known(wanted, snapshot, state_dir)
        answer = _answer(known, what, wanted)
    except Stop as stop:
        fail(stop)
    if form is WhyFormat.JSON:
        say(why_json(wanted.name, answer))
    else:
        s = screen()
        say(why_text(answer, plan, width=s.width, ascii=s.ascii, color=s.color, verbose=verbose))


def _known(wanted: Wanted, snapshot: Path | None, state_dir: Path | None) -> tuple[Plan, Ground]:
    if snapshot is not None:
        plan, taken = rooms.plan_capture(wanted, snapshot, failback=False, attended=True)
        return plan, ground(wanted, plan, taken.survey, taken.state, None)
    rec = reconciler(wanted, state_dir)
    look = rec.observe()
    plan = rec.plan_of(look)
    return plan, ground(wanted, plan, look.survey, look.state, look.last_known, look.copies)


def _answer(known: Ground, what: str, wanted: Wanted) -> Because:
    try:
        kind, name = parse(what)
        if kind == "vm":
            return why_vm(known, name)
        if kind == "host":
            return why_host(known, name)
        return why_sr(known, name) if kind == "sr" else why_master(known)
    except UnknownName as unknown:
        near = f"xenrec why {wanted.argument} {shlex.quote(unknown.near[0])}" if unknown.near else ""
        like = f"; there is {names(unknown.near)}" if len(unknown.near) > 1 else ""
        raise Stop(Exit.USAGE, unknown.what + like, near) from None
