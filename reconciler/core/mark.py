"""The mark of a host that xenrec disabled for maintenance: one key of host.other_config.

It is the pool's own memory, so that any machine, later, knows whose doing a disabled host is: only a host that carries
it is enabled again. It is written before the host is disabled, and removed last, when the VMs are home.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

MARK = "xenrec-maintenance"
"""The key in host.other_config."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Who disabled the host and when (UTC seconds). `roll` names the rolling maintenance that did, "" for a manifest's
    `state: maintenance`."""

    run: str
    at: float
    roll: str = ""

    @property
    def text(self) -> str:
        """The key's value."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))


def mark_of(other_config: Mapping[str, str]) -> Mark | None:
    """The mark that a host carries. A value that can't be read is a mark, too: nobody else writes that key."""
    text = other_config.get(MARK)
    if text is None:
        return None
    try:
        told = json.loads(text)
        at = float(told["at"])
        return Mark(str(told["run"]), at if math.isfinite(at) else 0.0, str(told.get("roll", "")))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return Mark("?", 0.0)
