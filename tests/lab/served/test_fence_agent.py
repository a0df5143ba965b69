"""The fence agent as the fencing edge runs it: a process, options on stdin, exit codes and words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.lab.served.conftest import Pool

ROOT = Path(__file__).parents[3]


def agent(*lines: str, arguments: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reconciler.lab.fence_agent", *arguments],
        input="".join(line + "\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )


def fence(pool: Pool, action: str, *more: str, plug: str = "") -> subprocess.CompletedProcess[str]:
    plug = plug or pool.members[0].name
    return agent(f"action={action}", f"plug={plug}", f"lab_dir={pool.directory}", "power_timeout=3", *more)


def test_off_status_on(pool: Pool) -> None:
    host = pool.members[0]
    before = fence(pool, "status")
    assert (before.returncode, before.stdout) == (0, "Status: ON\n")
    off = fence(pool, "off")
    assert (off.returncode, off.stdout) == (0, "Success: Powered OFF\n")
    assert not host.powered
    after = fence(pool, "status")
    assert (after.returncode, after.stdout) == (2, "Status: OFF\n")
    on = fence(pool, "on", plug=host.uuid)
    assert (on.returncode, on.stdout) == (0, "Success: Powered ON\n")
    assert host.powered


def test_no_action_means_reboot_as_with_the_real_agents(pool: Pool) -> None:
    host = pool.members[0]
    vms = pool.lab.running()[host.name]
    assert vms
    done = agent(f"port={host.name}", f"lab_dir={pool.directory}")
    assert (done.returncode, done.stdout) == (0, "Success: Rebooted\n")
    assert host.powered
    assert pool.lab.running()[host.name] == []


def test_a_silent_bmc_costs_the_login_timeout_and_fails(pool: Pool) -> None:
    pool.lab.bmc_answers[pool.members[0].name] = False
    for action in ("status", "off"):
        run = fence(pool, action, "login_timeout=0.1")
        assert run.returncode == 1
        assert "Unable to connect/login to fencing device" in run.stderr
        assert run.stdout == ""
    assert pool.members[0].powered


def test_a_lying_bmc_is_found_out_by_the_status(pool: Pool) -> None:
    pool.lab.bmc_lies[pool.members[0].name] = True
    run = fence(pool, "off", "power_timeout=0.1")
    assert run.returncode == 1
    assert "Timed out waiting to power OFF" in run.stderr
    assert pool.members[0].powered


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (("action=off",), "You have to enter plug number"),
        (("action=explode", "plug=x"), "unrecognised action 'explode'"),
        (("action=status", "plug=x", "login_timeout=soon"), "'soon' is no number of seconds"),
        (("action=status", "plug=x", "login_timeout=-1"), "not between 0 and"),
        (("action=status", "plug=x", "lab_dir=/nonexistent"), "Unable to connect/login to fencing device: no lab"),
    ],
)
def test_bad_options_fail_with_a_reason(lines: tuple[str, ...], text: str) -> None:
    run = agent(*lines)
    assert run.returncode == 1
    assert text in run.stderr
    assert run.stdout == ""


def test_unknown_hosts_and_unknown_options(pool: Pool) -> None:
    run = fence(pool, "status", plug="nobody")
    assert run.returncode == 1
    assert "no host is called nobody" in run.stderr
    run = fence(pool, "status", "colour=blue", "passwd=hunter2", "", "# a comment")
    assert run.returncode == 0
    assert "Ignoring unknown option 'colour'" in run.stderr
    assert "hunter2" not in run.stdout + run.stderr


def test_monitor_and_list_need_no_plug(pool: Pool) -> None:
    listed = agent("action=list", f"lab_dir={pool.directory}")
    assert listed.returncode == 0
    assert listed.stdout.split() == [f"{name}," for name in pool.lab.hosts]
    assert agent("action=monitor", f"lab_dir={pool.directory}").returncode == 0


def test_metadata_lists_its_options_and_actions() -> None:
    for run in (agent("action=metadata"), agent(arguments=("-o", "metadata"))):
        assert run.returncode == 0
        root = ElementTree.fromstring(run.stdout)
        assert root.get("name") == "fence_xenrec_lab"
        assert {"plug", "lab_dir", "action", "login_timeout"} <= {p.get("name") for p in root.iter("parameter")}
        assert {"on", "off", "reboot", "status", "monitor", "metadata"} <= {a.get("name") for a in root.iter("action")}


def test_options_on_the_command_line(pool: Pool) -> None:
    name = pool.members[0].name
    run = agent(arguments=("-o", "status", "-n", name, f"--lab-dir={pool.directory}"))
    assert (run.returncode, run.stdout) == (0, "Status: ON\n")
    assert agent(arguments=("--colour", "blue")).returncode == 1
