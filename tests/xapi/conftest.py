"""A small HTTPS server whose every answer is scripted, and certificates for it."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reconciler.xapi.trust import fingerprint_of


class Certificate:
    """A self-signed certificate for an address, in a file with its key."""

    def __init__(self, folder: Path, name: str, address: str = "127.0.0.1"):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
            .sign(key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.pem = folder / f"{name}.pem"
        self.pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        self.chain = folder / f"{name}-key.pem"
        self.chain.write_bytes(private + self.pem.read_bytes())
        self.fingerprint = fingerprint_of(made.public_bytes(serialization.Encoding.DER))


class Request:
    """A request as it came, on a connection that a script may misuse."""

    def __init__(self, connection: int, sock: ssl.SSLSocket, path: str, head: bytes, body: bytes):
        self.connection, self.sock, self.path, self.head, self.body = connection, sock, path, head, body

    @property
    def call(self) -> dict:
        return json.loads(self.body)

    def send(self, body: bytes, status: str = "200 OK", headers: str = "") -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self.sock.sendall(head.encode() + body)

    def result(self, value: object) -> None:
        self.send(json.dumps({"jsonrpc": "2.0", "result": value, "id": self.call["id"]}).encode())

    def error(self, error: object) -> None:
        self.send(json.dumps({"jsonrpc": "2.0", "error": error, "id": self.call["id"]}).encode())


class Hangup(Exception):
    """Raised by a script to close the connection."""


class Stub:
    """One listening address. `script` answers each request; None of it knows XAPI."""

    def __init__(self, certificate: Certificate):
        self.requests: list[Request] = []
        self.connections = 0
        self.handshakes = threading.Event()
        self.script: Callable[[Request], None] = lambda r: r.result("")
        self.raw: Callable[[socket.socket], None] | None = None
        self.stopping = threading.Event()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate.chain)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def methods(self) -> list[str]:
        return [r.call["method"] for r in self.requests if r.path == "/jsonrpc"]

    def hang_up(self) -> None:
        """Close every open connection from this side."""
        for sock in self._open:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            sock.close()

    def stop(self) -> None:
        self.stopping.set()
        self._listener.close()
        self.hang_up()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(sock, self.connections), daemon=True).start()

    def _talk(self, raw: socket.socket, number: int) -> None:
        self._open.append(raw)
        try:
            if self.raw is not None:
                self.raw(raw)
                return
            sock = self._context.wrap_socket(raw, server_side=True)
            self._open.append(sock)
            with sock, sock.makefile("rb") as file:
                while line := file.readline():
                    head, length = line, 0
                    while (line := file.readline()) not in (b"\r\n", b""):
                        head += line
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.split(b":")[1])
                    request = Request(number, sock, head.split()[1].decode(), head, file.read(length))
                    self.requests.append(request)
                    self.script(request)
        except (OSError, Hangup):
            pass
        finally:
            raw.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("certificates"), "right")


@pytest.fixture(scope="session")
def other_certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("certificates"), "other")


@pytest.fixture
def hangup() -> type[Exception]:
    return Hangup


@pytest.fixture
def stub(certificate: Certificate) -> Iterator[Stub]:
    server = Stub(certificate)
    yield server
    server.stop()
