"""xenrec pause: leave a pool, or one VM, alone for a while. xenrec unpark: try again what failed too often."""

from __future__ import annotations

import re
import shlex
from typing import Annotated

import typer

from reconciler import people
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
    tell,
    troubles,
)
from reconciler.cli.exits import Exit
from reconciler.core.parked import parked
from reconciler.pipeline import Reconciler
from reconciler.rooms import operator
from reconciler.views.words import clean, utc

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0}


def pause(
    path: PathArgument,
    vm: Annotated[str | None, typer.Option("--vm", metavar="NAME", help="This VM only, by name or uuid.")] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Until then, as in 2026-12-20T18:00Z.")
    ] = None,
    lasting: Annotated[str | None, typer.Option("--for", metavar="TIME", help="For so long: 30m, 2h, 3d.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever is told to wait.")] = "",
    listing: Annotated[bool, typer.Option("--list", help="List the pauses that hold.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="End the pause of the pool, or with --vm of the VM.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="With --clear: end every pause.")] = False,
    repo: RepoOption = None,
    revision: RevisionOption = "HEAD",
    state_dir: StateOption = None,
) -> None:
    """Let every run leave a pool, or one VM, alone: it is looked at and planned, and nothing is done.

    It is kept on this machine: another machine's runs know nothing of it. A freeze in the manifest holds everywhere.
    """
    try:
        with troubles():
            wanted = one(path, repo, revision, state_dir)
            path = wanted.argument
            rec = reconciler(wanted, state_dir)
            if sum((listing, clear, bool(until or lasting))) > 1:
                raise Stop(Exit.USAGE, "--list, --clear and a time are three different things", "choose one")
            if listing:
                _list(rec)
                return
            if clear:
                gone = people.unpause(rec, by=operator(), vm=vm, everything=everything)
                for held in gone:
                    tell(f"ended: {clean(str(held))}")
                if not gone:
                    say("there was no such pause")
                return
            if everything:
                raise Stop(Exit.USAGE, "--all goes with --clear", f"xenrec pause {path} --clear --all")
            if not reason.strip():
                about = f" --vm {shlex.quote(vm)}" if vm is not None else ""
                raise Stop(Exit.USAGE, "say why", f"xenrec pause {path}{about} --for 2h --reason 'storage work'")
            made = people.pause(rec, by=operator(), reason=reason.strip(), until=_end(rec, until, lasting), vm=vm)
            busy = rec.folder.holder()
            if isinstance(made, str):
                look = f"xenrec why {path} {shlex.quote(f'vm/{vm}')}"
                about = f" --vm {shlex.quote(vm)}" if vm is not None else ""
                again = f"xenrec pause {path}{about} --for 2h --reason {shlex.quote(reason.strip())}"
                raise Stop(Exit.USAGE, made, look if made.startswith("the pool has no VM") else again)
    except Stop as stop:
        fail(stop)
    say(f"{'the pool' if made.vm is None else f'VM {clean(made.vm)}'} is left alone until {utc(made.until)}")
    if busy is not None:
        say(f"run {clean(busy.run)}, process {busy.pid}, is under way: it ends what it began, and begins no more of it")


def _end(rec: Reconciler, until: str | None, lasting: str | None) -> float:
    """When the pause ends, in UTC seconds. Raises Stop."""
    if (until is None) is (lasting is None):
        raise Stop(Exit.USAGE, "until when?", "give --until 2026-12-20T18:00Z, or --for 2h")
    if until is not None:
        found = people.moment_of(until)
        if found is None:
            raise Stop(Exit.USAGE, f"{clean(until)!r} is not a time with its zone", "write 2026-12-20T18:00Z")
        return found
    match = re.fullmatch(r"([0-9]{1,4})([mhd])", (lasting or "").strip())
    if match is None or not float(match[1]):
        raise Stop(Exit.USAGE, f"{clean(lasting or '')!r} is not a time", "write for example --for 2h")
    return rec.port.now() + float(match[1]) * _UNITS[match[2]]


def _list(rec: Reconciler) -> None:
    held = rec.folder.memory.pauses(now=rec.port.now())
    for one_pause in held:
        tell(clean(str(one_pause)))
    if not held:
        say("nothing is paused")


def unpark(
    path: PathArgument,
    vm: Annotated[str | None, typer.Option("--vm", metavar="NAME", help="This VM only, by name or uuid.")] = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", help="XAPI's HA is not armed on this member any more.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List what failed in the last runs.")] = False,
    repo: RepoOption = None,
    revision: RevisionOption = "HEAD",
    state_dir: StateOption = None,
) -> None:
    """Let unattended runs try again what failed in so many runs in a row that they leave it alone.

    It is kept on this machine. An attended apply tries it without this, and forgets it when it succeeds. A member that
    refused to become master because XAPI's HA is armed on it is asked again only after --host names it.
    """
    try:
        with troubles():
            wanted = one(path, repo, revision, state_dir)
            path = wanted.argument
            rec = reconciler(wanted, state_dir)
            if host is not None:
                gone = people.disarmed(rec, by=operator(), host=host)
                say(f"forgotten: {clean(host)} refused for XAPI's HA" if gone else f"{clean(host)} did not refuse")
                return
            known = rec.folder.memory.failing()
            chosen = [f for f in known if vm is None or vm in (f.name, f.uuid)]
            if not listing:
                chosen = list(people.unpark(rec, by=operator(), vm=vm)) if chosen else []
    except Stop as stop:
        fail(stop)
    resting = parked(known, wanted)
    for failing in chosen:
        mark = "parked: " if failing in resting else ""
        tell(f"{'' if listing else 'forgotten: '}{mark}{clean(failing.name)}: {clean(failing.words)}")
    if not chosen:
        say("nothing failed in the last runs")
