"""A live migration on the lab: what it refuses, how long it takes, and what is left when one end goes away."""

from __future__ import annotations

import pytest

from reconciler.lab import NULL
from tests.lab.story import Story, make

LIVE = {"live": "true"}


@pytest.fixture
def s() -> Story:
    story = make()
    story.login("h1")
    return story


def outcome(s: Story, task: str) -> tuple[str, list[str]]:
    s.until(lambda: s.ask("h1", "task.get_status", task) != "pending", 300.0)
    record = s.ask("h1", "task.get_record", task)
    return record["status"], record["error_info"][:1]


def test_it_takes_a_while_and_reserves_its_place(s: Story) -> None:
    task = s.ask("h1", "Async.VM.pool_migrate", "vm2", "h3", LIVE)
    s.wait(0.3)
    record = s.ask("h1", "VM.get_record", s.ref("vm2"))
    assert (s.names[record["resident_on"]], s.names[record["scheduled_to_be_resident_on"]]) == ("h2", "h3")
    assert list(record["current_operations"].values()) == ["pool_migrate"]
    assert outcome(s, task) == ("success", [])
    record = s.ask("h1", "VM.get_record", s.ref("vm2"))
    assert (s.names[record["resident_on"]], record["scheduled_to_be_resident_on"]) == ("h3", NULL)
    assert s.where("vm2") == ["h3"]
    assert s.harms() == []


def test_a_target_that_dies_while_memory_is_copied_leaves_it_where_it_was(s: Story) -> None:
    task = s.ask("h1", "Async.VM.pool_migrate", "vm2", "h3", LIVE)
    s.wait(0.1)
    s.lab.power_off("h3")
    assert outcome(s, task) == ("failure", ["VM_MIGRATE_FAILED"])
    assert s.where("vm2") == ["h2"]
    record = s.ask("h1", "VM.get_record", s.ref("vm2"))
    assert (record["power_state"], record["scheduled_to_be_resident_on"]) == ("Running", NULL)


def test_a_target_that_dies_in_the_switch_costs_its_life(s: Story) -> None:
    task = s.ask("h1", "Async.VM.pool_migrate", "vm2", "h3", LIVE)
    s.wait(s.lab.timing.vm_migrate - 0.1)
    s.lab.power_off("h3")
    assert outcome(s, task) == ("failure", ["VM_MIGRATE_FAILED"])
    assert s.where("vm2") == []
    assert s.record("h1", "vm2") == ("Halted", "")
    assert s.harms() == []


def test_a_source_that_dies_takes_it_along(s: Story) -> None:
    s.ask("h1", "Async.VM.pool_migrate", "vm2", "h3", LIVE)
    s.wait(0.2)
    s.lab.power_off("h2")
    s.wait(200.0)
    assert s.where("vm2") == []
    assert s.record("h1", "vm2") == ("Running", "h2")


def test_cancelling_its_task_ends_it_where_it_was(s: Story) -> None:
    task = s.ask("h1", "Async.VM.pool_migrate", "vm2", "h3", LIVE)
    s.wait(0.1)
    s.ask("h1", "task.cancel", task)
    assert outcome(s, task) == ("cancelled", ["TASK_CANCELLED"])
    assert s.where("vm2") == ["h2"]
    assert s.ask("h1", "VM.get_current_operations", s.ref("vm2")) == {}


def test_a_network_must_be_there_plugged_and_have_an_address(s: Story) -> None:
    nowhere = {**LIVE, "network": "OpaqueRef:gone"}
    assert s.refusal("h1", "VM.pool_migrate", "vm2", "h3", nowhere) == ["PIF_NOT_PRESENT", "h3", "OpaqueRef:gone"]
    toolstack = s.lab.hosts["h1"].toolstack
    assert toolstack is not None
    db = toolstack.db
    assert db is not None
    ref, pif = next((r, p) for r, p in db.tables["PIF"].items() if p["host"] == s.ref("h3"))
    options = {**LIVE, "network": pif["network"]}
    db.update("PIF", ref, IP="")
    assert s.refusal("h1", "VM.pool_migrate", "vm2", "h3", options) == ["INTERFACE_HAS_NO_IP", ref]
    db.update("PIF", ref, IP="10.1.0.3", currently_attached=False)
    assert s.refusal("h1", "VM.pool_migrate", "vm2", "h3", options) == ["REQUIRED_PIF_IS_UNPLUGGED", ref]
    db.update("PIF", ref, currently_attached=True)
    s.ask("h1", "VM.pool_migrate", "vm2", "h3", options)
    assert s.where("vm2") == ["h3"]


def test_a_target_that_is_a_master_itself_knows_no_session_of_the_other(s: Story) -> None:
    """The URL for the memory holds the session of the master that was asked; whoever else has it looks it up in its own
    database and refuses it (xapi_vm_migrate.ml:pool_migrate). Seed 9101677: a domain that no database knew of."""
    s.lab.cut("h1", "h2")
    s.promote("h2")
    assert s.ask("h2", "pool.recover_slaves") == ["h3"]
    s.until_ready("h2", "h3")
    s.lab.heal("h1", "h2")
    db = s.lab.hosts["h2"].toolstack.db  # as a classic release has a silent host for ten minutes
    db.update("host", s.ref("h1"), enabled=True)
    db.update("host_metrics", db.get("host", s.ref("h1"))["metrics"], live=True)
    task = s.ask("h2", "Async.VM.pool_migrate", "vm3", "h1", LIVE)
    s.until(lambda: s.ask("h2", "task.get_status", task) != "pending", 300.0)
    assert s.ask("h2", "task.get_record", task)["error_info"] == ["VM_MIGRATE_CONTACT_REMOTE_SERVICE_FAILED"]
    assert s.where("vm3") == ["h3"]
