"""The program's port over the in-memory lab: virtual time, real answers, and hooks to break things."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from reconciler.core.port import AgentRun, Answer, Ask, Fault, FaultKind, Json, TransportFault, XapiFailure
from reconciler.lab import BmcSilent, Lab, Reply
from reconciler.lab.fence_agent import metadata

AGENT = "fence_xenrec_lab"
PROBE = "copy-age"
Hook = Callable[[str, str, Sequence[Json]], None]
KINDS = {"refused": FaultKind.REFUSED, "unreachable": FaultKind.UNREACHABLE, "dropped": FaultKind.DROPPED}


class LabPort:
    """Implements reconciler.core.port.Port over a Lab.

    `before_call` and `after_call` get (address, method, params) around every XAPI call, also those of ask_all, and may
    raise: before, nothing was sent; after, the call has had its effect and its answer is lost. A Fault that one of them
    raises inside ask_all is that question's answer, as the port promises; anything else escapes. Agent runs count as
    calls too, with the agent as address and "agent:<action>" as method. `calls` lists (time, address, method).
    """

    def __init__(self, lab: Lab, *, source: str = "client") -> None:
        self.lab = lab
        self.source = source
        self.before_call: Hook | None = None
        self.after_call: Hook | None = None
        self.probe_says: dict[str, str] = {}
        self.calls: list[tuple[float, str, str]] = []

    def now(self) -> float:
        """The lab's virtual time."""
        return self.lab.now

    def wait(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.lab.run(self.lab.now + max(0.0, seconds))

    def _before(self, address: str, method: str, params: Sequence[Json]) -> None:
        if self.before_call is not None:
            self.before_call(address, method, params)
        self.calls.append((self.lab.now, address, method))

    def _after(self, address: str, method: str, params: Sequence[Json]) -> None:
        if self.after_call is not None:
            self.after_call(address, method, params)

    def _send(self, address: str, method: str, params: Sequence[Json]) -> Reply:
        return self.lab.request(address, method, params, source=self.source)

    def call(self, address: str, method: str, params: Sequence[Json], *, deadline: float) -> Json:
        """One call; raises XapiFailure or TransportFault."""
        self._before(address, method, params)
        reply = self._send(address, method, params)
        self.lab.settle([reply], self.lab.now + deadline)
        self._after(address, method, params)
        fault = _fault(reply, deadline)
        if fault is not None:
            raise fault
        return reply.value

    def ask_all(self, asks: Sequence[Ask]) -> list[Answer]:
        """All at the same virtual time, each with its own deadline."""
        start = self.lab.now
        replies: dict[int, Reply] = {}
        answers: dict[int, Answer] = {}
        for index, ask in enumerate(asks):
            if ask.kind == "xapi":
                try:
                    self._before(ask.address, ask.method, ask.params)
                except Fault as fault:
                    answers[index] = Answer(None, fault)
                    continue
                replies[index] = self._send(ask.address, ask.method, ask.params)
            elif ask.kind == "tcp":
                answers[index] = self._tcp(ask)
            elif ask.kind == "http":
                answers[index] = self._http(ask)
        pending = sorted((asks[i].deadline, i) for i in replies)
        for deadline, index in pending:
            self.lab.settle([replies[index]], start + deadline)
            reply = replies[index]
            fault = _fault(reply, deadline)
            took = (reply.finished_at if reply.done else start + deadline) - start
            answers[index] = Answer(None if fault else reply.value, fault, took)
        for index, ask in enumerate(asks):
            if index in replies:
                try:
                    self._after(ask.address, ask.method, ask.params)
                except Fault as fault:
                    answers[index] = Answer(None, fault, answers[index].took)
            elif ask.kind == "agent":
                answers[index] = self._agent(ask)
            elif ask.kind == "probe":
                answers[index] = self._probe(ask)
        return [answers[i] for i in range(len(asks))]

    def _tcp(self, ask: Ask) -> Answer:
        found = self.lab.tcp(ask.address, ask.port, self.source)
        if found == "open":
            return Answer(None)
        took = self.lab.timing.no_route if found == "unreachable" else 0.0
        kind = FaultKind(found) if found in ("refused", "unreachable", "timeout") else FaultKind.PROTOCOL
        fault = TransportFault(kind, f"{ask.address}:{ask.port}: {found}", sent=False)
        return Answer(None, fault, min(took, ask.deadline))

    def _http(self, ask: Ask) -> Answer:
        told = self.lab.guests.http(ask.url, self.source, self.lab.now)
        if isinstance(told, int):
            return Answer(told)
        took = self.lab.timing.no_route if told == "unreachable" else 0.0
        fault = TransportFault(FaultKind(told), f"{ask.url}: {told}", sent=False)
        return Answer(None, fault, min(took, ask.deadline))

    def _probe(self, ask: Ask) -> Answer:
        """The lab's own probe, `copy-age HOST`: what the host's file holds, or what `probe_says` makes it say: a text,
        or "hangs"."""
        if ask.argv[0] != PROBE:
            return Answer(None, TransportFault(FaultKind.PROTOCOL, f"probe {ask.argv[0]}: no such program", sent=False))
        name = ask.argv[1]
        host, says = self.lab.hosts.get(name), self.probe_says.get(name)
        if says == "hangs":
            self.wait(ask.deadline)
            return Answer(AgentRun(None, "", ""))
        if host is None or not self.lab.world.boxes[name].powered:
            return Answer(AgentRun(255, "", f"ssh: connect to host {name} port 22: No route to host\n"))
        honest = json.dumps({"generation": host.disk.generation, "time": round(host.disk.taken_at)})
        return Answer(AgentRun(0, honest + "\n" if says is None else says, ""))

    def _agent(self, ask: Ask) -> Answer:
        try:
            return Answer(self.run_agent(ask.agent, ask.options, deadline=ask.deadline))
        except FileNotFoundError as error:
            return Answer(None, TransportFault(FaultKind.UNREACHABLE, str(error), sent=False))
        except Fault as fault:
            return Answer(None, fault)

    def run_agent(self, agent: str, options: Mapping[str, str], *, deadline: float) -> AgentRun:
        """The lab's own fence agent, by the fence-agents protocol: options action and plug (a host name).

        Exit 0: done, or power is on; 2: power is off; 1: anything wrong. Raises FileNotFoundError for another agent.
        """
        if agent.rsplit("/", 1)[-1] != AGENT:
            raise FileNotFoundError(f"no such fence agent: {agent}")
        action = options.get("action", "reboot")
        self._before(agent, f"agent:{action}", ())
        run = self._fence(action, options.get("plug", ""), deadline)
        self._after(agent, f"agent:{action}", ())
        return run

    def _fence(self, action: str, plug: str, deadline: float) -> AgentRun:
        if action == "metadata":
            return AgentRun(0, metadata(), "")
        if plug not in self.lab.hosts:
            return AgentRun(1, "", f"Failed: no host is called {plug!r}\n")
        try:
            if action == "reboot":
                self.lab.bmc(plug, "off")
                self.lab.bmc(plug, "on")
                return AgentRun(0, "Success: Rebooted\n", "")
            power = self.lab.bmc(plug, "status" if action == "monitor" else action)
        except BmcSilent:
            self.wait(min(deadline, 5.0))
            if deadline < 5.0:
                return AgentRun(None, "", "")
            return AgentRun(1, "", "Failed: Unable to connect/login to fencing device\n")
        except ValueError:
            return AgentRun(1, "", f"Failed: Unrecognised action '{action}'\n")
        self.wait(min(deadline, 0.5))
        if action == "status":
            return AgentRun(0 if power == "on" else 2, f"Status: {power.upper()}\n", "")
        return AgentRun(0, f"Success: Powered {power.upper()}\n", "")


def _fault(reply: Reply, deadline: float) -> Fault | None:
    if not reply.done:
        return TransportFault(FaultKind.TIMEOUT, f"{reply.method}: no answer in {deadline:g} s", sent=True)
    if reply.failure is not None:
        code, params = reply.failure
        return XapiFailure(code, *params)
    if reply.transport is not None:
        sent = reply.transport == "dropped"
        return TransportFault(KINDS[reply.transport], f"{reply.method}: {reply.transport}", sent=sent)
    return None
