"""One look at a pool: ask everybody, read what its master says, and what the looks and runs before left in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.core.armed import still_armed
from reconciler.core.buried import Buried, still_buried
from reconciler.core.copies import NOTHING, CopyMemory, cut_off, remembered
from reconciler.core.evidence import (
    Certificate,
    CertificateKind,
    Incident,
    LoginAnswer,
    Survey,
    Testimony,
)
from reconciler.core.limits import Pause
from reconciler.core.model import PoolState
from reconciler.core.moved import Moved, newly_moved, still_remembered
from reconciler.core.parked import Failing, still_failing
from reconciler.core.port import Fault, Port, Session, Sessions
from reconciler.core.stopped import Stopped, answering, newly_stopped, still_stopped
from reconciler.core.unfollowed import other_master
from reconciler.core.unsettled import Unsettled, still_unsettled, under_way
from reconciler.core.wanted import FenceDevice, Member, SecretRef, Wanted
from reconciler.core.words import address_host
from reconciler.state.folder import PoolFolder
from reconciler.survey import survey as ask_everybody
from reconciler.xapi import snapshot
from reconciler.xapi.read import read_pool
from reconciler.xapi.sessions import PoolSessions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """All that one look at a pool gave. `fault` is why its acting master could not be read."""

    at: float
    survey: Survey
    state: PoolState | None
    last_known: PoolState | None
    certificates: tuple[Certificate, ...]
    incident: Incident | None
    fault: Fault | None = None
    pauses: tuple[Pause, ...] = ()
    stops: tuple[Stopped, ...] = ()
    moves: tuple[Moved, ...] = ()
    realms: Mapping[str, PoolState] = field(default_factory=dict)
    """The pool as each of several masters tells it, by the master's name; without those that could not be read."""
    copies: CopyMemory = NOTHING
    unsettled: tuple[Unsettled, ...] = ()
    failing: tuple[Failing, ...] = ()
    buried: tuple[Buried, ...] = ()


