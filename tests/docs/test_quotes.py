"""What a page quotes from a scenario is what the scenario shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_QUOTED = re.compile(r"<!-- quoted from (\S+) -->\n```text\n(.*?)\n```", re.DOTALL)
QUOTES = [
    (page.name, source, text)
    for page in sorted((ROOT / "docs").glob("*.md"))
    for source, text in _QUOTED.findall(page.read_text(encoding="utf-8"))
]


def test_there_are_quotes_of_two_examples() -> None:
    assert len({source for page, source, _ in QUOTES if page == "placement.md"}) >= 2


@pytest.mark.parametrize(("page", "source", "text"), QUOTES)
def test_a_quote_is_what_the_scenario_shows(page: str, source: str, text: str) -> None:
    shown = (ROOT / source).read_text(encoding="utf-8")
    assert f"\n{text}\n" in shown, f"{page} quotes what {source} does not show:\n{text}"
