"""A terminal in which a documentation page can be typed: the real command over the in-memory lab, in virtual time.

`xenrec` runs in this process, from its options to its exit code; only the outside (network, fence agents, clock) and
the process that `xenrec lab up` would start are replaced. `xenrec lab` talks to the real control commands. So a
recovery of minutes is typed in a second and says the same every time; docs/demo.sh shows the same over HTTPS.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import typer

import reconciler
from reconciler.cli import board, lab_story, main
from reconciler.cli.common import screen
from reconciler.cli.lab import start_daemon, wait_ready
from reconciler.command import Ran, run_command
from reconciler.core.port import Json
from reconciler.lab import Lab, Release, Seed, Timing, served_client
from reconciler.lab import __main__ as daemon
from reconciler.lab.control import Control
from reconciler.lab.served_client import MANIFEST, REQUEST, NoLab, Refused
from reconciler.lab.served_manifest import guests, manifest
from reconciler.lab.tls import Identity
from reconciler.outside import Outside
from reconciler.rooms import operator
from reconciler.xapi.wire import fetch_fingerprint
from tests.support.labport import LabPort
from tests.support.slowport import SlowPort

THREE_AM = 1_795_316_407.0
"""When the labs of the pages start: 2026-11-22 03:00:07 UTC."""
HOME = "/home/op"
"""What pages show instead of the folder that they are typed in."""


def load_everything() -> None:
    """Import every module, so that none is imported, and keeps what it found, while something is replaced."""
    for found in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)


class _InMemory:
    """What Control needs of a served lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    @contextlib.contextmanager
    def world(self) -> Iterator[Lab]:
        yield self._lab


@dataclass
class Running:
    """The lab of a page while it is up."""

    lab: Lab
    control: Control
    about: dict[str, Any]
    place: Path


