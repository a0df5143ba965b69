"""Bytes to text: what can be refused before any YAML is parsed, and syntax errors in our words."""

from __future__ import annotations

import re

import yaml

from reconciler.core.wanted import Place
from reconciler.manifest.problems import Problem

MAX_BYTES = 8 * 1024 * 1024
"""Largest manifest that is read: about 50,000 VMs."""

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def decode(text: bytes, source: str) -> tuple[str | None, list[Problem]]:
    """The text, or the one problem that stops reading: too large, not UTF-8, control characters."""

    def refuse(offset: int, what: str, why: str, remedy: str) -> tuple[None, list[Problem]]:
        before = text[:offset].decode("utf-8", "replace").removeprefix("\ufeff")
        place = Place(source, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        return None, [Problem(place, what, why, remedy)]

    if len(text) > MAX_BYTES:
        size = f"{len(text) / 1024 / 1024:.1f} MiB"
        return refuse(
            0,
            f"the file is too large ({size})",
            f"a manifest is at most {MAX_BYTES // 1024 // 1024} MiB",
            "Check that this is a manifest; split the pool's virtualMachines over several files if it is.",
        )
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        return refuse(0, "the file is UTF-16", "manifests are UTF-8", "Save it as UTF-8.")
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return refuse(
            error.start,
            "the file is not text",
            f"byte 0x{text[error.start]:02x} is not UTF-8",
            "Check that this is a manifest; save it as UTF-8 if it is.",
        )
    bad = _UNPRINTABLE.search(decoded)
    if bad:
        offset = len(decoded[: bad.start()].encode()) + (3 if text.startswith(b"\xef\xbb\xbf") else 0)
        return refuse(
            offset,
            f"control character 0x{ord(bad[0]):02x}",
            "YAML allows none",
            "Remove it; if the file is full of them, it is not a manifest.",
        )
    return decoded, []


_REMEDIES = {
    "could not find expected ':'": "Add the `:`, or check the indentation of this line and the one before.",
    "did not find expected key": "Check the indentation: keys of one block start in the same column.",
    "did not find expected '-' indicator": "Check the indentation: items of one list start in the same column.",
    "mapping values are not allowed in this context": (
        "Put a value that holds `: ` in quotes, or check the indentation."
    ),
    "found character that cannot start any token": "Indent with spaces, not tabs; quote what starts with @, ` or %.",
    "found a tab character that violates indentation": "Indent with spaces, not tabs.",
    "did not find expected ',' or ']'": "Close the list with `]`.",
    "did not find expected ',' or '}'": "Close the block with `}`.",
    "found unexpected end of stream": "Close the quotes.",
    "did not find expected alphabetic or numeric character": "Put a text that starts with `*` or `&` in quotes.",
}


def syntax_problem(error: yaml.YAMLError, source: str) -> Problem:
    """What the YAML parser stopped at, with a remedy for the usual slips. Its texts never quote the file."""
    mark = getattr(error, "problem_mark", None)
    reason = str(getattr(error, "problem", None) or "it can't be read")
    place = Place(source, mark.line + 1, mark.column + 1) if mark is not None else Place(source, 1, 1)
    began = getattr(error, "context_mark", None)
    if began is not None and mark is not None and began.line != mark.line:
        context = str(getattr(error, "context", None) or "in what")
        reason, told = f"{reason}, {context} that began at {began.line + 1}:{began.column + 1}", reason
    else:
        told = reason
    remedy = _REMEDIES.get(told, "Check the quotes, brackets and indentation here.")
    return Problem(place, "not YAML", reason, remedy)
