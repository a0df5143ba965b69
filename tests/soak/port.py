"""The lab's port with an actor's misfortunes: what happens around the n-th call of a run."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.core.port import AgentRun, Answer, Ask, FaultKind, Json, TransportFault, XapiFailure
from reconciler.lab import Lab, Reply
from tests.soak.schedule import Step
from tests.soak.watch import Watch
from tests.support.calls import Killed, changes
from tests.support.labport import LabPort, _fault

FAULTS = {"timeout": FaultKind.TIMEOUT, "dropped": FaultKind.DROPPED}


@dataclass
class Fate:
    """Of one run: its hits, each at most once. `dead`: nothing is sent any more."""

    hits: list[tuple[str, int, Step]] = field(default_factory=list)
    calls: int = 0
    writes: int = 0
    dead: bool = False


HOSTILE = ("hangs", "{", '{"time": "2031-01-01T00:00:00Z"}', '{"time": 1}', '{"generation": 999999999}')
"""What a probe may say instead of the truth."""


class SoakPort(LabPort):
    """One actor's port. `perform` does to the world what a hit says; `log` is told every call with its outcome."""

    def __init__(
        self, lab: Lab, source: str, watch: Watch, perform: Callable[[Step], None], log: Callable[[str], None]
    ) -> None:
        super().__init__(lab, source=source)
        self.watch = watch
        self.perform = perform
        self.log = log
        self.fate = Fate()
        self.hung_until = 0.0
        # By the hosts' uuids: the same for a seed, whatever else is drawn from it.
        own = random.Random(f"probes {source} {sorted(h.uuid for h in lab.hosts.values())}")
        self.probe_says = {name: own.choice(HOSTILE) for name in lab.hosts if own.random() < 0.2}

    def _send(self, address: str, method: str, params: Sequence[Json]) -> Reply:
        """On its way. The program takes answers apart and changes none: they need not be copies of the database's."""
        reply = super()._send(address, method, params)
        reply.shared = True
        return reply

    def _due(self, method: str) -> list[Step]:
        """Count the call, and take the hits that come with it."""
        fate = self.fate
        writes = changes(method)
        found: list[tuple[str, int, Step]] = []
        if fate.hits:
            at = {"call": fate.calls, "write": fate.writes if writes else None}
            found = [hit for hit in fate.hits if hit[1] == at[hit[0]]]
            fate.hits = [hit for hit in fate.hits if hit not in found]
        fate.calls += 1
        fate.writes += writes
        return [step for _, _, step in found]

    def _begin(self, address: str, method: str, params: Sequence[Json]) -> list[Step]:
        """Everything before a call: its fate, and the judgement on it."""
        if self.fate.dead:
            raise Killed
        due = self._due(method)
        for step in due:
            if step[0] == "kill-before":
                self._die(f"killed before {method}")
            elif step[0] in ("world", "other"):
                self.perform(step)
        self.watch.sample()
        self.calls.append((self.lab.now, address, method))
        return due

    def _die(self, words: str) -> None:
        self.fate.dead = True
        self.log(words)
        raise Killed

    def call(self, address: str, method: str, params: Sequence[Json], *, deadline: float) -> Json:
        """One call, and what becomes of it."""
        due = {step[0]: step for step in self._begin(address, method, params)}
        if "lose-request" in due:
            return self._lost(address, method, due["lose-request"][1], deadline)
        if "session-gone" in due and params and method.split(".", maxsplit=1)[0].removeprefix("Async.") != "session":
            self.log(f"{address} {method}: SESSION_INVALID")
            raise XapiFailure("SESSION_INVALID", str(params[0]))
        self.watch.call(address, method, params)
        reply = self._send(address, method, params)
        self.lab.settle([reply], self.lab.now + deadline)
        fault = _fault(reply, deadline)
        if isinstance(fault, TransportFault) and not fault.sent:
            self.watch.unsent(method)
        if isinstance(fault, XapiFailure) and fault.code == "MESSAGE_PARAMETER_COUNT_MISMATCH":
            self.watch.not_understood()
        self._tell(address, method, params, fault)
        if "kill-after" in due:
            self._die(f"killed after {method}")
        if "lose-reply" in due and not isinstance(fault, TransportFault):
            return self._lost(address, method, due["lose-reply"][1], deadline)
        if fault is not None:
            raise fault
        return reply.value

    def _lost(self, address: str, method: str, how: str, deadline: float) -> Json:
        if how == "timeout":
            self.wait(deadline)
        self.log(f"{address} {method}: lost ({how})")
        raise TransportFault(FAULTS[how], f"{method}: lost", sent=True)

    def _tell(self, address: str, method: str, params: Sequence[Any], fault: Exception | None) -> None:
        if fault is not None or changes(method):
            words = " ".join(str(p) for p in params[1:4]) if changes(method) else ""
            self.log(f"{address} {method} {words}: {fault or 'ok'}")

    def ask_all(self, asks: Sequence[Ask]) -> list[Answer]:
        """A round of questions. Several connections at once to every member are how a survey begins."""
        members = {m.address for m in self.watch.wanted.members}
        if len(asks) == len(members) and all(a.kind == "tcp" and a.address in members for a in asks):
            self.watch.surveyed()
        for ask in asks:
            if ask.kind == "tcp":
                self.watch.probe(ask.address)
        return super().ask_all(asks)

    def _before(self, address: str, method: str, params: Sequence[Json]) -> None:
        """Of the calls of a round: they may be killed, and things happen beside them, but none is lost alone."""
        due = self._begin(address, method, params)
        if not method.startswith("agent:"):
            self.watch.call(address, method, params)
        if any(step[0] == "kill-after" for step in due):
            self._die(f"killed at {method}")

    def run_agent(self, agent: str, options: Mapping[str, str], *, deadline: float) -> AgentRun:
        """A fence agent; one that is lost did its work, and nobody heard."""
        action = options.get("action", "reboot")
        if action == "metadata":
            return super().run_agent(agent, options, deadline=deadline)
        due = {step[0] for step in self._begin(agent, f"agent:{action}", ())}
        if action in ("off", "reboot"):
            self.watch.fence(options.get("plug", ""))
        else:
            self.watch.sight.power_read[options.get("plug", "")] = self.watch.number
        if "lose-request" in due:
            self.wait(deadline)
            return AgentRun(None, "", "")
        run = self._fence(action, options.get("plug", ""), deadline)
        self.log(f"{agent} {action} {options.get('plug')}: {run.code}")
        if "kill-after" in due:
            self._die(f"killed after {action}")
        if "lose-reply" in due:
            return AgentRun(None, "", "")
        return run
