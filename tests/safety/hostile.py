"""A pool that answers nonsense: a port that spoils answers, by a seed or at one call."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from reconciler.core.port import AgentRun, Answer, Ask, Fault, FaultKind, TransportFault, XapiFailure
from reconciler.execute.desk import LostReply, MasterLost
from reconciler.execute.lease import LeaseBusy
from reconciler.lab import Lab
from reconciler.state.disk import StateError
from tests.support.labport import LabPort

EXPECTED = (Fault, LeaseBusy, MasterLost, LostReply, StateError)
"""Troubles that the command line turns into a message and an exit code."""

Spoiler = Callable[[random.Random, Any], Any]


def nothing(rng: random.Random, value: Any) -> Any:
    """Another type altogether."""
    return rng.choice([None, True, 0, -1, 3.5, "", "x", [], {}, [1, None], {"": None}, [[]], {"a": {"b": []}}])


def no_map(rng: random.Random, value: Any) -> Any:
    """Another type than a map of records; an empty map would be one."""
    while isinstance(found := nothing(rng, value), dict):
        pass
    return found


def no_text(rng: random.Random, value: Any) -> Any:
    """Another type; not a text, for any text may be a session's name, and using it is how to find out.

    Where XAPI said nothing, "" and None say the same as it did (a call without a result is answered with either).
    """
    silence = ("", None)
    while (isinstance(found := nothing(rng, value), str) and found) or (value in silence and found in silence):
        pass
    return found


def fewer(rng: random.Random, value: Any) -> Any:
    """Truncated: keys or ends are missing."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if rng.random() < 0.6}
        return {k: fewer(rng, v) if rng.random() < 0.5 else v for k, v in kept.items()}
    if isinstance(value, list | str):
        return value[: rng.randrange(len(value) + 1)]
    return None


def other(rng: random.Random, value: Any) -> Any:
    """One thing deep inside is of another type."""
    if isinstance(value, dict) and value:
        key = rng.choice(sorted(value))
        return {**value, key: other(rng, value[key]) if rng.random() < 0.8 else nothing(rng, value[key])}
    if isinstance(value, list) and value:
        place = rng.randrange(len(value))
        return [*value[:place], other(rng, value[place]), *value[place + 1 :]]
    return nothing(rng, value)


def huge(rng: random.Random, value: Any) -> Any:
    """Far too much."""
    return rng.choice(["A" * 300_000, [value] * 3_000, {f"OpaqueRef:{n}": value for n in range(3_000)}, 10**400, 1e300])


def odd(rng: random.Random, value: Any) -> Any:
    """Texts that nobody expects."""
    return rng.choice(["OpaqueRef:NULL", "\x00\x1b[2J\ud800", "None", "true", "-1", "1e999", "../../etc", "{}", "\n\n"])


SPOILERS: tuple[Spoiler, ...] = (nothing, fewer, other, huge, odd)


class HostilePort(LabPort):
    """`spoil(method)` says whether the answer to this call is spoilt. A spoilt call has had its effect.

    With `ways` given, only what XAPI said is spoilt, in these ways and no other; silence stays silence. `spoilt` lists
    the methods whose answers were.
    """

    def __init__(self, lab: Lab, seed: int, spoil: Callable[[str], bool], ways: tuple[Spoiler, ...] = ()) -> None:
        super().__init__(lab)
        self.ways = ways
        self.rng = random.Random(seed)
        self.spoil = spoil
        self.spoilt: list[str] = []
        self.since = 0
        """How many calls there were when the first answer was spoilt."""

    def call(self, address: str, method: str, params: Sequence[Any], *, deadline: float) -> Any:
        """A call, and perhaps nonsense for an answer."""
        try:
            value = super().call(address, method, params, deadline=deadline)
        except Fault as fault:
            if self.spoil(method) and not (self.ways and isinstance(fault, TransportFault)):
                return self._instead(method, None, deadline)
            raise
        return self._instead(method, value, deadline) if self.spoil(method) else value

    def ask_all(self, asks: Sequence[Ask]) -> list[Answer]:
        """A round, some of whose answers are nonsense."""
        answers = super().ask_all(asks)
        for index, ask in enumerate(asks):
            name = ask.method or ask.kind
            if ask.kind == "tcp" or not self.spoil(name):
                continue
            if self.ways and (ask.kind == "agent" or isinstance(answers[index].fault, TransportFault)):
                continue
            if ask.kind == "agent":
                answers[index] = Answer(self._agent_says())
                continue
            try:
                answers[index] = Answer(self._instead(name, answers[index].value, ask.deadline))
            except Fault as fault:
                answers[index] = Answer(None, fault)
        return answers

    def run_agent(self, agent: str, options: Any, *, deadline: float) -> AgentRun:
        """An agent that may say anything."""
        run = super().run_agent(agent, options, deadline=deadline)
        return self._agent_says() if not self.ways and self.spoil(f"agent:{options.get('action')}") else run

    def _agent_says(self) -> AgentRun:
        texts = ["", "Status: ON", "Status: OFF\nStatus: ON", "\x00" * 9, "é" * 50_000, "<xml", "<?xml?><a>" * 500]
        self.spoilt.append("agent")
        return AgentRun(self.rng.choice([None, 0, 1, 2, -9, 255]), self.rng.choice(texts), self.rng.choice(texts))

    def _instead(self, method: str, value: Any, deadline: float) -> Any:
        self.spoilt.append(method)
        self.since = self.since or len(self.calls)
        if self.ways:
            return self.rng.choice(self.ways)(self.rng, value)
        how = self.rng.randrange(10)
        if how == 0:  # it never ends
            self.wait(deadline)
            raise TransportFault(FaultKind.TIMEOUT, f"{method}: still coming after {deadline:g} s", sent=True)
        if how == 1:
            kind = self.rng.choice(list(FaultKind))
            raise TransportFault(kind, f"{method}: {kind}", sent=kind is not FaultKind.REFUSED)
        if how == 2:
            code = self.rng.choice(
                ["HOST_IS_SLAVE", "INTERNAL_ERROR", "SESSION_INVALID", "HANDLE_INVALID", "NONSENSE", ""]
            )
            params = self.rng.choice([(), ("",), ("127.0.0.9",), ("a", "b", "c", "d"), ("\x1b[2J" * 500,)])
            raise XapiFailure(code, *params)
        return self.rng.choice(SPOILERS)(self.rng, value)
