"""A run as its journal tells it: who, from what, what was done, how it ended. Pure; nothing in a journal is trusted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One run in short. Times in UTC seconds, 0.0 when the journal does not say.

    `ended` False: there is no last line, so the run was killed, or is still at it.
    """

    run: str
    at: float = 0.0
    by: str = ""
    version: str = ""
    source: str = ""
    commit: str = ""
    command: str = ""
    """What was typed, when it was not apply."""
    attended: bool = True
    until: float = 0.0
    results: Mapping[str, int] = field(default_factory=dict)
    """How many actions ended in each way."""
    final: str = ""
    stopped: str = ""
    ended: bool = False
    certificates: tuple[str, ...] = ()
    """The proofs of death that its first plan rested on, in words."""
    under_way: tuple[str, ...] = ()
    """What was begun and never ended, in words."""
    damaged: int = 0
    about: tuple[str, ...] = ()
    """What a person did by hand, in words: whose death they attested, what they paused."""

    @property
    def result(self) -> str:
        """What came of it, in few words."""
        counted = ", ".join(f"{number} {name}" for name, number in sorted(self.results.items())) or "nothing done"
        if self.command:
            told = "; ".join((*self.about, *([] if self.ended else ["no end recorded"]))) or self.final
            return self.command + (f": {told}" if told else "")
        if not self.ended:
            left = f"; under way: {', '.join(self.under_way)}" if self.under_way else ""
            return f"{counted}; no end recorded{left}"
        return f"{counted}; {f'stopped: {self.stopped}' if self.stopped else _left(self.final)}"


_ENDS = {"clean": "as declared", "changes": "more is to be done", "blocked": "what is left is withheld or can't be met"}


def _left(final: str) -> str:
    """What the last plan of a run came to."""
    return _ENDS.get(final, final) or "no plan at its end"


def summary(run: str, lines: Sequence[Line]) -> Run:
    """A run in short, from its journal's lines."""
    first: Line = next((one for one in lines if one.get("kind") == "run"), {})
    last: Line = next((one for one in reversed(lines) if one.get("kind") == "run-end"), {})
    names = _names(lines)
    results: dict[str, int] = {}
    open_actions: dict[str, str] = {}
    for one in lines:
        action = _text(one, "action")
        if one.get("kind") == "begin":
            open_actions[action] = names.get(action, action)
        elif one.get("kind") == "end" and action:
            open_actions.pop(action, None)
            result = _text(one, "result") or "?"
            results[result] = results.get(result, 0) + 1
    proofs = first.get("certificates")
    return Run(
        run,
        _time(first) or next((at for one in lines if (at := _time(one))), 0.0),
        _text(first, "by"),
        _text(first, "version"),
        _text(first, "source"),
        _text(first, "commit"),
        _text(first, "command"),
        first.get("attended") is not False,
        max((_time(one) for one in lines), default=0.0),
        results,
        _text(last, "final"),
        _text(last, "stopped"),
        bool(last),
        tuple(_proof(one) for one in proofs if isinstance(one, dict)) if isinstance(proofs, list) else (),
        tuple(open_actions.values()) if not last else (),
        sum(one.get("kind") == "damaged" for one in lines),
        tuple(told for one in lines if (told := _by_hand(one))),
    )


def timeline(lines: Iterable[Line]) -> list[tuple[float | None, str]]:
    """(UTC seconds or None, what happened) for every line."""
    lines = list(lines)
    names = _names(lines)
    return [(_time(one) or None, _words(one, names)) for one in lines]


