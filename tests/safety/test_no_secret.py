"""No password and no session leaves the places where it must be: not in argv or the environment of children, not on
the screen, in logs, journals, plans, snapshots, or tracebacks."""

from __future__ import annotations

import importlib
import stat
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.port import AgentRun, Answer, Ask, Fault, XapiFailure
from reconciler.fencing.agents import run_agent
from reconciler.lab.fence_agent import metadata
from tests.cli.desk import Desk, at_desk  # noqa: F401 - the fixture

POOL_WORD = "Zq7PoolWord91"
BMC_WORD = "Zq7BmcWord47"
AGENT = "fence_marked"
LOGINS = ("session.login_with_password", "session.slave_local_login_with_password")

SCRIPT = """#!/bin/sh
words=$(cat)
{ tr '\\\\0' ' ' < /proc/$$/cmdline; echo; env; } >> "$(dirname "$0")/seen"
printf '%s\\n' "$words" >> "$(dirname "$0")/stdin"
case "$words" in
*action=metadata*) cat "$(dirname "$0")/metadata.xml" ;;
*) printf 'I was told %s\\n' "$words" >&2 ;;
esac
"""


class Recording:
    """Wraps every port of a terminal: agents run for real (and say all they know), logins are remembered."""

    def __init__(self, desk: Desk, folder: Path) -> None:
        self.desk = desk
        self.folder = folder
        self.sessions: set[str] = set()
        self.trouble: Callable[[str], None] = lambda method: None
        folder.mkdir()
        script = folder / AGENT
        script.write_text(SCRIPT)
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        (folder / "metadata.xml").write_text(
            metadata().replace(
                "</parameters>",
                '<parameter name="password" unique="0" required="0"><content type="string"/>'
                '<shortdesc lang="en">word</shortdesc></parameter></parameters>',
            )
        )
        make = desk.terminal._port

        def port() -> Any:
            made = make()
            call, ask_all, lab_agent = made.call, made.ask_all, made.run_agent

            def calls(address: str, method: str, params: Sequence[Any], *, deadline: float) -> Any:
                self.trouble(method)
                value = call(address, method, params, deadline=deadline)
                if method in LOGINS:
                    self.sessions.add(value)
                return value

            def asks(asked: Sequence[Ask]) -> list[Answer]:
                answers: list[Answer] = ask_all(asked)
                for index, ask in enumerate(asked):
                    try:
                        self.trouble(ask.method)
                    except Fault as fault:
                        answers[index] = Answer(None, fault)
                self.sessions |= {
                    a.value for a, q in zip(answers, asked, strict=True) if q.method in LOGINS and a.fault is None
                }
                return answers

            def agent(name: str, options: Mapping[str, str], *, deadline: float) -> AgentRun:
                told = run_agent(str(script), options, deadline=10.0)
                if options.get("action") == "metadata":
                    return told
                done = lab_agent("fence_xenrec_lab", options, deadline=deadline)
                return AgentRun(done.code, done.stdout, done.stderr + told.stderr)

            made.call, made.ask_all, made.run_agent = calls, asks, agent
            return made

        desk.terminal._port = port  # type: ignore[method-assign]

    def marks(self) -> set[str]:
        return {POOL_WORD, BMC_WORD, *(s for s in self.sessions if isinstance(s, str))}


@pytest.fixture
def marked(desk: Desk, tmp_path: Path) -> Recording:
    """A pool whose passwords are marked; the manifest says where they are found."""
    recording = Recording(desk, tmp_path / "agents")
    desk.lab.password = POOL_WORD
    desk.lab.random.seed("sessions of their own, which are no object's ref")
    desk.terminal.env |= {"XENREC_PASSWORD": POOL_WORD, "BMC_PW": BMC_WORD}
    file = desk.folder / "m.yaml"
    text = file.read_text()
    password = text[text.index("    password:") : text.index("  members:")]
    text = text.replace(password, "    password: {env: XENREC_PASSWORD}\n")
    text = text.replace("agent: fence_xenrec_lab", f"agent: {AGENT}\n        password: {{env: BMC_PW}}")
    file.write_text("\n".join(line for line in text.split("\n") if "lab_dir" not in line))
    return recording


def leaks(recording: Recording, shown: str) -> list[str]:
    """Where a mark is found that should not be: on the screen, in any file but the manifest's own environment."""
    desk = recording.desk
    found = []
    places = {"screen": shown}
    for root in (desk.folder, Path(desk.terminal.env["XENREC_STATE_DIR"])):
        for file in root.rglob("*"):
            if file.is_file() and ".lab" not in file.parts:
                places[str(file)] = file.read_bytes().decode("utf-8", "replace")
    seen = recording.folder / "seen"
    if seen.exists():
        places["argv and environment of agents"] = seen.read_text()
    for place, text in places.items():
        found += [f"{mark} in {place}" for mark in recording.marks() if mark in text]
    return found


