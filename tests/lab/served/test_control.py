"""The control channel and `xenrec lab` on top of it."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from reconciler.cli.lab import app
from reconciler.lab import served_client
from reconciler.lab.control import Control
from reconciler.lab.served_client import NoLab, Refused, Silent, ask
from reconciler.lab.served_manifest import _pool_name, _wishes, guests, manifest
from tests.lab.served.conftest import Pool, eventually

runner = CliRunner()


def lab(pool: Pool, *words: str, code: int = 0) -> Result:
    result = runner.invoke(app, [*words, "--dir", str(pool.directory)], env={"COLUMNS": "80"})
    assert result.exit_code == code, result.output
    return result


def test_the_socket_is_for_its_owner_only(pool: Pool) -> None:
    mode = stat.S_IMODE((pool.directory / served_client.SOCKET).stat().st_mode)
    assert mode == 0o600


def test_a_directory_with_a_long_name_works(pool: Pool, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    control = Control(pool.served, deep, about={"pid": 1}, on_down=lambda: None)
    control.start()
    assert ask(deep, "about") == {"pid": 1}


@pytest.mark.parametrize(
    ("command", "arguments", "text"),
    [
        ("nonsense", {}, "no such command"),
        ("power", {"action": "off", "host": "nobody"}, "no host is called nobody"),
        ("power", {"action": "explode", "host": "0"}, "there are on, off, cycle and status"),
        ("power", {}, "missing"),
        ("link", {"action": "cut", "a": "0", "b": "0"}, "two ends"),
        ("storage", {"action": "cut", "host": "0", "sr": "nowhere"}, "no SR is called nowhere"),
        ("toolstack", {"action": "dance", "host": "0"}, "restart, stop, start, hang"),
        ("bmc-request", {"action": "dance", "host": "0"}, "status, on and off"),
    ],
)
def test_refusals_say_what_would_work(pool: Pool, command: str, arguments: dict[str, Any], text: str) -> None:
    first = pool.master.name
    arguments = {key: first if value == "0" else value for key, value in arguments.items()}
    with pytest.raises(Refused, match=text):
        ask(pool.directory, command, **arguments)


def test_lines_that_are_no_commands_are_answered(pool: Pool) -> None:
    with socket.socket(socket.AF_UNIX) as link, served_client.socket_path(pool.directory) as path:
        link.connect(path)
        stream = link.makefile("rwb")
        for line in (b"garbage\n", b"[]\n", b"{}\n", b'{"command": "about", "arguments": []}\n'):
            stream.write(line)
            stream.flush()
            assert "error" in json.loads(stream.readline())
        stream.write(b'{"command": "hosts"}\n')
        stream.flush()
        assert json.loads(stream.readline())["result"] == list(pool.lab.hosts)


def test_no_lab_there(tmp_path: Path) -> None:
    with pytest.raises(NoLab, match="xenrec lab up"):
        ask(tmp_path, "about")
    for words in (["status"], ["power", "off", "x"], ["manifest"], ["down"], ["running"], ["harm"]):
        result = runner.invoke(app, [*words, "--dir", str(tmp_path)])
        assert result.exit_code == 69, result.output
        assert "no lab is running" in result.stderr
        assert "`xenrec lab up`" in result.stderr
        assert result.stdout == ""


def test_power(pool: Pool) -> None:
    name = pool.members[0].name
    assert lab(pool, "power", "status", name).stdout == f"{name} has power\n"
    assert lab(pool, "power", "off", pool.members[0].uuid).stdout == f"{name} is off\n"
    assert not pool.lab.hosts[name].powered
    assert lab(pool, "power", "on", pool.members[0].address).stdout == f"{name} has power\n"
    assert pool.lab.hosts[name].powered
    result = lab(pool, "power", "off", "nobody", code=1)
    assert f"no host is called nobody; the lab has {', '.join(pool.lab.hosts)}" in result.stderr


def test_links_storage_and_toolstack(pool: Pool) -> None:
    one, two = pool.members[0].name, pool.members[1].name
    lab(pool, "link", "cut", one, two)
    assert pool.lab.world.cuts() == [tuple(sorted((one, two)))]
    assert f"cut: {min(one, two)} -- {max(one, two)}" in lab(pool, "status").stdout
    lab(pool, "link", "heal", one, two)
    assert pool.lab.world.cuts() == []
    lab(pool, "storage", "cut", one)
    sr = next(iter(pool.lab.world.boxes[one].sees))
    assert not pool.lab.world.reaches_sr(one, sr)
    lab(pool, "storage", "heal", one)
    assert pool.lab.world.reaches_sr(one, sr)
    assert lab(pool, "toolstack", "stop", one).stdout == f"The toolstack of {one} is stopped\n"
    lab(pool, "toolstack", "start", one)
    eventually(lambda: pool.lab.hosts[one].toolstack_state == "running")
    lab(pool, "toolstack", "hang", one)
    assert pool.lab.hosts[one].toolstack_state == "hung"
    lab(pool, "toolstack", "restart", one)
    eventually(lambda: pool.lab.hosts[one].toolstack_state == "running")
    lab(pool, "power", "off", one)
    assert f"`xenrec lab power on {one}`" in lab(pool, "toolstack", "restart", one, code=1).stderr


def test_bmc(pool: Pool) -> None:
    name = pool.members[0].name
    assert lab(pool, "bmc", name).stdout == f"The BMC of {name} answers\n"
    assert "is silent" in lab(pool, "bmc", name, "--silent").stdout
    with pytest.raises(Silent):
        ask(pool.directory, "bmc-request", timeout=0.1, host=name, action="status")
    assert "lies" in lab(pool, "bmc", name, "--answering", "--lying").stdout
    assert ask(pool.directory, "bmc-request", host=name, action="off")["power"] == "off"
    assert pool.lab.hosts[name].powered
    lab(pool, "bmc", name, "--honest")
    ask(pool.directory, "bmc-request", host=name, action="off")
    assert not pool.lab.hosts[name].powered


def test_status_shows_both_worlds_where_they_differ(pool: Pool) -> None:
    calm = lab(pool, "status").stdout
    assert "0 recorded otherwise than they are" in calm
    name = pool.members[0].name
    victims = [domain.name for domain in pool.lab.running()[name]]
    assert victims
    lab(pool, "power", "off", name)
    text = lab(pool, "status").stdout
    assert f"{len(victims)} recorded otherwise than they are" in text
    for victim in victims:
        row = next(row for row in text.splitlines() if row.startswith(victim))
        assert f"Running on {name}" in row
        assert "nowhere" in row
    assert max(map(len, text.splitlines())) <= 80
    picture = json.loads(lab(pool, "status", "--json").stdout)
    assert {vm["name"] for vm in picture["vms"] if vm["differs"]} == set(victims)
    lab(pool, "power", "off", pool.master.name)
    assert "NO MASTER answers" in lab(pool, "status").stdout


def test_a_vm_that_runs_twice_is_shouted_about(pool: Pool) -> None:
    assert "none runs twice" in lab(pool, "running").stdout
    assert "No harm was done" in lab(pool, "harm").stdout
    one, two = pool.members[0].name, pool.members[1].name
    domain = pool.lab.running()[one][0]
    with pool.served.world() as inner:
        inner.world.start(two, domain.vm, domain.name, domain.memory, domain.disks)
    assert f"! {domain.name} RUNS 2 TIMES: on {one} AND {two}" in lab(pool, "running").stdout
    assert f"TWICE: {one} AND {two}" in lab(pool, "status").stdout
    told = lab(pool, "harm", code=1).stdout
    assert f"two-domains  {domain.name} runs on {one} and on {two}" in told
    assert json.loads(lab(pool, "harm", "--json", code=1).stdout)[0]["kind"] == "two-domains"


def test_down_asks_the_process_to_end(pool: Pool) -> None:
    assert ask(pool.directory, "down") == {"pid": os.getpid()}
    eventually(lambda: pool.down)


@pytest.mark.parametrize("words", [["--port", "x"], ["--port", "0"], ["--address", "10.0.0.1"], ["--address", "x"]])
def test_up_refuses_odd_ports_and_addresses_that_others_could_reach(tmp_path: Path, words: list[str]) -> None:
    result = runner.invoke(app, ["up", *words, "--dir", str(tmp_path / "lab")])
    assert result.exit_code == 64
    assert result.stderr.startswith(f"error: {words[0]} {words[1]}: write ")
    assert not (tmp_path / "lab").exists()


def test_the_manifest_describes_every_host_and_guest(pool: Pool) -> None:
    suffix = f":{pool.served.port}"
    text = manifest(pool.lab, pool.served.identities(), suffix, pool.directory)
    document = yaml.safe_load(text)
    assert (document["apiVersion"], document["kind"]) == ("xenrec/v1", "Pool")
    spec = document["spec"]
    assert spec["connection"]["password"] == {"file": str(pool.directory / "password")}
    assert {m["name"]: (m["address"], m["fingerprint"]) for m in spec["members"]} == {
        host.name: (host.address + suffix, pool.served.identities()[host.name].fingerprint)
        for host in pool.lab.hosts.values()
    }
    assert spec["master"]["host"] == pool.master.name
    assert set(spec["master"]["successors"]) == {host.name for host in pool.members}
    declared = {entry["name"]: entry["state"] for entry in spec["virtualMachines"]}
    physically = {domain.name for domains in pool.lab.running().values() for domain in domains}
    assert {name for name, state in declared.items() if state == "running"} == physically
    assert len(declared) == len(guests(pool.lab)) == 24


def test_the_manifest_names_what_is_ambiguous_by_uuid() -> None:
    vms = [
        {"name_label": "twin", "uuid": "u1", "power_state": "Running", "affinity": "OpaqueRef:NULL"},
        {"name_label": "twin", "uuid": "u2", "power_state": "Paused", "affinity": "gone"},
        {"name_label": "web-*", "uuid": "u3", "power_state": "Halted", "affinity": "h"},
        {"name_label": "db", "uuid": "u5", "power_state": "Suspended", "affinity": ""},
    ]
    assert _wishes(vms, {"h": "xen01"}) == [
        {"name": "db", "state": "suspended"},
        {"uuid": "u1", "state": "running"},
        {"uuid": "u2", "state": "as-is"},
        {"uuid": "u3", "state": "halted", "home": "xen01"},
    ]
    assert _pool_name("Büro / 2") == "B-ro-2"
    assert _pool_name("///") == "lab"
