"""What may happen to single calls on their way: lost, answered in vain, delivered twice, late; and what happens then.

A rule waits for the nth call of a method at a host and treats it. Calls of a BMC count as `bmc:status`, `bmc:off` and
`bmc:on`; those of other clients (`operator`) don't count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from reconciler.lab.engine import Lab
from reconciler.lab.errors import BmcSilent, Failure
from reconciler.lab.hosts import Reply
from reconciler.lab.schema import copy_value

OPERATOR = "operator"
"""The other client: what it calls is not counted and not treated."""
Deed = Callable[[], None]


@dataclass(slots=True)
class Rule:
    """What to do with calls `number` to `number + times - 1` of a method (a pattern; Async. or not) at a host ("":
    any). `before` is done when the call arrives, `after` when it has had its effect. `lost` is "request" or "reply";
    `silent`: nobody is told, else the connection breaks. `copies` further deliveries; `delay` in seconds."""

    method: str
    host: str = ""
    number: int = 1
    times: int = 1
    before: Deed | None = None
    after: Deed | None = None
    lost: str = ""
    silent: bool = False
    copies: int = 0
    delay: float = 0.0
    note: Callable[[str], None] = field(default=lambda _: None)
    seen: int = 0

    @property
    def spent(self) -> bool:
        """It has treated every call that it was for."""
        return self.seen >= self.number + self.times - 1

    def hits(self, method: str, host: str) -> bool:
        """Whether this call is one to treat; counts it."""
        name = method if self.method.startswith("Async.") else method.removeprefix("Async.")
        if self.spent or (self.host and self.host != host) or not fnmatchcase(name, self.method):
            return False
        self.seen += 1
        return self.seen >= self.number


class Carrier:
    """Carries the calls of one lab, by its rules."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.rules: list[Rule] = []

    def carry(self, reply: Reply, address: str, method: str, params: list[Any], source: str) -> None:
        """Bring one call to its host and its answer back."""
        lab = self._lab
        host = lab.at(address)
        name = host.name if host is not None else address
        rules = [] if source == OPERATOR else [rule for rule in self.rules if rule.hits(method, name)]
        if not rules:
            lab.kernel.after(lab.timing.latency, lambda: lab.deliver(reply, address, method, params, source))
            return

        def arrive() -> None:
            _begin(rules, method, name)
            lost = [rule for rule in rules if rule.lost == "request"]
            if lost:
                if not any(rule.silent for rule in lost):
                    reply.finish(lab.now, transport="dropped")
                return
            first = Reply(method, reply.sent_at)
            first.on_done(lambda inner: self._back(rules, reply, inner))
            copies = [copy_value(params) for _ in range(sum(rule.copies for rule in rules))]
            lab.deliver(first, address, method, params, source)
            for copy in copies:
                lab.deliver(Reply(method, reply.sent_at), address, method, copy, source)

        lab.kernel.after(lab.timing.latency + sum(rule.delay for rule in rules), arrive)

    def _back(self, rules: list[Rule], reply: Reply, inner: Reply) -> None:
        now = self._lab.now
        if inner.transport is not None:
            reply.finish(now, transport=inner.transport)
            return
        _end(rules)
        lost = [rule for rule in rules if rule.lost == "reply"]
        if any(rule.silent for rule in lost):
            return
        if lost:
            reply.finish(now, transport="dropped")
            return
        failure = Failure(inner.failure[0], *inner.failure[1]) if inner.failure is not None else None
        reply.finish(now, value=inner.value, failure=failure)

    def carry_bmc(self, host: str, action: str, ask: Callable[[], str]) -> str:
        """Bring a request to a BMC, which `ask` does. Raises BmcSilent when it, or its answer, is lost."""
        rules = [rule for rule in self.rules if rule.hits(f"bmc:{action}", host)]
        _begin(rules, f"bmc:{action}", host)
        if any(rule.lost == "request" for rule in rules):
            raise BmcSilent(f"the BMC of {host} did not hear")
        answer = ask()
        for _ in range(sum(rule.copies for rule in rules)):
            ask()
        _end(rules)
        if any(rule.lost == "reply" for rule in rules):
            raise BmcSilent(f"the answer of the BMC of {host} is lost")
        return answer


def _begin(rules: list[Rule], method: str, host: str) -> None:
    for rule in rules:
        rule.note(f"{method} at {host}")
        if rule.before is not None:
            rule.before()


def _end(rules: list[Rule]) -> None:
    for rule in rules:
        if rule.after is not None:
            rule.after()
