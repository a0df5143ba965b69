"""The lab can fail: reconcilers that are broken on purpose do harm in it, and the monitor sees it.

Each story is told twice, to a broken reconciler and to the program itself, which does no harm in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.wanted import SelectorKind, VmWish, WantedState
from reconciler.lab import Lab, Schedule
from tests.lab.story import Refused, make
from tests.lab.story import Story as Client
from tests.support.story import Story as Program
from tests.support.story import wanted_of


def program(lab: Lab, folder: Path, *wishes: VmWish) -> Program:
    """The real program, with a manifest that describes the pool as it is, but for these wishes."""
    wanted = wanted_of(lab)
    known = {wish.value for wish in wishes}
    return Program(lab, replace(wanted, vms=(*(w for w in wanted.vms if w.value not in known), *wishes)), folder)


def running(uuid: str) -> VmWish:
    return VmWish(SelectorKind.UUID, uuid, WantedState.RUNNING)


def tries(client: Client, host: str, method: str, *params: object) -> object:
    """A call whose refusal does not stop a reconciler that is broken anyhow."""
    try:
        return client.ask(host, method, *params, deadline=120.0)
    except Refused as refused:
        return refused.description


# -- promotes without proof


def cut_off_master() -> Client:
    """The master lives, with its VMs and its storage, and nobody else can talk to it."""
    client = make()
    Schedule.parse("partition h1 | h2 h3 client").attach(client.lab)
    client.wait(700)
    return client


def test_who_promotes_without_proof_runs_vms_twice() -> None:
    client = cut_off_master()
    client.promote("h2")  # "it does not answer, so it is dead"
    tries(client, "h2", "pool.recover_slaves")
    client.wait(60)
    tries(client, "h2", "host.declare_dead", "h1")
    for vm in ("vm1", "vm4"):
        tries(client, "h2", "VM.start", vm, False, False)
    assert client.where("vm1") != ["h1"]
    assert {"two-domains", "two-writers"} <= set(client.harms())
    assert next(h.text for h in client.lab.harm() if h.vm == "uuid-vm1").startswith("vm1 runs on h1 and on ")


def test_the_program_in_that_story_does_no_harm(tmp_path: Path) -> None:
    lab = cut_off_master().lab
    told = program(lab, tmp_path)
    told.apply()
    assert not lab.hosts["h1"].powered  # proof by its BMC before anybody was promoted
    assert lab.harm() == []
    assert told.doubles() == []


def test_the_program_without_proof_promotes_nobody(tmp_path: Path) -> None:
    lab = cut_off_master().lab
    told = Program(lab, wanted_of(lab, fencing=False), tmp_path)
    told.apply()
    assert [h.name for h in lab.hosts.values() if h.role == "master"] == ["h1"]
    assert lab.harm() == []


# -- resets without proof


def false_dead() -> Client:
    """The master's toolstack has just restarted: every other host is live=false, and lives (recordings 14, 21)."""
    client = make()
    client.login("h1")
    Schedule.parse("toolstack restart h1").attach(client.lab)
    client.wait(1)
    client.until_master("h1")
    return client


def test_who_resets_without_proof_runs_vms_twice() -> None:
    client = false_dead()
    assert client.hosts("h1")["h2"][1] is False
    assert tries(client, "h1", "host.declare_dead", "h2") == ""  # "the pool says that it is dead"
    client.until(lambda: client.hosts("h1")["h1"][0], 60)
    tries(client, "h1", "VM.start_on", "vm2", "h1", False, False)
    assert client.where("vm2") == ["h1", "h2"]
    assert set(client.harms()) == {"two-domains", "two-writers"}


def test_the_program_in_the_false_dead_window_does_no_harm(tmp_path: Path) -> None:
    lab = false_dead().lab
    told = program(lab, tmp_path)
    told.apply()
    told.wait(60)
    told.apply()
    assert lab.harm() == []
    assert told.doubles() == []
    assert [d.name for d in lab.running()["h2"]] == ["vm2"]


# -- starts on a name instead of a uuid


