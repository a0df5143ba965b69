"""What the words of a fault command name in a lab: hosts, ends of links, SRs, numbers."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.lab.carrier import Deed
from reconciler.lab.engine import Lab

Note = Callable[[str], None]
"""Is told what comes of a command later."""
Command = Callable[[Lab, list[str], Note], Deed]
"""Reads the words after its own. Raises Usage, or ScriptError for a name that the lab does not have."""


class ScriptError(ValueError):
    """A command that means nothing here; the text says what would."""


class Usage(Exception):
    """Not the words that this command takes."""


def host_named(lab: Lab, word: str) -> str:
    """The name of the host that a word means by name, uuid or address."""
    for host in lab.hosts.values():
        if word in (host.name, host.uuid, host.address):
            return host.name
    raise ScriptError(f"no host is called {word}: the lab has {', '.join(lab.hosts)}")


def end_named(lab: Lab, word: str) -> str:
    """An end of a link."""
    names = lab.world.sr_names
    if word in ("client", "operator", "storage", "*") or word in names or word in names.values():
        return word
    return host_named(lab, word)


def sr_named(lab: Lab, word: str) -> str:
    """An SR by name or uuid, or "storage" for all of them."""
    names = lab.world.sr_names
    if word != "storage" and word not in names and word not in names.values():
        raise ScriptError(f"no SR is called {word}: the lab has {', '.join(sorted(set(names.values())))}")
    return word


def quantity(word: str, *, low: float, what: str) -> float:
    """A number that is not below `low`; `what` says what is missing where it is none."""
    try:
        value = float(word)
    except ValueError:
        value = float("nan")
    if not low <= value <= 1e9:
        raise ScriptError(f"{word} is no {what}")
    return value
