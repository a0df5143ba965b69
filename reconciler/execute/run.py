"""The loop: what is ready is begun while limits allow, tasks are awaited together, failures stay with their followers.

One thread; concurrency is XAPI's. So the journal is a line, and "killed at every call" has a meaning.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from reconciler.core.draft import apply_command
from reconciler.core.plan import ALONE, Action, Done, Plan, Result, Stage, Verb
from reconciler.core.port import Fault, Port, Sessions, TaskResult, XapiFailure
from reconciler.core.wanted import Level, Wanted
from reconciler.core.words import names
from reconciler.execute.bench import Bench, CannotRecord, Lease, Steps, refused
from reconciler.execute.comeback import PLAN_AGAIN, comes_back, gone
from reconciler.execute.crowd import Crowd
from reconciler.execute.desk import UNHEARD, LostReply, MasterLost, heard
from reconciler.execute.flights import Flight, Flights
from reconciler.execute.lease import LeaseBusy, LeaseLost
from reconciler.execute.needs import Fencer, Journal, KillsNow, Progress, ReadPool, Store, SurveyAgain, TasksFor
from reconciler.execute.proof import Prover
from reconciler.execute.verbs import perform

SUCCEEDED = frozenset({Result.DONE, Result.ALREADY})
CROWNING = frozenset({Verb.FENCE, Verb.PROMOTE, Verb.AWAIT_MASTER, Verb.FOLLOW})
"""Verbs that work without a master: one that does not answer is what they are about."""


class Executor:
    """Performs the stages of one plan, in order. `master` is the address of the acting master, once there is one.

    Every dependency is handed in (needs.py). Neither Faults nor OSErrors escape: they become outcomes. Anything else
    (KeyboardInterrupt) is journaled with what was under way, and raised.
    """

    def __init__(
        self,
        port: Port,
        sessions: Sessions,
        wanted: Wanted,
        journal: Journal,
        store: Store,
        fencer: Fencer,
        tasks_for: TasksFor,
        survey: SurveyAgain,
        read: ReadPool,
        progress: Progress,
        run_id: str,
        plan: Plan,
        lease: Lease | None = None,
        yields: frozenset[str] = frozenset(),
        kills_now: KillsNow | None = None,
    ) -> None:
        self._bench = Bench(
            port=port,
            sessions=sessions,
            wanted=wanted,
            journal=journal,
            store=store,
            fencer=fencer,
            tasks_for=tasks_for,
            survey=survey,
            read=read,
            progress=progress,
            run_id=run_id,
            plan=plan,
            yields=yields,
            kills_now=kills_now,
            lease=lease,
            started_at=port.now(),
        )
        self._prover = Prover(self._bench)
        self._ended: dict[str, Done] = {}
        self._flights = Flights(self._bench)
        self._begun = ""
        self.stopped = ""
        """Why a stage stopped before its end, if one did; what it had not begun was skipped."""
        self.restarted = ""
        """Set when the stage stopped only because the master's toolstack restarted, and it is our master again: what it
        had sent was observed, and the rest of its plan is stale (I1: hosts count as dead for a while). Plan again."""

    @property
    def master(self) -> str | None:
        """Address of the acting master as far as this run knows."""
        return self._bench.master

    @master.setter
    def master(self, address: str | None) -> None:
        self._bench.master = address

    @property
    def timeline(self) -> tuple[tuple[float, str], ...]:
        """(seconds since the executor was made, what happened), in order."""
        return tuple(self._bench.timeline)

    def run_stage(self, stage: Stage, *, master: str | None) -> list[Done]:
        """Perform one stage; one outcome per action, in the stage's order.

        With an acting master its lease is taken first: LeaseBusy, or XAPI's refusal of this first write, is raised and
        nothing was done. A session that ends there twice is no refusal: nothing is begun, and `stopped` tells it.
        """
        bench = self._bench
        bench.master = master
        waiting = list(stage.actions)
        for action in waiting:
            self._ended.pop(action.id, None)
        try:
            bench.note("stage", stage=stage.name, actions=[a.id for a in waiting], master=master)
            if any(a.level > Level.OBSERVE for a in waiting):
                self._take_lease()
            while (waiting or self._flights) and not self.stopped:
                if self.restarted:
                    self._drain(waiting)
                else:
                    self._begin_ready(waiting)
                if self._flights and not self.stopped:
                    self._advance()
            self.stopped = self.stopped or self.restarted
            self._abandon(waiting)
            bench.note("stage-end", stage=stage.name, stopped=self.stopped)
        except LeaseBusy as busy:
            busy.argument = bench.wanted.argument
            raise
        except CannotRecord as error:
            self.stopped = self.stopped or str(error)
            self._abandon(waiting)
        except BaseException as error:
            with suppress(CannotRecord):
                bench.note(
                    "interrupted",
                    by=type(error).__name__,
                    under_way=[f.action.id for f in self._flights] + ([self._begun] if self._begun else []),
                    unanswered=sorted(bench.unanswered),
                )
            raise
        finally:
            self._flights.clear()
            bench.leave()
        return [self._ended[a.id] for a in stage.actions]

    def post_message(self, text: str, *, priority: int = 3) -> bool:
        """Leave word in the pool, where XenCenter and Xen Orchestra show it; whether it could be left.

        `priority`: 3, or 5 (informational) when there was nothing to do (sheet §9). Once a run: XAPI keeps all of them.
        Raises nothing: a message that got lost must not spoil a recovery that succeeded.
        """
        bench = self._bench
        try:
            desk = bench.desk()
            uuid = str(desk.pool().get("uuid", ""))
            heard(lambda: desk.write("message.create", "XENREC_APPLIED", priority, "Pool", uuid, text))
        except (MasterLost, LostReply, XapiFailure) as trouble:
            bench.say(None, f"no message could be left in the pool: {trouble}")
            return False
        finally:
            if bench.lease is None:
                bench.leave()
        return True

    def release(self) -> None:
        """Give the lease back, if it can be: it expires by itself otherwise. Raises no trouble of the pool's."""
        bench = self._bench
        if bench.lease is None or bench.master is None:
            return
        try:
            bench.lease.release(bench.desk())
        except (MasterLost, LostReply, XapiFailure, CannotRecord) as trouble:
            bench.say(None, f"the lease could not be given back, and expires by itself: {trouble}")
        finally:
            bench.leave()

    def _take_lease(self) -> None:
        try:
            self._bench.hold()
        except MasterLost as lost:
            self._stop(lost)
        except LostReply as lost:
            self.stopped = f"the pool's lease could not be taken: {lost}"
        except XapiFailure as failure:
            if failure.code not in UNHEARD:
                raise
            # Not executed, twice in a row with a login between: its toolstack restarts, or ends sessions.
            name = self._bench.name_at(self._bench.master or "")
            how = "ended our session, and the next one at once"
            if failure.code != "SESSION_INVALID":
                how = "accepts logins, but the call did not reach it, twice"
            self.stopped = f"the pool's lease could not be taken: {name} {how}; run again"

    # --- beginning ---------------------------------------------------------------------------------------------

    def _begin_ready(self, waiting: list[Action]) -> None:
        """Begin, in order, everything that is ready and within the limits; skip what can never be."""
        progressed = True
        while progressed and waiting and not self.stopped and not self.restarted:
            progressed = False
            coming = {a.id for a in waiting} | {f.action.id for f in self._flights}
            crowd = Crowd((f.action for f in self._flights), self._bench.wanted.policy.limits)
            for action in tuple(waiting):
                if not crowd.takes(action):
                    continue
                if why := self._never(action, coming):
                    waiting.remove(action)
                    self._finish(Done(action, Result.SKIPPED, why), self._bench.port.now())
                    progressed = True
                elif all(f in self._ended for f in action.follows) and not coming.intersection(action.behind):
                    if action.verb in ALONE and self._flights:
                        return
                    waiting.remove(action)
                    flying = len(self._flights)
                    self._begin(action)
                    self._notice_restart()
                    if len(self._flights) > flying:
                        crowd.add(action)
                    progressed = True
                if self.stopped or self.restarted:
                    return
        if waiting and not self._flights and not self.stopped:
            known = {a.id: f"{a.verb} {a.target.name}" for a in waiting}
            for action in tuple(waiting):
                waiting.remove(action)
                others = names(known[f] for f in action.follows if f in known)
                why = f"it waits for {others}, which in the end waits for it"
                self._finish(Done(action, Result.SKIPPED, why, "plan again"), self._bench.port.now())

    def _never(self, action: Action, coming: set[str]) -> str:
        """Why it can never be begun: something that it follows did not succeed, or is nowhere. "" if it can."""
        for name in action.follows:
            ended = self._ended.get(name)
            if ended is not None and ended.result not in SUCCEEDED:
                if ended.action.verb is Verb.AWAIT_READY:
                    return f"it depends on {ended.action.target.name}, which is not ready: {ended.why}"
                step = f"{ended.action.verb} {ended.action.target.name}"
                return f"{step} {ended.result}" + (f": {ended.why}" if ended.result is not Result.SKIPPED else "")
            if ended is None and name not in coming:
                return f"it follows {name}, which is not among the actions of this run"
        return ""

    def _begin(self, action: Action) -> None:
        bench = self._bench
        began = bench.port.now()
        self._begun = action.id
        words = f"{action.verb} {action.target.name}" + (f" on {action.to.name}" if action.to else "")
        proofs = list(action.certificate_of)
        try:
            bench.note("begin", action=action.id, what=words, why=action.why, certificate_of=proofs)
            bench.say(action, "begins")
            if pause := bench.paused(action):
                begun: Done | Steps = refused(action, pause, f"xenrec pause {bench.wanted.argument} --list")
            else:
                begun = perform(bench, self._prover, action)
            if isinstance(begun, Done):
                self._finish(begun, began)
            else:
                self._fly(action, begun, began)
        except (MasterLost, CannotRecord, Fault) as error:
            self._finish(self._broken(action, error), began)
        self._begun = ""

    # --- waiting -----------------------------------------------------------------------------------------------

    def _fly(self, action: Action, steps: Steps, began: float) -> None:
        try:
            wait = next(steps)
        except StopIteration as stop:
            self._finish(stop.value, began)
            return
        self._flights.add(Flight(action, steps, wait, began))

    def _advance(self) -> None:
        """Wait for the first of all flights, and resume those whose wait is over."""
        bench = self._bench
        try:
            bench.keep()
        except MasterLost as lost:
            self._stop(lost)
            return
        except CannotRecord as error:
            self.stopped = str(error)
            return
        results: dict[str, TaskResult] = {}
        try:
            results = self._flights.wait()
        except MasterLost as lost:
            self._stop(lost)
        self._flights.ask()
        for flight in self._flights:
            if self.stopped:
                return
            if self.restarted and flight.action.id not in bench.unanswered:
                continue  # not resumed: it would try again
            over, result = self._flights.over(flight, results)
            if over:
                self._resume(flight, result)
            self._notice_restart()

    def _notice_restart(self) -> None:
        """A master that forgot our session was restarted, though it answered each time that it was asked."""
        bench = self._bench
        if not self.stopped and not self.restarted and bench.forgotten():
            self._restarted()

    def _restarted(self) -> None:
        bench = self._bench
        self.restarted = f"the toolstack of {bench.name_at(bench.master or '')} restarted: {PLAN_AGAIN}"
        bench.say(None, self.restarted)

    def _drain(self, waiting: list[Action]) -> None:
        """After a restart of the master nothing is begun or tried again: only calls that were sent are observed."""
        for flight in self._flights:
            if flight.action.id not in self._bench.unanswered:
                self._flights.remove(flight)
                flight.steps.close()
                self._skip(flight.action, self.restarted, flight.began)
        for action in waiting:
            self._skip(action, self.restarted, self._bench.port.now())
        waiting.clear()

    def _skip(self, action: Action, why: str, began: float) -> None:
        self._finish(Done(action, Result.SKIPPED, why, apply_command(self._bench.wanted)), began)

    def _resume(self, flight: Flight, result: TaskResult | None) -> None:
        try:
            flight.wait = flight.steps.send(result)
        except StopIteration as stop:
            self._flights.remove(flight)
            self._finish(stop.value, flight.began)
        except (MasterLost, CannotRecord, Fault) as error:
            self._flights.remove(flight)
            self._finish(self._broken(flight.action, error), flight.began)

    # --- ending ------------------------------------------------------------------------------------------------

    def _finish(self, outcome: Done, began: float) -> None:
        bench = self._bench
        took = bench.port.now() - began
        again = f"xenrec plan {bench.wanted.argument}"
        outcome = replace(outcome, took=took, remedy=outcome.remedy.replace("plan again", again))
        self._ended[outcome.action.id] = outcome
        bench.unanswered.discard(outcome.action.id)
        bench.say(outcome.action, f"{outcome.result}: {outcome.why}", outcome.result)
        try:
            bench.note(
                "end",
                action=outcome.action.id,
                result=str(outcome.result),
                why=outcome.why,
                remedy=outcome.remedy,
                took=round(took, 3),
            )
        except CannotRecord as error:
            self.stopped = self.stopped or str(error)

    def _broken(self, action: Action, error: Exception) -> Done:
        """The outcome of an action that an exception ended; the stage stops if it can't go on without a master."""
        # A disk that is full after the call leaves its answer unwritten, not the call undone.
        full = isinstance(error, CannotRecord) and not isinstance(error, LeaseLost)
        sent = action.id in (self._bench.sent if full else self._bench.unanswered)
        result = Result.UNKNOWN if sent else Result.FAILED
        if isinstance(error, MasterLost):
            sent = sent and not error.unsent
            self._stop(error, action)
            result = Result.UNKNOWN if sent else Result.SKIPPED if self.restarted else Result.FAILED
            why = self.restarted or self.stopped
        elif isinstance(error, CannotRecord):
            self.stopped = self.stopped or str(error)
            why = str(error)
        elif isinstance(error, XapiFailure):
            told = self._bench.explain(error)
            return Done(action, result, told.sentence, told.remedy)
        else:
            why = str(error)
        if not sent and isinstance(error, MasterLost | CannotRecord):
            why = f"not done: {why}"
        return Done(action, result, why, apply_command(self._bench.wanted))

    def _stop(self, lost: MasterLost, action: Action | None = None) -> None:
        """The master is lost. If only its toolstack restarts, wait for it: then only this stage ends, else the run."""
        bench = self._bench
        if self.stopped:
            return
        if bench.master is not None and not lost.deposed and (action is None or action.verb not in CROWNING):
            if (found := comes_back(bench, lost)) is None:
                self._restarted()
                return
            lost = found
        self.restarted = ""
        self.stopped = gone(bench, lost)
        bench.say(None, self.stopped)

    def _abandon(self, waiting: list[Action]) -> None:
        """Outcomes of what a stopped stage leaves: UNKNOWN for what was submitted, SKIPPED for the rest."""
        remedy = apply_command(self._bench.wanted)
        for flight in self._flights:
            sent = flight.action.id in self._bench.unanswered
            flight.steps.close()
            result = Result.UNKNOWN if sent else Result.SKIPPED
            self._finish(Done(flight.action, result, self.stopped, remedy), flight.began)
        self._flights.clear()
        for action in waiting:
            self._finish(Done(action, Result.SKIPPED, self.stopped, remedy), self._bench.port.now())
        waiting.clear()