COMMANDS = [
    "xenrec --debug validate m.yaml",
    "xenrec --debug status m.yaml",
    "xenrec --debug status m.yaml --format json",
    "xenrec --debug plan m.yaml -v --out saved.plan",
    "xenrec --debug plan m.yaml --format json",
    "xenrec --debug plan m.yaml --format markdown",
    "xenrec --debug plan m.yaml --format xe",
    "xenrec --debug plan m.yaml --format gitlab",
    "xenrec --debug show saved.plan",
    "xenrec --debug capture m.yaml look.json",
    "xenrec --debug plan m.yaml --snapshot look.json",
    "xenrec --debug drill m.yaml",
    "xenrec --debug lock show m.yaml --format json",
    "xenrec --debug fence status m.yaml",
    "xenrec --debug fence test m.yaml",
    "xenrec --debug attest m.yaml --list",
    "xenrec --debug export 127.0.10.11 --trust-on-first-use --out exported.yaml",
]
AFTERWARDS = [
    "xenrec --debug apply m.yaml --yes --format json",
    "xenrec --debug history m.yaml",
    "xenrec --debug history m.yaml last",
    "xenrec --debug history m.yaml last --format json",
    "xenrec --debug lock release m.yaml --yes",
    "xenrec --debug status m.yaml",
    "xenrec --debug attest m.yaml --list",
]


@pytest.mark.parametrize("dead", ["", "xen03", "xen01"])
def test_every_command(marked: Recording, dead: str) -> None:
    desk = marked.desk
    if dead:
        desk.lab.power_off(dead)
        desk.lab.run(desk.lab.now + 60)
    shown = ""
    for line in (*COMMANDS, *AFTERWARDS):
        typed = desk(line)
        shown += f"$ {line}\n{typed.text}"
        assert typed.code not in (1, 64, 65) or (not dead and "history" in line), (line, typed)
    assert "Traceback" not in shown
    assert len(marked.marks()) > 10
    if dead:
        assert BMC_WORD in (marked.folder / "stdin").read_text()  # it was really sent, and by no other way
        assert "I was told" not in shown.replace("I was told ***", "") or BMC_WORD not in shown
    assert leaks(marked, shown) == []


@pytest.mark.parametrize("word", ["password", "bmc"])
def test_a_wrong_or_missing_secret(marked: Recording, word: str) -> None:
    desk = marked.desk
    desk.lab.power_off("xen03")
    if word == "password":
        desk.terminal.env["XENREC_PASSWORD"] = BMC_WORD
    else:
        del desk.terminal.env["BMC_PW"]
    shown = "".join(desk(line).text for line in (*COMMANDS[:5], *AFTERWARDS))
    assert "Traceback" not in shown
    assert leaks(marked, shown) == []


def test_a_toolstack_that_repeats_what_it_was_told(marked: Recording) -> None:
    def repeat(method: str) -> None:
        if method in LOGINS:
            raise XapiFailure("INTERNAL_ERROR", f"login of root with {POOL_WORD} failed")

    marked.trouble = repeat
    shown = "".join(marked.desk(line).text for line in (*COMMANDS[:5], *AFTERWARDS))
    assert leaks(marked, shown) == []


ROOMS = [
    "reconciler.survey.survey.classify",
    "reconciler.xapi.read.read_pool",
    "reconciler.xapi.sessions.XapiSession.call",
    "reconciler.xapi.sessions.PoolSessions._open",
    "reconciler.xapi.tasks.XapiTasks.submit",
    "reconciler.xapi.snapshot.save",
    "reconciler.core.planner.make_plan",
    "reconciler.execute.bury.declare_dead",
    "reconciler.execute.look.sign_of_life",
    "reconciler.execute.lease.PoolLease.hold",
    "reconciler.fencing.fence.Fencer._run",
    "reconciler.fencing.fence.Fencer._options",
    "reconciler.state.journal.Journal.write",
    "reconciler.state.folder.PoolFolder.certificates",
    "reconciler.manifest.secrets.resolve",
    "reconciler.views.terminal_plan.plan_text",
]


@pytest.mark.parametrize("where", ROOMS)
def test_the_traceback_of_a_mistake_of_ours(marked: Recording, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """An exception that nobody expects, in each room in turn: its traceback has no secret either."""
    desk = marked.desk
    desk.lab.power_off("xen03")
    desk.lab.run(desk.lab.now + 60)
    parts = where.split(".")
    depth = 3 if parts[-2][0].islower() else 2
    module = importlib.import_module(".".join(parts[:-1] if depth == 3 else parts[:-2]))
    owner = module if depth == 3 else getattr(module, parts[-2])
    original = getattr(owner, parts[-1])
    thrown = []

    def broken(*args: Any, **named: Any) -> Any:
        thrown.append(where)
        raise ZeroDivisionError(f"a mistake in {where}")

    monkeypatch.setattr(owner, parts[-1], broken)
    for name, other in list(sys.modules.items()):  # also where it was imported by its name
        if name.startswith("reconciler.") and getattr(other, parts[-1], None) is original:
            monkeypatch.setattr(other, parts[-1], broken)
    shown = ""
    for line in ("xenrec --debug plan m.yaml", "xenrec --debug apply m.yaml --yes"):
        try:
            shown += desk(line).text
        except ZeroDivisionError:
            shown += traceback.format_exc()
    assert thrown
    assert leaks(marked, shown) == []
