"""What changes between plan and apply, and within an apply: proofs that end, hosts that come back, approvals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.cli.apply import outcome_code
from reconciler.cli.exits import Exit
from reconciler.core.evidence import Situation
from reconciler.core.plan import Outcome, Plan, Result, Verb
from reconciler.core.wanted import Brake, Level, WantedState
from reconciler.lab import Release
from reconciler.pipeline import Approval, Reconciler
from tests.pipeline.told import (
    PROMOTION,
    Console,
    dead_master,
    dead_member,
    of_verb,
    on,
    proved,
    running,
    seen_before,
    unmet,
    verbs,
    writes,
)
from tests.support.story import Story


@pytest.fixture(params=list(Release), ids=lambda r: r.value)
def release(request: pytest.FixtureRequest) -> Release:
    return request.param  # type: ignore[no-any-return]


def apply_this(story: Story, run: Reconciler, plan: Plan) -> Outcome:
    """Apply a plan after a person has read it for a while."""
    with run.folder.lock(run=run.run, since=story.port.now()):
        return run.apply(plan, Approval())


def restarted_master_is_proved(story: Story) -> None:
    """xen01's VMs died with its power, and its database may have forgotten starts of its last seconds: what runs on the
    members must be told first, by the restart of their toolstacks that the plan names."""
    outcome = story.apply()
    assert outcome.done == ()
    assert outcome.final is not None
    assert {w.action.verb for w in outcome.final.withheld} == {Verb.START}
    assert all("xe-toolstack-restart" in w.remedy for w in outcome.final.withheld)
    for member in ("xen02", "xen03", "xen04"):
        story.lab.restart_toolstack(member)
    story.wait(60)
    proved(story, story.apply())
    assert on(story, "xen01") == {"app-1", "db03", "log-1", "mail-2"}


def test_the_old_master_answers_again_between_plan_and_apply(tmp_path: Path, release: Release) -> None:
    story = dead_master(tmp_path, release=release)
    run = story.reconciler()
    plan = run.plan()
    assert verbs(plan)[:2] == ["fence xen01", "promote xen02"]
    story.lab.power_on("xen01")
    story.wait(120)
    calls = len(story.port.calls)
    outcome = apply_this(story, run, plan)
    assert PROMOTION not in writes(story, calls)
    assert "agent:off" not in writes(story, calls)
    assert story.lab.hosts["xen01"].powered
    assert [h.name for h in story.lab.masters()] == ["xen01"]
    assert story.lab.harm() == []
    first = outcome.done[0]
    assert (first.action.verb, first.result) == (Verb.FENCE, Result.REFUSED)
    assert "alive" in first.why
    restarted_master_is_proved(story)


def test_an_attested_master_that_answers_again_voids_the_word(tmp_path: Path, release: Release) -> None:
    story = dead_master(tmp_path, release=release, fencing=False)
    story.attest("xen01")
    run = story.reconciler()
    plan = run.plan()
    assert verbs(plan)[:2] == ["promote xen02", "recover-members lab"]
    story.lab.power_on("xen01")
    story.wait(120)
    outcome = apply_this(story, run, plan)
    promote = outcome.done[0]
    assert (promote.action.verb, promote.result) == (Verb.PROMOTE, Result.REFUSED)
    assert sum(m == PROMOTION for _, _, m in story.port.calls) == 0
    assert [h.name for h in story.lab.masters()] == ["xen01"]
    restarted_master_is_proved(story)


def test_the_old_master_returns_in_the_middle_of_the_promotion(tmp_path: Path, release: Release) -> None:
    """Power comes back while the promoted member restarts: it follows the new master, or the two are told apart."""
    story = dead_master(tmp_path, release=release)
    story.at(PROMOTION, lambda: story.lab.power_on("xen01"), before=False)
    for _ in range(4):
        outcome = story.apply()
        assert outcome.final is not None
        if not outcome.final.actions and outcome.final.diagnosis.situation is Situation.MANAGED:
            break
        story.wait(130)
    assert story.lab.harm() == []
    assert story.doubles() == []
    assert len(story.lab.masters()) == 1
    assert sum(m == PROMOTION for _, _, m in story.port.calls) == 1


def test_a_dead_member_that_comes_back_before_its_burial_is_not_buried(tmp_path: Path, release: Release) -> None:
    story = dead_member(tmp_path, release=release, fencing=False)
    story.attest("xen03")
    run = story.reconciler()
    plan = run.plan()
    assert verbs(plan)[0] == "declare-dead xen03"
    story.lab.power_on("xen03")
    story.wait(60)
    calls = len(story.port.calls)
    outcome = apply_this(story, run, plan)
    assert outcome.done[0].result is Result.REFUSED
    assert "Async.host.declare_dead" not in writes(story, calls)
    # Nor was anything started on the strength of its death; the next round plans anew from what is true.
    assert story.lab.harm() == []
    assert story.doubles() == []
    proved(story, story.apply())
    assert on(story, "xen03") == {"app-2", "ci-3", "log-2", "mail-1"}


def test_a_word_that_expires_between_plan_and_apply(tmp_path: Path, release: Release) -> None:
    story = dead_member(tmp_path, release=release, fencing=False)
    story.attest("xen03", lifetime=300.0)
    run = story.reconciler()
    plan = run.plan()
    assert "declare-dead xen03" in verbs(plan)
    story.wait(301)
    calls = len(story.port.calls)
    outcome = apply_this(story, run, plan)
    assert {d.result for d in outcome.done} <= {Result.REFUSED, Result.SKIPPED}
    assert writes(story, calls) == []
    assert outcome_code(outcome) is Exit.PARTIAL
    assert verbs(story.plan()) == []


def test_a_word_that_expires_in_the_middle_of_an_apply(tmp_path: Path, release: Release) -> None:
    """What was begun ends; what had not begun is refused."""
    story = dead_member(tmp_path, release=release, fencing=False)
    story.attest("xen03", lifetime=600.0)
    story.at("Async.VM.start_on", lambda: story.wait(600), before=False)
    outcome = story.apply()
    assert story.lab.harm() == []
    assert story.doubles() == []
    started = [d for d in outcome.done if d.action.verb is Verb.START]
    assert {d.result for d in started} >= {Result.REFUSED}
    assert all(
        "proof" in d.why or "certificate" in d.why or "expired" in d.why for d in started if d.result == "refused"
    )
    story.attest("xen03")
    proved(story, story.apply(), left=["ci-3"])


def test_an_approved_plan_is_a_ceiling(tmp_path: Path, release: Release) -> None:
    """A VM goes down after the approval: it is left for the next approval, and named."""
    story = dead_member(tmp_path, release=release)
    run = story.reconciler()
    plan = run.plan()
    story.at("Async.host.declare_dead", lambda: Console(story)("VM.hard_shutdown", Console(story).vm("web-2")))
    with run.folder.lock(run=run.run, since=story.port.now()):
        outcome = run.apply(plan, Approval(plan))
    assert outcome.final is not None
    assert "web-2" not in running(story)
    assert [(w.action.id.split(":")[0], w.action.target.name, w.why) for w in outcome.final.withheld] == [
        ("start", "web-2", "it was not in the approved plan")
    ]
    assert outcome.final.withheld[0].remedy == "xenrec apply pool.yaml"
    assert outcome_code(outcome) is Exit.PARTIAL
    assert {d.action.target.name for d in outcome.done if d.action.verb is Verb.START} == {"app-2", "log-2", "mail-1"}
    proved(story, story.apply(), left=["ci-3"])


@pytest.mark.parametrize("answer", [True, False])
def test_a_person_is_asked_for_what_goes_beyond_the_approved_plan(
    tmp_path: Path, release: Release, answer: bool
) -> None:
    story = dead_member(tmp_path, release=release)
    run = story.reconciler()
    plan = run.plan()
    story.at("Async.host.declare_dead", lambda: Console(story)("VM.hard_shutdown", Console(story).vm("web-2")))
    asked: list[Plan] = []

    def ask(more: Plan) -> bool:
        asked.append(more)
        return answer

    with run.folder.lock(run=run.run, since=story.port.now()):
        outcome = run.apply(plan, Approval(plan, ask))
    assert [verbs(more) for more in asked] == [["start web-2"]]
    assert ("web-2" in running(story)) is answer
    assert outcome.final is not None
    assert [w.action.target.name for w in outcome.final.withheld] == ([] if answer else ["web-2"])


def test_an_approved_regain_covers_what_was_forecast_and_no_more(tmp_path: Path, release: Release) -> None:
    """A second host dies during the recovery: fencing it was approved by nobody."""
    story = dead_master(tmp_path, release=release, brake=Brake(0.5, 2))
    run = story.reconciler()
    plan = run.plan()
    assert of_verb(plan, Verb.FENCE) == ["xen01"]
    story.at("pool.recover_slaves", lambda: story.lab.power_off("xen04"))
    with run.folder.lock(run=run.run, since=story.port.now()):
        outcome = run.apply(plan, Approval(plan))
    assert outcome.final is not None
    assert [d.action.target.name for d in outcome.done if d.action.verb is Verb.FENCE] == ["xen01"]
    held = [w for w in outcome.final.withheld if w.action.verb is Verb.FENCE]
    assert [w.action.target.name for w in held] == ["xen04"]
    assert held[0].why == "it was not in the approved plan"
    assert outcome_code(outcome) is Exit.PARTIAL
    assert story.lab.harm() == []
    outcome = story.apply()
    proved(story, outcome, left=sorted(unmet(outcome.final)))  # type: ignore[arg-type]
    assert all("local SR" in u.why or "free and" in u.why for u in outcome.final.unmet)  # type: ignore[union-attr]


def test_a_vm_that_somebody_started_meanwhile_is_left_as_it_is(tmp_path: Path, release: Release) -> None:
    story = dead_member(tmp_path, release=release)

    def somebody() -> None:
        console = Console(story)
        console("VM.start_on", console.vm("mail-1"), console.host("xen02"), False, False)

    story.at("Async.VM.start_on", somebody)
    outcome = story.apply()
    proved(story, outcome, left=["ci-3"])
    assert running(story)["mail-1"] == "xen02"
    assert {d.result for d in outcome.done if d.action.target.name == "mail-1"} == {Result.ALREADY}


def test_a_manifest_that_shrinks_stops_nothing(tmp_path: Path, release: Release) -> None:
    story = seen_before(tmp_path, release=release)
    before = running(story)
    story.changed(lambda w: replace(w, vms=()))
    proved(story, story.apply())
    story.changed(lambda w: replace(w, members=w.members[:2]))
    outcome = story.apply()
    assert outcome.done == ()
    assert running(story) == before
    assert writes(story) == []


class TestUnattended:
    """`--unattended`: policy.levels.unattended is the limit, whatever else is right."""

    def test_a_vm_is_started_and_a_host_is_not_fenced(self, tmp_path: Path, release: Release) -> None:
        story = seen_before(tmp_path, release=release)
        story.changed(lambda w: replace(w, policy=replace(w.policy, respect_manual_stop=0.0)))
        Console(story)("VM.hard_shutdown", Console(story).vm("web-2"))
        story.lab.power_off("xen03")
        story.wait(10)
        outcome = story.apply(attended=False)
        assert {d.action.target.name for d in outcome.done} == {"web-2"}
        assert outcome.final is not None
        fence = next(w for w in outcome.final.withheld if w.action.verb is Verb.FENCE)
        assert "policy.levels.unattended" in fence.why
        assert fence.remedy == "a person may do it: xenrec apply pool.yaml"
        assert "agent:off" not in writes(story)
        assert outcome_code(outcome) is Exit.PARTIAL
        assert story.lab.harm() == []

    def test_a_dead_master_waits_for_a_person(self, tmp_path: Path, release: Release) -> None:
        story = dead_master(tmp_path, release=release)
        calls = len(story.port.calls)
        outcome = story.apply(attended=False)
        assert outcome.done == ()
        assert writes(story, calls) == []
        assert outcome_code(outcome) is Exit.PARTIAL
        assert outcome.final is not None
        assert {w.action.verb for w in outcome.final.withheld} >= {Verb.FENCE, Verb.PROMOTE}

    def test_raised_to_crown_it_does_what_a_person_would(self, tmp_path: Path, release: Release) -> None:
        story = dead_master(tmp_path, release=release)
        story.changed(lambda w: replace(w, policy=replace(w.policy, unattended=w.policy.attended)))
        proved(story, story.apply(attended=False), left=["db03"], attended=False)

    def test_a_level_of_one_vm_holds_for_it_alone(self, tmp_path: Path, release: Release) -> None:
        story = seen_before(tmp_path, release=release)
        for name in ("web-2", "app-1"):
            story.wish(name, state=WantedState.HALTED)
        story.wish("app-1", state=WantedState.HALTED, max_level=Level.METADATA)
        outcome = story.apply()
        assert {d.action.target.name for d in outcome.done} == {"web-2"}
        assert outcome.final is not None
        assert [w.action.target.name for w in outcome.final.withheld] == ["app-1"]
        assert "its entry allows metadata at most" in outcome.final.withheld[0].why
