"""Commands that look: status, capture, plans from a captured file, export. None of them writes."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import PASSWORD, Bench, xenrec


@pytest.fixture(autouse=True)
def nothing_written(bench: Bench) -> Iterator[None]:
    """Looking changes nothing."""
    yield
    assert bench.writes() == []


def test_status_of_a_healthy_pool(bench: Bench) -> None:
    ran = bench.run("status")
    assert ran.code == 0
    assert "xen01 is master; 3 of 3 members answer" in ran.out
    assert ran.out.count("alive") == 3
    told = json.loads(bench.run("status", "--format", "json").out)
    assert told["diagnosis"]["situation"] == "managed"
    assert told["diagnosis"]["master"] == "xen01"
    assert [m["verdict"] for m in told["diagnosis"]["members"]] == ["alive"] * 3
    assert {t["name"]: t["login"] for t in told["survey"]["testimonies"]} == {
        "xen01": "master",
        "xen02": "slave",
        "xen03": "slave",
    }


def test_status_and_formats_of_a_pool_that_lost_its_master(bench: Bench) -> None:
    assert bench.run("plan").code == 0
    bench.power_off("xen01")
    ran = bench.run("status")
    assert ran.code == 3
    assert "the master xen01" in ran.out
    assert "is lost" in ran.out
    assert f"next: xenrec plan {bench.manifest}" in " ".join(ran.out.split())
    told = json.loads(bench.run("status", "--format", "json").out)
    assert told["diagnosis"]["situation"] == "lost"
    assert told["diagnosis"]["lost_master"] == "xen01"
    kept = bench.folder / "night.plan"
    runbook = bench.run("plan", "--format", "xe", "--out", str(kept)).out
    assert "pool-emergency-transition-to-master" in runbook
    plan = json.loads(xenrec("show", str(kept), "--format", "json").out)
    verbs = [a["verb"] for s in plan["stages"] for a in s["actions"]]
    assert verbs[:3] == ["fence", "promote", "recover-members"]
    markdown = xenrec("show", str(kept), "--format", "markdown").out
    assert "promote xen02" in markdown
    assert json.loads(xenrec("show", str(kept), "--format", "gitlab").out)


def test_a_captured_pool_is_planned_with_no_network(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.halt("app-1")
    file = bench.folder / "seen.json"
    ran = bench.run("capture", str(file))
    assert ran.code == 0
    assert "3 of 3 members answered; 3 hosts, 8 VMs" in ran.out
    assert PASSWORD not in file.read_text()
    live = bench.run("plan")
    (bench.folder / "lab" / "password").unlink()
    bench.served.stop()

    def no_network(*args: object, **more: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    calls = len(bench.calls)
    ran = bench.run("plan", "--snapshot", str(file))
    assert ran.code == 0, ran
    assert "start app-1 on xen01" in ran.out
    assert _without_times(ran.out) == _without_times(live.out)
    assert len(bench.calls) == calls


def _without_times(text: str) -> list[str]:
    return [line for line in text.split("\n") if "UTC" not in line]


def test_a_captured_pool_without_a_master(bench: Bench) -> None:
    bench.power_off("xen01")
    file = bench.folder / "seen.json"
    ran = bench.run("capture", str(file))
    assert ran.code == 0
    assert "2 of 3 members answered; no master to read the pool from" in ran.out
    ran = bench.run("plan", "--snapshot", str(file))
    assert "promote xen02" in ran.out


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"format": "something else"}'])
def test_a_file_that_holds_no_capture(bench: Bench, content: str) -> None:
    file = bench.folder / "seen.json"
    file.write_text(content)
    ran = bench.run("plan", "--snapshot", str(file))
    assert ran.code == 1
    assert "seen.json" in ran.err
    assert "Traceback" not in ran.err


def test_a_capture_of_other_members(bench: Bench) -> None:
    file = bench.folder / "seen.json"
    bench.run("capture", str(file))
    bench.edit("xen03", "xen33")
    ran = bench.run("plan", "--snapshot", str(file))
    assert ran.code == 1
    assert "other members" in ran.err


def test_a_capture_of_a_pool_that_nobody_answers_for(bench: Bench) -> None:
    bench.served.stop()
    ran = bench.run("capture", str(bench.folder / "seen.json"))
    assert ran.code == 69
    assert "0 of 3 members answered" in ran.out


class TestExport:
    """A manifest from a live pool."""

    @pytest.fixture
    def address(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setenv("XENREC_PASSWORD", PASSWORD)
        with bench.served.world() as lab:
            return bench.served.address_of(lab.hosts["xen01"])

    def test_it_plans_to_nothing(self, bench: Bench, address: str, tmp_path: Path) -> None:
        out = tmp_path / "made.yaml"
        ran = xenrec("export", address, "--trust-on-first-use", "--out", str(out))
        assert ran.code == 0, ran
        assert "3 members, 8 VMs" in ran.out
        assert PASSWORD not in out.read_text()
        assert xenrec("validate", str(out)).code == 0
        ran = xenrec("plan", str(out), "--detailed-exitcode")
        assert ran.code == 0, ran
        assert "nothing to do" in ran.out

    def test_to_stdout(self, address: str, tmp_path: Path) -> None:
        ran = xenrec("export", address, "--trust-on-first-use", "--name", "madrid")
        assert ran.code == 0, ran
        (tmp_path / "made.yaml").write_text(ran.out)
        assert "madrid" in xenrec("validate", str(tmp_path / "made.yaml")).out

    def test_a_certificate_is_compared_by_a_person_first(self, bench: Bench, address: str) -> None:
        fingerprint = bench.served.identities()["xen01"].fingerprint
        ran = xenrec("export", address)
        assert ran.code == 64
        assert fingerprint in ran.err
        assert f"xenrec export {address} --fingerprint {fingerprint}" in ran.err
        assert bench.calls == []
        assert xenrec("export", address, "--fingerprint", fingerprint).code == 0

    def test_a_wrong_fingerprint_sends_no_password(self, bench: Bench, address: str) -> None:
        ran = xenrec("export", address, "--fingerprint", "ab" * 32)
        assert ran.code in (69, 77)
        assert bench.calls == []

    def test_a_wrong_password(self, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XENREC_PASSWORD", "not-the-password")
        ran = xenrec("export", address, "--trust-on-first-use")
        assert ran.code == 77
        assert "not-the-password" not in ran.said

    def test_no_password(self, bench: Bench, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("XENREC_PASSWORD")
        ran = xenrec("export", address, "--trust-on-first-use")
        assert ran.code == 65
        assert "XENREC_PASSWORD" in ran.err
        assert bench.calls == []

    def test_a_member_names_its_master(self, bench: Bench, address: str) -> None:
        with bench.served.world() as lab:
            member = bench.served.address_of(lab.hosts["xen02"])
        ran = xenrec("export", member, "--trust-on-first-use")
        assert ran.code == 1
        assert "is a member, not the master" in ran.err
        assert f"xenrec export {address.split(':', maxsplit=1)[0]}" in ran.err

    def test_nobody_there(self, bench: Bench, address: str) -> None:
        bench.served.stop()
        ran = xenrec("export", address, "--trust-on-first-use")
        assert ran.code == 69
        assert address in ran.err
