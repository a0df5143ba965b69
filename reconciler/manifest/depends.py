"""dependsOn: what each word refers to, and that it leads nowhere in a circle."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter

from reconciler.core.wanted import SelectorKind
from reconciler.manifest.problems import Problem, Severity, did_you_mean, quoted
from reconciler.manifest.raw import Entry, is_pattern, texts

_MAX_CYCLES = 20
"""So many are named; who has more changes something fundamental first."""
_MAX_MATCHES = 2_000_000
"""Comparisons of words with patterns; a pool of 5,000 VMs with 100 patterns needs a quarter."""


def check_depends(entries: Sequence[Entry]) -> Iterator[Problem]:
    """Unknown words, dependencies on VMs that are to be off, and circles (named by their entries)."""
    index = _Index(entries)
    graph: dict[int, dict[int, int]] = {}
    for number, entry in enumerate(entries):
        for position, word in texts(entry.own.get("dependsOn")):
            found = index.find(word)
            if not found:
                yield _unknown(entry, position, word, index)
            for other in found:
                graph.setdefault(number, {}).setdefault(other, position)
                state = entries[other].get("state")
                if entry.get("state") == "running" and state in ("halted", "suspended"):
                    yield Problem(
                        entry.place("dependsOn", position),
                        f"{quoted(str(entry))} depends on {quoted(word)}",
                        f"it is to run, but {quoted(str(entries[other]))} is to be {state}",
                        "Let both run, or remove the dependency.",
                    )
    yield from _cycles(entries, graph)


class _Index:
    """Entries by what a dependsOn word may call them. The most exact entry wins, as for VMs."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.names = {e.value: n for n, e in enumerate(entries) if e.kind is SelectorKind.NAME}
        self.uuids = {e.value: n for n, e in enumerate(entries) if e.kind is SelectorKind.UUID}
        self.tags = {e.value for e in entries if e.kind is SelectorKind.TAG}
        self.patterns: dict[str, tuple[int, re.Pattern[str]]] = {
            e.value: (n, re.compile(fnmatch.translate(e.value)))
            for n, e in enumerate(entries)
            if e.kind is SelectorKind.PATTERN
        }
        self._found: dict[str, tuple[int, ...]] = {}
        self._matches = 0

    @property
    def is_open(self) -> bool:
        """Whether a word may name a VM that only the pool knows: one with a tag, or one listed by its uuid."""
        return bool(self.tags or self.uuids or self._matches > _MAX_MATCHES)

    def find(self, word: str) -> tuple[int, ...]:
        if word not in self._found:
            self._found[word] = tuple(self._search(word))
        return self._found[word]

    def _search(self, word: str) -> Iterator[int]:
        if word.lower() in self.uuids:
            yield self.uuids[word.lower()]
        elif word in self.names:
            yield self.names[word]
        elif is_pattern(word):
            if word in self.patterns:
                yield self.patterns[word][0]
            self._matches += len(self.names)
            if self._matches <= _MAX_MATCHES:
                wanted = re.compile(fnmatch.translate(word))
                yield from (number for name, number in self.names.items() if wanted.match(name))
        else:
            self._matches += len(self.patterns)
            if self._matches <= _MAX_MATCHES:
                yield from (number for number, pattern in self.patterns.values() if pattern.match(word))


def _unknown(entry: Entry, position: int, word: str, index: _Index) -> Problem:
    place = entry.place("dependsOn", position)
    what = f"{quoted(str(entry))} depends on {quoted(word)}"
    if word in index.tags:
        return Problem(place, what, "that is a tag", "Name the VMs, or give their names a pattern entry.")
    meant = did_you_mean(word, [*index.names, *index.patterns]) if len(index.names) < 10_000 else None
    if index.is_open or (is_pattern(word) and index.patterns):
        return Problem(
            place,
            what,
            "no entry has that name; it holds only for VMs that another entry selects",
            f"Did you mean {quoted(meant)}?" if meant else "Plan says which VMs it found.",
            Severity.WARNING,
        )
    return Problem(
        place,
        what,
        "no entry of virtualMachines names it",
        f"Did you mean {quoted(meant)}?" if meant else f"Add an entry `- name: {word[:60]}`, or remove the dependency.",
    )


def _cycles(entries: Sequence[Entry], graph: dict[int, dict[int, int]]) -> Iterator[Problem]:
    for number in [n for n, others in graph.items() if n in others]:
        yield _cycle(entries, [number, number], graph[number].pop(number))
    for _ in range(_MAX_CYCLES):
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            # Each member is a dependency of the next one; people read it the other way round.
            circle: list[int] = list(reversed(error.args[1]))
            first = circle.index(min(circle[:-1]))
            circle = circle[first:-1] + circle[:first] + [circle[first]]
            yield _cycle(entries, circle, graph[circle[0]].pop(circle[1]))
        else:
            return


def _cycle(entries: Sequence[Entry], circle: list[int], position: int) -> Problem:
    words = [quoted(str(entries[number])) for number in circle]
    if len(words) > 12:
        words = [*words[:6], f"… {len(words) - 10} more …", *words[-4:]]
    return Problem(
        entries[circle[0]].place("dependsOn", position),
        f"dependsOn in a circle {' -> '.join(words)}",
        "none of them could ever be started first",
        "Remove one of these dependencies.",
    )
