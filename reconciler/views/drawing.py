"""Who follows whom, drawn: one line for each host that is followed, masters first, then a circle, then the rest."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.core.evidence import LoginAnswer, Tie
from reconciler.core.ties import circle_of
from reconciler.views import words
from reconciler.views.layout import Page

ARROW = " --> "


def drawing(ties: Sequence[Tie]) -> list[str]:
    """The lines of the drawing; () where there is nothing to draw."""
    if not ties:
        return []
    by_name = {t.member: t for t in ties}
    circle = circle_of(ties)
    lines = [
        _line([t.member for t in ties if t.follows == m.member], m.member, "accepts logins as master")
        for m in ties
        if m.login is LoginAnswer.MASTER
    ]
    if circle:
        lines.append(ARROW.join(words.name(n) for n in (*circle, circle[0])) + " (a circle: none of them is master)")
    drawn = set(circle)
    for target in dict.fromkeys(t.follows for t in ties if t.follows and t.member not in drawn):
        at = by_name.get(target)
        if at is not None and at.login is LoginAnswer.MASTER:
            continue
        behind = [t.member for t in ties if t.follows == target and t.member not in drawn]
        lines.append(_line(behind, target, _what(at)))
    untold = [t.member for t in ties if t.answers and not t.follows and t.login is not LoginAnswer.MASTER]
    lines += [f"{words.name(n)}{ARROW}? (it answers, and does not say whom it follows)" for n in untold]
    return lines


def _line(behind: Sequence[str], target: str, what: str) -> str:
    return f"{words.names(behind) if behind else 'nobody'}{ARROW}{words.name(target)} ({what})"


def _what(at: Tie | None) -> str:
    if at is None:
        return "not a declared member's address"
    if at.follows:
        return "a member itself"
    if at.answers:
        return "answers, and does not say whom it follows"
    if at.login is LoginAnswer.SILENT:
        return "does not answer"
    return "its host is up, and it can't be asked"


def draw(page: Page, ties: Sequence[Tie]) -> None:
    """The drawing with its heading; nothing where there is nothing to draw."""
    lines = drawing(ties)
    if not lines:
        return
    page.blank()
    page.line(("Who follows whom", "bold"))
    for line in lines:
        page.line(line, indent=2, hang=6)
