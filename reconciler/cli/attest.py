"""xenrec attest: a person's word that a host is dead, recorded with who, why and until when."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from reconciler.cli.common import PathArgument, StateOption, Stop, fail, one, reconciler, say, troubles
from reconciler.cli.exits import Exit
from reconciler.rooms import operator
from reconciler.views.words import utc

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
LONGEST = 12 * 3600.0
"""Seconds; what was seen longer ago is no proof."""


def seconds(text: str) -> float:
    """30m, 2h, 90s as seconds. Raises Stop."""
    found = re.fullmatch(r"(\d{1,6})([smh])", text.strip())
    if not found or not 0 < float(found[1]) * _UNITS[found[2]] <= LONGEST:
        raise Stop(Exit.USAGE, f"{text!r} is not a time up to 12h", "write for example --for 30m")
    return float(found[1]) * _UNITS[found[2]]


def attest(
    path: PathArgument,
    host: Annotated[str | None, typer.Argument(metavar="HOST", help="The member, by its name in the manifest.")] = None,
    dead: Annotated[bool, typer.Option("--dead", help="Say that it is powered off and stays off.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="How you know, for the record.")] = "",
    lifetime: Annotated[str, typer.Option("--for", help="How long your word holds: 30m, 2h (at most 12h).")] = "30m",
    listing: Annotated[bool, typer.Option("--list", help="List the certificates that are held.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Take your word about HOST back.")] = False,
    state_dir: StateOption = None,
) -> None:
    """Attest that a host is dead, so that its VMs may be started elsewhere or another host made master.

    Look first: if the host runs, VMs will run twice and their disks will be destroyed.
    """
    try:
        with troubles():
            wanted = one(path)
            rec = reconciler(wanted, state_dir)
            if listing:
                found = rec.folder.certificates()
                for held in found:
                    say(
                        f"{held.host}: {held.kind} by {held.by} until {utc(held.expires_at)}"
                        f"{' (expired)' if held.expires_at <= rec.port.now() else ''}: {held.reason}"
                    )
                if not found:
                    say("no certificates are held")
                return
            if host is None:
                raise Stop(Exit.USAGE, "which host?", f"xenrec attest {path} HOST --dead --reason '...' --for 30m")
            if wanted.member(host) is None:
                raise Stop(
                    Exit.USAGE,
                    f"{host} is not declared under spec.members",
                    f"declared: {', '.join(m.name for m in wanted.members)}",
                )
            if revoke:
                gone = rec.folder.revoke(host, f"revoked by {operator()}")
                say(f"{host}: {len(gone)} revoked" if gone else f"{host}: there was none to revoke")
                return
            if not dead or not reason.strip():
                raise Stop(
                    Exit.USAGE,
                    "say what you attest and how you know",
                    f"xenrec attest {path} {host} --dead --reason 'seen powered off' --for 30m",
                )
            made = rec.attest(host, by=operator(), reason=reason.strip(), lifetime=seconds(lifetime))
            if isinstance(made, str):
                raise Stop(Exit.ERROR, f"not recorded: {made}", f"xenrec status {path}")
    except Stop as stop:
        fail(stop)
    say(f"{host} is attested dead by {made.by} until {utc(made.expires_at)}. Next: xenrec plan {path}")
