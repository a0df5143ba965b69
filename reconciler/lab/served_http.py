"""One HTTP/1.1 connection of a served host, with xapi's limits (sheet §7.3).

Requests on a connection are answered in order, one at a time, and a call that the engine never finishes leaves the
connection open and silent: it holds a few kilobytes here and no thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

MAX_HEADER = 1024
"""Bytes of request line and headers together (`header_total_max`)."""
MAX_BODY = 300 * 1024
"""Bytes of an RPC body (`http_limit_max_rpc_size`)."""
REASONS = {
    200: "OK",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    411: "Length Required",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
}
FIRST_REQUEST_SECONDS = 60.0
"""`header_total_timeout_tcp`: the first request's headers must be complete by then, or 408."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. Header names are lower-case."""

    verb: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Handler(Protocol):
    """What answers requests: calls `connection.respond` or `connection.drop` once, now or later, or never."""

    def __call__(self, connection: Connection, request: Request) -> None:
        """Take one request."""


class Connection(asyncio.Protocol):
    """The server's side of one connection. Lives on the event loop's thread."""

    def __init__(self, handler: Handler, opened: Callable[[Connection], None], closed: Callable[[Connection], None]):
        self._handler, self._opened, self._closed = handler, opened, closed
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._busy = False
        self._keep = True
        self._frozen = False
        self._deadline: asyncio.TimerHandle | None = None
        self._held: list[bytes] = []
        self._drop_when_thawed = False

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client's handshake is complete."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(FIRST_REQUEST_SECONDS, self._refuse, 408)
        self._opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone, or we closed."""
        self._stop_timer()
        self._transport = None
        self._closed(self)

    def data_received(self, data: bytes) -> None:
        """More bytes of a request."""
        self._buffer += data
        if len(self._buffer) > 2 * (MAX_HEADER + MAX_BODY) and self._transport is not None:
            self._transport.pause_reading()  # a client that pipelines without end
        self._advance()

    # -- the handler's side

    @property
    def open(self) -> bool:
        """Whether an answer could still reach the client."""
        return self._transport is not None and not self._transport.is_closing()

    def respond(self, status: int, body: bytes, content_type: str, extra: Mapping[str, str] | None = None) -> None:
        """Answer the request in hand; then the next one is read, if the client keeps the connection."""
        if not self._busy:
            return
        self._busy = False
        lines = [
            f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}",
            f"content-length: {len(body)}",
            f"connection: {'keep-alive' if self._keep else 'close'}",
            "cache-control: no-cache, no-store",
            f"content-type: {content_type}",
            *(f"{name}: {value}" for name, value in (extra or {}).items()),
            "\r\n",
        ]
        self._send("\r\n".join(lines).encode() + body)
        if not self._keep:
            self.close()
        elif self._buffer:
            asyncio.get_running_loop().call_soon(self._advance)

    def close(self) -> None:
        """Close in good order, after what was sent."""
        if self._frozen:
            self._drop_when_thawed = True
        elif self._transport is not None:
            self._transport.close()

    def drop(self) -> None:
        """Break the connection off without an answer, as a process that ends does."""
        if self._frozen:
            self._drop_when_thawed = True
        elif self._transport is not None:
            self._transport.abort()

    # -- the network's side

    def freeze(self) -> None:
        """From now on nothing goes in or out, and nobody is told: the host is off or cut off."""
        self._frozen = True
        self._stop_timer()
        if self._transport is not None:
            self._transport.pause_reading()

    def thaw(self, *, forgotten: bool) -> None:
        """The host can be reached again. `forgotten`: it was off meanwhile, so it knows no such connection (RST)."""
        if not self._frozen:
            return
        self._frozen = False
        held, self._held = self._held, []
        if forgotten or self._transport is None:
            self.drop()
            return
        self._transport.resume_reading()
        for data in held:
            self._transport.write(data)
        if self._drop_when_thawed:
            self.close()
        else:
            self._advance()

    # -- inside

    def _send(self, data: bytes) -> None:
        if self._frozen:
            self._held.append(data)
        elif self._transport is not None:
            self._transport.write(data)

    def _stop_timer(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: int, text: str = "") -> None:
        self._busy, self._keep = True, False
        self._buffer.clear()
        page = f"<html><body><h1>HTTP {status} {REASONS[status].lower()}</h1>{text}</body></html>"
        self.respond(status, page.encode(), "text/html")

    def _advance(self) -> None:
        """Hand over the next complete request, if there is one and no other is in hand."""
        if self._busy or self._frozen or not self.open:
            return
        end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEADER)
        if end < 0 or end + 4 > MAX_HEADER:
            if len(self._buffer) >= MAX_HEADER:
                self._refuse(431)
            return
        self._stop_timer()
        try:
            verb, path, version, headers = _head(bytes(self._buffer[:end]))
        except ValueError as error:
            self._refuse(500, str(error))
            return
        wish = headers.get("connection", "").lower()
        self._keep = wish == "keep-alive" if version == "HTTP/1.0" else wish != "close"
        if "transfer-encoding" in headers:
            self._refuse(501, "chunked bodies are not taken")
            return
        length = headers.get("content-length", "")
        if verb == "POST" and not length:
            self._refuse(411, "Content-Length is needed")
            return
        if length and not (length.isascii() and length.isdigit()):
            self._refuse(500, "Content-Length is no number")
            return
        size = int(length or 0)
        if size > MAX_BODY:
            # xapi's reader raises: no XML-RPC answer, the connection ends (sheet §7.3).
            self._refuse(500, f"Body_too_large({size})")
            return
        if len(self._buffer) < end + 4 + size:
            if headers.get("expect", "").lower() == "100-continue" and len(self._buffer) == end + 4:
                self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        body = bytes(self._buffer[end + 4 : end + 4 + size])
        del self._buffer[: end + 4 + size]
        if self._transport is not None and not self._transport.is_reading():
            self._transport.resume_reading()
        self._busy = True
        self._handler(self, Request(verb, path, headers, body))


def _head(block: bytes) -> tuple[str, str, str, dict[str, str]]:
    lines = block.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise ValueError("the request line is malformed")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError("a header line is malformed")
        headers[name.strip().lower()] = value.strip()
    return words[0].upper(), words[1], words[2], headers
