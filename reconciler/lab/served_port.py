"""One TCP port of a served host, in one of three states that a client can tell apart.

A loopback interface drops no packets, so a dead host needs a trick: its listening socket is kept, nothing accepts,
and its queue of connections (set to the shortest) is kept full by a connection of our own. Linux then ignores every
SYN, and a client sees what a powered-off host behind a router looks like: nothing, until its own timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Callable
from enum import StrEnum

HTTPS, HTTP, SSH = 443, 80, 22
FALLBACK_PORT = 8443
"""HTTPS where 443 is not ours to have."""
BACKLOG = 512
log = logging.getLogger(__name__)


class PortState(StrEnum):
    """What a client's connect sees."""

    OPEN = "open"
    REFUSED = "refused"
    SILENT = "silent"


class Port:
    """A port of one address. All methods but `__init__` run on the event loop's thread.

    `accept` is given each accepted socket. A port that should be OPEN or SILENT and cannot be bound raises OSError.
    """

    def __init__(self, address: str, port: int, accept: Callable[[socket.socket], None]):
        self.address, self.port = address, port
        self.state = PortState.REFUSED
        self._accept = accept
        self._listener: socket.socket | None = None
        self._fillers: list[socket.socket] = []

    def become(self, state: PortState) -> None:
        """Take the state; does nothing where it has it already."""
        if state is self.state:
            return
        if state is PortState.OPEN:
            self._open()
        elif state is PortState.SILENT:
            self._silence()
        else:
            self.close()
        self.state = state

    def close(self) -> None:
        """Stop listening: connects are refused."""
        self._ignore()
        self._drop_fillers()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.state = PortState.REFUSED

    def _bound(self) -> socket.socket:
        if self._listener is None:
            self._listener = bind(self.address, self.port)
        return self._listener

    def _open(self) -> None:
        listener = self._bound()
        ours = {s.getsockname() for s in self._fillers}
        # What was queued in the silence: our own fillers go, a client that waited is let in.
        waiting: list[socket.socket] = []
        while self._fillers:
            try:
                connection, peer = listener.accept()
            except OSError:
                break
            if peer in ours:
                connection.close()
            else:
                waiting.append(connection)
        self._drop_fillers()
        listener.listen(BACKLOG)
        asyncio.get_running_loop().add_reader(listener.fileno(), self._readable)
        for connection in waiting:
            self._take(connection)

    def _silence(self) -> None:
        listener = self._bound()
        self._ignore()
        listener.listen(0)
        # The queue takes one connection more than its length; a second one in progress shows that it is full.
        for _ in range(BACKLOG):
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            filler.setblocking(False)
            self._fillers.append(filler)
            code = filler.connect_ex((self.address, self.port))
            # On loopback a connection that succeeds has succeeded before connect_ex returns.
            if code == errno.EINPROGRESS and not _connected(filler):
                return
        raise OSError(errno.EIO, f"{self.address}:{self.port} could not be made silent")

    def _readable(self) -> None:
        while self._listener is not None:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # out of file descriptors, or a client that has gone already
                log.warning("%s:%s: accept: %s", self.address, self.port, error)
                return
            self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._accept(connection)

    def _ignore(self) -> None:
        if self._listener is not None and self.state is PortState.OPEN:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())

    def _drop_fillers(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()


def bind(address: str, port: int) -> socket.socket:
    """A listening, non-blocking socket; raises OSError (EACCES, EADDRINUSE, EADDRNOTAVAIL)."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _connected(connection: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        connection.getpeername()
        return True
    return False


def greet(connection: socket.socket) -> None:
    """What a client of port 22 gets: a greeting, then the end."""
    with contextlib.suppress(OSError):
        connection.send(b"SSH-2.0-xenrec-lab\r\n")
    connection.close()


def choose_port(addresses: list[str], wanted: int | None) -> int:
    """The first port that can be bound on every address: `wanted`, or 443 and then 8443. Raises OSError."""
    candidates = [wanted] if wanted is not None else [HTTPS, FALLBACK_PORT]
    trouble: OSError | None = None
    for port in candidates:
        try:
            for address in addresses:
                bind(address, port).close()
        except OSError as error:
            trouble = error
            trouble.filename = f"{address}:{port}"
            continue
        return port
    assert trouble is not None
    raise trouble
