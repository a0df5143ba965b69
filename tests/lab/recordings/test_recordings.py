"""The lab against a real pool: every recorded call, in every recorded situation."""

from __future__ import annotations

import pytest

from reconciler.lab import Release
from tests.lab.recordings.judge import compare, judged
from tests.lab.recordings.ledger import gone, rows, unlisted
from tests.lab.recordings.pool import build
from tests.lab.recordings.recording import ABSENT, names, read

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


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("03-master-dies", "h2 says: live of host_metrics metrics of h3"),
        ("14-promotion-without-recover-slaves", "VM.hard_shutdown(vm3) at h2"),
        ("21-false-dead-window", "host.declare_dead(h3) at h1"),
    ],
)
def test_another_release_is_seen_to_deviate(name: str, what: str) -> None:
    """The comparison can fail: after a master start the other release shows every host as live, so that calls go to
    hosts which the recorded pool took for dead."""
    recording = read(name)
    lab = build(recording, Release.CLASSIC)
    found = compare(recording, lab).deviations
    assert what in {d.subject for d in found}
    assert unlisted(name[:2], found, rows())
