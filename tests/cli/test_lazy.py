"""The command line loads what a command needs, and no more."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer.main

from reconciler.cli.app import COMMANDS, app

HEAVY = ("yaml", "reconciler.manifest.models", "reconciler.pipeline", "reconciler.lab.engine", "deepdiff")


def loaded_by(code: str) -> set[str]:
    """Which heavy modules a fresh interpreter has loaded after this code."""
    script = f"import sys\n{code}\nprint(*[m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["lab", "--help"], ["lab", "status", "--dir", "/nonexistent"]])
def test_what_needs_no_manifest_loads_none(arguments: list[str]) -> None:
    code = f"from reconciler.cli import main\nsys.argv[1:] = {arguments!r}\ntry: main()\nexcept SystemExit: pass"
    assert not loaded_by(code) & set(HEAVY)


def test_a_fence_agent_loads_no_engine() -> None:
    assert not loaded_by("import reconciler.lab.fence_agent")


def test_a_plan_loads_manifests() -> None:
    code = "from reconciler.cli import main\nsys.argv[1:] = ['plan', '--help']\ntry: main()\nexcept SystemExit: pass"
    assert {"yaml", "reconciler.pipeline"} <= loaded_by(code)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_says(name: str) -> None:
    group = typer.main.get_command(app)
    command = group.commands[name]  # type: ignore[attr-defined]
    assert command.name == name
    assert command.help.strip().split("\n")[0] == COMMANDS[name][1]


def test_every_command_is_there_in_order() -> None:
    group = typer.main.get_command(app)
    context = group.make_context("xenrec", [], resilient_parsing=True)
    assert group.list_commands(context) == list(COMMANDS)  # type: ignore[attr-defined]
    name, command, rest = group.resolve_command(context, ["plan", "pool.yaml"])  # type: ignore[attr-defined]
    assert (name, rest) == ("plan", ["pool.yaml"])
    assert command.make_context("plan", ["pool.yaml"], parent=context).params["path"] == "pool.yaml"
