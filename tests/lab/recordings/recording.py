"""Recordings of a real pool, as the lab's tests read them: one JSON object a line, the settings on the first."""

from __future__ import annotations

import json
import os
from calendar import timegm
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import strptime
from typing import Any

Json = Any
FOLDER = Path(os.environ.get("XENREC_SHARED") or Path(__file__).resolve().parents[4] / "shared") / "xapi" / "recordings"
ABSENT = f"the recordings of a real pool are not at {FOLDER} (set XENREC_SHARED)"
CONTINUES = {"04": "03", "22": "21"}
"""These go on where another one ended, on the same pool."""


@dataclass(frozen=True)
class Line:
    """One line: what was done to the pool (`event`), or a call and its answer. `t` in seconds since the start."""

    number: int
    t: float
    data: dict[str, Json]

    @property
    def event(self) -> str | None:
        """What was done or seen; None for a call."""
        return self.data.get("event")

    @property
    def took(self) -> float:
        """Seconds until the answer."""
        return float(self.data.get("took") or 0.0)

    @property
    def survey(self) -> int | None:
        """Number of the survey that the call belongs to."""
        return self.data.get("survey")


@dataclass(frozen=True)
class Recording:
    """`started` in UTC seconds; `names`: class -> name -> ref, of hosts, VMs, SRs and the pool."""

    name: str
    started: float
    settings: dict[str, float]
    addresses: dict[str, str]
    lines: list[Line]
    names: dict[str, dict[str, str]]

    @property
    def number(self) -> str:
        """ "03" of "03-master-dies"."""
        return self.name[:2]

    def first(self, method: str) -> Json:
        """The first answer to a method that has a value."""
        for line in self.lines:
            if line.data.get("method") == method and isinstance(line.data.get("value"), dict):
                return line.data["value"]
        return {}


def names() -> list[str]:
    """Names of all recordings, in order."""
    return sorted(path.stem for path in FOLDER.glob("[0-9][0-9]-*.jsonl"))


@cache
def read(name: str) -> Recording:
    """Read one; its lines in the order in which the calls were sent."""
    raw = [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    head, rest = raw[0], raw[1:]
    lines = [Line(number, float(d["t"]), d) for number, d in enumerate(rest, start=2)]
    lines.sort(key=lambda line: line.t)
    found: dict[str, dict[str, str]] = {"host": {}, "VM": {}, "SR": {}, "pool": {}}
    for d in rest:
        if "hosts" in d and isinstance(d["hosts"], dict):
            found["host"].update(d["hosts"])
            found["VM"].update(d["VMs"])
            found["SR"].update(d["SRs"])
            found["pool"]["pool"] = d["pool"]
    return Recording(
        name,
        float(timegm(strptime(head["started"], "%Y-%m-%dT%H:%M:%SZ"))),
        head["settings"],
        head["hosts"],
        lines,
        found,
    )
