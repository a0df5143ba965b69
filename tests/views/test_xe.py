"""The runbook of xe commands: what it says, and that a shell reads each line as it is meant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.plan import Plan, Stage, Thing, Verb
from reconciler.views.xe import xe_runbook
from reconciler.views.xe_steps import STEPS
from tests.views import samples
from tests.views.golden import expect


@pytest.mark.parametrize("name", [n for n in samples.PLANS if n != "many-vms"])
def test_runbook(name: str) -> None:
    text = xe_runbook(samples.PLANS[name], samples.WANTED, samples.pool_state())
    assert text.isascii()
    expect(f"runbook-{name}.txt", text)


def test_runbook_without_a_known_pool_asks_for_uuids() -> None:
    plan = samples.MASTER_DEAD
    bare = tuple(
        Stage(
            s.name,
            tuple(replace(a, target=replace(a.target, uuid=""), to=a.to and replace(a.to, uuid="")) for a in s.actions),
            s.forecast,
        )
        for s in plan.stages
    )
    expect("runbook-no-uuids.txt", xe_runbook(replace(plan, stages=bare, pool_uuid=""), samples.WANTED, None))


def test_every_verb_can_be_done_by_hand() -> None:
    assert set(STEPS) == set(Verb)


def test_promotion_comes_before_recovery_and_proof_before_both() -> None:
    text = xe_runbook(samples.MASTER_DEAD, samples.WANTED, samples.pool_state())
    marks = [
        "SEE that it is off",
        "host-is-in-emergency-mode",
        "pool-emergency-transition-to-master",
        "until timeout",
        "pool-recover-slaves",
        "host-list",
        "host-declare-dead",
        "vm-start",
    ]
    places = [text.index(m) for m in marks]
    assert places == sorted(places)
    assert text.count("pool-emergency-transition-to-master") == 1


def test_nothing_withheld_is_there_to_be_typed() -> None:
    text = xe_runbook(samples.MASTER_DEAD_NO_PROOF, samples.WANTED, samples.pool_state())
    typed = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert typed == ["exit 1 # this page is read, not run", 'PWF="$HOME/.xe-login"']


def test_a_bare_reset_is_never_there_to_be_typed() -> None:
    for plan in samples.PLANS.values():
        for line in xe_runbook(plan, samples.WANTED, samples.pool_state()).splitlines():
            assert "vm-reset-powerstate" not in line or line.startswith("#")


def _shell(text: str, folder: Path) -> tuple[int, list[list[str]]]:
    """Feed the text to bash where xe, timeout and ssh only write down what they were given."""
    log = folder / "log"
    log.touch()
    tool = folder / "xe"
    tool.write_text(
        f"#!{sys.executable} -IS\nimport json, sys\nopen({str(log)!r}, 'a').write(json.dumps(sys.argv) + '\\n')\n"
    )
    tool.chmod(0o755)
    for name in ("timeout", "ssh"):
        (folder / name).symlink_to(tool)
    env = {"PATH": f"{folder}:{os.defpath}", "HOME": str(folder)}
    ran = subprocess.run(["bash"], input=text.encode(), env=env, capture_output=True, timeout=60, check=False)
    assert ran.stderr == b""
    return ran.returncode, [json.loads(line) for line in log.read_text().splitlines()]


def test_a_shell_that_is_fed_with_it_does_nothing(tmp_path: Path) -> None:
    code, calls = _shell(xe_runbook(samples.MASTER_DEAD, samples.WANTED, samples.pool_state()), tmp_path)
    assert (code, calls) == (1, [])


def test_a_shell_reads_hostile_names_as_single_words(tmp_path: Path) -> None:
    odd = 'it\'s $(touch x) `id`; rm -rf\n~ é\\ "q" \u202e'
    start = replace(samples.MEMBER_DEAD.actions[1], target=Thing("vm", odd), to=None, certificate_of=(), why=odd)
    plan: Plan = replace(samples.MEMBER_DEAD, stages=(Stage("restore", (start,)),), pool=odd, source=odd)
    text = xe_runbook(plan, samples.WANTED, None).replace("exit 1 #", ": #")
    assert text.isascii()
    code, calls = _shell(text, tmp_path)
    assert code == 0
    login = ["-s", "10.0.0.11", "-pwf", f"{tmp_path}/.xe-login"]
    asked = [*login, "vm-list", f"name-label={odd}", "params=uuid", "--minimal"]
    assert [c[1:] for c in calls[:4]] == [
        asked,
        [*login, "vm-start", "uuid="],
        asked,
        [*login, "vm-list", "uuid=", "params=name-label,power-state,resident-on"],
    ]
