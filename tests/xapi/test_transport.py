from __future__ import annotations

import json
import socket
import threading
import time
import traceback
import xmlrpc.client

import pytest
import XenAPI

from reconciler.core.port import FaultKind, TransportFault, XapiFailure
from reconciler.xapi import transport as transport_module
from reconciler.xapi.transport import JsonRpcTransport, Xapi
from reconciler.xapi.trust import Trust, TrustError, plain_fingerprint
from reconciler.xapi.wire import fetch_fingerprint, split_address

SECRET = "s3cr3t-pass"


@pytest.fixture
def xapi(stub, certificate):
    client = Xapi(Trust({stub.address: certificate.fingerprint}))
    yield client
    client.close()


def fault_of(xapi, stub, method="VM.start", params=("session", SECRET), deadline=2.0) -> TransportFault:
    with pytest.raises(TransportFault) as caught:
        xapi.call(stub.address, method, params, deadline=deadline)
    # What fails never says what was sent, not even in the chain of its causes.
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return caught.value


def test_a_call_is_one_small_json_rpc_request(xapi, stub):
    stub.script = lambda r: r.result({"n": 34359738368, "none": None, "yes": True})
    assert xapi.call(stub.address, "VM.get_record", ("session", "ref", 7, 2**40, 1.5, {"k": [True]}), deadline=2) == {
        "n": 34359738368,
        "none": None,
        "yes": True,
    }
    (request,) = stub.requests
    assert request.path == "/jsonrpc"
    assert len(request.head) < 1024
    # 64-bit ints do not fit the XML-RPC that the Session makes, so they travel as strings, which XAPI takes.
    assert request.call["params"] == ["session", "ref", 7, str(2**40), 1.5, {"k": [True]}]
    assert request.call["jsonrpc"] == "2.0"


def test_the_stock_session_runs_unmodified_on_the_transport(stub, certificate):
    def script(r):
        if r.call["method"] == "session.login_with_password":
            r.result("OpaqueRef:s")
        elif r.call["method"] == "VM.get_all":
            r.result(["OpaqueRef:1"])
        elif r.call["method"] == "VM.start":
            r.error({"code": 1, "message": "VM_BAD_POWER_STATE", "data": ["OpaqueRef:1", "halted", "running"]})
        else:
            r.result("")

    stub.script = script
    carrier = JsonRpcTransport(stub.address, Trust({stub.address: certificate.fingerprint}), deadline=2)
    session = XenAPI.Session(f"https://{stub.address}/", transport=carrier)
    session.login_with_password("root", SECRET, "1.0", "test")
    assert session.xenapi.VM.get_all() == ["OpaqueRef:1"]
    with pytest.raises(XenAPI.Failure) as caught:
        session.xenapi.VM.start("OpaqueRef:1", False, False)
    assert caught.value.details == ["VM_BAD_POWER_STATE", "OpaqueRef:1", "halted", "running"]
    session.xenapi.session.logout()
    assert stub.connections == 1
    carrier.close()


@pytest.mark.parametrize(
    ("error", "code", "params"),
    [
        ({"code": 1, "message": "HOST_IS_SLAVE", "data": ["10.0.0.1"]}, "HOST_IS_SLAVE", ("10.0.0.1",)),
        # The gate of a host in emergency mode sends a plain array in the 2.0 frame.
        (["HOST_STILL_BOOTING"], "HOST_STILL_BOOTING", ()),
        (["HOST_NOT_ENOUGH_FREE_MEMORY", 5, "6"], "HOST_NOT_ENOUGH_FREE_MEMORY", ("5", "6")),
    ],
)
def test_xapi_errors_of_every_framing(xapi, stub, error, code, params):
    stub.script = lambda r: r.error(error)
    with pytest.raises(XapiFailure) as caught:
        xapi.call(stub.address, "pool.get_all", ("s",), deadline=2)
    assert (caught.value.code, caught.value.params) == (code, params)


