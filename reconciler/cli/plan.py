"""xenrec validate, schema, plan and show."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reconciler import rooms
from reconciler.cli.common import (
    MaxActionsOption,
    PathArgument,
    RepoOption,
    RevisionOption,
    SignedOption,
    SignersOption,
    StateOption,
    Stop,
    YieldOption,
    fail,
    load,
    note,
    plan_code,
    reconciler,
    say,
    screen,
    stop_words,
    tell,
    troubles,
    wanted_of,
    yielding,
)
from reconciler.cli.exits import Exit, worst
from reconciler.core.drill_cases import Drill
from reconciler.core.drill_news import News
from reconciler.core.model import PoolState
from reconciler.core.plan import Plan, Status
from reconciler.core.wanted import Wanted
from reconciler.rooms import Loaded, Severity
from reconciler.views.drill import news_document, news_markdown, news_text
from reconciler.views.json_view import plan_json
from reconciler.views.markdown import plan_markdown
from reconciler.views.reports import github_annotation, gitlab_report
from reconciler.views.saved_plan import dump_plan, load_plan
from reconciler.views.text import plan_text
from reconciler.views.xe import xe_runbook


class Format(StrEnum):
    """How a plan is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    XE = "xe"
    GITLAB = "gitlab"


class ProblemFormat(StrEnum):
    """How problems of a manifest are written."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def show_plan(
    plan: Plan,
    form: Format,
    *,
    wanted: Wanted | None = None,
    state: PoolState | None = None,
    drilled: tuple[Drill, News] | None = None,
    verbose: bool = False,
    out: Path | None = None,
    most: int | None = None,
) -> str:
    """A plan in one of its views, with the drill beside it, if there was one. The runbook needs the manifest, for
    addresses and agents. `out`: where it was saved, so that this is what is applied; `most`: --max-actions."""
    if form is Format.JSON:
        return plan_json(plan, news_document(*drilled) if drilled else None)
    if form is Format.MARKDOWN:
        return plan_markdown(plan) + (f"\n{news_markdown(*drilled)}" if drilled else "")
    if form is Format.GITLAB:
        return gitlab_report(plan)
    if form is Format.XE:
        if wanted is None:
            raise Stop(Exit.USAGE, "--format xe needs the manifest", "xenrec plan MANIFEST --format xe")
        return xe_runbook(plan, wanted, state)
    s = screen()
    typed = f"xenrec apply {shlex.quote(str(out))}" if out is not None and plan.actions else None
    text = plan_text(plan, width=s.width, ascii=s.ascii, color=s.color, verbose=verbose, apply_command=typed, most=most)
    if drilled:
        command = f"xenrec drill {plan.argument or plan.source}"
        text += news_text(*drilled, command=command, width=s.width, ascii=s.ascii, color=s.color)
    return text


def validate(
    path: PathArgument,
    repo: RepoOption = None,
    revision: RevisionOption = "HEAD",
    signed: SignedOption = False,
    signers: SignersOption = None,
    form: Annotated[
        ProblemFormat, typer.Option("--format", help="text, json, or github annotations.")
    ] = ProblemFormat.TEXT,
) -> None:
    """Check manifests: every problem at once, with its place and remedy. Nothing is contacted."""
    try:
        found = load(path, repo, revision, signed=signed, signers=signers)
    except Stop as stop:
        if form is ProblemFormat.TEXT or stop.code is not Exit.INVALID:
            fail(stop)
        found = rooms.load_one_bad(path)
    problems = [p for one in found for p in one.problems]
    if form is ProblemFormat.JSON:
        say(
            json.dumps(
                {"format": "xenrec-problems", "format_version": 1, "files": [_json(one) for one in found]}, indent=2
            )
        )
    else:
        for problem in problems:
            if form is ProblemFormat.GITHUB:
                say(github_annotation(problem))
            else:
                tell(str(problem))
        for one in found:
            if one.wanted is not None:
                say(
                    f"{one.source}: ok: pool {one.wanted.name}, {len(one.wanted.members)} members, "
                    f"{len(one.wanted.vms)} VM entries"
                )
                for place, text in one.wanted.notes:
                    tell(f"{place}: note: {text}" if place else f"note: {text}")
    if any(p.severity is Severity.ERROR for p in problems) or any(one.wanted is None for one in found):
        raise typer.Exit(Exit.INVALID)


def _json(one: Loaded) -> dict[str, object]:
    return {
        "source": one.source,
        "pool": one.wanted.name if one.wanted else one.name,
        "valid": one.wanted is not None,
        "problems": [
            {
                "file": p.place.file,
                "line": p.place.line,
                "column": p.place.column,
                "severity": str(p.severity),
                "what": p.what,
                "why": p.why,
                "remedy": p.remedy,
            }
            for p in one.problems
        ],
        "notes": [
            {"place": str(place or ""), "text": text} for place, text in (one.wanted.notes if one.wanted else ())
        ],
    }


def schema() -> None:
    """Print the JSON Schema of the manifest."""
    say(rooms.schema_text())


def plan(
    path: PathArgument,
    out: Annotated[Path | None, typer.Option("--out", help="Save the plan here, for apply.")] = None,
    form: Annotated[
        Format, typer.Option("--format", help="text, json, markdown, xe (a runbook) or gitlab.")
    ] = Format.TEXT,
    detailed: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 2 when there are changes to make.")
    ] = False,
    snapshot: Annotated[
        Path | None, typer.Option("--snapshot", help="Plan from a captured file, with no network.")
    ] = None,
    failback: Annotated[bool, typer.Option("--failback", help="Hand mastership back to the declared master.")] = False,
    unattended: Annotated[
        bool, typer.Option("--unattended", help="Plan with the limits of an unattended run.")
    ] = False,
    gives_way: YieldOption = None,
    max_actions: MaxActionsOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also what was left alone, and why.")] = False,
    repo: RepoOption = None,
    revision: RevisionOption = "HEAD",
    signed: SignedOption = False,
    signers: SignersOption = None,
    state_dir: StateOption = None,
) -> None:
    """Show what is wrong, what would be done, and why. Nothing is changed.

    Exit: 0 done, 2 changes (--detailed-exitcode), 3 something withheld or unmet, 65 manifest, 69 unreachable, 77 login.
    """
    try:
        found = load(path, repo, revision, signed=signed, signers=signers)
        if max_actions is not None and snapshot:
            raise Stop(Exit.USAGE, "--max-actions is about a run, and --snapshot plans without one", "leave one out")
        if gives_way and snapshot:
            raise Stop(Exit.USAGE, "--yield needs what several masters say, and --snapshot holds one", "leave one out")
        if len(found) > 1 and (out or snapshot or gives_way):
            raise Stop(Exit.USAGE, "--out, --snapshot and --yield are about one pool", "name one manifest")
    except Stop as stop:
        fail(stop)
    codes = []
    for loaded in found:
        try:
            with troubles():
                wanted = wanted_of(loaded)
                made, state, drilled = _make(
                    wanted,
                    snapshot,
                    state_dir,
                    failback=failback,
                    unattended=unattended,
                    most=max_actions,
                    yields=yielding(wanted, gives_way or ()),
                )
                if out is not None:
                    _write(out, made)
                say(
                    show_plan(
                        made,
                        form,
                        wanted=wanted,
                        state=state,
                        drilled=drilled,
                        verbose=verbose,
                        out=out,
                        most=max_actions,
                    )
                )
            codes.append(plan_code(made, detailed=detailed))
        except Stop as stop:
            tell(stop_words(stop), err=True)
            codes.append(stop.code)
    if len(found) > 1:
        summary([(one.name or one.source) for one in found], codes)
    raise typer.Exit(worst(codes))


def _make(
    wanted: Wanted,
    snapshot: Path | None,
    state_dir: Path | None,
    *,
    failback: bool,
    unattended: bool,
    most: int | None,
    yields: frozenset[str],
) -> tuple[Plan, PoolState | None, tuple[Drill, News] | None]:
    if snapshot is None:
        rec = reconciler(wanted, state_dir, failback=failback, attended=not unattended)
        rec.allowance = replace(rec.allowance, max_actions=most, yields=yields)
        look = rec.observe()
        made = rec.plan_of(look)
        drilled = rec.drilled(look, made) if made.status is Status.CLEAN else None
        return made, look.state or look.last_known, drilled
    made, taken = rooms.plan_capture(wanted, snapshot, failback=failback, attended=not unattended)
    return made, taken.state, None


def _write(out: Path, made: Plan) -> None:
    try:
        out.write_bytes(dump_plan(made))
    except OSError as error:
        raise Stop(Exit.ERROR, f"{out} can't be written: {error.strerror}") from None


def summary(names: list[str], codes: list[Exit]) -> None:
    """One line per pool on stderr, for a run over several."""
    words = {
        Exit.DONE: "nothing left to do",
        Exit.CHANGES: "changes to make",
        Exit.PARTIAL: "something withheld or unmet",
        Exit.INVALID: "manifest invalid",
        Exit.UNAVAILABLE: "pool not reachable",
        Exit.DENIED: "login refused",
        Exit.BUSY: "another run is at it",
    }
    note("")
    for name, code in zip(names, codes, strict=True):
        note(f"{name}: {words.get(code, 'failed')} (exit {int(code)})")


def show(
    file: Annotated[Path, typer.Argument(metavar="PLAN", help="A plan saved with plan --out.")],
    form: Annotated[Format, typer.Option("--format", help="text, json, markdown or gitlab.")] = Format.TEXT,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also what was left alone, and why.")] = False,
) -> None:
    """Show a saved plan."""
    try:
        with troubles():
            saved = load_plan(read_file(file), str(file))
            say(show_plan(saved, form, verbose=verbose))
    except Stop as stop:
        fail(stop)


def read_file(file: Path) -> bytes:
    """A file's bytes. Raises Stop."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise Stop(Exit.ERROR, f"{file} can't be read: {error.strerror}") from None
