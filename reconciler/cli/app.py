"""The command line: options -> a call of the pipeline -> a view -> an exit code."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import Annotated

import typer

from reconciler.cli import apply, attest, lab, look, plan

app = typer.Typer(
    name="xenrec",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"xenrec {version('xenrec')}")
        raise typer.Exit(0)


@app.callback()
def start(
    shown: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Log to stderr what is done inside.")] = False,
) -> None:
    """Bring a XenServer or XCP-ng pool back to what its manifest declares.

    With a dead master, type: xenrec plan MANIFEST, read, then: xenrec apply MANIFEST
    """
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(levelname)s: %(message)s")


app.command("validate")(plan.validate)
app.command("schema")(plan.schema)
app.command("plan")(plan.plan)
app.command("apply")(apply.apply)
app.command("show")(plan.show)
app.command("status")(look.status)
app.command("capture")(look.capture)
app.command("export")(look.export)
app.command("attest")(attest.attest)
app.add_typer(lab.app, name="lab")
