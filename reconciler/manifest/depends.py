"""dependsOn: which entry each word means, and that it leads nowhere in a circle."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter

from reconciler.core.wanted import SelectorKind
from reconciler.manifest.problems import Problem, did_you_mean, quoted
from reconciler.manifest.raw import Entry, is_pattern, texts

_MAX_CYCLES = 20
"""So many are named; who has more changes something fundamental first."""
_MAX_MATCHES = 2_000_000
"""Comparisons of words with patterns; a pool of 5,000 VMs with 100 patterns needs a quarter."""
_MAX_GUESSES = 10_000
"""Entries beyond which a slip of the pen is not looked for, as that compares each with each."""


def check_depends(entries: Sequence[Entry]) -> Iterator[Problem]:
    """Unknown words, dependencies on VMs that are to be off, and circles (named by their entries)."""
    index = _Index(entries)
    graph: dict[int, dict[int, int]] = {}
    for number, entry in enumerate(entries):
        for position, word in texts(entry.own.get("dependsOn")):
            found = index.find(word)
            if not found:
                yield _unknown(entry, position, word, index)
            if word in index.shared:
                first, second = (entries[n] for n in index.shared[word])
                if first.kind is not second.kind:
                    yield Problem(
                        entry.place("dependsOn", position),
                        f"{quoted(str(entry))} depends on {quoted(word)}",
                        f"that is a {first.kind} ({first.place()}) and a {second.kind} ({second.place()})",
                        "Change one of the two, or list the VMs by other names.",
                    )
            for other in found:
                if other == number and entry.value != word:
                    continue  # it matches its own dependency's pattern, which means the others of it
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
    """Entries by their texts, which is what a dependsOn word must be."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.by_text: dict[str, int] = {}
        self.shared: dict[str, tuple[int, int]] = {}
        """Texts that two entries have, say a name and a tag."""
        for number, entry in enumerate(entries):
            if entry.kind is not None and self.by_text.setdefault(entry.value, number) != number:
                self.shared[entry.value] = (self.by_text[entry.value], number)
        self.names = {e.value: n for n, e in enumerate(entries) if e.kind is SelectorKind.NAME}
        self.patterns = [e.value for e in entries if e.kind is SelectorKind.PATTERN]
        self._found: dict[str, tuple[int, ...]] = {}
        self._matches = 0

    def find(self, word: str) -> tuple[int, ...]:
        """The entry of that text; for a pattern also each entry that names a VM that it matches."""
        if word not in self._found:
            self._found[word] = tuple(self._search(word))
        return self._found[word]

    def _search(self, word: str) -> Iterator[int]:
        number = self.by_text.get(word, self.by_text.get(word.lower()))
        if number is None:
            return
        yield number
        if is_pattern(word) and self._matches <= _MAX_MATCHES:
            self._matches += len(self.names)
            wanted = re.compile(fnmatch.translate(word))
            yield from (other for name, other in self.names.items() if other != number and wanted.match(name))

    def covering(self, word: str) -> str | None:
        """A pattern entry that selects a VM of that name."""
        self._matches += len(self.patterns)
        if self._matches > _MAX_MATCHES:
            return None
        return next((pattern for pattern in self.patterns if fnmatch.fnmatchcase(word, pattern)), None)


def _unknown(entry: Entry, position: int, word: str, index: _Index) -> Problem:
    covering = index.covering(word)
    meant = did_you_mean(word, index.by_text) if len(index.by_text) < _MAX_GUESSES else None
    if covering is not None:
        remedy = f"Write {quoted(covering)}, which selects it, or add an entry of its own."
    elif meant is not None:
        remedy = f"Did you mean {quoted(meant)}?"
    else:
        remedy = f"Add an entry `- name: {word[:60]}`, or remove the dependency."
    return Problem(
        entry.place("dependsOn", position),
        f"{quoted(str(entry))} depends on {quoted(word)}",
        "no entry of virtualMachines has that text",
        remedy,
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
