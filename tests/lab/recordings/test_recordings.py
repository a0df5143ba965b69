"""The lab against a real pool: every recorded call, in every recorded situation."""

from __future__ import annotations

import pytest

from tests.lab.recordings.judge import judged
from tests.lab.recordings.ledger import gone, rows, unlisted
from tests.lab.recordings.recording import ABSENT, names

NAMES = names()
pytestmark = pytest.mark.skipif(not NAMES, reason=ABSENT)


@pytest.mark.parametrize("name", NAMES or ["none"])
def test_the_lab_does_what_the_real_pool_did(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    verdict, _ = judged(name)
    table = rows()
    missing = unlisted(name[:2], verdict.deviations, table)
    stale = gone(name[:2], verdict.deviations, table)
    with capsys.disabled():
        print(f"\n{name}: {verdict.calls} calls compared, {len(verdict.deviations)} deviations", end=" ")
    new = [f"{d.subject} | {d.recorded} | {d.lab}" for d in missing]
    assert not missing, "deviations that docs/fidelity.md does not list:\n" + "\n".join(new)
    assert not stale, "docs/fidelity.md lists what does not deviate any more:\n" + "\n".join(r.text for r in stale)


def test_every_listed_deviation_has_a_reason_and_a_recording() -> None:
    for row in rows():
        assert len(row.reason) > 10, row.text
        assert row.recordings, row.text


def test_the_calls_of_all_recordings_are_compared() -> None:
    assert len(NAMES) == 22
    assert sum(judged(name)[0].calls for name in NAMES) > 18_000
