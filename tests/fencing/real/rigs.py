"""Real fence agents (Debian's) against real emulators of boards: sushy-tools for Redfish, pyghmi for IPMI.

The emulators are started by the tests on free ports of 127.0.0.1. They come from the dependency group `rigs`, of this
interpreter, of `make rigs`, or of the interpreter that XENREC_RIGS names; the agents from Debian's fence-agents.
"""

from __future__ import annotations

import base64
import functools
import importlib.util
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.core.port import AgentRun, Answer, Ask, Fault, FaultKind, Json, TransportFault
from reconciler.core.wanted import FenceDevice, Member, SecretRef
from reconciler.fencing.agents import find_agent, run_agent
from reconciler.fencing.fence import Bounds, Fencer

USER, PASSWORD = "admin", "s3cr3t&pass"
IPMI_PASSWORD = "s3cr3t-pass"
"""IPMI's passwords have at most 20 bytes."""
READY = 15.0
"""Seconds for an emulator to answer."""

REDFISH = """
import bcrypt, random, sys
from pathlib import Path
folder, user, password = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4, prefix=b"2b")).decode()
(folder / "htpasswd").write_text(f"{user}:{hashed}\\n")
random.randint = lambda low, high: low  # the fake driver switches after 1 to 11 s; the shortest will do
from sushy_tools.emulator.main import main
sys.argv = ["sushy-emulator", "--config", str(folder / "emulator.conf")]
sys.exit(main())
"""
IPMI = """
import sys
from pyghmi.cmd.fakebmc import FakeBmc
board = FakeBmc({"admin": sys.argv[2]}, port=int(sys.argv[1]))
board.powerstate = "on"
board.listen()
"""


def _python_with(module: str) -> str | None:
    """An interpreter that has the module."""
    if importlib.util.find_spec(module) is not None:
        return sys.executable
    other = os.environ.get("XENREC_RIGS") or str(Path(sys.prefix) / "rigs" / "bin" / "python")
    if Path(other).is_file():
        told = subprocess.run([other, "-c", f"import {module}"], capture_output=True, timeout=30, check=False)
        if told.returncode == 0:
            return other
    return None


@functools.cache
def missing(agent: str, module: str, *programs: str) -> str:
    """Why these tests can't run here; "" when they can."""
    try:
        find_agent(agent)
    except FileNotFoundError:
        return f"{agent} is not installed (apt-get install fence-agents)"
    for program in programs:
        if shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
            return f"{program} is not installed (apt-get install {program})"
    if _python_with(module) is None:
        return f"the Python package {module} is not installed (make rigs)"
    return ""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Clock:
    """The parts of the port that fencing uses, in real time. Nobody waits longer than it must."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return time.time() + self.ahead

    def wait(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.2))

    def run_agent(self, agent: str, options: Mapping[str, str], *, deadline: float) -> AgentRun:
        return run_agent(agent, options, deadline=deadline)

    def call(self, address: str, method: str, params: object, *, deadline: float) -> Json:
        raise AssertionError("fencing calls no XAPI")

    def ask_all(self, asks: list[Ask]) -> list[Answer]:
        found = []
        for ask in asks:
            try:
                found.append(Answer(self.run_agent(ask.agent, ask.options, deadline=ask.deadline)))
            except FileNotFoundError as error:
                fault: Fault = TransportFault(FaultKind.PROTOCOL, str(error), sent=False)
                found.append(Answer(fault=fault))
        return found


def fencer(password: str, *, settle: float = 4.0) -> Fencer:
    return Fencer(Clock(), lambda ref: password, bounds=Bounds(settle=settle))


@contextmanager
def running(code: str, *arguments: str, module: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An emulator's process, ended (and nothing else) when the tests are over."""
    python = _python_with(module)
    assert python is not None
    with (folder / f"{module}.log").open("wb") as log:
        process = subprocess.Popen([python, "-c", code, *arguments], stdout=log, stderr=log, cwd=folder)
        try:
            yield process
        finally:
            process.kill()
            process.wait(timeout=10)


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + READY
    while time.monotonic() < give_up:
        if process.poll() is not None:
            break
        with suppress(OSError, subprocess.TimeoutExpired):
            if ready():
                return
        time.sleep(0.1)
    pytest.fail(f"the emulator did not start: {log.read_text()[-2000:]}")