def test_json_rpc_1_frames_are_understood(xapi, stub):
    stub.script = lambda r: r.send(json.dumps({"result": 3, "error": None, "id": 1}).encode())
    assert xapi.call(stub.address, "VM.get_order", ("s", "v"), deadline=2) == 3


def xml(value, failure=None):
    envelope = {"Status": "Failure", "ErrorDescription": failure} if failure else {"Status": "Success", "Value": value}
    return xmlrpc.client.dumps((envelope,), methodresponse=True).encode()


def old_host(value=None, failure=None, refusal="404 Not Found"):
    def script(r):
        if r.path == "/jsonrpc":
            r.send(b"<html>no</html>", status=refusal)
        else:
            r.send(xml(value, failure))

    return script


def test_a_host_without_jsonrpc_is_spoken_to_in_xml_and_remembered(xapi, stub):
    stub.script = old_host({"order": "5", "when": xmlrpc.client.DateTime("20261122T01:10:39Z")})
    expected = {"order": "5", "when": "20261122T01:10:39Z"}
    assert xapi.call(stub.address, "VM.start", ("s", "v"), deadline=2) == expected
    assert xapi.call(stub.address, "VM.get_record", ("s", "v"), deadline=2) == expected
    assert [r.path for r in stub.requests] == ["/jsonrpc", "/", "/"]
    params, method = xmlrpc.client.loads(stub.requests[-1].body)
    assert (method, params) == ("VM.get_record", ("s", "v"))


def test_xml_failures_are_xapi_failures(xapi, stub):
    stub.script = old_host(failure=["HOST_IS_SLAVE", "10.0.0.9"])
    with pytest.raises(XapiFailure, match=r"HOST_IS_SLAVE \[10.0.0.9\]"):
        xapi.call(stub.address, "session.login_with_password", ("root", SECRET), deadline=2)


def test_a_500_means_no_jsonrpc_only_for_what_may_be_sent_twice(xapi, stub):
    stub.script = old_host("ref", refusal="500 Internal Error")
    assert fault_of(xapi, stub, "VM.start").kind is FaultKind.PROTOCOL
    assert len(stub.requests) == 1
    assert xapi.call(stub.address, "session.login_with_password", ("root", SECRET), deadline=2) == "ref"
    assert [r.path for r in stub.requests[1:]] == ["/jsonrpc", "/"]


def test_xml_garbage_is_a_protocol_fault(xapi, stub):
    stub.script = lambda r: r.send(b"<x/>", status="404 Not Found" if r.path == "/jsonrpc" else "200 OK")
    assert fault_of(xapi, stub).kind is FaultKind.PROTOCOL


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>hello</html>",
        b"[]",
        b"{}",
        b'{"error": {"message": null}}',
        b'{"error": []}',
        b"[" * 200_000,
        b'{"jsonrpc": "2.0", "result": 1, "id": 999}',
    ],
)
def test_garbage_is_a_protocol_fault(xapi, stub, body):
    stub.script = lambda r: r.send(body)
    fault = fault_of(xapi, stub)
    assert (fault.kind, fault.sent) == (FaultKind.PROTOCOL, True)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9\r\n\r\n\r\n", b"HTTP/9 x\r\n\r\n", b"x" * 100_000])
def test_what_is_not_http_is_a_protocol_fault(xapi, stub, answer):
    stub.script = lambda r: r.sock.sendall(answer)
    assert fault_of(xapi, stub).kind is FaultKind.PROTOCOL


@pytest.mark.parametrize("length", ["-5", "many", "9" * 30])
def test_a_nonsense_length_is_a_protocol_fault(xapi, stub, length):
    stub.script = lambda r: r.sock.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode())
    assert fault_of(xapi, stub).kind is FaultKind.PROTOCOL


def chunks(r):
    body = json.dumps({"jsonrpc": "2.0", "result": "long" * 100, "id": r.call["id"]}).encode()
    parts = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 50]), body[i : i + 50]) for i in range(0, len(body), 50))
    r.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    r.sock.sendall(parts + b"0\r\nX-Trailer: 1\r\n\r\n")


