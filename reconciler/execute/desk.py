"""The acting master's normal session: opened at need, checked to be the right pool, re-opened once, never guessed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from reconciler.core.port import Fault, FaultKind, Json, Session, Sessions, Tasks, TransportFault, XapiFailure
from reconciler.core.words import address_host
from reconciler.execute.needs import TasksFor
from reconciler.execute.shape import checked

T = TypeVar("T")
NULL = frozenset({"OpaqueRef:NULL", ""})
"""Both mean no object on the wire (sheet §7.1)."""
UNHEARD = ("NOT_SENT", "SESSION_INVALID")
"""What came of a call that was surely not executed, and for no reason of its own."""


class MasterLost(Exception):
    """Nobody answers as our master any more. `deposed`: it is a member now, or serves another pool. `unsent`: the call
    that met it was surely not executed."""

    def __init__(self, why: str, *, deposed: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.deposed = deposed
        self.unsent = False


class LostReply(Exception):
    """A call that writes may have taken effect and its answer is lost: observe, never repeat."""

    def __init__(self, method: str, fault: Fault) -> None:
        super().__init__(method, fault)
        self.method = method
        self.fault = fault

    def __str__(self) -> str:
        return f"the reply to {self.method} was lost ({self.fault})"


def heard(once: Callable[[], T]) -> T:
    """Look and send, by `once`; where the call was surely not executed, look and send once more (I7)."""
    try:
        return once()
    except XapiFailure as failure:
        if failure.code not in UNHEARD:
            raise
    return once()


class Desk:
    """Calls on the acting master.

    Every login is checked: the pool's uuid must be `pool_uuid` when that is known. Raises MasterLost when the address
    no longer accepts a normal login, XapiFailure for XAPI's refusals, LostReply for a write without an answer.
    """

    def __init__(
        self,
        sessions: Sessions,
        tasks_for: TasksFor,
        address: str,
        pool_uuid: str,
        deadline: float,
        name_at: Callable[[str], str] = str,
    ) -> None:
        self.address = address
        self.name = name_at(address)
        self._name_at = name_at
        self.pool_uuid = pool_uuid
        self.pool_ref = ""
        self.forgot = 0
        """How often the master had forgotten our session: its toolstack was restarted meanwhile."""
        self._sessions = sessions
        self._tasks_for = tasks_for
        self._deadline = deadline
        self._session: Session | None = None
        self._tasks: Tasks | None = None

    def session(self) -> Session:
        """The session, logged in if need be. Raises MasterLost."""
        if self._session is None:
            self._session = self._login()
        return self._session

    def tasks(self) -> Tasks:
        """The tasks of the session."""
        if self._tasks is None:
            self._tasks = self._tasks_for(self.session())
        return self._tasks

    def adopt(self, session: Session) -> None:
        """Use a session that was just opened at this address, instead of opening another."""
        self.close()
        self._check(session)
        self._session = session

    def again(self) -> None:
        """Log in once more at the same address. Raises MasterLost."""
        self.close()
        self.session()

    def close(self) -> None:
        """Log out."""
        session, self._session, self._tasks = self._session, None, None
        if session is not None:
            session.close()

    def read(self, method: str, *params: Json, deadline: float | None = None) -> Json:
        """A call that only reads: sent once more after a new login if its answer was lost, or was nonsense."""
        for attempt in (1, 2):
            try:
                told = self.session().call(method, *params, deadline=deadline or self._deadline)
                return checked(method, told)
            except TransportFault as fault:
                if attempt == 2:
                    raise MasterLost(f"{self.name} {_silence(fault)}") from fault
                self.again()
            except XapiFailure as failure:
                self._session_trouble(failure, attempt)
        raise AssertionError("unreachable")

    def write(self, method: str, *params: Json, deadline: float | None = None) -> Json:
        """A call that changes something: sent once. Raises LostReply when its effect cannot be known.

        SESSION_INVALID, and NOT_SENT (ours, not XAPI's), come before any effect. They are raised after a new login: the
        master restarted or was out of reach for a while, so the precondition must be read again (I7, `heard`).
        """
        return self._once(method, lambda: self.session().call(method, *params, deadline=deadline or self._deadline))

    def submit(self, method: str, *params: Json) -> str:
        """Submit `Async.<method>` and return its task. Raises as `write`."""
        return str(self._once(method, lambda: self.tasks().submit(method, *params, deadline=self._deadline)))

    def _once(self, method: str, send: Callable[[], Json]) -> Json:
        try:
            return checked(method, send())
        except TransportFault as fault:
            if fault.sent:
                raise LostReply(method, fault) from fault
            self._again_unsent()
            raise XapiFailure("NOT_SENT", str(fault)) from fault
        except XapiFailure as failure:
            self._not_executed(failure)
            raise

    def record(self, cls: str, uuid: str) -> tuple[str, dict[str, Json]]:
        """(ref, record) of the object with that uuid in this database. Raises XapiFailure UUID_INVALID when gone."""
        ref = str(self.read(f"{cls}.get_by_uuid", uuid))
        return ref, dict(self.read(f"{cls}.get_record", ref))

    def pool(self) -> dict[str, Json]:
        """The pool record, read now."""
        return dict(self.read("pool.get_record", self._pool_ref()))

    def _pool_ref(self) -> str:
        self.session()
        if not self.pool_ref:
            raise MasterLost(f"the pool record of {self.name} could not be found", deposed=True)
        return self.pool_ref

    def _again_unsent(self) -> None:
        """Log in again where the call in hand was surely not executed."""
        try:
            self.again()
        except MasterLost as lost:
            lost.unsent = True
            raise

    def _not_executed(self, failure: XapiFailure) -> None:
        """As _session_trouble, for a call that writes: a refusal comes before any effect."""
        try:
            self._session_trouble(failure, 1)
        except MasterLost as lost:
            lost.unsent = True
            raise

    def _session_trouble(self, failure: XapiFailure, attempt: int) -> None:
        """Return when the call may be sent again (it was not executed); raise otherwise."""
        if failure.code == "HOST_IS_SLAVE":
            raise self._deposed(failure) from failure
        if failure.code != "SESSION_INVALID" or attempt == 2:
            if failure.code == "SESSION_INVALID":
                self.forgot += 1
            raise failure
        self.forgot += 1
        self.again()

    def _login(self) -> Session:
        """Log in and check the pool; once more where an answer was lost, for neither changes anything."""
        for attempt in (1, 2):
            try:
                session = self._sessions.login(self.address)
            except XapiFailure as failure:
                if failure.code == "HOST_IS_SLAVE":
                    raise self._deposed(failure) from failure
                raise MasterLost(f"{self.name} accepts no login ({failure.code})") from failure
            except TransportFault as fault:
                if fault.sent and attempt == 1:
                    continue
                raise MasterLost(f"{self.name} {_silence(fault)}") from fault
            try:
                self._check(session)
            except MasterLost as lost:
                if lost.deposed or attempt == 2:
                    raise
                continue
            return session
        raise AssertionError("unreachable")

    def _deposed(self, failure: XapiFailure) -> MasterLost:
        follows = self._name_at(failure.params[0]) if failure.params else "another host"
        return MasterLost(f"{self.name} follows {follows} now", deposed=True)

    def _check(self, session: Session) -> None:
        """That it serves our pool; it is logged out if not."""
        try:
            told = session.call("pool.get_all_records", deadline=self._deadline)
            pools: dict[str, Json] = checked("pool.get_all_records", told)
        except (XapiFailure, TransportFault) as fault:
            session.close()
            raise MasterLost(f"{self.name} accepts logins but does not tell its pool ({fault})") from fault
        ref = next(iter(pools), "")
        uuid = str(pools[ref].get("uuid", "")) if ref else ""
        if len(pools) != 1 or (self.pool_uuid and uuid != self.pool_uuid):
            session.close()
            raise MasterLost(
                f"{self.name} serves another pool: its uuid is {uuid or 'unknown'}, not {self.pool_uuid}",
                deposed=True,
            )
        self.pool_ref = ref
        self.pool_uuid = uuid


def _silence(fault: Fault) -> str:
    """What a master that gives no answer does, for people."""
    kind = fault.kind if isinstance(fault, TransportFault) else None
    if kind is FaultKind.REFUSED:
        return "refuses connections: its host is up, its toolstack is not"
    if kind is FaultKind.DROPPED:
        return "drops connections: its toolstack is going down, or its host is"
    if kind in (FaultKind.UNREACHABLE, FaultKind.TIMEOUT):
        return "does not answer"
    return f"gives no answer of use ({fault})"


def same_address(one: str, other: str) -> bool:
    """Whether two addresses name one host, a port aside: XAPI tells addresses without."""
    return bool(one) and address_host(one) == address_host(other)
