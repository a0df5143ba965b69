"""`xenrec lab …`: a simulated pool to try everything on, served over HTTPS on loopback addresses.

Exit codes: 0 done, 1 the lab could not do it, 64 usage, 69 no lab is running there.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import subprocess
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from reconciler.cli.exits import Exit
from reconciler.lab import served_client, served_views

app = typer.Typer(
    name="lab",
    help="A simulated pool to try everything on: powered, cut and broken at will.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

READY_SECONDS = 60.0
DOWN_SECONDS = 10.0
POLL = 0.05


class Power(StrEnum):
    """What to do with a host's power."""

    ON = "on"
    OFF = "off"
    STATUS = "status"


class Cut(StrEnum):
    """What to do with a link."""

    CUT = "cut"
    HEAL = "heal"


class Toolstack(StrEnum):
    """What to do with a host's xapi; its VMs run on."""

    RESTART = "restart"
    STOP = "stop"
    START = "start"
    HANG = "hang"


class ReleaseName(StrEnum):
    """Whose manners the lab has."""

    V24_16 = "24.16"
    CLASSIC = "classic"


Directory = Annotated[
    Path, typer.Option("--dir", envvar="XENREC_LAB_DIR", help="Directory of the lab: its state, manifest and log.")
]
DEFAULT_DIRECTORY = Path(".lab")
Host = Annotated[str, typer.Argument(metavar="HOST", help="Name, uuid or address of a host.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def up(
    hosts: Annotated[int, typer.Option(min=1, max=64, help="Hosts of a generated pool.")] = 4,
    vms: Annotated[int, typer.Option(min=0, max=5000, help="VMs of a generated pool.")] = 24,
    seed: Annotated[int, typer.Option(help="Another number generates another pool.")] = 0,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Start from this pool database instead.")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Seconds instead of minutes: for trying things out.")] = False,
    release: Annotated[ReleaseName, typer.Option(help="Whose manners the toolstacks have.")] = ReleaseName.V24_16,
    address: Annotated[str, typer.Option(help="Address of the first host; the others follow.")] = "127.0.10.11",
    port: Annotated[
        str, typer.Option(metavar="PORT", help="HTTPS port; auto: 443 where permitted, else 8443.")
    ] = "auto",
    directory: Directory = DEFAULT_DIRECTORY,
    foreground: Annotated[bool, typer.Option("--foreground", help="Serve until interrupted.")] = False,
) -> None:
    """Serve a simulated pool in the background; returns when it answers."""
    place = directory.resolve()
    check_loopback(address, hosts)
    request = {
        "hosts": hosts,
        "vms": vms,
        "seed": seed,
        "from": str(source.resolve()) if source is not None else None,
        "fast": fast,
        "release": release.value,
        "address": address,
        "port": port_number(port),
    }
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
    about = wait_ready(place, start_daemon(place))
    served_views.print_up(console(), about, shown(directory))


@app.command()
def down(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """End the lab; its certificates and password stay for the next one."""
    place = directory.resolve()
    about = command(directory, "down")
    until = time.monotonic() + DOWN_SECONDS
    while (place / served_client.STATE).exists():
        if time.monotonic() > until:
            fail(f"process {about['pid']} does not end: see {directory / served_client.LOG}")
        time.sleep(POLL)
    console().print("The lab has ended.")


@app.command()
def status(directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False) -> None:
    """Show hosts and VMs: what is recorded, and what physically is where that differs."""
    picture = command(directory, "picture")
    show(picture, served_views.print_status, as_json=as_json)


@app.command()
def running(directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False) -> None:
    """Show which VM physically runs where, whatever any database says."""
    show(command(directory, "running"), served_views.print_running, as_json=as_json)


@app.command()
def harm(directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False) -> None:
    """Show what has happened that must never happen; exit code 1 if anything has."""
    found = command(directory, "harm")
    show(found, served_views.print_harm, as_json=as_json)
    if found:
        raise typer.Exit(Exit.ERROR)


@app.command()
def manifest(
    directory: Directory = DEFAULT_DIRECTORY,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
) -> None:
    """Print the manifest that describes the pool as it was when the lab started."""
    command(directory, "about")  # an old file of a lab that has ended describes nothing
    try:
        text = (directory / served_client.MANIFEST).read_text(encoding="utf-8")
        if output is None:
            sys.stdout.write(text)
        else:
            output.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}")


@app.command()
def power(action: Power, host: Host, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Pull a host's plug, put it back, or show whether it has power."""
    answer = command(directory, "power", action=action.value, host=host)
    said = {"on": "has power", "off": "is off"}[answer["power"]]
    console().print(f"{answer['host']} {said}", markup=False)


@app.command()
def link(
    action: Cut,
    one: Annotated[str, typer.Argument(metavar="A", help="A host, or client.")],
    other: Annotated[str, typer.Argument(metavar="B", help="A host, client, storage, or '*' for everybody.")],
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Cut or heal the network between two hosts, or between a host and the clients (you)."""
    answer = command(directory, "link", action=action.value, a=one, b=other)
    done = "is cut" if action is Cut.CUT else "is healed"
    console().print(f"The link between {answer['a']} and {answer['b']} {done}", markup=False)


@app.command()
def storage(
    action: Cut,
    host: Host,
    sr: Annotated[str, typer.Option("--sr", help="Name or uuid of one SR; otherwise all of them.")] = "storage",
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Cut a host from its storage, or heal that."""
    answer = command(directory, "storage", action=action.value, host=host, sr=sr)
    what = "its storage" if answer["sr"] == "storage" else f"SR {answer['sr']}"
    done = "is cut from" if action is Cut.CUT else "is linked again to"
    console().print(f"{answer['host']} {done} {what}", markup=False)


@app.command()
def toolstack(action: Toolstack, host: Host, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Restart, stop, start or hang a host's xapi."""
    answer = command(directory, "toolstack", action=action.value, host=host)
    console().print(f"The toolstack of {answer['host']} is {answer['toolstack']}", markup=False)


@app.command()
def bmc(
    host: Host,
    silent: Annotated[bool | None, typer.Option("--silent/--answering", help="It answers nobody, or does.")] = None,
    lying: Annotated[
        bool | None, typer.Option("--lying/--honest", help="It says done and does nothing, or is honest.")
    ] = None,
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Show or set how a host's BMC behaves."""
    answers = None if silent is None else not silent
    answer = command(directory, "bmc", host=host, answers=answers, lies=lying)
    words = ["answers" if answer["answers"] else "is silent"]
    if answer["lies"]:
        words.append("lies: it says off and leaves the power on")
    console().print(f"The BMC of {answer['host']} {' and '.join(words)}", markup=False)


# -- what the commands share


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