def test_chunked_answers_and_bodies_that_end_with_the_connection(xapi, stub, hangup):
    stub.script = chunks
    assert xapi.call(stub.address, "VM.get_all", ("s",), deadline=2) == "long" * 100
    assert xapi.call(stub.address, "VM.get_all", ("s",), deadline=2) == "long" * 100
    assert stub.connections == 1

    def until_close(r):
        r.sock.sendall(b'HTTP/1.0 200 OK\r\n\r\n{"result": 7, "id": null}')
        raise hangup

    stub.script = until_close
    assert xapi.call(stub.address, "VM.get_all", ("s",), deadline=2) == 7


def test_an_answer_beyond_the_limit_is_refused_before_it_is_read(stub, certificate):
    small = Xapi(Trust({stub.address: certificate.fingerprint}), max_answer=1000)
    stub.script = lambda r: r.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 600000000\r\n\r\n")
    assert "more than 1000 bytes" in fault_of(small, stub).detail

    def endless(r):
        r.sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not stub.stopping.is_set():
            r.sock.sendall(b" " * 500)

    stub.script = endless
    assert "more than 1000 bytes" in fault_of(small, stub).detail


def test_a_request_larger_than_xapi_takes_is_not_sent(xapi, stub):
    fault = fault_of(xapi, stub, params=("x" * 310_000 + SECRET,))
    assert (fault.kind, fault.sent) == (FaultKind.PROTOCOL, False)
    assert stub.requests == []


def test_parameters_that_no_xml_can_hold_are_refused_unsent(xapi, stub):
    fault = fault_of(xapi, stub, params=(f"\x01{SECRET}",))
    assert (fault.kind, fault.sent) == (FaultKind.PROTOCOL, False)


# --- deadlines ---


def measured(ask):
    started = time.monotonic()
    fault = ask()
    return fault, time.monotonic() - started


def test_a_slow_drip_does_not_outlive_the_deadline(xapi, stub):
    def drip(r):
        r.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not stub.stopping.wait(0.02):
            r.sock.sendall(b" ")

    stub.script = drip
    fault, took = measured(lambda: fault_of(xapi, stub, deadline=0.3))
    assert (fault.kind, fault.sent) == (FaultKind.TIMEOUT, True)
    assert took < 0.6
    assert "VM.start" in fault.detail


def test_silence_after_the_request_is_a_timeout_that_may_have_taken_effect(xapi, stub):
    stub.script = lambda r: None
    fault, took = measured(lambda: fault_of(xapi, stub, deadline=0.2))
    assert (fault.kind, fault.sent) == (FaultKind.TIMEOUT, True)
    assert took < 0.5


def test_silence_in_the_handshake_is_a_timeout_before_anything_was_sent(xapi, stub):
    stub.raw = lambda sock: stub.stopping.wait(5) and None
    fault, took = measured(lambda: fault_of(xapi, stub, deadline=0.2))
    assert (fault.kind, fault.sent) == (FaultKind.TIMEOUT, False)
    assert took < 0.5


def test_a_handshake_that_drips_has_one_deadline(xapi, stub):
    def drip(sock):
        sock.sendall(b"\x16\x03\x03\x10\x00")  # a record of 4 KiB that never ends
        while not stub.stopping.wait(0.02):
            sock.sendall(b"\x02")

    stub.raw = drip
    fault, took = measured(lambda: fault_of(xapi, stub, deadline=0.3))
    assert not fault.sent
    assert took < 0.6


def test_a_full_accept_queue_is_a_timeout(certificate):
    with socket.socket() as full, socket.socket() as filler:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        filler.connect(full.getsockname())
        address = f"127.0.0.1:{full.getsockname()[1]}"
        xapi = Xapi(Trust({address: certificate.fingerprint}))
        with pytest.raises(TransportFault) as caught:
            xapi.call(address, "pool.get_all", ("s",), deadline=0.2)
        assert (caught.value.kind, caught.value.sent) == (FaultKind.TIMEOUT, False)


