"""Sessions: logged in with the manifest's credentials, under an originator of our own, and always logged out.

XAPI keeps 500 sessions per originator and destroys the oldest beyond (sheet §7.4), so a shared originator would let
one tool end another's session.
"""

from __future__ import annotations

import contextlib
import functools
import os
import uuid
from collections.abc import Callable
from importlib import metadata

from reconciler.core.port import Fault, FaultKind, Json, Port, Session, TransportFault, XapiFailure, without
from reconciler.xapi.methods import is_pure_read

LOGIN = "session.login_with_password"
LOCAL_LOGIN = "session.slave_local_login_with_password"
LOGOUT_DEADLINE = 5.0
"""Seconds that a farewell may take: the server forgets idle sessions by itself."""


@functools.cache
def version() -> str:
    """Our version; "dev" where nothing is installed. Read from disk once."""
    try:
        return metadata.version("xenrec")
    except metadata.PackageNotFoundError:
        return "dev"


def originator(run: str | None = None) -> str:
    """Who we are in XAPI's session table: the tool, its version, and this run (or this process)."""
    return f"xenrec/{version()} {run or f'{os.getpid()}-{uuid.uuid4().hex[:8]}'}"


class XapiSession:
    """A session at one address (core.port.Session). For one thread.

    SESSION_INVALID on a pure read logs in again, once, and repeats the read: a master's restart ends all sessions. On a
    write it is raised, for what the write meant may no longer hold on whatever database answers now.
    """

    def __init__(self, port: Port, address: str, logout: str, login: Callable[[float], str], deadline: float) -> None:
        self._port = port
        self._address = address
        self._logout = logout
        self._login = login
        self._ref: str | None = login(deadline)

    def __repr__(self) -> str:
        return f"<session at {self._address}{'' if self._ref else ', closed'}>"

    @property
    def address(self) -> str:
        """Where it is logged in."""
        return self._address

    def call(self, method: str, *params: Json, deadline: float = 30.0) -> Json:
        """Call with the session as first parameter. Raises XapiFailure or TransportFault."""
        if self._ref is None:
            raise RuntimeError(f"the session at {self._address} is closed")
        try:
            return self._port.call(self._address, method, (self._ref, *params), deadline=deadline)
        except XapiFailure as failure:
            if failure.code != "SESSION_INVALID" or not is_pure_read(method):
                raise
        self._ref = self._login(deadline)
        return self._port.call(self._address, method, (self._ref, *params), deadline=deadline)

    def close(self) -> None:
        """Log out; never raises a Fault. Closing twice is fine."""
        ref, self._ref = self._ref, None
        if ref is not None:
            with contextlib.suppress(Fault):
                self._port.call(self._address, self._logout, (ref,), deadline=LOGOUT_DEADLINE)


class PoolSessions:
    """Opens sessions (core.port.Sessions). Passwords are asked at each login and kept nowhere.

    `local`: user and password of local sessions, where they are others.
    """

    def __init__(
        self,
        port: Port,
        username: str,
        password: Callable[[], str],
        *,
        run: str | None = None,
        local: tuple[str, Callable[[], str]] | None = None,
    ) -> None:
        self._port = port
        self._username = username
        self._password = password
        self._local = local or (username, password)
        self._originator = originator(run)

    def __repr__(self) -> str:
        return f"<sessions of {self._username}>"

    def login(self, address: str, *, deadline: float = 15.0) -> Session:
        """A normal session; raises XapiFailure (HOST_IS_SLAVE, SESSION_AUTHENTICATION_FAILED, …) or TransportFault."""

        def log_in(seconds: float) -> str:
            return self._open(address, LOGIN, (self._username, self._password), ("1.0", self._originator), seconds)

        return XapiSession(self._port, address, "session.logout", log_in, deadline)

    def local(self, address: str, *, deadline: float = 15.0) -> Session:
        """A local session, valid for emergency calls: the account must be a local root of that very host."""

        def log_in(seconds: float) -> str:
            return self._open(address, LOCAL_LOGIN, self._local, (), seconds)

        return XapiSession(self._port, address, "session.local_logout", log_in, deadline)

    def _open(
        self,
        address: str,
        method: str,
        account: tuple[str, Callable[[], str]],
        rest: tuple[str, ...],
        deadline: float,
    ) -> str:
        username, ask = account
        password = ask()
        try:
            ref = self._port.call(address, method, (username, password, *rest), deadline=deadline)
        except XapiFailure as failure:
            raise without(failure, password) from None
        if not isinstance(ref, str) or not ref:
            raise TransportFault(FaultKind.PROTOCOL, f"{address}: answered a login with no session", sent=True)
        return ref
