"""Attestations from a file, for automation that knows what a rack's power does: validated as a manifest is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from reconciler.core.wanted import Place, Wanted
from reconciler.core.words import utc
from reconciler.manifest.explain import explain
from reconciler.manifest.fields import Moment, Text, Uuid, refuse
from reconciler.manifest.problems import ManifestError, Problem, did_you_mean, listing, quoted
from reconciler.manifest.reader import Document, read
from reconciler.manifest.text import MAX_BYTES

LONGEST = 12 * 3600.0
"""Seconds that a person's word holds at most: what was seen longer ago is no proof."""


@dataclass(frozen=True, slots=True)
class Attestation:
    """Somebody's word about one host. `until` in UTC seconds; `uuid` of the host where the file gives it."""

    host: str
    by: str
    reason: str
    until: float
    uuid: str | None
    place: Place


class _Entry(BaseModel):
    """One host that is dead."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)

    pool: Text | None = Field(None, alias="pool")
    """The manifest's metadata.name; a file that was written for another pool is refused."""
    host: Text = Field(alias="host")
    """The member, by its name in the manifest."""
    uuid: Uuid | None = Field(None, alias="uuid")
    """The host's uuid; if the pool is known it must be this one."""
    dead: Literal[True] = Field(alias="dead")
    """That it is powered off and stays off."""
    by: Text = Field(alias="by")
    """Who says so, for the record."""
    reason: Text = Field(alias="reason")
    """How that is known, for the record."""
    until: Moment = Field(alias="until")
    """How long the word holds, as in 2026-12-20T18:00Z: at most 12 hours from now."""

    @field_validator("by", "reason")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if len(value.strip()) < 3:
            raise refuse("who says it and how it is known", "it says nothing", "Write it for whoever reads it later.")
        return value.strip()


def load_attestations(path: Path, wanted: Wanted, *, now: float) -> tuple[Attestation, ...]:
    """Every attestation of a YAML or JSON file (- is standard input): a block, or a list. `now` in UTC seconds.

    Raises ManifestError with every problem, each with its place; then none of them may be recorded.
    """
    place = Place(str(path), 1, 1)
    try:
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        why = (error.strerror or "it can't be read").lower()
        raise ManifestError([Problem(place, "the file", why, "Check the path and its permissions.")]) from None
    documents, problems = read(content, str(path))
    documents = [doc for doc in documents if doc.value is not None]
    if not documents and not problems:
        problems = [Problem(place, "the file", "it is empty", "Write `host`, `dead: true`, `by`, `reason`, `until`.")]
    entries: list[Document] = []
    for doc in documents:
        items = doc.root.items
        entries += [doc] if items is None else [Document(doc.source, item) for item in items]
    found: list[Attestation] = []
    for entry in entries:
        one, wrong = _read(entry, wanted, now)
        problems += wrong
        found += [one] if one is not None else []
    problems += _twice(found)
    if problems:
        raise ManifestError(problems)
    return tuple(found)


def _read(doc: Document, wanted: Wanted, now: float) -> tuple[Attestation | None, list[Problem]]:
    try:
        entry = _Entry.model_validate(doc.value)
    except ValidationError as error:
        return None, explain(error, doc, _Entry)
    problems = []
    if entry.pool is not None and entry.pool != wanted.name:
        problems.append(
            Problem(
                doc.place(("pool",)),
                f"`pool` {quoted(entry.pool)}",
                f"this manifest describes the pool {quoted(wanted.name)}",
                "Give the manifest of that pool.",
            )
        )
    member = wanted.member(entry.host)
    if member is None:
        names = [m.name for m in wanted.members]
        meant = did_you_mean(entry.host, names)
        problems.append(
            Problem(
                doc.place(("host",)),
                f"`host` {quoted(entry.host)}",
                "no member has this name",
                f"Did you mean {quoted(meant)}?" if meant else f"Declared: {listing(names, 'and')}.",
            )
        )
    if not now < entry.until <= now + LONGEST:
        why = "it is past" if entry.until <= now else "it is more than 12 hours ahead, and nobody sees so far"
        problems.append(
            Problem(doc.place(("until",)), f"`until` {quoted(utc(entry.until))}", why, f"It is {utc(now)} now.")
        )
    if problems:
        return None, problems
    return Attestation(entry.host, entry.by, entry.reason, entry.until, entry.uuid, doc.place(("host",))), []


def _twice(found: Sequence[Attestation]) -> list[Problem]:
    seen: dict[str, Place] = {}
    problems = []
    for one in found:
        if one.host in seen:
            problems.append(
                Problem(one.place, f"`host` {quoted(one.host)}", f"{seen[one.host]} is about it already", "Keep one.")
            )
        seen.setdefault(one.host, one.place)
    return problems