@dataclass
class Looking:
    """How one run looks at its pool. All outside comes in: the port, the state folder, how secrets are resolved."""

    wanted: Wanted
    port: Port
    folder: PoolFolder
    resolve: Callable[[SecretRef], str]
    run: str
    sessions: Sessions = field(init=False)
    look: Look | None = field(default=None, init=False)
    unkept: Exception | None = field(default=None, init=False)
    """Why what the last look found can't be remembered, if it can't: a full disk, somebody else's folder."""
    _no_local: str = field(default="", init=False)
    """Why the last survey asked nobody with a local session."""
    _halted: set[str] = field(default_factory=set, init=False)
    """Uuids of VMs that this run itself stopped."""

    def __post_init__(self) -> None:
        """Make the rooms that need no network yet."""
        local = self.wanted.connection.local_account
        self.sessions = PoolSessions(
            self.port,
            self.wanted.connection.username,
            lambda: self.resolve(self.wanted.connection.password),
            run=self.run,
            local=(local.username, lambda: self.resolve(local.password)),
        )

    def survey(self) -> Survey:
        """Ask every witness about every member, and add what is remembered of them."""
        user = self.wanted.connection.username
        seen = ask_everybody(
            self.port,
            self.wanted.members,
            credentials=lambda: (user, self.resolve(self.wanted.connection.password)),
            local_credentials=self._local_credentials,
            fence_options=self._fence_options,
            known_lost=self._known_lost(),
            probe=self.wanted.probe_of,
            probe_deadline=self.wanted.policy.metadata.probe_timeout,
        )
        armed = {one.host: one.at for one in still_armed(self.wanted, self.folder.memory.armed(), seen)}
        told = (replace(t, armed_at=armed[t.name]) if t.name in armed else t for t in seen.testimonies)
        return replace(seen, testimonies=tuple(told)) if armed else seen

    def _local_credentials(self) -> tuple[str, str] | None:
        """Who opens local sessions; None where an account of its own is declared and its password can't be had here:
        whoever runs this may do everything but promote."""
        local = self.wanted.connection.local_account
        self._no_local = ""
        try:
            return local.username, self.resolve(local.password)
        except (OSError, LookupError, ValueError, RuntimeError) as error:
            if self.wanted.connection.local is None:
                raise
            self._no_local = f"connection.local.password can't be had: {error}"
            return None

    def _known_lost(self) -> frozenset[str]:
        """Members whose read hung in this run and whose master was fenced since: each such read holds a thread of a
        member's xapi until it has a master again, so it is asked once a run where that can be enough (design §2)."""
        if self.look is None:
            return frozenset()
        fenced = {
            address_host(c.address)
            for c in self.folder.certificates(now=self.port.now())
            if c.kind is CertificateKind.FENCED and c.pool == self.wanted.name
        }
        return frozenset(
            t.name
            for t in self.look.survey.testimonies
            if t.reaches_master is False and t.follows is not None and t.follows in fenced
        )

    def _fence_options(self, member: Member, device: FenceDevice) -> Mapping[str, str] | None:
        try:
            return {**device.options, **{name: self.resolve(ref) for name, ref in device.secrets.items()}}
        except (OSError, LookupError, ValueError, RuntimeError) as error:
            log.warning("%s of %s can't be asked: %s", device.agent, member.name, error)
            return None

    def observe(self) -> Look:
        """Survey everybody; where exactly one master of the right pool answers, read the pool and remember it.

        What can't be remembered is told (`unkept`) and spoils no look: who looks needs no disk, who acts does.
        """
        now = self.port.now()
        self.unkept = None
        incident = self.folder.incident()
        last_known = self.last_known()
        seen = self.survey()
        certificates = self.folder.certificates()  # those that have ended, too: it is told
        masters = [t for t in seen.testimonies if t.login is LoginAnswer.MASTER]
        state, fault = None, None
        expected = self.wanted.uuid or (last_known.pool.uuid if last_known else None)
        if len(masters) == 1 and expected in (None, masters[0].pool_uuid):
            try:
                state = self._read(masters[0].address)
            except Fault as error:
                fault = error
        realms = self._realms(masters, expected) if len(masters) > 1 else {}
        # What a master says whom nobody follows, while its members hang on another, may be of an earlier time.
        remember = other_master(self.wanted, seen) is None
        pauses = self.folder.memory.pauses(now=now)
        stops = self._stops(last_known, state, seen, remember=remember)
        unsettled = self._unsettled(state, seen, remember=remember)
        failing = self._failing(state, remember=remember)
        buried = self._buried(state, remember=remember)
        copies = self._copies(last_known, state, seen, remember=True)
        moves = self._moves(last_known, state, remember=remember)
        if remember and (held := self.folder.memory.armed()):
            left = still_armed(self.wanted, held, seen, state)
            with self._keeping():
                self.folder.memory.disarm([one.host for one in held if one not in left])
        self.look = Look(
            now,
            seen,
            state,
            last_known,
            certificates,
            incident,
            fault,
            pauses,
            stops,
            moves,
            realms,
            copies,
            unsettled,
            failing,
            buried,
        )
        if state is not None and remember:
            with self._keeping():
                snapshot.save(snapshot.Snapshot(self.wanted.name, now, seen, state), self.folder.last_known)
                self.folder.settle_owners()
        return self.look

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        try:
            yield
        except (OSError, snapshot.SnapshotError) as error:
            self.unkept = self.unkept or error

    def _stops(
        self, before: PoolState | None, state: PoolState | None, seen: Survey, *, remember: bool
    ) -> tuple[Stopped, ...]:
        """VMs that were found stopped while their host lives, now or by an earlier run."""
        memory = self.folder.memory
        held = memory.stops()
        if state is None:
            return held
        held = still_stopped(held, state, state.read_at)
        known = {s.uuid for s in held}
        if before is not None:
            fresh = newly_stopped(before, state, answering(seen), ours=self._halted)
            held += tuple(s for s in fresh if s.uuid not in known)
        if remember:
            with self._keeping():
                memory.keep_stops(held)
        return held

    def _copies(self, before: PoolState | None, state: PoolState | None, seen: Survey, *, remember: bool) -> CopyMemory:
        """What bounds the age of the members' copies of the database, with what this look adds."""
        memory = self.folder.copies
        if state is None or not remember:
            return memory.load()
        now = self.port.now()
        doubtful = other_master(self.wanted, seen) is not None
        try:
            if doubtful:
                return memory.change(lambda known: cut_off(known, before, seen, now))
            return memory.change(lambda known: remembered(known, before, state, seen, now))
        except OSError as error:
            log.warning("what changed in the pool can't be remembered: %s", error)
            return memory.load()

    def _unsettled(self, state: PoolState | None, seen: Survey, *, remember: bool) -> tuple[Unsettled, ...]:
        """Starts and migrations, whosever, whose end neither an earlier run nor this look saw."""
        held = self.folder.memory.unsettled()
        if state is None:
            return held
        heard = (t for t in seen.testimonies if t.login is LoginAnswer.MASTER or t.reaches_master)
        left = still_unsettled(held, state, {address_host(t.address) for t in heard})
        known = {(u.uuid, u.host_uuid) for u in left}
        fresh = tuple(u for u in under_way(state, self.run) if (u.uuid, u.host_uuid) not in known)
        if remember:
            with self._keeping():
                self.folder.memory.end([u for u in held if u not in left])
                for one in fresh:
                    self.folder.memory.begin(one)
        return left + fresh

    def _failing(self, state: PoolState | None, *, remember: bool) -> tuple[Failing, ...]:
        """What failed in the runs before and is not settled by this look."""
        held = self.folder.memory.failing()
        if state is None:
            return held
        left = still_failing(held, state)
        if remember:
            with self._keeping():
                self.folder.memory.keep_failing(left)
        return left

    def _buried(self, state: PoolState | None, *, remember: bool) -> tuple[Buried, ...]:
        """VMs of hosts that were declared dead and have not told since what they run."""
        held = self.folder.memory.buried()
        if state is None:
            return held
        left = still_buried(held, state)
        if remember:
            with self._keeping():
                self.folder.memory.exhume([b for b in held if b not in left])
        return left

    def _moves(self, before: PoolState | None, state: PoolState | None, *, remember: bool) -> tuple[Moved, ...]:
        """VMs that were found on another host than before, now or by an earlier run, ours or anybody's."""
        memory = self.folder.memory
        held = memory.moves()
        if state is None:
            return held
        fresh = newly_moved(before, state) if before is not None else ()
        held = still_remembered(held, fresh, state.read_at)
        if remember:
            with self._keeping():
                memory.keep_moves(held)
        return held

    def _read(self, address: str) -> PoolState:
        session = self.sessions.login(address)
        try:
            return self._read_with(session)
        finally:
            session.close()

    def _read_with(self, session: Session) -> PoolState:
        return read_pool(session, now=self.port.now())

    def _realms(self, masters: Iterable[Testimony], expected: str | None) -> dict[str, PoolState]:
        """What each of several masters of our pool has in its own database."""
        found = {}
        for t in masters:
            if t.pool_uuid is None or expected not in (None, t.pool_uuid):
                continue
            try:
                found[t.name] = self._read(t.address)
            except Fault as error:
                log.warning("the database of %s could not be read: %s", t.name, error)
        return found

    def last_known(self) -> PoolState | None:
        """The pool as it was last read from this machine."""
        path = Path(self.folder.last_known)
        if not path.exists():
            return None
        try:
            return snapshot.load(path).state
        except snapshot.SnapshotError as error:
            log.warning("the last known pool can't be used: %s", error)
            return None
