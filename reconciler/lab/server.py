"""The served lab: the in-memory pool behind real sockets, one loopback address a host, in real time.

One thread runs an event loop that owns the sockets. It moves the lab's clock along with the real one, hands calls to
the engine, and writes an answer when the engine has finished it. The engine never blocks, so a call that hangs in the
simulated pool costs an open connection here and nothing else. `world()` gives other threads the engine under its lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from reconciler.lab import wire
from reconciler.lab.calls import EMERGENCY_CALLS
from reconciler.lab.engine import Lab, LabHost, Reply
from reconciler.lab.served_http import Connection, Request
from reconciler.lab.served_port import HTTP, HTTPS, SSH, Port, PortState, bind, choose_port, greet
from reconciler.lab.tls import Identity, identity

TICK = 0.02
"""Seconds between looks at the lab's clock where nothing calls for an earlier one."""
SHORTEST_TICK = 0.002
HANDSHAKE_SECONDS = 30.0
ASKS_THUMBPRINT = "x-xenapi-request-host-certificate-thumbprint"
GIVES_THUMBPRINT = "x-xenapi-response-host-certificate-thumbprint"
CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-headers": "X-Requested-With, Content-Type",
    "access-control-allow-methods": "POST, OPTIONS",
}
PORT_STATES = {
    "open": PortState.OPEN,
    "refused": PortState.REFUSED,
    "unreachable": PortState.SILENT,
    "timeout": PortState.SILENT,
}
T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Door:
    """One host's sockets: its ports, its certificate, and who is connected."""

    host: LabHost
    identity: Identity
    tls: ssl.SSLContext
    ports: dict[int, Port] = field(default_factory=dict)
    """Port in the simulated world -> the real one that stands for it."""
    connections: set[Connection] = field(default_factory=set)
    silent: bool = False
    was_off: bool = False


@dataclass(slots=True)
class Pending:
    """A call that the engine has not finished, and who waits for it."""

    reply: Reply
    connection: Connection
    call: wire.Call
    request: Request
    door: Door
    by_gate: bool
    """The emergency gate stands in this call's way (sheet §1.3)."""


