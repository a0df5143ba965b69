"""Plans as comments on a merge request."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from reconciler.core.plan import Stage
from reconciler.views.markdown import MOST_CHARS, code, outcome_markdown, plan_markdown, prose
from tests.views import samples
from tests.views.golden import expect


@pytest.mark.parametrize("name", samples.PLANS)
def test_plan(name: str) -> None:
    expect(f"plan-{name}.md", plan_markdown(samples.PLANS[name]))


@pytest.mark.parametrize("name", samples.OUTCOMES)
def test_outcome(name: str) -> None:
    expect(f"outcome-{name}.md", outcome_markdown(samples.OUTCOMES[name]))


def test_a_huge_plan_stays_within_the_limit_and_says_what_is_left_out() -> None:
    start = samples.MASTER_DEAD.actions[-1]
    actions = tuple(replace(start, target=samples.vm(f"app-{n:05}", n)) for n in range(5000))
    plan = replace(samples.MASTER_DEAD, stages=(Stage("restore", actions),))
    text = plan_markdown(plan)
    assert MOST_CHARS * 0.9 < len(text) <= MOST_CHARS
    left_out = int(re.search(r"\*\*(\d+) lines left out\*\*", text).group(1))  # type: ignore[union-attr]
    assert text.count("app-0") + left_out == 5000 + 1 + 1  # the unmet wish and the note had no room either
    assert text.count("<details") == text.count("</details>")


@pytest.mark.parametrize("limit", [500, 1000, 3000, 10_000])
def test_any_limit_is_kept(limit: int) -> None:
    assert len(plan_markdown(samples.MANY_VMS, limit=limit)) <= limit
    assert len(outcome_markdown(samples.OUTCOME_PART, limit=limit)) <= limit


@pytest.mark.parametrize(
    "hostile", ["@all", "#1", "!2", "[x](http://evil)", "<img src=x>", "a|b", "**b**", "`c`", "\n# x"]
)
def test_names_make_no_markup(hostile: str) -> None:
    shown = prose(f"start {hostile} now")
    assert not re.search(r"@\w|#\d|!\d|://\w|<img|\n", shown), shown
    assert not re.search(r"(?<!\\)[`*\[|]", shown), shown
    inner = code(hostile).removeprefix("<code>").removesuffix("</code>")
    assert not re.search(r"[@`*\[|<\n]|://", inner), inner


def test_the_table_has_the_same_number_of_cells_in_every_row() -> None:
    plan = replace(samples.ODD_NAMES, pool="a|b")
    plan = replace(plan, stages=(Stage("x|y", tuple(replace(a, why="p|q\\|r") for a in plan.actions)),))
    rows = [line for line in plan_markdown(plan).splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", row)) for row in rows if "rests on" in row or "p\\|q" in row}
    assert widths == {5}
