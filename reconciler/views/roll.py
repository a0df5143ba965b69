"""A rolling maintenance before it begins: whose turn comes when, and what each would begin with."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from reconciler.core.plan import Plan, Verb
from reconciler.core.roll import Roll
from reconciler.views.words import clean, count, does, lasting, name, thing


def preview_text(roll: Roll, turns: Sequence[tuple[str, Plan, str, str]]) -> str:
    """`turns` are (host, its plan, why it can't begin or "", what next)."""
    lines = [
        f"{count(len(turns), 'host')} in turn; for each: {clean(shlex.join(roll.command))}",
        f"(at most {lasting(roll.deadline)}; waited for {lasting(roll.patience)}"
        f"{', until it has booted anew' if roll.reboots else ''})",
        "",
    ]
    for number, (host, plan, obstacle, remedy) in enumerate(turns, start=1):
        lines.append(f"{number}. {name(host)}")
        if obstacle:
            told = [(f"{thing(u.target)}: {u.why}", u.remedy) for u in plan.unmet] or [(obstacle, remedy)]
            lines.append("     can't begin:")
            for why, what in told:
                lines += [f"       x {clean(why)}", f"           next: {clean(what)}"]
            continue
        lines += [f"     {clean(does(a))}" for a in plan.actions if a.verb is not Verb.MIGRATE]
        moves = [f"{name(a.target.name)} to {name(a.to.name)}" for a in plan.actions if a.verb is Verb.MIGRATE and a.to]
        if moves:
            shown = ", ".join(moves[:8]) + (f" and {len(moves) - 8} more" if len(moves) > 8 else "")
            lines.append(f"     migrate {shown}")
        lines.append("     run the command, wait for it, enable it, bring its VMs home")
    lines += ["", "Each turn is planned again when it comes: this is how the pool is now."]
    return "\n".join(lines)
