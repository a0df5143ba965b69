"""The real outside: the clock, the network and the fence agents behind core.port.Port."""

from __future__ import annotations

import functools
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol
from urllib.parse import urlsplit

from reconciler.core.port import (
    AgentRun,
    Answer,
    Ask,
    Fault,
    FaultKind,
    Json,
    TransportFault,
    XapiFailure,
)
from reconciler.core.words import address_host, is_ip
from reconciler.xapi.transport import Xapi
from reconciler.xapi.trust import Trust
from reconciler.xapi.wire import connect

SINCE_BOOT: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""A clock that nobody sets, and that goes on while the machine is suspended, where there is such a one."""
GRACE = 0.5
"""Seconds beyond its own deadline after which a question's thread is abandoned."""


class AgentRunner(Protocol):
    """fencing.agents.run_agent: `deadline` in seconds; raises FileNotFoundError if there is no such agent, and
    ValueError when the options cannot be told to it. Neither text holds an option's value."""

    def __call__(self, agent: str, options: Mapping[str, str], /, *, deadline: float) -> AgentRun:
        """Run it."""
        ...


class ProbeRunner(Protocol):
    """fencing.probe.run_probe: `deadline` in seconds; raises FileNotFoundError if there is no such program."""

    def __call__(self, argv: Sequence[str], /, *, deadline: float) -> AgentRun:
        """Run it."""
        ...


def no_probe(argv: Sequence[str], /, *, deadline: float) -> AgentRun:
    """For a port that asks no probes."""
    raise FileNotFoundError(f"probe {argv[0] if argv else '(none)'}: nothing here runs probes")


