"""xenrec fence: what the declared fence agents say, what they are good for, and a person's hand on the switch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from reconciler.cli.attest import seconds
from reconciler.cli.common import (
    PathArgument,
    RepoOption,
    RevisionOption,
    StateOption,
    Stop,
    fail,
    note,
    one,
    reconciler,
    say,
    screen,
    tell,
    troubles,
)
from reconciler.cli.exits import Exit
from reconciler.core.evidence import BmcPower
from reconciler.core.fence_text import Refusal
from reconciler.core.wanted import Member, Wanted
from reconciler.people import Probe, Prospect, fence_off, prospect
from reconciler.rooms import operator
from reconciler.views.words import clean, utc

app = typer.Typer(
    no_args_is_help=True,
    help="Power state of the hosts by their fence agents, what the agents are good for, and switching a host off.",
)

HostsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[HOST]...", help="Members by name; all of them if none is given.")
]


def _probed(
    path: PathArgument, hosts: HostsArgument, repo: RepoOption, revision: RevisionOption, state_dir: StateOption
) -> tuple[Wanted, tuple[Member, ...], Mapping[str, Sequence[Probe]]]:
    """What every declared fence device of the hosts says. Raises Stop."""
    with troubles():
        wanted = one(path, repo, revision, state_dir)
        members = _members(wanted, hosts)
        return wanted, members, reconciler(wanted, state_dir).fencer.probe(members)


def _members(wanted: Wanted, hosts: Sequence[str] | None) -> tuple[Member, ...]:
    """The members named, or all. Raises Stop."""
    found = []
    for host in hosts or [m.name for m in wanted.members]:
        member = wanted.member(host)
        if member is None:
            raise Stop(
                Exit.USAGE,
                f"{host} is not declared under spec.members",
                f"declared: {', '.join(m.name for m in wanted.members)}",
            )
        found.append(member)
    return tuple(found)


@app.command("status")
def status(
    path: PathArgument,
    hosts: HostsArgument = None,
    repo: RepoOption = None,
    revision: RevisionOption = "HEAD",
    state_dir: StateOption = None,
) -> None:
    """What every declared fence device says about its host's power. Nothing is switched.

    Exit: 0 every host's power is known, 3 some device or host could not be asked.
    """
    try:
        _, members, probes = _probed(path, hosts, repo, revision, state_dir)
    except Stop as stop:
        fail(stop)
    width = max(len(m.name) for m in members)
    for member in members:
        if not probes[member.name]:
            say(f"{clean(member.name):{width}}  {'-':7}  no fence agent is declared")
        for probe in probes[member.name]:
            trouble = probe.trouble or (probe.said if probe.power is BmcPower.UNKNOWN else "")
            told = f": {clean(trouble)}" if trouble else ""
            tell(f"{clean(member.name):{width}}  {probe.power!s:7}  {clean(probe.device)}{told}")
    known = all(any(p.power is not BmcPower.UNKNOWN for p in probes[m.name]) for m in members)
    raise typer.Exit(Exit.DONE if known else Exit.PARTIAL)


@app.command("test")
def check(
    path: PathArgument,
    hosts: HostsArgument = None,
    repo: RepoOption = None,
    revision: RevisionOption = "HEAD",
    state_dir: StateOption = None,
) -> None:
    """Check the fence agents before they are needed: their options against what they know, and their status.

    Nothing is switched. Exit: 0 a recovery can prove every host dead by itself, 3 it can't for some host.
    """
    try:
        wanted, members, probes = _probed(path, hosts, repo, revision, state_dir)
    except Stop as stop:
        fail(stop)
    able = True
    for member in members:
        for probe in probes[member.name]:
            for line in _faults(probe):
                tell(f"{clean(member.name)}: {clean(line)}")
        words, fit = verdict(wanted, member, probes[member.name])
        tell(f"{clean(member.name)}: {clean(words)}")
        able = able and fit
    raise typer.Exit(Exit.DONE if able else Exit.PARTIAL)


def _faults(probe: Probe) -> list[str]:
    found = []
    if probe.trouble:
        found.append(f"{probe.device}: {probe.trouble}")
    elif probe.power is BmcPower.UNKNOWN:
        found.append(f"{probe.device}: {probe.said}")
    found += [
        f"{probe.device}: it does not know the option {name!r} and would ignore it; "
        f"see: {probe.device.split()[0]} -o metadata"
        for name in probe.ignored
    ]
    return found


def verdict(wanted: Wanted, member: Member, probes: Sequence[Probe]) -> tuple[str, bool]:
    """What a recovery could do with these devices, in a sentence; whether it could prove the host dead by itself."""
    by_hand = f"xenrec attest {wanted.argument} {member.name} --dead --reason '...' --for 30m"
    fit = [p for p in probes if p.proves]
    if not probes:
        return f"no fence agent is declared: only a person's word proves it dead: {by_hand}", False
    if not fit:
        return f"NOT USABLE: a recovery would wait for a person's word: {by_hand}", False
    first = fit[0]
    words = f"ok: {first.device} says {first.power}, so a recovery can switch it off and prove it"
    if first is not probes[0]:
        words = f"only by {first.device}, which says {first.power}: a recovery can switch it off and prove it"
    rest = [p for p in fit[1:] if p.power is not first.power]
    if rest:
        words += f"; but {rest[0].device} says {rest[0].power}: one of them looks at another host"
        return words, False
    return words, True


@app.command("off")
def off(
    path: PathArgument,
    host: Annotated[str, typer.Argument(metavar="HOST", help="The member, by its name in the manifest.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")] = "",
    lifetime: Annotated[str, typer.Option("--for", help="How long the certificate holds (at most 12h).")] = "1h",
    alive: Annotated[
        bool, typer.Option("--alive", help="Also when the host answers: its VMs lose power at once.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needs --reason.")] = False,
    repo: RepoOption = None,
    revision: RevisionOption = "HEAD",
    state_dir: StateOption = None,
) -> None:
    """Switch a host off by its fence agent, read it back, and record the certificate that it is dead.

    Asks you to type the host's name. Exit: 0 it is off and certified, 1 it is not.
    """
    s = screen()
    try:
        with troubles():
            wanted = one(path, repo, revision, state_dir)
            path = wanted.argument
            (member,) = _members(wanted, [host])
            if not member.fencing:
                raise Stop(
                    Exit.ERROR,
                    f"no fence agent is declared for {host}",
                    f"power it off by hand, look at it, then: xenrec attest {path} {host} --dead --reason '...'",
                )
            again = f"xenrec fence off {path} {host} --yes --reason '...'"
            if yes and not reason.strip():
                raise Stop(Exit.USAGE, "--yes needs --reason: the record must say why", again)
            if not yes and not s.interactive:
                raise Stop(Exit.USAGE, "it asks a person to type the host's name, and there is no terminal", again)
            holds = seconds(lifetime)
            rec = reconciler(wanted, state_dir)
            with rec.folder.lock(run=rec.run, since=rec.port.now()):
                found = prospect(rec, member)
                for line in (f"{host}: {found.judged.why}", *found.warnings):
                    tell(clean(line), err=True)
                if found.lives and not alive:
                    raise Stop(
                        Exit.ERROR,
                        f"{host} is not dead: {clean(found.judged.why)}. Nothing was switched",
                        f"if it must go off all the same: xenrec fence off {path} {host} --alive",
                    )
                if not yes:
                    _ask(host, found)
                note(f"switching {host} off")
                why = reason.strip() or "switched off by hand"
                made = fence_off(rec, found, by=operator(), reason=why, lifetime=holds)
            if isinstance(made, Refusal):
                raise Stop(Exit.ERROR, clean(made.why), made.remedy.replace("MANIFEST", path))
    except Stop as stop:
        fail(stop)
    tell(
        f"{host} is off: {clean(made.by)} switched it off and a later status says off. "
        f"Certified until {utc(made.expires_at)}. Next: xenrec plan {path}"
    )


def _ask(host: str, found: Prospect) -> None:
    lives = "It answers: whatever runs on it stops at once. " if found.lives else ""
    tell(f"{lives}{host} loses power and stays off.", err=True)
    typed = typer.prompt(
        "Type the host's name to switch it off",
        err=True,
        default="",
        show_default=False,
    )
    if typed.strip() != host:
        raise Stop(Exit.USAGE, "that is not its name: nothing was switched")
