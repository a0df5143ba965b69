"""Served labs, and the command line typed at them: in this process, or in one of its own."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from reconciler import cli
from reconciler.lab import served_manifest
from reconciler.lab.control import Control
from reconciler.lab.engine import Lab, Reply
from reconciler.lab.seed import Seed
from reconciler.lab.served_client import PASSWORD as PASSWORD_FILE
from reconciler.lab.server import ServedLab
from reconciler.lab.timing import Release
from tests.cli.hasty import be_hasty
from tests.lab.served.conftest import hasty
from tests.support.calls import changes

PASSWORD = "s3cret-0f-the-lab"
BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
HASTY = [sys.executable, "-m", "tests.cli.hasty"]
"""The command in a process of its own, impatient."""


def first_address() -> str:
    """The test run's worker has its own ten addresses of 127.0.40.0/24."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return f"127.0.40.{11 + 10 * (worker % 20)}"


def free_port(address: str) -> int:
    """A port that nobody listens on at this address."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Ran:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Both streams."""
        return self.out + self.err


def xenrec(*words: str, stdin: str = "", encoding: str = "utf-8") -> Ran:
    """Type a command, in this process: from options to exit code, with no terminal; `encoding` as of a locale."""
    out, err = _pipe(encoding), _pipe(encoding)
    before = sys.argv, sys.stdin
    sys.argv, sys.stdin = ["xenrec", *words], io.StringIO(stdin)
    code: Any = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.argv, sys.stdin = before
    out.flush()
    err.flush()
    return Ran(int(code or 0), out.buffer.getvalue().decode(), err.buffer.getvalue().decode())  # type: ignore[attr-defined]


def _pipe(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


@dataclass
class Bench:
    """A served lab, its manifest, and a state folder of its own. `calls` are what clients asked of it, in order."""

    lab: Lab
    served: ServedLab
    folder: Path
    manifest: Path
    state: Path
    calls: list[tuple[str, str]] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)

    def run(self, command: str, *words: str, **more: str) -> Ran:
        """Type a command about the lab's manifest, in this process."""
        return xenrec(command, str(self.manifest), *words, **more)

    def start(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command in a process of its own."""
        return subprocess.Popen(
            [*HASTY, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **self.env, **(env or {})},
        )

    def spawn(self, *words: str, env: Mapping[str, str] | None = None) -> Ran:
        """Type a command in a process of its own and see it end."""
        process = self.start(*words, env=env)
        out, err = process.communicate(timeout=60)
        return Ran(process.returncode, out, err)

    def edit(self, old: str, new: str) -> None:
        """Change the manifest; what is changed must be there."""
        text = self.manifest.read_text()
        assert old in text
        self.manifest.write_text(text.replace(old, new))

    def writes(self) -> list[str]:
        """Methods that were called and change a pool."""
        return [method for _, method in self.calls if changes(method)]

    def power_off(self, host: str) -> None:
        """Pull a plug."""
        with self.served.world() as lab:
            lab.power_off(host)

    def running(self) -> dict[str, str]:
        """VM -> host where it really runs."""
        with self.served.world() as lab:
            return {d.name: host for host, domains in lab.running().items() for d in domains}

    def harm(self) -> list[str]:
        """VMs that really run on more than one host, and any harm done."""
        with self.served.world() as lab:
            names = [d.name for domains in lab.running().values() for d in domains]
            return sorted({n for n in names if names.count(n) > 1}) + [h.text for h in lab.harm()]

    def halt(self, name: str) -> None:
        """Somebody shuts a VM down."""
        with self.served.world() as lab:
            where = next(host for host, domains in lab.running().items() if name in [d.name for d in domains])
            lab.world.stop(where, next(d.vm for d in lab.running()[where] if d.name == name))
            db = next(h.toolstack for h in lab.hosts.values() if h.role == "master").db  # type: ignore[union-attr]
            assert db is not None
            ref = next(r for r, vm in db.tables["VM"].items() if vm["name_label"] == name)
            db.update("VM", ref, power_state="Halted", resident_on="OpaqueRef:NULL", domid=-1)
            for vbd in db.tables["VM"][ref]["VBDs"]:
                db.update("VBD", vbd, currently_attached=False)
                disk = db.tables["VBD"][vbd]["VDI"]
                if disk in db.tables["VDI"]:
                    db.update("VDI", disk, sm_config={})
            for vif in db.tables["VM"][ref]["VIFs"]:
                db.update("VIF", vif, currently_attached=False)

    def backed_up(self) -> None:
        """Wait until the members hold a backup that the master made since it started."""
        began = self.served.lab_time()
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with self.served.world() as lab:
                (master,) = lab.masters()
                if all(h.disk.taken_at >= began for h in lab.hosts.values() if h is not master):
                    return
            time.sleep(0.05)
        raise AssertionError("no backups")


@contextlib.contextmanager
def bench_of(
    folder: Path,
    certificates: Path,
    *,
    hosts: int = 3,
    vms: int = 8,
    first: str = "",
    seed: int = 0,
    release: Release = Release.V24_16,
    **options: Any,
) -> Iterator[Bench]:
    """Serve a lab; its TLS identities are kept in `certificates`, for making them takes long."""
    address = first or first_address()
    grown = Seed.generate(hosts=hosts, vms=vms, random_seed=seed, first_address=address, **options)
    timing = replace(hasty(), latency=0.0, call=0.0, bad_password=0.01)
    lab = Lab(grown, timing=timing, release=release, start=time.time(), password=PASSWORD)
    calls: list[tuple[str, str]] = []
    ask = lab.request

    def request(address: str, method: str, params: Sequence[Any], *, source: str = "client") -> Reply:
        calls.append((address, method))
        return ask(address, method, params, source=source)

    lab.request = request  # type: ignore[method-assign]
    served = ServedLab(lab, certificates, port=free_port(address), others={})
    served.start()
    place = folder / "lab"
    place.mkdir()
    about = {"pid": os.getpid(), "pool": lab.pool_name, "port": served.port}
    Control(served, place, about=about, on_down=lambda: None).start()
    password = place / PASSWORD_FILE
    password.touch(mode=0o600)
    password.write_text(PASSWORD + "\n")
    manifest = folder / "pool.yaml"
    manifest.write_text(served_manifest.manifest(lab, served.identities(), f":{served.port}", place))
    try:
        yield Bench(lab, served, folder, manifest, folder / "state", calls)
    finally:
        served.stop()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Nothing of the person's own surroundings; agents are found beside the interpreter."""
    env = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "XENREC_STATE_DIR": str(tmp_path / "state"),
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    for name in ("COLUMNS", "NO_COLOR", "CI", "XENREC_LAB_DIR", "XENREC_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    be_hasty(monkeypatch.setattr)
    return env


@pytest.fixture
def bench(tmp_path: Path, certificates: Path, surroundings: dict[str, str]) -> Iterator[Bench]:
    """A pool of three hosts and eight VMs, as its manifest declares it."""
    with bench_of(tmp_path, certificates) as made:
        made.env = surroundings
        yield made
