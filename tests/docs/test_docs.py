"""Every command block of the documentation is typed, and shows what really comes.

`make accept` (XENREC_ACCEPT=1) writes into the pages what came; look at the diff before you commit it.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.cli.exits import Exit
from reconciler.core.evidence import Situation
from tests.docs.commands import command_lines, trouble
from tests.docs.links import broken, links
from tests.docs.pages import Block, blocks, fences, matches, rewritten, screen, with_commands
from tests.docs.world import Terminal

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "reconciler" / "README.md"]
MORE = [ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "deploy" / "README.md"]
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
            unseen = terminal.type(line)
            assert terminal.code in (Exit.DONE, Exit.PARTIAL), f"{name(page)}:{block.start + 1}: $ {line}\n{unseen}"
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
            assert above.strip().startswith("<!-- not run: "), f"{name(page)}:{start + 1}: say why nobody types this"


@pytest.mark.parametrize("page", [*PAGES, *MORE], ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    wrong = [
        f"{name(page)}:{number}: {target}: {why}"
        for number, target in links(page.read_text(encoding="utf-8"))
        if (why := broken(page, target))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", [*PAGES, *MORE], ids=name)
def test_command_lines_are_ones_that_xenrec_takes(page: Path) -> None:
    wrong = [
        f"{name(page)}:{number}: `{line}`: {why}"
        for number, line, complete in command_lines(page.read_text(encoding="utf-8"))
        if (why := trouble(line, complete=complete))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "at-3am.md"], ids=name)
def test_every_exit_code_is_explained(page: Path) -> None:
    rows = [
        line.split("|")[1].strip() for line in page.read_text(encoding="utf-8").split("\n") if line.startswith("| ")
    ]
    missing = [int(code) for code in Exit if str(int(code)) not in rows]
    assert not missing


def test_every_situation_has_its_paragraph() -> None:
    headings = [
        line for line in (ROOT / "docs" / "at-3am.md").read_text(encoding="utf-8").split("\n") if line.startswith("#")
    ]
    missing = [str(s) for s in Situation if not any(f"(`{s}`)" in heading for heading in headings)]
    assert not missing


def test_the_rooms_that_the_code_page_names_exist() -> None:
    text = (ROOT / "reconciler" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_/]+\.py)`", text))
    there = {str(p.relative_to(ROOT / "reconciler")) for p in (ROOT / "reconciler").rglob("*.py")}
    lost = [n for n in named if not any(t == n or t.endswith(f"/{n}") for t in there) and not (ROOT / n).exists()]
    assert not lost


def test_the_code_that_the_safety_page_cites_exists() -> None:
    text = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
    lost, names = [], set[str]()
    for cited in re.finditer(r"`(?:([a-z_]+/[a-z_/]+\.py))?(?::([A-Za-z_.]+))?`", text):
        path, name_cited = cited.groups()
        if path:
            file = next((p for p in (ROOT / "reconciler" / path, ROOT / path) if p.exists()), None)
            names = defined(file) if file else set()
            lost += [] if file else [path]
        if name_cited and name_cited not in names:
            lost.append(cited[0])
    assert not lost


def defined(file: Path) -> set[str]:
    """Functions and classes of a module, and the methods of these as Class.method."""
    found: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found.update(f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef))
    return found


@pytest.mark.parametrize(
    ("line", "complete", "why"),
    [
        ("xenrec plan madrid.yaml --format xe", True, ""),
        ("xenrec plan", True, "Missing"),
        ("xenrec plan", False, ""),
        ("xenrec plan madrid.yaml --dry-run", False, "has no option --dry-run"),
        ("xenrec reconcile madrid.yaml", False, "there is no command reconcile"),
        ("xenrec lab …", False, ""),
        ("xenrec lab explode xen01", False, "there is no command explode"),
    ],
)
def test_the_check_of_command_lines_finds_mistakes(line: str, complete: bool, why: str) -> None:
    found = trouble(line, complete=complete)
    assert why in found if why else not found


def test_the_comparison_takes_times_for_equal_and_nothing_else() -> None:
    shown = ["Done: 7 actions in 35 s.", "...", "next: xenrec apply a.yaml"]
    assert matches(shown, ["Done: 7 actions in 1 min 2 s.", "more", "and more", "next: xenrec apply a.yaml"])
    assert matches(shown, ["Done: 7 actions in 35 s.", "next: xenrec apply a.yaml"])
    assert not matches(shown, ["Done: 6 actions in 35 s.", "next: xenrec apply a.yaml"])
    assert not matches(shown, ["Done: 7 actions in 35 s.", "next: xenrec apply b.yaml"])
    assert not matches(shown, [*shown, "one line more"])


def test_what_came_is_written_back_within_what_was_shown() -> None:
    came = ["first", "new", "zero of three", "two of three", "more", "old", "last word", "last"]
    kept = ["first", "...", "two of three", "...", "last"]
    assert rewritten(kept, came) == kept
    assert rewritten(["fist", "...", "two of them", "..."], came) == ["first", "...", "two of three", "..."]
    assert rewritten(["first", "...", "something else", "..."], came) == came
    assert rewritten(["gone"], came) == came
    page = "a\n```console\n$ one\nold\n$ two\n```\nb\n"
    (block,) = blocks(page)
    assert with_commands(page, [(block, [["new"], []])]) == page.replace("old", "new")


def test_the_code_page_names_every_room() -> None:
    text = (ROOT / "reconciler" / "README.md").read_text(encoding="utf-8")
    rooms = [p for p in (ROOT / "reconciler").iterdir() if (p / "__init__.py").exists() or p.suffix == ".py"]
    names = {f"{p.name}/" if p.is_dir() else p.name for p in rooms if p.name != "__init__.py"}
    assert not {n for n in names if f"`{n}`" not in text}


@pytest.mark.skipif(not os.environ.get("XENREC_SERVED"), reason="takes two minutes: XENREC_SERVED=1 types it for real")
def test_the_readme_typed_in_a_shell_at_a_served_lab_shows_the_same(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "XENREC_STATE_DIR": str(tmp_path / "state"), "COLUMNS": "80"}
    code = 0

    def typed(line: str) -> list[str]:
        nonlocal code
        done = subprocess.run(
            ["bash", "-c", line.replace("$?", str(code))],
            cwd=home,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        code = done.returncode
        return screen(done.stdout)

    try:
        for block in blocks((ROOT / "README.md").read_text(encoding="utf-8")):
            for line in block.before:
                typed(line)
            for command in block.commands:
                came = typed(command.line)
                assert matches(command.shown, came), f"$ {command.line}\n" + "\n".join(came)
    finally:
        typed("xenrec lab down")
