"""The drill: which loss the pool survives, and what of that is news, as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from reconciler.core.drill_cases import Case, Drill, drill_words
from reconciler.core.drill_news import Finding, News
from reconciler.views import words
from reconciler.views.layout import Page
from reconciler.views.markdown import prose

_MOST_SHOWN = 12
"""Losses, and VMs of one, that are told one by one without `verbose`."""
_MOST_NEWS = 5
"""Findings that a plan tells one by one."""


def drill_text(
    pool: str,
    found: Drill,
    told: News,
    *,
    width: int = 80,
    ascii: bool = False,
    color: bool = False,
    verbose: bool = False,
    acknowledge: str = "",
) -> str:
    """One headline, a table with a row for each host, then each loss that leaves something down with the reasons; all
    of them if `verbose`. `acknowledge` is what to type to take note of the news."""
    page = Page(width=width, ascii=ascii, color=color)
    page.line((f"Pool {words.name(pool)}: {drill_words(found)}.", "bold"), hang=2)
    _table(page, [c for c in found.cases if len(c.hosts) == 1])
    shown = list(found.cases) if verbose else [c for c in found.cases if c.lost or c.killed or c.new_master is None]
    most = len(shown) if verbose else _MOST_SHOWN
    for case in shown[:most]:
        page.blank()
        _case(page, case, verbose=verbose)
    page.blank()
    if len(shown) > most:
        page.line(f"{words.count(len(shown) - most, 'more loss', 'more losses')} leave something down (--verbose).")
    sets = [c for c in found.cases if len(c.hosts) > 1]
    if sets:
        bad_sets = [c for c in sets if c.lost]
        unsure = sum(not c.sure for c in bad_sets)
        added = f"{len(bad_sets)} would leave more down than their hosts one by one" if bad_sets else "none adds to it"
        page.line(
            f"{words.count(len(sets), 'set', 'sets')} of several hosts looked at: {added}"
            + (f"; {unsure} of these by a quick look only" if unsure else "")
            + ".",
            hang=2,
        )
    if found.skipped:
        page.line(f"{words.count(found.skipped, 'set', 'sets')} of hosts not looked at: too many.")
    for finding in told.solved:
        page.line(("solved since the last drill: ", "green"), _finding(finding), hang=2)
    fresh = len(told.fresh) + len(told.open)
    if fresh and not acknowledge:
        page.line(f"{words.count(fresh, 'finding')} taken note of: told as news no more.")
    if told.known:
        page.line(f"{words.count(len(told.known), 'finding')} acknowledged before.")
    if fresh and acknowledge:
        number = "One of these is" if fresh == 1 else f"{fresh} of these are"
        page.line(f"{number} not acknowledged yet. Mend what you can; what you can live with, take note of:", hang=2)
        page.next(acknowledge, indent=2)
    return page.render()


def _table(page: Page, cases: Sequence[Case]) -> None:
    if not cases:
        return
    named = min(max(page.measure(words.name(c.hosts[0])) for c in cases), 24)
    widths = (max(named, 9), 5, 8, 5)
    page.blank()
    page.columns(("Host lost", "bold"), "VMs", "restart", "down", "master then", widths=widths)
    for case in cases:
        down = len(case.lost)
        master = "as now"
        if case.new_master is None:
            master = "nobody"
        elif case.new_master:
            age = "" if case.copy_age is None else f", its copy up to {words.lasting(case.copy_age)} old"
            master = f"{words.name(case.new_master)}{age}"
        page.columns(
            words.name(case.hosts[0]),
            str(case.running),
            str(len(case.restarted)),
            (str(down), "bold red" if down else "green"),
            master,
            widths=widths,
        )


def _case(page: Page, case: Case, *, verbose: bool) -> None:
    hosts = words.names(case.hosts)
    page.line((f"{hosts} lost", "green" if case.survives else "bold red"))
    if case.new_master is None:
        page.line("nobody is left who could be master: nothing restarts", indent=2, hang=4)
    elif case.new_master:
        loses = f", which loses at most {case.loses}" if case.loses else ""
        page.line(f"{words.name(case.new_master)} becomes master{loses}", indent=2, hang=4)
    if case.killed:
        risk = ", ".join(words.clean(one) for one in case.killed[:_MOST_SHOWN])
        more = f" and {len(case.killed) - _MOST_SHOWN} more" if len(case.killed) > _MOST_SHOWN else ""
        page.line(f"its copy may kill, though their hosts live: {risk}{more}", indent=2, hang=4)
    most = len(case.lost) if verbose else _MOST_SHOWN
    told: dict[str, list[str]] = {}
    for loss in case.lost[:most]:
        told.setdefault(loss.why, []).append(words.name(loss.vm.name))
    for why, vms in told.items():
        page.line(f"down: {words.names(vms)}: {words.clean(why)}", indent=2, hang=4)
    for loss in case.lost[:most]:
        page.next(loss.remedy, indent=4)
    if len(case.lost) > most:
        page.line(f"down: {len(case.lost) - most} more (--verbose)", indent=2, hang=4)
    if case.by_part:
        page.line(f"{words.count(case.by_part, 'VM')} down by the loss of a part of them already", indent=2, hang=4)
    if case.moved:
        told_moves = words.names([f"{vm} to {host}" for vm, host in case.moved[:_MOST_SHOWN]])
        page.line(f"moved first, to make room: {told_moves}", indent=2, hang=4)
    if case.shed:
        page.line(f"shut down for more important ones: {words.names(case.shed)}", indent=2, hang=4)
    if verbose and case.restarted:
        places: dict[str, list[str]] = {}
        for vm, host in case.restarted:
            places.setdefault(host, []).append(words.name(vm))
        for host, vms in sorted(places.items()):
            page.line(f"on {words.name(host)} restart: {', '.join(vms)}", indent=2, hang=4)
    if case.left:
        many = words.names([words.name(n) for n in case.left])
        page.line(f"nobody restarts what the manifest does not declare running: {many}", indent=2, hang=4)
    for hindrance in case.hindrances:
        page.line(f"in the way: {hindrance}", indent=2, hang=4)


def news_text(
    found: Drill, told: News, *, command: str, width: int = 80, ascii: bool = False, color: bool = False
) -> str:
    """The drill beside a plan: one line, and what is news. `command` is the drill's own."""
    page = Page(width=width, ascii=ascii, color=color)
    page.line(("Drill: ", "bold"), drill_words(found) + ".", hang=2)
    _news(page, told, command)
    return page.render()


