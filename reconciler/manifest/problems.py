"""What is wrong with a manifest: values with a place and a remedy, all shown at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from reconciler.core.wanted import Place


class Severity(StrEnum):
    """An error refuses the manifest; a warning becomes one of `Wanted.notes`."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong. `what` names the key or value, `why` gives the one reason, `remedy` what to write instead.

    None of the texts ever holds a value that could be a secret.
    """

    place: Place
    what: str
    why: str
    remedy: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        warning = "warning: " if self.severity is Severity.WARNING else ""
        return f"{self.place}: {warning}{self.what}: {self.why}. {self.remedy}"

    @property
    def sort_key(self) -> tuple[str, int, int, str]:
        """Order of reading: file, line, column, then text, so that the output never depends on the order of checks."""
        return (self.place.file, self.place.line, self.place.column, self.what)


class ManifestError(Exception):
    """The manifest can't be used. `problems` holds every problem found (warnings too), in order of reading."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = in_order(problems)
        super().__init__(str(self))

    def __str__(self) -> str:
        return "\n".join(str(p) for p in self.problems)


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each problem once, in order of reading: an anchor used twice shows its mistake once."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda p: p.sort_key))


def did_you_mean(given: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant: same letters in another spelling first (default_sr), then the closest."""
    words = sorted(known)
    same = same_letters(given, words)
    if same is not None:
        return same
    close = difflib.get_close_matches(given.casefold(), [w.casefold() for w in words], n=1, cutoff=0.7)
    return next((w for w in words if close and w.casefold() == close[0]), None)


def same_letters(given: str, known: Iterable[str]) -> str | None:
    """The known word that differs only in case and signs: default_sr, default-SR for defaultSR."""
    return next((word for word in known if _fold(word) == _fold(given)), None)


def listing(words: Iterable[str], last: str = "or", limit: int = 12) -> str:
    """`a, b or c`, shortened after `limit` words."""
    items = list(words)
    if len(items) > limit:
        return ", ".join(items[:limit]) + f" {last} {len(items) - limit} more"
    return f" {last} ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def quoted(text: str, limit: int = 60) -> str:
    """A value for a message: in backticks, on one line, shortened, without control characters."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return f"`{clean[:limit] + '…' if len(clean) > limit else clean}`"


def _fold(word: str) -> str:
    return "".join(c for c in word.casefold() if c.isalnum())
