"""One run of xapi on one host: what it holds in memory and how it ends. How it starts: boot.py; its calls: desk.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from reconciler.lab import boot
from reconciler.lab.database import Database
from reconciler.lab.desk import Desk
from reconciler.lab.errors import Failure
from reconciler.lab.kernel import Process, Steps
from reconciler.lab.schema import NULL
from reconciler.lab.timing import Release

if TYPE_CHECKING:
    from reconciler.lab.engine import Lab
    from reconciler.lab.hosts import LabHost


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
    role: str | None = None
    """What it may do, as it was at the login; None: everything, as local root."""
    subject: str = NULL
    sid: str = ""


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
        """It has finished starting, and enables itself unless somebody wants it disabled."""
        self.user_disabled = False
        """Somebody told it to be disabled (xapi_host_helpers.ml:user_requested_host_disable)."""
        self.db: Database | None = None
        self.sessions: dict[str, SessionInfo] = {}
        self.local_sessions: set[str] = set()
        self.connected: Toolstack | None = None
        """The master's run that this member has said hello to."""
        self.last_heard: dict[str, float] = {}
        self.waiting_since: float | None = None
        """When a member that starts began to wait for its master's database."""
        self.repointed = False
        """Told to follow another master, which it will do when it starts again."""
        self.disarmed = False
        """The pool's HA is on, and it found itself disarmed when it started."""
        self.proposed: str | None = None
        self.pool_operation: str | None = None
        self._processes: set[Process] = set()
        self.desk = Desk(self)
        self._flush_slot = -1

    # -- who it is -------------------------------------------------------------------------------------------

    @property
    def is_master(self) -> bool:
        """It acts as a master."""
        return self.role == "master"

    @property
    def enables_itself(self) -> bool:
        """Nobody wants it disabled (xapi_host_helpers.ml:consider_enabling_host)."""
        return not self.user_disabled and self.host.auto_enable

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
        process = self.lab.kernel.spawn(self._guarded(steps, name), name, self.pace)
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

    def pace(self) -> float:
        """How many times as long as usual everything takes here."""
        return self.host.slow

    @property
    def wall(self) -> float:
        """What the clock on this host's wall says, in UTC seconds: what it writes into records and answers."""
        return self.lab.now + self.lab.world.boxes[self.host.name].skew

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
        self.desk.hang_up(told=True)
        if self.host.toolstack is self:
            self.host.toolstack = None
            if restart and self.host.wanted:
                self.lab.kernel.after(self.lab.timing.supervisor, lambda: self._restarted(self.host))
        self.lab.changed()

    def _restarted(self, host: LabHost) -> None:
        if host.up and host.wanted and host.toolstack is None:
            self.lab.start_toolstack(host.name)

    def pull_the_plug(self) -> None:
        """Power is gone: what was not flushed is lost, and nobody is told."""
        if self.db is not None and self._slot() > self._flush_slot:
            self.host.disk = self.db.snapshot(self.lab.now)
        self._end()
        self.desk.hang_up(told=False)

    def freeze(self) -> None:
        """Accepts connections and never does anything again."""
        self.frozen = True
        for process in list(self._processes):
            process.kill()
        self._processes.clear()

    def light_fuse(self, saving: float) -> None:
        """Restart after the fuse: until then the old role goes on answering (sheet §1.1). `saving`: seconds that
        saving RRDs takes, for which the call that lights it waits."""
        timing = self.lab.timing
        wait = saving + max(timing.fuse_min, timing.fuse - saving)
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

    def pool_run(self) -> Toolstack | None:
        """The run of the master in whose database it looks for sessions: itself, if it is one."""
        return self if self.is_master else self.master_run()

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

    def assert_known(self) -> None:
        """Raises UUID_INVALID [host; uuid] when the database has forgotten this host (recording 16)."""
        db = self.db_now()
        if db is not None and self.me(db) == NULL:
            raise Failure("UUID_INVALID", "host", self.host.uuid)

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
        """What it answers to ordinary calls in emergency mode: it alternates (sheet §1.2). What its handshake is told
        is its own error from then on: a running member says whom *it* follows, one in emergency mode what its own gate
        says (xapi.ml:attempt_pool_hello)."""
        if self.role == "broken":
            return Failure("HOST_BROKEN")
        if self.disarmed:
            return Failure("HA_POOL_IS_ENABLED_BUT_HOST_IS_DISABLED")
        retry = self.lab.timing.handshake_retry
        if self.lab.release is Release.V24_16 or int(self.lab.now / retry) % 2 == 0:
            return Failure("HOST_STILL_BOOTING")
        at, passed = self, {self.host.address}
        while True:
            if at.master_address == at.host.address:
                return Failure("HOST_ITS_OWN_SLAVE")
            master = self.lab.at(at.master_address)
            run = master.toolstack if master is not None and self.lab.reaches(at.host.name, master) else None
            if run is not None and run.api_up and run.role == "broken":
                return Failure("HOST_BROKEN")
            if run is None or not run.api_up or run.is_master:
                return Failure("INTERNAL_ERROR", 'Unix.Unix_error(Unix.EHOSTUNREACH, "connect", "")')
            if not run.emergency:
                return Failure("HOST_IS_SLAVE", run.master_address)
            if run.host.address in passed:
                return Failure("HOST_STILL_BOOTING")
            passed.add(run.host.address)
            at = run


def _raise(error: Exception, name: str) -> None:
    raise RuntimeError(f"the lab failed in {name}: {error!r}") from error
