"""xenrec roll, typed; and the command that it runs."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import pytest

from reconciler.command import KEPT, run_command
from tests.cli.desk import Desk, at_desk  # noqa: F401 - the fixture

CYCLE = "--reboots --run 'xenrec lab power cycle {host}'"


def document(text: str) -> Any:
    """The one JSON document among what was written."""
    return json.loads(text[text.index("{\n") : text.rindex("\n}") + 2])


def stoppable(desk: Desk) -> None:
    desk.edit("  virtualMachines:", "  defaults: {placement: {stopForMaintenance: true}}\n  virtualMachines:")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "say which hosts, and what to run for each"),
        ("--hosts all", "say which hosts, and what to run for each"),
        ("--hosts all --run ' '", "say which hosts, and what to run for each"),
        ('--hosts all --run "\'"', "--run can't be split into words"),
        ("--hosts xen09 --run true", "xen09: no member has this name. Members are xen01, xen02, xen03 and xen04"),
        ("--hosts xen02,xen02 --run true", "a host is named twice"),
        ("--hosts xen02 --run true --deadline soon", "'soon' is not a time"),
        ("--hosts xen02 --run true --back-within 0m", "'0m' is not a time"),
        ("--resume", "no rolling maintenance is under way on this machine"),
        ("--again", "--plan, --resume (with --again or --skip) and --abandon are different things"),
        ("--resume --again --skip", "--plan, --resume (with --again or --skip) and --abandon are different things"),
        ("--plan --abandon", "--plan, --resume (with --again or --skip) and --abandon are different things"),
        ("--hosts xen02 --run true", "there is no terminal to ask on"),
    ],
)
def test_what_is_refused(desk: Desk, line: str, told: str) -> None:
    shown = desk(f"xenrec roll m.yaml {line}")
    assert told in shown.text
    assert shown.code == 64


def test_looked_at_asked_and_done(desk: Desk) -> None:
    shown = desk(f"xenrec roll m.yaml --plan --hosts xen02 {CYCLE}")
    assert "x VM cache-3: its disk cache-3-disk is on Local storage, a local SR of xen02" in shown.text
    assert shown.code == 3
    stoppable(desk)
    shown = desk(f"xenrec roll m.yaml --plan --hosts xen02 {CYCLE}")
    assert "shut down cache-3" in shown.text
    assert shown.code == 0
    no = desk(f"xenrec roll m.yaml --hosts xen02 {CYCLE}", "no")
    assert "nothing was done" in no.text
    assert no.code == 64
    yes = desk(f"xenrec roll m.yaml --hosts xen02 {CYCLE}", "yes")
    assert yes.text.endswith("Done: xen02 had its turn, and the pool is as declared.\n")
    assert yes.code == 0
    told = desk("xenrec history m.yaml").text
    assert "roll: clean" in told
    assert [one["code"] for one in desk.journal() if one["kind"] == "command-end"] == [0]
    assert desk.lab.harm() == []


def test_for_machines(desk: Desk) -> None:
    """One document on standard output, whatever comes of it; what happens meanwhile goes to standard error."""
    ahead = desk(f"xenrec roll m.yaml --plan --hosts xen02 {CYCLE} --format json")
    told = document(ahead.text)
    assert (told["format"], told["format_version"], told["hosts"]) == ("xenrec-roll-plan", 1, ["xen02"])
    (turn,) = told["turns"]
    assert (turn["host"], turn["begins"]) == ("xen02", False)
    assert "stopForMaintenance" in turn["next"]
    assert ahead.code == 3
    stoppable(desk)
    told = document(desk(f"xenrec roll m.yaml --plan --hosts xen02 {CYCLE} --format json").text)
    assert told["turns"][0]["begins"]
    assert any(a["verb"] == "migrate" for s in told["turns"][0]["plan"]["stages"] for a in s["actions"])
    nobody = desk(f"xenrec roll m.yaml --hosts xen02 {CYCLE} --format json", "yes")
    assert "there is no terminal to ask on" in nobody.text
    failed = desk("xenrec roll m.yaml --hosts xen02 --run false --yes --format json")
    told = document(failed.text)
    assert (told["format"], told["result"], told["done"]) == ("xenrec-roll", "stopped", [])
    assert told["under_way"] == {"host": "xen02", "phase": "command"}
    assert told["why"] == "the command on xen02 ended with exit code 1; xen02 stays in maintenance"
    assert "--resume --again" in told["next"]
    assert failed.code == 3
    told = document(desk("xenrec roll m.yaml --resume --skip --format json").text)
    assert (told["result"], told["done"], told["under_way"]["host"]) == ("done", ["xen02"], None)
    assert "xen02: done (1 of 1)" in told["said"]
    told = document(desk("xenrec roll m.yaml --abandon --format json").text)
    assert (told["result"], told["done"]) == ("none", [])
    desk("xenrec roll m.yaml --hosts xen02 --run false --yes")
    told = document(desk("xenrec roll m.yaml --abandon --format json").text)
    assert told["abandoned"] == {"enabled": ["xen02"], "command_ended_well": False}
    assert told["result"] == "ended"


def test_stopped_taken_up_and_ended(desk: Desk) -> None:
    stoppable(desk)
    failed = desk("xenrec roll m.yaml --hosts xen02,xen03 --run false --yes")
    assert "stopped: the command on xen02 ended with exit code 1; xen02 stays in maintenance" in failed.text
    assert failed.code == 3
    other = desk("xenrec roll m.yaml --hosts xen04 --run true --yes")
    assert "another rolling maintenance is under way, begun by op@desk" in other.text
    assert other.code == 75
    again = desk("xenrec roll m.yaml --resume --again --run true")
    assert "--resume goes on with what was begun: false, for xen02 and xen03" in again.text
    assert again.code == 64
    left = desk("xenrec apply m.yaml --yes")
    assert "in the rolling maintenance" in left.text
    assert left.code == 3
    same = desk("xenrec roll m.yaml --hosts xen03,xen02 --run false --yes")
    assert "going on with the rolling maintenance" in same.text
    assert same.code == 3
    skipped = desk("xenrec roll m.yaml --resume --skip")
    assert "xen02: done (1 of 2)" in skipped.text
    assert "the command on xen03 ended with exit code 1" in skipped.text
    ended = desk("xenrec roll m.yaml --abandon")
    assert ended.text.startswith("ended: xen03 enabled again; 1 had their turn before")
    assert ended.code == 0
    assert desk("xenrec roll m.yaml --abandon").text == "no rolling maintenance is under way\n"
    assert desk("xenrec plan m.yaml").code == 0


def test_what_stops_it_names_how_it_goes_on(desk: Desk) -> None:
    shown = desk("xenrec roll m.yaml --hosts xen02 --run true --yes")
    assert "stopped: xen02 can't be emptied: VM cache-3: " in shown.text
    assert shown.text.endswith("\n  then: xenrec roll m.yaml --resume\n")


def test_a_command_gets_no_secret_and_leaves_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XENREC_PASSWORD", "hunter2")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    show = "import os, sys; print(sorted(os.environ)); sys.stderr.write(os.environ['XENREC_HOST']); sys.exit(7)"
    ran = run_command([sys.executable, "-c", show], {"XENREC_HOST": "xen02"}, 20.0)
    assert ran.code == 7
    assert "XENREC_PASSWORD" not in ran.output
    assert "'SSH_AUTH_SOCK'" in ran.output
    assert ran.output.endswith("xen02")
    ran = run_command([sys.executable, "-c", f"print('x' * {KEPT}); print('end')"], {}, 20.0)
    assert len(ran.output) == KEPT
    assert ran.output.endswith("end\n")


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_one_that_is_late_is_killed_with_all_that_it_started() -> None:
    ran = run_command(["sh", "-c", "sleep 30 & echo $!; wait"], {}, 0.3)
    assert ran.code is None
    child = int(ran.output)
    until = time.monotonic() + 10.0
    while _lives(child):
        assert time.monotonic() < until
    with pytest.raises(FileNotFoundError):
        run_command(["/no/such/command"], {}, 1.0)