def test_refused_and_unknown_names(certificate):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    xapi = Xapi(Trust({address: certificate.fingerprint, "no-such-host.invalid": certificate.fingerprint}))
    for place, kind in ((address, FaultKind.REFUSED), ("no-such-host.invalid", FaultKind.UNREACHABLE)):
        with pytest.raises(TransportFault) as caught:
            xapi.call(place, "pool.get_all", ("s",), deadline=2)
        assert (caught.value.kind, caught.value.sent) == (kind, False)


def test_a_port_that_is_no_port():
    with pytest.raises(TransportFault, match="'x' is not a port"):
        Xapi(Trust()).call("127.0.0.1:x", "pool.get_all", ("s",), deadline=1)


# --- no replay ---


def test_a_write_dropped_after_the_request_is_sent_once_and_said_so(xapi, stub, hangup):
    def drop(r):
        raise hangup

    stub.script = drop
    fault = fault_of(xapi, stub, "VM.start")
    assert (fault.kind, fault.sent) == (FaultKind.DROPPED, True)
    assert stub.methods == ["VM.start"]


def test_a_write_on_a_kept_connection_that_drops_is_not_repeated(xapi, stub, hangup):
    xapi.call(stub.address, "VM.get_all", ("s",), deadline=2)

    def drop(r):
        raise hangup

    stub.script = drop
    fault = fault_of(xapi, stub, "Async.VM.start")
    assert (fault.kind, fault.sent) == (FaultKind.DROPPED, True)
    assert stub.methods == ["VM.get_all", "Async.VM.start"]
    assert stub.connections == 1


def test_a_read_on_a_kept_connection_that_drops_is_repeated_once(xapi, stub, hangup):
    xapi.call(stub.address, "VM.get_all", ("s",), deadline=2)

    def drop_the_first_connection(r):
        if r.connection == 1:
            raise hangup
        r.result(["again"])

    stub.script = drop_the_first_connection
    assert xapi.call(stub.address, "VM.get_all", ("s",), deadline=2) == ["again"]

    def drop(r):
        raise hangup

    stub.script = drop
    before = len(stub.requests)
    assert fault_of(xapi, stub, "VM.get_all").kind is FaultKind.DROPPED
    assert len(stub.requests) == before + 2


def test_half_an_answer_is_a_fault_and_a_read_is_not_repeated_for_it(xapi, stub, hangup):
    xapi.call(stub.address, "VM.get_all", ("s",), deadline=2)

    def half(r):
        r.sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"result"')
        raise hangup

    stub.script = half
    assert fault_of(xapi, stub, "VM.get_all").kind is FaultKind.DROPPED
    assert len(stub.requests) == 2


def test_a_write_goes_on_a_new_connection_when_the_server_closed_the_kept_one(xapi, stub):
    xapi.call(stub.address, "VM.get_all", ("s",), deadline=2)
    stub.hang_up()
    time.sleep(0.05)
    stub.script = lambda r: r.result("done")
    assert xapi.call(stub.address, "VM.start", ("s", "v"), deadline=2) == "done"
    assert stub.methods == ["VM.get_all", "VM.start"]
    assert stub.connections == 2


def test_stray_bytes_retire_a_connection(xapi, stub):
    def twice(r):
        r.result("mine")
        r.result("stray")

    stub.script = twice
    assert xapi.call(stub.address, "VM.start", ("s",), deadline=2) == "mine"
    time.sleep(0.05)
    assert xapi.call(stub.address, "VM.start", ("s",), deadline=2) == "mine"
    assert stub.connections == 2


def test_a_connection_idle_for_long_carries_reads_only(xapi, stub, monkeypatch):
    xapi.call(stub.address, "VM.get_all", ("s",), deadline=2)
    monkeypatch.setattr(transport_module, "IDLE_FOR_WRITES", -1.0)
    xapi.call(stub.address, "VM.get_all", ("s",), deadline=2)
    assert stub.connections == 1
    xapi.call(stub.address, "VM.start", ("s",), deadline=2)
    assert stub.connections == 2


