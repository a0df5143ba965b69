"""What a probe of a member's copy of the pool database said. Pure; nothing in its output is trusted."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime

from reconciler.core.evidence import CopyTold
from reconciler.core.port import AgentRun

LONGEST = 4096
"""Characters of an answer; a whole one has under a hundred."""
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z")
_LAST = 253_402_300_799.0  # the end of the year 9999


class _Wrong(Exception):
    """What is wrong with an answer."""


def probe_told(run: AgentRun) -> CopyTold:
    """The generation and time of a probe that ended well and printed one JSON object with `generation` (a whole
    number), `time` ("2026-11-22T03:14:07Z", or seconds since 1970), or both, and nothing else; else why it counts for
    nothing. Its words are quoted short and escaped."""
    if run.code is None:
        return CopyTold(why="the probe did not end in time")
    if run.code != 0:
        said = run.stderr.strip() or run.stdout.strip()
        return CopyTold(why=f"the probe failed with code {run.code}" + (f": {_short(said)}" if said else ""))
    try:
        return _parsed(run.stdout)
    except _Wrong as wrong:
        return CopyTold(why=f"the probe's answer is not used: {wrong}")


def _parsed(text: str) -> CopyTold:
    if len(text) > LONGEST:
        raise _Wrong(f"it is longer than {LONGEST} characters")
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise _Wrong(f"it is not JSON: {_short(text)}" if text.strip() else "it is empty") from None
    if not isinstance(found, dict):
        raise _Wrong(f"it is no JSON object: {_short(text)}")
    if unknown := sorted(set(found) - {"generation", "time"}):
        raise _Wrong(f"it has a key that means nothing here: {_short(unknown[0])}")
    generation, time = found.get("generation"), found.get("time")
    if generation is None and time is None:
        raise _Wrong("it has neither generation nor time")
    if generation is not None and (
        isinstance(generation, bool) or not isinstance(generation, int) or not 0 <= generation < 2**63
    ):
        raise _Wrong("its generation is no whole number")
    return CopyTold(generation, None if time is None else _seconds(time))


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The object; a key that is there twice means nothing."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Wrong("it has a key twice")
    return found


def _no_number(word: str) -> object:
    raise _Wrong(f"{word} is no number")


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 < value <= _LAST or not math.isfinite(value):
            raise _Wrong("its time is not a time")
        return float(value)
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise _Wrong("its time is not like 2026-11-22T03:14:07Z")
    try:
        return datetime.fromisoformat(value[:19]).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise _Wrong("its time is not a time") from None


def _short(text: str) -> str:
    first = text.strip().splitlines()[0] if text.strip() else ""
    return ascii(first[:80])
