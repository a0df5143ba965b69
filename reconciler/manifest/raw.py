"""Careful reading of values whose shape was not validated, so that cross checks run beside other mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.core.wanted import Place, SelectorKind
from reconciler.manifest.reader import Document, Path

SELECTORS = ("name", "pattern", "tag", "uuid")


def block(value: Any, *keys: str) -> dict[str, Any]:
    """The block at the keys; empty where there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def blocks(value: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """The blocks of a list with their positions."""
    if isinstance(value, list):
        yield from ((index, item) for index, item in enumerate(value) if isinstance(item, dict))


def texts(value: Any) -> Iterator[tuple[int, str]]:
    """The texts of a list with their positions."""
    if isinstance(value, list):
        yield from ((index, item) for index, item in enumerate(value) if isinstance(item, str))


def text(value: Any) -> str | None:
    """The value if it is a text."""
    return value if isinstance(value, str) else None


def is_pattern(name: str) -> bool:
    """Whether a name selects by its form."""
    return any(sign in name for sign in "*?[")


def selector(keys: Mapping[str, Any]) -> tuple[SelectorKind, str] | None:
    """How an entry selects its VMs; None unless it has exactly one selector."""
    given = [(key, keys[key]) for key in SELECTORS if isinstance(keys.get(key), str)]
    if len(given) != 1:
        return None
    key, value = given[0]
    kind = SelectorKind(key)
    if kind is SelectorKind.NAME and is_pattern(value):
        kind = SelectorKind.PATTERN
    return kind, value.lower() if kind is SelectorKind.UUID else value


@dataclass(frozen=True)
class Entry:
    """One virtualMachines entry as written, with the defaults of its file."""

    doc: Document
    index: int
    own: dict[str, Any]
    defaults: dict[str, Any]
    kind: SelectorKind | None
    value: str

    @property
    def path(self) -> Path:
        """Of the entry."""
        return ("spec", "virtualMachines", self.index)

    def get(self, key: str) -> Any:
        """A setting: the entry's own or the default."""
        return self.own.get(key, self.defaults.get(key))

    def path_of(self, key: str) -> Path:
        """Where the setting was written."""
        return (*self.path, key) if key in self.own else ("spec", "defaults", key)

    def place(self, *path: str | int) -> Place:
        """The place of something within a setting; of the entry itself without a path."""
        if not path:
            return self.doc.place(self.path)
        return self.doc.place((*self.path_of(str(path[0])), *path[1:]))

    def __str__(self) -> str:
        return self.value if self.kind in (SelectorKind.NAME, SelectorKind.PATTERN) else f"{self.kind} {self.value}"


def entries(doc: Document) -> list[Entry]:
    """Every virtualMachines entry of a document that is a block."""
    defaults = block(doc.value, "spec", "defaults")
    found = []
    for index, own in blocks(block(doc.value, "spec").get("virtualMachines")):
        kind, value = selector(own) or (None, "")
        found.append(Entry(doc, index, own, defaults, kind, value))
    return found
