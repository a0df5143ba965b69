"""One line that keeps an invariant, and what its removal looks like."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT = (
    "tests/core/test_plan.py",
    "tests/core/test_judge.py",
    "tests/core/test_resynchronised.py",
    "tests/core/test_no_promotion.py",
    "tests/core/test_burials.py",
    "tests/core/test_limits.py",
    "tests/execute",
)
"""Of a guard in execute/ in the other order."""


@dataclass(frozen=True)
class Guard:
    """`source` occurs exactly once in `file`; put `instead` there, and one of `tests` must fail."""

    invariant: str
    file: str
    source: str
    instead: str
    tests: tuple[str, ...] = DEFAULT

    @property
    def name(self) -> str:
        """For people: where, and how it begins."""
        return f"{self.invariant} {self.file}: {' '.join(self.source.split())[:90]}"


def off(invariant: str, file: str, condition: str, tests: tuple[str, ...] = DEFAULT, *, then: str = "") -> Guard:
    """A condition that is never met any more; `then` is what follows it, where the condition alone is not unique."""
    word, _, rest = condition.partition(" ")
    return Guard(
        invariant, file, f"{condition}:{then}", f"{word} ({rest.replace(' := ', ':=')}) and False:{then}", tests
    )
