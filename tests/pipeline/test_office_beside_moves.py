"""The office is handed over while nobody moves a VM: every toolstack restarts in a hand-over."""

from __future__ import annotations

from pathlib import Path

from reconciler.core.plan import Result, Verb
from reconciler.lab.visitor import Visitor
from reconciler.pipeline import Approval
from tests.pipeline.test_maintenance import rest, story, where
from tests.support.story import Story


def move(s: Story) -> None:
    """Another client's, which takes a while."""
    Visitor(s.lab, lambda text: None).call("", "Async.VM.pool_migrate", ("vm:web1", "host:xen03", "{}"))
    s.wait(1)


def test_it_waits_for_a_migration_that_is_under_way(tmp_path: Path) -> None:
    """It did not: a VM whose copy ended while the toolstacks restarted would be stopped where it arrived."""
    s = story(tmp_path)
    rest(s, "xen01")
    move(s)
    held = next(w for w in s.plan().withheld if w.action.verb is Verb.DESIGNATE_MASTER)
    assert held.why.startswith("web1 is being migrated, and a hand-over restarts all toolstacks: ")
    assert held.remedy == "wait for that to end: xe task-list"
    s.wait(120)
    s.apply()
    assert where(s) == {"xen01": [], "xen02": ["app1", "db01"], "xen03": ["web1", "web2"]}


def test_one_that_began_after_the_plan_refuses_it(tmp_path: Path) -> None:
    s = story(tmp_path)
    rest(s, "xen01")
    run = s.reconciler()
    made = run.plan()
    move(s)
    out = run.apply(made, Approval(made))
    first = out.done[0]
    assert (first.action.verb, first.result) == (Verb.DESIGNATE_MASTER, Result.REFUSED)
    assert first.why.startswith("web1 is being migrated")
    assert [h.name for h in s.lab.masters()] == ["xen01"]
