"""Commands about links, to each other and to storage: cut, healed, flapping."""

from __future__ import annotations

from functools import partial

from reconciler.lab.carrier import Deed
from reconciler.lab.engine import Lab
from reconciler.lab.fault_words import Command, Note, ScriptError, Usage, end_named, host_named, quantity, sr_named


def _cut(lab: Lab, words: list[str], note: Note) -> Deed:
    if len(words) != 2 or words[0] == words[1]:
        raise Usage
    return partial(lab.cut, end_named(lab, words[0]), end_named(lab, words[1]))


def _heal(lab: Lab, words: list[str], note: Note) -> Deed:
    match words:
        case ["all"]:
            return lambda: heal_all(lab)
        case [host]:
            return partial(lab.heal, host_named(lab, host), "*")
        case [a, b] if a != b:
            return partial(lab.heal, end_named(lab, a), end_named(lab, b))
    raise Usage


def heal_all(lab: Lab) -> None:
    """Undo every cut that there is."""
    for a, b in lab.world.cuts():
        lab.heal(a, b) if "*" not in (a, b) else lab.heal(b if a == "*" else a, "*")


def _isolate(lab: Lab, words: list[str], note: Note) -> Deed:
    if len(words) != 1:
        raise Usage
    return partial(lab.cut, host_named(lab, words[0]), "*")


def _partition(lab: Lab, words: list[str], note: Note) -> Deed:
    sets: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            sets.append([])
        else:
            sets[-1].append(end_named(lab, word))
    if len(sets) < 2 or not all(sets):
        raise Usage
    if len({end for one in sets for end in one}) != sum(len(one) for one in sets):
        raise ScriptError(f"partition {' '.join(words)}: nobody can be in two of the sets")
    pairs = [(a, b) for i, one in enumerate(sets) for other in sets[i + 1 :] for a in one for b in other]

    def act() -> None:
        for a, b in pairs:
            lab.cut(a, b)

    return act


def _flap(lab: Lab, words: list[str], note: Note) -> Deed:
    if len(words) != 4 or words[0] == words[1]:
        raise Usage
    a, b = end_named(lab, words[0]), end_named(lab, words[1])
    times = int(quantity(words[2], low=1, what="number of times"))
    every = quantity(words[3], low=0.01, what="number of seconds")

    def act() -> None:
        for turn in range(times):
            lab.kernel.after(turn * every, partial(lab.cut, a, b))
            lab.kernel.after((turn + 0.5) * every, partial(lab.heal, a, b))

    return act


def _storage(lab: Lab, words: list[str], note: Note) -> Deed:
    match words:
        case ["cut" | "heal" as how, host] | ["cut" | "heal" as how, host, _]:
            sr = sr_named(lab, words[2]) if len(words) > 2 else "storage"
            return partial(lab.cut if how == "cut" else lab.heal, host_named(lab, host), sr)
    raise Usage


def _sr_fails(lab: Lab, words: list[str], note: Note) -> Deed:
    match words:
        case ["fail" | "heal" as how, word]:
            sr = sr_named(lab, word)
        case _:
            raise Usage

    def act() -> None:
        for host in lab.hosts:
            (lab.cut if how == "fail" else lab.heal)(host, sr)

    return act


LINKS: dict[str, Command] = {
    "cut": _cut,
    "heal": _heal,
    "isolate": _isolate,
    "partition": _partition,
    "flap": _flap,
    "storage": _storage,
    "sr": _sr_fails,
}