def _news(page: Page, told: News, command: str) -> None:
    """What is new, one by one; what nobody acknowledged yet, counted; what is solved."""
    for finding in told.fresh[:_MOST_NEWS]:
        page.line(("new: ", "bold yellow"), _finding(finding), indent=2, hang=4)
    if len(told.fresh) > _MOST_NEWS:
        page.line(f"and {words.count(len(told.fresh) - _MOST_NEWS, 'more new finding')}", indent=2)
    if told.open:
        since = words.utc(min(f.since for f in told.open))
        page.line(f"{words.count(len(told.open), 'finding')} not acknowledged yet, the oldest of {since}", indent=2)
    for finding in told.solved[:_MOST_NEWS]:
        page.line(("solved: ", "green"), _finding(finding), indent=2, hang=4)
    if len(told.solved) > _MOST_NEWS:
        page.line(f"and {words.count(len(told.solved) - _MOST_NEWS, 'more finding')} solved", indent=2)
    if told.remembered:
        page.next(command, indent=2)


def _finding(finding: Finding) -> str:
    return f"{words.names(finding.hosts.split('+'))} lost: {words.clean(finding.words)}"


def news_markdown(found: Drill, told: News) -> str:
    """The drill beside a plan's comment: its summary, and what is news."""
    lines = [f"**Drill:** {prose(drill_words(found))}.", ""]
    rows = [("new" if f in told.fresh else f"since {words.utc(f.since)}", f) for f in (*told.fresh, *told.open)]
    rows += [("solved", f) for f in told.solved]
    lines += [f"- {when}: {prose(_finding(f))}" for when, f in rows[:_MOST_SHOWN]]
    if len(rows) > _MOST_SHOWN:
        lines.append(f"- and {len(rows) - _MOST_SHOWN} more")
    return "\n".join(lines) + "\n"


def drill_json(pool: str, found: Drill, told: News) -> str:
    """The whole drill; stable order, ASCII."""
    document = {
        "format": "xenrec-drill",
        "format_version": 1,
        "pool": pool,
        **news_document(found, told),
        "skipped": found.skipped,
        "cases": [
            {
                "hosts": list(case.hosts),
                "survives": case.survives,
                "new_master": case.new_master,
                "copy_age_seconds": case.copy_age,
                "promotion_loses": case.loses,
                "promotion_may_kill": list(case.killed),
                "running": case.running,
                "restarted": [{"vm": vm, "host": host} for vm, host in case.restarted],
                "moved": [{"vm": vm, "host": host} for vm, host in case.moved],
                "shut_down": list(case.shed),
                "down": [
                    {
                        "vm": loss.vm.name,
                        "uuid": loss.vm.uuid,
                        "kind": str(loss.kind),
                        "why": loss.why,
                        "remedy": loss.remedy,
                    }
                    for loss in case.lost
                ],
                "down_by_part": case.by_part,
                "not_declared_running": list(case.left),
                "hindrances": list(case.hindrances),
                "planned": case.planned,
                "sure": case.sure,
            }
            for case in found.cases
        ],
    }
    return json.dumps(document, indent=2)


def news_document(found: Drill, told: News) -> dict[str, Any]:
    """The drill's summary and news, for the JSON of a plan, too."""
    return {
        "summary": drill_words(found),
        "single_points_of_failure": list(found.single_points),
        "new": [_document(f) for f in told.fresh],
        "open": [_document(f) for f in told.open],
        "acknowledged": [_document(f) for f in told.known],
        "solved": [_document(f) for f in told.solved],
    }


def _document(finding: Finding) -> dict[str, Any]:
    return {
        "hosts": finding.hosts.split("+"),
        "what": finding.what,
        "words": finding.words,
        "since": words.rfc3339(finding.since),
        "acknowledged_by": finding.acknowledged_by,
    }
