"""What the commands share: the terminal, manifests from files or Git, and a Reconciler for each pool."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from reconciler import rooms
from reconciler.cli import unsaid
from reconciler.cli.exits import Exit
from reconciler.core.evidence import Situation
from reconciler.core.plan import Plan, Status
from reconciler.core.wanted import Wanted
from reconciler.pipeline import Progress, Reconciler
from reconciler.rooms import Loaded, Trouble, TroubleKind
from reconciler.views.layout import folded
from reconciler.views.saved_plan import SavedPlanError
from reconciler.views.words import clean

PathArgument = Annotated[
    str, typer.Argument(metavar="MANIFEST", help="A manifest, or a folder of manifests; with --repo a path inside it.")
]
RepoOption = Annotated[Path | None, typer.Option("--repo", help="Read manifests from this Git repository's objects.")]
RevisionOption = Annotated[str, typer.Option("--revision", help="With --repo: the branch, tag or commit to read.")]
SignedOption = Annotated[
    bool, typer.Option("--require-signed", help="With --repo: refuse a commit without a good signature.")
]
SignersOption = Annotated[
    Path | None, typer.Option("--allowed-signers", help="With --require-signed: SSH allowed signers file.")
]
MaxActionsOption = Annotated[
    int | None,
    typer.Option("--max-actions", min=0, metavar="N", help="Do at most N actions; the others are withheld."),
]
StateOption = Annotated[
    Path | None,
    typer.Option("--state-dir", help="Where locks, certificates and journals are kept.", envvar="XENREC_STATE_DIR"),
]


class Stop(Exception):
    """Ends a command (or one pool of it) with a message for people and an exit code."""

    def __init__(self, code: Exit, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True)
class Screen:
    """How to write: width in columns, ASCII only where the encoding can't do more, colour only on a terminal."""

    width: int
    ascii: bool
    color: bool
    interactive: bool


def screen() -> Screen:
    """The terminal as it is now. `interactive` is false in CI, whatever the terminal."""
    tty = sys.stdout.isatty()
    width = shutil.get_terminal_size((80, 24)).columns if tty or "COLUMNS" in os.environ else 80
    plain = (sys.stdout.encoding or "ascii").lower().replace("-", "") not in ("utf8", "utf_8")
    asked = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    return Screen(
        max(40, min(width, 120)), plain, tty and "NO_COLOR" not in os.environ, asked and not os.environ.get("CI")
    )


def say(text: str) -> None:
    """A result, to stdout; to stderr where that can't be written (a full disk), for it may tell what was done, and a
    recovery is no reason to wait for a log."""
    try:
        typer.echo(text.rstrip("\n"))
    except BrokenPipeError:
        raise
    except OSError as error:
        unsaid.append(error)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        with suppress(OSError):
            note(f"stdout can't be written ({error.strerror}), so here is what was to be there:")
    if unsaid:
        with suppress(OSError):
            note(text)


def note(text: str) -> None:
    """Progress and trouble, to stderr; never in the way of a result."""
    typer.echo(text.rstrip("\n"), err=True)


def columns(*, err: bool = False) -> int | None:
    """How wide the terminal is that this is written to; None for a pipe or a file."""
    return shutil.get_terminal_size((80, 24)).columns if (sys.stderr if err else sys.stdout).isatty() else None


def tell(text: str, *, err: bool = False) -> None:
    """One line, or several: folded on a terminal, and whole in a pipe, where programs read lines."""
    width = columns(err=err)
    say_to = note if err else say
    say_to(text if width is None else folded(text, width=min(width, 120)))


def load(
    path: str, repo: Path | None, revision: str, *, signed: bool = False, signers: Path | None = None
) -> list[Loaded]:
    """Every pool that a command is about. Raises Stop for what spoils all of them."""
    with troubles():
        return rooms.load(path, repo, revision, signed=signed, signers=signers)


