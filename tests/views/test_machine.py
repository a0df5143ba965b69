"""What machines read: JSON, saved plans, reports, annotations."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace

import pytest

from reconciler.core import evidence
from reconciler.core.evidence import Certificate, Diagnosis, Judged
from reconciler.core.plan import Action, Done, Fact, Kept, Outcome, Plan, Result, Stage, Thing, Unmet, Withheld
from reconciler.core.wanted import Place
from reconciler.manifest.problems import Problem, Severity
from reconciler.views import json_view, saved_plan
from reconciler.views.reports import github_annotation, gitlab_report
from reconciler.views.saved_plan import SavedPlanError, dump_plan, load_plan, moved_facts
from tests.views import samples
from tests.views.golden import expect
from tests.views.test_terminal import Event


@pytest.mark.parametrize("name", ["clean", "master-dead", "member-dead"])
def test_plan_json(name: str) -> None:
    text = json_view.plan_json(samples.PLANS[name])
    document = json.loads(text)
    assert (document["format"], document["format_version"]) == ("xenrec-plan", 1)
    expect(f"plan-{name}.json", text)


def test_outcome_json() -> None:
    text = json_view.outcome_json(samples.OUTCOME_PART)
    assert json.loads(text)["proved"] is False
    assert json.loads(json_view.outcome_json(samples.OUTCOME_GOOD))["proved"] is True
    expect("outcome-part.json", text)


def test_diagnosis_json() -> None:
    text = json_view.diagnosis_json("madrid", samples.MASTER_DEAD.diagnosis, samples.SURVEY_LOST)
    expect("diagnosis-lost.json", text)
    assert json.loads(json_view.diagnosis_json("madrid", samples.MANAGED))["survey"] is None


_RENAMED = {"took": "took_s"}


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        (Plan, ()),
        (Stage, ("stages", 0)),
        (Action, ("stages", 0, "actions", 0)),
        (Thing, ("stages", 0, "actions", 0, "target")),
        (Withheld, ("withheld", 0)),
        (Unmet, ("unmet", 0)),
        (Kept, ("kept", 0)),
        (Fact, ("facts", 0)),
        (Certificate, ("certificates", 0)),
        (Diagnosis, ("diagnosis",)),
        (Judged, ("diagnosis", "members", 0)),
    ],
)
def test_json_leaves_no_field_of_a_plan_out(kind: type, where: tuple[str | int, ...]) -> None:
    plan = replace(
        samples.MEMBER_DEAD,
        withheld=samples.MASTER_DEAD_NO_PROOF.withheld,
        unmet=samples.LOCAL_SR.unmet,
        kept=samples.MASTER_DEAD.kept,
    )
    found = json_view.plan_document(plan)
    for key in where:
        found = found[key]  # type: ignore[index]
    assert {f.name for f in fields(kind)} <= set(found)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (Outcome, lambda: json.loads(json_view.outcome_json(samples.OUTCOME_PART))),
        (Done, lambda: json.loads(json_view.outcome_json(samples.OUTCOME_PART))["done"][0]),
        (
            evidence.Testimony,
            lambda: json.loads(json_view.diagnosis_json("m", samples.MANAGED, samples.SURVEY_LOST))["survey"][
                "testimonies"
            ][0],
        ),
    ],
)
def test_json_leaves_no_field_of_the_rest_out(kind: type, found) -> None:  # type: ignore[no-untyped-def]
    assert {_RENAMED.get(f.name, f.name) for f in fields(kind)} <= set(found())


def test_events_are_one_line_each() -> None:
    action = replace(samples.MASTER_DEAD.actions[-1], target=Thing("vm", "two\nlines \u2028 é"))
    line = json_view.event_json(Event(samples.NOW, "submitted", action, Result.DONE))
    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    assert json.loads(line)["action"]["target"]["name"] == "two\nlines \u2028 é"
    assert json.loads(line)["at"] == "2026-11-22T03:14:07.250000Z"
    assert json.loads(json_view.event_json(Event(samples.NOW, "reading", None)))["action"] is None


@pytest.mark.parametrize("name", samples.PLANS)
def test_a_saved_plan_is_read_back_the_same(name: str) -> None:
    plan = samples.PLANS[name]
    data = dump_plan(plan)
    assert load_plan(data, "plan.json") == plan
    assert dump_plan(load_plan(data, "plan.json")) == data


def _forged(**changes: object) -> bytes:
    """A saved plan whose content was changed, with a digest that fits."""
    document = json.loads(dump_plan(samples.MASTER_DEAD))
    document["plan"].update(changes)
    content = json.dumps(document["plan"], sort_keys=True, separators=(",", ":")).encode()
    document["digest"] = hashlib.sha256(content).hexdigest()
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"),
        (b"\x80\x04\x95garbage", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "of another kind"),
        (b"null", "of another kind"),
        (b'{"format": "xenrec-plan"}', "of another kind"),
        (b'{"format": "xenrec-saved-plan"}', "format version null"),
        (b'{"format": "xenrec-saved-plan", "format_version": 1}', "format version 1"),
        (b'{"format": "xenrec-saved-plan", "format_version": 2}', "digest"),
        (b'{"format": "xenrec-saved-plan", "format_version": 2, "plan": NaN}', "damaged or edited"),
        (dump_plan(samples.MASTER_DEAD).replace(b"xen02", b"xen03"), "digest"),
        (_forged(stages=3), "it is no plan: stages"),
        (_forged(surprise=1), "keys or values that this xenrec does not know"),
        (_forged(diagnosis={"situation": "fine", "why": "", "members": []}), "it is no plan: diagnosis.situation"),
    ],
)
def test_what_is_no_saved_plan_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(SavedPlanError, match=why) as caught:
        load_plan(data, "plan.json")
    assert str(caught.value).startswith("plan.json: ")
    assert "xenrec plan" in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_saved_plan_of_absurd_size_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_plan, "MOST_BYTES", 10)
    with pytest.raises(SavedPlanError, match="too many"):
        load_plan(dump_plan(samples.CLEAN)[:20], "plan.json")


@pytest.mark.parametrize("when", [float("nan"), float("inf")])
def test_a_plan_that_cannot_be_saved_says_so(when: float) -> None:
    with pytest.raises(SavedPlanError, match="can't be saved"):
        dump_plan(replace(samples.CLEAN, made_at=when))


def test_facts_that_moved_are_told_one_by_one() -> None:
    saved = replace(samples.CLEAN, facts=(Fact("xen01", "master"), Fact("xen02", "alive"), Fact("db01", "Halted")))
    fresh = replace(saved, facts=(Fact("xen01", "master"), Fact("xen02", "silent"), Fact("web\n1", "Running")))
    assert moved_facts(saved, saved) == ()
    assert moved_facts(saved, fresh) == (
        "xen02 was alive, now silent",
        "db01 was Halted, and now the plan is not about it",
        "the plan was not about web\\n1, now it is: Running",
    )
    assert moved_facts(saved, replace(saved, digest="ee" * 32)) == (
        "the manifest manifests/madrid.yaml was changed since the plan was made",
    )
    assert moved_facts(saved, replace(saved, pool_uuid="other")) == (f"the pool was {samples.POOL_UUID}, now other",)
    assert len(moved_facts(saved, replace(saved, fingerprint="00"))) == 1


def test_the_order_of_facts_means_nothing() -> None:
    saved = replace(samples.CLEAN, facts=(Fact("a", "1"), Fact("a", "2"), Fact("b", "")))
    assert moved_facts(saved, replace(saved, facts=saved.facts[::-1])) == ()
    assert moved_facts(saved, replace(saved, facts=saved.facts[:2])) == ("b was , and now the plan is not about it",)


def test_gitlab_report() -> None:
    assert json.loads(gitlab_report(samples.MASTER_DEAD)) == {"create": 2, "update": 4, "delete": 2}
    assert json.loads(gitlab_report(samples.CLEAN)) == {"create": 0, "update": 0, "delete": 0}


def test_github_annotation() -> None:
    problem = Problem(Place("a,b:c.yaml", 3, 7), "spec.foo", "100% wrong\n::error::forged", "write bar.")
    assert github_annotation(problem) == (
        "::error file=a%2Cb%3Ac.yaml,line=3,col=7,title=spec.foo::100%25 wrong\\n::error::forged. write bar"
    )
    assert github_annotation(replace(problem, severity=Severity.WARNING)).startswith("::warning file=")
