"""What the commands of `xenrec lab` share: words, errors, and starting the process that serves a lab."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from reconciler.cli.exits import Exit
from reconciler.lab import served_client

READY_SECONDS = 60.0
POLL = 0.05

Directory = Annotated[
    Path, typer.Option("--dir", envvar="XENREC_LAB_DIR", help="Directory of the lab: its state, manifest and log.")
]
DEFAULT_DIRECTORY = Path(".lab")
Host = Annotated[str, typer.Argument(metavar="HOST", help="Name, uuid or address of a host.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def console() -> Console:
    """Where results go: stdout, 80 columns in a pipe, no colours for numbers."""
    return Console(highlight=False, soft_wrap=False)


def shown(directory: Path) -> str:
    """The directory as the user would type it."""
    return str(directory)


def fail(text: str, code: Exit = Exit.ERROR) -> NoReturn:
    """Say what is wrong on stderr and end."""
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(code)


def command(directory: Path, name: str, **arguments: Any) -> Any:
    """Ask the running lab; ends with a clear message where there is none or it refuses."""
    try:
        return served_client.ask(directory.resolve(), name, **arguments)
    except served_client.NoLab:
        fail(f"no lab is running in {directory}: start one with `xenrec lab up`", Exit.UNAVAILABLE)
    except (served_client.Refused, served_client.Silent) as error:
        fail(str(error))


def show(value: Any, view: Any, *, as_json: bool) -> None:
    """Print a result for people or for programs."""
    if as_json:
        typer.echo(json.dumps(value, indent=2))
    else:
        view(console(), value)


def port_number(text: str) -> int | None:
    """None for auto. Ends with a usage error for what is no port."""
    if text == "auto":
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        fail(f"--port {text}: write auto or a number from 1 to 65535", Exit.USAGE)
    return int(text)


def check_loopback(address: str, hosts: int) -> None:
    """The lab never listens where others could reach it. Ends with a usage error."""
    try:
        last = ipaddress.IPv4Address(address) + hosts - 1
        fits = ipaddress.IPv4Address(address).is_loopback and last.is_loopback
    except ValueError:
        fits = False
    if not fits:
        fail(f"--address {address}: write an address of 127.0.0.0/8 with room for all hosts after it", Exit.USAGE)


def account_roles(given: list[str]) -> dict[str, str]:
    """NAME:ROLE of --account, by name. Ends with a usage error for what is none."""
    from reconciler.lab.role_names import ACCOUNT, ROLES  # noqa: PLC0415 - most commands need none

    found: dict[str, str] = {}
    for text in given:
        name, _, role = text.partition(":")
        if not ACCOUNT.fullmatch(name) or name in ("root", *found):
            fail(f"--account {text}: write NAME:ROLE, NAME of letters, digits, - and _, once, and not root", Exit.USAGE)
        if role not in ROLES:
            fail(f"--account {text}: no such role: there are {', '.join(ROLES)}", Exit.USAGE)
        found[name] = role
    return found


def running_lab(place: Path) -> dict[str, Any] | None:
    """What the lab in that directory says about itself, or None where none answers."""
    try:
        about: dict[str, Any] = served_client.ask(place, "about", timeout=5.0)
    except (served_client.NoLab, served_client.Refused, served_client.Silent):
        return None
    return about


def start_daemon(place: Path) -> subprocess.Popen[bytes]:
    """Start the serving process: its own session, nothing on our terminal."""
    # The package may not be installed, only found because of where we were started.
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    with (place / served_client.LOG).open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "reconciler.lab", str(place)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=environment,
        )


def wait_ready(place: Path, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Wait until the lab has written its state and its control socket answers with the same process."""
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            fail(f"the lab did not start: {last_line(place / served_client.LOG)}")
        state = served_client.read_state(place)
        if state is not None and state.get("pid") == process.pid:
            about = running_lab(place)
            if about is not None and about["pid"] == process.pid:
                return about
        time.sleep(POLL)
    process.terminate()
    fail(f"the lab does not answer after {READY_SECONDS:g} s: see {place / served_client.LOG}")


def last_line(log: Path) -> str:
    """The last line of a log without its date and level."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    if not lines:
        return "it said nothing"
    head, found, text = lines[-1].partition(f" {logging.getLevelName(logging.ERROR)} ")
    return text if found else head


def start_lab(directory: Path, request: dict[str, Any], *, foreground: bool = False) -> dict[str, Any]:
    """Have a lab served as `request` says, in the background, and wait until it answers; what it says about itself.

    Ends with a message where one runs there already or it can't be started. In the foreground it ends with the lab.
    """
    place = directory.resolve()
    about = running_lab(place)
    if about is not None:
        fail(f"a lab is already running in {directory} (process {about['pid']}): `xenrec lab down` ends it")
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for stale in (served_client.STATE, served_client.SOCKET):
            (place / stale).unlink(missing_ok=True)
        (place / served_client.REQUEST).write_text(json.dumps(request) + "\n", encoding="utf-8")
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}: choose another directory with --dir")
    if foreground:
        from reconciler.lab.__main__ import main as serve  # noqa: PLC0415 - the engine is not needed by clients

        raise typer.Exit(serve([str(place)]))
    return wait_ready(place, start_daemon(place))