def _words(one: Line, names: Mapping[str, str]) -> str:
    action = _text(one, "action")
    name = names.get(action, action)
    method, address = _text(one, "method"), _text(one, "address")
    match one.get("kind"):
        case "run":
            command = _text(one, "command") or "apply"
            return f"{command} begins: by {_text(one, 'by') or '?'}, {_text(one, 'source') or 'no manifest'}"
        case "lease":
            return f"lease {_text(one, 'what')} ({_text(one, 'key')})"
        case "stage":
            return f"stage {_text(one, 'stage')} begins at {_text(one, 'master') or 'no master'}"
        case "stage-end":
            stopped = _text(one, "stopped")
            return f"stage {_text(one, 'stage')} ends" + (f": {stopped}" if stopped else "")
        case "begin":
            return f"{name}: begins, because {_text(one, 'why') or '?'}"
        case "intent" | "reply" if not action:
            return _by_hand(one)
        case "intent":
            return f"{name}: about to send {method} to {address}"
        case "reply":
            return f"{name}: {method}: {_text(one, 'what')}"
        case "end":
            why = _text(one, "why")
            return f"{name}: {_text(one, 'result')}" + (f": {why}" if why else "")
        case "milestone":
            return f"{name}: {_text(one, 'what')}"
        case "certificate":
            proof = one.get("certificate")
            return f"certificate: {_proof(proof) if isinstance(proof, dict) else '?'}"
        case "void":
            return f"the certificate of {_text(one, 'host')} is void: {_text(one, 'why')}"
        case "interrupted":
            return f"interrupted by {_text(one, 'by')}"
        case "run-end":
            stopped = _text(one, "stopped")
            return f"run ends: {f'stopped: {stopped}' if stopped else _left(_text(one, 'final'))}"
        case "turn":
            return f"the turn of {_text(one, 'host')}, phase {_text(one, 'phase')}"
        case "command":
            argv = one.get("argv")
            words = " ".join(str(word) for word in argv) if isinstance(argv, list) else "?"
            return f"the command for {_text(one, 'host')} begins: {words}"
        case "command-end":
            return f"the command for {_text(one, 'host')} ended with {_text(one, 'code') or 'its deadline'}"
        case "damaged":
            return f"line {one.get('line')} of the journal can't be read"
        case kind:
            return _by_hand(one) or str(kind)


def _by_hand(one: Line) -> str:
    """What a person did beside runs, and what it was about; "" for any other line."""
    match one.get("kind"), one.get("certificate"), one.get("pause"), one.get("pauses"):
        case "certificate", dict() as proof, _, _:
            return _proof(proof)
        case "intent", _, _, _ if not one.get("action"):
            agents = one.get("agents")
            told = " and ".join(str(agent) for agent in agents) if isinstance(agents, list) else "?"
            return f"{_text(one, 'target')} by {told}, because {_text(one, 'why') or '?'}"
        case "reply", _, _, _ if not one.get("action"):
            return _text(one, "what")
        case "refused", _, _, _:
            return f"{_text(one, 'host')} not recorded: {_text(one, 'why')}"
        case "revoked", _, _, _:
            return f"{_text(one, 'host')} taken back"
        case "pause", _, dict() as held, _:
            return f"{_paused(held)}: {_text(held, 'reason')}"
        case "unpause", _, _, list() as ended:
            return "ended for " + ", ".join(_paused(held) for held in ended if isinstance(held, dict)) if ended else ""
    return ""


def _paused(held: Line) -> str:
    return f"VM {_text(held, 'vm')}" if held.get("vm") else "the pool"


def _names(lines: Iterable[Line]) -> dict[str, str]:
    """Action id -> its words, from the line that began it."""
    return {_text(one, "action"): _text(one, "what") for one in lines if one.get("kind") == "begin" and one.get("what")}


def _proof(one: Line) -> str:
    return f"{_text(one, 'host')} {_text(one, 'kind')} by {_text(one, 'by')}: {_text(one, 'reason')}"


def _text(one: Line, name: str) -> str:
    value = one.get(name)
    return "" if value is None else str(value)


def _time(one: Line) -> float:
    value = one.get("at")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0.0
    return float(value) if 0 <= value < 253_402_300_000 else 0.0