class Outside:
    """Port over the real world (core.port.Port). `run_agent` and `run_probe` come from the fencing edge.

    `hosts` are the members' hosts as declared. A member tells by IP address whom it follows: where that is the address
    of a host that is declared by name, it is told by that name, so that everybody compares like with like.
    """

    def __init__(
        self, trust: Trust, run_agent: AgentRunner, run_probe: ProbeRunner = no_probe, hosts: Sequence[str] = ()
    ) -> None:
        self._hosts = hosts
        self._began = time.time() - time.clock_gettime(SINCE_BOOT)
        self._xapi = Xapi(trust)
        self._run_agent = run_agent
        self._run_probe = run_probe

    def now(self) -> float:
        """UTC seconds since the epoch: as the clock had them at the beginning, and what passed since. One that is set
        right in the middle of a run ends no wait and draws none out."""
        return self._began + time.clock_gettime(SINCE_BOOT)

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(max(0.0, seconds))

    def call(self, address: str, method: str, params: Sequence[Json], *, deadline: float) -> Json:
        """One XAPI call. Raises XapiFailure or TransportFault."""
        try:
            return self._xapi.call(address, method, params, deadline=deadline)
        except XapiFailure as failure:
            if failure.code != "HOST_IS_SLAVE" or not failure.params or failure.params[0] in self._hosts:
                raise
            first, *rest = failure.params
            raise XapiFailure(failure.code, self._names.get(first, first), *rest) from failure

    @functools.cached_property
    def _names(self) -> dict[str, str]:
        """IP address -> the host that is declared by name. One that no name server knows now is left out."""
        found: dict[str, str] = {}
        for host in self._hosts:
            if is_ip(host):
                continue
            with suppress(OSError, UnicodeError):
                found |= {str(told[4][0]): host for told in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
        return found

    def run_agent(self, agent: str, options: Mapping[str, str], *, deadline: float) -> AgentRun:
        """Run a fence agent. Raises FileNotFoundError if there is no such agent."""
        return self._run_agent(agent, options, deadline=deadline)

    def ask_all(self, asks: Sequence[Ask]) -> list[Answer]:
        """All at once, a thread for each. One that outlives its deadline is left behind, its answer is a TIMEOUT.

        Never raises a Fault; a programming error in a question's thread is raised here.
        """
        started = time.monotonic()
        questions = [_Question(self, ask) for ask in asks]
        for question in questions:
            question.thread.start()
        answers = []
        for question in questions:
            left = started + question.ask.deadline + GRACE - time.monotonic()
            question.thread.join(max(0.0, left))
            answers.append(question.result())
        return answers

    def close(self) -> None:
        """Close the calling thread's connections."""
        self._xapi.close()

    def answer(self, ask: Ask) -> Json:
        """The value of one question; raises Fault."""
        if ask.kind == "xapi":
            return self.call(ask.address, ask.method, ask.params, deadline=ask.deadline)
        if ask.kind == "tcp":
            host = address_host(ask.address)
            target = f"[{host}]:{ask.port}" if ":" in host else f"{host}:{ask.port}"
            connect(target, time.monotonic() + ask.deadline).close()
            return None
        if ask.kind == "http":
            return status_of(ask.url, ask.deadline)
        if ask.kind == "agent":
            try:
                return self.run_agent(ask.agent, ask.options, deadline=ask.deadline)
            except (OSError, ValueError) as error:
                text = str(error) if isinstance(error, FileNotFoundError | ValueError) else f"{ask.agent}: {error}"
                raise TransportFault(FaultKind.PROTOCOL, text, sent=False) from None
        if ask.kind == "probe":
            try:
                return self._run_probe(ask.argv, deadline=ask.deadline)
            except OSError as error:
                raise TransportFault(FaultKind.PROTOCOL, str(error), sent=False) from None
        raise ValueError(f"no such kind of question: {ask.kind}")


def status_of(url: str, deadline: float) -> int:
    """The HTTP status of one GET; a redirect is its own status. Raises TransportFault.

    A certificate is not checked: it is asked whether a service is up, nothing is believed and no secret is sent.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        made: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            made = http.client.HTTPSConnection(parts.hostname or "", port, timeout=deadline, context=context)
        else:
            made = http.client.HTTPConnection(parts.hostname or "", port, timeout=deadline)
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            made.request("GET", path, headers={"Connection": "close", "User-Agent": "xenrec"})
            return made.getresponse().status
        finally:
            made.close()
    except TimeoutError:
        raise TransportFault(FaultKind.TIMEOUT, f"{url}: no answer within {deadline:g} s", sent=True) from None
    except ConnectionRefusedError:
        raise TransportFault(FaultKind.REFUSED, f"{url}: connection refused", sent=False) from None
    except ssl.SSLError as error:
        raise TransportFault(FaultKind.TLS, f"{url}: {error.reason or error}", sent=False) from None
    except OSError as error:
        raise TransportFault(FaultKind.UNREACHABLE, f"{url}: {error.strerror or error}", sent=False) from None
    except (http.client.HTTPException, ValueError) as error:
        raise TransportFault(FaultKind.PROTOCOL, f"{url}: {type(error).__name__}", sent=True) from None


class _Question:
    """One Ask on its own daemon thread, which dies with the process if it is stuck."""

    def __init__(self, outside: Outside, ask: Ask) -> None:
        self.ask = ask
        self._outside = outside
        self._answer: Answer | None = None
        self._bug: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name=f"ask {ask.kind} {ask.address or ask.agent}", daemon=True)

    def _run(self) -> None:
        started = time.monotonic()
        try:
            value = self._outside.answer(self.ask)
            self._answer = Answer(value, None, time.monotonic() - started)
        except Fault as fault:
            self._answer = Answer(None, fault, time.monotonic() - started)
        except BaseException as bug:  # noqa: BLE001 (raised again in the thread that asked)
            self._bug = bug
        finally:
            self._outside.close()

    def result(self) -> Answer:
        if self._bug is not None:
            raise self._bug
        if self._answer is not None:
            return self._answer
        what = self.ask.method or self.ask.agent or f"port {self.ask.port}"
        text = f"{self.ask.address or self.ask.agent}: no answer to {what} within {self.ask.deadline:g} s"
        return Answer(None, TransportFault(FaultKind.TIMEOUT, text, sent=True), self.ask.deadline)
