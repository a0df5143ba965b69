"""HTTP as xapi speaks it: limits, keep-alive, odd requests, and sockets that fall silent."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import time
from contextlib import closing
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path

import pytest

from reconciler.lab.seed import Seed
from reconciler.lab.timing import Release
from tests.lab.served.conftest import PASSWORD, Pool, eventually, first_address, free_port

SOON = 0.15


def login(pool: Pool, link: HTTPConnection) -> str:
    return str(pool.rpc(link, "session.login_with_password", "root", PASSWORD)["result"])


def raw(pool: Pool, request: bytes) -> bytes:
    """Bytes in, everything out until the server closes."""
    context = ssl.create_default_context(cafile=str(pool.served.identities()[pool.master.name].file))
    with (
        socket.create_connection((pool.master.address, pool.served.port), timeout=5) as bare,
        context.wrap_socket(bare, server_hostname=pool.master.address) as link,
    ):
        link.sendall(request)
        answer = b""
        while part := link.recv(65536):
            answer += part
        return answer


def test_the_certificate_names_the_address_and_its_fingerprint_is_known(pool: Pool) -> None:
    host = pool.members[0]
    with pool.http(host) as link:  # verified by the client, host name included
        link.connect()
        assert isinstance(link.sock, ssl.SSLSocket)
        der = link.sock.getpeercert(binary_form=True)
    assert der is not None
    assert hashlib.sha256(der).hexdigest() == pool.served.identities()[host.name].fingerprint
    assert len({own.fingerprint for own in pool.served.identities().values()}) == len(pool.lab.hosts)


def test_keep_alive_carries_many_calls_quickly(pool: Pool) -> None:
    with pool.http(pool.master) as link:
        session = login(pool, link)
        vm = pool.rpc(link, "VM.get_all", session)["result"][0]
        connection = link.sock
        started = time.perf_counter()
        for _ in range(200):
            assert pool.rpc(link, "VM.get_record", session, vm)["result"]["uuid"]
        took = time.perf_counter() - started
        assert link.sock is connection
    # 44 ms a call would be Nagle's algorithm against delayed acknowledgements; this leaves room for a slow machine.
    assert took / 200 < 0.015


def test_http_1_0_and_connection_close_end_the_connection(pool: Pool) -> None:
    body = json.dumps({"method": "system.listMethods", "params": [], "id": 1}).encode()
    head = f"Content-Length: {len(body)}\r\n\r\n".encode()
    for start in (b"POST /jsonrpc HTTP/1.0\r\n", b"POST /jsonrpc HTTP/1.1\r\nConnection: close\r\n"):
        answer = raw(pool, start + head + body)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"VM.start_on" in answer


def test_pipelined_requests_are_answered_in_order(pool: Pool) -> None:
    def call(ident: int, last: str = "") -> bytes:
        body = json.dumps({"method": "VM.nothing", "params": ["x"], "id": ident}).encode()
        return f"POST /jsonrpc HTTP/1.1\r\n{last}Content-Length: {len(body)}\r\n\r\n".encode() + body

    answer = raw(pool, call(1) + call(2) + call(3, "Connection: close\r\n"))
    assert [answer.index(f'"id":{n}'.encode()) for n in (1, 2, 3)] == sorted(
        answer.index(f'"id":{n}'.encode()) for n in (1, 2, 3)
    )


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST / HTTP/1.1\r\nX: " + b"a" * 1100 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nContent-Length: 400000\r\n\r\n", 500),
        (b"POST / HTTP/1.1\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 500),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
        (b"nonsense\r\n\r\n", 500),
        (b"POST / HTTP/1.1\r\nno colon\r\n\r\n", 500),
    ],
)
def test_requests_that_break_the_limits_end_the_connection(pool: Pool, request_bytes: bytes, status: int) -> None:
    answer = raw(pool, request_bytes)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"connection: close" in answer


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [("/RPC2", "garbage", b"Xmlm"), ("/jsonrpc", "{", b"Yojson"), ("/nosuch", "x", b"Xmlm")],
)
def test_malformed_bodies_are_answered_with_http_500_and_the_connection_goes_on(
    pool: Pool, path: str, body: str, text: bytes
) -> None:
    with pool.http(pool.master) as link:
        link.request("POST", path, body)
        answer = link.getresponse()
        page = answer.read()
        assert (answer.status, answer.getheader("content-type")) == (500, "text/html")
        assert b"HTTP 500 internal server error" in page
        assert text in page
        assert login(pool, link)


def test_a_host_without_power_is_silent_and_forgets_its_connections(pool: Pool) -> None:
    host = pool.members[0]
    with pool.http(host, timeout=SOON) as link:
        link.request("POST", "/jsonrpc", json.dumps({"method": "system.listMethods", "params": [], "id": 1}))
        assert link.getresponse().read()
        with pool.served.world() as lab:
            lab.power_off(host.name)
        assert connect(host.address, pool.served.port) == "silent"
        link.request("POST", "/jsonrpc", json.dumps({"method": "system.listMethods", "params": [], "id": 2}))
        with pytest.raises(TimeoutError):
            link.getresponse()
        with pool.served.world() as lab:
            lab.power_on(host.name)
        eventually(lambda: connect(host.address, pool.served.port) == "open")
        assert link.sock is not None
        assert ended(link.sock), "the booted host knows nothing of a connection from before"


def test_a_host_that_was_cut_off_goes_on_where_it_was(pool: Pool) -> None:
    host = pool.members[0]
    with pool.http(host) as link:
        link.connect()
        with pool.served.world() as lab:
            lab.cut("client", host.name)
        assert connect(host.address, pool.served.port) == "silent"
        link.request("POST", "/jsonrpc", json.dumps({"method": "system.listMethods", "params": [], "id": 1}))
        with pool.served.world() as lab:
            lab.heal("client", host.name)
        assert json.loads(link.getresponse().read())["id"] == 1


def test_a_stopped_toolstack_takes_connections_and_breaks_them_off(pool: Pool) -> None:
    # 443 is stunnel's: it goes on accepting while xapi is down (recording 03).
    host = pool.members[0]
    with pool.served.world() as lab:
        lab.stop_toolstack(host.name)
    assert connect(host.address, pool.served.port) == "open"
    with pool.http(host) as link:
        link.request("POST", "/jsonrpc", json.dumps({"method": "system.listMethods", "params": [], "id": 1}))
        with pytest.raises((RemoteDisconnected, ConnectionResetError)):
            link.getresponse()


def test_port_80_is_refused_while_xapi_is_down_and_silent_without_power(tmp_path: Path) -> None:
    address = first_address()
    plain, ssh = free_port(address), free_port(address)
    made = Pool(tmp_path, Seed.generate(hosts=2, vms=2, first_address=address), others={80: plain, 22: ssh})
    try:
        host = made.master
        with closing(HTTPConnection(host.address, plain, timeout=5)) as link:
            assert login(made, link)
        assert greeting(host.address, ssh) == b"SSH-"
        with made.served.world() as lab:
            lab.stop_toolstack(host.name)
        assert [connect(host.address, port) for port in (plain, ssh)] == ["refused", "open"]
        with made.served.world() as lab:
            lab.power_off(host.name)
        assert [connect(host.address, port) for port in (plain, ssh)] == ["silent", "silent"]
        assert made.served.others == {80: plain, 22: ssh}
    finally:
        made.served.stop()
    assert [connect(host.address, port) for port in (plain, ssh, made.served.port)] == ["refused"] * 3


def greeting(address: str, port: int) -> bytes:
    with socket.create_connection((address, port), timeout=5) as client:
        return client.recv(4)


def test_a_hung_toolstack_takes_calls_and_never_answers_and_the_others_go_on(pool: Pool) -> None:
    host = pool.members[0]
    with pool.served.world() as lab:
        lab.hang_toolstack(host.name)
    with pool.http(host, timeout=SOON) as link:
        link.request("POST", "/jsonrpc", json.dumps({"method": "system.listMethods", "params": [], "id": 1}))
        with pytest.raises(TimeoutError):
            link.getresponse()
    with pool.http(pool.master) as link:
        assert login(pool, link)


def test_a_member_says_who_its_master_is_and_on_request_how_to_recognise_it(pool: Pool) -> None:
    member, master = pool.members[0], pool.master
    body = json.dumps({"method": "session.login_with_password", "params": ["root", "x"], "id": 1})
    with pool.http(member) as link:
        link.request("POST", "/jsonrpc", body, {"x-xenapi-request-host-certificate-thumbprint": "sha-256:master"})
        answer = link.getresponse()
        assert json.loads(answer.read())["error"] == ["HOST_IS_SLAVE", master.address]
        given = answer.getheader("x-xenapi-response-host-certificate-thumbprint")
        assert given == pool.served.identities()[master.name].thumbprint
        link.request("POST", "/jsonrpc", body)
        plain = link.getresponse()
        plain.read()
        assert plain.getheader("x-xenapi-response-host-certificate-thumbprint") is None


def ended(link: socket.socket) -> bool:
    try:
        return link.recv(1) == b""
    except TimeoutError:
        return False
    except (ConnectionResetError, ssl.SSLError):
        return True


def test_a_member_in_emergency_mode_answers_from_its_gate(tmp_path: Path) -> None:
    seed = Seed.generate(hosts=2, vms=2, first_address=first_address())
    made = Pool(tmp_path, seed, release=Release.CLASSIC)
    try:
        member = made.members[0]
        with made.served.world() as lab:
            lab.power_off(made.master.name)
            lab.restart_toolstack(member.name)
        eventually(lambda: member.toolstack is not None and member.toolstack.emergency)
        eventually(lambda: member.toolstack_state == "running")
        with made.http(member) as link:
            for version in ("1.0", "2.0"):
                answer = made.rpc(link, "session.login_with_password", "root", PASSWORD, version=version)
                assert set(answer) == {"jsonrpc", "error", "id"}
                assert answer["error"][0] in ("HOST_STILL_BOOTING", "INTERNAL_ERROR")
            local = made.rpc(link, "session.slave_local_login_with_password", "root", PASSWORD)["result"]
            assert made.rpc(link, "host.is_in_emergency_mode", local)["result"] is True
            # A failure that is not the gate's keeps its version's shape.
            wrong = made.rpc(link, "session.slave_local_login_with_password", "root", "wrong")
            assert wrong["error"]["message"] == "SESSION_AUTHENTICATION_FAILED"
    finally:
        made.served.stop()


def connect(address: str, port: int) -> str:
    with socket.socket() as client:
        client.settimeout(SOON)
        try:
            client.connect((address, port))
        except TimeoutError:
            return "silent"
        except ConnectionRefusedError:
            return "refused"
    return "open"
