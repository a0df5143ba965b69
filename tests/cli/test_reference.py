"""docs/commands.md tells every command with every option, and is fresh."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.cli import reference

ROOT = Path(__file__).parents[2]


def test_the_page_is_fresh() -> None:
    stale = f"{reference.PAGE} is stale: make generate"
    assert (ROOT / reference.PAGE).read_text(encoding="utf-8") == reference.page(), stale


def test_every_command_option_and_argument_is_told_with_its_meaning() -> None:
    page = reference.page()
    sections = page.split("\n## `xenrec ")[1:]
    found = list(reference.commands())
    assert len(found) == len(sections) > 25
    silent = []
    for (typed, command), section in zip(found, sections, strict=True):
        assert section.startswith(typed)
        assert command.help, f"xenrec {typed} says nothing of itself"
        for param in command.params:
            if param.param_type_name == "option":
                assert all(f"`{flag}`" in section for flag in param.opts)
            if not param.help and not reference._choices(param):
                silent.append(f"xenrec {typed}: {param.name}")
    assert silent == []


def test_it_writes_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main([str(tmp_path), "--check"]) == 1
    assert "commands.md is stale" in capsys.readouterr().err
    assert reference.main([str(tmp_path)]) == 0
    assert reference.main([str(tmp_path), "--check"]) == 0
