"""Talking to a served lab through its control socket: one JSON object a line, one answer a line. Stdlib only."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SOCKET = "control.sock"
STATE = "lab.json"
LOG = "lab.log"
MANIFEST = "manifest.yaml"
REQUEST = "request.json"
PASSWORD = "password"  # noqa: S105 - a file's name
MAX_SOCKET_PATH = 100
"""sun_path holds 108 bytes."""


class NoLab(Exception):
    """No lab answers in that directory."""

    def __init__(self, directory: Path) -> None:
        super().__init__(f"no lab is running in {directory}: start one with `xenrec lab up`")
        self.directory = directory


class Refused(Exception):
    """The lab refused a command; the text says why and what to do."""


class Silent(Exception):
    """The lab took the command and did not answer in time (a BMC that is silent answers nothing)."""


@contextlib.contextmanager
def socket_path(directory: Path) -> Iterator[str]:
    """A path of the control socket that is short enough for the kernel, valid inside the block."""
    path = str(directory / SOCKET)
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        yield path
        return
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{SOCKET}"
    finally:
        os.close(handle)


def ask(directory: Path, command: str, *, timeout: float = 30.0, **arguments: Any) -> Any:
    """Send one command and return its result. `timeout` in seconds. Raises NoLab, Refused or Silent."""
    line = json.dumps({"command": command, "arguments": arguments}).encode() + b"\n"
    with contextlib.ExitStack() as stack:
        try:
            path = stack.enter_context(socket_path(directory))
            link = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            link.settimeout(timeout)
            link.connect(path)
            link.sendall(line)
            answer = bytearray()
            while not answer.endswith(b"\n"):
                part = link.recv(1 << 16)
                if not part:
                    break
                answer += part
        except TimeoutError as error:
            raise Silent(f"{command}: no answer within {timeout:g} s") from error
        except OSError as error:
            raise NoLab(directory) from error
    if not answer:
        raise NoLab(directory)
    document = json.loads(answer)
    if "error" in document:
        raise Refused(document["error"])
    return document["result"]


def read_state(directory: Path) -> dict[str, Any] | None:
    """What `lab up` wrote down about the lab (pid, port, hosts), or None."""
    try:
        state = json.loads((directory / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) else None