class ServedLab:
    """Serves `lab` on the addresses of its hosts until `stop`.

    `port` is the HTTPS port; None: 443 where that is permitted and free, else 8443. `others` maps further ports of the
    simulated hosts (80: XenAPI without TLS, 22: a greeting) to real ones; None: themselves with 443, else none. One
    that cannot be bound is left out. `directory` keeps the certificates.
    """

    def __init__(
        self, lab: Lab, directory: Path, *, port: int | None = None, others: Mapping[int, int] | None = None
    ) -> None:
        self._lab = lab
        # One odd call must not end the service: its caller gets INTERNAL_ERROR, as from xapi.
        lab.strict = False
        self._lock = threading.RLock()
        self._directory = directory
        self._wanted_port = port
        self._wanted_others = others
        self.port = port or HTTPS
        self.others: dict[int, int] = {}
        self._doors: dict[str, Door] = {}
        self._pending: list[Pending] = []
        self._texts = wire.RecordTexts()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="served-lab", daemon=True)
        self._started_real = time.monotonic()
        self._started_lab = lab.now
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._on_stop: list[Callable[[], None]] = []

    # -- for other threads

    def start(self) -> None:
        """Bind, make certificates, and serve. Raises OSError where the addresses are taken or not permitted."""
        for host in self._lab.hosts.values():
            own = identity(self._directory / "tls", host.name, host.address)
            self._doors[host.name] = Door(host, own, own.server_context())
        self.port = choose_port([door.host.address for door in self._doors.values()], self._wanted_port)
        self._choose_others()
        for door in self._doors.values():
            for simulated, real in {HTTPS: self.port, **self.others}.items():
                door.ports[simulated] = self._make_port(door, simulated, real)
        self._started_real, self._started_lab = time.monotonic(), self._lab.now
        self._thread.start()
        try:
            self.on_loop(self._tick)
        except OSError:
            self.stop()
            raise

    def stop(self) -> None:
        """Close every socket; connections break off. Safe to call twice."""
        if not self._thread.is_alive():
            return
        self.on_loop(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @contextlib.contextmanager
    def world(self) -> Iterator[Lab]:
        """The engine, at the present moment, under its lock. What was done to it is seen at the sockets at once."""
        with self._lock:
            self._lab.run(self.lab_time())
            yield self._lab
        self.on_loop(self._tick)

    def skip(self, seconds: float) -> None:
        """Let so much of the lab's time pass at once: its clock is ahead of the real one by that from now on."""
        with self._lock:
            self._started_lab += seconds
            self._lab.run(self.lab_time())
        self.on_loop(self._tick)

    def on_loop(self, action: Callable[[], T]) -> T:
        """Run `action` on the event loop's thread and give back what it gave."""
        if threading.current_thread() is self._thread:
            return action()

        async def run() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop, for the control channel."""
        return self._loop

    def at_stop(self, action: Callable[[], None]) -> None:
        """Have `action` run on the loop's thread when serving ends."""
        self._on_stop.append(action)

    def lab_time(self) -> float:
        """The lab's clock as it should stand now: it runs with the real one."""
        return self._started_lab + time.monotonic() - self._started_real

    def address_of(self, host: LabHost) -> str:
        """The host's address as a manifest or a client writes it: with the port where that is not 443."""
        return host.address if self.port == HTTPS else f"{host.address}:{self.port}"

    def identities(self) -> Mapping[str, Identity]:
        """Host name to certificate."""
        return {name: door.identity for name, door in self._doors.items()}

    # -- on the loop's thread: sockets

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for action in self._on_stop:
            action()
        for task in self._tasks:
            task.cancel()
        for door in self._doors.values():
            for port in door.ports.values():
                port.close()
            for connection in list(door.connections):
                connection.thaw(forgotten=True)
                connection.drop()

    def _choose_others(self) -> None:
        """Serve a further port on all addresses or on none: some machines have daemons of their own there."""
        wanted = self._wanted_others
        if wanted is None:
            wanted = {HTTP: HTTP, SSH: SSH} if self.port == HTTPS else {}
        for simulated, real in wanted.items():
            try:
                for door in self._doors.values():
                    bind(door.host.address, real).close()
            except OSError as error:
                log.warning("port %d is not served: %s", real, error)
                continue
            self.others[simulated] = real

    def _make_port(self, door: Door, simulated: int, real: int) -> Port:
        if simulated == SSH:
            return Port(door.host.address, real, greet)
        tls = door.tls if simulated == HTTPS else None
        return Port(door.host.address, real, lambda connection: self._accept(door, connection, tls))

    def _accept(self, door: Door, connection: socket.socket, tls: ssl.SSLContext | None) -> None:
        task = self._loop.create_task(self._shake_hands(door, connection, tls))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shake_hands(self, door: Door, connection: socket.socket, tls: ssl.SSLContext | None) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: Connection(
                    lambda link, request: self._serve(door, link, request),
                    door.connections.add,
                    door.connections.discard,
                ),
                connection,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if tls is not None else None,
            )
        except (OSError, ssl.SSLError) as error:  # somebody who only tried the port, or does not trust us
            log.debug("%s: handshake: %s", door.host.name, error)
            connection.close()

    def _match_network(self) -> None:
        """Make the ports what the simulated network says they are, and freeze or thaw who is connected."""
        for door in self._doors.values():
            seen = {number: self._lab.tcp(door.host.address, number, source="client") for number in door.ports}
            silent = PORT_STATES[seen[HTTPS]] is PortState.SILENT
            if silent != door.silent:
                door.silent = silent
                log.info("%s (%s) %s", door.host.name, door.host.address, "falls silent" if silent else "answers")
                for connection in list(door.connections):
                    if silent:
                        connection.freeze()
                    else:
                        connection.thaw(forgotten=door.was_off)
                door.was_off = False
            door.was_off = door.was_off or not door.host.powered
            for number, state in seen.items():
                door.ports[number].become(PORT_STATES[state])

    # -- on the loop's thread: calls

    def _serve(self, door: Door, connection: Connection, request: Request) -> None:
        json = request.path.split("?")[0] == "/jsonrpc"
        if request.verb == "OPTIONS":
            connection.respond(200, b"", "text/plain", CORS)
            return
        if request.verb != "POST":
            page = b"<html><body><h1>XAPI lab</h1>POST XML-RPC to /, JSON-RPC to /jsonrpc.</body></html>"
            known = request.verb in ("GET", "HEAD") and request.path == "/"
            connection.respond(200 if known else 404, page if request.verb != "HEAD" else b"", "text/html")
            return
        try:
            # Any other path is read as XML-RPC: recording 01, POST /nosuch.
            call = wire.parse_json(request.body) if json else wire.parse_xml(request.body)
        except wire.Malformed as error:
            connection.respond(500, wire.server_error_page(str(error)), "text/html")
            return
        try:
            with self._lock:
                self._lab.run(self.lab_time())
                reply = self._lab.request(door.host.address, call.method, call.params, source="client")
                reply.shared = True  # it is only written out
                self._lab.run(self._lab.now)
        except Exception as error:
            log.exception("%s: %s", door.host.name, call.method)
            connection.respond(500, wire.server_error_page(f"{type(error).__name__}: {error}"), "text/html")
            return
        toolstack = door.host.toolstack
        by_gate = toolstack is not None and toolstack.emergency and call.method not in EMERGENCY_CALLS
        pending = Pending(reply, connection, call, request, door, by_gate)
        if not self._finish(pending):
            self._pending.append(pending)
            self._plan_tick()

    def _finish(self, pending: Pending) -> bool:
        """Answer a call that the engine has finished; False where it has not."""
        reply, connection, call = pending.reply, pending.connection, pending.call
        if not reply.done:
            return not connection.open
        if reply.transport is not None:
            # Of a silent host the connection is frozen, and this takes effect when the host is back.
            connection.drop()
            return True
        if reply.failure is None:
            connection.respond(200, wire.answer(call, reply.value, self._texts), call.content_type, CORS)
            return True
        code, params = reply.failure
        extra = dict(CORS)
        if code == "HOST_IS_SLAVE" and pending.request.headers.get(ASKS_THUMBPRINT) == "sha-256:master" and params:
            thumbprint = self._master_thumbprint(pending.door, params[0])
            if thumbprint is None:
                return False  # xapi reads it from the database, so it hangs where the master cannot be reached
            extra[GIVES_THUMBPRINT] = thumbprint
        body = wire.refusal(call, [code, *params], by_gate=pending.by_gate)
        connection.respond(200, body, call.content_type, extra)
        return True

    def _master_thumbprint(self, door: Door, address: str) -> str | None:
        for other in self._doors.values():
            if other.host.address == address:
                reached = self._lab.tcp(address, HTTPS, source=door.host.name) == "open"
                return other.identity.thumbprint if reached else None
        return None

    # -- on the loop's thread: time

    def _tick(self) -> None:
        with self._lock:
            try:
                self._lab.run(self.lab_time())
            except Exception:
                log.exception("the engine failed")
            self._match_network()
            self._pending = [pending for pending in self._pending if not self._finish(pending)]
        self._plan_tick()

    def _plan_tick(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wait = TICK
        due = self._lab.next_due()
        if due is not None:
            wait = min(TICK, max(SHORTEST_TICK, due - self.lab_time()))
        self._timer = self._loop.call_later(wait, self._tick)
