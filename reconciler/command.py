"""Runs the person's command for one host of a rolling maintenance: no shell, no secrets, a deadline."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

KEPT = 16_384
"""Bytes of output that are kept: the last ones."""
PASSED_ON = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TERM", "TMPDIR", "SSH_AUTH_SOCK", "KRB5CCNAME"}
)
"""Variables of ours that the command gets, besides LC_*: none that a manifest keeps a password in."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended: `code` None when it was killed at its deadline; `output` its last words."""

    code: int | None
    output: str


def run_command(argv: Sequence[str], env: Mapping[str, str], deadline: float) -> Ran:
    """Run it with nothing on its stdin, for `deadline` seconds; then it and all that it started are killed.

    `env` is added to the few variables that are passed on. Raises OSError when it can't be started.
    """
    inherited = {k: v for k, v in os.environ.items() if k in PASSED_ON or k.startswith("LC_")}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 - the person's own words, split without a shell
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**inherited, **env},
            start_new_session=True,
        )
        ended = False
        try:
            process.wait(timeout=deadline)
            ended = True
        except subprocess.TimeoutExpired:
            pass
        finally:
            if not ended:
                _kill(process)
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - KEPT))
        text = output.read().decode("utf-8", "replace")
    return Ran(process.returncode if ended else None, text)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=2.0)
