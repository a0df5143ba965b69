"""Chance that falls as it fell in the recording."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from tests.lab.recordings.recording import Line, Recording
from tests.lab.recordings.values import Names


class Chance(random.Random):
    """Chooses `wanted` where that is to be had."""

    def __init__(self) -> None:
        super().__init__(0)
        self.wanted = ""

    def choices(self, population: Any, weights: Any = None, *, cum_weights: Any = None, k: int = 1) -> list[Any]:
        """As random.choices, but for `wanted`."""
        found: Sequence[Any] = list(population)
        if self.wanted in found:
            return [self.wanted] * k
        return super().choices(found, weights, cum_weights=cum_weights, k=k)


def where_it_went(recording: Recording, names: Names, after: Line, vm: str) -> str:
    """Ref of the host on which the recording next shows the VM; "" when it never does."""
    name = names.labels.get(vm, "")
    for line in recording.lines:
        if line.t < after.t or (line.number <= after.number and line.t == after.t):
            continue
        data = line.data
        if data.get("method") == "VM.get_resident_on" and vm in data["args"]:
            return str(data["value"])
        if data.get("method") == "VM.get_all_records" and isinstance(data.get("value"), dict):
            record = data["value"].get(vm, {})
            if record.get("power_state") == "Running":
                return str(record.get("resident_on", ""))
        for host, domains in data.get("domains", {}).items():
            if isinstance(domains, list) and any(d["vm"] == name for d in domains):
                return recording.names["host"][host]
    return ""
