"""xenrec roll: maintenance of one host after the other, with a command between emptying and coming home."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from enum import StrEnum
from typing import Annotated, NoReturn

import typer

from reconciler.cli.common import (
    PathArgument,
    StateOption,
    Stop,
    fail,
    note,
    one,
    reconciler,
    say,
    screen,
    stop_words,
    tell,
    troubles,
)
from reconciler.cli.exits import Exit
from reconciler.command import run_command
from reconciler.core.roll import Phase, Roll, order
from reconciler.core.wanted import Wanted
from reconciler.core.words import names
from reconciler.pipeline import Reconciler
from reconciler.roll import Rolling, Stopped
from reconciler.rooms import operator
from reconciler.views.roll import preview_json, preview_text, roll_json
from reconciler.views.words import clean, utc

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class RollFormat(StrEnum):
    """How a roll, or its preview, is written."""

    TEXT = "text"
    JSON = "json"


class Turn(StrEnum):
    """When the master has its turn."""

    LAST = "last"
    FIRST = "first"


def roll(
    path: PathArgument,
    hosts: Annotated[
        str | None, typer.Option("--hosts", metavar="NAMES|all", help="xen01,xen02, in that order.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run", metavar="COMMAND", help="What to run for each host once it is empty. {host} and {address} are its."
        ),
    ] = None,
    master: Annotated[Turn, typer.Option("--master", help="Whether the master is the last or the first.")] = Turn.LAST,
    reboots: Annotated[
        bool, typer.Option("--reboots", help="The command reboots the host: wait until it has booted anew.")
    ] = False,
    deadline: Annotated[str, typer.Option("--deadline", metavar="TIME", help="For the command: 90s, 30m, 2h.")] = "1h",
    back_within: Annotated[
        str, typer.Option("--back-within", metavar="TIME", help="How long a host is waited for after the command.")
    ] = "30m",
    plan: Annotated[
        bool, typer.Option("--plan", help="Show the turns and what each would begin with. No more.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    unattended: Annotated[
        bool, typer.Option("--unattended", help="Never asks, and policy.levels.unattended holds.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the one that is under way.")] = False,
    again: Annotated[bool, typer.Option("--again", help="With --resume: run the command once more.")] = False,
    skip: Annotated[
        bool, typer.Option("--skip", help="With --resume: go on as if the command had ended well.")
    ] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="End the one that is under way: enable its host, bring its VMs home.")
    ] = False,
    form: Annotated[
        RollFormat, typer.Option("--format", help="text or json; what happens meanwhile is told on standard error.")
    ] = RollFormat.TEXT,
    state_dir: StateOption = None,
) -> None:
    """Rolling maintenance: each host in turn is emptied, worked on by a command, waited for, and brought back.

    It stops at the first trouble, and goes on where it was with --resume. Exit: 0 all done, 3 stopped, 64 usage,
    69 unreachable, 75 another run.
    """
    s = screen()
    machine = form is RollFormat.JSON
    said: list[str] = []
    rolled: Roll | None = None

    def tell(text: str) -> None:
        said.append(text)
        with suppress(OSError):  # nobody may read it any more; a host is out of service all the same
            note(clean(text))

    try:
        if resume + abandon + plan > 1 or ((again or skip) and not resume) or (again and skip):
            raise Stop(Exit.USAGE, "--plan, --resume (with --again or --skip) and --abandon are different things")
        with troubles():
            wanted = one(path)

            def make(manifest: Wanted) -> Reconciler:
                return reconciler(manifest, state_dir, attended=not unattended)

            rec = make(wanted)
            rolling = Rolling(wanted, make, run_command, tell)
            if plan:
                asked = _asked(rec, wanted, hosts, run, master, deadline, back_within, reboots=reboots)
                _preview(rolling, asked, machine=machine)
                return
            with rec.folder.lock(run=rec.run, since=rec.port.now()):
                held = rolling.held()
                if abandon:
                    rolled = held
                    _abandon(rolling, held, said, machine=machine)
                    return
                rolled = _chosen(rec, wanted, held, hosts, run, master, deadline, back_within, reboots, resume=resume)
                if held is None:
                    if not (yes or unattended):
                        _ask(rolling, rolled, interactive=s.interactive and not machine)
                    rolling.begin(rolled)
                else:
                    note(f"going on with the rolling maintenance {held.id}, begun at {utc(held.begun_at)}")
                    rolling.resume(rolled, again=again, skip=skip)
                rolling.go()
    except Stopped as stopped:
        if machine:
            at = getattr(rolling, "roll", rolled)
            say(roll_json(wanted.name, at, said, stopped=(stopped.why, stopped.remedy)))
        _stop(stopped, f"xenrec roll {wanted.argument} {'--abandon' if abandon else '--resume'}")
    except Stop as stop:
        fail(stop)
    if machine:
        say(roll_json(wanted.name, rolling.roll, said, left=rolling.left))
        return
    why, remedy = rolling.left
    turns = f"Done: {names(rolled.hosts)} had {'its turn' if len(rolled.hosts) == 1 else 'their turns'}"
    if why:
        say(f"{turns}. The pool is as declared but for its master: {clean(why)}\nnext: {clean(remedy)}")
    else:
        say(f"{turns}, and the pool is as declared.")


def _seconds(text: str, option: str) -> float:
    match = re.fullmatch(r"([0-9]{1,5})([smh])", text.strip())
    if match is None or not float(match[1]):
        raise Stop(Exit.USAGE, f"{clean(text)!r} is not a time", f"write for example {option} 30m")
    return float(match[1]) * _UNITS[match[2]]


def _asked(
    rec: Reconciler,
    wanted: Wanted,
    hosts: str | None,
    run: str | None,
    master: Turn,
    deadline: str,
    back_within: str,
    *,
    reboots: bool,
) -> Roll:
    """The roll that the words ask for. Raises Stop."""
    again = f"xenrec roll {wanted.argument} --hosts all --run './update.sh {{address}}'"
    if not hosts or not run or not run.strip():
        raise Stop(Exit.USAGE, "say which hosts, and what to run for each", again)
    try:
        argv = shlex.split(run)
    except ValueError as error:
        raise Stop(Exit.USAGE, f"--run can't be split into words: {error}", "mind its quotes") from None
    if not argv:
        raise Stop(Exit.USAGE, "--run holds no command", again)
    acting = rec.plan().diagnosis.master
    if acting is None:
        raise Stop(Exit.PARTIAL, "the pool has no master that could be asked", f"xenrec plan {wanted.argument}")
    try:
        turns = order(wanted, [h.strip() for h in hosts.split(",") if h.strip()], acting, master.value)
    except ValueError as error:
        raise Stop(Exit.USAGE, clean(str(error)), again) from None
    return Roll(
        rec.run,
        operator(),
        rec.port.now(),
        turns,
        tuple(argv),
        _seconds(deadline, "--deadline"),
        _seconds(back_within, "--back-within"),
        reboots,
    )


def _chosen(
    rec: Reconciler,
    wanted: Wanted,
    held: Roll | None,
    hosts: str | None,
    run: str | None,
    master: Turn,
    deadline: str,
    back_within: str,
    reboots: bool,
    *,
    resume: bool,
) -> Roll:
    """The one under way, or the one that the words ask for. Raises Stop where they differ."""
    if resume:
        if held is None:
            raise Stop(Exit.USAGE, "no rolling maintenance is under way on this machine")
        if hosts or run:  # else another command than the one that was typed would run
            told = run or shlex.join(held.command), hosts or ",".join(held.hosts)
            if not held.same_work(
                _asked(rec, wanted, told[1], told[0], master, deadline, back_within, reboots=reboots)
            ):
                raise Stop(
                    Exit.USAGE,
                    f"--resume goes on with what was begun: {clean(shlex.join(held.command))}, for {names(held.hosts)}",
                    f"to begin anew with other words, end it first: xenrec roll {wanted.argument} --abandon",
                )
        return held
    asked = _asked(rec, wanted, hosts, run, master, deadline, back_within, reboots=reboots)
    if held is None or held.same_work(asked):
        return held or asked
    raise Stop(
        Exit.BUSY,
        f"another rolling maintenance is under way, begun by {clean(held.by)} at {utc(held.begun_at)}",
        f"xenrec roll {wanted.argument} --resume, or end it: xenrec roll {wanted.argument} --abandon",
    )


def _preview(rolling: Rolling, asked: Roll, *, machine: bool) -> None:
    turns = rolling.preview(asked.hosts)
    told = [(t.host, t.plan, t.obstacle, t.remedy) for t in turns]
    if machine:
        say(preview_json(rolling.wanted.name, asked, told))
    else:
        tell(preview_text(asked, told))
    if any(t.obstacle for t in turns):
        raise typer.Exit(Exit.PARTIAL)


def _ask(rolling: Rolling, asked: Roll, *, interactive: bool) -> None:
    if not interactive:
        raise Stop(
            Exit.USAGE, "there is no terminal to ask on", "look at it with --plan; then give --yes, or --unattended"
        )
    turns = rolling.preview(asked.hosts)
    tell(preview_text(asked, [(t.host, t.plan, t.obstacle, t.remedy) for t in turns]))
    if typer.prompt("Begin? (yes/no)", err=True, default="", show_default=False).strip().lower() not in ("y", "yes"):
        raise Stop(Exit.USAGE, "nothing was done")


def _stop(stopped: Stopped, then: str) -> NoReturn:
    """End the command; `then` goes on once what stopped it is mended."""
    tell(stop_words(Stop(Exit.PARTIAL, f"stopped: {clean(stopped.why)}", stopped.remedy)), err=True)
    if "xenrec roll " not in stopped.remedy:
        tell(f"  then: {clean(then)}", err=True)
    raise typer.Exit(Exit.PARTIAL)


def _abandon(rolling: Rolling, held: Roll | None, said: list[str], *, machine: bool) -> None:
    hosts = rolling.abandon(held)
    if not hosts and held is None and machine:
        say(roll_json(rolling.wanted.name, None, said))
        return
    if not hosts and held is None:
        say("no rolling maintenance is under way")
        return
    done = held.done if held else ()
    half = held is not None and held.phase is Phase.COMMAND and held.sent_at is not None and held.code != 0
    if machine:
        sure = held is None or not half
        say(roll_json(rolling.wanted.name, held, said, ended={"enabled": list(hosts), "command_ended_well": sure}))
        return
    warn = f"; of the command on {held.host} it is not known that it ended well" if half and held else ""
    tell(f"ended: {', '.join(hosts) or 'no host'} enabled again; {len(done)} had their turn before{warn}")
