"""What every verb works with: the outside, the plan, the journal, the desk of the acting master, and words."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from reconciler.core.armed import Armed
from reconciler.core.evidence import Incident, Survey
from reconciler.core.limits import paused_words
from reconciler.core.plan import Action, Done, Plan, Result, Thing, Verb
from reconciler.core.port import Answer, Ask, Json, Port, Sessions, TaskResult, XapiFailure
from reconciler.core.wanted import Member, Wanted
from reconciler.core.words import names
from reconciler.execute.desk import NULL, Desk, MasterLost, same_address
from reconciler.execute.faults import Explained, explain
from reconciler.execute.needs import Event, Fencer, Journal, KillsNow, Progress, ReadPool, Store, SurveyAgain, TasksFor


@dataclass(frozen=True, slots=True)
class Wait:
    """What a verb waits for: the end of a task, or with None just for `until` (UTC seconds). It is resumed with the
    task's result; with None when `until` came first."""

    task: str | None
    until: float
    asks: tuple[Ask, ...] = ()
    """Questions to be asked, beside those of others, when it is over; their answers are then in `answers`."""
    answers: list[Answer] = field(default_factory=list, compare=False)


Steps = Generator[Wait, TaskResult | None, Done]
"""One action under way. A verb that waits for nothing of XAPI's yields nothing."""


class CannotRecord(Exception):
    """The journal or the store cannot be written: nothing more may be done in this run."""


class Lease(Protocol):
    """The pool's lease (lease.py)."""

    def hold(self, desk: Desk, /) -> None:
        """Raises CannotRecord when the pool is not ours to work on."""
        ...

    def keep(self, desk: Desk, /) -> None:
        """Renew it if it is held and due; raises CannotRecord when it is lost."""
        ...

    def release(self, desk: Desk, /) -> None:
        """Give it back."""
        ...


