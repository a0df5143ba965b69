"""Exit codes: Terraform's habits, sysexits' numbers."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class Exit(IntEnum):
    """What a command ends with; documented in docs/at-3am.md."""

    DONE = 0  # done, or nothing to do
    ERROR = 1
    CHANGES = 2  # changes pending, only with --detailed-exitcode
    PARTIAL = 3  # applied in part, something withheld, or a wish that can't be met
    USAGE = 64
    INVALID = 65  # the manifest
    UNAVAILABLE = 69  # the pool
    BUSY = 75  # another run holds the pool
    DENIED = 77  # login or rights
    INTERRUPTED = 130


_WORST_FIRST = (
    Exit.INTERRUPTED,
    Exit.ERROR,
    Exit.USAGE,
    Exit.DENIED,
    Exit.INVALID,
    Exit.UNAVAILABLE,
    Exit.BUSY,
    Exit.PARTIAL,
    Exit.CHANGES,
    Exit.DONE,
)


def worst(codes: Iterable[Exit]) -> Exit:
    """The code of a run over several pools: the gravest of theirs, DONE for none."""
    return min(codes, key=_WORST_FIRST.index, default=Exit.DONE)
