"""The whole program on two screens: survey -> observe -> judge -> plan -> apply -> prove. The only joiner of rooms."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from reconciler.core.diagnose import diagnose
from reconciler.core.draft import fence_command
from reconciler.core.evidence import (
    BmcPower,
    Certificate,
    CertificateKind,
    LoginAnswer,
    Verdict,
)
from reconciler.core.expected import learnt
from reconciler.core.guard import ceiling, counts, hold_back, upkeep_once
from reconciler.core.judge import uuid_of
from reconciler.core.lease import Lease
from reconciler.core.parked import noted
from reconciler.core.plan import Done, Outcome, Plan, Result, Verb
from reconciler.core.port import Fault
from reconciler.core.wanted import Member
from reconciler.core.words import elsewhere
from reconciler.execute.desk import Desk
from reconciler.execute.faults import sentence
from reconciler.execute.lease import LeaseBusy, PoolLease, acting, read_leases, remove_leases, servertime
from reconciler.execute.needs import Event, Progress
from reconciler.execute.run import Executor
from reconciler.execute.strike import FRESH
from reconciler.fencing.fence import Fencer
from reconciler.looking import Look
from reconciler.planning import Planning
from reconciler.state.journal import Journal
from reconciler.xapi.sessions import version
from reconciler.xapi.tasks import XapiTasks

__all__ = ["Approval", "Event", "Look", "Progress", "Reconciler"]

log = logging.getLogger(__name__)

MOST_ROUNDS = 12
"""Stages performed in one run; each is planned anew from what was read after the one before."""

_HOST_VERBS = (Verb.FENCE, Verb.DECLARE_DEAD)


@dataclass
class Approval:
    """What may be done: everything that levels allow, or no more than an approved plan (`ceiling`) names.

    `ask` is called with a plan that goes beyond the approved one; without it what lies beyond is withheld.
    """

    approved: Plan | None = None
    ask: Callable[[Plan], bool] | None = None


@dataclass
class Reconciler(Planning):
    """One pool, one run: looks (Looking), plans (Planning), and performs what was planned."""

    progress: Progress = lambda event: None
    pid: int = 0
    fencer: Fencer = field(init=False)
    _last: Executor | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Make the rooms that need no network yet."""
        super().__post_init__()
        self.fencer = Fencer(self.port, self.resolve)

    def apply(self, plan: Plan, approval: Approval) -> Outcome:
        """Perform the plan stage by stage, each planned anew from what is read, and prove the end by a last look.

        The caller holds the pool's lock; the pool's lease is taken here, before the first write on an acting master.
        Raises LeaseBusy, or XAPI's refusal of that first write, when nothing was done; so it does where what was found
        can't be remembered. Once something was done a full disk ends the run, and what was done is told. A
        KeyboardInterrupt ends with what is journaled and is raised again.
        """
        if self.unkept is not None:
            raise self.unkept
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
                    stopped = sentence(trouble)
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
                if self.unkept is not None:
                    stopped = f"what was found can't be remembered: {self.unkept}"
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
                unrecorded = self._close(journal, done, final=str(current.status), stopped=stopped, posted=posted)
        return replace(outcome, stopped=outcome.stopped or unrecorded)

    def _close(self, journal: Journal, done: Sequence[Done], **end: object) -> str:
        """The journal's last line; why it can't be written, for what was done must be told all the same."""
        results = dict(Counter(str(d.result) for d in done))
        try:
            journal.write("run-end", at=self.port.now(), results=results, **end)
        except OSError as error:
            return f"the end of the run can't be recorded: {error}"
        finally:
            journal.close()
        return ""

    def again(self, plan: Plan, approval: Approval) -> Plan:
        """An approved plan right before it is performed: as it is while it is of this minute, else made anew, within
        what was approved. While a person read it others may have done what it was for, or the contrary."""
        while not 0.0 <= self.port.now() - plan.made_at <= FRESH:
            plan = self._next(approval, ())
        return plan

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
            kills_now=self.kills_now,
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

    def _remember_failures(self, done: Sequence[Done]) -> None:
        """For later runs, and how long things took. A run that can't write it down has still done what it did."""
        memory = self.folder.memory
        try:
            self.folder.durations.keep(learnt(self.folder.durations.load(), done))
            memory.keep_failing(noted(memory.failing(), done, run=self.run, at=self.port.now()))
        except OSError as error:
            log.warning("what failed can't be remembered: %s", error)

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
        desk = self._desk()
        if desk is None:
            return ()
        try:
            return remove_leases(desk)
        finally:
            desk.close()

    def held_leases(self) -> tuple[tuple[Lease, ...], float, str] | None:
        """Every lease in the pool as last observed, the time by the clock that they count in, its master's (UTC
        seconds), and the master's ref; None where no master can be asked. Raises as drop_leases, and writes nothing."""
        desk = self._desk()
        if desk is None:
            return None
        try:
            held, master = read_leases(desk), acting(desk)
            return held, servertime(desk, self.port.now(), master), master
        finally:
            desk.close()

    def _desk(self) -> Desk | None:
        """The acting master's, as last observed; None where there is none that could be read."""
        address = self._master()
        if address is None or self.look is None or self.look.state is None:
            return None
        timeout = self.wanted.policy.limits.call_timeout
        uuid = self.look.state.pool.uuid
        return Desk(self.sessions, lambda session: XapiTasks(self.port, session), address, uuid, timeout)

    def attest(self, host: str, *, by: str, reason: str, lifetime: float) -> Certificate | str:
        """A person's word that a host is dead, recorded; or why it is not taken: the host shows a sign of life."""
        member = self.wanted.member(host)
        if member is None:
            return f"{host} is not declared under spec.members"
        look = self.observe()
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
        """Why nobody's word is taken: its BMC says on, or it was asked at a wrong address; "" where it is."""
        t, uuid = look.survey.of(member.name), uuid_of(member, look.state)
        for host in look.state.hosts.values() if look.state is not None else ():
            if host.uuid == uuid and elsewhere(member.address, host.address):
                return (
                    f"{member.name} was asked at {member.address}, and the pool has it at {host.address}: correct its "
                    "address under spec.members"
                )
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
