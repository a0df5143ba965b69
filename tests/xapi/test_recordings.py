"""What a real pool (XAPI 24.16) said, through the readers: XML-RPC records with ints as strings, tasks, logins."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from reconciler.core.evidence import LoginAnswer
from reconciler.core.model import PowerState
from reconciler.core.port import Answer, TaskStatus, XapiFailure
from reconciler.survey.survey import classify
from reconciler.xapi.faults import of_os_error
from reconciler.xapi.read import CLASSES, read_pool
from reconciler.xapi.tasks import result_of

FOLDER = Path(os.environ.get("XENREC_SHARED", Path(__file__).parents[3] / "shared")) / "xapi" / "recordings"
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the recordings of a real pool are not beside this checkout"
)


def lines(pattern):
    for path in sorted(FOLDER.glob(pattern)):
        with path.open() as file:
            yield from (json.loads(line) for line in file)


class Recorded:
    address = "10.77.0.11"

    def __init__(self):
        self.tables = {
            line["method"].partition(".")[0]: line["value"]
            for line in lines("01-*.jsonl")
            if line.get("method", "").endswith(".get_all_records") and line.get("value") and "projected" not in line
        }

    def call(self, method, *params, deadline=30.0):
        return self.tables[method.partition(".")[0]]

    def close(self):
        pass


def test_a_healthy_pool_as_recorded():
    recorded = Recorded()
    assert set(CLASSES) <= set(recorded.tables)
    state = read_pool(recorded, now=1.0)
    assert sorted(h.name for h in state.hosts.values()) == ["h1", "h2", "h3"]
    assert state.master.address == "10.77.0.11"
    assert all(h.live and h.enabled and h.hvm_capable and h.cpus == 8 for h in state.hosts.values())
    assert all(h.memory_total == 34359738368 and h.xapi_version for h in state.hosts.values())
    assert sum(v.is_control_domain for v in state.vms.values()) == 3
    assert {v.power_state for v in state.guests} == {PowerState.RUNNING, PowerState.HALTED}
    assert state.residents[state.master.ref]
    assert all(v.memory_overhead > 0 for v in state.guests)
    assert len(state.attached) == 6


def test_every_recorded_task_is_understood():
    seen = Counter()
    for line in lines("*.jsonl"):
        if line.get("method") == "task.get_record" and isinstance(line.get("value"), dict):
            result = result_of("t", line["value"])
            seen[result.status] += 1
            if result.status is TaskStatus.FAILURE:
                assert result.failure.code == line["value"]["error_info"][0]
            if line["value"]["name_label"] == "Async.VM.clone" and result.status is TaskStatus.SUCCESS:
                assert result.result.startswith("OpaqueRef:")
    assert {TaskStatus.PENDING, TaskStatus.SUCCESS, TaskStatus.FAILURE} <= set(seen)


def answer_of(line):
    if "failure" in line:
        return Answer(fault=XapiFailure(*line["failure"]))
    if "transport" in line:
        said = line["transport"]
        error = {
            "ConnectionRefusedError": ConnectionRefusedError(111, "Connection refused"),
            "ConnectionResetError": ConnectionResetError(104, "Connection reset by peer"),
            "OSError": OSError(113, "No route to host"),
            "TimeoutError": TimeoutError(),
        }[said.partition(":")[0]]
        return Answer(fault=of_os_error(error, line["to"], "logging in", sent=False))
    return Answer(value=line["value"])


def test_every_recorded_login_is_classified():
    expected = {
        "HOST_IS_SLAVE": LoginAnswer.SLAVE,
        "HOST_STILL_BOOTING": LoginAnswer.EMERGENCY,
        "SESSION_AUTHENTICATION_FAILED": LoginAnswer.REJECTED,
        "ConnectionRefusedError": LoginAnswer.REFUSED,
        "ConnectionResetError": LoginAnswer.STRANGE,
        "OSError": LoginAnswer.SILENT,
        "TimeoutError": LoginAnswer.SILENT,
        "ok": LoginAnswer.MASTER,
    }
    seen = Counter()
    for line in lines("*.jsonl"):
        if line.get("method") != "session.login_with_password":
            continue
        said = line["failure"][0] if "failure" in line else line.get("transport", "ok").partition(":")[0]
        if said in expected:
            kind, detail = classify(answer_of(line))
            assert kind is expected[said], line
            assert (kind is LoginAnswer.SLAVE) == ("HOST_IS_SLAVE" in detail)
            seen[said] += 1
    assert set(seen) == set(expected)
