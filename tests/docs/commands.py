"""Command lines in prose and blocks, and whether the command line interface takes them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import typer

from reconciler.cli.app import app
from tests.docs.pages import fences

_INLINE = re.compile(r"(?<!`)(`{1,2})(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_VAGUE = ("…", "...")


def command_lines(text: str) -> Iterator[tuple[int, str, bool]]:
    """(line number from 1, `xenrec …`, whether it must be complete) of every command line in a page.

    Those that blocks type must be complete; in prose a command may be named without what it needs.
    """
    lines = text.split("\n")
    inside: set[int] = set()
    for language, start, end in fences(lines):
        inside.update(range(start, end + 1))
        if language not in ("console", "sh", "text"):
            continue
        for number in range(start + 1, end):
            found = re.search(r"(?:^|[\s$:])(xenrec .*)$", lines[number])
            if found and (language == "sh" or lines[number].startswith("$ ") or "next:" in lines[number]):
                yield number + 1, re.split(r"\s(?:#|\||>|&&|<)", found[1].rstrip("\\"))[0], language == "console"
    prose = "\n".join("" if n in inside else line for n, line in enumerate(lines))
    for found in _INLINE.finditer(prose):
        told = " ".join(found[2].split())
        if told.startswith("xenrec "):
            yield prose[: found.start()].count("\n") + 1, told, False


def trouble(line: str, *, complete: bool) -> str:
    """Why the command line interface would not take it; "" if it would."""
    try:
        words = shlex.split(line)[1:]
    except ValueError as error:
        return str(error)
    command: Any = typer.main.get_command(app)
    context = command.make_context("xenrec", [], resilient_parsing=True)
    if words and words[0] in ("--version", "--help", "-h"):
        return ""
    while hasattr(command, "get_command") and words and words[0] not in _VAGUE:
        name = words.pop(0)
        if name not in command.list_commands(context):
            return f"there is no command {name}"
        command = command.get_command(context, name)
        context = command.make_context(name, [], parent=context, resilient_parsing=True)
    options = {opt for parameter in command.params for opt in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        option = word.split("=")[0]
        if word.startswith("-") and len(word) > 1 and option not in options and not option.lstrip("-").isdigit():
            return f"{command.name} has no option {option}"
    if not complete or any(word in _VAGUE for word in words):
        return ""
    try:
        command.make_context(command.name, words, parent=context.parent)
    except typer.Exit:
        return ""
    except Exception as error:  # noqa: BLE001 - whichever of the parser's refusals it is, its words say what is wrong
        return f"{type(error).__name__}: {error}"
    return ""
