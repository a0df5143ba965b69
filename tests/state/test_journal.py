"""The journal: a line is on disk when write returns, and what a kill tore is told from what was said."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reconciler.core.plan import Result, Thing
from reconciler.state.disk import StateError
from reconciler.state.folder import PoolFolder
from reconciler.state.journal import Journal, read_journal


@pytest.fixture
def folder(tmp_path: Path) -> PoolFolder:
    return PoolFolder(tmp_path, "madrid")


def test_lines_come_back_in_order_and_a_run_without_any_leaves_no_file(folder: PoolFolder) -> None:
    journal = folder.journal("2026-11-22T03-00-00Z-ab12")
    assert not folder.path.exists()
    journal.write("intent", at=1.5, action="start:vm/db-1", after=("a", "b"))
    journal.write("result", at=2.0, result=Result.DONE, what="línea\nzwei")
    assert read_journal(journal.path) == [
        {"kind": "intent", "at": 1.5, "action": "start:vm/db-1", "after": ["a", "b"]},
        {"kind": "result", "at": 2.0, "result": "done", "what": "línea\nzwei"},
    ]
    journal.close()
    journal.write("end")
    assert [line["kind"] for line in read_journal(journal.path)] == ["intent", "result", "end"]


def test_each_line_is_flushed_before_write_returns(folder: PoolFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    journal = folder.journal("r")
    for number in range(3):
        journal.write("line", number=number)
        assert sizes[-1] == journal.path.stat().st_size
    assert len(sizes) == len(set(sizes)) == 3


def test_a_torn_last_line_is_left_out_at_every_length(folder: PoolFolder) -> None:
    journal = folder.journal("r")
    journal.write("one", text="x")
    journal.write("two", text="é")
    whole = journal.path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(len(whole)):
        journal.path.write_bytes(whole[:length])
        assert [line["kind"] for line in read_journal(journal.path)] == (["one"] if length >= first else [])


def test_carrying_on_after_a_torn_line_loses_no_line(folder: PoolFolder) -> None:
    folder.journal("r").write("one")
    path = folder.journal("r").path
    with path.open("ab") as file:
        file.write(b'{"kind": "tw')
    again = folder.journal("r")
    again.write("three")
    assert read_journal(path) == [{"kind": "one"}, {"kind": "damaged", "line": 2}, {"kind": "three"}]


def test_a_line_that_could_not_be_flushed_is_an_oserror_and_the_next_stands_alone(
    folder: PoolFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = folder.journal("r")
    journal.write("one")
    write = os.write

    def half(descriptor: int, data: memoryview) -> int:
        if len(data) > 5:
            return write(descriptor, data[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space left"):
        journal.write("t", a=1)
    monkeypatch.undo()
    journal.write("three")
    kinds = [line["kind"] for line in read_journal(journal.path)]
    assert (kinds[0], kinds[-1]) == ("one", "three")


@dataclass
class Login:
    user: str
    password: str = field(repr=False)


def test_values_that_json_does_not_know_are_written_without_what_they_hide(folder: PoolFolder) -> None:
    journal = folder.journal("r")
    journal.write(
        "x", thing=Thing("vm", "db"), login=Login("root", "hunter2"), where=Path("/a"), names={"b", "a"}, o=object()
    )
    line = read_journal(journal.path)[0]
    assert line["thing"] == {"kind": "vm", "name": "db", "uuid": "", "address": ""}
    assert line["login"] == {"user": "root"}
    assert (line["where"], line["names"], line["o"]) == ("/a", ["a", "b"], "<object>")
    assert "hunter2" not in journal.path.read_text()


def test_texts_that_are_no_unicode_do_not_stop_a_run(folder: PoolFolder) -> None:
    journal = folder.journal("r")
    journal.write("x", text="\udcff")
    assert read_journal(journal.path)[0]["kind"] == "x"


@pytest.mark.parametrize("run", ["", "../x", "a/b", ".hidden", "a\n", "x" * 200])
def test_unsafe_run_ids_are_refused(folder: PoolFolder, run: str) -> None:
    with pytest.raises(ValueError, match="run id"):
        folder.journal(run)


def test_runs_are_listed_latest_first_and_pruned_oldest_first(folder: PoolFolder) -> None:
    for number, run in enumerate(["c", "a", "b"]):
        journal = folder.journal(run)
        journal.write("begin")
        journal.close()
        os.utime(journal.path, ns=(number, number))
    assert folder.runs() == ("b", "a", "c")
    folder.prune(keep=2)
    assert folder.runs() == ("b", "a")
    folder.prune(keep=0)
    assert folder.runs() == ("b",)


def test_a_missing_journal_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="can't be read"):
        read_journal(tmp_path / "none.jsonl")


def test_lines_are_json_one_a_line(folder: PoolFolder) -> None:
    journal = Journal(folder.path / "runs" / "r.jsonl")
    journal.write("x", text="a\nb\r\u2028c")
    content = journal.path.read_bytes()
    assert content.count(b"\n") == 1
    assert json.loads(content) == {"kind": "x", "text": "a\nb\r\u2028c"}
