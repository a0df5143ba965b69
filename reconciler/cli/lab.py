"""`xenrec lab …`: a simulated pool to try everything on, served over HTTPS on loopback addresses.

Exit codes: 0 done, 1 the lab could not do it, 64 usage, 69 no lab is running there.
"""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli import lab_story
from reconciler.cli.exits import Exit
from reconciler.cli.lab_common import (
    DEFAULT_DIRECTORY,
    POLL,
    AsJson,
    Directory,
    Host,
    account_roles,
    check_loopback,
    command,
    console,
    fail,
    port_number,
    show,
    shown,
    start_daemon,
    start_lab,
    wait_ready,
)
from reconciler.lab import served_client, served_views

__all__ = ["app", "start_daemon", "wait_ready"]

app = typer.Typer(
    name="lab",
    help="A simulated pool to try everything on: powered, cut and broken at will.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

DOWN_SECONDS = 10.0


class Power(StrEnum):
    """What to do with a host's power."""

    ON = "on"
    OFF = "off"
    CYCLE = "cycle"
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
    account: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:ROLE",
            help="A further account, as of a directory, with a role of XAPI: read-only, pool-operator …; may be given "
            "again. Its password goes to password-NAME in the lab's directory.",
        ),
    ] = None,
    directory: Directory = DEFAULT_DIRECTORY,
    foreground: Annotated[bool, typer.Option("--foreground", help="Serve until interrupted.")] = False,
) -> None:
    """Serve a simulated pool in the background; returns when it answers."""
    check_loopback(address, hosts)
    accounts = account_roles(account or [])
    request = {
        "hosts": hosts,
        "vms": vms,
        "seed": seed,
        "from": str(source.resolve()) if source is not None else None,
        "fast": fast,
        "release": release.value,
        "address": address,
        "port": port_number(port),
        "accounts": accounts,
    }
    about = start_lab(directory, request, foreground=foreground)
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
    """Pull a host's plug, put it back, do both, or show whether it has power."""
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


app.command("run")(lab_story.run)
app.command("do")(lab_story.do)
app.command("incident")(lab_story.incident)
app.command("check")(lab_story.check)
