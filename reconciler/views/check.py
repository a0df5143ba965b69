"""What the independent checker found in a saved plan, as text and JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass

from reconciler.core.plan import Plan
from reconciler.views import words
from reconciler.views.layout import Page


@dataclass(frozen=True, slots=True)
class Checked:
    """`broken` rules, facts that `moved` since the plan was made, and when the pool was looked at (UTC seconds).
    `known`: a master told what the pool is."""

    broken: tuple[str, ...]
    moved: tuple[str, ...]
    at: float
    known: bool = True


def _judged(plan: Plan) -> tuple[int, int]:
    """(steps that were replayed, steps of forecasts that were not)."""
    later = next((n for n, stage in enumerate(plan.stages) if stage.forecast), len(plan.stages))
    return (
        sum(len(stage.actions) for stage in plan.stages[:later]),
        sum(len(stage.actions) for stage in plan.stages[later:]),
    )


def check_text(
    source: str, plan: Plan, found: Checked, *, width: int = 80, ascii: bool = False, color: bool = False
) -> str:
    """The verdict in one line, then each broken rule, then what moved."""
    page = Page(width=width, ascii=ascii, color=color)
    steps, later = _judged(plan)
    of = f"{words.count(steps, 'step')} for pool {words.name(plan.pool)}"
    if found.broken:
        many = words.count(len(found.broken), "rule")
        page.line((f"{words.name(source)}: {of}: {many} would be broken", "bold red"), ", so apply refuses it.", hang=2)
        for rule in found.broken:
            page.line(f"x {words.clean(rule)}", indent=2, hang=4)
    else:
        page.line((f"{words.name(source)}: OK", "bold green"), f": {of}; none breaks a rule.", hang=2)
    page.line(f"Replayed on the pool as looked at {words.utc(found.at)}.", indent=2)
    if not found.known:
        page.line("No master answers, so what concerns VMs and storage could not be replayed.", indent=2, hang=4)
    if later:
        what = f"{words.count(later, 'step')} of a forecast not replayed"
        page.line(f"{what}: planned again, and checked, once there is a master.", indent=2, hang=4)
    if found.moved:
        page.blank()
        page.line("What moved since it was made, so that apply would refuse it:", hang=2)
        for fact in found.moved:
            page.line(words.clean(fact), indent=2, hang=4)
    if found.broken or found.moved:
        page.next(f"xenrec plan {plan.argument or plan.source} --out {source}", indent=0)
    return page.render()


def check_json(plan: Plan, found: Checked) -> str:
    """The findings as one JSON document; stable order, ASCII."""
    steps, later = _judged(plan)
    return json.dumps(
        {
            "format": "xenrec-check",
            "format_version": 1,
            "pool": plan.pool,
            "fingerprint": plan.fingerprint,
            "looked_at": words.rfc3339(found.at),
            "ok": not found.broken,
            "steps": steps,
            "forecast_steps": later,
            "broken": list(found.broken),
            "moved": list(found.moved),
            "pool_known": found.known,
        },
        indent=2,
    )
