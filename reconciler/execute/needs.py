"""What the executor needs of the other rooms, as small protocols: it is handed them and imports none of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from reconciler.core.armed import Armed
from reconciler.core.buried import Buried
from reconciler.core.copies import Refreshed
from reconciler.core.evidence import BmcPower, Certificate, Diagnosis, Incident, Survey
from reconciler.core.fates import Doomed
from reconciler.core.fence_text import Refusal
from reconciler.core.limits import Pause
from reconciler.core.model import PoolState
from reconciler.core.plan import Action, Result
from reconciler.core.port import Session, TasksOf
from reconciler.core.unsettled import Unsettled
from reconciler.core.wanted import Member

TasksFor = TasksOf
"""Makes the Tasks of a session."""


class Journal(Protocol):
    """The run's journal: a line is durable when `write` returns."""

    def write(self, kind: str, **fields: object) -> None:
        """Append one line and flush it to disk. Raises OSError: then nothing may be done that it was to record."""
        ...


class Fencer(Protocol):
    """The fence agents of the members (fencing/)."""

    def status(self, member: Member) -> tuple[BmcPower, str]:
        """What the member's BMC says about its power, and in words."""
        ...

    def off(
        self, member: Member, *, pool: str, host_uuid: str | None, reason: str, lifetime_s: float
    ) -> Certificate | Refusal:
        """Power it off; a certificate only when a second, separate status says that it is off."""
        ...

    def recheck(self, certificate: Certificate, member: Member, /) -> str:
        """Why the certificate no longer holds, "" while it does (an attested one has no BMC to ask)."""
        ...


class Store(Protocol):
    """What outlives a run (state/). Every method that writes is durable when it returns, and raises OSError."""

    def save_incident(self, incident: Incident) -> None:
        """Remember a promotion, before it is sent."""
        ...

    def clear_incident(self) -> None:
        """Forget it: one master is confirmed, or it surely was not sent."""
        ...

    def incident(self) -> Incident | None:
        """The promotion that was sent and not yet confirmed."""
        ...

    def withdraw_incident(self) -> None:
        """Forget it, and that the lost master was replaced: surely nobody was made master."""
        ...

    def arm(self, one: Armed) -> None:
        """Remember that a host refused a call because XAPI's HA is armed on it."""
        ...

    def save_handover(self, handover: Incident) -> None:
        """Remember a hand-over of the office in a healthy pool, before it is sent."""
        ...

    def clear_handover(self) -> None:
        """Forget it: it is known what came of it."""
        ...

    def handover(self) -> Incident | None:
        """The hand-over that was sent and whose end no run has seen."""
        ...

    def bury(self, vms: Sequence[Buried]) -> None:
        """Remember the VMs of a host, before it is declared dead."""
        ...

    def begin(self, start: Unsettled) -> Unsettled:
        """Remember a start or resume, before it is sent. Returns what is held: an older one of the same VM on the same
        host, if that is not settled."""
        ...

    def end(self, start: Unsettled) -> None:
        """Forget it: it is known what came of it."""
        ...

    def unsettled(self) -> tuple[Unsettled, ...]:
        """Every start that is remembered."""
        ...

    def freed(self, host_uuid: str) -> None:
        """Remember that this host was declared dead: no start left a disk locked there any more."""
        ...

    def pauses(self, *, now: float) -> tuple[Pause, ...]:
        """People's words, given at any time, to leave the pool or a VM alone, as far as they hold."""
        ...

    def add_certificate(self, certificate: Certificate) -> None:
        """Remember a proof of death."""
        ...

    def certificates(self) -> tuple[Certificate, ...]:
        """Every certificate that is not void; it may have expired."""
        ...

    def add_refreshed(self, fresh: Sequence[Refreshed]) -> None:
        """Remember which hosts have a copy of the pool database of when."""
        ...

    def refresh_failed(self, at: float) -> None:
        """Remember that the members' copies could not be refreshed at `at` (UTC seconds)."""
        ...

    def void_certificate(self, certificate: Certificate, why: str) -> None:
        """The host showed a sign of life: the certificate proves nothing any more."""
        ...


ReadPool = Callable[[Session], PoolState]
"""Reads the whole pool through a master's session. Raises XapiFailure or TransportFault."""

SurveyAgain = Callable[[], Survey]
"""Asks every member again."""

KillsNow = Callable[[Survey, Diagnosis, str, str], tuple[Doomed, ...]]
"""The running VMs that a promotion may kill by what that survey says of the copies of the database: of the lost master
(name; the candidate itself where none is lost) and the candidate (name)."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, for the board and the timeline. `at` in UTC seconds; `result` when an action ended;
    `milestone` for a step of a change of the master."""

    at: float
    action: Action | None
    what: str
    result: Result | None = None
    milestone: bool = False


Progress = Callable[[Event], None]
"""Is told every event, in order. Must not raise."""
