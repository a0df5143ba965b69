"""How the command behaves beside others: locks, interruptions, quiet, terminals, secrets, and what a pipe gets."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pty
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import BIN, HASTY, PASSWORD, ROOT, Bench, xenrec


def test_a_clean_pool_unattended_is_quiet(bench: Bench) -> None:
    ran = subprocess.run(
        [BIN / "xenrec", "apply", bench.manifest, "--unattended"], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert bench.writes() == []


def test_an_unattended_run_asks_nothing_and_keeps_to_its_level(bench: Bench) -> None:
    bench.halt("app-1")
    bench.power_off("xen03")
    ran = bench.run("apply", "--unattended")
    assert ran.code == 3
    assert "app-1" in bench.running()
    assert "policy.levels.unattended" in " ".join(ran.out.split())
    assert "a person may do it: xenrec apply" in " ".join(ran.out.split())
    assert bench.harm() == []


def test_a_dead_master_end_to_end(bench: Bench) -> None:
    """The two commands of the README: plan, apply; and the second plan has nothing to do."""
    assert bench.run("plan").code == 0
    bench.backed_up()
    before = bench.running()
    bench.power_off("xen01")
    plan = bench.run("plan", "--detailed-exitcode")
    assert plan.code in (2, 3), plan
    ran = bench.run("apply", "--yes")
    assert ran.code in (0, 3), ran
    assert bench.harm() == []
    with bench.served.world() as lab:
        assert [h.name for h in lab.masters()] == ["xen02"]
    assert {vm: h for vm, h in before.items() if h != "xen01"}.items() <= bench.running().items()
    again = json.loads(bench.run("plan", "--format", "json").out)
    assert again["stages"] == []
    assert again["withheld"] == []
    left = {u["target"]["name"] for u in again["unmet"]}
    assert set(bench.running()) | left == set(before)
    _no_secret(bench, [plan.said, ran.said])


def test_two_runs_never_overlap(bench: Bench) -> None:
    bench.halt("app-1")
    _hold(bench, 1.5)
    first = bench.start("apply", str(bench.manifest), "--yes")
    _until(lambda: "Async.VM.start_on" in bench.writes())
    calls = len(bench.calls)
    second = bench.run("apply", "--unattended")
    assert second.code == 75
    assert second.out == ""
    assert "since" in second.err
    assert "nothing was done" in second.err
    assert not {m for _, m in bench.calls[calls:]} & {"session.login_with_password", "Async.VM.start_on"}
    # Looking is allowed meanwhile.
    assert bench.run("plan").code == 0
    out, err = first.communicate(timeout=30)
    assert first.returncode == 0, (out, err)
    assert bench.writes().count("Async.VM.start_on") == 1


def test_interrupted_and_run_again(bench: Bench) -> None:
    bench.halt("app-1")
    _hold(bench, 2.5)
    first = bench.start("apply", str(bench.manifest), "--yes")
    _until(lambda: "Async.VM.start_on" in bench.writes())
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=10)
    assert first.returncode == 130, err
    assert "run again to go on" in err
    assert "Traceback" not in err
    again = bench.run("apply", "--yes")
    assert again.code == 0, again
    assert "app-1" in bench.running()
    assert bench.harm() == []


@pytest.mark.parametrize("gone", ["a pipe", "a full disk"])
def test_a_run_goes_on_where_nobody_can_read_its_progress(bench: Bench, gone: str) -> None:
    """`2>&1 | head`, or a log on the disk that is full: no reason to leave a recovery in the middle."""
    bench.halt("app-1")
    if gone == "a pipe":
        read, write = os.pipe()
        os.close(read)
    else:
        write = os.open("/dev/full", os.O_WRONLY)
    process = subprocess.Popen(
        [*HASTY, "apply", str(bench.manifest), "--yes"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=write,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "", **bench.env},
    )
    os.close(write)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "the pool is as declared" in out
    assert "app-1" in bench.running()


def test_what_was_done_is_told_though_stdout_is_full(bench: Bench) -> None:
    bench.halt("app-1")
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [*HASTY, "apply", str(bench.manifest), "--unattended"],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "", **bench.env},
            timeout=60,
            check=False,
        )
    assert process.returncode == 1
    assert process.stderr.startswith("stdout can't be written (No space left on device), so here is what was to be")
    assert "Plan: 1 to start" in process.stderr
    assert "done: start app-1" in process.stderr
    assert "Traceback" not in process.stderr
    assert "app-1" in bench.running()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_ended_from_outside_and_run_again(bench: Bench, sign: signal.Signals) -> None:
    bench.halt("app-1")
    _hold(bench, 2.0)
    first = bench.start("apply", str(bench.manifest), "--yes")
    _until(lambda: "Async.VM.start_on" in bench.writes())
    first.send_signal(sign)
    _, err = first.communicate(timeout=10)
    assert first.returncode != 0
    assert "Traceback" not in err
    again = bench.run("apply", "--yes")
    assert again.code == 0, again
    assert bench.harm() == []


class TestTerminal:
    """At a terminal a person is asked, and the answer is 'yes' or nothing is done."""

    def test_yes(self, bench: Bench) -> None:
        bench.halt("app-1")
        code, shown = _at_terminal(["apply", str(bench.manifest)], bench, [("Apply this plan?", "yes")])
        assert code == 0, shown
        assert "app-1" in bench.running()
        assert "Proved" in shown

    @pytest.mark.parametrize("answer", ["", "y"])
    def test_anything_else_is_no(self, bench: Bench, answer: str) -> None:
        bench.halt("app-1")
        code, shown = _at_terminal(["apply", str(bench.manifest)], bench, [("Apply this plan?", answer)])
        assert code == 64, shown
        assert "nothing was done" in shown
        assert bench.writes() == []

    def test_nobody_is_asked_about_a_plan_that_was_not_shown(self, bench: Bench) -> None:
        bench.halt("app-1")
        words = ["apply", str(bench.manifest), "--format", "json"]
        code, shown = _at_terminal(words, bench, [("Apply this plan?", "no")])
        assert code == 64, shown
        assert "start app-1 on xen01" in shown.partition("Apply this plan?")[0]
        ran = bench.run("apply", "--yes", "--format", "json")
        assert ran.code == 0, ran
        assert json.loads(ran.out)["final"]

    def test_attest_dead_wants_the_name_typed(self, bench: Bench) -> None:
        bench.edit("fence_xenrec_lab", "fence_that_is_not_there")
        bench.power_off("xen03")
        words = ["apply", str(bench.manifest), "--attest-dead", "xen03", "--yes"]
        code, shown = _at_terminal(words, bench, [("Type the host's name", "xen30")])
        assert code == 64, shown
        assert "nothing was attested" in shown
        assert "no certificates" in bench.run("attest", "--list").out
        assert bench.writes() == []
        code, shown = _at_terminal(words, bench, [("Type the host's name", "xen03")])
        assert code in (0, 3), shown
        assert "Async.host.declare_dead" in bench.writes()
        assert "xen03: attested" in bench.run("attest", "--list").out
        assert bench.harm() == []

    def test_attest_dead_of_a_living_host_is_refused(self, bench: Bench) -> None:
        words = ["apply", str(bench.manifest), "--attest-dead", "xen03", "--yes"]
        code, shown = _at_terminal(words, bench, [("Type the host's name", "xen03")])
        assert code == 1, shown
        assert "xen03 is not dead" in shown
        assert bench.writes() == []


def test_attest_list_and_revoke(bench: Bench) -> None:
    assert bench.run("attest", "--list").out == "no certificates are held\n"
    alive = bench.run("attest", "xen03", "--dead", "--reason", "I think so")
    assert alive.code == 1
    assert "xen03 is not dead" in alive.err
    bench.power_off("xen03")
    ran = bench.run("attest", "xen03", "--dead", "--reason", "seen powered off", "--for", "20m")
    assert ran.code == 0, ran
    assert "Next: xenrec plan" in ran.out
    listed = bench.run("attest", "--list").out
    assert "xen03: attested" in listed
    assert "seen powered off" in listed
    assert bench.run("attest", "xen03", "--revoke").code == 0
    assert "seen powered off" not in bench.run("attest", "--list").out.split("(void")[0]
    assert bench.writes() == []


def test_no_secret_anywhere(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in what is printed or logged, nor in what is kept, nor on any command line, agents' included."""
    caplog.set_level(logging.DEBUG)
    bench.power_off("xen03")
    with command_lines() as lines:
        ran = bench.run("apply", "--yes")
    assert ran.code in (0, 3), ran
    assert bench.writes().count("Async.host.declare_dead") == 1
    assert any("fence_xenrec_lab" in line for line in lines)
    assert not [line for line in lines if PASSWORD in line]
    _no_secret(bench, [ran.said, caplog.text])


