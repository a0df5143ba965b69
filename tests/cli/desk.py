"""Commands typed into a terminal, over a lab in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli import attest, fence, pause
from reconciler.cli import common as cli_common
from tests.docs.world import Terminal


@dataclass
class Typed:
    """What a line wrote (stdout and stderr in order) and its exit code."""

    text: str
    code: int


class Desk:
    """A terminal with a fresh pool m.yaml of four hosts. `answers` are typed at the next prompts."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        terminal.type("fresh m.yaml")

    @property
    def lab(self) -> Any:
        assert self.terminal.running is not None
        return self.terminal.running.lab

    def __call__(self, line: str, *answers: str) -> Typed:
        self.terminal.answers = list(answers)
        text = self.terminal.type(line)
        return Typed(text, self.terminal.code)

    @property
    def folder(self) -> Path:
        return self.terminal.cwd

    def edit(self, old: str, new: str) -> None:
        """Change the manifest."""
        file = self.folder / "m.yaml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def journal(self) -> list[dict[str, Any]]:
        """Every line of every journal, by the lab's time."""
        files = Path(self.terminal.env["XENREC_STATE_DIR"]).glob("*/runs/*.jsonl")
        lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return sorted(lines, key=lambda line: line["at"])


@pytest.fixture(name="desk")
def at_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    terminal = Terminal(tmp_path, monkeypatch)
    for room in (attest, fence, pause):
        monkeypatch.setattr(room, "operator", lambda: "op@desk")
    plain = cli_common.screen

    def screen() -> cli_common.Screen:
        s = plain()
        return cli_common.Screen(s.width, s.ascii, s.color, bool(terminal.answers))

    monkeypatch.setattr(fence, "screen", screen)
    return Desk(terminal)
