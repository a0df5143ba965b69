"""xenrec attest: a person's word that a host is dead, recorded with who, why and until when."""

from __future__ import annotations

import re
from pathlib import Path
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
from reconciler.pipeline import Reconciler
from reconciler.rooms import operator
from reconciler.views.words import clean, utc

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
    file: Annotated[
        Path | None,
        typer.Option(
            "--from", help="For automation: a YAML or JSON file with host, dead: true, by, reason, until; - is stdin."
        ),
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the certificates: held, expired and void.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Take your word about HOST back.")] = False,
    repo: RepoOption = None,
    revision: RevisionOption = "HEAD",
    state_dir: StateOption = None,
) -> None:
    """Attest that a host is dead, so that its VMs may be started elsewhere or another host made master.

    Look first: if the host runs, VMs will run twice and their disks will be destroyed.
    """
    try:
        with troubles():
            wanted = one(path, repo, revision, state_dir)
            path = wanted.argument
            rec = reconciler(wanted, state_dir)
            if sum((listing, revoke, dead, file is not None)) > 1:
                raise Stop(Exit.USAGE, "--dead, --from, --list and --revoke are four different things", "choose one")
            if file is not None and host is not None:
                raise Stop(Exit.USAGE, "--from names the hosts in its file", f"xenrec attest {path} --from {file}")
            if listing:
                _list(rec, host)
                return
            if file is not None:
                _from(rec, file, path)
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
                gone = people.revoke(rec, host, by=operator())
                say(f"{host}: {len(gone)} revoked" if gone else f"{host}: there was none to revoke")
                return
            if not dead or not reason.strip():
                raise Stop(
                    Exit.USAGE,
                    "say what you attest and how you know",
                    f"xenrec attest {path} {host} --dead --reason 'seen powered off' --for 30m",
                )
            made = people.attest(rec, host, by=operator(), reason=reason.strip(), lifetime=seconds(lifetime))
            if isinstance(made, str):
                raise Stop(Exit.ERROR, f"not recorded: {made}", f"xenrec status {path}")
    except Stop as stop:
        fail(stop)
    tell(f"{host} is attested dead by {made.by} until {utc(made.expires_at)}. Next: xenrec plan {path}")


def _from(rec: Reconciler, file: Path, path: str) -> None:
    given = people.load_attestations(file, rec.wanted, now=rec.port.now())
    refused = []
    for host, made in people.attest_all(rec, given, by=operator()):
        if isinstance(made, str):
            refused.append(host)
            tell(f"{clean(host)}: not recorded: {clean(made)}", err=True)
        else:
            tell(f"{clean(host)} is attested dead by {clean(made.by)} until {utc(made.expires_at)}")
    if refused:
        raise Stop(Exit.ERROR, f"{len(refused)} of {len(given)} not recorded", f"xenrec status {path}")
    say(f"Next: xenrec plan {path}")


def _list(rec: Reconciler, host: str | None) -> None:
    """Held first, then expired, then void with the reason; each group with the latest last."""
    now = rec.port.now()
    shown = 0
    held = sorted(rec.folder.certificates(), key=lambda c: (now >= c.expires_at, c.issued_at))
    rows = [(c, "" if now < c.expires_at else " (expired)") for c in held]
    rows += [(c, f" (void: {why})") for c, why in rec.folder.voided()]
    for certificate, state in rows:
        if host not in (None, certificate.host, certificate.host_uuid):
            continue
        shown += 1
        tell(
            clean(
                f"{certificate.host}: {certificate.kind} by {certificate.by} at {utc(certificate.issued_at)} until "
                f"{utc(certificate.expires_at)}{state}: {certificate.reason}"
            )
        )
    if not shown:
        say("no certificates are held" + (f" for {host}" if host else ""))
