"""A clean room for other people's programs: no shell, no environment of ours, a deadline, and nobody left behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import IO

CLEAN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The agent's own PATH: without our virtual environment, so that `env python3` is the system's."""

OUTPUT_LIMIT = 262_144
"""Bytes kept of each stream; the rest is read and thrown away. The longest metadata seen is under 64 KiB."""

TICK = 0.02
"""Seconds between looks at whether the agent has ended."""

GRACE = 0.5
"""Seconds that output may still come after the agent has ended: a child that it left may hold its pipes for ever."""


def run_clean(argv: Sequence[str], words: bytes, deadline: float) -> tuple[int | None, bytes, bytes]:
    """Run a program with `words` on its stdin for `deadline` seconds: (exit code, None when it was killed at the
    deadline; stdout; stderr). It and all that it started (its process group) are dead afterwards. Raises OSError when
    it can't be started."""
    process = subprocess.Popen(  # noqa: S603 - the manifest's owner names the program; there is no shell
        list(argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": CLEAN_PATH, "LC_ALL": "C"},
        cwd="/",
        start_new_session=True,
    )
    try:
        out, err, ended = _converse(process, words, deadline)
    finally:
        _kill_group(process)
    return process.returncode if ended else None, out, err


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
