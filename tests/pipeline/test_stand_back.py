"""Whole runs on the lab that stand back: a VM that a person stopped, pauses, other drivers, an old master to watch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.limits import HA_LIZARD, Pause
from reconciler.core.plan import Result, Verb
from reconciler.core.wanted import WantedState
from reconciler.state.folder import PoolFolder
from tests.pipeline.told import PROMOTION, Console, Killed, dead_master, dead_member, of_verb, seen_before, writes
from tests.support.story import Story


def memory(story: Story):
    return PoolFolder(story.folder, story.wanted.name).memory


def test_a_vm_that_a_person_stopped_is_left_alone_for_a_while(tmp_path: Path) -> None:
    story = seen_before(tmp_path)
    console = Console(story)
    console("VM.clean_shutdown", console.vm("web-2"))
    story.wait(60)
    plan = story.plan(attended=False)
    assert plan.actions == ()
    (held,) = plan.withheld
    assert held.action.target.name == "web-2"
    assert "somebody stopped it, or it crashed; an unattended run leaves it alone for 15 min" in held.why
    # Later runs remember when it was first seen, though the last known pool has it halted by now.
    story.wait(600)
    assert "leaves it alone for 5 min more" in story.plan(attended=False).withheld[0].why
    attended = story.plan()
    assert of_verb(attended, Verb.START) == ["web-2"]
    assert "somebody stopped it, or it crashed. To keep it stopped declare state: halted" in attended.actions[0].why
    story.wait(301)
    assert story.apply(attended=False).stopped == ""
    assert memory(story).stops() == ()


def test_what_a_run_itself_stopped_was_not_stopped_by_somebody(tmp_path: Path) -> None:
    story = seen_before(tmp_path)
    story.wish("web-2", state=WantedState.HALTED)
    assert [d.action.verb for d in story.apply().done] == [Verb.SHUTDOWN]
    assert memory(story).stops() == ()
    story.wish("web-2", state=WantedState.RUNNING)
    assert of_verb(story.plan(attended=False), Verb.START) == ["web-2"]


def test_vms_of_a_dead_host_and_of_a_promotion_were_not_stopped_by_somebody(tmp_path: Path) -> None:
    story = dead_master(tmp_path)
    story.apply()
    assert memory(story).stops() == ()


def test_a_run_that_is_paused_begins_nothing_more(tmp_path: Path) -> None:
    """A stage may take hours: who says pause need not wait for its end."""
    story = dead_member(tmp_path)
    now = story.port.now()

    def hook(address: str, method: str, params: object) -> None:
        if method == "Async.VM.start_on":
            memory(story).pause(Pause("op@desk", "let me look first", now, now + 7200))

    story.port.before_call = hook
    before = len(story.port.calls)
    outcome = story.apply()
    assert writes(story, before).count("Async.VM.start_on") == 1
    results = [(d.result, d.why) for d in outcome.done if d.action.verb is Verb.START]
    assert results[0][0] is Result.DONE
    assert {result for result, _ in results[1:]} == {Result.REFUSED}
    assert all("the pool is paused by op@desk until" in why for _, why in results[1:])


def test_a_promotion_that_was_sent_is_finished_though_somebody_pauses(tmp_path: Path) -> None:
    story = dead_master(tmp_path)
    now = story.port.now()

    def hook(address: str, method: str, params: object) -> None:
        if method == PROMOTION:
            memory(story).pause(Pause("op@desk", "let me look first", now, now + 7200))

    story.port.before_call = hook
    outcome = story.apply()
    # A promotion without its members would be worse than either end.
    assert {d.action.verb for d in outcome.done if d.result is Result.DONE} >= {
        Verb.FENCE,
        Verb.PROMOTE,
        Verb.RECOVER_MEMBERS,
    }
    assert Verb.START not in {d.action.verb for d in outcome.done}
    assert outcome.final is not None
    assert all("paused by op@desk" in w.why or "which is withheld" in w.why for w in outcome.final.withheld)
    assert story.lab.harm() == []


def test_ha_lizard_that_acts_is_not_fought(tmp_path: Path) -> None:
    story = seen_before(tmp_path, vms=8)
    console = Console(story)
    console("pool.add_to_other_config", console.pool, HA_LIZARD, "true")
    story.plan()
    story.lab.power_off("xen01")
    story.wait(10)
    before = len(story.port.calls)
    outcome = story.apply()
    assert outcome.done == ()
    assert "ha-lizard is enabled on this pool" in outcome.final.withheld[0].why  # type: ignore[union-attr]
    assert writes(story, before) == []


def test_max_actions_counts_over_the_rounds_of_a_run(tmp_path: Path) -> None:
    story = dead_master(tmp_path)
    run = story.reconciler()
    run.allowance = replace(run.allowance, max_actions=4)
    from reconciler.pipeline import Approval  # noqa: PLC0415

    with run.folder.lock(run=run.run, since=story.port.now()):
        outcome = run.apply(run.plan(), Approval())
    done = [d.action.verb for d in outcome.done]
    assert done[:3] == [Verb.FENCE, Verb.PROMOTE, Verb.RECOVER_MEMBERS]
    assert sum(v is not Verb.RECOVER_MEMBERS for v in done) == 4
    assert any("--max-actions" in w.why for w in outcome.final.withheld)  # type: ignore[union-attr]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_obligation_outlives_a_kill_at_the_promotion(tmp_path: Path, moment: str) -> None:
    story = dead_master(tmp_path)

    def hook(address: str, method: str, params: object) -> None:
        if method == PROMOTION:
            raise Killed

    setattr(story.port, f"{moment}_call", hook)
    with pytest.raises(Killed):
        story.apply()
    story.port.before_call = story.port.after_call = None
    (one,) = memory(story).obligations()
    assert (one.host, one.master) == ("xen01", "xen02")
    story.wait(200)
    story.apply()
    assert any(r.startswith("xen01 was lost as master, and xen02") for r in story.plan().reminders)
    story.lab.power_on("xen01")
    story.wait(300)
    assert story.plan().reminders == ()
    assert memory(story).obligations() == ()
    # It is kept aside with what settled it.
    assert '"why": "xen01 follows xen02"' in (PoolFolder(story.folder, "lab").path / "memory.json").read_text()
