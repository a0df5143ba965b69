"""From a look to a plan: judged, planned, held back, and told with what must not be forgotten across runs."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

from reconciler.core.checker import check_plan
from reconciler.core.drill import drill
from reconciler.core.drill_cases import Drill
from reconciler.core.drill_news import News, acknowledge, news
from reconciler.core.evidence import (
    Certificate,
    Diagnosis,
    Situation,
    Survey,
)
from reconciler.core.expected import expected
from reconciler.core.fates import Doomed
from reconciler.core.guard import ATTENDED, Allowance
from reconciler.core.lease import Lease, leases
from reconciler.core.limits import freeze_of
from reconciler.core.obligations import promotion_is_over, standing
from reconciler.core.parked import Failing, parked, unpark_command
from reconciler.core.place.ask import Solver
from reconciler.core.plan import Plan
from reconciler.core.planner import make_plan
from reconciler.core.succession import option_of
from reconciler.core.words import utc
from reconciler.execute.faults import sentence
from reconciler.looking import Look, Looking

log = logging.getLogger(__name__)


@dataclass
class Planning(Looking):
    """How one run plans. `allowance` says what it may do, `failback` that the declared master gets its office back."""

    allowance: Allowance = ATTENDED
    failback: bool = False
    by: str = "somebody"
    """Who runs it, as user@host: for the lease and the journal."""
    solver: Solver | None = None
    """Asked where VMs go in a pool too big to look at everything."""

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
            handover=self.folder.handover(),
            realms=look.realms,
            memory=look.copies,
            unsettled=look.unsettled,
            buried=look.buried,
            solver=self.solver,
        )
        for judged in plan.diagnosis.members:
            for certificate in judged.voided:
                self._void(certificate, judged.why)
        self._forget_promotion(look, plan.diagnosis)
        if look.fault is not None:
            why = f"its acting master could not be read: {sentence(look.fault)}"
            plan = replace(plan, diagnosis=replace(plan.diagnosis, why=f"{plan.diagnosis.why}; {why}"))
        busy = (f"another run works on this pool: {one}" for one in self._busy(look))
        reminders = (*self._reminders(look, plan), *busy)
        missing = [self._no_local] if self._no_local else []
        if self.unkept is not None:
            missing.append(f"what was found can't be remembered, and while that is so nothing is done: {self.unkept}")
        plan = replace(plan, notes=(*plan.notes, *missing, *reminders), reminders=reminders)
        if not plan.actions:
            return plan
        took = self.folder.durations.load()
        seconds, chain = expected(plan, self.wanted.policy.limits, took, look.state or look.last_known)
        return replace(plan, expected=seconds, critical=tuple(a.id for a in chain))

    def _earlier(self, look: Look) -> tuple[Failing, ...]:
        """What failed before this run, which says itself what failed in it."""
        return tuple(one for one in look.failing if one.run != self.run)

    def drilled(self, look: Look, plan: Plan, *, depth: int = 0, taken: bool = False) -> tuple[Drill, News] | None:
        """What the loss of hosts would mean, of one and of sets up to `depth` or policy.placement.reserve, and what of
        that is news since the last drill; None without a pool that one master manages.

        What was found is remembered; `taken`: a person takes note of all of it, and StateError says where that can't
        be remembered.
        """
        if look.state is None or plan.diagnosis.situation is not Situation.MANAGED:
            return None
        most = max(1, depth, self.wanted.policy.reserve)
        found = drill(self.wanted, look.survey, plan.diagnosis, look.state, depth=most, memory=look.copies, now=look.at)
        memory = self.folder.memory
        told = news(found, memory.findings(), [m.name for m in self.wanted.members], now=look.at)
        after = acknowledge(told, self.by) if taken else told
        try:
            memory.keep_findings(after.remembered)
        except OSError as error:
            if taken:
                raise
            log.warning("what the drill found can't be remembered: %s", error)
        return found, told

    def kills_now(self, seen: Survey, diagnosis: Diagnosis, lost: str, candidate: str) -> tuple[Doomed, ...]:
        """What a promotion may kill, by a fresh survey's word on the copies and all that is remembered of them."""
        known, memory = self.last_known(), self._copies(None, None, seen, remember=False)
        member = self.wanted.member(candidate)
        assert member is not None
        gone = [lost] if lost != candidate else []
        now = self.port.now()
        return option_of(self.wanted, seen, diagnosis, member, gone, known=known, memory=memory, now=now).kills

    def _busy(self, look: Look) -> list[Lease]:
        """Leases of other runs that live: on this machine, only of the one that holds the file lock."""
        pool = look.state.pool if look.state is not None else None
        held = leases(pool.other_config) if pool is not None else ()
        master = (pool.master if pool is not None else None) or ""
        others = [one for one in held if one.live(self.port.now(), master) and one.run != self.run]
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

    def _forget_promotion(self, look: Look, diagnosis: Diagnosis) -> None:
        """One that somebody else has finished, another machine or a person, is not kept for ever."""
        sent = look.incident
        if sent is None or not promotion_is_over(sent, look.survey, diagnosis, look.at):
            return
        try:
            if self.folder.incident() == sent:
                self.folder.clear_incident()
        except OSError as error:
            log.warning("the promotion of %s is over, but that can't be recorded: %s", sent.candidate, error)

    def _void(self, certificate: Certificate, why: str) -> None:
        """A sign of life ends a certificate for good: it must not come back when the host goes quiet."""
        try:
            self.folder.void_certificate(certificate, why)
        except OSError as error:
            log.warning("the certificate of %s is void, but that can't be recorded: %s", certificate.host, error)
