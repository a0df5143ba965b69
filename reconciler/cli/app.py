"""The command line: options -> a call of the pipeline -> a view -> an exit code."""

from __future__ import annotations

import logging
from typing import Annotated, ClassVar

import typer

from reconciler.cli.lazy import LazyGroup

COMMANDS = {
    "validate": (
        "plan.validate",
        "Check manifests: every problem at once, with its place and remedy. Nothing is contacted.",
    ),
    "schema": ("plan.schema", "Print the JSON Schema of the manifest."),
    "plan": ("plan.plan", "Show what is wrong, what would be done, and why. Nothing is changed."),
    "apply": ("apply.apply", "Bring pools to what their manifests declare, and prove it by reading them again."),
    "roll": (
        "roll.roll",
        "Rolling maintenance: each host in turn is emptied, worked on by a command, waited for, and brought back.",
    ),
    "show": ("plan.show", "Show a saved plan."),
    "check": (
        "check.check",
        "Replay a saved plan, step by step, against the pool as it is: does any step break a rule?",
    ),
    "status": (
        "look.status",
        "Who is alive, who is master, what every witness said, and what a plan would do. Nothing is changed.",
    ),
    "drill": (
        "drill.drill",
        "What would happen if a host died now: which VMs restart where, which can't and why, who becomes master.",
    ),
    "why": (
        "why.why",
        "Why a VM, a host, an SR or the master is as it is: wished, is, considered, and the next command.",
    ),
    "capture": (
        "look.capture",
        "Save what a look at the pool gives, to plan from it elsewhere: xenrec plan MANIFEST --snapshot FILE.",
    ),
    "export": ("look.export", "Write a manifest that describes a live pool as it is: planning it gives nothing to do."),
    "attest": (
        "attest.attest",
        "Attest that a host is dead, so that its VMs may be started elsewhere or another host made master.",
    ),
    "fence": (
        "fence.app",
        "Power state of the hosts by their fence agents, what the agents are good for, and switching a host off.",
    ),
    "history": (
        "history.history",
        "Who ran what on a pool, when, and what came of it; with RUN its time line. Nothing is contacted.",
    ),
    "lock": ("lock.app", "Who works on a pool: show the locks, or remove a dead run's lease."),
    "pause": (
        "pause.pause",
        "Let every run leave a pool, or one VM, alone: it is looked at and planned, and nothing is done.",
    ),
    "unpark": (
        "pause.unpark",
        "Let unattended runs try again what failed in so many runs in a row that they leave it alone.",
    ),
    "lab": ("lab.app", "A simulated pool to try everything on: powered, cut and broken at will."),
}
"""Name -> where it is (in this package), and the first line of its own help."""


class Xenrec(LazyGroup):
    """The commands of xenrec."""

    homes: ClassVar = {
        name: (f"reconciler.cli.{where.partition('.')[0]}", where.partition(".")[2])
        for name, (where, _) in COMMANDS.items()
    }
    told: ClassVar = {name: text for name, (_, text) in COMMANDS.items()}


app = typer.Typer(
    cls=Xenrec,
    name="xenrec",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Plain(logging.Formatter):
    """What is logged quotes XAPI and fence agents, and stderr is a terminal: nothing in it moves the cursor."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class's name
        """One line."""
        from reconciler.views.words import clean  # noqa: PLC0415 - seldom is anything logged

        return clean(super().formatMessage(record))


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - 60 ms that only this needs

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
    handler = logging.StreamHandler()
    handler.setFormatter(Plain("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, handlers=[handler])
