"""A run as its journal tells it, also when the run was killed or the file damaged."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.core.history import summary, timeline
from reconciler.views.terminal_history import history_json, history_text, run_json, run_text

LINES: list[dict[str, Any]] = [
    {
        "kind": "run",
        "at": 1000.0,
        "by": "ana@desk",
        "version": "1.0",
        "source": "m.yaml",
        "commit": "abc",
        "attended": True,
        "certificates": [{"host": "xen01", "kind": "fenced", "by": "fence_ipmilan", "reason": "dead"}],
    },
    {"kind": "lease", "at": 1000.5, "what": "taken", "key": "xenrec-lease-1"},
    {"kind": "begin", "at": 1001.0, "action": "start:vm/u1", "what": "start db01 on xen02", "why": "it is down"},
    {"kind": "intent", "at": 1001.1, "action": "start:vm/u1", "method": "VM.start_on", "address": "10.0.0.1"},
    {"kind": "reply", "at": 1003.0, "action": "start:vm/u1", "method": "VM.start_on", "what": "success"},
    {"kind": "end", "at": 1003.1, "action": "start:vm/u1", "result": "done", "why": "Running on xen02"},
    {"kind": "run-end", "at": 1004.0, "final": "clean", "stopped": ""},
]


def test_a_run_that_ended() -> None:
    run = summary("r1", LINES)
    assert (run.by, run.at, run.until, run.version, run.commit) == ("ana@desk", 1000.0, 1004.0, "1.0", "abc")
    assert run.result == "1 done; as declared"
    assert run.certificates == ("xen01 fenced by fence_ipmilan: dead",)
    text = run_text(run, LINES, width=100)
    assert "+1.1 s      start db01 on xen02: about to send VM.start_on to 10.0.0.1\n" in text
    assert "proof     xen01 fenced by fence_ipmilan: dead" in text
    assert "r1   1970-01-01 00:16:40 UTC  ana@desk  1 done; as declared" in history_text("p", [run], width=100)


def test_a_run_that_was_killed_tells_what_it_had_begun() -> None:
    run = summary("r1", LINES[:4])
    assert not run.ended
    assert run.result == "nothing done; no end recorded; under way: start db01 on xen02"


def test_what_a_person_did_is_told_with_what_it_was_about() -> None:
    begins, ends = {"kind": "run", "at": 1.0, "by": "ana@desk", "command": "attest"}, {"kind": "run-end", "stopped": ""}
    proof = {"host": "xen01", "kind": "attested", "by": "ana@desk", "reason": "seen off"}
    for line, told in (
        ({"kind": "certificate", "certificate": proof}, "xen01 attested by ana@desk: seen off"),
        ({"kind": "refused", "host": "xen02", "why": "it is alive"}, "xen02 not recorded: it is alive"),
        ({"kind": "revoked", "host": "xen01", "certificates": [proof]}, "xen01 taken back"),
        (
            {"kind": "intent", "method": "fence-off", "target": "host/xen02", "agents": ["fence_x 1"], "why": "smoke"},
            "host/xen02 by fence_x 1, because smoke",
        ),
        ({"kind": "reply", "method": "fence-off", "what": "no certificate: it is on"}, "no certificate: it is on"),
        ({"kind": "pause", "pause": {"vm": None, "reason": "SAN work"}}, "the pool: SAN work"),
        ({"kind": "unpause", "pauses": [{"vm": "db01", "reason": "x"}]}, "ended for VM db01"),
    ):
        assert summary("r1", [begins, line, ends]).result == f"attest: {told}"
        assert summary("r1", [begins, line]).result == f"attest: {told}; no end recorded"
        assert told in run_text(summary("r1", [begins, line]), [begins, line], width=120)


def test_damaged_lines_are_counted() -> None:
    run = summary("r1", [LINES[0], {"kind": "damaged", "line": 2}])
    assert run.damaged == 1
    assert "line 2 of the journal can't be read" in run_text(run, [LINES[0], {"kind": "damaged", "line": 2}])


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(
    ["kind", "at", "action", "what", "why", "by", "certificates", "result", "final", "stopped", "line"]
)
kinds = st.sampled_from(
    ["run", "run-end", "begin", "end", "intent", "reply", "stage", "void", "damaged", "certificate"]
)


@settings(deadline=None, suppress_health_check=list(HealthCheck))  # a busy machine generates slowly
@given(st.lists(st.dictionaries(keys, values | kinds, max_size=6), max_size=8), st.integers(40, 120))
def test_no_journal_makes_it_fail(lines: list[dict[str, Any]], width: int) -> None:
    run = summary("r", lines)
    assert len(timeline(lines)) == len(lines)
    for text in (run_text(run, lines, width=width, ascii=True), history_text("p", [run], width=width)):
        assert "\x1b" not in text
    assert history_json("p", [run])
    assert run_json(run, lines)
