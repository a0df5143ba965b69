"""Files to Wanted. The only exception that leaves this module for a bad manifest is ManifestError."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from reconciler.core.wanted import Place, Wanted
from reconciler.manifest import models, raw
from reconciler.manifest.checks import check
from reconciler.manifest.explain import explain
from reconciler.manifest.problems import ManifestError, Problem, Severity, did_you_mean, in_order, listing, quoted
from reconciler.manifest.reader import Document, read
from reconciler.manifest.text import MAX_BYTES
from reconciler.manifest.wanted import VmPart, build

SUFFIXES = (".yaml", ".yml")
"""What a folder's manifests are called."""


@dataclass(frozen=True)
class Loaded:
    """What came of one pool of a folder, or of one file that belongs to no pool: `wanted`, or else problems."""

    source: str
    """The pool's file, or the file that can't be used."""
    name: str | None
    """The pool's name, where it could be read."""
    wanted: Wanted | None
    problems: tuple[Problem, ...] = ()


@dataclass
class _Part:
    """One YAML document and what became of it."""

    doc: Document
    content: bytes
    kind: str
    name: str | None
    model: models.Manifest | None
    problems: list[Problem] = field(default_factory=list)


def load(text: bytes, source: str, *, commit: str | None = None) -> Wanted:
    """The one pool that the text describes, in one YAML document or several. `source` names it in every place.

    Raises ManifestError with every problem.
    """
    found = load_many([(text, source)], commit=commit)
    problems = [problem for one in found for problem in one.problems]
    if len(found) > 1 and not problems:
        names = listing((quoted(str(one.name)) for one in found), "and")
        place = found[1].wanted.connection.place if found[1].wanted else None
        problems = [
            Problem(
                place or Place(source, 1, 1),
                f"the file describes the pools {names}",
                "a command is about one pool",
                "Give each pool its file, and the folder to the command.",
            )
        ]
    if problems or found[0].wanted is None:
        raise ManifestError(problems)
    return found[0].wanted


def load_file(path: str | os.PathLike[str], *, commit: str | None = None) -> Wanted:
    """The pool that the file describes. Raises ManifestError, also for a file that can't be read."""
    content, problem = _read_file(Path(path))
    if problem is not None:
        raise ManifestError([problem])
    return load(content, str(path), commit=commit)


def load_folder(path: str | os.PathLike[str], *, commit: str | None = None) -> list[Loaded]:
    """Every pool of a folder's *.yaml and *.yml files (not of the folders in it), by source. A bad file stops no other.

    Raises ManifestError if the folder can't be read or holds no such file.
    """
    folder = Path(path)
    place = Place(str(path), 1, 1)
    try:
        files = sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and not p.name.startswith("."))
    except OSError as error:
        why = error.strerror or "it can't be read"
        raise ManifestError([Problem(place, "the folder", why, "Give a folder of manifests.")]) from None
    if not files:
        raise ManifestError(
            [Problem(place, "the folder", "it holds no *.yaml or *.yml file", "`xenrec export` writes a manifest.")]
        )
    contents: list[tuple[bytes, str]] = []
    failed: list[Loaded] = []
    for file in files:
        content, problem = _read_file(file)
        if problem is None:
            contents.append((content, str(file)))
        else:
            failed.append(Loaded(str(file), None, None, (problem,)))
    return sorted([*load_many(contents, commit=commit), *failed], key=lambda one: (one.source, one.name or ""))


def load_many(files: Iterable[tuple[bytes, str]], *, commit: str | None = None) -> list[Loaded]:
    """Every pool of the files, each given as (content, source), in the order of the files.

    A document of kind VirtualMachines adds its entries to the pool of the same metadata.name, wherever that stands. A
    document with a problem spoils its own pool only.
    """
    parts: list[_Part] = []
    results: list[Loaded] = []
    for content, source in files:
        found, problems = _parts(content, source)
        if problems:
            results.append(Loaded(source, None, None, in_order(problems)))
        parts.extend(found)
    pools: dict[str, list[_Part]] = {}
    others: list[_Part] = []
    for part in parts:
        if part.kind == "Pool" and part.name is not None:
            pools.setdefault(part.name, []).append(part)
        else:
            others.append(part)
    more: dict[str, list[_Part]] = {}
    for part in others:
        if part.kind == "VirtualMachines" and part.name in pools:
            more.setdefault(str(part.name), []).append(part)
        else:
            results.append(_alone(part, pools))
    results.extend(_assemble(name, same, more.get(name, []), commit) for name, same in pools.items())
    order = {part.doc.source: number for number, part in reversed(list(enumerate(parts)))}
    return sorted(results, key=lambda one: order.get(one.source, -1))


