"""The port of a scenario: it writes down every call that changes something, and has traps at calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from reconciler.core.port import FaultKind, TransportFault
from reconciler.lab import Lab
from tests.support.calls import Killed, changes
from tests.support.labport import LabPort


@dataclass
class Trap:
    """Something that happens once at a call."""

    when: str
    method: str
    number: int
    delay: float
    then: str
    seen: int = 0


@dataclass
class TracedPort(LabPort):
    """A lab port that writes down every call that changes something, and has traps at calls."""

    lab: Lab
    world: Callable[[str], list[str]]
    name_of: Callable[[Any], str]
    source: str = "client"
    traps: list[Trap] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    began: float = 0.0
    plug: str = ""
    dead: bool = False
    """Killed: nothing is sent any more, whatever the program's `finally` clauses try."""

    def __post_init__(self) -> None:
        super().__init__(self.lab, source=self.source)
        self.before_call = self._before_call
        self.after_call = self._after_call

    def run_agent(self, agent: str, options: Any, *, deadline: float) -> Any:
        """Remember which host it is about."""
        self.plug = options.get("plug", "")
        return super().run_agent(agent, options, deadline=deadline)

    def say(self, text: str) -> None:
        """A line of what was called."""
        self.written.append(f"+{self.now() - self.began:<7.1f} {text}")

    def _before_call(self, address: str, method: str, params: Sequence[Any]) -> None:
        if self.dead:
            raise Killed
        if changes(method):
            at = self.lab.at(address)
            named = (
                [self.plug] if method.startswith("agent:") else [self.name_of(p) for p in params[1:]]
            )  # [0]: session
            words = " ".join(n for n in named if n)
            self.say(f"{at.name if at else address}: {method} {words}".rstrip())
        self._spring("before", method)

    def _after_call(self, address: str, method: str, params: Sequence[Any]) -> None:
        self._spring("after", method)

    def _spring(self, when: str, method: str) -> None:
        for trap in list(self.traps):
            if trap.when != when or not fnmatchcase(method, trap.method):
                continue
            trap.seen += 1
            if trap.seen != trap.number:
                continue
            self.traps.remove(trap)
            self._happen(trap, method)

    def _happen(self, trap: Trap, method: str) -> None:
        if trap.delay:
            self.lab.kernel.after(trap.delay, lambda: self._told(trap.then))
        elif trap.then == "die":
            self.say(f"  (killed {trap.when} {method})")
            self.dead = True
            raise Killed
        elif trap.then == "lose":
            what = "request" if trap.when == "before" else "reply"
            self.say(f"  (the {what} of {method} is lost)")
            raise TransportFault(FaultKind.DROPPED, f"{method}: the connection broke", sent=True)
        else:
            self._told(trap.then)

    def _told(self, command: str) -> None:
        self.say(f"  ({command})")
        for line in self.world(command):
            self.say(f"  ({line})")


def trap(line: str) -> Trap:
    """What `before METHOD: …` and `after METHOD: …` of a script mean."""
    head, _, then = line.partition(": ")
    when, method, *later = head.split()
    method, _, number = method.partition("#")
    delay = float(later[0].removeprefix("+")) if later else 0.0
    return Trap(when, method, int(number or 1), delay, then.strip())
