"""Runs one fence agent: any executable that speaks the fence-agents protocol, options as lines on its stdin.

Agents of other people run here with the keys to the hosts' power, so nothing is left to their defaults: without an
action they *reboot*, with our environment they would load our modules, and on a dead BMC they hang.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from reconciler.core.fence_text import hide, secrets_among
from reconciler.core.port import AgentRun
from reconciler.fencing.clean import run_clean

ACTIONS = frozenset({"off", "on", "status", "monitor", "metadata"})
"""What we ever ask of an agent. `reboot`, its default, is never the way to a certificate."""

OPTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def find_agent(agent: str) -> Path:
    """The executable of an agent given by name or absolute path.

    A name is looked up in PATH, then in /usr/sbin (where distributions put agents, and which a user's PATH may lack),
    then beside the running Python (where a virtual environment has the lab's agent). Raises FileNotFoundError.
    """
    if "/" in agent:
        path = Path(agent)
        if not path.is_absolute():
            raise FileNotFoundError(f"fence agent {agent}: give a name or an absolute path, not a relative one")
        if not path.is_file():
            raise FileNotFoundError(f"fence agent {agent}: there is no such file")
        if not os.access(path, os.X_OK):
            raise FileNotFoundError(f"fence agent {agent} is not executable: chmod +x {agent}")
        return path
    # A relative entry of PATH would let the current directory supply a program that holds the BMC's password.
    places = [place for place in os.environ.get("PATH", "").split(os.pathsep) if place.startswith("/")]
    places += ["/usr/sbin", "/sbin", str(Path(sys.executable).parent)]
    found = shutil.which(agent, path=os.pathsep.join(places)) if agent else None
    if found is None:
        raise FileNotFoundError(
            f"fence agent {agent or '(no name)'} is not installed (looked in PATH, /usr/sbin and "
            f"{Path(sys.executable).parent}): install the package fence-agents or give an absolute path"
        )
    return Path(found)


def run_agent(agent: str, options: Mapping[str, str], *, deadline: float) -> AgentRun:
    """Run `agent` with `options` on its stdin (never argv: argv is readable by every user), for `deadline` seconds.

    `action` must be among the options. Secrets are hidden in the texts. At the deadline the agent and all that it
    started (its process group) are killed and `code` is None. Raises FileNotFoundError when the agent can't be
    started and ValueError when the options can't be said in the protocol; no message holds an option's value.
    """
    words = _as_lines(agent, options)
    path = find_agent(agent)
    try:
        code, out, err = run_clean([str(path)], words, deadline)
    except OSError as error:
        raise FileNotFoundError(f"fence agent {path} can't be started: {error.strerror or error}") from None
    secrets = secrets_among(options)
    username = options.get("username", options.get("login", ""))
    stdout, stderr = (hide(raw.decode("utf-8", "replace"), secrets, username=username) for raw in (out, err))
    return AgentRun(code=code, stdout=stdout, stderr=stderr)


def _as_lines(agent: str, options: Mapping[str, str]) -> bytes:
    """The options as the protocol's lines, action first. Raises ValueError."""
    action = options.get("action")
    if action not in ACTIONS:
        asked = "no action" if not action else "an action that is not one of ours"
        raise ValueError(
            f"fence agent {agent}: {asked}; without one agents reboot. Allowed: {', '.join(sorted(ACTIONS))}"
        )
    lines = [f"action={action}"]
    for name, value in options.items():
        if not OPTION_NAME.fullmatch(name):
            raise ValueError(f"fence agent {agent}: {name!r} is not an option name")
        if name == "action":
            continue
        # `option` is the old name of `action`, and the agent would believe the last one that it reads.
        if name.lower() in ("action", "option"):
            raise ValueError(f"fence agent {agent}: the option {name!r} would change the action; remove it")
        if any(sign in value for sign in "\n\r\0"):
            raise ValueError(f"fence agent {agent}: the value of {name!r} has a line break or a NUL in it")
        lines.append(f"{name}={value}")
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
