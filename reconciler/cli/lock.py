"""xenrec lock: who works on a pool, and what to do about a lease whose run is dead."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
    reconciler,
    say,
    screen,
    tell,
    troubles,
)
from reconciler.cli.exits import Exit
from reconciler.core.lease import Lease, clock_words
from reconciler.pipeline import Reconciler
from reconciler.rooms import LockBusy
from reconciler.views.words import utc

app = typer.Typer(no_args_is_help=True, help="Who works on a pool: show the locks, or remove a dead run's lease.")


class LockFormat(StrEnum):
    """How the locks are written."""

    TEXT = "text"
    JSON = "json"


@app.command("show")
def show(
    path: PathArgument,
    form: Annotated[LockFormat, typer.Option("--format", help="text or json.")] = LockFormat.TEXT,
    repo: RepoOption = None,
    revision: RevisionOption = "HEAD",
    state_dir: StateOption = None,
) -> None:
    """Who works on this pool: the lock on this machine and the lease in the pool. Nothing is changed.

    Exit: 0 free, 69 no master to ask for the lease, 75 somebody works on it.
    """
    try:
        with troubles():
            wanted = one(path, repo, revision, state_dir)
            path = wanted.argument
            rec = reconciler(wanted, state_dir)
            here = rec.folder.holder()
            rec.observe()
            asked = rec.held_leases()
    except Stop as stop:
        fail(stop)
    held, now, master = asked or ((), rec.port.now(), "")
    clock = clock_words(now, rec.port.now())
    live = [lease for lease in held if lease.live(now, master)]
    if form is LockFormat.JSON:
        say(json.dumps(_json(rec, here, held if asked else None, live), indent=2))
    else:
        tell(f"this machine: {_here(here)}")
        if asked is None:
            say("the pool: no master answers that could be asked for the lease")
        elif not held:
            say("the pool: free")
        for lease in held:
            told = f"{lease}, {clock}" if clock else str(lease)
            over = "of before another host became master" if lease.live(now) else "expired"
            tell(f"the pool: {told}{'' if lease in live else f' ({over}: whoever comes takes it over)'}")
            if lease in live:
                tell(f"  if that run is dead and nobody may wait: xenrec lock release {path}")
    raise typer.Exit(Exit.BUSY if here or live else Exit.UNAVAILABLE if asked is None else Exit.DONE)


@app.command("release")
def release(
    path: PathArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    repo: RepoOption = None,
    revision: RevisionOption = "HEAD",
    state_dir: StateOption = None,
) -> None:
    """Remove the lease that a dead run left in the pool. A run that lives notices it, and stops.

    Exit: 0 removed or none there, 69 no master to ask, 75 a run on this machine works on the pool, 77 rights.
    """
    try:
        with troubles():
            wanted = one(path, repo, revision, state_dir)
            path = wanted.argument
            rec = reconciler(wanted, state_dir)
            with rec.folder.lock(run=rec.run, since=rec.port.now()):
                rec.observe()
                asked = rec.held_leases()
                if asked is None:
                    raise Stop(
                        Exit.UNAVAILABLE,
                        "no master answers that could be asked for the lease; nothing was done",
                        f"xenrec status {path}",
                    )
                held, now, _ = asked
                clock = clock_words(now, rec.port.now())
                for lease in held:
                    tell(f"held by {lease}{f', {clock}' if clock else ''}", err=True)
                if held and not yes:
                    _confirm(path)
                gone = rec.drop_leases()
    except Stop as stop:
        fail(stop)
    say(f"removed: {len(gone)}; the pool is free" if gone else "there was no lease to remove")


def _confirm(path: str) -> None:
    if not screen().interactive:
        raise Stop(Exit.USAGE, "there is no terminal to ask on", f"xenrec lock release {path} --yes")
    typed = typer.prompt("Is that run dead? Only 'yes' removes its lease", err=True, default="", show_default=False)
    if typed.strip() != "yes":
        raise Stop(Exit.USAGE, "nothing was done")


def _here(here: LockBusy | None) -> str:
    if here is None:
        return "free"
    since = f", since {utc(here.since)}" if here.since else ""
    return (f"run {here.run}, process {here.pid}" if here.pid else "a run that has just begun") + since


def _json(
    rec: Reconciler, here: LockBusy | None, held: tuple[Lease, ...] | None, live: Sequence[Lease]
) -> dict[str, object]:
    machine = {"run": here.run, "pid": here.pid, "since": here.since} if here else None
    return {
        "format": "xenrec-locks",
        "format_version": 1,
        "pool": rec.wanted.name,
        "machine": machine,
        "leases": None
        if held is None
        else [
            {
                "key": lease.key,
                "run": lease.run,
                "by": lease.by,
                "pid": lease.pid,
                "since": lease.since,
                "expires": lease.expires,
                "live": lease in live,
            }
            for lease in held
        ],
    }