def wanted_of(loaded: Loaded) -> Wanted:
    """The pool's manifest. Raises Stop with every problem."""
    if loaded.wanted is None:
        raise Stop(Exit.INVALID, "\n".join(str(p) for p in loaded.problems))
    return loaded.wanted


def placed(wanted: Wanted, state: Path | None) -> Wanted:
    """The manifest with the state directory that was typed: the next command needs it, too."""
    if state is None or os.environ.get("XENREC_STATE_DIR") == str(state):
        return wanted
    return replace(wanted, state_dir=str(state))


def one(path: str, repo: Path | None = None, revision: str = "HEAD", state: Path | None = None) -> Wanted:
    """The manifest of a command that is about one pool."""
    found = load(path, repo, revision)
    if len(found) != 1:
        raise Stop(Exit.USAGE, f"{path} holds {len(found)} pools and this command is about one", "name one manifest")
    return placed(wanted_of(found[0]), state)


YieldOption = Annotated[
    list[str] | None,
    typer.Option(
        "--yield",
        metavar="HOST",
        help="HOST gives way, as a second master or with copies of VMs that run elsewhere: they are killed.",
    ),
]


def reconciler(
    wanted: Wanted,
    state: Path | None,
    *,
    attended: bool = True,
    failback: bool = False,
    progress: Progress = lambda event: None,
) -> Reconciler:
    """All rooms for one pool over the real outside. Raises Stop."""
    with troubles():
        return rooms.open_pool(placed(wanted, state), state, attended=attended, failback=failback, progress=progress)


def yielding(wanted: Wanted, hosts: Iterable[str]) -> frozenset[str]:
    """The hosts of --yield, each a declared member. Raises Stop."""
    found = frozenset(hosts)
    for host in sorted(found):
        if wanted.member(host) is None:
            raise Stop(Exit.USAGE, f"--yield {host}: no member of that name is declared in {wanted.source}")
    return found


_EXITS = {
    TroubleKind.ERROR: Exit.ERROR,
    TroubleKind.USAGE: Exit.USAGE,
    TroubleKind.INVALID: Exit.INVALID,
    TroubleKind.UNAVAILABLE: Exit.UNAVAILABLE,
    TroubleKind.BUSY: Exit.BUSY,
    TroubleKind.DENIED: Exit.DENIED,
}


@contextmanager
def troubles() -> Iterator[None]:
    """Turn every expected trouble into a Stop with its message and exit code."""
    try:
        with rooms.troubles():
            yield
    except Trouble as trouble:
        raise Stop(_EXITS[trouble.kind], trouble.message, trouble.remedy) from None
    except SavedPlanError as error:
        raise Stop(Exit.ERROR, str(error)) from None


def stop_words(stop: Stop) -> str:
    """A Stop for stderr. Its parts may come from XAPI, a fence agent or a file name in a repository."""
    message = "\n".join(clean(line) for line in stop.message.split("\n"))
    return message + (f"\n  next: {clean(stop.remedy)}" if stop.remedy else "")


def fail(stop: Stop) -> NoReturn:
    """End the command."""
    tell(stop_words(stop), err=True)
    raise typer.Exit(stop.code)


_SITUATIONS = {
    Situation.DENIED: Exit.DENIED,
    Situation.CUT_OFF: Exit.UNAVAILABLE,
    Situation.STRANGER: Exit.ERROR,
}


def plan_code(plan: Plan, *, detailed: bool = False) -> Exit:
    """What `plan` ends with: the situation's code, 3 when something stays unmet or withheld, 2 only if asked for."""
    if plan.diagnosis.situation in _SITUATIONS:
        return _SITUATIONS[plan.diagnosis.situation]
    if plan.withheld or plan.unmet:
        return Exit.PARTIAL
    if plan.diagnosis.situation is not Situation.MANAGED and not plan.actions:
        return Exit.PARTIAL
    if plan.status is Status.CHANGES and detailed and not plan.only_upkeep:
        return Exit.CHANGES
    return Exit.DONE
