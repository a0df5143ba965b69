"""One run of xapi on one host: what it holds in memory, how it takes calls, how it ends. How it starts: boot.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from reconciler.lab import boot
from reconciler.lab.calls import EMERGENCY_CALLS, Call, Method, convert, lookup
from reconciler.lab.database import Database
from reconciler.lab.errors import Failure
from reconciler.lab.kernel import Process, Steps
from reconciler.lab.schema import NULL, copy_value
from reconciler.lab.timing import Release
from reconciler.lab.wiretext import date, xml_value

if TYPE_CHECKING:
    from reconciler.lab.engine import Lab, LabHost, Reply


class Unreachable(Exception):
    """Another host's toolstack could not be reached."""


@dataclass
class SessionInfo:
    """A session that this master knows. `started` in seconds."""

    user: str
    started: float
    originator: str = ""
    last_active: float = 0.0
    other_config: dict[str, str] = field(default_factory=dict)


class Toolstack:
    """The memory of one xapi process. A restart makes a new one: sessions, tasks and timers are gone.

    `role` is what pool.conf said when it started: a later change of the file shows only after a restart (sheet §1.1).
    """

    def __init__(self, lab: Lab, host: LabHost) -> None:
        self.lab = lab
        self.host = host
        self.role = host.role
        self.alive = True
        self.api_up = False
        self.frozen = False
        self.emergency = False
        self.ready = False
        """A master has finished starting; a member is enabled."""
        self.db: Database | None = None
        self.sessions: dict[str, SessionInfo] = {}
        self.local_sessions: set[str] = set()
        self.connected: Toolstack | None = None
        """The master's run that this member has said hello to."""
        self.last_heard: dict[str, float] = {}
        self.doomed: set[str] = set()
        """Pending tasks that go when they end."""
        self.finished: dict[str, float] = {}
        """Finished tasks of this run, oldest first, and when."""
        self.acted_at: float | None = None
        self.rivals: set[str] = set()
        """Other masters beside which this one has acted: each is recorded once."""
        self.proposed: str | None = None
        self.pool_operation: str | None = None
        self._processes: set[Process] = set()
        self._pending: set[Reply] = set()
        self._flush_slot = -1

    # -- who it is -------------------------------------------------------------------------------------------

    @property
    def is_master(self) -> bool:
        """It acts as a master."""
        return self.role == "master"

    @property
    def master_address(self) -> str:
        """Whom it follows; its own address when it is a master."""
        return self.host.address if self.is_master else self.role.removeprefix("slave:")

    def __repr__(self) -> str:
        return f"<Toolstack {self.host.name} {self.role}>"

    # -- life ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start, as the supervisor does."""
        self.spawn(boot.start(self), "start")

    def begin_at_rest(self) -> None:
        """Be as if it had been running for long (when a lab is made)."""
        boot.at_rest(self)

    def spawn(self, steps: Steps, name: str) -> Process:
        """A thread of this xapi: dies with it. An unforeseen error in it is raised out of the lab."""
        process = self.lab.kernel.spawn(self._guarded(steps, name), name)
        if process.alive:
            self._processes.add(process)
            process.done.then(lambda: self._processes.discard(process))
        return process

    def _guarded(self, steps: Steps, name: str) -> Steps:
        try:
            return (yield from steps)
        except (Failure, Unreachable):
            raise
        except Exception as error:
            if self.lab.strict:
                self.lab.kernel.after(0.0, partial(_raise, error, name))
            raise Failure("INTERNAL_ERROR", f"{type(error).__name__}({error})") from error

    def _end(self) -> None:
        self.alive = False
        self.api_up = False
        for process in list(self._processes):
            process.kill()
        self._processes.clear()

    def exit(self, *, restart: bool) -> None:
        """The process ends in an orderly way: the database is written, connections break."""
        if not self.alive:
            return
        if self.db is not None:
            self.host.disk = self.db.snapshot(self.lab.now)
        self.lab._note_contacts()
        self._end()
        pending, self._pending = self._pending, set()
        for reply in pending:
            self.lab.kernel.after(self.lab.timing.latency, partial(self._drop, reply))
        if self.host.toolstack is self:
            self.host.toolstack = None
            if restart and self.host.wanted:
                self.lab.kernel.after(self.lab.timing.supervisor, lambda: self._restarted(self.host))
        self.lab.changed()

    def _drop(self, reply: Reply) -> None:
        reply.finish(self.lab.now, transport="dropped")

    def _restarted(self, host: LabHost) -> None:
        if host.up and host.wanted and host.toolstack is None:
            self.lab.start_toolstack(host.name)

    def pull_the_plug(self) -> None:
        """Power is gone: what was not flushed is lost, and nobody is told."""
        if self.db is not None and self._slot() > self._flush_slot:
            self.host.disk = self.db.snapshot(self.lab.now)
        self._end()
        self._pending.clear()

    def freeze(self) -> None:
        """Accepts connections and never does anything again."""
        self.frozen = True
        for process in list(self._processes):
            process.kill()
        self._processes.clear()

    def light_fuse(self) -> None:
        """Restart after the fuse: until then the old role goes on answering (sheet §1.1)."""
        timing = self.lab.timing
        wait = max(timing.fuse_min, timing.fuse) + timing.fuse_extra
        self.lab.kernel.after(wait, lambda: self.exit(restart=True))

    # -- the database ----------------------------------------------------------------------------------------

    def _slot(self) -> int:
        return int(self.lab.now // self.lab.timing.db_flush)

    def _flush(self) -> None:
        """Before a change: what stood since the last flush time has long been written."""
        slot = self._slot()
        if slot > self._flush_slot and self.db is not None:
            self._flush_slot = slot
            self.host.disk = self.db.snapshot(self.lab.now)

    def serve(self, db: Database) -> None:
        """Hold this database, as a master."""
        self.db = db
        db.on_write = self._flush

    def db_now(self) -> Database | None:
        """The database that reads and writes go to now; None: the master cannot be reached, so they hang."""
        if self.is_master:
            return self.db
        master = self.master_run()
        return master.db if master is not None else None

    def master_run(self) -> Toolstack | None:
        """The run of the master that it follows, when that acts as a master and both can talk."""
        host = self.lab.at(self.master_address)
        if host is None or host is self.host or host.hung or not self.lab.reaches(self.host.name, host):
            return None
        master = host.toolstack
        return master if master is not None and master.api_up and master.is_master else None

    def database(self) -> Steps:
        """Wait for the database as long as it takes: on a member of a dead master, for ever (sheet §1.2)."""
        while True:
            db = self.db_now()
            if db is not None:
                return db
            while self.db_now() is None:
                yield self.lab.change
            yield self.lab.timing.db_reconnect

    def me(self, db: Database) -> str:
        """The ref of this host in a database."""
        return db.by_uuid("host", self.host.uuid) or NULL

    def note_contacts(self) -> None:
        """As a master: whoever can talk to us now has sent a heartbeat up to now."""
        if not self.is_master or not self.api_up:
            return
        for host in self.lab.hosts.values():
            member = host.toolstack
            if self.hears(member):
                self.last_heard[host.uuid] = self.lab.now

    def hears(self, member: Toolstack | None) -> bool:
        """That member sends us heartbeats."""
        return (
            member is not None
            and member.connected is self
            and member.alive
            and not member.host.hung
            and self.lab.reaches(member.host.name, self.host)
        )

    # -- calls -----------------------------------------------------------------------------------------------

    def emergency_error(self) -> Failure:
        """What it answers to ordinary calls in emergency mode: it alternates (sheet §1.2)."""
        retry = self.lab.timing.handshake_retry
        if self.lab.release is Release.V24_16 or int(self.lab.now / retry) % 2 == 0:
            return Failure("HOST_STILL_BOOTING")
        master = self.lab.at(self.master_address)
        run = master.toolstack if master is not None and self.lab.reaches(self.host.name, master) else None
        if run is not None and run.api_up and not run.is_master:
            return Failure("HOST_IS_SLAVE", run.master_address)
        return Failure("INTERNAL_ERROR", 'Unix.Unix_error(Unix.EHOSTUNREACH, "connect", "")')

    def dispatch(self, reply: Reply, wire_name: str, params: list[Any], source: str) -> None:
        """Take a call from the network; the reply is finished now or later, or never."""
        self._pending.add(reply)
        reply.on_done(self._pending.discard)
        try:
            method, call, args, asynchronous = self._parse(wire_name, params)
        except Failure as failure:
            self._answer(reply, source, failure=failure)
            return
        if call.session and not method.session_free:
            try:
                known = self._check_session(call, method)
            except Failure as failure:
                self._answer(reply, source, failure=failure)
                return
            if not known:
                self.spawn(self._later(reply, source, method, call, args, asynchronous), method.name)
                return
        elif not self.is_master and not method.db_free:
            self.spawn(self._later(reply, source, method, call, args, asynchronous), method.name)
            return
        self._run(reply, source, method, call, args, asynchronous)

    def _parse(self, wire_name: str, params: list[Any]) -> tuple[Method, Call, list[Any], bool]:
        asynchronous = wire_name.startswith("Async.")
        name = wire_name.removeprefix("Async.")
        method = lookup(name)
        if self.emergency and (asynchronous or wire_name not in EMERGENCY_CALLS):
            raise self.emergency_error()
        if method is None:
            raise Failure("MESSAGE_METHOD_UNKNOWN", name)
        if asynchronous and not method.asynchronous:
            raise Failure("Fault", f"No async mode for this operation (rpc: {method.name})")
        given = list(params)
        session = ""
        if not method.session_free:
            if not given:
                raise Failure("MESSAGE_PARAMETER_COUNT_MISMATCH", method.name, str(method.required), "-1")
            session = given.pop(0)
            if not isinstance(session, str):
                raise Failure("SESSION_INVALID", str(session))
        if not method.required <= len(given) <= len(method.params):
            raise Failure("MESSAGE_PARAMETER_COUNT_MISMATCH", method.name, str(method.required), str(len(given)))
        args = [convert(p.type, value) for p, value in zip(method.params, given, strict=False)]
        args += [copy_value(p.default) for p in method.params[len(given) :]]
        call = Call(self, method.name, session, asynchronous)
        return method, call, args, asynchronous

    def _check_session(self, call: Call, method: Method) -> bool:
        """True: go on; False: needs the database, which is out of reach. Raises SESSION_INVALID or HOST_IS_SLAVE."""
        if call.session in self.local_sessions:
            call.local = True
            return self.is_master or method.db_free or self.db_now() is not None
        if self.is_master:
            info = self.sessions.get(call.session)
            if info is None:
                raise Failure("SESSION_INVALID", call.session)
            info.last_active = self.lab.now
            if method.pool_internal:
                text = f'Internal API "{method.name}" call attempted with non-pool (external) session'
                raise Failure("INTERNAL_ERROR", text)
            return True
        master = self.master_run()
        if master is None or master.db is None:
            return False
        if call.session in master.sessions:
            raise Failure("HOST_IS_SLAVE", master.host.address)
        raise Failure("SESSION_INVALID", call.session)

    def _later(
        self, reply: Reply, source: str, method: Method, call: Call, args: list[Any], asynchronous: bool
    ) -> Steps:
        """A call that hangs until the database is back."""
        yield from self.database()
        try:
            while call.session and not self._check_session(call, method):
                yield from self.database()
        except Failure as failure:
            self._answer(reply, source, failure=failure)
            return
        self._run(reply, source, method, call, args, asynchronous)

    def _run(self, reply: Reply, source: str, method: Method, call: Call, args: list[Any], asynchronous: bool) -> None:
        if method.acts:
            self._acts(method)
        if asynchronous:
            db = call.db
            db.create("task", call.task, self._task_record(f"Async.{method.name}", call))
            self.spawn(self._task(method, call, args), method.name)
            self._answer(reply, source, value=call.task)
            return
        try:
            result = method.handler(call, *args)
        except Failure as failure:
            self._answer(reply, source, failure=failure)
            return
        except Exception as error:
            if self.lab.strict:
                raise
            self._answer(reply, source, failure=Failure("INTERNAL_ERROR", f"{type(error).__name__}({error})"))
            return
        if hasattr(result, "send"):
            self.spawn(self._wait(reply, source, result), method.name)
        else:
            self._answer(reply, source, value=result)

    def _wait(self, reply: Reply, source: str, steps: Steps) -> Steps:
        try:
            value = yield from steps
        except Failure as failure:
            self._answer(reply, source, failure=failure)
            return
        self._answer(reply, source, value=value)

    def _answer(self, reply: Reply, source: str, *, value: Any = None, failure: Failure | None = None) -> None:
        def arrive() -> None:
            if self.lab.reaches(source, self.host) and not self.host.hung:
                reply.finish(self.lab.now, value="" if value is None else value, failure=failure)

        self._pending.discard(reply)
        self.lab.kernel.after(self.lab.timing.call + self.lab.timing.latency, arrive)

    def _acts(self, method: Method) -> None:
        """The monitor's eye: two masters of one pool that both act."""
        if not self.is_master:
            return
        for host in self.lab.masters():
            rival = host.toolstack
            if rival is None or rival is self or rival.acted_at is None or host.name in self.rivals:
                continue
            self.rivals.add(host.name)
            rival.rivals.add(self.host.name)
            text = f"{method.name} on {self.host.name} while {host.name} acts as a master too"
            self.lab.world.record("two-masters", text, host=self.host.name)
        if len(self.lab.masters()) > 1:
            self.acted_at = self.lab.now

    # -- tasks -----------------------------------------------------------------------------------------------

    def _task_record(self, label: str, call: Call) -> dict[str, Any]:
        return {
            "uuid": self.lab.uuid(),
            "name_label": label,
            "created": date(self.lab.now),
            "status": "pending",
            "resident_on": call.me,
            "type": "<none/>",
            "allowed_operations": ["cancel"],
        }

    def _task(self, method: Method, call: Call, args: list[Any]) -> Steps:
        yield self.lab.timing.call
        try:
            result = method.handler(call, *args)
            if hasattr(result, "send"):
                result = yield from result
        except Failure as failure:
            cancelled = failure.code == "TASK_CANCELLED"
            yield from self._task_ends(
                call, status="cancelled" if cancelled else "failure", error_info=failure.description
            )
            return
        except Exception as error:
            text = f"{type(error).__name__}({error})"
            yield from self._task_ends(call, status="failure", error_info=["INTERNAL_ERROR", text])
            raise
        yield from self._task_ends(call, status="success", result=xml_value(result))

    def _task_ends(self, call: Call, **values: Any) -> Steps:
        db: Database = yield from self.database()
        record = db.find("task", call.task)
        if record is None:
            return
        db.update(
            "task",
            call.task,
            finished=date(self.lab.now),
            progress=1.0,
            allowed_operations=[],
            current_operations={},
            **values,
        )
        self.finished[call.task] = self.lab.now
        if call.task in self.doomed:
            db.delete("task", call.task)


def _raise(error: Exception, name: str) -> None:
    raise RuntimeError(f"the lab failed in {name}: {error!r}") from error