def _no_secret(bench: Bench, texts: Sequence[str]) -> None:
    for text in texts:
        assert PASSWORD not in text
    kept = [f for f in bench.state.rglob("*") if f.is_file()]
    assert len(kept) >= 3
    for file in kept:
        assert PASSWORD.encode() not in file.read_bytes(), file


class TestOutput:
    """What a pipe, an old terminal and a narrow one get."""

    COMMANDS = (["plan"], ["plan", "--verbose"], ["status"], ["apply", "--yes"])

    @pytest.fixture
    def words(self, bench: Bench) -> Bench:
        """A pool with something of everything to show."""
        bench.halt("app-1")
        bench.edit("- name: mail-1", "- name: mail-one")
        bench.edit("fence_xenrec_lab", "fence_that_is_not_there")
        bench.power_off("xen03")
        return bench

    @pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
    def test_ascii_where_the_locale_can_do_no_more(self, words: Bench, command: list[str]) -> None:
        ran = words.run(*command, encoding="ascii")
        assert ran.code in (0, 3), ran
        assert "xen03" in ran.out

    def test_lc_all_c(self, words: Bench) -> None:
        env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        ran = words.spawn("plan", str(words.manifest), env=env)
        assert ran.code in (0, 3), ran
        assert ran.said.isascii()
        assert "xen03" in ran.out

    @pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
    def test_80_columns_and_no_escape_codes_in_a_pipe(
        self, words: Bench, command: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        ran = words.run(*command)
        assert ran.code in (0, 3), ran
        assert "\x1b" not in ran.said
        assert "\r" not in ran.said
        long = [line for line in ran.said.split("\n") if len(line) > 80]
        # A command is in one piece, for it is copied; and a path has no place to be broken.
        assert all(line.split()[0] in ("xenrec", "ssh", "xe") or line.count(" ") <= 8 for line in long), long
        assert all(" xenrec " in f" {line.strip()} " or "xe " in line or "/" in line for line in long), long


def _hold(bench: Bench, seconds: float) -> None:
    """Make a start take real seconds."""
    bench.lab.timing = replace(bench.lab.timing, vm_start=seconds)


def _until(look: Any, seconds: float = 15.0) -> None:
    until = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def _at_terminal(words: list[str], bench: Bench, answers: list[tuple[str, str]]) -> tuple[int, str]:
    """Type a command at a terminal of its own and answer its questions; (exit code, all that was shown)."""
    ours, theirs = pty.openpty()
    env = {**os.environ, **bench.env, "TERM": "xterm", "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*HASTY, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True
    )
    os.close(theirs)
    shown, left = "", list(answers)
    until = time.monotonic() + 40
    try:
        while time.monotonic() < until:
            if select.select([ours], [], [], 0.05)[0]:
                try:
                    piece = os.read(ours, 65536).decode(errors="replace")
                except OSError:  # the terminal's other end is closed
                    break
                if not piece:
                    break
                shown += piece
            elif process.poll() is not None:
                break
            if left and left[0][0] in shown:
                os.write(ours, f"{left.pop(0)[1]}\n".encode())
        code = process.wait(timeout=10)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert not left, (left, shown)
    return code, shown


@contextlib.contextmanager
def command_lines() -> Iterator[set[str]]:
    """Every command line, with its environment, of a process that this one starts meanwhile."""
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for entry in Path("/proc").iterdir():
                if not entry.name.isdigit():
                    continue
                try:
                    if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                        seen.add(str((entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()))
                except (OSError, ValueError, IndexError):
                    continue
            over.wait(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def test_help_names_every_exit_code(surroundings: dict[str, str]) -> None:
    for command in ("plan", "apply"):
        ran = xenrec(command, "--help")
        assert ran.code == 0
        assert all(code in ran.out for code in ("65", "69", "77"))
