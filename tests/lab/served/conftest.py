"""A served lab of four hosts for each test, on addresses and a port of its own."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
import XenAPI

from reconciler.lab.control import Control
from reconciler.lab.engine import Lab, LabHost
from reconciler.lab.seed import Seed
from reconciler.lab.server import ServedLab
from reconciler.lab.timing import Release, Timing

PASSWORD = "lab-secret"
RANGES = itertools.count(1)
PAUSE = 0.01


def first_address() -> str:
    """Where nobody else of this test run listens."""
    return f"127.{100 + os.getpid() % 100}.{next(RANGES) % 250}.11"


def free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def hasty() -> Timing:
    """Timing.fast(), ten times as fast: real seconds are spent here."""
    fast = Timing.fast()
    kept = {"retry_min", "retry_max", "retry_total", "vbd_retry", "event_batch"}
    times = {f.name: getattr(fast, f.name) for f in fields(fast) if isinstance(getattr(fast, f.name), float)}
    return replace(fast, **{name: value / 10 for name, value in times.items() if name not in kept})


class Pool:
    """A served lab and the ways in which tests talk to it."""

    def __init__(
        self,
        directory: Path,
        seed: Seed,
        *,
        others: dict[int, int] | None = None,
        release: Release = Release.V24_16,
    ) -> None:
        self.directory = directory
        timing = replace(hasty(), latency=0.0, call=0.0)
        self.lab = Lab(seed, timing=timing, release=release, start=time.time(), password=PASSWORD)
        address = next(iter(self.lab.hosts.values())).address
        self.served = ServedLab(self.lab, directory, port=free_port(address), others=others or {})
        self.served.start()
        self.down = False
        about = {"pid": os.getpid(), "pool": self.lab.pool_name, "port": self.served.port}
        self.control = Control(self.served, directory, about=about, on_down=self._note_down)
        self.control.start()

    def _note_down(self) -> None:
        self.down = True

    @property
    def master(self) -> LabHost:
        return next(host for host in self.lab.hosts.values() if host.role == "master")

    @property
    def members(self) -> list[LabHost]:
        return [host for host in self.lab.hosts.values() if host.role != "master"]

    def session(self, host: LabHost, *, local: bool = False) -> Any:
        """The stock client, logged in."""
        session = XenAPI.Session(f"https://{self.served.address_of(host)}", ignore_ssl=True)
        if local:
            session.slave_local_login_with_password("root", PASSWORD)
        else:
            session.xenapi.login_with_password("root", PASSWORD, "1.0", "tests")
        return session

    @contextlib.contextmanager
    def http(self, host: LabHost, timeout: float = 5.0) -> Iterator[HTTPSConnection]:
        """A bare keep-alive connection."""
        context = ssl.create_default_context(cafile=str(self.served.identities()[host.name].file))
        with contextlib.closing(
            HTTPSConnection(host.address, self.served.port, timeout=timeout, context=context)
        ) as link:
            yield link

    def rpc(self, link: HTTPConnection, method: str, *params: Any, ident: Any = 1, version: str = "2.0") -> Any:
        """One JSON-RPC call; the decoded answer."""
        call: dict[str, Any] = {"method": method, "params": list(params), "id": ident}
        if version == "2.0":
            call["jsonrpc"] = "2.0"
        link.request("POST", "/jsonrpc", json.dumps(call))
        answer = link.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        return json.loads(body)


def eventually(look: Callable[[], Any], seconds: float = 8.0) -> Any:
    """Poll until `look` gives something true; returns it."""
    until = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(PAUSE)


@contextlib.contextmanager
def socket_timeout(seconds: float) -> Iterator[None]:
    """The stock client has no deadline but the process's own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    made = Pool(tmp_path, Seed.generate(hosts=4, vms=24, first_address=first_address()))
    yield made
    made.served.stop()