class Terminal:
    """Types commands one after the other; folder, variables, exit code and the lab stay.

    Understands what pages need of a shell: `xenrec` (also with `| …` or `> file` behind it), export, cd, sleep (which
    takes virtual time), and hands everything else to bash. Hidden set-up may also say `fresh MANIFEST
    [without-fencing]` and `xapi ADDRESS METHOD PARAMS…`. `answers` are what the person types at the next questions;
    `interrupt` names a call after which the person presses Ctrl-C.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.cwd = folder / "home"
        self.cwd.mkdir()
        self.code = 0
        self.running: Running | None = None
        self.answers: list[str] = []
        self.interrupt = ""
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(self.cwd),
            "LANG": "C.UTF-8",
            "COLUMNS": "80",
            "NO_COLOR": "1",
            "XENREC_STATE_DIR": str(folder / "state"),
        }
        self._patch = patch
        self._connect()

    # -- the outside

    def _connect(self) -> None:
        load_everything()
        self._everywhere(Outside, lambda trust, *runners: self._port())
        self._everywhere(fetch_fingerprint, self._fingerprint)
        self._everywhere(start_daemon, lambda place: None)
        self._everywhere(wait_ready, lambda place, process: self._up(place))
        self._everywhere(served_client.ask, self._ask)
        self._everywhere(operator, lambda: "op@desk")
        self._everywhere(screen, lambda: replace(screen(), interactive=bool(self.answers)))
        self._patch.setattr(board, "time", _Clock(self))
        self._patch.setattr(lab_story, "time", _Clock(self))
        self._patch.setattr(typer, "prompt", self._prompt)
        self._everywhere(run_command, self._command)

    def _everywhere(self, original: object, instead: object) -> None:
        """Put `instead` wherever a module of the package knows `original` by a name."""
        places = [
            (module, name)
            for where, module in list(sys.modules.items())
            if where.startswith("reconciler.")
            for name, value in list(vars(module).items())
            if value is original
        ]
        assert places
        for module, name in places:
            self._patch.setattr(module, name, instead)

    def _port(self) -> SlowPort:
        if self.running is None:
            raise AssertionError("a page must start its lab before it looks at a pool")
        port = SlowPort(self.running.lab)
        if self.interrupt:
            wanted = self.interrupt

            def press(address: str, method: str, params: Sequence[Json]) -> None:
                if method == wanted:
                    self.interrupt = ""
                    raise KeyboardInterrupt

            port.after_call = press
        return port

    def _prompt(self, text: str, **more: Any) -> str:
        answer = self.answers.pop(0)
        sys.stderr.write(f"{text}: {answer}\n")
        return answer

    def _command(self, argv: Sequence[str], env: Mapping[str, str], deadline: float) -> Ran:
        """A command that xenrec runs: our own ones here, the others as they are."""
        if argv[0] != "xenrec":
            return run_command(argv, env, deadline)
        code = self.code
        shown = self._xenrec(list(argv[1:]))
        ended, self.code = self.code, code
        return Ran(ended, shown)

    def _up(self, place: Path) -> dict[str, Any]:
        request = json.loads((place / REQUEST).read_text())
        secret = daemon.password(place)
        if request["from"]:
            seed = Seed.from_file(request["from"], first_address=request["address"])
        else:
            sizes = {"hosts": request["hosts"], "vms": request["vms"], "random_seed": request["seed"]}
            seed = Seed.generate(**sizes, first_address=request["address"])
        grown = Lab(
            seed,
            timing=Timing.fast() if request["fast"] else Timing(),
            release=Release(request["release"]),
            start=THREE_AM,
            random_seed=request["seed"],
            password=secret,
        )
        marks = {h.name: f"{n:02x}" * 32 for n, h in enumerate(grown.hosts.values(), 1)}
        pins = {name: Identity(place / "tls", mark) for name, mark in marks.items()}
        (place / MANIFEST).write_text(manifest(grown, pins, "", place))
        about = {
            "pid": 4242,
            "pool": grown.pool_name,
            "vms": len(guests(grown)),
            "release": grown.release.value,
            "fast": bool(request["fast"]),
            "hosts": [{"name": h.name, "address": h.address} for h in grown.hosts.values()],
        }
        control = Control(_InMemory(grown), place, about=about, on_down=self._down)  # type: ignore[arg-type]
        self.running = Running(grown, control, about, place)
        return about

    def _down(self) -> None:
        self.running = None

    def _ask(self, directory: Path, command: str, *, timeout: float = 30.0, **arguments: Any) -> Any:
        if self.running is None or directory != self.running.place:
            raise NoLab(directory)
        if command == "down":
            self._down()
            return {"pid": 4242}
        answer = self.running.control._answer(json.dumps({"command": command, "arguments": arguments}).encode())
        assert answer is not None
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]

    def _fingerprint(self, address: str, deadline: float) -> str:
        assert self.running is not None
        hosts = [h.address for h in self.running.lab.hosts.values()]
        return f"{hosts.index(address) + 1:02x}" * 32

    # -- typing

    def type(self, line: str) -> str:
        """Type one line; what appears on the screen. The exit code is kept for `$?`."""
        line = line.replace("$?", str(self.code))
        if self.running is not None:
            self.running.lab.run(self.running.lab.now + 1.0)  # nobody types faster
        try:
            words = shlex.split(line)
        except ValueError:
            words = [""]
        match words:
            case ["export", setting]:
                name, _, value = setting.partition("=")
                self.env[name] = value.replace("$PWD", str(self.cwd))
                shown = ""
            case ["cd", *_]:
                shown = self._bash(f"{line} && pwd", "")
                if self.code == 0:
                    self.cwd, shown = Path(shown.strip()), ""
            case ["sleep", seconds]:
                assert self.running is not None
                self.running.lab.run(self.running.lab.now + float(seconds))
                shown = ""
            case ["fresh", manifest_file, *rest]:
                shown = self._fresh(manifest_file, fencing="without-fencing" not in rest)
            case ["xapi", *rest]:
                shown = self._xapi(*rest)
            case ["xenrec", *_]:
                shown = self._xenrec_line(line)
            case _:
                shown = self._bash(line, "")
        return shown.replace(str(self.cwd), HOME).replace(str(self.folder), "/tmp")

    def _bash(self, line: str, stdin: str) -> str:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.cwd,
            env=self.env,
            input=stdin,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=20,
            check=False,
        )
        self.code = done.returncode
        return done.stdout

    def _xenrec_line(self, line: str) -> str:
        """`xenrec …`, perhaps with a pipe or a redirection behind it, which bash then does."""
        quoted = re.match(r"""((?:'[^']*'|"[^"]*"|[^'"|>])*)(.*)$""", line, re.DOTALL)
        assert quoted is not None
        command, rest = quoted[1], quoted[2].strip()
        words = shlex.split(command.replace("$PWD", str(self.cwd)))[1:]
        if not rest:
            return self._xenrec(words)
        stdout = _Screen()
        stderr = self._xenrec(words, stdout=stdout)
        code = self.code
        shown = stderr + self._bash(f"cat {rest}", stdout.text())
        self.code = code if rest.startswith(">") else self.code
        return shown

    def _xenrec(self, words: list[str], *, stdout: _Screen | None = None) -> str:
        """Run the command; what it wrote to the screen (to stderr only, with `stdout` given)."""
        shown = _Screen()
        before = Path.cwd()
        with pytest.MonkeyPatch.context() as patch:
            for name in [n for n in os.environ if n.startswith(("XENREC_", "CI"))]:
                patch.delenv(name)
            for name, value in self.env.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["xenrec", *words])
            patch.setattr(sys, "stdout", (stdout or shown).stream)
            patch.setattr(sys, "stderr", shown.stream)
            patch.setattr(sys, "stdin", io.StringIO(""))
            os.chdir(self.cwd)
            try:
                main()
            except SystemExit as ended:
                self.code = int(ended.code or 0)
            finally:
                os.chdir(before)
        return shown.text()

    def _fresh(self, file: str, *, fencing: bool) -> str:
        """For hidden set-up: a new lab whose manifest is `file` with the pool called as the file, planned once."""
        self.running = None
        agents = "" if fencing else "-e '/fencing:/,/lab_dir:/d'"
        name = Path(file).stem
        return "".join(
            [
                self._bash('rm -rf "$XENREC_STATE_DIR"', ""),
                self._xenrec(["lab", "up", "--fast"]),
                self._bash(f"sed -e 's/name: lab$/name: {name}/' {agents} .lab/manifest.yaml > {file}", ""),
                self._xenrec(["plan", file]),
            ]
        )

    def _xapi(self, address: str, method: str, *params: str) -> str:
        """For hidden set-up: a call that no command of ours makes, at one host, with a local or a normal session."""
        assert self.running is not None
        port = LabPort(self.running.lab)
        local = method.startswith("pool.emergency")
        login = "session.slave_local_login_with_password" if local else "session.login_with_password"
        secret = (self.running.place / "password").read_text().strip()
        session = port.call(address, login, ["root", secret], deadline=30.0)
        port.call(address, method, [session, *(json.loads(p) for p in params)], deadline=60.0)
        self.code = 0
        return ""


class _Screen:
    """A stream in UTF-8 that is no terminal."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        self.stream = io.TextIOWrapper(self._bytes, encoding="utf-8", write_through=True)

    def text(self) -> str:
        """All that was written."""
        return self._bytes.getvalue().decode()


class _Clock:
    """Stands for the module `time`: the lab's clock."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def time(self) -> float:
        """UTC seconds."""
        running = self._terminal.running
        return running.lab.now if running is not None else time.time()

    def monotonic(self) -> float:
        """Seconds."""
        return self.time()

    def sleep(self, seconds: float) -> None:
        """Virtual seconds: a test waits for nothing."""
        running = self._terminal.running
        assert running is not None
        running.lab.run(running.lab.now + seconds)
