"""The import rule: `cli -> pipeline -> edges -> core`, read from the syntax tree of every module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EDGES = frozenset({"manifest", "xapi", "survey", "fencing", "execute", "state", "repo", "solver"})

MAY_IMPORT: dict[str, frozenset[str]] = {
    "reconciler": frozenset(),
    "core": frozenset({"core"}),
    "views": frozenset({"views", "core"}),
    **{edge: frozenset({edge, "core"}) for edge in EDGES},
    # The real port is built on xapi's transport; the fencing edge's run_agent is handed to it.
    "outside": frozenset({"outside", "core", "xapi"}),
    # The joiner of rooms, in three modules: a look, a plan of it, and the plan performed.
    "looking": frozenset({"looking", "core", *EDGES}),
    "planning": frozenset({"planning", "looking", "core", *EDGES}),
    "pipeline": frozenset({"pipeline", "planning", "looking", "core", *EDGES}),
    # The pipeline's other half: the rooms over the real outside, for the command line.
    "rooms": frozenset({"rooms", "pipeline", "outside", "core", *EDGES}),
    # What people do by hand goes through the same joiner.
    "people": frozenset({"people", "pipeline", "core", *EDGES}),
    # A rolling maintenance is a row of ordinary runs; the command between them is run by a module that knows nothing.
    "roll": frozenset({"roll", "pipeline", "command", "core", *EDGES}),
    "command": frozenset({"command"}),
    "lab": frozenset({"lab"}),
    # The top knows the joiners, the views and values; it alone starts the lab.
    "cli": frozenset({"cli", "pipeline", "rooms", "people", "roll", "command", "views", "core", "lab"}),
}
"""Which rooms a room may import. A room that is not here is a mistake, or needs a line and a reason."""

IMPURE = frozenset(
    """
    asyncio concurrent ctypes environ ftplib getpass http httpx importlib logging multiprocessing os platform
    pwd queue random requests runpy sched secrets select selectors shutil signal smtplib socket ssl structlog
    subprocess tempfile threading time urllib3 XenAPI xmlrpc
    """.split()  # noqa: SIM905 - forty lines of quotes help nobody
)
"""Modules that core and views never import: clock, randomness, environment, logging, network, processes."""
IMPURE_PARTS = ("urllib.request", "urllib.error", "uuid.uuid1", "uuid.uuid4")
CLOCK_CALLS = frozenset({"now", "utcnow", "today", "localtime"})
IO_CALLS = frozenset({"open", "input", "print", "__import__", "exec", "eval"})

ONLY_IN: dict[str, tuple[str, ...]] = {
    "XenAPI": ("reconciler.xapi",),
    "deepdiff": ("reconciler.core.differences",),
    "typer": ("reconciler.cli",),
    "ortools": ("reconciler.solver.cpsat",),
}
"""Third-party packages and the only modules that may import them."""


def room_of(module: str) -> str:
    """The room of a dotted name: its part after `reconciler`, or `reconciler` for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def imported(module: str, tree: ast.AST, *, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import, wherever it stands; `from a import b` counts as a.b."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)


def violations(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """What a module does against the rule, as `module:line: what`."""
    tree, room, found = ast.parse(source), room_of(module), []
    if room not in MAY_IMPORT:
        return [f"{module}:1: {room} is not a room of the house"]
    for line, name in imported(module, tree, is_package=is_package):
        top = name.split(".")[0]
        if top == "reconciler":
            target = room_of(name)
            version = name in ("reconciler", "reconciler.__version__")
            if not version and target not in MAY_IMPORT[room]:
                found.append(f"{module}:{line}: {room} imports {name}")
        allowed = ONLY_IN.get(top)
        if allowed and not any(module == a or module.startswith(f"{a}.") for a in allowed):
            found.append(f"{module}:{line}: only {', '.join(allowed)} may import {top}")
        if room in ("core", "views") and (top in IMPURE or name.startswith(IMPURE_PARTS)):
            found.append(f"{module}:{line}: {room} imports {name}")
    if room in ("core", "views"):
        found += [f"{module}:{line}: {room} calls {name}()" for line, name in impure_calls(tree)]
    return found


def impure_calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Calls that read a clock or do input and output without an import that shows it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in IO_CALLS:
                yield node.lineno, called.id
            elif isinstance(called, ast.Attribute) and called.attr in CLOCK_CALLS:
                yield node.lineno, ast.unparse(called)


def modules() -> list[tuple[str, Path]]:
    """Every module of the package with its dotted name."""
    found = []
    for path in sorted((ROOT / "reconciler").rglob("*.py")):
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


def test_every_module_keeps_the_rule() -> None:
    found = [
        problem
        for module, path in modules()
        for problem in violations(module, path.read_text(encoding="utf-8"), is_package=path.name == "__init__.py")
    ]
    assert not found, "\n".join(["", *found])


def test_the_whole_house_is_looked_at() -> None:
    rooms = {room_of(module) for module, _ in modules()}
    assert {"core", "xapi", "fencing", "state", "repo"} <= rooms
    assert len(modules()) > 30


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("reconciler.survey.x", "from reconciler.fencing.agents import run_agent"),
        ("reconciler.state.x", "import reconciler.xapi.snapshot as s"),
        ("reconciler.state.x", "from reconciler import xapi"),
        ("reconciler.state.x", "from ..xapi import snapshot"),
        ("reconciler.state.x", "from .. import execute"),
        ("reconciler.execute.x", "def f():\n    from reconciler.outside import Outside"),
        ("reconciler.core.x", "from reconciler.views import words"),
        ("reconciler.core.x", "import time"),
        ("reconciler.core.x", "from os import environ"),
        ("reconciler.core.x", "import os.path"),
        ("reconciler.core.x", "if True:\n    import random"),
        ("reconciler.core.x", "from urllib.request import urlopen"),
        ("reconciler.core.x", "from uuid import uuid4"),
        ("reconciler.core.x", "import datetime\nx = datetime.datetime.now()"),
        ("reconciler.core.x", "from datetime import date\nx = date.today()"),
        ("reconciler.core.x", "def f(p): return open(p)"),
        ("reconciler.views.x", "import logging"),
        ("reconciler.views.x", "from reconciler.manifest import reader"),
        ("reconciler.fencing.x", "import XenAPI"),
        ("reconciler.lab.x", "from XenAPI import Session"),
        ("reconciler.lab.x", "from reconciler.core.model import Pool"),
        ("reconciler.execute.x", "from reconciler.lab import kernel"),
        ("reconciler.outside", "from reconciler.fencing.agents import run_agent"),
        ("reconciler.pipeline", "from reconciler.lab import kernel"),
        ("reconciler.pipeline", "from reconciler.cli import main"),
        ("reconciler.pipeline", "from reconciler.views import text"),
        ("reconciler.looking", "from reconciler.planning import Planning"),
        ("reconciler.planning", "from reconciler.pipeline import Reconciler"),
        ("reconciler.views.x", "from reconciler.pipeline import Look"),
        ("reconciler.core.compare", "from deepdiff import DeepDiff"),
        ("reconciler.views.x", "import typer"),
        ("reconciler.core.place.x", "from ortools.sat.python import cp_model"),
        ("reconciler.helpers.x", ""),
    ],
)
def test_the_rule_can_be_broken(module: str, source: str) -> None:
    assert violations(module, source), source


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("reconciler.core.x", "from urllib.parse import quote\nfrom reconciler.core.model import Pool"),
        ("reconciler.core.x", "from datetime import datetime, UTC\nx = datetime.fromtimestamp(0, UTC)"),
        ("reconciler.core.differences", "def f():\n    from deepdiff import DeepDiff"),
        ("reconciler.xapi.x", "import time\nimport XenAPI\nfrom . import read"),
        (
            "reconciler.outside",
            "import threading\nfrom reconciler.xapi import transport",
        ),
        ("reconciler.pipeline", "from reconciler.survey import ask\nfrom reconciler.xapi.read import read_pool"),
        ("reconciler.cli.lab", "from reconciler.lab.server import serve\nimport typer"),
        ("reconciler.cli.main", "from reconciler import __version__"),
    ],
)
def test_what_is_right_passes(module: str, source: str) -> None:
    assert violations(module, source) == []
