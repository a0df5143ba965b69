"""States that surveys sample: the same values in the same order, each within a window of time.

A sample agrees when the other side shows its value no more than `window` seconds away: 5 s, or a quarter of the time
since the last thing that was done to the pool, whichever is more. A state of the lab that lasted less than the time
between the recorded samples around it may have been missed by them. States that come from loops of xapi with a phase
of their own (30 s of db_gc) need the quarter; everything that follows directly from an event is held to 5 s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Value = Any
LEAST = 5.0
SHARE = 0.25


@dataclass(frozen=True)
class Sample:
    """`since`: seconds since the last thing that was done to the pool."""

    t: float
    value: Value
    since: float


@dataclass(frozen=True)
class Mismatch:
    """A state that one side shows and the other does not."""

    signal: str
    t: float
    recorded: str
    lab: str


class Signals:
    """Samples of both sides, by signal."""

    def __init__(self) -> None:
        self._recorded: dict[str, list[Sample]] = defaultdict(list)
        self._mine: dict[str, list[Sample]] = defaultdict(list)
        self._between: dict[str, list[Sample]] = defaultdict(list)

    def add(self, signal: str, t: float, since: float, recorded: Value, mine: Value) -> None:
        """One sample of each side at the same time."""
        self._recorded[signal].append(Sample(t, recorded, since))
        self._mine[signal].append(Sample(t, mine, since))

    def extra(self, signal: str, t: float, mine: Value) -> None:
        """A sample of the lab alone, between the recorded ones."""
        self._between[signal].append(Sample(t, mine, 0.0))

    def mismatches(self) -> list[Mismatch]:
        """Every state that has no counterpart, once for each pair of values."""
        found: dict[tuple[str, str, str], Mismatch] = {}
        for signal in sorted(self._recorded):
            theirs = self._recorded[signal]
            mine = sorted(self._mine[signal] + self._between[signal], key=lambda s: s.t)
            for number, (sample, other) in enumerate(zip(theirs, self._mine[signal], strict=True)):
                if sample.value == other.value:
                    continue
                window = max(LEAST, SHARE * sample.since)
                gap = _gap(theirs, number)
                theirs_shown = _shown(_stretched(theirs), other.value, sample.t, window)
                if not theirs_shown and self._between[signal]:
                    theirs_shown = _lasted(mine, other.value, sample.t) < gap
                if theirs_shown and _shown(mine, sample.value, sample.t, window):
                    continue
                key = (signal, _text(sample.value), _text(other.value))
                found.setdefault(key, Mismatch(signal, sample.t, key[1], key[2]))
        return list(found.values())


def _stretched(samples: list[Sample]) -> Iterable[Sample]:
    """A recorded state may have begun right after the sample before it and lasted until the one after it."""
    for number, sample in enumerate(samples):
        yield sample
        yield Sample(samples[max(0, number - 1)].t, sample.value, sample.since)
        yield Sample(samples[min(len(samples) - 1, number + 1)].t, sample.value, sample.since)


def _gap(samples: list[Sample], number: int) -> float:
    """Between the samples before and after this one: what lasts less may have been missed."""
    before = samples[max(0, number - 1)].t
    after = samples[min(len(samples) - 1, number + 1)].t
    return after - before


def _lasted(samples: list[Sample], value: Value, t: float) -> float:
    """How long a state of the lab lasted around a time, in seconds."""
    runs: list[tuple[float, float]] = []
    started: float | None = None
    for sample in samples:
        if sample.value == value:
            started = sample.t if started is None else started
        elif started is not None:
            runs.append((started, sample.t))
            started = None
    if started is not None:
        runs.append((started, float("inf")))
    near = [end - start for start, end in runs if start - 0.2 <= t <= end + 0.2]
    return min(near, default=float("inf"))


def _shown(samples: Iterable[Sample], value: Value, t: float, window: float) -> bool:
    return any(s.value == value and abs(s.t - t) <= window for s in samples)


def _text(value: Value) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(str(v) for v in value) or "none"
    return str(value)
