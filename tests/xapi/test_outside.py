from __future__ import annotations

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from reconciler.core.port import AgentRun, Ask, FaultKind, TransportFault, XapiFailure
from reconciler.outside import Outside
from reconciler.xapi.trust import Trust


def no_agent(agent, options, *, deadline):
    raise FileNotFoundError(f"no fence agent {agent}")


@pytest.fixture
def outside(stub, certificate):
    out = Outside(Trust({stub.address: certificate.fingerprint}), no_agent)
    yield out
    out.close()


def test_questions_run_together_and_keep_their_order(outside, stub):
    together = threading.Barrier(3)

    def script(r):
        together.wait(2)
        if r.call["params"] == ["bad"]:
            r.error({"code": 1, "message": "HOST_IS_SLAVE", "data": ["x"]})
        else:
            r.result(r.call["params"][0])

    stub.script = script
    asks = [Ask("xapi", 2.0, stub.address, "VM.get_all", (p,)) for p in ("one", "bad", "three")]
    first, second, third = outside.ask_all(asks)
    assert (first.value, first.fault, third.value) == ("one", None, "three")
    assert isinstance(second.fault, XapiFailure)
    assert 0 < first.took < 2


def test_a_hanging_answer_costs_its_own_deadline(outside, stub):
    stub.script = lambda r: r.result("") if r.call["method"] == "quick.get" else None
    started = time.monotonic()
    slow, quick = outside.ask_all(
        [Ask("xapi", 0.2, stub.address, "pool.get_all", ()), Ask("xapi", 5.0, stub.address, "quick.get", ())]
    )
    assert slow.fault.kind is FaultKind.TIMEOUT
    assert quick.fault is None
    assert time.monotonic() - started < 0.6


def test_a_stuck_thread_is_left_behind(stub, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr("reconciler.outside.GRACE", 0.05)
    out = Outside(Trust(), lambda agent, options, *, deadline: release.wait(10) and AgentRun(0, "", ""))
    (answer,) = out.ask_all([Ask("agent", 0.05, agent="stuck", options={})])
    release.set()
    assert (answer.fault.kind, answer.fault.sent) == (FaultKind.TIMEOUT, True)


def test_tcp(outside, stub):
    host, _, port = stub.address.partition(":")
    yes, no = outside.ask_all(
        [Ask("tcp", 1.0, address=stub.address, port=int(port)), Ask("tcp", 1.0, address=host, port=1)]
    )
    assert (yes.value, yes.fault) == (None, None)
    assert no.fault.kind is FaultKind.REFUSED


def test_agents(outside):
    (answer,) = outside.ask_all([Ask("agent", 1.0, agent="fence_x", options={"passwd": "s3cr3t"})])
    assert isinstance(answer.fault, TransportFault)
    assert "no fence agent fence_x" in str(answer.fault)
    with pytest.raises(FileNotFoundError):
        outside.run_agent("fence_x", {}, deadline=1.0)
    said = AgentRun(0, "Status: ON", "")
    other = Outside(Trust(), lambda agent, options, *, deadline: said)
    assert other.ask_all([Ask("agent", 1.0, agent="a", options={})])[0].value is said


def test_a_programming_error_is_not_an_answer(outside):
    with pytest.raises(ValueError, match="no such kind"):
        outside.ask_all([Ask("smoke-signal", 1.0)])


def test_the_clock_is_the_real_one(outside):
    before = time.time() - 0.001
    outside.wait(-5)
    outside.wait(0.01)
    assert before + 0.01 <= outside.now() <= time.time() + 0.001


def test_a_clock_that_is_set_during_a_run_makes_no_deadline_pass(outside, monkeypatch):
    """As on a machine that came back with the pool after a power cut: its clock jumps by hours when NTP answers, and a
    migration would be cancelled for having taken so long."""
    before = outside.now()
    monkeypatch.setattr(time, "time", lambda: before + 7200.0)
    assert before <= outside.now() < before + 60.0
    monkeypatch.setattr(time, "time", lambda: before - 7200.0)
    assert before <= outside.now() < before + 60.0


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(self.path.removeprefix("/")))
        self.send_header("Location", "/200")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def page():
    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_page_is_asked_once_and_a_redirect_is_not_followed(outside, page):
    asks = [Ask("http", 5.0, url=f"{page}/{status}") for status in (204, 301, 503)]
    assert [a.value for a in outside.ask_all(asks)] == [204, 301, 503]


def test_a_page_that_does_not_come_is_a_fault(outside, page):
    port = page.rpartition(":")[2]
    nobody = f"http://127.0.0.1:{_free_port()}/"
    strange = outside.ask_all([Ask("http", 2.0, url=u) for u in (nobody, f"https://127.0.0.1:{port}/", "http://[/")])
    assert [a.fault.kind for a in strange] == [FaultKind.REFUSED, FaultKind.TLS, FaultKind.PROTOCOL]


def _free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def test_whom_a_member_follows_is_told_as_it_is_declared(stub, certificate, monkeypatch):
    known = {"xen01.lan": "10.0.0.11", "xen02.lan": "fd00::12"}

    def lookup(host, port, **more):
        if host not in known and not host.startswith("127."):
            raise socket.gaierror("no such name")
        return [(0, 0, 0, "", (known.get(host, host), port or 0))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    trust = Trust({stub.address: certificate.fingerprint})
    out = Outside(trust, no_agent, hosts=["gone.lan", "xen01.lan", "xen02.lan", "10.0.0.13"])
    stub.script = lambda r: r.error({"code": 1, "message": "HOST_IS_SLAVE", "data": [r.call["params"][0]]})
    told = []
    for follows in ("10.0.0.11", "fd00::12", "10.0.0.13", "10.0.0.14"):
        (answer,) = out.ask_all([Ask("xapi", 2.0, stub.address, "session.login", (follows,))])
        told.append(answer.fault.params)
    out.close()
    assert told == [("xen01.lan",), ("xen02.lan",), ("10.0.0.13",), ("10.0.0.14",)]
