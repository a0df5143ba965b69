"""`xenrec lab up` and `down`: a process of its own, seen to answer before `up` returns."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import XenAPI
from typer.testing import CliRunner, Result

from reconciler.cli.lab import app
from reconciler.lab.served_client import SOCKET, STATE, ask, read_state
from reconciler.manifest import load_file
from tests.lab.served.conftest import eventually, first_address, free_port

ROOT = Path(__file__).parents[3]
Lab = Callable[..., Result]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Runs `xenrec lab` on a directory of its own; whatever still runs at the end is ended."""
    directory = tmp_path / "lab"

    def run(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [*words, "--dir", str(directory)])
        assert result.exit_code == code, result.output
        return result

    yield run
    state = read_state(directory)
    if state is not None:
        os.kill(state["pid"], signal.SIGKILL)


def place(tmp_path: Path) -> tuple[str, list[str]]:
    address = first_address()
    return address, ["--fast", "--address", address, "--port", str(free_port(address)), "--hosts", "2", "--vms", "4"]


def test_up_serves_a_pool_and_down_ends_it(lab: Lab, tmp_path: Path) -> None:
    address, options = place(tmp_path)
    text = lab("up", *options).stdout
    assert "2 hosts, 4 VMs" in text
    assert f"xenrec plan {tmp_path}/lab/manifest.yaml" in text.replace("\n", "")
    about = ask(tmp_path / "lab", "about")
    assert about["hosts"][0]["address"] == f"{address}:{about['port']}"
    password = (tmp_path / "lab/password").read_text().strip()
    session = XenAPI.Session(f"https://{address}:{about['port']}", ignore_ssl=True)
    session.xenapi.login_with_password("root", password)
    assert len(session.xenapi.host.get_all()) == 2
    for secret in ("password", STATE, "manifest.yaml"):
        assert (tmp_path / "lab" / secret).stat().st_mode & 0o077 == 0
    assert password not in (tmp_path / "lab/lab.log").read_text() + (tmp_path / "lab" / STATE).read_text()

    assert "already running" in lab("up", *options, code=1).stderr
    assert lab("down").stdout == "The lab has ended.\n"
    assert not (tmp_path / "lab" / SOCKET).exists()
    with pytest.raises(ConnectionRefusedError), socket.create_connection((address, about["port"]), timeout=1):
        pass
    assert "no lab is running" in lab("down", code=69).stderr


def test_what_clients_pinned_is_still_right_after_a_crash_and_another_up(lab: Lab, tmp_path: Path) -> None:
    _, options = place(tmp_path)
    lab("up", *options)
    before = ask(tmp_path / "lab", "about")
    password = (tmp_path / "lab/password").read_text()
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: _gone(before["pid"]))
    assert "no lab is running" in lab("status", code=69).stderr
    lab("up", *options)
    after = ask(tmp_path / "lab", "about")
    assert after["pid"] != before["pid"]
    addresses = [[{**host, "uuid": ""} for host in told["hosts"]] for told in (before, after)]
    assert addresses[0] == addresses[1]
    assert (tmp_path / "lab/password").read_text() == password


def _gone(pid: int) -> bool:
    # The CLI runs inside this process, so the lab is our child.
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def test_the_manifest_it_prints_is_one_that_xenrec_takes(lab: Lab, tmp_path: Path) -> None:
    _, options = place(tmp_path)
    lab("up", *options)
    printed = lab("manifest").stdout
    lab("manifest", "--output", str(tmp_path / "pool.yaml"))
    assert (tmp_path / "pool.yaml").read_text() == printed
    wanted = load_file(tmp_path / "pool.yaml")  # raises where it has a problem
    about = ask(tmp_path / "lab", "about")
    assert [(m.name, m.address, m.fingerprint) for m in wanted.members] == [
        (host["name"], host["address"], host["fingerprint"]) for host in about["hosts"]
    ]
    device = wanted.members[0].fencing[0]
    assert device.agent == "fence_xenrec_lab"
    assert dict(device.options) == {"plug": wanted.members[0].name, "lab_dir": str(tmp_path / "lab")}
    assert len(wanted.vms) == 4


def test_up_says_why_it_did_not_start(lab: Lab, tmp_path: Path) -> None:
    address, options = place(tmp_path)
    with socket.socket() as other:
        other.bind((address, 0))
        other.listen()
        port = str(other.getsockname()[1])
        text = lab("up", *options, "--port", port, code=1).stderr
    assert text.startswith(f"error: the lab did not start: {address}:{port}: Address already in use: choose other")
    absent = tmp_path / "absent.json"
    text = lab("up", *options, "--from", str(absent), code=1).stderr
    assert text == f"error: the lab did not start: {absent}: No such file or directory\n"
    absent.write_text("{}")
    text = lab("up", *options, "--from", str(absent), code=1).stderr
    assert "not a pool database: it has no pool" in text
    assert not (tmp_path / "lab" / STATE).exists()


def test_in_the_foreground_it_ends_when_interrupted(tmp_path: Path) -> None:
    _, options = place(tmp_path)
    code = "from reconciler.cli.lab import app; app()"
    directory = tmp_path / "lab"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "up", *options, "--foreground", "--dir", str(directory)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    eventually(lambda: read_state(directory))
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "serving 127." in log
    assert not (directory / STATE).exists()
    assert json.loads((directory / "request.json").read_text())["hosts"] == 2
