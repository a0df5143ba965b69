"""The one port: everything that the program asks of the outside, time included.

The same production code runs over a real pool, the served lab and the in-memory lab with a virtual clock, because it
knows the outside by these protocols only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

Json = Any
"""What a call answers: decoded JSON. Typed once, where it is read (xapi/read.py)."""


class FaultKind(StrEnum):
    """What the network did instead of an XAPI answer."""

    REFUSED = "refused"  # nothing listens: host up, toolstack or stunnel down
    UNREACHABLE = "unreachable"  # no route, no such name
    TIMEOUT = "timeout"  # connected or not, no answer within the deadline
    DROPPED = "dropped"  # the connection broke before a whole answer came
    TLS = "tls"  # handshake failed, or the certificate is not one that we trust
    PROTOCOL = "protocol"  # an answer that is not XAPI's


class Fault(Exception):
    """A call that got no value. `XapiFailure` is XAPI's own word, `TransportFault` the network's."""


class XapiFailure(Fault):
    """XAPI answered with an error: `code` and `params` exactly as sent (all strings)."""

    def __init__(self, code: str, *params: str) -> None:
        super().__init__(code, *params)
        self.code = code
        self.params = params

    def __str__(self) -> str:
        return f"{self.code} [{'; '.join(self.params)}]"


def without(fault: Fault, secret: str) -> Fault:
    """The same fault, with the secret left out of what the other side repeated to us."""
    if isinstance(fault, XapiFailure) and secret and any(secret in param for param in fault.params):
        return XapiFailure(fault.code, *(param.replace(secret, "***") for param in fault.params))
    return fault


class TransportFault(Fault):
    """No XAPI answer. `sent`: the request may have reached the other side and may have taken effect."""

    def __init__(self, kind: FaultKind, detail: str, *, sent: bool) -> None:
        super().__init__(kind, detail, sent)
        self.kind = kind
        self.detail = detail
        self.sent = sent

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


@dataclass(frozen=True, slots=True)
class AgentRun:
    """What a fence agent did: `code` None when it was killed at its deadline. Texts have no secrets."""

    code: int | None
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Ask:
    """One question of a parallel round. `kind`: "xapi" uses address, method, params; "tcp" address, port; "http" url,
    answered by the status of one GET; "agent" agent, options (the action is among them); "probe" argv,
    answered by an AgentRun. `deadline` in seconds."""

    kind: str
    deadline: float
    address: str = ""
    method: str = ""
    params: tuple[Json, ...] = field(default=(), repr=False)
    """Not shown: a login's hold the password, and the others a session."""
    port: int = 443
    url: str = ""
    argv: tuple[str, ...] = ()
    agent: str = ""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one Ask: exactly one of `fault` and a value (None is a value for tcp: connected)."""

    value: Json = None
    fault: Fault | None = None
    took: float = 0.0


class Port(Protocol):
    """The outside. Implementations: reconciler/outside.py (real) and tests/support (in-memory lab)."""

    def now(self) -> float:
        """UTC seconds since the epoch."""
        ...

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        ...

    def call(self, address: str, method: str, params: Sequence[Json], *, deadline: float) -> Json:
        """One XAPI call at one address, at most once on the wire; `deadline` in seconds for all of it.

        Raises XapiFailure or TransportFault. Never logs or journals: params may hold a password.
        """
        ...

    def ask_all(self, asks: Sequence[Ask]) -> list[Answer]:
        """All questions in parallel, answers in the same order. Never raises a Fault: it is in the answer."""
        ...

    def run_agent(self, agent: str, options: Mapping[str, str], *, deadline: float) -> AgentRun:
        """Run a fence agent with `options` on its stdin. Raises FileNotFoundError if there is no such agent."""
        ...


class Session(Protocol):
    """A logged-in session at one address (xapi/sessions.py)."""

    @property
    def address(self) -> str:
        """Where it is logged in."""
        ...

    def call(self, method: str, *params: Json, deadline: float = 30.0) -> Json:
        """Call with the session as first parameter. Raises XapiFailure or TransportFault."""
        ...

    def close(self) -> None:
        """Log out; never raises a Fault."""
        ...


class Sessions(Protocol):
    """Opens sessions with the manifest's credentials (xapi/sessions.py)."""

    def login(self, address: str, *, deadline: float = 15.0) -> Session:
        """A normal session; raises XapiFailure (HOST_IS_SLAVE, SESSION_AUTHENTICATION_FAILED, …) or TransportFault."""
        ...

    def local(self, address: str, *, deadline: float = 15.0) -> Session:
        """A local session (session.slave_local_login_with_password), valid for emergency calls."""
        ...


class TaskStatus(StrEnum):
    """How an XAPI task stands. UNKNOWN: the task vanished, which says nothing about its operation (sheet §8.1)."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What became of one task. `failure` is XAPI's error of a FAILURE; `result` the ref (or text) that a SUCCESS
    carries, None for void; `progress` 0..1."""

    task: str
    status: TaskStatus
    failure: XapiFailure | None = None
    result: str | None = None
    progress: float = 0.0

    @property
    def ended(self) -> bool:
        """There is nothing left to wait for."""
        return self.status is not TaskStatus.PENDING


class Tasks(Protocol):
    """Async calls of one session (xapi/tasks.py). A task lives in one master's xapi and dies with it."""

    def submit(self, method: str, *params: Json, deadline: float = 30.0) -> str:
        """Send `Async.<method>` (named without "Async.") and return the task's ref.

        Raises XapiFailure (only what XAPI checks before it makes a task: SESSION_INVALID, MESSAGE_METHOD_UNKNOWN, …)
        or TransportFault; with `sent` the operation may be running with no task to watch it by.
        """
        ...

    def wait(self, refs: Sequence[str], until: float) -> dict[str, TaskResult]:
        """Wait until at least one of the tasks has ended or `until` (UTC seconds) has come; one result per ref.

        Call it again with those still PENDING. Ended tasks are destroyed on the master, so ask once. Raises
        TransportFault or XapiFailure (SESSION_INVALID after a restart of the master: nothing is known then).
        """
        ...

    def cancel(self, ref: str) -> None:
        """Ask for cancellation, best effort; never raises a Fault. The operation may still succeed."""
        ...


class TasksOf(Protocol):
    """Makes the Tasks of a session; the pipeline hands execute/ this factory."""

    def __call__(self, session: Session, /) -> Tasks:
        """The tasks of this session."""
        ...
