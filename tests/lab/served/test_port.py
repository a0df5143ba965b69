"""A port's three states, as a plain socket client sees them."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
from collections.abc import Iterator

import pytest

from reconciler.lab.served_port import Port, PortState

SOON = 0.15
COUNTER = itertools.count(1)


class Bench:
    """A port on a loop of its own; accepted sockets are greeted."""

    def __init__(self) -> None:
        self.address = f"127.77.{next(COUNTER)}.1"
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.accepted: list[socket.socket] = []
        with socket.socket() as free:
            free.bind((self.address, 0))
            self.number = free.getsockname()[1]
        self.port = Port(self.address, self.number, self.greet)

    def greet(self, connection: socket.socket) -> None:
        connection.send(b"hi")
        self.accepted.append(connection)

    def become(self, state: PortState) -> None:
        async def change() -> None:
            self.port.become(state)

        asyncio.run_coroutine_threadsafe(change(), self.loop).result()

    def connect(self, timeout: float = SOON) -> str:
        with socket.socket() as client:
            client.settimeout(timeout)
            try:
                client.connect((self.address, self.number))
            except TimeoutError:
                return "no answer to connect"
            except ConnectionRefusedError:
                return "refused"
            return "greeted" if client.recv(2) == b"hi" else "closed"

    def end(self) -> None:
        self.become(PortState.REFUSED)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        for connection in self.accepted:
            connection.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.end()


def test_every_state_after_every_other(bench: Bench) -> None:
    seen = {
        PortState.OPEN: "greeted",
        PortState.REFUSED: "refused",
        PortState.SILENT: "no answer to connect",
    }
    order = [*PortState, *reversed(PortState), PortState.OPEN, PortState.SILENT, PortState.OPEN]
    for state in order:
        bench.become(state)
        assert [bench.connect() for _ in range(2)] == [seen[state]] * 2, state


def test_silence_holds_against_many_clients_at_once(bench: Bench) -> None:
    bench.become(PortState.SILENT)
    answers: list[str] = []
    clients = [threading.Thread(target=lambda: answers.append(bench.connect())) for _ in range(12)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert answers == ["no answer to connect"] * 12


def test_a_client_that_waited_through_the_silence_gets_in(bench: Bench) -> None:
    bench.become(PortState.SILENT)
    answers: list[str] = []
    client = threading.Thread(target=lambda: answers.append(bench.connect(timeout=10)))
    client.start()
    bench.become(PortState.OPEN)
    client.join()
    assert answers == ["greeted"]


def test_an_address_that_is_taken_is_an_error(bench: Bench) -> None:
    with socket.socket() as other:
        other.bind((bench.address, bench.number))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            bench.become(PortState.OPEN)
