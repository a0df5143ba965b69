"""Performs a schedule on a lab: faults, people, two xenrecs, and at the end the proof that all comes to rest (I10)."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler.core.plan import Plan
from reconciler.core.wanted import MemberState, Wanted
from reconciler.lab.faults import deed
from reconciler.lab.random_faults import KINDS
from reconciler.lab.schedule import Run
from reconciler.lab.schedule import Schedule as Script
from tests.soak.actor import SOURCES, Actor
from tests.soak.advice import crowned, edited
from tests.soak.manifest import random_wanted, with_maintenance
from tests.soak.operator import Operator, remedies, yields
from tests.soak.placing import with_placement
from tests.soak.pools import make_lab
from tests.soak.rest import ROUNDS, Rest
from tests.soak.schedule import Schedule, Step
from tests.soak.watch import Violation

PATIENCE = 130.0
"""Virtual seconds between them: a promotion that never arrived is known after 120."""
FAULTS = {
    "power-off": "power off {host}",
    "power-on": "power on {host}",
    "cut": "cut {host} {other}",
    "heal": "heal {host}",
    "hang": "toolstack hang {host}",
    "toolstack": "toolstack restart {host}",
    "stop-toolstack": "toolstack stop {host}",
    "role-broken": "role broken {host}",
    "bmc-silent": "bmc silent {host}",
    "bmc-lies": "bmc lies {host}",
    "bmc-honest": "bmc honest {host}",
    "bmc-answers": "bmc answers {host}",
    "flap": "flap {host} * 4 {other}",
    "slow": "slow {host} {other}",
    "backup": "backup hold {host}",
    "memory": "memory full {host}",
    "ha-armed": "ha armed {host}",
}


class World:
    """One schedule under way. `log` is None for speed, a list for people."""

    def __init__(self, schedule: Schedule, *, log: list[str] | None = None, reraise: bool = False) -> None:
        self.schedule = schedule
        self.log = log
        self.reraise = reraise
        self.folder = Path(tempfile.mkdtemp(prefix="soak-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        # Of one that is never played, too: in memory its folders would be found by nobody.
        self._leave = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.lab = make_lab(schedule.pool, schedule.seed)
        self.names = list(self.lab.hosts)
        self.start = self.lab.now
        drawn = with_maintenance(random_wanted(self.lab, schedule.manifest), schedule.manifest)
        self.wanted: Wanted = with_placement(drawn, schedule.seed)
        self.promoted: list[tuple[str, str]] = []
        self.attested: dict[str, float] = {}
        self.operator = Operator(self.lab, self.say)
        self.actors = [Actor(self, number, self.folder / name) for number, name in enumerate("AB")]
        self.scripts: list[Run] = []
        self.converged: list[Violation] = []

    def say(self, text: str) -> None:
        """One line of the log."""
        if self.log is not None:
            self.log.append(f"{self.lab.now - self.start:8.1f}  {text}")

    def play(self) -> list[Violation]:
        """Everything, and what was broken."""
        try:
            for step in self.schedule.steps:
                self.perform(step)
            self._come_to_rest()
            for actor in self.actors:
                actor.watch.harm(self.operator.started + self._visited())
            return [v for actor in self.actors for v in actor.watch.found] + self.converged
        finally:
            self._leave()

    def _visited(self) -> list[tuple[float, str]]:
        """Starts and migrations by the other clients of scripts: (time, VM uuid)."""
        uuids = {vm["name"]: vm["uuid"] for vm in self.lab.describe()["vms"]}
        found = []
        for script in self.scripts:
            for at, text in script.log:
                words = text.split()
                if words[:2] in (["xo", "start"], ["xo", "migrate"]) and words[2] in uuids:
                    found.append((script.began + at, uuids[words[2]]))
        return found

    # --- steps ---------------------------------------------------------------------------------------------------

    def perform(self, step: Step) -> None:
        """One step of the schedule, or of a hit."""
        kind, *rest = step
        if kind == "world":
            self.perform(rest[0])
        elif kind == "other":
            idle = next((a for a in self.actors if not a.busy), None)
            if idle is not None:
                idle.run(rest[0])
        elif kind == "run":
            who, what, hits = rest
            self.actors[who].run(what, tuple(hits))
        elif kind == "attest":
            who, host, lifetime = rest
            self.actors[who].attest(self._name(host), lifetime)
        elif kind == "wait":
            self.say(f"   {rest[0]:g} s pass")
            self.lab.run(self.lab.now + rest[0])
        elif kind == "member":
            self._member(*rest)
        elif kind == "meddle":
            what, host, other = rest
            self.operator.meddle(what, self.lab.hosts[self._name(host)], self.lab.hosts[self._name(other)])
        elif kind == "operator":
            self.operator.do(*rest)
        elif kind == "script":
            self._script(*rest)
        else:
            self._break(kind, rest)

    def _member(self, host: int, resting: bool) -> None:
        """Somebody edits the manifest: a member goes into maintenance, or is active again."""
        name, state = self._name(host), MemberState.MAINTENANCE if resting else MemberState.ACTIVE
        self.say(f"   @ manifest: {name} is {state}")
        members = tuple(replace(m, state=state) if m.name == name else m for m in self.wanted.members)
        self._edit(replace(self.wanted, members=members))

    def _edit(self, wanted: Wanted) -> None:
        self.wanted = wanted
        for actor in self.actors:
            actor.watch.wanted = wanted

    def _name(self, index: int) -> str:
        return self.names[index % len(self.names)]

    def _break(self, kind: str, rest: list[Any]) -> None:
        """One of the lab's own faults, in its own words (lab/faults.py)."""
        host = self._name(rest[0])
        other = rest[1] if len(rest) > 1 else ""
        far = other if isinstance(other, str) else self._name(other) if isinstance(other, int) else f"{other:g}"
        words = FAULTS[kind].format(host=host, other=far).split()
        self.say(f"   ! {' '.join(words)}")
        if far == SOURCES[1]:
            self.lab.cut(host, far)  # the second machine is no end of a link that the lab's words know
        elif far != host:
            deed(self.lab, words)()

    def _script(self, seed: int, faults: int) -> None:
        """A random schedule of the lab's own beside all this, losses and doubles of single calls among it. Without
        clocks that differ: what xenrec can't see through them is told in docs/safety.md."""
        kinds = tuple(kind for kind in KINDS if kind != "clock")
        script = Script.random(seed, self.lab, faults=faults, span=400.0, lose_master=False, kinds=kinds)
        self.say(f"   ! from now on: {script.text().strip()}")
        self.scripts.append(script.attach(self.lab))

    # --- rest ----------------------------------------------------------------------------------------------------

    def _come_to_rest(self) -> None:
        """Faults end, people do what plans tell them: then an apply must leave nothing to do, and say what is left."""
        lab = self.lab
        lab.run(lab.now + (600.0 if self.scripts else 200.0))
        self.say("   -- the faults end")
        for script in self.scripts:
            script.detach()
        dark = [host for host in self.names if not lab.hosts[host].powered]
        deed(lab, ["calm"])()
        for host in self.names:
            if host in dark and not self.schedule.repaired:
                lab.power_off(host)
            elif lab.hosts[host].up and lab.hosts[host].toolstack is None:
                lab.restart_toolstack(host)
        lab.run(lab.now + PATIENCE)
        actor = self.actors[0]
        plan: Plan | None = None
        for _ in range(ROUNDS):
            plan = actor.run("apply")
            if plan is None:
                break
            helped = self.operator.follow(plan) or crowned(plan, self.operator)
            if (wanted := edited(self.wanted, plan, lab)) is not None:
                self.say("   @ manifest: edited as the plan says")
                self._edit(wanted)
                helped = True
            if (host := yields(plan)) and not helped:
                actor.run("apply", yields=frozenset({host}))
                helped = True
            for host in self.names:
                if not lab.hosts[host].powered and any(
                    f" {host} --dead" in told or told.endswith(f"fence off {self.wanted.argument} {host}")
                    for told in remedies(plan)
                ):
                    helped = actor.attest(host, 1800.0) or helped
            if not plan.actions and not helped:
                break
            lab.run(lab.now + PATIENCE)
        if plan is not None:
            self.converged += Rest(self).prove(plan)


def play(schedule: Schedule, log: list[str] | None = None) -> list[Violation]:
    """What a schedule broke."""
    return World(schedule, log=log).play()