# --- Redfish ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Redfish:
    """One emulator with a system for each case, behind TLS and basic auth."""

    port: int

    def member(self, system: str, *, agent: str = "fence_redfish", port: int | None = None) -> Member:
        options = {
            "ip": "127.0.0.1",
            "ipport": str(port or self.port),
            "username": USER,
            "systems_uri": f"/redfish/v1/Systems/{system}",
            "ssl_insecure": "1",
            "power_timeout": "8",
            "login_timeout": "3",
        }
        device = FenceDevice(agent, options, {"password": SecretRef("env", "BMC")})
        return Member("xen01", "10.0.0.11", fencing=(device,))

    def _ask(self, path: str, body: Json = None) -> Json:
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}/redfish/v1{path}")
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:
            raw = answer.read()
        return json.loads(raw) if raw else None

    def power(self, system: str) -> str:
        return str(self._ask(f"/Systems/{system}")["PowerState"])

    def switch_on(self, system: str) -> None:
        """Somebody presses the button."""
        self._ask(f"/Systems/{system}/Actions/ComputerSystem.Reset", {"ResetType": "On"})
        give_up = time.monotonic() + 5
        while self.power(system) != "On" and time.monotonic() < give_up:
            time.sleep(0.1)
        assert self.power(system) == "On"


@contextmanager
def redfish(folder: Path, systems: Mapping[str, str]) -> Iterator[Redfish]:
    """`systems`: uuid -> name."""
    from reconciler.lab.tls import identity  # noqa: PLC0415

    port = free_port()
    pem = identity(folder / "tls", "bmc", "127.0.0.1").file
    fakes = [
        {"uuid": uuid, "name": name, "power_state": "On", "external_notifier": False, "nics": []}
        for uuid, name in systems.items()
    ]
    config = {
        "SUSHY_EMULATOR_LISTEN_IP": "127.0.0.1",
        "SUSHY_EMULATOR_LISTEN_PORT": port,
        "SUSHY_EMULATOR_SSL_CERT": str(pem),
        "SUSHY_EMULATOR_SSL_KEY": str(pem),
        "SUSHY_EMULATOR_AUTH_FILE": str(folder / "htpasswd"),
        "SUSHY_EMULATOR_FAKE_DRIVER": True,
        "SUSHY_EMULATOR_FAKE_SYSTEMS": fakes,
        "SUSHY_EMULATOR_STATE_DIR": str(folder / "state"),
    }
    (folder / "state").mkdir()
    (folder / "emulator.conf").write_text("".join(f"{key} = {value!r}\n" for key, value in config.items()))
    board = Redfish(port)
    with running(REDFISH, str(folder), USER, PASSWORD, module="sushy_tools", folder=folder) as process:
        wait_until(lambda: bool(board._ask("/Systems")), process, folder / "sushy_tools.log")
        yield board


# --- IPMI ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ipmi:
    """One board of IPMI 2.0 (RMCP+), powered on."""

    port: int

    def member(self, *, agent: str = "fence_ipmilan", patience: int = 5) -> Member:
        options = {
            "ip": "127.0.0.1",
            "ipport": str(self.port),
            "username": USER,
            "lanplus": "1",
            "power_timeout": str(patience),
            "login_timeout": str(patience),
            "ipmitool_timeout": "1",
        }
        device = FenceDevice(agent, options, {"password": SecretRef("env", "BMC")})
        return Member("xen01", "10.0.0.11", fencing=(device,))

    def ask(self, *words: str) -> str:
        """ipmitool, as another administrator would use it; the password of a rig is no secret."""
        login = ("-p", str(self.port), "-U", USER, "-P", IPMI_PASSWORD, "-R", "1", "-N", "1")
        told = subprocess.run(
            [
                *["ipmitool", "-I", "lanplus", "-H", "127.0.0.1", "-R", "1", "-N", "1"],
                *login,
                "chassis",
                "power",
                *words,
            ],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        return told.stdout.strip()


@contextmanager
def ipmi(folder: Path) -> Iterator[Ipmi]:
    board = Ipmi(free_port(socket.SOCK_DGRAM))
    with running(IPMI, str(board.port), IPMI_PASSWORD, module="pyghmi", folder=folder) as process:
        wait_until(lambda: board.ask("status").endswith("on"), process, folder / "pyghmi.log")
        yield board


def liar(folder: Path, agent: str) -> str:
    """An agent that claims success for `off` without doing anything, and is honest about everything else."""
    script = folder / "fence_liar"
    script.write_text(
        "#!/bin/sh\nlines=$(cat)\n"
        'case "$lines" in *action=off*) echo "Success: Powered OFF"; exit 0;; esac\n'
        f"printf '%s\\n' \"$lines\" | exec {find_agent(agent)}\n"
    )
    script.chmod(0o700)
    return str(script)
