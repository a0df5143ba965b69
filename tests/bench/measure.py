"""One number of a benchmark, how it is taken, and how the table of them looks."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Number:
    """`target`: what it should reach, `at_least` or at most; None: it is only shown."""

    name: str
    value: float
    unit: str
    target: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def good(self) -> bool:
        """It reaches its target."""
        if self.target is None:
            return True
        return self.value >= self.target if self.at_least else self.value <= self.target


def best(action: Callable[[], object], times: int = 3) -> float:
    """Seconds of processor time that it takes, the shortest of several: what else the machine does only adds."""
    took = []
    for _ in range(times):
        gc.collect()
        began = time.process_time()
        action()
        took.append(time.process_time() - began)
    return min(took)


def yardstick() -> float:
    """Seconds that this machine takes for a fixed piece of plain Python: what other numbers are to be divided by
    before they are compared with another machine's."""

    def work() -> None:
        table: dict[str, int] = {}
        for number in range(200_000):
            table[f"key-{number % 5000}"] = table.get(f"key-{number % 7000}", 0) + number

    return best(work, 5)


def growth(small: float, large: float, times: float) -> float:
    """The exponent of growth: 1 where `times` as much takes `times` as long, 2 where it takes its square."""
    return math.log(large / small) / math.log(times)


def table(numbers: list[Number]) -> str:
    """For people."""
    width = max(len(n.name) for n in numbers)
    lines = []
    for number in numbers:
        target = ""
        if number.target is not None:
            sign = "≥" if number.at_least else "≤"
            target = f"{sign} {number.target:g}{'' if number.good else '  MISSED'}"
        value = f"{number.value:,.0f}" if number.value >= 100 else f"{number.value:.3g}"
        lines.append(f"{number.name:<{width}}  {value:>9} {number.unit:<10} {target:<16} {number.note}".rstrip())
    return "\n".join(lines) + "\n"
