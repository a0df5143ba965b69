"""What the terminal shows, as whole texts."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from rich.cells import cell_len

from reconciler.core.evidence import Diagnosis, Situation
from reconciler.core.plan import SIGNS, Plan, Result, Thing, Verb
from reconciler.views.text import outcome_text, plan_text, progress_line, status_text
from reconciler.views.words import does, is_command, split_command
from tests.views import samples
from tests.views.golden import expect


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", samples.PLANS)
def test_plan(name: str, width: int) -> None:
    expect(f"plan-{name}.{width}.txt", plan_text(samples.PLANS[name], width=width))


@pytest.mark.parametrize("name", samples.PLANS)
def test_plan_in_ascii(name: str) -> None:
    text = plan_text(samples.PLANS[name], ascii=True)
    assert text.isascii()
    expect(f"plan-{name}.ascii.txt", text)


@pytest.mark.parametrize("name", ["clean", "master-dead", "many-vms"])
def test_plan_verbose(name: str) -> None:
    plan = samples.PLANS[name]
    text = plan_text(plan, verbose=True)
    assert all(kept.why in text for kept in plan.kept)
    assert all(action.target.name in text for action in plan.actions)
    expect(f"plan-{name}.verbose.txt", text)


@pytest.mark.parametrize("name", samples.OUTCOMES)
def test_outcome(name: str) -> None:
    expect(f"outcome-{name}.80.txt", outcome_text(samples.OUTCOMES[name]))
    expect(f"outcome-{name}.verbose.txt", outcome_text(samples.OUTCOMES[name], verbose=True, ascii=True))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_status(width: int) -> None:
    lost = samples.MASTER_DEAD
    expect(
        f"status-lost.{width}.txt",
        status_text(
            "madrid", lost.diagnosis, samples.SURVEY_LOST, lost, width=width, next_command="xenrec plan m.yaml"
        ),
    )
    expect(f"status-well.{width}.txt", status_text("madrid", samples.MANAGED, samples.SURVEY_WELL, width=width))


def test_a_clean_plan_is_one_line() -> None:
    assert plan_text(samples.CLEAN).count("\n") == 1


@pytest.mark.parametrize("situation", [s for s in Situation if s is not Situation.MANAGED])
def test_no_pool_without_a_master_is_called_clean(situation: Situation) -> None:
    plan = replace(samples.CLEAN, diagnosis=Diagnosis(situation, "", samples.ALL_WELL))
    text = plan_text(plan)
    assert "as declared" not in text
    assert "nothing to do" not in text
    assert "Plan: nothing that may be done now." in text


@pytest.mark.parametrize("name", samples.PLANS)
@pytest.mark.parametrize("width", [40, 80, 120])
def test_color_changes_no_character(name: str, width: int) -> None:
    plain = plan_text(samples.PLANS[name], width=width)
    colored = plan_text(samples.PLANS[name], width=width, color=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain
    assert "\x1b" in colored or name == "clean"
    assert "\x1b" not in plain


@pytest.mark.parametrize("name", samples.PLANS)
@pytest.mark.parametrize("width", [40, 80, 120])
def test_lines_fit(name: str, width: int) -> None:
    for line in plan_text(samples.PLANS[name], width=width).splitlines():
        assert cell_len(line) <= width or is_command(line.strip().removeprefix("next: ")), line


def test_refs_are_never_shown() -> None:
    for plan in samples.PLANS.values():
        assert "OpaqueRef" not in plan_text(plan, verbose=True)


def test_every_verb_has_a_sign_and_words() -> None:
    for verb in Verb:
        action = replace(samples.MASTER_DEAD.actions[0], verb=verb, to=samples.HOSTS[2])
        assert len(SIGNS[verb]) == 1
        assert "xen0" in does(action) or verb in (Verb.AWAIT_MEMBERS, Verb.SYNC_DATABASE)


def test_every_wish_names_its_place_and_next_command() -> None:
    text = plan_text(samples.LOCAL_SR, width=200)
    for unmet in samples.LOCAL_SR.unmet:
        assert unmet.place in text
        assert f"next: {unmet.remedy}" in text


@pytest.mark.parametrize(
    ("remedy", "first", "command"),
    [
        ("xenrec plan m.yaml", "", "xenrec plan m.yaml"),
        ("repair xen01, then: xenrec plan m.yaml", "repair xen01, then:", "xenrec plan m.yaml"),
        ("check the network first", "check the network first", ""),
        ("xe vm-resume uuid=1 (then run again), or lose it", "xe vm-resume uuid=1 (then run again), or lose it", ""),
        ("xenrec attest m x --reason 'seen: off (really)'", "", "xenrec attest m x --reason 'seen: off (really)'"),
        ("", "", ""),
    ],
)
def test_commands_are_told_from_prose(remedy: str, first: str, command: str) -> None:
    assert split_command(remedy) == (first, command)


class Event:
    def __init__(self, at: float, what: str, action: object = None, result: Result | None = None) -> None:
        self.at, self.what, self.action, self.result = at, what, action, result


def test_progress_lines() -> None:
    start = samples.MASTER_DEAD.stages[1].actions[-1]
    start = replace(start, target=Thing("vm", "web\n1 → é"))
    events = [
        Event(samples.NOW, "reading the pool"),
        Event(samples.NOW + 3.2, "submitted", start),
        Event(samples.NOW + 75, "", start, Result.DONE),
        Event(samples.NOW + 4000, "HOST_DISABLED [xen02]", start, Result.FAILED),
    ]
    lines = [progress_line(e, started_at=samples.NOW) for e in events]  # type: ignore[arg-type]
    lines += [progress_line(e, ascii=True) for e in events]  # type: ignore[arg-type]
    assert all(line.isascii() for line in lines[4:])
    expect("progress.txt", "".join(f"{line}\n" for line in lines))


def test_plan_of_a_pool_with_many_withheld_gives_the_command_once_more_at_the_end() -> None:
    plan: Plan = samples.MASTER_DEAD_NO_PROOF
    assert plan_text(plan).rstrip().endswith(plan.withheld[0].remedy)