def test_each_thread_has_its_own_connection(xapi, stub):
    together = threading.Barrier(4)
    stub.script = lambda r: (together.wait(2), r.result(r.call["params"][0]))
    got = {}

    def ask(i):
        got[i] = xapi.call(stub.address, "VM.get_all", (i,), deadline=5)
        xapi.close()

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {i: i for i in range(4)}
    assert stub.connections == 4


# --- trust ---


def test_a_wrong_fingerprint_stops_before_the_login_is_sent(stub, certificate, other_certificate):
    xapi = Xapi(Trust({stub.address: other_certificate.fingerprint}))
    fault = fault_of(xapi, stub, "session.login_with_password", ("root", SECRET))
    assert (fault.kind, fault.sent) == (FaultKind.TLS, False)
    assert other_certificate.fingerprint in fault.detail
    assert certificate.fingerprint in fault.detail
    assert stub.requests == []


def test_nothing_declared_is_refused_with_the_fingerprint_to_declare(stub, certificate):
    fault = fault_of(Xapi(Trust()), stub, "session.login_with_password", ("root", SECRET))
    assert (fault.kind, fault.sent) == (FaultKind.TLS, False)
    assert certificate.fingerprint in fault.detail
    assert stub.requests == []


def test_a_ca_file_is_enough_and_a_wrong_one_is_refused(stub, certificate, other_certificate):
    assert Xapi(Trust(ca_file=str(certificate.pem))).call(stub.address, "VM.get_all", ("s",), deadline=2) == ""
    assert len(stub.requests) == 1
    fault = fault_of(Xapi(Trust(ca_file=str(other_certificate.pem))), stub, "session.login_with_password")
    assert (fault.kind, fault.sent) == (FaultKind.TLS, False)
    assert certificate.fingerprint in fault.detail
    assert str(other_certificate.pem) in fault.detail
    assert len(stub.requests) == 1


def test_a_pin_decides_even_where_a_ca_would_accept(stub, certificate, other_certificate):
    both = Trust({stub.address: other_certificate.fingerprint}, ca_file=str(certificate.pem))
    assert fault_of(Xapi(both), stub).kind is FaultKind.TLS
    assert stub.requests == []


def test_what_does_not_speak_tls_is_a_protocol_fault(xapi, stub):
    stub.raw = lambda sock: sock.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n" * 20)
    fault = fault_of(xapi, stub)
    assert (fault.kind, fault.sent) == (FaultKind.PROTOCOL, False)


def test_a_connection_closed_in_the_handshake_was_not_sent(xapi, stub):
    stub.raw = lambda sock: None
    fault = fault_of(xapi, stub)
    assert (fault.kind, fault.sent) == (FaultKind.DROPPED, False)


def test_the_fingerprint_can_be_fetched_without_sending_anything(stub, certificate):
    assert fetch_fingerprint(stub.address, 2.0) == certificate.fingerprint
    assert stub.requests == []


def test_fingerprints_in_any_usual_spelling():
    plain = "ab" * 32
    colons = ":".join(["AB"] * 32)
    assert (
        plain_fingerprint(colons)
        == plain_fingerprint(f"sha256 {plain}")
        == plain_fingerprint(f"SHA256:{plain}")
        == plain
    )
    with pytest.raises(TrustError, match="64 hexadecimal"):
        Trust({"a": "abc"})


def test_ca_files_that_cannot_be_used(tmp_path):
    with pytest.raises(TrustError, match="cannot be read"):
        Trust(ca_file=str(tmp_path / "absent.pem"))
    (tmp_path / "empty.pem").write_text("hello\n")
    with pytest.raises(TrustError, match="no usable CA"):
        Trust(ca_file=str(tmp_path / "empty.pem"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1", ("10.0.0.1", 443)),
        ("10.0.0.1:8443", ("10.0.0.1", 8443)),
        ("xen01.example", ("xen01.example", 443)),
        ("fe80::1", ("fe80::1", 443)),
        ("[fe80::1]", ("fe80::1", 443)),
        ("[fe80::1]:8443", ("fe80::1", 8443)),
    ],
)
def test_addresses(address, expected):
    assert split_address(address) == expected
