"""What xenrec check says."""

from __future__ import annotations

import json
from dataclasses import replace

from reconciler.core.plan import Action, Stage, Thing, Verb
from reconciler.core.planner import make_plan
from reconciler.views.check import Checked, check_json, check_text
from tests.core.build import NOW, PoolBuilder, survey, wanted

PLAN = replace(
    make_plan(wanted(), survey(), now=NOW, state=PoolBuilder().state()),
    stages=(
        Stage("regain", (Action(Verb.PROMOTE, Thing("host", "xen02"), ""),)),
        Stage("restore", (Action(Verb.START, Thing("vm", "db01", "u"), ""),), forecast=True),
    ),
)


def test_a_plan_that_keeps_every_rule_says_so_and_what_was_not_replayed() -> None:
    text = check_text("a.plan", PLAN, Checked((), (), NOW, known=False))
    assert text.startswith("a.plan: OK: 1 step for pool lab; none breaks a rule.\n")
    assert "1 step of a forecast not replayed" in text
    assert "No master answers" in text
    assert "next:" not in text
    assert json.loads(check_json(PLAN, Checked((), (), NOW)))["ok"] is True


def test_broken_rules_and_moved_facts_lead_to_a_new_plan() -> None:
    found = Checked(("start db01: xen02 has not enough memory left",), ("host xen03 was dead, now alive",), NOW)
    text = check_text("a.plan", PLAN, found)
    assert "1 rule would be broken, so apply refuses it." in text
    assert "  x start db01: xen02 has not enough memory left\n" in text
    assert "  host xen03 was dead, now alive\n" in text
    assert text.endswith("next: xenrec plan pool.yaml --out a.plan\n")
    document = json.loads(check_json(PLAN, found))
    assert (document["ok"], document["steps"], document["forecast_steps"]) == (False, 1, 1)