def _assemble(name: str, pools: Sequence[_Part], more: Sequence[_Part], commit: str | None) -> Loaded:
    pool, parts = pools[0], [pools[0], *more]
    problems = [problem for part in parts for problem in part.problems]
    for second in pools[1:]:
        place = second.doc.place(("metadata", "name"))
        first = pool.doc.place(("metadata", "name"))
        remedy = "Use another name, or kind VirtualMachines for more VMs of that pool."
        problems += [*second.problems, Problem(place, f"pool {quoted(name)}", f"{first} describes it already", remedy)]
    problems += check(pool.doc, [entry for part in parts for entry in raw.entries(part.doc)])
    if any(problem.severity is Severity.ERROR for problem in problems):
        return Loaded(pool.doc.source, name, None, in_order(problems))
    assert isinstance(pool.model, models.PoolManifest)
    vm_parts = [VmPart(part.doc, part.model.spec) for part in parts if part.model is not None]
    digest = hashlib.sha256(b"".join(dict.fromkeys(part.content for part in parts))).hexdigest()
    wanted = build(pool.doc, pool.model, vm_parts, digest, commit)
    warnings = [(p.place, f"{p.what}: {p.why}. {p.remedy}") for p in in_order(problems)]
    return Loaded(pool.doc.source, name, replace(wanted, notes=_by_place([*wanted.notes, *warnings])))


def _by_place(notes: Sequence[tuple[Place | None, str]]) -> tuple[tuple[Place | None, str], ...]:
    def key(note: tuple[Place | None, str]) -> tuple[str, int, int, str]:
        place = note[0] or Place("", 0, 0)
        return (place.file, place.line, place.column, note[1])

    return tuple(sorted(notes, key=key))


def _alone(part: _Part, pools: Iterable[str]) -> Loaded:
    """A document that belongs to no pool here."""
    problems = list(part.problems)
    if part.kind == "Pool":
        problems += check(part.doc, raw.entries(part.doc))
    elif part.name is not None:
        meant = did_you_mean(part.name, pools)
        problems.append(
            Problem(
                part.doc.place(("metadata", "name")),
                f"VMs of the pool {quoted(part.name)}",
                "no file here describes that pool",
                f"Did you mean {quoted(meant)}?" if meant else "Give its folder, or its kind: Pool in the same file.",
            )
        )
    return Loaded(part.doc.source, part.name, None, in_order(problems))


def _parts(content: bytes, source: str) -> tuple[list[_Part], list[Problem]]:
    """Every document; or the problems for which none of them can be trusted."""
    documents, problems = read(content, source)
    documents = [doc for doc in documents if doc.value is not None]
    if not documents and not problems:
        remedy = "`xenrec export` writes a manifest from a pool; `manifests/` has examples."
        return [], [Problem(Place(source, 1, 1), "the file", "it is empty", remedy)]
    if not documents:
        return [], problems
    parts = [_part(doc, content) for doc in documents]
    # Places tell which document a problem of the reader belongs to; all of them spoil the first, which is enough.
    parts[0].problems[:0] = problems
    return parts, []


def _part(doc: Document, content: bytes) -> _Part:
    value = raw.block(doc.value)
    kind, name = value.get("kind"), raw.text(raw.block(value, "metadata").get("name"))
    part = _Part(doc, content, kind if isinstance(kind, str) else "Pool", name, None)
    problem = _header(doc, value)
    if problem is not None:
        part.problems.append(problem)
        return part
    model = models.KINDS.get(part.kind, models.PoolManifest)
    try:
        part.model = model.model_validate(doc.value)
    except ValidationError as error:
        part.problems.extend(explain(error, doc, model))
    return part


def _header(doc: Document, value: dict[str, object]) -> Problem | None:
    """Another kind of file, or another version of ours: nothing that is said about the rest would help."""
    version, kind = value.get("apiVersion"), value.get("kind")
    if isinstance(version, str) and version != models.API_VERSION:
        return Problem(
            doc.place(("apiVersion",)),
            f"`apiVersion` {quoted(version)}",
            f"this release reads {models.API_VERSION}",
            f"Write `apiVersion: {models.API_VERSION}` if this is a manifest.",
        )
    if isinstance(kind, str) and kind not in models.KINDS:
        meant = did_you_mean(kind, models.KINDS)
        return Problem(
            doc.place(("kind",)),
            f"`kind` {quoted(kind)}",
            f"xenrec knows {listing(models.KINDS, 'and')}",
            f"Did you mean `{meant}`?" if meant else "Write `kind: Pool` if this is a manifest.",
        )
    return None


def _read_file(path: Path) -> tuple[bytes, Problem | None]:
    """At most what a manifest may hold and one byte, so that a device or a disk image costs nothing."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1), None
    except IsADirectoryError:
        why, remedy = "it is a folder", "Give a file, or use a command that takes a folder."
    except (OSError, ValueError) as error:
        why, remedy = getattr(error, "strerror", None) or "it can't be read", "Check the path and its permissions."
    return b"", Problem(Place(str(path), 1, 1), "the file", why[0].lower() + why[1:], remedy)
