"""Plans that are kept: shown again, applied as they are, and refused when what they rest on is no longer so."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import Bench, xenrec


@pytest.fixture
def saved(bench: Bench) -> Path:
    """app-1 is down and a plan for that is saved."""
    bench.halt("app-1")
    file = bench.folder / "night.plan"
    ran = bench.run("plan", "--out", str(file))
    assert ran.code == 0, ran
    assert "start app-1" in ran.out
    return file


def test_it_is_shown_as_it_was_and_applied_without_a_question(bench: Bench, saved: Path) -> None:
    shown = xenrec("show", str(saved))
    assert shown.code == 0
    assert "start app-1" in shown.out
    assert bench.writes() == []
    for form in ("json", "markdown", "gitlab"):
        assert xenrec("show", str(saved), "--format", form).code == 0
    ran = xenrec("apply", str(saved))
    assert ran.code == 0, ran
    assert "Proved" in ran.out
    assert "app-1" in bench.running()
    again = xenrec("apply", str(saved))
    assert again.code == 1
    assert "the saved plan no longer fits" in again.err


def test_facts_that_moved_are_named_and_nothing_is_done(bench: Bench, saved: Path) -> None:
    bench.halt("mail-1")
    bench.calls.clear()
    ran = xenrec("apply", str(saved))
    assert ran.code == 1
    assert "the saved plan no longer fits; nothing was done" in ran.err
    assert "next: xenrec plan" in ran.err
    assert bench.writes() == []
    with bench.served.world() as lab:
        db = next(h.toolstack for h in lab.hosts.values() if h.role == "master").db  # type: ignore[union-attr]
        assert db is not None
        ref = next(r for r, h in db.tables["host"].items() if h["name_label"] == "xen03")
        db.update("host", ref, enabled=False)
    ran = xenrec("apply", str(saved))
    assert ran.code == 1
    assert "record of xen03" in ran.err
    assert "enabled" in ran.err
    assert "disabled" in ran.err
    assert bench.writes() == []


def test_a_host_that_fell_silent_since_is_named(bench: Bench, saved: Path) -> None:
    bench.power_off("xen03")
    ran = xenrec("apply", str(saved), "--yes")
    assert ran.code == 1
    assert "host xen03" in ran.err
    assert "alive" in ran.err
    assert "not answering" in ran.err
    assert bench.writes() == []


def test_a_manifest_that_changed(bench: Bench, saved: Path) -> None:
    bench.manifest.write_text(bench.manifest.read_text() + "\n# a word more\n")
    ran = xenrec("apply", str(saved))
    assert ran.code == 1
    assert "changed since the plan was made" in ran.err
    assert "next: plan again: xenrec plan" in " ".join(ran.err.split())
    bench.manifest.unlink()
    assert xenrec("apply", str(saved)).code == 65
    assert bench.writes() == []


def test_an_edited_plan(bench: Bench, saved: Path) -> None:
    document = json.loads(saved.read_text())
    action = document["plan"]["stages"][0]["actions"][0]
    action["target"]["name"] = "mail-1"
    saved.write_text(json.dumps(document))
    for command in ("apply", "show"):
        ran = xenrec(command, str(saved))
        assert ran.code == 1, ran
        assert "night.plan" in ran.err
        assert ran.out == ""
    assert bench.writes() == []


@pytest.mark.parametrize("cut", [0, 1, 60, 500])
def test_half_a_plan(bench: Bench, saved: Path, cut: int) -> None:
    saved.write_bytes(saved.read_bytes()[:cut])
    ran = xenrec("show", str(saved))
    assert ran.code == 1
    assert "night.plan" in ran.err
    ran = xenrec("apply", str(saved))
    assert ran.code in (1, 65)
    assert "night.plan" in ran.err
    assert bench.writes() == []


@pytest.mark.parametrize("word", ["--yes", "--unattended"])
def test_an_approved_plan_stays_a_ceiling_whoever_asks(bench: Bench, saved: Path, word: str) -> None:
    """Between the check of the facts and the end another VM goes down: the plan that was approved does not name it."""
    ask = bench.lab.request
    gone: list[str] = []

    def request(address, method, params, *, source="client"):
        if method == "Async.VM.start_on" and not gone:
            gone.append(method)
            bench.halt("mail-1")
        return ask(address, method, params, source=source)

    bench.lab.request = request  # type: ignore[method-assign]
    ran = xenrec("apply", str(saved), word)
    assert gone
    assert ran.code == 3, ran
    if word == "--yes":  # unattended, a VM that somebody has just stopped has a reason of its own to be left
        assert "it was not in the approved plan" in " ".join(ran.out.split())
    assert "start mail-1" in ran.out.partition("Withheld")[2]
    assert "mail-1" not in bench.running()
    assert "app-1" in bench.running()


def test_a_plan_of_nothing(bench: Bench) -> None:
    file = bench.folder / "calm.plan"
    assert bench.run("plan", "--out", str(file)).code == 0
    ran = xenrec("apply", str(file))
    assert ran.code == 0
    assert bench.writes() == []
    assert stat.S_IMODE(os.stat(file).st_mode) & 0o022 == 0


def test_a_plan_that_can_not_be_written(bench: Bench) -> None:
    ran = bench.run("plan", "--out", str(bench.folder / "no" / "such" / "folder"))
    assert ran.code == 1
    assert "can't be written" in ran.err


def test_a_plan_for_a_person_at_the_console_needs_the_manifest(bench: Bench, saved: Path) -> None:
    ran = xenrec("show", str(saved), "--format", "xe")
    assert ran.code == 64
    assert "needs the manifest" in ran.err
    runbook = bench.run("plan", "--format", "xe")
    assert runbook.code == 0
    assert "vm-start uuid=" in runbook.out
