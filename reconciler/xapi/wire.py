"""One TLS connection to one address and HTTP requests on it, every step under one deadline.

`http.client` times each `recv` and not the whole answer, so a host that sends a byte a second would hold a caller
for ever. Here the deadline covers name lookup, connect, handshake, sending and the last byte of the answer.
Times called `until` are time.monotonic() seconds.
"""

from __future__ import annotations

import ipaddress
import select
import socket
import ssl
import threading
import time
from typing import Any

from reconciler.core.port import FaultKind, TransportFault
from reconciler.xapi.faults import of_os_error
from reconciler.xapi.trust import Trust, fingerprint_of, unverified_context

MAX_ANSWER = 512 * 1024 * 1024
"""Bytes of one answer. 5,000 VMs are 22 MB of JSON or 53 MB of XML."""
MAX_HEADERS = 64 * 1024
"""Bytes of the header block of one answer."""
MAX_REQUEST_HEADERS = 1024
"""XAPI answers 431 to more bytes than this over TCP (sheet §7.3)."""
MAX_REQUEST_BODY = 300 * 1024
"""XAPI's http_limit_max_rpc_size in bytes (sheet §7.3)."""
_CHUNK = 256 * 1024


def split_address(address: str) -> tuple[str, int]:
    """`host`, `host:port`, `[v6]:port` or a bare v6 address as (host, port); the port is 443 where none is given."""
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = address.partition(":") if address.count(":") == 1 else (address, "", "")
    if not port:
        return host, 443
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise TransportFault(FaultKind.UNREACHABLE, f"{address}: {port!r} is not a port", sent=False)
    return host, int(port)


