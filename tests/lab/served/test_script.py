"""Scripts, single commands, incidents and checks on a served lab."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from reconciler.cli.lab import app
from reconciler.lab.control import Control
from reconciler.lab.incidents import INCIDENTS, Trial
from reconciler.lab.served_client import ask
from reconciler.lab.served_script import NO_INCIDENT
from tests.lab.served.conftest import Pool, eventually

runner = CliRunner()


def lab(pool: Pool, *words: str, code: int = 0, text: str = "") -> Result:
    result = runner.invoke(app, [*words, "--dir", str(pool.directory)], env={"COLUMNS": "80"}, input=text)
    assert result.exit_code == code, result.output
    return result


def test_a_script_runs_and_is_told(pool: Pool, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("cut xen02 xen03\nwait 0.1\nheal all\nbefore VM.start: lose  # never comes\n", encoding="utf-8")
    told = lab(pool, "run", str(script)).stdout
    assert told.splitlines() == [
        "3 commands in 0.1s; Ctrl-C stops it",
        "+0s       cut xen02 xen03",
        "+0.1s     heal all",
        "waits for its call: before VM.start: lose",
    ]
    assert pool.lab.world.cuts() == []


def test_a_script_goes_on_by_itself(pool: Pool) -> None:
    text = "wait 0.05\nslow xen02 5"
    assert lab(pool, "run", "-", "--background", text=text).stdout == "1 command in 0.1s; it goes on by itself\n"
    eventually(lambda: pool.lab.hosts["xen02"].slow == 5)
    assert "odd: xen02: 5 times as slow" in lab(pool, "status").stdout
    assert lab(pool, "do", "calm").stdout == "calm\n"
    assert pool.lab.hosts["xen02"].slow == 1


def test_everything_is_undone_after_a_script(pool: Pool) -> None:
    lab(pool, "run", "-", "--calm-after", "0.1", text="memory full xen02\nclock xen03 60\n")
    assert [host["odd"] for host in ask(pool.directory, "picture")["hosts"]] == [[], [], [], []]


def test_a_script_is_stopped(pool: Pool) -> None:
    about = ask(pool.directory, "run", script="wait 3600\npower off xen02")
    ask(pool.directory, "run-stop", run=about["run"])
    assert ask(pool.directory, "run-log", run=about["run"]) == {"log": [], "pending": 0, "waiting": []}


def test_a_random_script_is_printed_and_makes_the_same_again(pool: Pool) -> None:
    first = lab(pool, "run", "--random", "7", "--faults", "4", "--print").stdout
    assert first == lab(pool, "run", "--random", "7", "--faults", "4", "--print").stdout
    assert first.startswith("at 0: power off xen01")
    assert pool.master.powered


@pytest.mark.parametrize(
    ("words", "text", "code", "said"),
    [
        (["run", "-"], "wait 5\npower off nobody", 1, "stdin:2: no host is called nobody"),
        (["run", "-"], "explode", 1, "stdin:1: explode is no command"),
        (["run", "/nonexistent"], "", 64, "/nonexistent: No such file or directory"),
        (["run"], "", 64, "name a script, or write --random SEED"),
        (["do", "power", "up", "xen01"], "", 1, "write power off|on HOST [with bmc]"),
        (["incident", "nosuch"], "", 64, "there is no incident nosuch: there are dead-master, "),
        (["incident"], "", 1, "this lab is in no incident"),
    ],
)
def test_mistakes_are_told(pool: Pool, words: list[str], text: str, code: int, said: str) -> None:
    assert said in lab(pool, *words, code=code, text=text).stderr


def test_another_client_acts_and_its_answer_is_shown(pool: Pool) -> None:
    vm = next(vm["name"] for vm in pool.lab.describe()["vms"] if not vm["runs_on"] and "san-1" in vm["srs"])
    assert lab(pool, "do", "xo", "start", vm, "xen02").stdout.split() == (
        f"VM.start_on vm:{vm} host:xen02 false false: done".split()
    )
    assert vm in [d.name for d in pool.lab.running()["xen02"]]
    assert "VM_BAD_POWER_STATE" in lab(pool, "do", "xe", "VM.start", f"vm:{vm}", "false", "false").stdout


def test_sets_of_a_partition_come_through(pool: Pool) -> None:
    lab(pool, "do", "partition", "xen01", "|", "xen02", "client")
    assert pool.lab.world.cuts() == [("client", "xen01"), ("xen01", "xen02")]


def test_harm_is_told_with_its_time_and_meaning(pool: Pool) -> None:
    with pool.served.world() as world:
        host, domain = next((h, d) for h, ds in world.running().items() for d in ds)
        other = next(name for name in world.hosts if name != host)
        world.world.start(other, domain.vm, domain.name, 1, domain.disks)
    told = lab(pool, "harm", code=1).stdout
    assert told.startswith("HARM was done 2 times:")
    assert "two-domains" in told
    assert "two copies of one VM" in told
    found = lab(pool, "check", code=1).stdout
    assert f"[no] {domain.name} runs twice." in found
    assert "not solved yet" in found


def test_a_pool_at_rest_is_whole(pool: Pool) -> None:
    told = lab(pool, "check").stdout
    assert told.endswith("the pool is whole\n")
    assert "[no]" not in told


@pytest.mark.parametrize("name", ["hung-master", "green-pool"])
def test_an_incident_is_prepared_and_checked(pool: Pool, tmp_path: Path, name: str) -> None:
    with pool.served.world() as world:
        trial = Trial(INCIDENTS[name], world)
    began = pool.lab.now
    trial.prepare(pool.served.skip)
    assert pool.lab.now >= began + INCIDENTS[name].span
    pool.control.close()
    Control(pool.served, pool.directory, about={}, on_down=lambda: None, trial=trial).start()
    assert "not solved yet" in lab(pool, "check", code=1).stdout
    assert INCIDENTS[name].title in lab(pool, "incident").stdout
    if name == "hung-master":
        lab(pool, "toolstack", "restart", "xen01")
        eventually(lambda: all(one["good"] for one in ask(pool.directory, "check")["findings"]))
        assert lab(pool, "check").stdout.endswith("solved, without harm\n")
        assert json.loads(lab(pool, "check", "--json").stdout)["incident"] == name


def test_incidents_are_listed() -> None:
    told = runner.invoke(app, ["incident", "--list"], env={"COLUMNS": "80"}).stdout
    assert [line.split()[0] for line in told.splitlines() if "hosts, " in line] == list(INCIDENTS)
    assert NO_INCIDENT.name == ""


def test_the_commands_are_listed() -> None:
    assert "power off|on HOST" in runner.invoke(app, ["do", "help"]).stdout
