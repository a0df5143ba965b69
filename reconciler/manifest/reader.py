"""YAML text to plain values with the place of each.

PyYAML's C parser gives events; they are built into nodes here rather than by its composer, because the composer
recurses in C (a megabyte of `[` ends the process), costs five times as much, and resolves YAML 1.1 (`no` is not False
here, nor `10:20` a number). Aliases share their node, so a file never grows in memory; how large it would be if
written out is counted and limited.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from reconciler.core.wanted import Place
from reconciler.manifest.problems import Problem, quoted
from reconciler.manifest.text import decode, syntax_problem

MAX_VALUES = 400_000
"""Most values in one file, counted as if every alias were written out."""
MAX_DEPTH = 64
"""Deepest nesting; a manifest needs nine."""

Path = tuple[str | int, ...]

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,18}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,16}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_ENDS = frozenset({yaml.MappingEndEvent, yaml.SequenceEndEvent, yaml.DocumentEndEvent})
_TAG = "tag:yaml.org,2002:"


class Node:
    """A value and where it stands. `members` are a mapping's (key, value) nodes by key, `items` a sequence's nodes."""

    __slots__ = ("column", "is_merge", "items", "line", "members", "nulls", "size", "text", "value")

    def __init__(self, mark: Any, value: Any = None, text: str = "") -> None:
        self.line: int = mark.line + 1
        self.column: int = mark.column + 1
        self.value = value
        self.text = text
        """A scalar as it was written, so that `007` can be shown and kept as such."""
        self.size = 1
        """Values in it if every alias were written out."""
        self.is_merge = False
        """An unquoted `<<`, which as a key means: take over the keys of another block."""
        self.members: dict[str, tuple[Node, Node]] | None = None
        self.items: list[Node] | None = None
        self.nulls: set[str] | None = None
        """Keys that were written without a value; reported, and left out of `value`."""


@dataclass(frozen=True)
class Document:
    """One YAML document of a source. Paths are those of pydantic's `loc`."""

    source: str
    root: Node

    @property
    def value(self) -> Any:
        """The plain value: dict, list, str, int, float, bool or None."""
        return self.root.value

    def find(self, path: Path) -> Node:
        """The node at the path, or the deepest one on the way to it that exists."""
        return self._walk(path)[1]

    def place(self, path: Path = (), *, key: bool = False) -> Place:
        """Where the value at the path was written, or with `key` where its key was."""
        key_node, node = self._walk(path)
        at = key_node if key and key_node is not None else node
        return Place(self.source, at.line, at.column)

    def _walk(self, path: Path) -> tuple[Node | None, Node]:
        node, key = self.root, None
        for step in path:
            if node.members is not None and step in node.members:
                key, node = node.members[str(step)]
            elif node.items is not None and isinstance(step, int) and step < len(node.items):
                key, node = None, node.items[step]
            # Anything else is a step that only the models know (a single fence device is a list of one to them).
        return key, node


@dataclass
class _Frame:
    """A collection whose end has not been read."""

    node: Node
    anchor: str | None
    key: Node | None = None
    skip: bool = False
    """The key can't be used: its value is read and dropped."""
    merges: list[tuple[Node, Node]] = field(default_factory=list)


@dataclass
class _Reader:
    source: str
    documents: list[Document] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    stack: list[_Frame] = field(default_factory=list)
    anchors: dict[str, Node | None] = field(default_factory=dict)

    def problem(self, at: Any, what: str, why: str, remedy: str) -> None:
        line, column = (at.line, at.column) if isinstance(at, Node) else (at.line + 1, at.column + 1)
        self.problems.append(Problem(Place(self.source, line, column), what, why, remedy))

    def add(self, node: Node, *, is_scalar: bool) -> None:
        """Puts a finished node where it belongs."""
        if not self.stack:
            self.documents.append(Document(self.source, node))
            return
        frame = self.stack[-1]
        if frame.node.items is not None:
            self._append(frame.node, node)
        elif frame.key is None and not frame.skip:
            self._begin_key(frame, node, is_scalar=is_scalar)
        else:
            key, frame.key, skip, frame.skip = frame.key, None, frame.skip, False
            if not skip and key is not None:
                self._put(frame, key, node)

    def _append(self, into: Node, node: Node) -> None:
        assert into.items is not None
        into.size += node.size
        if node.value is None:
            self.problem(
                node, "an empty list item", "it says nothing", "Write a value after the `-` or remove the line."
            )
            return
        into.items.append(node)
        into.value.append(node.value)

    def _begin_key(self, frame: _Frame, node: Node, *, is_scalar: bool) -> None:
        if is_scalar:
            frame.key = node
            return
        frame.skip = True
        self.problem(
            node,
            "a key that is a list or a block",
            "keys are plain words",
            "Write `word: value`; put a text that starts with `[`, `{` or `*` in quotes.",
        )

    def _put(self, frame: _Frame, key: Node, node: Node) -> None:
        into = frame.node
        assert into.members is not None
        into.size += node.size + 1
        if key.is_merge:
            frame.merges.append((key, node))
            return
        if key.text in into.members or key.text in (into.nulls or ()):
            first = into.members[key.text][0] if key.text in into.members else into
            self.problem(
                key,
                f"{quoted(key.text)} is given twice",
                f"it already stands at {Place(self.source, first.line, first.column)}, and only one can hold",
                "Remove one of the two.",
            )
            return
        if node.value is None:
            into.nulls = (into.nulls or set()) | {key.text}
            self.problem(
                key,
                f"{quoted(key.text)} has no value",
                "what is left open means nothing",
                f"Write a value after {quoted(key.text + ':')} or remove the key: unset means as it is.",
            )
            return
        into.members[key.text] = (key, node)
        into.value[key.text] = node.value

    def close(self) -> None:
        """Ends the innermost collection."""
        frame = self.stack.pop()
        node = frame.node
        for key, source in frame.merges:
            for part in source.items if source.items is not None else [source]:
                if part.members is None:
                    self.problem(
                        key, "`<<` with something that has no keys", "only blocks can be merged", "Write `<<: *anchor`."
                    )
                    continue
                node.size += part.size
                for name, pair in part.members.items():
                    if name not in (node.members or {}) and node.members is not None:
                        node.members[name] = pair
                        node.value[name] = pair[1].value
        if frame.anchor:
            self.anchors[frame.anchor] = node
        self.add(node, is_scalar=False)


