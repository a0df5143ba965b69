"""A probe runs in the clean room: no shell, nothing of our environment, and an end."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from reconciler.fencing.probe import run_probe


def program(folder: Path, body: str) -> str:
    path = folder / "copy-age"
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_arguments_arrive_as_they_are_and_the_environment_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XENREC_PASSWORD", "geheim")
    argv = [program(tmp_path, 'printf "%s|" "$@"; env'), "a b", "$HOME", "`id`; rm x", "*"]
    run = run_probe(argv, deadline=5.0)
    assert run.code == 0
    assert run.stdout.startswith("a b|$HOME|`id`; rm x|*|")
    assert "geheim" not in run.stdout


def test_stdin_is_empty_and_the_exit_code_is_told(tmp_path: Path) -> None:
    run = run_probe([program(tmp_path, "cat; echo no >&2; exit 7")], deadline=5.0)
    assert (run.code, run.stdout, run.stderr) == (7, "", "no\n")


def _runs(stat: Path) -> bool:
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_one_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    began = time.monotonic()
    run = run_probe([program(tmp_path, "sleep 60 & echo $!; sleep 60")], deadline=0.3)
    assert run.code is None
    assert time.monotonic() - began < 5.0
    child = Path("/proc") / run.stdout.strip() / "stat"
    while time.monotonic() - began < 5.0 and _runs(child):  # a busy machine takes a moment to let it die
        time.sleep(0.01)
    assert not _runs(child)


@pytest.mark.parametrize("name", ["there-is-no-such-program", "./copy-age", "/nonexistent/copy-age", "/"])
def test_what_can_not_be_started_is_said(name: str) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such program"):
        run_probe([name], deadline=1.0)


def test_a_name_is_found_in_the_clean_path_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "echo mine")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError):
        run_probe(["copy-age"], deadline=1.0)
    found = run_probe(["printf", json.dumps({"generation": 1})], deadline=5.0)
    assert json.loads(found.stdout) == {"generation": 1}
