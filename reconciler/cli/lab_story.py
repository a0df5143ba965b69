"""`xenrec lab run`, `do`, `incident` and `check`: what goes wrong by a script, and training with it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from reconciler.cli.exits import Exit
from reconciler.cli.lab_common import (
    DEFAULT_DIRECTORY,
    AsJson,
    Directory,
    check_loopback,
    command,
    console,
    fail,
    port_number,
    shown,
    start_lab,
)
from reconciler.lab import served_views

POLL_RUN = 0.2
LATE = 60.0
"""Seconds for which `do` waits until another client's call has come to something."""


def run(
    script: Annotated[
        Path | None, typer.Argument(metavar="[SCRIPT]", help="Commands with times, one a line; - is stdin.")
    ] = None,
    random: Annotated[
        int | None, typer.Option("--random", metavar="SEED", help="Make a script from this seed.")
    ] = None,
    faults: Annotated[int, typer.Option(min=1, max=100, help="With --random: how many.")] = 6,
    span: Annotated[str, typer.Option(help="With --random: within this time (90, 20m).")] = "20m",
    show: Annotated[bool, typer.Option("--print", help="Print the script and do nothing.")] = False,
    calm_after: Annotated[
        str | None, typer.Option("--calm-after", metavar="TIME", help="So long after its end undo everything.")
    ] = None,
    background: Annotated[bool, typer.Option("--background", help="Return at once; it goes on by itself.")] = False,
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Let things go wrong by a script: power off xen01, wait 30, at 2m: heal all, after VM.start: lose."""
    if (script is None) == (random is None):
        fail("name a script, or write --random SEED", Exit.USAGE)
    if random is not None:
        name = f"random {random}"
        text = command(directory, "random", seed=random, faults=faults, span=span)["script"]
    else:
        name, text = _read(script)
    if show:
        sys.stdout.write(text)
        return
    about = command(directory, "run", script=text, title=name, calm_after=calm_after)
    number = "1 command" if about["commands"] == 1 else f"{about['commands']} commands"
    if background:
        _say(f"{number} in {served_views.duration(about['length'])}; it goes on by itself")
        return
    _say(f"{number} in {served_views.duration(about['length'])}; Ctrl-C stops it")
    _follow(directory, about["run"])


def _read(script: Path | None) -> tuple[str, str]:
    if script is None or str(script) == "-":
        return "stdin", sys.stdin.read()
    try:
        return script.name, script.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{script}: {getattr(error, 'strerror', None) or 'not UTF-8'}", Exit.USAGE)


def _follow(directory: Path, number: int) -> None:
    seen = 0
    try:
        while True:
            state = command(directory, "run-log", run=number, since=seen)
            _print_log(state)
            seen += len(state["log"])
            if not state["pending"]:
                break
            time.sleep(POLL_RUN)
    except KeyboardInterrupt:
        command(directory, "run-stop", run=number)
        _say("stopped; what has happened stays as it is (`xenrec lab do calm` undoes it)")
        raise typer.Exit(Exit.INTERRUPTED) from None
    for text in state["waiting"]:
        _say(f"waits for its call: {text}")


def _print_log(state: dict[str, Any]) -> None:
    for at, text in state["log"]:
        _say(f"+{served_views.duration(at):<8} {text}")


def do(
    words: Annotated[
        list[str], typer.Argument(metavar="COMMAND...", help="One command of a script; `help` lists them.")
    ],
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Do one command of a script now: slow xen02 10, xo migrate VM HOST, xe METHOD ARG…, calm."""
    if words == ["help"]:
        from reconciler.lab.faults import HELP  # noqa: PLC0415 - needs the engine

        sys.stdout.write(HELP)
        return
    number = command(directory, "do", words=words)["run"]
    until = time.monotonic() + LATE
    while True:
        state = command(directory, "run-log", run=number)
        if not state["pending"] or time.monotonic() > until:
            break
        time.sleep(POLL_RUN)
    # Of another client's call only what came of it: that names the call too.
    for _, text in state["log"][1:] or state["log"]:
        _say(text)


def incident(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Which; without it: the one of this lab.")
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List them.")] = False,
    fast: Annotated[bool, typer.Option("--fast", help="Seconds instead of minutes.")] = False,
    address: Annotated[str, typer.Option(help="Address of the first host; the others follow.")] = "127.0.10.11",
    port: Annotated[
        str, typer.Option(metavar="PORT", help="HTTPS port; auto: 443 where permitted, else 8443.")
    ] = "auto",
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Train: start a lab that is in trouble, and read what whoever is on call knows. `lab check` judges."""
    if list_all:
        served_views.print_incidents(console(), _incidents())
        return
    if name is None:
        told = command(directory, "incident")
        if not told["name"]:
            fail("this lab is in no incident: `xenrec lab incident --list` names them, `xenrec lab down` ends this lab")
        served_views.print_scene(console(), told, shown(directory))
        return
    known = _incidents()
    if name not in known:
        fail(f"there is no incident {name}: there are {', '.join(known)}", Exit.USAGE)
    wanted = known[name]
    check_loopback(address, wanted["hosts"])
    request = {
        "incident": name,
        "hosts": wanted["hosts"],
        "vms": wanted["vms"],
        "seed": 0,
        "from": None,
        "fast": fast,
        "release": "24.16",
        "address": address,
        "port": port_number(port),
    }
    start_lab(directory, request)
    served_views.print_scene(console(), wanted, shown(directory))


def _incidents() -> dict[str, dict[str, Any]]:
    from reconciler.lab.incidents import INCIDENTS  # noqa: PLC0415 - needs the engine

    return {
        one.name: {"name": one.name, "title": one.title, "scene": one.scene, "hosts": one.hosts, "vms": one.vms}
        for one in INCIDENTS.values()
    }


def check(directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False) -> None:
    """Say whether the pool is whole again, and without harm; exit code 1 if not."""
    found = command(directory, "check")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        served_views.print_check(console(), found)
    if not all(one["good"] for one in found["findings"]):
        raise typer.Exit(Exit.ERROR)


def _say(text: str) -> None:
    served_views.line(console(), text)
    sys.stdout.flush()