def resolve(address: str, until: float) -> list[tuple[socket.AddressFamily, Any]]:
    """Socket addresses of an address. The system's resolver has no deadline, so a name is looked up on a thread."""
    host, port = split_address(address)
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return [(socket.AF_INET, (host, port))] if ip.version == 4 else [(socket.AF_INET6, (host, port, 0, 0))]
    found: list[tuple[socket.AddressFamily, Any]] = []
    failed: list[str] = []

    def look_up() -> None:
        try:
            found.extend((f, a) for f, _, _, _, a in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            failed.append(str(getattr(error, "strerror", None) or "not a valid name"))

    thread = threading.Thread(target=look_up, name=f"resolve {host}", daemon=True)
    thread.start()
    thread.join(max(0.0, until - time.monotonic()))
    if found:
        return list(found)
    why = failed[0] if failed else "the name lookup did not end in time"
    raise TransportFault(FaultKind.UNREACHABLE, f"{address}: {why}", sent=False)


def connect(address: str, until: float) -> socket.socket:
    """A TCP connection; raises TransportFault with sent=False."""
    targets = resolve(address, until)
    fault: TransportFault | None = None
    for i, (family, target) in enumerate(targets):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            # A share of what is left each, so that one dead address of several does not eat the deadline.
            sock.settimeout(_left(until) / (len(targets) - i))
            sock.connect(target)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            fault = of_os_error(error, address, "connecting", sent=False)
        else:
            return sock
    assert fault is not None
    raise fault


def fetch_fingerprint(address: str, deadline: float) -> str:
    """SHA-256 (lower-case hex) of the certificate shown at an address; nothing is sent there but the handshake.

    `deadline` in seconds for all of it. It says who answers, not that it is the right one: a person compares it.
    Raises TransportFault.
    """
    until = time.monotonic() + deadline
    tls = _handshake(connect(address, until), unverified_context(), address, until)
    try:
        return fingerprint_of(_certificate(tls, address))
    finally:
        tls.close()


class Channel:
    """A trusted connection. After any fault it is closed; `sent` and `heard` speak of the latest exchange.

    `sent`: the request, or a part of it, may have left. `heard`: at least a byte of its answer came.
    """

    def __init__(self, address: str, trust: Trust, until: float, *, max_answer: int = MAX_ANSWER) -> None:
        self.address = address
        self.max_answer = max_answer
        self.sent = False
        self.heard = False
        self.used_at = time.monotonic()
        self._buffer = b""
        raw = connect(address, until)
        try:
            self._tls = _handshake(raw, trust.context(address), address, until)
        except _Untrusted as error:
            raise trust.rejected(address, str(error), _try_fingerprint(address, until)) from None
        try:
            trust.check(address, _certificate(self._tls, address))
        except TransportFault:
            self._tls.close()
            raise

    def close(self) -> None:
        """Close without a farewell: a peer that hangs must not hold us."""
        self._tls.close()

    def is_idle(self) -> bool:
        """Nothing came unasked: neither an end of the connection nor stray bytes. Costs no round trip."""
        try:
            if self._buffer or self._tls.pending():
                return False
            if not _ready(self._tls, select.POLLIN, 0.0):
                return True
            self._tls.settimeout(0.0)
            # What is readable may be a mere TLS record (a session ticket); only data or an end disqualify.
            self._tls.recv(1)
        except ssl.SSLWantReadError:
            return True
        except (OSError, ValueError):
            return False
        return False

    def exchange(self, path: str, content_type: str, body: bytes, until: float) -> tuple[int, bytes, bool]:
        """POST `body` and return (HTTP status, answer, whether the connection may be used again).

        Raises TransportFault; its `sent` is exact: False only if no byte of the request can have left.
        """
        self.sent = self.heard = False
        host, port = split_address(self.address)
        shown = f"[{host}]" if ":" in host else host
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {shown}:{port}\r\nUser-Agent: xenrec\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode("ascii", "replace")
        if len(head) > MAX_REQUEST_HEADERS or len(body) > MAX_REQUEST_BODY:
            self.close()
            raise TransportFault(
                FaultKind.PROTOCOL, f"{self.address}: the request is larger than XAPI takes (300 KiB)", sent=False
            )
        try:
            self._send(head + body, until)
            return self._answer(until)
        except OSError as error:
            self.close()
            raise of_os_error(error, self.address, "waiting for the answer", sent=self.sent) from None
        except TransportFault:
            self.close()
            raise
        finally:
            self.used_at = time.monotonic()

    def _send(self, data: bytes, until: float) -> None:
        view = memoryview(data)
        while view:
            self._tls.settimeout(_left(until))
            self.sent = True
            view = view[self._tls.send(view) :]

    def _answer(self, until: float) -> tuple[int, bytes, bool]:
        status = 100
        while 100 <= status < 200:
            version, status, headers = self._head(until)
        keep = headers.get("connection", "keep-alive" if version == "HTTP/1.1" else "close").lower() != "close"
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return status, self._chunked(until), keep
        if "content-length" not in headers:
            return status, self._rest(until), False
        text = headers["content-length"]
        if not (text.isascii() and text.isdigit()):
            raise self._garbage("a Content-Length that is no number")
        return status, self._exactly(int(text), until), keep

    def _head(self, until: float) -> tuple[str, int, dict[str, str]]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEADERS:
                raise self._garbage("a header block without an end")
            if self._buffer and not b"HTTP/".startswith(self._buffer[:5]) and not self._buffer.startswith(b"HTTP/"):
                raise self._garbage("something that is not HTTP")
            self._buffer += self._receive(until)
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        self._buffer = self._buffer[end + 4 :]
        words = lines[0].split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not (words[1].isascii() and words[1].isdigit()):
            raise self._garbage("something that is not HTTP")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return words[0], int(words[1]), headers

    def _exactly(self, size: int, until: float) -> bytes:
        self._limit(size)
        parts, have = [self._buffer], len(self._buffer)
        while have < size:
            parts.append(self._receive(until))
            have += len(parts[-1])
        whole = b"".join(parts)
        self._buffer = whole[size:]
        return whole[:size]

    def _line(self, until: float) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > MAX_HEADERS:
                raise self._garbage("a chunk without a size")
            self._buffer += self._receive(until)
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line

    def _chunked(self, until: float) -> bytes:
        parts: list[bytes] = []
        total = 0
        while True:
            try:
                size = int(self._line(until).partition(b";")[0], 16)
            except ValueError:
                raise self._garbage("a chunk without a size") from None
            if size < 0:
                raise self._garbage("a chunk without a size")
            if size == 0:
                break
            total += size
            self._limit(total)
            parts.append(self._exactly(size, until))
            self._line(until)
        while self._line(until):
            pass  # trailers
        return b"".join(parts)

    def _rest(self, until: float) -> bytes:
        parts, total = [self._buffer], len(self._buffer)
        self._buffer = b""
        while True:
            self._tls.settimeout(_left(until))
            data = self._tls.recv(_CHUNK)
            if not data:
                return b"".join(parts)
            parts.append(data)
            total += len(data)
            self._limit(total)

    def _receive(self, until: float) -> bytes:
        self._tls.settimeout(_left(until))
        data = self._tls.recv(_CHUNK)
        if not data:
            raise TransportFault(
                FaultKind.DROPPED, f"{self.address}: the connection was closed before a whole answer came", sent=True
            )
        self.heard = True
        return data

    def _limit(self, size: int) -> None:
        if size > self.max_answer:
            raise self._garbage(f"an answer of more than {self.max_answer} bytes")

    def _garbage(self, what: str) -> TransportFault:
        # Never a piece of the answer: it might echo what was sent.
        return TransportFault(FaultKind.PROTOCOL, f"{self.address}: it answered with {what}", sent=True)


class _Untrusted(Exception):
    """The CA check refused the certificate; the text is OpenSSL's reason."""


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _ready(sock: socket.socket, event: int, seconds: float) -> bool:
    poll = select.poll()  # not select(), which cannot watch descriptors from 1024 on
    poll.register(sock, event)
    return bool(poll.poll(seconds * 1000))


def _handshake(sock: socket.socket, context: ssl.SSLContext, address: str, until: float) -> ssl.SSLSocket:
    """TLS by hand over a non-blocking socket: the handshake as a whole has the deadline, not each of its reads."""
    try:
        sock.settimeout(0.0)
        tls = context.wrap_socket(sock, server_hostname=split_address(address)[0], do_handshake_on_connect=False)
    except (OSError, ValueError) as error:
        sock.close()
        if isinstance(error, OSError):
            raise of_os_error(error, address, "starting TLS", sent=False) from None
        raise TransportFault(FaultKind.UNREACHABLE, f"{address}: not a usable address", sent=False) from None
    try:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                ready = _ready(tls, select.POLLIN, _left(until))
            except ssl.SSLWantWriteError:
                ready = _ready(tls, select.POLLOUT, _left(until))
            else:
                return tls
            if not ready:
                raise TimeoutError
    except ssl.SSLCertVerificationError as error:
        tls.close()
        raise _Untrusted(error.verify_message) from None
    except OSError as error:
        tls.close()
        raise of_os_error(error, address, "starting TLS", sent=False) from None


def _certificate(tls: ssl.SSLSocket, address: str) -> bytes:
    certificate = tls.getpeercert(binary_form=True)
    if not certificate:
        raise TransportFault(FaultKind.TLS, f"{address}: it shows no certificate", sent=False)
    return certificate


def _try_fingerprint(address: str, until: float) -> str | None:
    try:
        return fetch_fingerprint(address, max(0.0, until - time.monotonic()))
    except TransportFault:
        return None
