from __future__ import annotations

import pytest

from reconciler.core.port import FaultKind, TaskStatus, TransportFault, XapiFailure
from reconciler.xapi.tasks import EVENT_TIMEOUT, XapiTasks, plain_result, result_of


class Master:
    """A master with tasks that end at given times, its session and its clock in one."""

    address = "10.0.0.1"

    def __init__(self):
        self.clock = 1000.0
        self.calls = []
        self.ends = {}  # ref -> (time, status, error_info, result)
        self.gone_at = {}
        self.events_work = True
        self.loses_deletions = False
        self.slept = 0.0

    def now(self):
        return self.clock

    def wait(self, seconds):
        self.clock += seconds
        self.slept += seconds

    def close(self):
        pass

    def record(self, ref):
        at, status, error, result = self.ends[ref]
        done = self.clock >= at
        return {
            "uuid": ref,
            "status": status if done else "pending",
            "error_info": error if done else [],
            "result": result if done else "",
            "progress": 1.0 if done else 0.25,
        }

    def exists(self, ref):
        return ref in self.ends and self.clock < self.gone_at.get(ref, float("inf"))

    def call(self, method, *params, deadline=30.0):
        self.calls.append(method)
        if method.startswith("Async."):
            return f"task-{len(self.calls)}"
        if method == "event.from":
            return self.event_from(*params, deadline=deadline)
        (ref,) = params
        if not self.exists(ref):
            raise XapiFailure("HANDLE_INVALID", "task", ref)
        if method == "task.get_record":
            return self.record(ref)
        if method == "task.destroy":
            del self.ends[ref]
            return ""
        if method == "task.cancel":
            raise XapiFailure("HOST_OFFLINE", "h")
        raise AssertionError(method)

    def event_from(self, classes, token, timeout, *, deadline):
        if not self.events_work:
            raise XapiFailure("MESSAGE_METHOD_UNKNOWN", "event.from")
        assert isinstance(timeout, float)
        assert 0.0 <= timeout <= EVENT_TIMEOUT < deadline
        refs = [c.removeprefix("task/") for c in classes]
        since = float(token or 0)
        if since:
            changes = [t for r in refs for t in (self.ends.get(r, (0,))[0], self.gone_at.get(r, 0)) if since < t]
            self.clock = min([*changes, self.clock + timeout])
        events = []
        for ref in refs:
            gone = since < self.gone_at.get(ref, 0) <= self.clock
            if gone and since and not self.loses_deletions:
                events.append({"class": "task", "operation": "del", "ref": ref})
            elif self.exists(ref) and (not since or since < self.ends[ref][0] <= self.clock):
                events.append({"class": "task", "operation": "mod", "ref": ref, "snapshot": self.record(ref)})
        return {"events": events, "valid_ref_counts": {}, "token": f"{self.clock}"}


@pytest.fixture
def master():
    return Master()


@pytest.fixture
def tasks(master):
    return XapiTasks(master, master)


def test_submitting_names_the_async_method(master, tasks):
    assert tasks.submit("VM.start_on", "vm", "host", False, False) == "task-1"
    assert master.calls == ["Async.VM.start_on"]


def test_an_answer_that_is_no_task_is_a_fault(master, tasks, monkeypatch):
    monkeypatch.setattr(master, "call", lambda *a, **k: None)
    with pytest.raises(TransportFault, match="no task"):
        tasks.submit("VM.start_on")


def test_waits_for_the_first_to_end_then_for_the_rest(master, tasks):
    master.ends = {
        "a": (1007.0, "success", [], "<value></value>"),
        "b": (1060.0, "failure", ["VM_REQUIRES_SR", "vm", "sr"], ""),
    }
    first = tasks.wait(["a", "b"], until=1200.0)
    assert master.clock == 1007.0
    assert (first["a"].status, first["a"].result, first["a"].failure) == (TaskStatus.SUCCESS, None, None)
    assert (first["b"].status, first["b"].progress) == (TaskStatus.PENDING, 0.25)
    assert "a" not in master.ends
    second = tasks.wait(["b"], until=1200.0)
    assert master.clock == 1060.0
    assert second["b"].status is TaskStatus.FAILURE
    assert str(second["b"].failure) == "VM_REQUIRES_SR [vm; sr]"
    assert master.slept == 0.0


