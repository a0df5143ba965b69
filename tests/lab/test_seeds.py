"""Pools to start from: generated ones of any size, and databases of real pools."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from reconciler.lab import NULL, Lab, Seed
from reconciler.lab.placement import assert_can_boot_here
from reconciler.lab.schema import SCHEMA
from tests.lab.story import Story

SHARED = Path(os.environ.get("XENREC_SHARED") or Path(__file__).parents[3] / "shared")
FILES = sorted((SHARED / "pools" / "modern").glob("*.json"))


def _guests(tables: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [v for v in tables["VM"].values() if not v["is_a_template"] and not v["is_control_domain"]]


def test_the_demo_pool() -> None:
    tables = Seed.generate().tables
    guests = _guests(tables)
    hosts = tables["host"]
    assert [h["name_label"] for h in hosts.values()] == ["xen01", "xen02", "xen03", "xen04"]
    assert [h["address"] for h in hosts.values()] == [f"127.0.10.{n}" for n in (11, 12, 13, 14)]
    assert len(guests) == 24
    assert len({v["name_label"] for v in guests}) == 24
    running = [v for v in guests if v["power_state"] == "Running"]
    assert 14 <= len(running) <= 18
    assert all(v["resident_on"] == v["affinity"] for v in running)
    pool = next(iter(tables["pool"].values()))
    assert tables["SR"][pool["default_SR"]]["name_label"] == "san-1"
    names = sorted(s["name_label"] for s in tables["SR"].values())
    assert names == ["ISO library", *["Local storage"] * 4, "nfs-1", "san-1"]
    for host in hosts:
        local = [
            v
            for v in running
            if v["resident_on"] == host
            and any(
                tables["SR"][tables["VDI"][tables["VBD"][b]["VDI"]]["SR"]]["name_label"] == "Local storage"
                for b in v["VBDs"]
                if not tables["VBD"][b]["empty"]
            )
        ]
        assert local, "each host runs a VM on its local SR"
    discs = [b for b in tables["VBD"].values() if b["type"] == "CD" and not b["empty"]]
    assert len(discs) == 1


def test_the_same_numbers_make_the_same_pool() -> None:
    assert Seed.generate(3, 9, random_seed=7).tables == Seed.generate(3, 9, random_seed=7).tables
    assert Seed.generate(3, 9, random_seed=7).tables != Seed.generate(3, 9, random_seed=8).tables


@pytest.mark.parametrize(("hosts", "vms"), [(1, 0), (1, 5), (2, 3), (5, 70)])
def test_any_size_is_a_pool_whose_vms_can_run_where_they_are(hosts: int, vms: int) -> None:
    lab = Lab(Seed.generate(hosts, vms))
    ts = lab.hosts["xen01"].toolstack
    assert ts is not None
    db = ts.db
    assert db is not None
    for ref, vm in db.tables["VM"].items():
        if not vm["is_control_domain"] and vm["resident_on"] != NULL:
            assert_can_boot_here(db, ref, vm["resident_on"], memory=False)
    assert lab.harm() == []


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="0 hosts"):
        Seed.generate(0)
    with pytest.raises(ValueError, match="not an IPv4 address"):
        Seed.generate(2, 2, first_address="10.0.0")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pool": {}}', '{"pool": {"r": 1}, "host": {"h": {}}}'])
def test_what_is_no_database_gets_a_clear_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "pool.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"pool\.json: "):
        Seed.from_file(path)


def test_a_bad_number_is_named(tmp_path: Path) -> None:
    tables = Seed.generate(1, 1).tables
    ref = next(iter(tables["host_metrics"]))
    raw = json.loads(json.dumps(tables))
    raw["host_metrics"][ref]["memory_total"] = "much"
    path = tmp_path / "pool.json"
    path.write_text(json.dumps(raw))
    with pytest.raises(ValueError, match=r"memory_total: 'much' is no i"):
        Seed.from_file(path)


@pytest.mark.skipif(not FILES, reason="the real pool databases are not beside this checkout (set XENREC_SHARED)")
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_real_databases_become_labs(path: Path) -> None:
    s = Story(Lab(Seed.from_file(path)))
    master = next(h.name for h in s.lab.hosts.values() if h.role == "master")
    assert s.lab.hosts[master].address == "127.0.10.11"
    s.login(master)
    raw = json.loads(path.read_text())
    vms = s.raw(master, "VM.get_all_records", s.sessions[master])
    assert len(vms) == len(raw["VM"])
    running = [v for v in vms.values() if v["power_state"] == "Running" and not v["is_control_domain"]]
    really = {d.vm for domains in s.lab.running().values() for d in domains}
    assert {v["uuid"] for v in running} == really
    for cls in SCHEMA:
        if cls in ("session", "message", "VIF_metrics", "VBD_metrics", "VTPM", "user", "VM_group"):
            continue
        assert s.raw(master, f"{cls}.get_all_records", s.sessions[master]) is not None, cls
    assert all(isinstance(v["memory_static_max"], int) for v in vms.values())
    s.lab.restart_toolstack(master)
    s.until_master(master)
    s.until_ready(master, *s.lab.hosts)
    assert s.harms() == []
    assert {d.vm for domains in s.lab.running().values() for d in domains} == really
    assert json.dumps(s.lab.describe())


@pytest.mark.skipif(not FILES, reason="the real pool databases are not beside this checkout (set XENREC_SHARED)")
@pytest.mark.parametrize("path", [p for p in FILES if "Cowley" not in p.stem], ids=lambda p: p.stem)
def test_real_pools_survive_the_loss_of_their_master(path: Path) -> None:
    s = Story(Lab(Seed.from_file(path)))
    master = next(h for h in s.lab.hosts.values() if h.role == "master").name
    other = next(name for name in s.lab.hosts if name != master)
    s.lab.power_off(master)
    s.promote(other)
    s.ask(other, "pool.recover_slaves")
    s.until_ready(other, other)
    s.raw(other, "host.declare_dead", s.sessions[other], s.ref(master))
    vms = s.raw(other, "VM.get_all_records", s.sessions[other])
    outcomes = []
    for ref, vm in vms.items():
        if vm["is_a_template"] or vm["is_control_domain"] or vm["power_state"] != "Halted":
            continue
        reply = s.send(other, "VM.start_on", s.sessions[other], ref, s.ref(other), False, False)
        s.lab.settle([reply], s.lab.now + 60)
        outcomes.append(reply.failure[0] if reply.failure else "started")
    assert set(outcomes) <= {"started", "VM_REQUIRES_SR", "VM_REQUIRES_NETWORK", "HOST_NOT_ENOUGH_FREE_MEMORY"}
    assert s.harms() == []


def test_64_hosts_and_2000_vms_lose_their_master() -> None:
    s = Story(Lab(Seed.generate(64, 2000)))
    s.lab.power_off("xen01")
    s.promote("xen02")
    assert len(s.ask("xen02", "pool.recover_slaves")) == 62
    s.until_ready("xen02", *[h for h in s.lab.hosts if h != "xen01"])
    s.ask("xen02", "host.declare_dead", "xen01")
    session, dead = s.sessions["xen02"], s.ref("xen01")
    vms = s.raw("xen02", "VM.get_all_records", session)
    lost = [r for r, v in vms.items() if v["affinity"] == dead and v["power_state"] == "Halted"]
    tasks = [s.raw("xen02", "Async.VM.start", session, ref, False, False) for ref in lost]
    s.wait(10.0)
    states = [s.raw("xen02", "task.get_record", session, t) for t in tasks]
    assert {r["status"] for r in states} <= {"success", "failure"}
    assert {r["error_info"][0] for r in states if r["error_info"]} <= {"NO_HOSTS_AVAILABLE"}
    started = sum(r["status"] == "success" for r in states)
    assert started > len(lost) * 0.8
    assert s.harms() == []
