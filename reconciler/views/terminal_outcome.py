"""What an apply did and proved, and its progress, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.core.plan import Done, Outcome, Result
from reconciler.views import words
from reconciler.views.events import Event
from reconciler.views.layout import Page
from reconciler.views.terminal_plan import GROUP_ABOVE, plan_text

RESULT_STYLES = {
    Result.DONE: "green",
    Result.ALREADY: "green",
    Result.FAILED: "bold red",
    Result.SKIPPED: "yellow",
    Result.REFUSED: "bold magenta",
    Result.UNKNOWN: "bold yellow",
}

WELL = frozenset({Result.DONE, Result.ALREADY})
"""Results that left an action's goal reached."""


def outcome_text(
    outcome: Outcome, *, width: int = 80, ascii: bool = False, color: bool = False, verbose: bool = False
) -> str:
    """What was done, what failed with its next command, and what the last reading of the pool proves."""
    page = Page(width=width, ascii=ascii, color=color)
    page.line((outcome_headline(outcome), "bold"))
    if outcome.stopped:
        page.line(("stopped early: ", "bold red"), outcome.stopped, indent=2, hang=4)
    bad = [d for d in outcome.done if d.result not in WELL]
    good = [d for d in outcome.done if d.result in WELL]
    if bad:
        page.blank()
        page.line(("Not done", "bold red"))
        for done in bad:
            _done(page, done)
    if good:
        page.blank()
        page.line(("Done", "bold green"))
        if len(good) > GROUP_ABOVE and not verbose:
            _tally(page, good)
        else:
            for done in good:
                _done(page, done)
    if outcome.milestones and not verbose:
        page.blank()
        page.line(("Time line", "bold"))
        for at, what in (*outcome.milestones, (outcome.ended_at - outcome.started_at, "the pool was read again")):
            page.columns(f"+{words.lasting(at)}", what, widths=(12,))
    if outcome.timeline and verbose:
        page.blank()
        page.line(("What happened when", "bold"))
        for at, what in outcome.timeline:
            page.columns(f"+{words.lasting(at)}", what, widths=(12,))
    page.blank()
    page.line(*_ending(outcome))
    text = page.render()
    if outcome.final is not None and not words.is_as_declared(outcome.final):
        text += "\n" + plan_text(outcome.final, width=width, ascii=ascii, color=color, verbose=verbose)
    return text


def outcome_headline(outcome: Outcome) -> str:
    """How it went, in one sentence."""
    well = sum(d.result in WELL for d in outcome.done)
    took = words.lasting(outcome.ended_at - outcome.started_at)
    if not outcome.done:
        return f"Nothing was done ({took})."
    if well == len(outcome.done):
        return f"Done: {words.count(well, 'action')} in {took}."
    parts = [f"{well} of {words.count(len(outcome.done), 'action')} done"]
    for result in (Result.FAILED, Result.REFUSED, Result.UNKNOWN, Result.SKIPPED):
        number = sum(d.result is result for d in outcome.done)
        if number:
            parts.append(f"{number} {words.RESULTS[result][1]}")
    return f"Done in part: {', '.join(parts)}, in {took}."


def _done(page: Page, done: Done) -> None:
    sign, word = words.RESULTS[done.result]
    took = f" ({words.lasting(done.took)})" if done.took else ""
    page.line((sign, RESULT_STYLES[done.result]), f" {word}: ", words.brief(done.action) + took, indent=2, hang=6)
    if done.why and done.result is not Result.DONE:
        page.line(done.why, indent=6)
    if done.result not in WELL:
        page.next(done.remedy, indent=6)


def _tally(page: Page, good: Sequence[Done]) -> None:
    """Very many results: the rare ones one by one, VMs alike together."""
    found: dict[object, list[Done]] = {}
    for number, done in enumerate(good):
        action = done.action
        many = action.verb in words.MANY
        found.setdefault(
            (action.verb, action.to.name if action.to else "", done.result) if many else number, []
        ).append(done)
    for group in found.values():
        if len(group) == 1:
            _done(page, group[0])
            continue
        sign, word = words.RESULTS[group[0].result]
        longest = max(d.took for d in group)
        slow = f" (the slowest took {words.lasting(longest)})" if longest else ""
        page.line(
            (sign, RESULT_STYLES[group[0].result]),
            f" {word}: ",
            words.does_many([d.action for d in group]) + slow,
            indent=2,
            hang=6,
        )


def _ending(outcome: Outcome) -> tuple[str | tuple[str, str], ...]:
    if outcome.final is None:
        return (("NOT PROVED: ", "bold red"), "the pool could not be read again at the end.")
    at = words.utc(outcome.final.made_at)
    if words.is_as_declared(outcome.final):
        return (("Proved: ", "bold green"), f"read again at {at}, the pool is as declared.")
    return (("Not yet as declared: ", "bold yellow"), f"read again at {at}, this is left:")


def progress_line(event: Event, *, started_at: float | None = None, ascii: bool = False) -> str:
    """One line (no newline) for logs and pipes: when, what, and how it went."""
    when = words.utc(event.at, day=False) if started_at is None else f"{f'+{words.lasting(event.at - started_at)}':<12}"
    told = words.clean(event.what)
    if event.action is not None:
        what = words.brief(event.action)
        if event.result is not None:
            sign, word = words.RESULTS[event.result]
            what = f"{sign} {word}: {what}"
            told = told.removeprefix(f"{event.result}:").removeprefix(f"{word}:").strip()
        told = f"{what}: {told}" if told else what
    line = f"{when}  {told}"
    return words.fold(line) if ascii else line
