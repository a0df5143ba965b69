"""How fast a served lab answers: its process beside ours, over TLS on one kept connection, as clients do."""

from __future__ import annotations

import json
import ssl
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

from reconciler.cli.lab_common import start_daemon, wait_ready
from reconciler.lab import served_client
from tests.bench.measure import Number

VMS = 5000
SECONDS = 2.0


class Client:
    """One connection to the master."""

    def __init__(self, host: str, port: int, password: str) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._link = HTTPSConnection(host, port, timeout=60, context=context)
        self._session = self.json("session.login_with_password", "root", password)

    def post(self, path: str, body: str, kind: str) -> bytes:
        """One request; its body."""
        self._link.request("POST", path, body, {"Content-Type": kind})
        answer = self._link.getresponse()
        body_back = answer.read()
        assert answer.status == 200, body_back[:200]
        return body_back

    def raw(self, method: str, *params: Any, xml: bool = False) -> bytes:
        """One call with the session; the body as it came."""
        args = (self._session, *params)
        if xml:
            return self.post("/", xmlrpc.client.dumps(args, method), "text/xml")
        call = {"jsonrpc": "2.0", "method": method, "params": args, "id": 1}
        return self.post("/jsonrpc", json.dumps(call), "application/json")

    def json(self, method: str, *params: Any) -> Any:
        """One call without the session; its result."""
        call = {"jsonrpc": "2.0", "method": method, "params": params, "id": 1}
        return json.loads(self.post("/jsonrpc", json.dumps(call), "application/json"))["result"]


@contextmanager
def lab(vms: int) -> Iterator[tuple[Client, str]]:
    """A served lab of sixteen hosts, and the ref of one of its VMs."""
    with tempfile.TemporaryDirectory(prefix="xenrec-bench-") as name:
        place = Path(name)
        request = {
            "hosts": 16,
            "vms": vms,
            "seed": 0,
            "from": None,
            "fast": False,
            "release": "24.16",
            "address": "127.0.91.11",
            "port": 18443,
        }
        (place / served_client.REQUEST).write_text(json.dumps(request), encoding="utf-8")
        process = start_daemon(place)
        try:
            wait_ready(place, process)
            password = (place / served_client.PASSWORD).read_text(encoding="utf-8").strip()
            client = Client("127.0.91.11", 18443, password)
            yield client, json.loads(client.raw("VM.get_all"))["result"][-1]
        finally:
            process.terminate()
            process.wait(10)


def numbers() -> list[Number]:
    """All of them."""
    found = []
    with lab(VMS) as (client, vm):
        for xml in (False, True):
            kind = "XML" if xml else "JSON"
            reads = []
            for _ in range(3):
                began = time.perf_counter()
                size = len(client.raw("VM.get_all_records", xml=xml))
                reads.append(time.perf_counter() - began)
            name = f"served: {VMS} VMs, get_all_records, {kind}"
            found.append(Number(f"{name}, first", reads[0], "s", 1.0, note=f"{size / 1e6:.0f} MB"))
            ratio = f"{reads[0] / min(reads[1:]):.1f} times as fast as the first"
            found.append(Number(f"{name}, again", min(reads[1:]), "s", 1.0, note=ratio))
        for xml in (False, True):
            calls, began = 0, time.perf_counter()
            while time.perf_counter() - began < SECONDS:
                client.raw("VM.get_record", vm, xml=xml)
                calls += 1
            rate = calls / (time.perf_counter() - began)
            found.append(
                Number(f"served: get_record, {'XML' if xml else 'JSON'}", rate, "calls/s", 500.0, at_least=True)
            )
    return found
