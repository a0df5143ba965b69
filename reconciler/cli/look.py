"""xenrec status, capture and export: look at a pool, change nothing."""

from __future__ import annotations

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
    note,
    one,
    plan_code,
    reconciler,
    say,
    screen,
    tell,
    troubles,
)
from reconciler.cli.exits import Exit
from reconciler.core.wanted import SecretRef
from reconciler.views.json_view import diagnosis_json
from reconciler.views.text import status_text


class StatusFormat(StrEnum):
    """How a status is written."""

    TEXT = "text"
    JSON = "json"


def status(
    path: PathArgument,
    form: Annotated[StatusFormat, typer.Option("--format", help="text or json.")] = StatusFormat.TEXT,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Every testimony with its source, and how long it took.")
    ] = False,
    repo: RepoOption = None,
    revision: RevisionOption = "HEAD",
    state_dir: StateOption = None,
) -> None:
    """Who is alive, who is master, what every witness said, and what a plan would do. Nothing is changed.

    Exit: 0 managed and as declared or with changes to make, 3 something withheld or unmet, 69 unreachable, 77 login.
    """
    try:
        with troubles():
            wanted = one(path, repo, revision)
            rec = reconciler(wanted, state_dir)
            look = rec.observe()
            plan = rec.plan_of(look)
    except Stop as stop:
        fail(stop)
    if form is StatusFormat.JSON:
        say(diagnosis_json(wanted.name, plan.diagnosis, look.survey))
    else:
        s = screen()
        command = f"xenrec plan {path}" if plan.actions or plan.withheld or plan.unmet else ""
        say(
            status_text(
                wanted.name,
                plan.diagnosis,
                look.survey,
                plan,
                width=s.width,
                ascii=s.ascii,
                color=s.color,
                next_command=command,
                verbose=verbose,
            )
        )
    raise typer.Exit(plan_code(plan))


def capture(
    path: PathArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write what was read.")],
    repo: RepoOption = None,
    revision: RevisionOption = "HEAD",
    state_dir: StateOption = None,
) -> None:
    """Save what a look at the pool gives, to plan from it elsewhere: xenrec plan MANIFEST --snapshot FILE."""
    try:
        with troubles():
            wanted = one(path, repo, revision)
            rec = reconciler(wanted, state_dir)
            look = rec.observe()
            rooms.save_capture(wanted, look, file)
    except Stop as stop:
        fail(stop)
    answered = sum(t.answers for t in look.survey.testimonies)
    read = (
        f"{len(look.state.hosts)} hosts, {len(look.state.guests)} VMs"
        if look.state
        else "no master to read the pool from"
    )
    say(f"{file}: {answered} of {len(look.survey.testimonies)} members answered; {read}")
    if not answered:
        raise typer.Exit(Exit.UNAVAILABLE)


def export(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The pool master's address.")],
    username: Annotated[str, typer.Option("--username", help="A local account of the hosts.")] = "root",
    password_env: Annotated[
        str, typer.Option("--password-env", help="Environment variable that holds the password.")
    ] = "XENREC_PASSWORD",  # noqa: S107 - the name of a variable
    password_file: Annotated[Path | None, typer.Option("--password-file", help="File that holds the password.")] = None,
    fingerprint: Annotated[
        str | None, typer.Option("--fingerprint", help="SHA-256 of the master's certificate, seen on its console.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust-on-first-use", help="Trust the certificates that are shown now.")
    ] = False,
    name: Annotated[str | None, typer.Option("--name", help="The pool's name in the manifest.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the manifest here, not to stdout.")] = None,
) -> None:
    """Write a manifest that describes a live pool as it is: planning it gives nothing to do.

    The password is never written: the manifest says where it is found.
    """
    try:
        with troubles():
            ref = SecretRef("file", str(password_file.resolve())) if password_file else SecretRef("env", password_env)
            text, state = rooms.export_pool(
                address, username=username, password=ref, fingerprint=fingerprint, trust=trust, name=name, note=note
            )
            if out is not None:
                _write(out, text)
    except Stop as stop:
        fail(stop)
    if out is None:
        say(text)
    else:
        tell(f"{out}: {len(state.hosts)} members, {len(state.guests)} VMs. Next: xenrec plan {out}")


def _write(out: Path, text: str) -> None:
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Stop(Exit.ERROR, f"{out} can't be written: {error.strerror}") from None
