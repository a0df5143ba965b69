"""The plan as a runbook of xe commands, in order, with the checks between them, for whoever must do it by hand."""

from __future__ import annotations

import textwrap

from reconciler.core.model import PoolState
from reconciler.core.plan import Plan, Verb
from reconciler.core.wanted import Wanted
from reconciler.views import words
from reconciler.views.tell import Teller
from reconciler.views.terminal_plan import headline
from reconciler.views.xe_steps import STEPS, Desk, comment

_WIDTH = 86


def xe_runbook(plan: Plan, wanted: Wanted, state: PoolState | None = None) -> str:
    """The commands for the actions of the plan. `state`, the last known pool, gives uuids that the plan lacks.

    Lines that start with "#" are to be read, all others to be typed, one at a time. What is withheld or can't be met
    is there as comments only. A shell that is fed with the text ends before any command runs. The text is ASCII.
    """
    desk = Desk(plan, wanted, state, plan.diagnosis.master or "")
    teller = Teller(plan)
    lines = _header(plan)
    number, last = 0, ""
    for stage in plan.stages:
        if not stage.actions:
            continue
        lines += ["", *_text(f"== {stage.name}: {words.STAGES.get(stage.name, '')}".rstrip(": "))]
        if stage.forecast:
            at = words.utc(plan.last_known_at) if plan.last_known_at is not None else "an unknown time"
            lines += _text(
                f"FORECAST from the pool as read at {at}. Before typing this part, run xenrec plan --format xe again, "
                "or compare each line with what you see."
            )
        for action in stage.actions:
            number += 1
            lines += ["", *_text(f"{number}. {teller.does(action)}")]
            if action.why:
                lines += _text(f"why: {action.why}", indent="#    ")
            for proof in teller.rests_on(action):
                lines += _text(f"rests on: {proof}", indent="#    ")
            where = action.target.name if action.verb in (Verb.PROMOTE, Verb.AWAIT_MASTER) else desk.master
            if action.verb is not Verb.FENCE and where and where != last:
                last = where
                lines += comment(f"type on: {words.name(where)} ({desk.address(where)})")
            lines += STEPS[action.verb](action, desk)
    if not number:
        lines += ["", *_text("Nothing to type." if words.is_as_declared(plan) else "Nothing may be typed now.")]
    lines += _not_done(plan, teller)
    if number and desk.master:
        lines += ["", *_text("At the end: every host enabled, every VM where it should be. And let xenrec prove it:")]
        lines += [desk.xe("host-list", "params=name-label,enabled,host-metrics-live")]
        lines += [desk.xe("vm-list", "is-control-domain=false", "params=name-label,power-state,resident-on")]
        lines += _text(f"xenrec plan {plan.argument or plan.source or 'MANIFEST'}")
    return "\n".join(lines) + "\n"


def _header(plan: Plan) -> list[str]:
    return [
        *_text(f"RUNBOOK for pool {words.name(plan.pool)}, made {words.utc(plan.made_at)}"),
        *_text(headline(plan.pool, plan.diagnosis)),
        *(_text(f"next: {plan.diagnosis.remedy}") if plan.diagnosis.remedy else ()),
        "#",
        *_text(
            "NEVER THE WHOLE POOL: power off, promote and declare dead only the hosts named here, one at a time, "
            "in this order. If more hosts are silent than this page names, STOP: it may be you who are cut off."
        ),
        *_text(
            "Read each step to its end, type one line at a time, compare with what is expected. Not as expected: "
            "STOP, and make a new runbook."
        ),
        *_text(
            "Each command goes to the host after -s. On that host itself, as root, leave out -s and -pwf. "
            "From elsewhere, PWF is a file that only you can read: root on its first line, the password on its second."
        ),
        "exit 1 # this page is read, not run",
        'PWF="$HOME/.xe-login"',
    ]


def _not_done(plan: Plan, teller: Teller) -> list[str]:
    lines: list[str] = []
    if plan.withheld:
        lines += ["", *_text("== withheld: do NOT do these now")]
        for held in plan.withheld:
            lines += _text(f"- {teller.does(held.action)}: {held.why}")
            lines += _text(f"next: {held.remedy}", indent="#   ") if held.remedy else []
    if plan.unmet:
        lines += ["", *_text("== wishes that can't be met now")]
        for wish in plan.unmet:
            lines += _text(f"- {teller.thing(wish.target)}, {wish.wish}: {wish.why}")
            lines += _text(f"next: {wish.remedy}", indent="#   ") if wish.remedy else []
    return lines


def _text(text: str, *, indent: str = "# ") -> list[str]:
    """A comment of any length, wrapped."""
    return textwrap.wrap(
        words.fold(words.clean(text)),
        width=_WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_on_hyphens=False,
        break_long_words=False,
    ) or ["#"]
