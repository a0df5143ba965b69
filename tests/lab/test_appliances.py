"""Appliances start and stop as one, in order, with their delays."""

from __future__ import annotations

import pytest

from tests.lab.story import Refused, Story, make


def built(story: Story) -> tuple[str, str, list[str]]:
    """An appliance of three halted VMs of order 0, 1 and 2; the master, the appliance, the VMs by order."""
    host = str(story.lab.describe()["master"])
    vms: list[str] = []
    for ref, record in sorted(story.ask(host, "VM.get_all_records").items()):
        if not record["is_a_template"] and not record["is_control_domain"] and len(vms) < 3:
            if record["power_state"] == "Running":
                story.ask(host, "VM.hard_shutdown", ref)
            vms.append(ref)
    assert len(vms) == 3
    appliance = story.ask(host, "VM_appliance.create", {"name_label": "shop", "name_description": ""})
    for order, vm in enumerate(vms):
        story.ask(host, "VM.set_appliance", vm, appliance)
        story.ask(host, "VM.set_order", vm, order)
    return host, appliance, story.ask(host, "VM_appliance.get_VMs", appliance)


def states(story: Story, host: str, vms: list[str]) -> list[str]:
    return [story.ask(host, "VM.get_power_state", vm) for vm in vms]


def test_it_starts_in_order_and_waits_for_delays() -> None:
    story = make()
    host, appliance, vms = built(story)
    story.ask(host, "VM.set_start_delay", vms[0], 60)
    task = story.ask(host, "Async.VM_appliance.start", appliance, False)
    story.lab.run(story.lab.now + 30)
    assert states(story, host, vms) == ["Running", "Halted", "Halted"]
    assert story.refusal(host, "VM_appliance.shutdown", appliance)[0] == "OTHER_OPERATION_IN_PROGRESS"
    assert story.ask(host, "VM_appliance.get_allowed_operations", appliance) == []
    story.lab.run(story.lab.now + 60)
    assert states(story, host, vms) == ["Running", "Running", "Running"]
    assert story.ask(host, "task.get_status", task) == "success"
    assert "start" in story.ask(host, "VM_appliance.get_allowed_operations", appliance)


def test_it_stops_in_reverse_and_waits_for_delays() -> None:
    story = make()
    host, appliance, vms = built(story)
    story.ask(host, "VM_appliance.start", appliance, False)
    story.ask(host, "VM.set_shutdown_delay", vms[2], 60)
    story.lab.run(story.lab.now + 10)
    story.ask(host, "Async.VM_appliance.shutdown", appliance)
    story.lab.run(story.lab.now + 30)
    assert states(story, host, vms) == ["Running", "Running", "Halted"]
    story.lab.run(story.lab.now + 90)
    assert states(story, host, vms) == ["Halted", "Halted", "Halted"]


def test_one_that_cannot_start_is_named_without_a_reason_and_the_others_run() -> None:
    story = make()
    host, appliance, vms = built(story)
    story.ask(host, "VM.add_to_blocked_operations", vms[1], "start", "no")
    with pytest.raises(Refused) as refused:
        story.ask(host, "VM_appliance.start", appliance, False)
    assert refused.value.description == ["OPERATION_PARTIALLY_FAILED", "VM_appliance.start", vms[1]]
    assert states(story, host, vms) == ["Running", "Halted", "Running"]
    story.ask(host, "VM_appliance.hard_shutdown", appliance)
    assert states(story, host, vms) == ["Halted", "Halted", "Halted"]


def test_its_vms_outlive_it() -> None:
    story = make()
    host, appliance, vms = built(story)
    story.ask(host, "VM_appliance.destroy", appliance)
    assert story.ask(host, "VM.get_appliance", vms[0]) == "OpaqueRef:NULL"
    assert story.refusal(host, "VM_appliance.get_record", appliance)[:2] == ["HANDLE_INVALID", "VM_appliance"]
