"""A pool of 64 hosts and 2,000 VMs loses its master: observed, planned and applied in an ordinary test run."""

from __future__ import annotations

import time
from pathlib import Path

from reconciler.core.plan import Verb
from tests.pipeline.told import PROMOTION, of_verb, on, proved, running, seen_before, verbs

CPU_SECONDS = 15.0
"""Of the program and the lab together, on one core."""


def test_64_hosts_and_2000_vms(tmp_path: Path) -> None:
    started = time.process_time()
    story = seen_before(tmp_path, hosts=64, vms=2000)
    story.wait(64 * 300)  # the backups go round member by member
    before, lost = running(story), on(story, "xen01")
    assert len(before) == 1400
    assert len(lost) >= 20
    story.lab.power_off("xen01")
    story.wait(10)
    plan = story.plan()
    assert verbs(plan)[:3] == ["fence xen01", "promote xen02", "recover-members lab"]
    stranded = {u.target.name for u in plan.unmet}
    assert stranded < lost
    assert set(of_verb(plan, Verb.START)) == lost - stranded
    calls = len(story.port.calls)
    outcome = story.apply()
    sent = [method for _, _, method in story.port.calls[calls:]]
    proved(story, outcome, left=sorted(stranded))
    after = running(story)
    assert set(after) == set(before) - stranded
    assert {vm: host for vm, host in after.items() if vm not in lost} == {
        vm: host for vm, host in before.items() if vm not in lost
    }
    # The starts are spread, and no host got more than its share.
    hosts = [after[vm] for vm in lost - stranded]
    assert max(hosts.count(host) for host in hosts) <= 2
    assert sent.count(PROMOTION) == 1
    # In virtual time; all but a minute is XAPI's, which points one member after the other at the new master.
    assert outcome.ended_at - outcome.started_at < 400
    assert time.process_time() - started < CPU_SECONDS
