"""The drill: which loss the pool survives, as text and JSON."""

from __future__ import annotations

import json

from reconciler.core.drill import Case, Drill, drill_words
from reconciler.views import words
from reconciler.views.layout import Page


def drill_text(
    pool: str, found: Drill, *, width: int = 80, ascii: bool = False, color: bool = False, verbose: bool = False
) -> str:
    """One headline, then a line per loss that leaves something down, with the reason; all of them if verbose."""
    page = Page(width=width, ascii=ascii, color=color)
    page.line((f"Pool {words.name(pool)}: {drill_words(found)}.", "bold"))
    shown = [c for c in found.cases if verbose or not c.survives]
    for case in shown:
        page.blank()
        _case(page, case)
    if not verbose and len(shown) < len(found.cases):
        page.blank()
        page.line(f"{words.count(len(found.cases) - len(shown), 'loss', 'losses')} survived (--verbose shows them).")
    if found.skipped:
        page.line(f"{words.count(found.skipped, 'set', 'sets')} of hosts not looked at: too many.")
    return page.render()


def _case(page: Page, case: Case) -> None:
    hosts = words.names(case.hosts)
    style = "green" if case.survives else "bold red"
    page.line((f"{hosts} lost", style))
    if case.new_master is None:
        page.line("nobody is left who could be master", indent=2, hang=4)
    elif case.new_master:
        age = "" if case.copy_age is None else f", with a database copy up to {words.lasting(case.copy_age)} old"
        page.line(f"{words.name(case.new_master)} becomes master{age}", indent=2, hang=4)
    if case.restarted:
        told = ", ".join(f"{words.name(vm)} on {words.name(host)}" for vm, host in case.restarted)
        page.line(f"restarted: {told}", indent=2, hang=4)
    for unmet in case.lost:
        page.line(f"down: {words.name(unmet.target.name)}: {words.clean(unmet.why)}", indent=2, hang=4)


def drill_json(pool: str, found: Drill) -> str:
    """The whole drill; stable order, ASCII."""
    document = {
        "format": "xenrec-drill",
        "format_version": 1,
        "pool": pool,
        "summary": drill_words(found),
        "single_points_of_failure": list(found.single_points),
        "skipped": found.skipped,
        "cases": [
            {
                "hosts": list(case.hosts),
                "survives": case.survives,
                "new_master": case.new_master,
                "copy_age_seconds": case.copy_age,
                "restarted": [{"vm": vm, "host": host} for vm, host in case.restarted],
                "down": [{"vm": u.target.name, "uuid": u.target.uuid, "why": u.why} for u in case.lost],
            }
            for case in found.cases
        ],
    }
    return json.dumps(document, indent=2)
