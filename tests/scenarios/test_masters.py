"""MASTERS.md: every recording of a master's loss, return or change, and every situation, has its scenario."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent
RECORDINGS = ("03", "04", "05", *(f"{n:02}" for n in range(7, 23)))
ROW = re.compile(r"^\| (?!recording |situation |---)(.+?) \|$", re.MULTILINE)
FEWEST = 40


def rows(heading: str) -> list[list[str]]:
    text = (FOLDER / "MASTERS.md").read_text(encoding="utf-8")
    part = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [found.split(" | ") for found in ROW.findall(part) if not found.startswith("---")]


def test_every_recording_and_situation_has_a_scenario_that_is_there() -> None:
    recordings, situations = rows("Recordings"), rows("Situations")
    assert [r[0] for r in recordings] == list(RECORDINGS)
    assert len({s[0] for s in situations}) == len(situations) >= 28
    named = [(row[0], name) for row in (*recordings, *situations) for name in row[-1].split(", ")]
    assert [(what, name) for what, name in named if not (FOLDER / name / "script.txt").exists()] == []
    assert len({name for _, name in named}) >= FEWEST
