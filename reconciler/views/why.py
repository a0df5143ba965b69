"""Why a thing is as it is, as text and JSON: the answer first, then what it rests on, then the next command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from reconciler.core.plan import SIGNS, Plan
from reconciler.core.why import Because, Considered, Sort, Told
from reconciler.views import words
from reconciler.views.layout import Page
from reconciler.views.tell import Teller

_MOST_HOSTS = 16
"""Alternatives that are told one by one without `verbose`; of one reason, the others are counted."""

_KINDS = {"vm": "VM", "host": "Host", "sr": "SR", "pool": "The master of pool"}
_SIGNS = {Sort.WITHHELD: "?", Sort.UNMET: "x", Sort.KEPT: "="}


def why_text(
    answer: Because, plan: Plan, *, width: int = 80, ascii: bool = False, color: bool = False, verbose: bool = False
) -> str:
    """The answer for a terminal, each line at most `width` cells (commands excepted)."""
    page, teller = Page(width=width, ascii=ascii, color=color), Teller(plan)
    kind = _KINDS[answer.target.kind]
    page.line((f"{kind} {words.name(answer.target.name)}: ", "bold"), f"{words.clean(answer.short)}.", hang=2)
    if not answer.live:
        told = "this pool was never read from here" if answer.read_at is None else words.utc(answer.read_at)
        page.line(f"No master answers: its records are the last known ({told}).", indent=2, hang=4)
    page.blank()
    places = {wish.place for wish in answer.wished}
    together = f" ({places.pop()})" if len(places) == 1 and "" not in places else ""
    page.line(("Wished", "bold"), together)
    for wish in answer.wished:
        place = f"  ({wish.place})" if wish.place and not together else ""
        page.line(f"{words.clean(wish.words)}{place}", indent=2, hang=4)
    if not answer.wished:
        page.line("nothing: the manifest does not name it", indent=2)
    _lines(page, "Is", answer.known)
    if answer.told or answer.waits:
        page.blank()
        page.line(("The plan", "bold"))
        for action in answer.waits:
            page.line(f"{SIGNS[action.verb]} first: {teller.does(action)}", indent=2, hang=4)
        for one in answer.told:
            _told(page, teller, one)
    _lines(page, "Around it", answer.depends)
    if answer.considered:
        page.blank()
        page.line(("Considered", "bold"))
        _considered(page, answer.considered, verbose=verbose)
    page.blank()
    if answer.next:
        page.next(answer.next, indent=0)
    else:
        page.line("Nothing is to be done about it.")
    return page.render()


def _lines(page: Page, title: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    page.blank()
    page.line((title, "bold"))
    for line in lines:
        page.line(words.clean(line), indent=2, hang=4)


def _told(page: Page, teller: Teller, one: Told) -> None:
    what = teller.does(one.action) if one.action is not None else words.clean(one.what)
    sign = SIGNS[one.action.verb] if one.action is not None and one.sort is Sort.DONE else _SIGNS[one.sort]
    if one.sort is Sort.KEPT:
        page.line(f"{sign} left alone: {words.clean(one.why)}", indent=2, hang=4)
        return
    verb = {Sort.DONE: "will", Sort.WITHHELD: "withholds:", Sort.UNMET: "can't meet:"}[one.sort]
    page.line(f"{sign} {verb} {what}", indent=2, hang=4)
    page.line(f"why: {words.clean(one.why)}", indent=4, hang=6)
    page.next(one.remedy, indent=4)


def _considered(page: Page, considered: Sequence[Considered], *, verbose: bool) -> None:
    """The one that is taken first, then what is possible, then what is not; many of one reason together."""
    order = sorted(considered, key=lambda c: (not c.chosen, not c.possible))
    shown = order if verbose else order[:_MOST_HOSTS]
    named = min(max((page.measure(words.name(c.name)) for c in shown), default=0), 24)
    for one in shown:
        sign, style = ("*", "bold green") if one.chosen else ("+", "green") if one.possible else ("-", "")
        page.columns((sign, style), words.name(one.name), words.clean(one.why), widths=(1, named))
    if len(order) > len(shown):
        possible = sum(c.possible for c in order[len(shown) :])
        page.line(
            f"and {words.count(len(order) - len(shown), 'other')}, {possible} of them possible (--verbose)", indent=2
        )


def why_json(pool: str, answer: Because) -> str:
    """The answer as one JSON document; stable order, ASCII."""
    return json.dumps(
        {
            "format": "xenrec-why",
            "format_version": 1,
            "pool": pool,
            "target": {"kind": answer.target.kind, "name": answer.target.name, "uuid": answer.target.uuid},
            "short": answer.short,
            "live": answer.live,
            "read_at": words.rfc3339(answer.read_at),
            "wished": [{"words": w.words, "place": w.place} for w in answer.wished],
            "is": list(answer.known),
            "plan": [_told_document(one) for one in answer.told],
            "waits_for": [action.id for action in answer.waits],
            "around": list(answer.depends),
            "considered": [
                {"name": c.name, "possible": c.possible, "chosen": c.chosen, "why": c.why} for c in answer.considered
            ],
            "next": answer.next,
        },
        indent=2,
    )


def _told_document(one: Told) -> dict[str, Any]:
    return {
        "sort": str(one.sort),
        "action": None if one.action is None else one.action.id,
        "to": one.action.to.name if one.action is not None and one.action.to is not None else None,
        "wish": one.what or None,
        "why": one.why,
        "remedy": one.remedy,
    }
