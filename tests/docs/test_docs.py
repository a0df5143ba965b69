"""Every command block of the documentation is typed, and shows what really comes.

`make accept` (XENREC_ACCEPT=1) writes into the pages what came; look at the diff before you commit it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.docs.pages import Block, blocks, fences, matches, rewritten, screen, with_commands
from tests.docs.world import Terminal

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "reconciler" / "README.md"]
ACCEPT = bool(os.environ.get("XENREC_ACCEPT"))
TYPED = [p for p in PAGES if blocks(p.read_text(encoding="utf-8"))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", TYPED, ids=name)
def test_a_page_shows_what_its_commands_show(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page.read_text(encoding="utf-8")
    terminal = Terminal(tmp_path, monkeypatch)
    wrong: list[str] = []
    changed: list[tuple[Block, list[list[str]]]] = []
    for block in blocks(text):
        for line in block.before:
            terminal.type(line)
        terminal.answers, terminal.interrupt = list(block.answers), block.interrupt
        shown: list[list[str]] = []
        for command in block.commands:
            came = screen(terminal.type(command.line))
            if not matches(command.shown, came):
                wrong.append(f"{name(page)}:{block.start + 2}: $ {command.line}\n" + "\n".join(came))
            shown.append(rewritten(command.shown, came))
        assert not terminal.answers, f"{name(page)}:{block.start + 1}: nobody asked for {terminal.answers}"
        assert not terminal.interrupt, f"{name(page)}:{block.start + 1}: {terminal.interrupt} was not called"
        changed.append((block, shown))
    if wrong and ACCEPT:
        page.write_text(with_commands(text, changed), encoding="utf-8")
        return
    assert not wrong, "not what comes (make accept writes it into the page):\n\n" + "\n\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_is_not_typed_says_so(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").split("\n")
    for language, start, _ in fences(lines):
        assert language, f"{name(page)}:{start + 1}: a block needs a language"
        if language in ("sh", "bash", "shell"):
            above = next((line for line in reversed(lines[:start]) if line.strip()), "")
            assert above.startswith("<!-- not run: "), f"{name(page)}:{start + 1}: say why nobody types this"