def test_stops_at_until_with_everything_still_pending(master, tasks):
    master.ends = {"a": (9999.0, "success", [], "")}
    assert tasks.wait(["a"], until=1025.0)["a"].status is TaskStatus.PENDING
    assert master.clock == 1025.0
    assert "a" in master.ends


def test_a_task_that_is_not_there_is_unknown(master, tasks):
    master.ends = {"b": (9999.0, "success", [], "")}
    result = tasks.wait(["a", "b"], until=1100.0)
    assert result["a"].status is TaskStatus.UNKNOWN
    assert result["b"].status is TaskStatus.PENDING
    assert master.clock == 1000.0
    assert "task.destroy" not in master.calls


@pytest.mark.parametrize(("loses", "by"), [(False, 1015.0), (True, 1015.0 + EVENT_TIMEOUT)])
def test_a_task_that_vanishes_is_unknown_even_if_its_deletion_is_lost(master, tasks, loses, by):
    master.ends = {"a": (9999.0, "success", [], "")}
    master.gone_at = {"a": 1015.0}
    master.loses_deletions = loses
    assert tasks.wait(["a"], until=1500.0)["a"].status is TaskStatus.UNKNOWN
    assert 1015.0 <= master.clock <= by


def test_releases_without_event_from_are_polled(master, tasks):
    master.events_work = False
    master.ends = {"a": (1003.5, "success", [], "<value>OpaqueRef:x</value>")}
    assert tasks.wait(["a"], until=1100.0)["a"].result == "OpaqueRef:x"
    assert master.clock <= 1005.0
    tasks.wait(["b"], until=1100.0)
    assert master.calls.count("event.from") == 1


def test_nothing_to_wait_for(master, tasks):
    assert tasks.wait([], until=2000.0) == {}
    assert master.calls == []


def test_cancelling_never_raises(master, tasks):
    master.ends = {"a": (1.0, "success", [], "")}
    tasks.cancel("a")
    tasks.cancel("b")
    assert master.calls == ["task.cancel", "task.cancel"]


def test_an_invalid_session_comes_through(master, tasks, monkeypatch):
    def gone(*a, **k):
        raise XapiFailure("SESSION_INVALID", "s")

    monkeypatch.setattr(master, "call", gone)
    with pytest.raises(XapiFailure, match="SESSION_INVALID"):
        tasks.wait(["a"], until=1100.0)


@pytest.mark.parametrize("batch", [None, {"events": 5, "token": ""}, {"events": [1], "token": ""}, {"events": []}])
def test_event_answers_that_are_not_xapis(master, tasks, monkeypatch, batch):
    monkeypatch.setattr(master, "call", lambda *a, **k: batch)
    with pytest.raises(TransportFault) as caught:
        tasks.wait(["a"], until=1100.0)
    assert caught.value.kind is FaultKind.PROTOCOL


def test_reading_a_record():
    cancelled = result_of("t", {"status": "cancelled", "error_info": ["TASK_CANCELLED", "t"]})
    assert (cancelled.status, str(cancelled.failure)) == (TaskStatus.CANCELLED, "TASK_CANCELLED [t]")
    assert not result_of("t", {"status": "cancelling"}).ended
    mute = result_of("t", {"status": "failure", "error_info": []})
    assert mute.failure is not None
    with pytest.raises(TransportFault, match="status"):
        result_of("t", {"status": "odd"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<value>OpaqueRef:b940ca72</value>", "OpaqueRef:b940ca72"),
        ("<value><string>a &amp; b</string></value>", "a & b"),
        ("<value></value>", None),
        ("<value/>", None),
        ("", None),
        ("<value><array><data/></array></value>", "<value><array><data/></array></value>"),
    ],
)
def test_results_come_out_of_their_xml(text, expected):
    assert plain_result(text) == expected
