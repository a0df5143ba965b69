"""What a person asks in a scenario: a drill, why something is as it is, whether a saved plan keeps every rule."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.cli.common import plan_code
from reconciler.core.plan import Plan
from reconciler.core.why import UnknownName, ground, parse
from reconciler.core.why_host import why_host, why_master, why_sr
from reconciler.core.why_vm import why_vm
from reconciler.pipeline import Reconciler
from reconciler.views.check import Checked, check_text
from reconciler.views.drill import drill_text
from reconciler.views.saved_plan import moved_facts
from reconciler.views.text import plan_text
from reconciler.views.why import why_text


def drill_of(run: Reconciler, options: Sequence[str]) -> str:
    """xenrec drill manifest.yaml [--hosts=N] [--acknowledge]."""
    look = run.observe()
    plan = run.plan_of(look)
    depth = next((int(o.partition("=")[2]) for o in options if o.startswith("--hosts=")), 0)
    drilled = run.drilled(look, plan, depth=depth, taken="--acknowledge" in options)
    if drilled is None:
        return plan_text(plan, ascii=True) + f"[exit {int(plan_code(plan))}]"
    found, told = drilled
    command = "" if "--acknowledge" in options else "xenrec drill manifest.yaml --acknowledge"
    code = 0 if all(case.survives for case in found.cases) else 3
    return drill_text(run.wanted.name, found, told, ascii=True, acknowledge=command) + f"[exit {code}]"


def why_of(run: Reconciler, what: str) -> str:
    """xenrec why manifest.yaml WHAT."""
    look = run.observe()
    plan = run.plan_of(look)
    known = ground(run.wanted, plan, look.survey, look.state, look.last_known, look.copies)
    try:
        kind, name = parse(what)
        if kind == "master":
            answer = why_master(known)
        else:
            answer = {"vm": why_vm, "host": why_host, "sr": why_sr}[kind](known, name)
    except UnknownName as unknown:
        return f"{unknown}\n  near: {', '.join(unknown.near) or 'nothing'}\n[exit 64]"
    return why_text(answer, plan, ascii=True) + "[exit 0]"


def check_of(run: Reconciler, saved: Plan) -> str:
    """xenrec check tonight.plan."""
    look = run.observe()
    fresh = run.plan_of(look)
    broken = run.broken(saved, fresh.certificates)
    found = Checked(broken, moved_facts(saved, fresh), look.at, known=look.state is not None)
    return check_text("tonight.plan", saved, found, ascii=True) + f"[exit {int(bool(broken))}]"
