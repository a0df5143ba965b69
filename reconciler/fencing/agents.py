"""Runs one fence agent: any executable that speaks the fence-agents protocol, options as lines on its stdin.

Agents of other people run here with the keys to the hosts' power, so nothing is left to their defaults: without an
action they *reboot*, with our environment they would load our modules, and on a dead BMC they hang.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from reconciler.core.fence_text import hide, secrets_among
from reconciler.core.port import AgentRun

ACTIONS = frozenset({"off", "on", "status", "monitor", "metadata"})
"""What we ever ask of an agent. `reboot`, its default, is never the way to a certificate."""

CLEAN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The agent's own PATH: without our virtual environment, so that `env python3` is the system's."""

OUTPUT_LIMIT = 262_144
"""Bytes kept of each stream; the rest is read and thrown away. The longest metadata seen is under 64 KiB."""

TICK = 0.02
"""Seconds between looks at whether the agent has ended."""

GRACE = 0.5
"""Seconds that output may still come after the agent has ended: a child that it left may hold its pipes for ever."""

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
        process = subprocess.Popen(  # noqa: S603 - the manifest's owner names the agent; no shell, no arguments
            [str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": CLEAN_PATH, "LC_ALL": "C"},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise FileNotFoundError(f"fence agent {path} can't be started: {error.strerror or error}") from None
    try:
        out, err, ended = _converse(process, words, deadline)
    finally:
        _kill_group(process)
    secrets = secrets_among(options)
    username = options.get("username", options.get("login", ""))
    stdout, stderr = (hide(raw.decode("utf-8", "replace"), secrets, username=username) for raw in (out, err))
    return AgentRun(code=process.returncode if ended else None, stdout=stdout, stderr=stderr)


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


def _converse(process: subprocess.Popen[bytes], words: bytes, deadline: float) -> tuple[bytes, bytes, bool]:
    """Feed stdin and collect both outputs until the agent ends: (stdout, stderr, whether it ended in time)."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = bytearray(), bytearray()
    give_up = time.monotonic() + deadline
    ended_at: float | None = None
    with selectors.DefaultSelector() as selector, process.stdin, process.stdout, process.stderr:
        for pipe in (process.stdin, process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)
        selector.register(process.stdin, selectors.EVENT_WRITE)
        selector.register(process.stdout, selectors.EVENT_READ, out)
        selector.register(process.stderr, selectors.EVENT_READ, err)
        while True:
            now = time.monotonic()
            if ended_at is None and _has_ended(process):
                ended_at = now
            if ended_at is not None and (not selector.get_map() or now >= ended_at + GRACE):
                break
            if now >= give_up:
                break
            for key, _ in selector.select(min(TICK, max(give_up - now, 0.0))):
                if key.fileobj is process.stdin:
                    words = _feed(selector, process.stdin, words)
                else:
                    _drain(selector, key.fd, key.data)
    return bytes(out), bytes(err), ended_at is not None


def _feed(selector: selectors.BaseSelector, pipe: IO[bytes], words: bytes) -> bytes:
    """Write what fits; close stdin when all is said or nobody listens. What is left to say."""
    try:
        words = words[os.write(pipe.fileno(), words) :]
    except BlockingIOError:
        return words
    except OSError:
        words = b""  # the agent closed its stdin: it will say why, or its status won't read OFF
    if not words:
        selector.unregister(pipe)
        with contextlib.suppress(OSError):
            pipe.close()
    return words


def _drain(selector: selectors.BaseSelector, pipe: int, kept: bytearray) -> None:
    """Read what is there, keep it up to the limit, stop listening at its end."""
    try:
        part = os.read(pipe, 65_536)
    except BlockingIOError:
        return
    if not part:
        selector.unregister(pipe)
    elif len(kept) < OUTPUT_LIMIT:
        kept += part[: OUTPUT_LIMIT - len(kept)]


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """It has ended; left as a zombie, so that the number of its group stays ours until the group is killed."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill whatever is left of the agent and its children, then reap it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        # A process in uninterruptible sleep can't be reaped; it must not hold a recovery either.
        process.wait(timeout=2.0)
