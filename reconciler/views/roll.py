"""A rolling maintenance: before it begins, whose turn comes when and what each would begin with; afterwards, how far it
came."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence

from reconciler.core.plan import Plan, Verb
from reconciler.core.roll import Roll
from reconciler.views.json_view import FORMAT_VERSION, plan_document
from reconciler.views.words import clean, count, does, lasting, name, rfc3339, thing


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


def preview_json(pool: str, roll: Roll, turns: Sequence[tuple[str, Plan, str, str]]) -> str:
    """The same for machines: each turn with its whole plan. `format` is `xenrec-roll-plan`."""
    return _dump(
        {
            "format": "xenrec-roll-plan",
            "format_version": FORMAT_VERSION,
            "pool": pool,
            **_work(roll),
            "turns": [
                {
                    "host": host,
                    "begins": not obstacle,
                    "why": obstacle,
                    "next": remedy,
                    "plan": plan_document(plan),
                }
                for host, plan, obstacle, remedy in turns
            ],
        }
    )


def roll_json(
    pool: str,
    roll: Roll | None,
    said: Sequence[str],
    *,
    ended: Mapping[str, object] | None = None,
    stopped: tuple[str, str] = ("", ""),
    left: tuple[str, str] = ("", ""),
) -> str:
    """How far a roll came: `result` is done, stopped, ended (by --abandon) or none (nothing was under way). `said` is
    what was told meanwhile, `left` what waits for a person's word. `format` is `xenrec-roll`."""
    why, remedy = stopped if stopped[0] else left
    result = "stopped" if stopped[0] else "ended" if ended is not None else "done" if roll is not None else "none"
    under_way: dict[str, str | None] = {"host": None, "phase": None}
    if roll is not None and roll.host is not None and result == "stopped":
        under_way = {"host": roll.host, "phase": str(roll.phase)}
    return _dump(
        {
            "format": "xenrec-roll",
            "format_version": FORMAT_VERSION,
            "pool": pool,
            "result": result,
            **(_work(roll) if roll is not None else {}),
            "done": list(roll.done) if roll is not None else [],
            "under_way": under_way,
            **({"abandoned": dict(ended)} if ended is not None else {}),
            "why": why,
            "next": remedy,
            "said": list(said),
        }
    )


def _work(roll: Roll) -> dict[str, object]:
    return {
        "id": roll.id,
        "by": roll.by,
        "begun_at": rfc3339(roll.begun_at),
        "hosts": list(roll.hosts),
        "command": list(roll.command),
        "deadline_s": roll.deadline,
        "back_within_s": roll.patience,
        "reboots": roll.reboots,
    }


def _dump(document: Mapping[str, object]) -> str:
    return json.dumps(document, indent=2)
