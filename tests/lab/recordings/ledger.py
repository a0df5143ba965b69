"""docs/fidelity.md's table of deviations: read, and brought up to date."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.lab.recordings.judge import Deviation

PAGE = Path(__file__).resolve().parents[3] / "docs" / "fidelity.md"
HEAD = "| Recordings | What | Real pool | Lab | Reason |"


@dataclass(frozen=True)
class Row:
    """One row: the recordings that show the deviation, patterns with `*` of what deviates, and why it may."""

    recordings: tuple[str, ...]
    subject: str
    recorded: str
    lab: str
    reason: str

    def covers(self, found: Deviation) -> bool:
        """The deviation is this one."""
        pairs = ((self.subject, found.subject), (self.recorded, found.recorded), (self.lab, found.lab))
        return all(_matches(pattern, text) for pattern, text in pairs)

    @property
    def text(self) -> str:
        """As a line of the table."""
        cells = (" ".join(self.recordings), f"`{self.subject}`", f"`{self.recorded}`", f"`{self.lab}`", self.reason)
        return f"| {' | '.join(cells)} |"


def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), text, re.DOTALL) is not None


def rows(page: Path = PAGE) -> list[Row]:
    """The table. Raises ValueError on a line that is no row of it."""
    lines = page.read_text(encoding="utf-8").splitlines()
    found = []
    for line in lines[lines.index(HEAD) + 2 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) != 5:
            raise ValueError(f"{page.name}: not five cells: {line}")
        recordings, subject, recorded, lab, reason = cells
        found.append(Row(tuple(recordings.split()), subject.strip("`"), recorded.strip("`"), lab.strip("`"), reason))
    return found


def unlisted(number: str, found: Iterable[Deviation], table: Iterable[Row]) -> list[Deviation]:
    """Deviations of a recording that no row covers."""
    mine = [row for row in table if number in row.recordings]
    return [d for d in found if not any(row.covers(d) for row in mine)]


def gone(number: str, found: list[Deviation], table: Iterable[Row]) -> list[Row]:
    """Rows that say that a recording shows what it does not show any more."""
    return [row for row in table if number in row.recordings and not any(row.covers(d) for d in found)]


def renew(found: dict[str, list[Deviation]], page: Path = PAGE) -> int:
    """Write the table anew: reasons are kept, rows that are gone go, new ones come without a reason. How many lack
    one."""
    new: list[Row] = []
    listed = rows(page)
    for row in listed:
        still = tuple(n for n, ds in found.items() if n in row.recordings and any(row.covers(d) for d in ds))
        if still:
            new.append(Row(still, row.subject, row.recorded, row.lab, row.reason))
    fresh: dict[Deviation, list[str]] = {}
    for number, deviations in found.items():
        for deviation in unlisted(number, deviations, new):
            fresh.setdefault(deviation, []).append(number)
    for deviation, numbers in fresh.items():
        new.append(Row(tuple(numbers), deviation.subject, deviation.recorded, deviation.lab, ""))
    text = page.read_text(encoding="utf-8")
    start = text.index(HEAD)
    end = start + len("\n".join([HEAD, "|---|---|---|---|---|", *(row.text for row in listed)]))
    text = text[:start] + "\n".join([HEAD, "|---|---|---|---|---|", *(row.text for row in new)]) + text[end:]
    page.write_text(text, encoding="utf-8")
    return sum(not row.reason for row in new)