@dataclass(slots=True)
class Bench:
    """The executor's common ground. One per run; `desk` changes when the master does."""

    port: Port
    sessions: Sessions
    wanted: Wanted
    journal: Journal
    store: Store
    fencer: Fencer
    tasks_for: TasksFor
    survey: SurveyAgain
    read: ReadPool
    progress: Progress
    run_id: str
    plan: Plan
    master: str | None = None
    kills_now: KillsNow | None = None
    """None: nothing is known of the members' copies of the database."""
    yields: frozenset[str] = frozenset()
    """Hosts of which a person said that they give way."""
    lease: Lease | None = None
    """Held before anything is written through an acting master; None: the caller vouches that nobody else works."""
    last_survey: Survey | None = None
    timeline: list[tuple[float, str]] = field(default_factory=list)
    struck: set[str] = field(default_factory=set)
    """Names of the hosts that this run fenced or buried, for the brake."""
    unanswered: set[str] = field(default_factory=set)
    """Actions whose call was sent and whose end is not known yet."""
    sent: set[str] = field(default_factory=set)
    """Actions of which any call was sent."""
    started_at: float = 0.0
    _desk: Desk | None = field(default=None, init=False)

    # --- words -------------------------------------------------------------------------------------------------

    def say(self, action: Action | None, what: str, result: Result | None = None) -> None:
        """Tell the board and the timeline."""
        at = self.port.now()
        line = f"{action.verb} {action.target.name}: {what}" if action else what
        self.timeline.append((at - self.started_at, line))
        self.progress(Event(at, action, what, result))

    def milestone(self, action: Action, what: str) -> None:
        """A step of a change of the master was reached: told, journaled, and repeated at the end of the run. Nothing
        rests on that line: where it can't be written the step was reached all the same."""
        at = self.port.now()
        self.timeline.append((at - self.started_at, f"{action.verb} {action.target.name}: {what}"))
        with suppress(CannotRecord):
            self.note("milestone", action=action.id, what=what)
        self.progress(Event(at, action, what, milestone=True))

    def name_of(self, cls: str, ref: str) -> str:
        """A name for people for a ref or uuid of the acting master's database; that itself when it cannot be read."""
        if ref in NULL:
            return "nothing"
        with suppress(XapiFailure, MasterLost):
            if not ref.startswith("OpaqueRef:"):
                ref = str(self.desk().read(f"{cls}.get_by_uuid", ref))
            record = self.desk().read(f"{cls}.get_record", ref)
            return str(record.get("name_label") or record.get("uuid") or ref)
        return ref

    def explain(self, failure: XapiFailure) -> Explained:
        """XAPI's error in words."""
        return explain(failure, self.name_of)

    # --- the journal -------------------------------------------------------------------------------------------

    def note(self, kind: str, **fields: object) -> None:
        """One durable line. Raises CannotRecord."""
        try:
            self.journal.write(kind, run=self.run_id, at=self.port.now(), **fields)
        except OSError as error:
            raise CannotRecord(f"the journal cannot be written: {error}") from error

    def intend(self, action: Action, method: str, address: str, **fields: object) -> None:
        """Before a call that writes: the lease held, the line durable, or the call is not made."""
        self.hold()
        self.note(
            "intent",
            action=action.id,
            method=method,
            address=address,
            target=str(action.target),
            uuid=action.target.uuid,
            **fields,
        )
        self.unanswered.add(action.id)
        self.sent.add(action.id)

    def reply(self, action: Action, method: str, what: str) -> None:
        """After it: what came of the call, in words or as a code; never its parameters. What can't be written down was
        sent all the same, and its action must not be told as undone."""
        self.note("reply", action=action.id, method=method, what=what)
        self.unanswered.discard(action.id)

    # --- who ---------------------------------------------------------------------------------------------------

    def member_of(self, thing: Thing) -> Member | None:
        """The declared member that a host thing is: by name, or by address when the database names it otherwise."""
        found = self.wanted.member(thing.name)
        if found is None and thing.address:
            found = next((m for m in self.wanted.members if same_address(m.address, thing.address)), None)
        return found

    def address_of(self, thing: Thing) -> str:
        """Where to ask that host."""
        member = self.member_of(thing)
        return member.address if member else thing.address

    def member_of_record(self, host: Mapping[str, Json]) -> Member | None:
        """The declared member that a host record is: by name, then by address."""
        found = self.wanted.member(str(host.get("name_label", "")))
        return found or self.member_at(str(host.get("address", "")))

    def member_at(self, address: str) -> Member | None:
        """The declared member at an address as XAPI tells it."""
        return next((m for m in self.wanted.members if same_address(m.address, address)), None)

    def name_at(self, address: str) -> str:
        """Its name, or the address itself."""
        member = self.member_at(address)
        return member.name if member else address

    def may_strike(self, name: str) -> str:
        """Why this run may not fence or bury that host too, "" if it may (brake.max_hosts_per_run)."""
        limit = self.wanted.policy.brake.max_hosts_per_run
        if name in self.struck or len(self.struck) < limit:
            return ""
        struck = names(sorted(self.struck))
        return f"this run already fenced or buried {struck}, and policy.brake.maxHostsPerRun is {limit}"

    # --- the acting master -------------------------------------------------------------------------------------

    def desk(self) -> Desk:
        """The acting master's desk. Raises MasterLost when no master is known."""
        if self.master is None:
            raise MasterLost("no host is known to act as master")
        if self._desk is None or self._desk.address != self.master:
            self.leave()
            uuid = self.wanted.uuid or self.plan.pool_uuid
            timeout = self.wanted.policy.limits.call_timeout
            self._desk = Desk(self.sessions, self.tasks_for, self.master, uuid, timeout, self.name_at)
        return self._desk

    def forgotten(self) -> bool:
        """Whether the acting master forgot our session since this stage began: its toolstack restarted."""
        return self._desk is not None and self._desk.forgot > 0

    def leave(self) -> None:
        """Log out of the desk."""
        if self._desk is not None:
            self._desk.close()
        self._desk = None

    def hold(self) -> None:
        """Have the lease, where there is a master to give it: without one the file lock and the incident serve.

        Raises CannotRecord, and as Desk.write.
        """
        if self.lease is not None and self.master is not None:
            self.lease.hold(self.desk())

    def keep(self) -> None:
        """Renew the lease in a long wait. Raises CannotRecord when it is lost."""
        if self.lease is not None and self.master is not None:
            self.lease.keep(self.desk())

    # --- the store ---------------------------------------------------------------------------------------------

    def save_incident(self, incident: Incident) -> None:
        """Durable, or the promotion is not sent. Raises CannotRecord."""
        try:
            self.store.save_incident(incident)
        except OSError as error:
            raise CannotRecord(f"the incident cannot be written down: {error}") from error

    def clear_incident(self) -> None:
        """One master is confirmed."""
        with self.recording("that the incident is over"):
            self.store.clear_incident()

    def withdraw_incident(self) -> None:
        """Surely nobody was made master."""
        with self.recording("that nobody was promoted"):
            self.store.withdraw_incident()

    def refuses_for_ha(self, host: str, failure: XapiFailure) -> None:
        """Remember that HA is armed on a host, if that is what its refusal says: the next plan does not rest on it."""
        if failure.code == "HA_IS_ENABLED":
            with self.recording(f"that HA is armed on {host}"):
                self.store.arm(Armed(host, self.port.now(), self.run_id))

    def paused(self, action: Action) -> str:
        """The pause that covers an action by now, in words, "" where none does: a person may give the word at any time.
        What finishes a promotion is never held up, as by no freeze."""
        if action.verb is Verb.RECOVER_MEMBERS:
            return ""
        with self.recording("a pause"):
            held = self.store.pauses(now=self.port.now())
        found = paused_words(held, action, self.port.now())
        return found[0] if found else ""

    @contextmanager
    def recording(self, what: str) -> Iterator[None]:
        """A write to the store: durable, or CannotRecord."""
        try:
            yield
        except OSError as error:
            raise CannotRecord(f"{what} cannot be written down: {error}") from error