def two_of_one_name() -> Client:
    """vm2's host is dead, and a second VM is called vm2: made for a rescue, with the same disk."""
    client = make()
    lab = client.lab
    session = client.login("h1")
    db = lab.hosts["h1"].toolstack.db  # type: ignore[union-attr]
    assert db is not None
    known = db.get("VM", client.ref("vm5"))
    copy = db.create("VM", lab.ref(), {**known, "uuid": "uuid-rescue", "name_label": "vm2", "VBDs": [], "VIFs": []})
    disk = next(ref for ref, vdi in db.tables["VDI"].items() if vdi["uuid"] == "disk-vm2")
    drive = {"uuid": "vbd-rescue", "VM": copy, "VDI": disk, "mode": "RW", "type": "Disk", "userdevice": "0"}
    db.create("VBD", lab.ref(), drive)
    Schedule.parse("power off h2").attach(lab)
    client.wait(700)
    assert client.sessions["h1"] == session
    return client


def test_who_starts_by_name_opens_a_disk_twice() -> None:
    client = two_of_one_name()
    host = client.ref("h2")
    session = client.sessions["h1"]
    client.raw("h1", "host.declare_dead", session, host)  # h2 is dead: this is right
    found = client.raw("h1", "VM.get_by_name_label", session, "vm2")
    assert len(found) == 2
    for ref in found:  # and this is not
        client.raw("h1", "Async.VM.start_on", session, ref, client.ref("h3"), False, False)
    client.wait(10)
    assert client.harms() == ["two-writers"]
    assert client.where("vm2") == ["h3"]


def test_the_program_starts_the_vm_that_is_meant(tmp_path: Path) -> None:
    lab = two_of_one_name().lab
    told = program(lab, tmp_path, running("uuid-vm2"))
    told.apply()
    runs = [d.vm for domains in lab.running().values() for d in domains if d.name == "vm2"]
    assert runs == ["uuid-vm2"]
    assert lab.harm() == []


# -- retries a write whose reply was lost


def answer_dies_with_the_master() -> Client:
    """A start has its effect on h3; the master dies before it can tell anybody. The copy of the database on h2 is from
    before the start."""
    client = make()
    Schedule.parse("backup hold h2\nafter VM.start_on: lose\nafter VM.start_on: power off h1").attach(client.lab)
    client.wait(1)
    return client


def test_who_retries_a_lost_write_runs_a_vm_twice() -> None:
    client = answer_dies_with_the_master()
    assert client.ask("h1", "VM.start_on", "vm5", "h3", False, False) == "dropped"
    client.promote("h2")  # h1 is dead: this is right
    client.ask("h2", "pool.recover_slaves")
    client.until(lambda: client.hosts("h2")["h2"][0], 60)  # h3 needs some seconds longer to tell what it runs
    assert client.record("h2", "vm5") == ("Halted", "")
    tries(client, "h2", "VM.start_on", "vm5", "h2", False, False)  # "no answer, so it did not happen: again"
    assert client.where("vm5") == ["h2", "h3"]
    assert set(client.harms()) == {"two-domains", "two-writers"}


def test_the_program_looks_before_it_does_a_thing_again(tmp_path: Path) -> None:
    lab = answer_dies_with_the_master().lab
    told = program(lab, tmp_path, running("uuid-vm5"))
    for _ in range(3):
        told.apply()
        told.wait(60)
    assert lab.hosts["h1"].powered is False
    assert len([h for h in lab.hosts.values() if h.role == "master" and h.powered]) == 1
    assert sum(d.name == "vm5" for domains in lab.running().values() for d in domains) == 1
    assert lab.harm() == []
    assert told.doubles() == []


def test_the_program_promotes_once(tmp_path: Path) -> None:
    lab = make().lab
    Schedule.parse("power off h1\nafter pool.emergency_transition_to_master: lose").attach(lab)
    lab.run(lab.now + 5)
    told = program(lab, tmp_path)
    for _ in range(2):
        told.apply()
        told.wait(60)
    assert len([h for h in lab.hosts.values() if h.role == "master" and h.powered]) == 1
    assert lab.harm() == []


@pytest.mark.parametrize("tell", [cut_off_master, false_dead, two_of_one_name, answer_dies_with_the_master])
def test_the_stories_themselves_do_no_harm(tell: Callable[[], Client]) -> None:
    client = tell()
    client.wait(900)
    assert client.harms() == []
