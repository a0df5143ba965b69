"""Async calls, their tasks, and event.from (sheet §8)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.story import Refused, Story, make


@pytest.fixture
def s() -> Story:
    story = make()
    story.login("h1")
    return story


def _events(s: Story, classes: list[str], token: str, timeout: float = 30.0) -> dict[str, Any]:
    answer: dict[str, Any] = s.raw("h1", "event.from", s.sessions["h1"], classes, token, timeout)
    return answer


def test_a_task_from_pending_to_success(s: Story) -> None:
    task = s.ask("h1", "Async.VM.start_on", "vm5", "h2", False, False)
    record = s.ask("h1", "task.get_record", task)
    assert (record["status"], record["name_label"]) == ("pending", "Async.VM.start_on")
    assert record["finished"] == "19700101T00:00:00Z"
    first = _events(s, [f"task/{task}"], "")
    assert [e["operation"] for e in first["events"]] == ["add"]
    token = first["token"]
    while True:
        answer = _events(s, [f"task/{task}"], token)
        token = answer["token"]
        assert answer["events"], "no event within the timeout"
        snapshot = answer["events"][-1]["snapshot"]
        if snapshot["status"] != "pending":
            break
    assert (snapshot["status"], snapshot["result"], snapshot["progress"]) == ("success", "<value></value>", 1.0)
    assert s.where("vm5") == ["h2"]
    s.ask("h1", "task.destroy", task)
    assert s.refusal("h1", "task.get_record", task) == ["HANDLE_INVALID", "task", task]
    gone = _events(s, [f"task/{task}"], token, 1.0)
    assert [(e["operation"], e["ref"]) for e in gone["events"]] == [("del", task)]


def test_failures_show_only_in_the_task(s: Story) -> None:
    task = s.ask("h1", "Async.VM.start", "OpaqueRef:bogus", False, False)
    s.wait(1.0)
    record = s.ask("h1", "task.get_record", task)
    assert (record["status"], record["error_info"]) == ("failure", ["HANDLE_INVALID", "VM", "OpaqueRef:bogus"])
    with pytest.raises(Refused, match="SESSION_INVALID"):
        s.raw("h1", "Async.VM.start", "OpaqueRef:nobody", s.ref("vm5"), False, False)


def test_results_are_xml_texts(s: Story) -> None:
    task = s.ask("h1", "Async.VM.clone", "vm5", "copy & paste")
    s.wait(5.0)
    result = s.ask("h1", "task.get_record", task)["result"]
    assert result.startswith("<value>OpaqueRef:")
    task = s.ask("h1", "Async.VM.get_possible_hosts", "vm5")
    s.wait(5.0)
    assert s.ask("h1", "task.get_record", task)["result"].startswith("<value><array><data><value>OpaqueRef:")


def test_a_pending_task_is_destroyed_when_it_ends_and_a_waiting_one_can_be_cancelled(s: Story) -> None:
    busy = s.ask("h1", "Async.VM.clean_shutdown", "vm2")
    waiting = s.ask("h1", "Async.VM.pool_migrate", "vm2", "h3", {})
    s.wait(0.5)
    s.ask("h1", "task.destroy", busy)
    assert s.ask("h1", "task.get_status", busy) == "pending"
    s.ask("h1", "task.cancel", waiting)
    s.wait(10.0)
    assert s.refusal("h1", "task.get_status", busy)[0] == "HANDLE_INVALID"
    record = s.ask("h1", "task.get_record", waiting)
    assert (record["status"], record["error_info"]) == ("cancelled", ["TASK_CANCELLED", waiting])
    assert s.record("h1", "vm2") == ("Halted", "")


def test_tasks_and_sessions_die_with_the_master(s: Story) -> None:
    task = s.ask("h1", "Async.VM.start_on", "vm5", "h2", False, False)
    old = s.sessions["h1"]
    s.wait(0.2)
    s.lab.restart_toolstack("h1")
    s.until_master("h1")
    assert s.refusal("h1", "task.get_record", task) == ["HANDLE_INVALID", "task", task]
    with pytest.raises(Refused, match="SESSION_INVALID"):
        s.raw("h1", "VM.get_all", old)
    s.until_ready("h1", "h1", "h2", "h3")
    assert s.where("vm5") == ["h2"]  # the operation on the member went on all the same
    assert s.record("h1", "vm5") == ("Running", "h2")


def test_everything_at_once_then_only_changes(s: Story) -> None:
    everything = _events(s, ["*"], "", 5.0)
    classes = {e["class"] for e in everything["events"]}
    assert {"vm", "host", "host_metrics", "pool", "sr", "pbd", "vbd", "vdi"} <= classes
    assert not classes & {"session", "user", "event"}
    assert {e["operation"] for e in everything["events"]} == {"add"}
    counts = everything["valid_ref_counts"]
    assert counts["vm"] == len(s.ask("h1", "VM.get_all"))
    assert counts["message"] == counts["sr_stat"] == 0  # counted, though never full (recordings 01, 02)
    start = s.lab.now
    quiet = _events(s, ["vm"], everything["token"], 3.0)
    assert quiet["events"] == []
    assert 2.9 <= s.lab.now - start <= 3.7
    s.ask("h1", "VM.set_name_description", "vm5", "changed")
    changed = _events(s, ["vm"], quiet["token"])
    assert [(e["operation"], e["class"], e["snapshot"]["name_description"]) for e in changed["events"]] == [
        ("mod", "vm", "changed")
    ]
    reply = s.send("h1", "event.from", s.sessions["h1"], ["vm"], changed["token"], 30.0)
    s.wait(1.0)
    assert not reply.done
    s.ask("h1", "VM.set_name_description", "vm5", "again")
    s.wait(0.2)
    assert reply.done


def test_nonsense_is_answered_as_the_real_pool_does(s: Story) -> None:
    assert s.refusal("h1", "event.from", ["vm"], "garbage", 1.0) == ["EVENT_FROM_TOKEN_PARSE_FAILURE", "garbage"]
    for classes in (["nosuchclass"], ["no/such/thing"]):
        assert _events(s, classes, "", 0.5)["events"] == []
    only = _events(s, ["VM/" + s.ref("vm5")], "", 1.0)
    assert [e["ref"] for e in only["events"]] == [s.ref("vm5")]


def test_a_token_from_before_a_promotion_starves(s: Story) -> None:
    s.ask("h1", "pool.sync_database")
    for number in range(200):
        s.ask("h1", "VM.set_name_description", "vm5", str(number))
    token = _events(s, ["vm"], "")["token"]
    s.lab.power_off("h1")
    s.promote("h2")
    answer = s.raw("h2", "event.from", s.sessions["h2"], ["vm"], token, 1.0)
    assert answer["events"] == []
    assert s.raw("h2", "event.from", s.sessions["h2"], ["vm"], "", 1.0)["events"]


def test_logging_out_ends_a_wait(s: Story) -> None:
    token = _events(s, ["vm"], "")["token"]
    reply = s.send("h1", "event.from", s.sessions["h1"], ["vm"], token, 5.0)
    s.ask("h1", "session.logout")
    s.lab.settle([reply], s.lab.now + 20)
    assert reply.failure is not None
    assert reply.failure[0] == "SESSION_INVALID"


def test_messages_are_files_of_one_host(s: Story) -> None:
    uuid = s.ask("h1", "VM.get_uuid", "vm5")
    ref = s.ask("h1", "message.create", "NOTE", 3, "VM", uuid, "hello")
    assert s.ask("h1", "message.get_record", ref)["body"] == "hello"
    assert s.refusal("h1", "message.create", "NOTE", 3, "VM", "nope", "x") == ["UUID_INVALID", "VM", "nope"]
    assert s.refusal("h1", "message.create", "NOTE", 3, "Nothing", uuid, "x")[0] == "INTERNAL_ERROR"
    assert ref in [e["ref"] for e in _events(s, ["message"], "")["events"]]
    s.lab.power_off("h1")
    s.promote("h2")
    assert ref not in s.raw("h2", "message.get_all", s.sessions["h2"])
