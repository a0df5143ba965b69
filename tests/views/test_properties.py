"""No plan, name or time makes a view raise, forge a line, or leave its width."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from reconciler.core.evidence import (
    BmcPower,
    Certificate,
    CertificateKind,
    Diagnosis,
    Judged,
    LoginAnswer,
    Situation,
    Survey,
    Testimony,
    Verdict,
)
from reconciler.core.plan import (
    Action,
    Done,
    Fact,
    Kept,
    Outcome,
    Plan,
    Result,
    Stage,
    Thing,
    Unmet,
    Verb,
    Withheld,
)
from reconciler.views import json_view
from reconciler.views.board import Board, board
from reconciler.views.markdown import outcome_markdown, plan_markdown
from reconciler.views.saved_plan import SavedPlanError, dump_plan, load_plan, moved_facts
from reconciler.views.text import outcome_text, plan_text, progress_line, status_text
from reconciler.views.words import is_command
from reconciler.views.xe import xe_runbook
from tests.views import samples
from tests.views.test_terminal import Event

Testimony.__test__ = False  # type: ignore[attr-defined]

EVIL = [
    "[bold]x[/bold]",
    "a\nb",
    "\x1b[2J",
    "\u202egnp",
    "\u2028",
    "\r",
    "x" * 200,
    "漢字" * 60,
    "❤️",
    "e\u0301",
    "\ud800",
    "OpaqueRef:1234-5",
    "`",
    "|",
    "xe vm-start uuid=1",
    "",
    " ",
]
names = st.one_of(
    st.sampled_from(EVIL),
    st.text(st.characters(codec=None), max_size=30),
    st.text("ab -.:;'\"\\`\n", max_size=12),
)
times = st.one_of(st.floats(), st.floats(0, 4e9), st.just(samples.NOW))
some = st.lists(names, max_size=3).map(tuple)


def _few(element: st.SearchStrategy, most: int = 3):  # type: ignore[no-untyped-def,type-arg]
    return st.lists(element, max_size=most).map(tuple)


things = st.builds(Thing, st.sampled_from(["host", "vm", "sr", "pool"]), names, names, names)
actions = st.builds(Action, st.sampled_from(Verb), things, names, names, names, st.none() | things, some, some, names)
certificates = st.builds(
    Certificate, st.sampled_from(CertificateKind), names, names, names, st.none() | names, names, names, times, times
)
judged = st.builds(
    Judged,
    names,
    names,
    st.sampled_from(Verdict),
    names,
    st.none() | certificates,
    st.lists(certificates, max_size=2).map(tuple),
)
diagnoses = st.builds(
    Diagnosis, st.sampled_from(Situation), names, _few(judged), st.none() | names, st.none() | names, names, some
)
many = st.builds(lambda a, n: (a,) * n, actions, st.integers(31, 60))
stages = st.builds(Stage, names, st.one_of(_few(actions), many), st.booleans())
withheld = st.builds(Withheld, actions, names, names)
unmet = st.builds(Unmet, things, names, names, names, names)
plans = st.builds(
    Plan,
    pool=names,
    pool_uuid=names,
    made_at=times,
    diagnosis=diagnoses,
    stages=_few(stages),
    withheld=_few(withheld),
    unmet=_few(unmet),
    kept=_few(st.builds(Kept, things, names)),
    notes=some,
    certificates=_few(certificates),
    facts=_few(st.builds(Fact, names, names)),
    fingerprint=names,
    source=names,
    digest=names,
    commit=st.none() | names,
    last_known_at=st.none() | times,
    differences=_few(st.tuples(names, names)),
)
done = st.builds(Done, actions, st.sampled_from(Result), names, names, times)
outcomes = st.builds(Outcome, names, _few(done), st.none() | plans, times, times, _few(st.tuples(times, names)), names)
testimonies = st.builds(
    Testimony,
    names,
    names,
    times,
    st.sampled_from(LoginAnswer),
    names,
    st.none() | names,
    is_emergency=st.none() | st.booleans(),
    reaches_master=st.none() | st.booleans(),
    bmc=st.sampled_from(BmcPower),
    took=times,
)
surveys = st.builds(Survey, times, _few(testimonies), times)
widths = st.sampled_from([1, 40, 57, 80, 120])

quick = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def _check(text: str, width: int, *, ascii: bool, color: bool = False) -> None:
    assert text.endswith("\n")
    if color:
        text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert not ascii or text.isascii()
    assert "OpaqueRef:" not in text
    for line in text.split("\n"):
        assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in line), repr(line)
        assert cell_len(line) <= max(width, 40) or _holds_command(line), repr(line)


def _holds_command(line: str) -> bool:
    return is_command(line.strip().removeprefix("next: "))


@quick
@given(plans, widths, st.booleans(), st.booleans(), st.booleans())
def test_plan_text(plan: Plan, width: int, ascii: bool, color: bool, verbose: bool) -> None:
    text = plan_text(plan, width=width, ascii=ascii, color=color, verbose=verbose)
    _check(text, width, ascii=ascii, color=color)


@quick
@given(outcomes, widths, st.booleans(), st.booleans())
def test_outcome_text(outcome: Outcome, width: int, ascii: bool, verbose: bool) -> None:
    _check(outcome_text(outcome, width=width, ascii=ascii, verbose=verbose), width, ascii=ascii)


@quick
@given(names, diagnoses, surveys, st.none() | plans, widths, st.booleans())
def test_status_text(
    pool: str, diagnosis: Diagnosis, survey: Survey, plan: Plan | None, width: int, ascii: bool
) -> None:
    _check(status_text(pool, diagnosis, survey, plan, width=width, ascii=ascii), width, ascii=ascii)


@quick
@given(times, names, st.none() | actions, st.none() | st.sampled_from(Result), st.none() | times, st.booleans())
def test_progress_line(
    at: float, what: str, action: Action | None, result: Result | None, start: float | None, ascii: bool
) -> None:
    line = progress_line(Event(at, what, action, result), started_at=start, ascii=ascii)
    _check(line + "\n", 10**6, ascii=ascii)
    assert len(line.splitlines()) == 1


@quick
@given(plans, st.lists(st.tuples(times, names, st.none() | st.sampled_from(Result)), max_size=6), times)
def test_board(plan: Plan, events: list[tuple[float, str, Result | None]], now: float) -> None:
    state = Board(plan.pool, plan.actions, plan.made_at)
    for number, (at, what, result) in enumerate(events):
        action = plan.actions[number % len(plan.actions)] if plan.actions else None
        state = state.told(Event(at, what, action, result))
    lines = board(state, now, width=60, height=10, ascii=True).renderables  # type: ignore[attr-defined]
    assert 1 <= len(lines) <= 10
    for line in lines:
        _check(line.plain + "\n", 60, ascii=True)


@quick
@given(plans, st.sampled_from([700, 2000, 60_000]))
def test_markdown(plan: Plan, limit: int) -> None:
    text = plan_markdown(plan, limit=limit)
    assert len(text) <= limit
    assert text.count("<details") == text.count("</details>")
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text.replace("\n", ""))
    body = [line for line in text.split("\n") if line.startswith("|")]
    assert all(line.endswith("|") for line in body)


@quick
@given(outcomes)
def test_outcome_in_every_other_form(outcome: Outcome) -> None:
    assert len(outcome_markdown(outcome)) <= 60_000
    text = json_view.outcome_json(outcome)
    assert text.isascii()
    assert len(json.loads(text)["done"]) == len(outcome.done)


@quick
@given(plans)
def test_json(plan: Plan) -> None:
    text = json_view.plan_json(plan)
    assert text.isascii()
    document = json.loads(text)
    assert [a["target"]["name"] for s in document["stages"] for a in s["actions"]] == [
        a.target.name for a in plan.actions
    ]


@quick
@given(plans)
def test_a_plan_is_saved_whole_or_not_at_all(plan: Plan) -> None:
    try:
        data = dump_plan(plan)
    except SavedPlanError:
        assert any(t is not None and not abs(t) < float("inf") for t in _times(plan))
        return
    assert load_plan(data, "x") == plan
    assert moved_facts(plan, load_plan(data, "x")) == ()


def _times(plan: Plan) -> list[float | None]:
    proofs = [*plan.certificates]
    for member in plan.diagnosis.members:
        proofs += [c for c in (member.certificate, *member.voided) if c is not None]
    return [plan.made_at, plan.last_known_at, *(t for c in proofs for t in (c.issued_at, c.expires_at))]


@quick
@given(st.binary(max_size=200))
def test_garbage_is_no_plan(data: bytes) -> None:
    with pytest.raises(SavedPlanError) as caught:
        load_plan(data, "x\n")
    assert "\n" not in str(caught.value)


@quick
@given(plans)
def test_runbook(plan: Plan) -> None:
    text = xe_runbook(plan, samples.WANTED, samples.pool_state())
    assert text.isascii()
    lines = text.splitlines()
    assert all(line.isprintable() for line in lines)
    typed = [line for line in lines if line and not line.startswith("#")]
    assert typed[0].startswith("exit 1")
    starts = ("exit 1", "PWF=", "xe ", "timeout ", "until timeout ", "ssh ")
    assert all(line.startswith(starts) for line in typed)