def read(text: bytes, source: str) -> tuple[list[Document], list[Problem]]:
    """Every document of the text. After a problem the documents are what could be read, and not to be acted on."""
    decoded, problems = decode(text, source)
    if decoded is None:
        return [], problems
    reader = _Reader(source)
    loader = yaml.CSafeLoader(decoded)
    count = 0
    try:
        while (event := loader.get_event()) is not None:
            count += type(event) not in _ENDS
            if count > MAX_VALUES:
                _too_many(reader, event.start_mark)
                return [], reader.problems
            if not _take(reader, event):
                return [], reader.problems
    except yaml.YAMLError as error:
        reader.problems.append(syntax_problem(error, source))
        return [], reader.problems
    return reader.documents, reader.problems


def _take(reader: _Reader, event: Any) -> bool:
    """Handles one event; False when reading must stop."""
    kind = type(event)
    if kind is yaml.ScalarEvent:
        node = _scalar(reader, event)
        if event.anchor:
            reader.anchors[event.anchor] = node
        reader.add(node, is_scalar=True)
    elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
        return _open(reader, event, is_map=kind is yaml.MappingStartEvent)
    elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
        reader.close()
        size = reader.stack[-1].node.size if reader.stack else reader.documents[-1].root.size
        if size > MAX_VALUES:
            return _too_many(reader, event.start_mark)
    elif kind is yaml.AliasEvent:
        return _alias(reader, event)
    elif kind is yaml.DocumentStartEvent:
        reader.anchors.clear()
    return True


def _open(reader: _Reader, event: Any, *, is_map: bool) -> bool:
    node = Node(event.start_mark)
    if is_map:
        node.members, node.value = {}, {}
    else:
        node.items, node.value = [], []
    if event.tag not in (None, "!", _TAG + ("map" if is_map else "seq")):
        _bad_tag(reader, node, event.tag)
    if event.anchor:
        reader.anchors[event.anchor] = None
    reader.stack.append(_Frame(node, event.anchor))
    if len(reader.stack) > MAX_DEPTH:
        reader.problem(
            node,
            "nesting",
            f"more than {MAX_DEPTH} levels are no manifest",
            "Check the indentation and the brackets here.",
        )
        return False
    return True


def _alias(reader: _Reader, event: Any) -> bool:
    name = event.anchor
    node = reader.anchors.get(name)
    if node is None:
        inside = name in reader.anchors
        reader.problem(
            event.start_mark,
            f"alias {quoted('*' + name)}",
            "it stands inside the block that it repeats" if inside else "no anchor of that name stands before it",
            f"Move it out of {quoted('&' + name)}."
            if inside
            else f"Add {quoted('&' + name)}, or put the text in quotes.",
        )
        return False
    reader.add(node, is_scalar=node.members is None and node.items is None)
    return True


def _too_many(reader: _Reader, mark: Any) -> bool:
    reader.problem(
        mark,
        "too many values",
        f"with its aliases written out the file holds more than {MAX_VALUES:,}",
        "Split the pool's virtualMachines over several files, or use fewer aliases.",
    )
    return False


def _scalar(reader: _Reader, event: Any) -> Node:
    text: str = event.value
    tag = event.tag
    if tag is None and event.implicit[0]:
        node = Node(event.start_mark, _plain(text), text)
        node.is_merge = text == "<<"
        return node
    if tag in (None, "!", _TAG + "str"):
        return Node(event.start_mark, text, text)
    node = Node(event.start_mark, _plain(text), text)
    wanted = {_TAG + "int": int, _TAG + "float": float, _TAG + "bool": bool}.get(tag)
    if wanted is None or type(node.value) is not wanted:
        _bad_tag(reader, node, tag)
    return node


def _plain(text: str) -> Any:
    """The value of an unquoted scalar by YAML 1.2's core schema. Dates and base 60 stay text."""
    first = text[:1]
    if first and first in "0123456789+-.":
        if _INT.fullmatch(text):
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        return text
    if text in _NULLS:
        return None
    return _BOOLS.get(text, text)


def _bad_tag(reader: _Reader, node: Node, tag: str) -> None:
    short = tag.replace(_TAG, "!!")
    reader.problem(node, f"tag {quoted(short)}", "manifests hold plain values only", "Remove the tag.")
