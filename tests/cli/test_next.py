"""The next command that is told does what was shown: it names the plan, the bound and the folder that were typed."""

from __future__ import annotations

import subprocess

import pytest

from tests.cli.desk import Desk, at_desk  # noqa: F401 - the fixture


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("--out p.plan", "next: xenrec apply p.plan\n"),
        ("--max-actions 1", "next: xenrec apply m.yaml --max-actions 1\n"),
        ("--state-dir other", "next: xenrec apply m.yaml --state-dir other\n"),
        ("", "next: xenrec apply m.yaml\n"),
    ],
)
def test_what_is_to_be_applied_is_what_was_shown(desk: Desk, typed: str, told: str) -> None:
    desk.lab.power_off("xen02")
    desk("sleep 700")
    assert desk(f"xenrec plan m.yaml {typed}").text.endswith(told)


def test_what_a_plan_from_git_names_takes_a_manifest_from_git(desk: Desk) -> None:
    git = ["git", "-C", str(desk.folder), "-c", "user.name=op", "-c", "user.email=op@desk"]
    for words in (["init", "-q"], ["add", "m.yaml"], ["commit", "-q", "-m", "m"]):
        subprocess.run([*git, *words], check=True)
    assert desk("xenrec pause m.yaml --repo . --for 1h --reason 'SAN work'").code == 0
    desk.lab.power_off("xen02")
    lines = desk("xenrec plan m.yaml --repo .").text.splitlines()
    (clear,) = {line.strip().removeprefix("next: ") for line in lines if "xenrec pause" in line}
    assert desk(clear).text.startswith("ended: the pool is paused by op@desk")
    for command in ("fence status", "history", "lock show", "unpark"):
        assert desk(f"xenrec {command} m.yaml --repo .").code == 0, command
