"""Finds the `xenrec` command lines in shell text and asks the real command line whether it understands them."""

from __future__ import annotations

import re
import shlex

import typer.main

from reconciler.cli.app import app

OPERATORS = frozenset({"|", "||", "&&", ";", ";;", "&", "(", ")", "\n"})
REDIRECTIONS = frozenset({">", ">>", "<", "2>", ">|", "<<", "<<<"})
BEFORE = frozenset({"do", "then", "else", "!", "exec", "time", "if"})


def xenrec_lines(shell: str) -> list[list[str]]:
    """Arguments of every call of xenrec in a shell text, also behind another command (systemd-run … xenrec …)."""
    found = []
    for line in re.sub(r"\\\n", " ", shell).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        lexer.commenters = "#"
        simple: list[str] = []
        for word in [*lexer, "\n"]:
            if word in OPERATORS:
                found += _of(simple)
                simple = []
            else:
                simple.append(word)
    return found


def _of(words: list[str]) -> list[list[str]]:
    """The arguments of xenrec in one simple command, without redirections; of the user in a cron line, too."""
    at = [i for i, word in enumerate(words) if word == "xenrec" and i + 1 < len(words) and words[i + 1] != "xenrec"]
    if not at:
        return []
    arguments: list[str] = []
    rest = iter(words[at[-1] + 1 :])
    for word in rest:
        if word in REDIRECTIONS:
            next(rest, None)
        else:
            arguments.append(word)
    return [arguments]


def understand(arguments: list[str]) -> str:
    """The path of the command that parses these arguments ("apply"). Raises typer.TyperException like the command."""
    command = typer.main.get_command(app)
    rest, path = list(arguments), []
    context = command.make_context("xenrec", [], resilient_parsing=True)
    while hasattr(command, "resolve_command"):
        context.resilient_parsing = False  # it only kept a group without arguments from printing its help
        name, command, rest = command.resolve_command(context, rest)
        path.append(str(name))
        if hasattr(command, "resolve_command"):
            context = command.make_context(name, [], parent=context, resilient_parsing=True)
    command.make_context(path[-1], rest, parent=context)
    return " ".join(path)
