"""One of the xenrecs of a schedule: a machine with a state folder of its own, whose calls are watched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.core.guard import Allowance
from reconciler.core.plan import Outcome, Plan
from reconciler.execute.lease import LeaseBusy
from reconciler.pipeline import Approval, Reconciler
from reconciler.state.folder import PoolFolder
from reconciler.state.lock import LockBusy
from tests.soak.port import Fate, SoakPort
from tests.soak.watch import Watch
from tests.support.calls import Killed

if TYPE_CHECKING:
    from tests.soak.world import World

SOURCES = ("client", "other")


class Actor:
    """One xenrec: a machine with its own state folder."""

    def __init__(self, world: World, number: int, folder: Path) -> None:
        self.name = "AB"[number]
        self.world = world
        self.folder = folder
        self.watch = Watch(
            world.lab, world.wanted, SOURCES[number], self.name, world.promoted, world.attested, world.operator.by_hand
        )
        self.watch.has_read = PoolFolder(folder, world.wanted.name).last_known.exists
        self.port = SoakPort(
            world.lab, SOURCES[number], self.watch, world.perform, lambda t: world.say(f"{self.name}  {t}")
        )
        self.runs = 0
        self.busy = False

    def reconciler(
        self, *, attended: bool = True, failback: bool = False, yields: frozenset[str] = frozenset()
    ) -> Reconciler:
        """A new run."""
        self.runs += 1
        self.watch.begin(attended=attended, yields=yields)
        return Reconciler(
            self.world.wanted,
            self.port,
            PoolFolder(self.folder, self.world.wanted.name),
            lambda ref: "lab",
            f"{self.name}-{self.runs}",
            allowance=Allowance(attended=attended, yields=yields),
            failback=failback,
            progress=lambda event: self.world.say(
                f"{self.name}    . {event.action.target.name + ': ' if event.action else ''}{event.what}"
            ),
        )

    def run(self, what: str, hits: tuple[Any, ...] = (), *, yields: frozenset[str] = frozenset()) -> Plan | None:
        """One command; the plan that it ended with, None if it was killed or found the door locked.

        `yields` are the hosts that a person lets give way.
        """
        if self.busy:
            return None
        self.busy = True
        self.port.fate = Fate(list(hits))
        world = self.world
        world.say(f"{self.name} xenrec {what}")
        try:
            run = self.reconciler(attended=what != "unattended", failback=what == "failback", yields=yields)
            if what == "plan":
                plan = run.plan()
                self._tell(plan)
                return plan
            with run.folder.lock(run=run.run, since=self.port.now()):
                first = run.plan()
                self._tell(first)
                outcome = run.apply(first, Approval())
            self._tell_end(outcome)
            return outcome.final
        except Killed:
            return None
        except (LockBusy, LeaseBusy) as busy:
            world.say(f"{self.name} {busy}")
            return None
        except Exception as error:
            if world.reraise:
                raise
            self.watch.blame("traceback", f"{what}: {type(error).__name__}: {error}")
            return None
        finally:
            self.port.fate = Fate()
            self.busy = False

    def attest(self, host: str, lifetime: float) -> bool:
        """A person who looks first: only a host without power is attested dead."""
        if self.busy or self.world.lab.hosts[host].powered:
            return False
        self.port.fate = Fate()
        self.watch.begin(attended=True)
        got = self.reconciler().attest(host, by="op@desk", reason="seen powered off", lifetime=lifetime)
        if not isinstance(got, str):
            # The other machine may hold a word that lasts longer.
            self.world.attested[host] = max(got.expires_at, self.world.attested.get(host, 0.0))
        self.world.say(f"{self.name} xenrec attest {host}: {got if isinstance(got, str) else 'recorded'}")
        return not isinstance(got, str)

    def _tell(self, plan: Plan) -> None:
        say = self.world.say
        say(f"{self.name}    {plan.diagnosis.situation}: {plan.diagnosis.why}")
        for stage in plan.stages:
            say(
                f"{self.name}    stage {stage.name}{' (forecast)' if stage.forecast else ''}: "
                + ", ".join(f"{a.verb} {a.target.name}" + (f" on {a.to.name}" if a.to else "") for a in stage.actions)
            )
        for held in plan.withheld:
            say(f"{self.name}    withheld {held.action.verb} {held.action.target.name}: {held.why} => {held.remedy}")
        for wish in plan.unmet:
            say(f"{self.name}    unmet {wish.target} {wish.wish}: {wish.why} => {wish.remedy}")

    def _tell_end(self, outcome: Outcome) -> None:
        for one in outcome.done:
            self.world.say(f"{self.name}    {one.result} {one.action.verb} {one.action.target.name}: {one.why}")
        if outcome.stopped:
            self.world.say(f"{self.name}    stopped: {outcome.stopped}")
        if outcome.final is not None:
            self._tell(outcome.final)