def done(action: Action, why: str = "") -> Done:
    """It was done."""
    return Done(action, Result.DONE, why)


def already(action: Action, why: str) -> Done:
    """Its goal is reached without it."""
    return Done(action, Result.ALREADY, why)


def refused(action: Action, why: str, remedy: str = "") -> Done:
    """Its precondition or certificate does not hold: nothing was sent."""
    return Done(action, Result.REFUSED, why, remedy)


def barred(action: Action, why: str, remedy: str) -> Done:
    """Refused, as XAPI itself would until somebody changes something: run after run it comes to the same."""
    return Done(action, Result.REFUSED, why, remedy, lasting=True)


def failed(action: Action, why: str, remedy: str = "") -> Done:
    """It was tried in vain."""
    return Done(action, Result.FAILED, why, remedy)


def unknown(action: Action, why: str, remedy: str = "") -> Done:
    """It was sent, and observation could not tell what came of it."""
    return Done(action, Result.UNKNOWN, why, remedy)


def vm_now(bench: Bench, action: Action) -> tuple[str, dict[str, Json]] | Done:
    """(ref, record) of the VM that an action is about, read now; refused where it is gone."""
    try:
        return bench.desk().record("VM", action.target.uuid)
    except XapiFailure as failure:
        if failure.code in ("UUID_INVALID", "HANDLE_INVALID"):
            return refused(action, f"{action.target.name} is gone from the pool", "plan again")
        raise


def host_now(bench: Bench, action: Action, host: Thing) -> tuple[str, dict[str, Json], bool] | Done:
    """(ref, record, whether the master counts it as live) of a host, read now; refused where it is gone."""
    desk = bench.desk()
    try:
        ref, record = desk.record("host", host.uuid)
        metrics = dict(desk.read("host_metrics.get_record", record.get("metrics", "")))
    except XapiFailure as failure:
        if failure.code in ("UUID_INVALID", "HANDLE_INVALID"):
            return refused(action, f"{host.name} is gone from the pool", "plan again")
        raise
    return ref, record, bool(metrics.get("live"))


def because(parts: Iterable[str]) -> str:
    """Several facts as one reason."""
    return "; ".join(p for p in parts if p)
