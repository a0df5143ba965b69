"""The whole program on two screens: survey -> observe -> judge -> plan -> apply -> prove. The only joiner of rooms."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.core.buried import Buried, still_buried
from reconciler.core.checker import check_plan
from reconciler.core.copies import NOTHING, CopyMemory, remembered
from reconciler.core.diagnose import diagnose
from reconciler.core.draft import fence_command
from reconciler.core.drill import Drill, drill
from reconciler.core.drill_news import News, acknowledge, news
from reconciler.core.evidence import (
    BmcPower,
    Certificate,
    CertificateKind,
    Incident,
    LoginAnswer,
    Situation,
    Survey,
    Testimony,
    Verdict,
)
from reconciler.core.expected import expected, learnt
from reconciler.core.guard import ATTENDED, Allowance, ceiling, counts, hold_back, upkeep_once
from reconciler.core.judge import uuid_of
from reconciler.core.lease import Lease, leases
from reconciler.core.limits import Pause, freeze_of
from reconciler.core.model import PoolState
from reconciler.core.moved import Moved, newly_moved, still_remembered
from reconciler.core.obligations import standing
from reconciler.core.parked import Failing, noted, parked, still_failing, unpark_command
from reconciler.core.plan import Done, Outcome, Plan, Result, Verb
from reconciler.core.planner import make_plan
from reconciler.core.port import Fault, Port, Session, Sessions
from reconciler.core.stopped import Stopped, answering, newly_stopped, still_stopped
from reconciler.core.unsettled import Unsettled, still_unsettled, under_way
from reconciler.core.wanted import FenceDevice, Member, SecretRef, Wanted
from reconciler.core.words import address_host, utc
from reconciler.execute.desk import Desk
from reconciler.execute.lease import LeaseBusy, PoolLease, remove_leases
from reconciler.execute.needs import Event, Progress
from reconciler.execute.run import Executor
from reconciler.fencing.fence import Fencer
from reconciler.state.folder import PoolFolder
from reconciler.state.journal import Journal
from reconciler.survey import survey as ask_everybody
from reconciler.xapi import snapshot
from reconciler.xapi.read import read_pool
from reconciler.xapi.sessions import PoolSessions, version
from reconciler.xapi.tasks import XapiTasks

__all__ = ["Approval", "Event", "Look", "Progress", "Reconciler"]

log = logging.getLogger(__name__)

MOST_ROUNDS = 12
"""Stages performed in one run; each is planned anew from what was read after the one before."""

_HOST_VERBS = (Verb.FENCE, Verb.DECLARE_DEAD)


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
class Approval:
    """What may be done: everything that levels allow, or no more than an approved plan (`ceiling`) names.

    `ask` is called with a plan that goes beyond the approved one; without it what lies beyond is withheld.
    """

    approved: Plan | None = None
    ask: Callable[[Plan], bool] | None = None


@dataclass
class Reconciler:
    """One pool, one run. Everything outside comes in: the port, the state folder, how secrets are resolved."""

    wanted: Wanted
    port: Port
    folder: PoolFolder
    resolve: Callable[[SecretRef], str]
    run: str
    allowance: Allowance = ATTENDED
    failback: bool = False
    progress: Progress = lambda event: None
    by: str = "somebody"
    """Who runs it, as user@host: for the lease and the journal."""
    pid: int = 0
    sessions: Sessions = field(init=False)
    fencer: Fencer = field(init=False)
    look: Look | None = field(default=None, init=False)
    _last: Executor | None = field(default=None, init=False)
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
        self.fencer = Fencer(self.port, self.resolve)

    def survey(self) -> Survey:
        """Ask every witness about every member."""
        user = self.wanted.connection.username
        return ask_everybody(
            self.port,
            self.wanted.members,
            credentials=lambda: (user, self.resolve(self.wanted.connection.password)),
            local_credentials=self._local_credentials,
            fence_options=self._fence_options,
            known_lost=self._known_lost(),
            probe=self.wanted.probe_of,
            probe_deadline=self.wanted.policy.metadata.probe_timeout,
        )

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

    def observe(self, *, remember: bool = True) -> Look:
        """Survey everybody; where exactly one master of the right pool answers, read the pool and remember it."""
        now = self.port.now()
        incident = self.folder.incident()
        last_known = self.last_known()
        seen = self.survey()
        certificates = self.folder.certificates(now=now)
        masters = [t for t in seen.testimonies if t.login is LoginAnswer.MASTER]
        state, fault = None, None
        expected = self.wanted.uuid or (last_known.pool.uuid if last_known else None)
        if len(masters) == 1 and expected in (None, masters[0].pool_uuid):
            try:
                state = self._read(masters[0].address)
            except Fault as error:
                fault = error
        realms = self._realms(masters, expected) if len(masters) > 1 else {}
        pauses = self.folder.memory.pauses(now=now)
        stops = self._stops(last_known, state, seen, remember=remember)
        unsettled = self._unsettled(state, seen, remember=remember)
        failing = self._failing(state, remember=remember)
        buried = self._buried(state, remember=remember)
        copies = self._copies(last_known, state, seen, remember=remember)
        moves = self._moves(last_known, state, remember=remember)
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
            snapshot.save(snapshot.Snapshot(self.wanted.name, now, seen, state), self.folder.last_known)
        return self.look

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
            memory.keep_stops(held)
        return held

    def _copies(self, before: PoolState | None, state: PoolState | None, seen: Survey, *, remember: bool) -> CopyMemory:
        """What bounds the age of the members' copies of the database, with what this look adds."""
        memory = self.folder.copies
        if state is None or not remember:
            return memory.load()
        now = self.port.now()
        try:
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
            self.folder.memory.keep_failing(left)
        return left

    def _earlier(self, look: Look) -> tuple[Failing, ...]:
        """What failed before this run, which says itself what failed in it."""
        return tuple(one for one in look.failing if one.run != self.run)

    def _remember_failures(self, done: Sequence[Done]) -> None:
        """For later runs, and how long things took. A run that can't write it down has still done what it did."""
        memory = self.folder.memory
        try:
            self.folder.durations.keep(learnt(self.folder.durations.load(), done))
            memory.keep_failing(noted(memory.failing(), done, run=self.run, at=self.port.now()))
        except OSError as error:
            log.warning("what failed can't be remembered: %s", error)

    def _buried(self, state: PoolState | None, *, remember: bool) -> tuple[Buried, ...]:
        """VMs of hosts that were declared dead and have not told since what they run."""
        held = self.folder.memory.buried()
        if state is None:
            return held
        left = still_buried(held, state)
        if remember:
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

    def plan(self) -> Plan:
        """Observe, judge and plan; nothing is written to the pool."""
        return self.plan_of(self.observe())

    def plan_of(self, look: Look) -> Plan:
        """The plan for one look."""
        plan = make_plan(
            self.wanted,
            look.survey,
            now=self.port.now(),
            state=look.state,
            last_known=look.last_known,
            certificates=look.certificates,
            incident=look.incident,
            allowance=replace(
                self.allowance,
                pauses=look.pauses,
                stops=look.stops,
                moves=look.moves,
                failing=self._earlier(look),
            ),
            failback=self.failback,
            obligations=self.folder.memory.obligations(),
            realms=look.realms,
            memory=look.copies,
            unsettled=look.unsettled,
            buried=look.buried,
        )
        for judged in plan.diagnosis.members:
            if judged.voided is not None:
                self._void(judged.voided, judged.why)
        if look.fault is not None:
            why = f"its acting master could not be read: {look.fault}"
            plan = replace(plan, diagnosis=replace(plan.diagnosis, why=f"{plan.diagnosis.why}; {why}"))
        busy = (f"another run works on this pool: {one}" for one in self._busy(look))
        reminders = (*self._reminders(look, plan), *busy)
        missing = (self._no_local,) if self._no_local else ()
        plan = replace(plan, notes=(*plan.notes, *missing, *reminders), reminders=reminders)
        if not plan.actions:
            return plan
        took = self.folder.durations.load()
        seconds, chain = expected(plan, self.wanted.policy.limits, took, look.state or look.last_known)
        return replace(plan, expected=seconds, critical=tuple(a.id for a in chain))

    def drilled(self, look: Look, plan: Plan, *, depth: int = 0, taken: bool = False) -> tuple[Drill, News] | None:
        """What the loss of hosts would mean, of one and of sets up to `depth` or policy.placement.reserve, and what of
        that is news since the last drill; None without a pool that one master manages.

        What was found is remembered; `taken`: a person takes note of all of it.
        """
        if look.state is None or plan.diagnosis.situation is not Situation.MANAGED:
            return None
        most = max(1, depth, self.wanted.policy.reserve)
        found = drill(self.wanted, look.survey, plan.diagnosis, look.state, depth=most)
        memory = self.folder.memory
        told = news(found, memory.findings(), [m.name for m in self.wanted.members], now=look.at)
        after = acknowledge(told, self.by) if taken else told
        try:
            memory.keep_findings(after.remembered)
        except OSError as error:
            log.warning("what the drill found can't be remembered: %s", error)
        return found, told

    def _busy(self, look: Look) -> list[Lease]:
        """Leases of other runs that live: on this machine, only of the one that holds the file lock."""
        held = leases(look.state.pool.other_config) if look.state is not None else ()
        others = [one for one in held if one.live(self.port.now()) and one.run != self.run]
        if not others:
            return []
        here, mine = self.folder.holder(), self.folder.machine_if_known()
        return [one for one in others if one.machine != mine or (here is not None and here.run == one.run)]

    def _reminders(self, look: Look, plan: Plan) -> tuple[str, ...]:
        """What must not be forgotten across runs: obligations that are still open (those that are met are settled
        here), pauses and the freeze window that holds."""
        told = []
        for one in self.folder.memory.obligations():
            found = standing(one, self.wanted, look.survey, plan.diagnosis, look.state)
            if found.settled:
                try:
                    self.folder.memory.settle(one, found.settled, at=self.port.now())
                except OSError as error:
                    log.warning("%s, but that can't be recorded: %s", found.settled, error)
            else:
                told.append(found.words)
        told += [str(pause) for pause in look.pauses]
        for fails in parked(look.failing, self.wanted):
            told.append(f"{fails.name} is parked for unattended runs: {fails.words}. To let them try it again: ")
            told[-1] += unpark_command(self.wanted, fails.name)
        if frozen := freeze_of(self.wanted.policy.freeze, self.port.now()):
            window, end = frozen
            told.append(f"policy.freeze allows {window.level.word} at most until {utc(end)}: {window.reason}")
        return tuple(told)

    def broken(self, plan: Plan, certificates: Iterable[Certificate]) -> tuple[str, ...]:
        """What the independent checker finds wrong with a plan, on the pool as last observed; () for a plan that may be
        performed. `certificates` are the proofs of death that hold."""
        assert self.look is not None
        return check_plan(
            plan,
            self.wanted,
            self.look.survey,
            self.look.state,
            certificates=certificates,
            now=self.port.now(),
            limit=self.allowance.level(self.wanted),
            spent=self.allowance.spent,
            realms=self.look.realms,
            yields=self.allowance.yields,
        )

    def _void(self, certificate: Certificate, why: str) -> None:
        """A sign of life ends a certificate for good: it must not come back when the host goes quiet."""
        try:
            self.folder.void_certificate(certificate, why)
        except OSError as error:
            log.warning("the certificate of %s is void, but that can't be recorded: %s", certificate.host, error)

    def apply(self, plan: Plan, approval: Approval) -> Outcome:
        """Perform the plan stage by stage, each planned anew from what is read, and prove the end by a last look.

        The caller holds the pool's lock; the pool's lease is taken here, before the first write on an acting master.
        Raises LeaseBusy, or XAPI's refusal of that first write, when nothing was done. A KeyboardInterrupt ends with
        what is journaled and is raised again.
        """
        started = self.port.now()
        self.folder.prepare()
        journal = self._open_journal(plan, started)
        tell = _Told(started, self.progress)
        done: list[Done] = []
        stopped = ""
        current = plan
        posted = False
        lease = self._lease(journal)
        try:
            for _ in range(MOST_ROUNDS):
                stage = next((s for s in current.stages if not s.forecast and s.actions), None)
                if stage is None:
                    break
                if broken := self.broken(current, current.certificates):
                    stopped = f"the plan breaks a rule, so nothing of it was done: {'; '.join(broken)}"
                    break
                executor = self._executor(journal, current, tell, lease)
                self._last = executor
                try:
                    results = executor.run_stage(stage, master=self._master())
                except (LeaseBusy, Fault) as trouble:
                    stopped = str(trouble)
                    if not done:
                        raise
                    break
                done.extend(results)
                self._spend(results)
                tell(Event(self.port.now(), None, "looking at the pool again"))
                current = self._next(approval, done)
                if executor.stopped != executor.restarted:  # a restart alone ends a stage, not the run
                    stopped = executor.stopped
                    break
            else:
                stopped = f"it did not come to rest within {MOST_ROUNDS} rounds"
            ended = self.port.now()
            outcome = Outcome(
                self.run, tuple(done), current, started, ended, tuple(tell.timeline), stopped, tuple(tell.milestones)
            )
            posted = lease.held and self._post(outcome)
        finally:
            try:
                if self._last is not None:
                    self._last.release()
            finally:
                results_by_name = dict(Counter(str(d.result) for d in done))
                final = str(current.status)
                journal.write(
                    "run-end", at=self.port.now(), results=results_by_name, final=final, stopped=stopped, posted=posted
                )
                journal.close()
        return outcome

    def _next(self, approval: Approval, done: Iterable[Done]) -> Plan:
        """Look and plan again, within what was approved and without what failed in this run."""
        fresh = self.plan_of(self.observe())
        done = tuple(done)
        fresh = upkeep_once(hold_back(fresh, _failures(done)), done)
        if approval.approved is None:
            return fresh
        limited = ceiling(fresh, approval.approved)
        if len(limited.actions) < len(fresh.actions) and approval.ask is not None and approval.ask(fresh):
            approval.approved = fresh
            return fresh
        return limited

    def _executor(self, journal: Journal, plan: Plan, tell: Progress, lease: PoolLease | None = None) -> Executor:
        return Executor(
            port=self.port,
            sessions=self.sessions,
            wanted=self.wanted,
            journal=journal,
            store=self.folder,
            fencer=self.fencer,
            tasks_for=lambda session: XapiTasks(self.port, session),
            survey=self.survey,
            read=self._read_with,
            yields=self.allowance.yields,
            progress=tell,
            run_id=self.run,
            plan=plan,
            lease=lease,
        )

    def _open_journal(self, plan: Plan, started: float) -> Journal:
        """The run's journal, with its first line: who, from what, on what proof."""
        self.folder.prune()
        journal = self.folder.journal(self.run)
        journal.write(
            "run",
            run=self.run,
            at=started,
            by=self.by,
            pid=self.pid,
            version=version(),
            pool=self.wanted.name,
            pool_uuid=plan.pool_uuid,
            source=self.wanted.source,
            digest=self.wanted.digest,
            commit=self.wanted.commit,
            fingerprint=plan.fingerprint,
            attended=self.allowance.attended,
            certificates=plan.certificates,
        )
        return journal

    def _lease(self, journal: Journal) -> PoolLease:
        """The lease of this run, not yet taken."""
        return PoolLease(
            self.port,
            machine=self.folder.machine(),
            run=self.run,
            by=self.by,
            pid=self.pid,
            told=lambda what, held: journal.write("lease", at=self.port.now(), what=what, key=held.key),
        )

    def _master(self) -> str | None:
        if self.look is None:
            return None
        masters = [t.address for t in self.look.survey.testimonies if t.login is LoginAnswer.MASTER]
        return masters[0] if len(masters) == 1 else None

    def _spend(self, results: Iterable[Done]) -> None:
        """Hosts dealt with count against policy.brake.maxHostsPerRun for the rest of the run, whatever was tried
        against --max-actions; VMs that were stopped here were not stopped by somebody else. What failed is remembered.
        """
        results = tuple(results)
        self._remember_failures(results)
        tried = [d for d in results if d.result is not Result.SKIPPED]
        struck = {d.action.target.name for d in tried if d.action.verb in _HOST_VERBS}
        used = sum(counts(d.action) for d in tried if d.result not in (Result.ALREADY, Result.REFUSED))
        self._halted |= {d.action.target.uuid for d in tried if d.action.verb is Verb.SHUTDOWN}
        self.allowance = replace(self.allowance, spent=self.allowance.spent | struck, used=self.allowance.used + used)

    def _post(self, outcome: Outcome) -> bool:
        """A message in the pool, so that XenCenter and Xen Orchestra show what was done; only where something was."""
        changed = [d for d in outcome.done if d.result is Result.DONE and d.action.verb not in _SILENT_VERBS]
        if not changed or self._last is None or self._last.master is None:
            return False
        lines = [f"xenrec run {self.run}" + (f", commit {self.wanted.commit}" if self.wanted.commit else "")]
        lines += [f"{d.action.verb} {d.action.target.name}" + (f": {d.why}" if d.why else "") for d in changed[:100]]
        if outcome.final is not None and (left := len(outcome.final.withheld) + len(outcome.final.unmet)):
            lines.append(f"left undone: {left}; xenrec plan says what and why")
        return self._last.post_message("\n".join(lines))

    def drop_leases(self) -> tuple[Lease, ...]:
        """Remove every lease from the pool as last observed, whosever it is: those removed. A person's decision.

        Raises MasterLost, LostReply, or XapiFailure. The caller holds the pool's lock.
        """
        address = self._master()
        if address is None:
            return ()
        uuid = self.look.state.pool.uuid if self.look is not None and self.look.state is not None else ""
        timeout = self.wanted.policy.limits.call_timeout
        desk = Desk(self.sessions, lambda session: XapiTasks(self.port, session), address, uuid, timeout)
        try:
            return remove_leases(desk)
        finally:
            desk.close()

    def attest(self, host: str, *, by: str, reason: str, lifetime: float) -> Certificate | str:
        """A person's word that a host is dead, recorded; or why it is not taken: the host shows a sign of life."""
        member = self.wanted.member(host)
        if member is None:
            return f"{host} is not declared under spec.members"
        look = self.observe(remember=False)
        diagnosis = diagnose(
            self.wanted, look.survey, (), now=look.at, known=look.state or look.last_known, incident=look.incident
        )
        judged = diagnosis.of(host)
        assert judged is not None
        if judged.verdict in (Verdict.ALIVE, Verdict.SUSPECT):
            return f"{host} is not dead: {judged.why}"
        if powered := self.powered(member, look):
            return powered
        return self.record_attestation(member, look, by=by, reason=reason, lifetime=lifetime)

    def powered(self, member: Member, look: Look) -> str:
        """Why nobody's word is taken against its BMC, which says that power is on; "" where it doesn't."""
        t = look.survey.of(member.name)
        if t is None or t.bmc is not BmcPower.ON:
            return ""
        return f"{member.name} is not dead: its BMC says that power is on: {fence_command(self.wanted, member.name)}"

    def record_attestation(self, member: Member, look: Look, *, by: str, reason: str, lifetime: float) -> Certificate:
        """Write the certificate down; lifetime in seconds."""
        now = self.port.now()
        certificate = Certificate(
            CertificateKind.ATTESTED,
            self.wanted.name,
            member.name,
            member.address,
            uuid_of(member, look.state or look.last_known),
            by,
            reason,
            now,
            now + lifetime,
        )
        self.folder.prepare()
        self.folder.add_certificate(certificate)
        return certificate


@dataclass
class _Told:
    """What happened in a run, as it is passed on: (seconds since `started`, what)."""

    started: float
    progress: Progress
    timeline: list[tuple[float, str]] = field(default_factory=list)
    milestones: list[tuple[float, str]] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        told = (round(event.at - self.started, 3), event.what)
        self.timeline.append(told)
        if event.milestone:
            self.milestones.append(told)
        self.progress(event)


_SILENT_VERBS = (Verb.AWAIT_MASTER, Verb.AWAIT_MEMBERS, Verb.SYNC_DATABASE)


def _failures(done: Iterable[Done]) -> dict[str, Done]:
    """The last result of each action that did not succeed in this run."""
    last: dict[str, Done] = {}
    for one in done:
        last[one.action.id] = one
    bad = (Result.FAILED, Result.REFUSED, Result.UNKNOWN)
    return {key: one for key, one in last.items() if one.result in bad}
