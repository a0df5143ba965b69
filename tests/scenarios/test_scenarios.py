"""Every folder here is a scenario; tests/support/scenario.py says how one is written.

Its transcript is compared byte for byte. XENREC_ACCEPT=1 writes it: read it as whoever has to act on it at 3 a.m.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.scenario import Scenario

FOLDER = Path(__file__).parent
NAMES = sorted(p.name for p in FOLDER.iterdir() if (p / "script.txt").exists())


@pytest.mark.parametrize("name", NAMES)
def test_scenario(name: str, tmp_path: Path) -> None:
    told = Scenario(FOLDER / name, tmp_path)
    text = told.tell()
    expected = FOLDER / name / "expected.txt"
    if os.environ.get("XENREC_ACCEPT") == "1":
        expected.write_text(text, encoding="utf-8")
    harm = told.lab.harm()
    assert {h.kind for h in harm} == told.allowed_harm, [h.text for h in harm]
    assert "A SECOND APPLY" not in text, text
    assert told.port.traps == [], "what the script armed never happened"
    assert expected.exists(), f"{expected} is missing: look at this, then run with XENREC_ACCEPT=1\n{text}"
    assert text == expected.read_text(encoding="utf-8"), f"differs from {expected}; XENREC_ACCEPT=1 accepts it"


def test_there_are_scenarios_and_each_says_what_must_happen() -> None:
    assert len(NAMES) >= 60
    folders = sorted(p.name for p in FOLDER.iterdir() if p.is_dir() and not p.name.startswith("__"))
    assert folders == NAMES, "a folder without a script"
    for name in NAMES:
        readme = (FOLDER / name / "README.md").read_text(encoding="utf-8").strip()
        first = readme.splitlines()[0]
        assert first.endswith("."), f"{name}/README.md is one sentence"
        others = [line for line in readme.splitlines()[1:] if line.strip()]
        assert all(line.startswith("Harm of the script itself: ") for line in others), name
