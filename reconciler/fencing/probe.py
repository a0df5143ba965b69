"""Runs the operator's probe of a member's copy of the pool database: a command and its arguments, as they stand."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from reconciler.core.port import AgentRun
from reconciler.fencing.clean import CLEAN_PATH, run_clean


def run_probe(argv: Sequence[str], *, deadline: float) -> AgentRun:
    """Run it with nothing on its stdin for `deadline` seconds; `code` is None when it was killed then. A program given
    by name is looked for in the clean room's PATH. Raises FileNotFoundError when it can't be started."""
    program = shutil.which(argv[0], path=CLEAN_PATH) if argv else None
    if program is None:
        raise FileNotFoundError(f"probe {argv[0] if argv else '(none)'}: there is no such program in {CLEAN_PATH}")
    try:
        code, out, err = run_clean([program, *argv[1:]], b"", deadline)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(f"probe {program} can't be started: {error}") from None
    stdout, stderr = (raw.decode("utf-8", "replace") for raw in (out, err))
    return AgentRun(code, stdout, stderr)
