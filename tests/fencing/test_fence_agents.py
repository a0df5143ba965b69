"""Running real executables: what they are given, what is kept of them, and that none outlives its deadline."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from reconciler.fencing.agents import find_agent, run_agent
from reconciler.fencing.clean import OUTPUT_LIMIT


def script(folder: Path, body: str, name: str = "fence_test") -> str:
    """A fence agent written in shell; its absolute path."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def gone(pid: int) -> bool:
    """No process of that number runs any more (a zombie counts as gone); a kill takes the kernel a moment."""
    for _ in range(100):
        try:
            if "Z" in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]:
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def test_options_come_on_stdin_action_first_and_never_in_argv(tmp_path: Path) -> None:
    agent = script(tmp_path, "echo args:$#; cat")
    run = run_agent(agent, {"ip": "10.9.0.11", "action": "status", "a-b": "x=y z"}, deadline=5)
    assert run.code == 0
    assert run.stdout == "args:0\naction=status\nip=10.9.0.11\na-b=x=y z\n"


def test_the_environment_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XENREC_PASSWORD", "root-password")
    monkeypatch.setenv("PYTHONPATH", "/tmp")
    run = run_agent(script(tmp_path, "env; pwd"), {"action": "status"}, deadline=5)
    assert "root-password" not in run.stdout
    assert {line.split("=")[0] for line in run.stdout.splitlines()} <= {
        "PATH",
        "LC_ALL",
        "PWD",
        "_",
        "SHLVL",
        "OLDPWD",
        "/",
    }
    assert str(Path(sys.executable).parent) not in run.stdout


def test_secrets_are_hidden_in_both_streams_and_the_exit_code_is_kept(tmp_path: Path) -> None:
    agent = script(tmp_path, "cat; cat >&2 </dev/null; echo 'ipmitool -P hunter22' >&2; exit 3")
    run = run_agent(agent, {"action": "off", "username": "op", "password": "hunter22"}, deadline=5)
    assert run.code == 3
    assert "hunter22" not in run.stdout + run.stderr
    assert "password=(hidden)" in run.stdout
    assert "username=op" in run.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "without one agents reboot"),
        ({"action": ""}, "without one agents reboot"),
        ({"action": "reboot"}, "not one of ours"),
        ({"action": "status", "option": "reboot"}, "'option' would change the action"),
        ({"action": "status", "Action": "reboot"}, "'Action' would change the action"),
        ({"action": "status", "password": "hunter22\naction=reboot"}, "'password' has a line break"),
        ({"action": "status", "password": "hunter22\raction=reboot"}, "'password' has a line break"),
        ({"action": "status", "ip=1\naction": "reboot"}, "is not an option name"),
        ({"action": "status", "#": "x"}, "is not an option name"),
    ],
)
def test_options_that_could_do_harm_start_nothing(tmp_path: Path, options: dict[str, str], said: str) -> None:
    ran = tmp_path / "ran"
    agent = script(tmp_path, f"touch {ran}")
    with pytest.raises(ValueError, match=said) as caught:
        run_agent(agent, options, deadline=5)
    assert "hunter22" not in str(caught.value)
    assert not ran.exists()


def test_at_the_deadline_the_agent_and_its_children_are_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    agent = script(tmp_path, f"sleep 60 & echo $$ $! >{pids}; trap '' TERM INT; echo started; wait; sleep 60")
    before = time.monotonic()
    run = run_agent(agent, {"action": "off"}, deadline=0.4)
    assert time.monotonic() - before < 3
    assert run.code is None
    assert run.stdout == "started\n"
    for pid in pids.read_text().split():
        assert gone(int(pid)), pid


def test_a_child_that_keeps_the_pipes_open_does_not_hold_us(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    agent = script(tmp_path, f"sleep 60 & echo $! >{pids}; echo 'Status: OFF'; exit 2")
    before = time.monotonic()
    run = run_agent(agent, {"action": "status"}, deadline=30)
    assert time.monotonic() - before < 5
    assert (run.code, run.stdout) == (2, "Status: OFF\n")
    assert gone(int(pids.read_text()))


def test_endless_output_is_cut_and_an_agent_that_ignores_stdin_is_fine(tmp_path: Path) -> None:
    agent = script(tmp_path, "exec 0<&-; head -c 3000000 /dev/zero; echo done >&2; exit 0")
    run = run_agent(agent, {"action": "status", "comment": "x" * 200_000}, deadline=20)
    assert run.code == 0
    assert len(run.stdout) == OUTPUT_LIMIT
    assert run.stderr == "done\n"


def test_output_that_is_not_text_is_no_trouble(tmp_path: Path) -> None:
    run = run_agent(script(tmp_path, r"printf '\377\376 Status'; kill -SEGV $$"), {"action": "status"}, deadline=5)
    assert run.code == -11
    assert run.stdout.endswith("Status")


def test_names_are_found_in_path_then_usr_sbin_then_beside_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "venv"
    first.mkdir()
    second.mkdir()
    in_venv = script(second, "exit 0", "fence_xenrec_test")
    monkeypatch.setenv("PATH", str(first))
    monkeypatch.setattr(sys, "executable", str(second / "python"))
    assert str(find_agent("fence_xenrec_test")) == in_venv
    in_path = script(first, "exit 0", "fence_xenrec_test")
    assert str(find_agent("fence_xenrec_test")) == in_path


def test_the_current_directory_never_supplies_an_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, "exit 0", "fence_here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join(["", ".", "/usr/bin"]))
    with pytest.raises(FileNotFoundError, match="fence_here is not installed"):
        run_agent("fence_here", {"action": "status"}, deadline=1)
    with pytest.raises(FileNotFoundError, match="absolute path, not a relative one"):
        run_agent("./fence_here", {"action": "status"}, deadline=1)


def test_agents_that_cannot_start_say_why(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("x")
    plain.chmod(0o644)
    with pytest.raises(FileNotFoundError, match="chmod"):
        run_agent(str(plain), {"action": "status"}, deadline=1)
    with pytest.raises(FileNotFoundError, match="no such file"):
        run_agent(str(tmp_path / "none"), {"action": "status"}, deadline=1)
    orphan = tmp_path / "orphan"
    orphan.write_text("#!/no/such/interpreter\n")
    orphan.chmod(0o755)
    with pytest.raises(FileNotFoundError, match="can't be started"):
        run_agent(str(orphan), {"action": "status"}, deadline=1)
