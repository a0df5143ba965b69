"""Plans and outcomes as Markdown for a merge request, within the size that forges accept.

Names come from outside: shown as code they can't make markup, links, or notify people.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from reconciler.core.evidence import Diagnosis
from reconciler.core.plan import SIGNS, Action, Outcome, Plan
from reconciler.views import words
from reconciler.views.tell import Teller
from reconciler.views.terminal_outcome import outcome_headline
from reconciler.views.terminal_plan import headline

MOST_CHARS = 60_000
"""GitHub refuses comments of more than 65,536 characters."""

_ZERO_WIDTH = "\u200b"


def prose(text: str) -> str:
    """A sentence that may hold names: nothing in it is markup, a link, or notifies anybody."""
    text = html.escape(words.clean(text), quote=False)
    text = re.sub(r"([\\`*_{}\[\]|~])", r"\\\1", text)
    # Forges look for @people, #issues, !requests and addresses in the finished text, so an escape would not help.
    return re.sub(r"([@#!%$])(?=\S)|(://)|(\bwww)(?=\.)", lambda m: m.group() + _ZERO_WIDTH, text)


def code(text: str) -> str:
    """A name or a command, exactly, as code, which forges search neither for people nor for requests."""
    shown = html.escape(words.clean(text), quote=False)
    # As character references, for Markdown reads signs and addresses even between tags.
    return "<code>" + re.sub(r"[`*_{}\[\]~|\\@:]|(?<=www)\.", lambda m: f"&#{ord(m.group())};", shown) + "</code>"


def plan_markdown(plan: Plan, *, limit: int = MOST_CHARS) -> str:
    """The plan as a comment of at most `limit` characters; what does not fit is counted, not silently lost."""
    teller = Teller(plan)
    head = [f"### xenrec: {code(plan.pool)} {_verdict(plan)}", "", prose(headline(plan.pool, plan.diagnosis))]
    if plan.diagnosis.remedy:
        head += ["", f"**Next:** {_remedy(plan.diagnosis.remedy)}"]
    head += ["", f"**Plan:** {prose(words.counted(plan))}."]
    origin = [f"manifest {code(plan.source)}"] if plan.source else []
    origin += [f"commit {code(plan.commit)}"] if plan.commit else []
    head += ["", f"<sub>{', '.join([*origin, f'made {words.utc(plan.made_at)}'])}</sub>"]
    blocks = [_block(f"Members ({len(plan.diagnosis.members)})", _members(plan.diagnosis), open_=not _well(plan))]
    for stage in plan.stages:
        if stage.actions:
            blocks.append(
                _block(
                    _stage_title(plan, stage.name, stage.forecast, len(stage.actions)), _actions(stage.actions, teller)
                )
            )
    if plan.withheld:
        rows = (
            (SIGNS[w.action.verb], prose(teller.does(w.action)), prose(w.why), _remedy(w.remedy)) for w in plan.withheld
        )
        blocks.append(_block(f"Withheld ({len(plan.withheld)})", _table(("", "action", "because", "next"), rows)))
    if plan.unmet:
        unmet = (
            (
                prose(teller.thing(u.target)),
                prose(u.wish),
                prose(u.why),
                _remedy(u.remedy),
                code(u.place) if u.place else "",
            )
            for u in plan.unmet
        )
        title = f"Wishes that can't be met now ({len(plan.unmet)})"
        blocks.append(_block(title, _table(("of", "wish", "because", "next", "written at"), unmet)))
    if plan.notes:
        blocks.append(_block(f"Notes ({len(plan.notes)})", [f"- {prose(n)}" for n in plan.notes], open_=False))
    return _fit(head, blocks, limit)


def outcome_markdown(outcome: Outcome, *, limit: int = MOST_CHARS) -> str:
    """What was done, and what the last reading of the pool proves."""
    final = outcome.final
    proved = final is not None and words.is_as_declared(final)
    pool = f"{code(final.pool)} " if final is not None else ""
    head = [f"### xenrec: {pool}{'is as declared' if proved else 'is not yet as declared'}", ""]
    head += [prose(outcome_headline(outcome))]
    if outcome.stopped:
        head += ["", f"**Stopped early:** {prose(outcome.stopped)}"]
    if final is None:
        head += ["", "**Not proved:** the pool could not be read again at the end."]
    elif not proved:
        head += ["", f"**Left:** {prose(words.counted(final))}."]
    head += ["", f"<sub>run {code(outcome.run)}, ended {words.utc(outcome.ended_at)}</sub>"]
    rows = (
        (
            words.RESULTS[d.result][1],
            prose(words.brief(d.action)),
            words.lasting(d.took) if d.took else "",
            prose(d.why),
            _remedy(d.remedy),
        )
        for d in outcome.done
    )
    blocks = [_block(f"Actions ({len(outcome.done)})", _table(("result", "action", "took", "why", "next"), rows))]
    if outcome.timeline:
        lines = _table(("after", "what"), ((words.lasting(at), prose(what)) for at, what in outcome.timeline))
        blocks.append(_block("What happened when", lines, open_=False))
    text = _fit(head, blocks, limit)
    if final is not None and not proved and len(text) < limit - 2000:
        text += "\n" + plan_markdown(final, limit=limit - len(text) - 1)
    return text


def _verdict(plan: Plan) -> str:
    if words.is_as_declared(plan) or plan.only_upkeep:
        return "is as declared"
    return "is not as declared" if plan.actions or plan.withheld or plan.unmet else "can't be judged"


def _well(plan: Plan) -> bool:
    return words.is_as_declared(plan)


def _remedy(remedy: str) -> str:
    first, command = words.split_command(remedy)
    return " ".join(x for x in (prose(first) if first else "", code(command) if command else "") if x)


def _stage_title(plan: Plan, name: str, forecast: bool, number: int) -> str:
    title = f"Stage {words.clean(name)} ({words.count(number, 'action')})"
    if forecast:
        at = f" from the pool as last read at {words.utc(plan.last_known_at)}" if plan.last_known_at is not None else ""
        title += f", forecast{at}"
    return title


def _members(diagnosis: Diagnosis) -> list[str]:
    rows = ((code(m.name), code(m.address), words.VERDICTS[m.verdict], prose(m.why)) for m in diagnosis.members)
    return _table(("member", "address", "verdict", "why"), rows)


def _actions(actions: Sequence[Action], teller: Teller) -> list[str]:
    rows = ((SIGNS[a.verb], prose(teller.does(a)), prose(a.why), prose("; ".join(teller.rests_on(a)))) for a in actions)
    return _table(("", "action", "why", "rests on"), rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(cell or " " for cell in row) + " |" for row in rows]
    return lines


def _block(title: str, lines: list[str], *, open_: bool = True) -> tuple[str, list[str], bool]:
    return title, lines, open_


def _fit(head: Sequence[str], blocks: Sequence[tuple[str, list[str], bool]], limit: int) -> str:
    """Head and blocks in order; of each block, as many lines as there is room for."""
    spare = 400  # for the closing tags and the note on what was left out
    parts = ["\n".join(head)[: max(limit - spare, 0)] + "\n"]
    used = len(parts[0])
    lost = 0
    for title, lines, open_ in blocks:
        start = f"\n<details{' open' if open_ else ''}><summary>{html.escape(title, quote=False)}</summary>\n\n"
        end = "\n</details>\n"
        fixed = 2 if lines and lines[0].startswith("|") else 0
        size = used + len(start) + len(end) + spare + sum(len(x) + 1 for x in lines[:fixed])
        taken = fixed
        while taken < len(lines) and size + len(lines[taken]) + 1 <= limit:
            size += len(lines[taken]) + 1
            taken += 1
        if taken == fixed and len(lines) > fixed:
            lost += len(lines) - fixed
            continue
        lost += len(lines) - taken
        parts.append(start + "\n".join(lines[:taken]) + "\n" + end)
        used += len(parts[-1])
    if lost:
        parts.append(f"\n**{words.count(lost, 'line')} left out** to stay within {limit} characters.\n")
    return "".join(parts)
