"""What a probe prints is believed only where it is exactly what was asked for."""

from __future__ import annotations

import pytest

from reconciler.core.evidence import CopyTold
from reconciler.core.port import AgentRun
from reconciler.core.probe_text import LONGEST, probe_told


def told(stdout: str, code: int | None = 0, stderr: str = "") -> CopyTold:
    return probe_told(AgentRun(code, stdout, stderr))


@pytest.mark.parametrize(
    ("stdout", "expected"),
    [
        ('{"generation": 12, "time": "2026-11-22T03:00:00Z"}', CopyTold(12, 1_795_316_400.0)),
        (' {"time": "2026-11-22T03:00:00.25Z"}\n', CopyTold(None, 1_795_316_400.0)),
        ('{"time": 1795316400}', CopyTold(None, 1_795_316_400.0)),
        ('{"generation": 0}', CopyTold(0)),
    ],
)
def test_what_is_asked_for_is_taken(stdout: str, expected: CopyTold) -> None:
    assert told(stdout) == expected


@pytest.mark.parametrize(
    "stdout",
    [
        "",
        "12",
        "[]",
        "null",
        "{}",
        "{'time': 1}",
        '{"time": 1795316400} {"time": 1}',
        '{"time": 1, "time": 2}',
        '{"time": 1795316400, "note": "x"}',
        '{"generation": true}',
        '{"generation": 1.0}',
        '{"generation": -1}',
        '{"generation": 9223372036854775808}',
        '{"generation": "12"}',
        '{"time": true}',
        '{"time": 0}',
        '{"time": -5}',
        '{"time": 1e400}',
        '{"time": NaN}',
        '{"time": Infinity}',
        '{"time": "2026-11-22 03:00:00"}',
        '{"time": "2026-11-22T03:00:00+01:00"}',
        '{"time": "2026-13-22T03:00:00Z"}',
        '{"time": "٢026-11-22T03:00:00Z"}',
        '{"time": ["2026-11-22T03:00:00Z"]}',
        "[" * 4000,
        '{"time": "' + "1" * LONGEST + '"}',
        '{"generation": ' + "9" * 4050 + "}",
    ],
)
def test_anything_else_is_told_and_not_taken(stdout: str) -> None:
    found = told(stdout)
    assert (found.generation, found.at) == (None, None)
    assert found.why.startswith("the probe's answer is not used: ")
    assert len(found.why) < 200
    assert found.why.isascii()


def test_a_probe_that_fails_or_hangs_is_told_with_what_it_said() -> None:
    assert told("", None).why == "the probe did not end in time"
    assert told('{"time": 1795316400}', 3).at is None
    why = told("", 255, "ssh: \x1b[2J no route\nsecond line").why
    assert why == "the probe failed with code 255: 'ssh: \\x1b[2J no route'"
