"""A plan for a person at a terminal: what is wrong, what is known, what will be done and why, what will not."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from reconciler.core.evidence import Diagnosis, Situation, Verdict
from reconciler.core.plan import SIGNS, Action, Plan, Stage, Unmet, Verb
from reconciler.views import words
from reconciler.views.drawing import draw
from reconciler.views.layout import Page
from reconciler.views.tell import Teller, proof

GROUP_ABOVE = 30
"""With more actions than this in a stage, those of one verb and destination are shown together."""

_NAMES_SHOWN = 24
"""Of a group shown without `verbose`, at most this many names are written out."""

STYLES = {
    "!": "bold red",
    "^": "bold yellow",
    "~": "cyan",
    ">": "green",
    "-": "yellow",
    "@": "blue",
    ":": "dim",
    "?": "bold magenta",
}

VERDICT_STYLES = {
    Verdict.ALIVE: "green",
    Verdict.UNREACHABLE: "yellow",
    Verdict.SUSPECT: "bold yellow",
    Verdict.PLANNED_DOWN: "dim",
    Verdict.DEAD: "bold red",
}


def plan_text(
    plan: Plan,
    *,
    width: int = 80,
    ascii: bool = False,
    color: bool = False,
    verbose: bool = False,
    apply_command: str | None = None,
    most: int | None = None,
) -> str:
    """The plan as text, each line at most `width` cells (commands excepted, which must survive being copied).

    `apply_command` is what to type to perform it; "" for nothing, None for the obvious one; `most` is the bound on
    actions that it was made with. A plan with nothing to do and nothing to say is one line.
    """
    page = Page(width=width, ascii=ascii, color=color)
    if words.is_as_declared(plan):
        page.line(*_quiet(plan, verbose=verbose))
        if verbose:
            _notes(page, plan)
            _kept(page, plan, verbose=True)
        return page.render()
    if _well(plan.diagnosis) and plan.only_upkeep:
        page.line((f"Pool {words.name(plan.pool)} is as declared; due: {words.counted(plan)}.", "bold"))
    elif _well(plan.diagnosis):
        page.line((f"Pool {words.name(plan.pool)} is not as declared: {words.counted(plan)}.", "bold"))
    else:
        page.line((headline(plan.pool, plan.diagnosis), "bold"))
    if not plan.actions:
        page.next(plan.diagnosis.remedy, indent=2)  # else the next thing to do is at the end: apply
    if verbose or not _well(plan.diagnosis):
        evidence(page, plan.diagnosis, plan.made_at)
    else:
        page.line(f"{plan.diagnosis.why}, as seen at {words.utc(plan.made_at)}.", indent=2)
    draw(page, plan.diagnosis.ties)
    teller = Teller(plan)
    seen: set[str] = set()
    for number, stage in enumerate((s for s in plan.stages if s.actions), start=1):
        _stage(page, plan, stage, number, teller, seen, verbose=verbose)
    _withheld(page, plan, teller, verbose=verbose)
    _unmet(page, plan.unmet, teller)
    _notes(page, plan)
    if verbose:
        _differences(page, plan)
    _kept(page, plan, verbose=verbose)
    page.blank()
    page.line(("Plan: ", "bold"), words.counted(plan) + ".", hang=2)
    _expected(page, plan, teller)
    command = apply_command
    if command is None:
        command = f"xenrec apply {plan.argument or plan.source}" if plan.source and plan.actions else ""
        if command:
            command += " --failback" if plan.failback else ""
            command += "".join(f" --yield {shlex.quote(host)}" for host in plan.yields)
            command += f" --max-actions {most}" if most is not None else ""
        if plan.withheld and not plan.actions and (plan.unmet or plan.notes):
            command = plan.withheld[0].remedy  # said above, but the last line is what is read first at 3 a.m.
    page.next(command, indent=0)
    return page.render()


def _expected(page: Page, plan: Plan, teller: Teller) -> None:
    """How long it takes, where the order of its steps has a say in that."""
    steps = {a.id: a for a in plan.actions}
    chain = [teller.does(steps[i]) for i in plan.critical if i in steps]
    if plan.expected is None or len(chain) < 2:
        return
    shown = chain if len(chain) < 6 else [*chain[:3], f"{len(chain) - 5} more", *chain[-2:]]
    took = f"about {words.lasting(plan.expected)} if nothing goes wrong"
    page.line(("Expected: ", "bold"), f"{took}; the longest chain: {', then '.join(shown)}.", hang=2)


def headline(pool: str, diagnosis: Diagnosis) -> str:
    """What is wrong with the pool, in one sentence."""
    why = diagnosis.why.strip() or f"it {words.SITUATIONS[diagnosis.situation]}"
    return f"Pool {words.name(pool)}: {why}" + ("" if why.endswith(".") else ".")


def _well(diagnosis: Diagnosis) -> bool:
    """Nothing is wrong with the hosts: one master, and every member alive."""
    return diagnosis.situation is Situation.MANAGED and all(m.verdict is Verdict.ALIVE for m in diagnosis.members)


def _quiet(plan: Plan, *, verbose: bool) -> Iterable[str]:
    diagnosis = plan.diagnosis
    alive = sum(m.verdict is Verdict.ALIVE for m in diagnosis.members)
    master = f", master {words.name(diagnosis.master)}" if diagnosis.master else ""
    yield f"Pool {words.name(plan.pool)} is as declared{master}, "
    if alive == len(diagnosis.members):
        yield f"{words.count(alive, 'member')} alive"
    else:
        rest = (m for m in diagnosis.members if m.verdict is not Verdict.ALIVE)
        yield f"{alive} of {words.count(len(diagnosis.members), 'member')} alive ("
        yield ", ".join(f"{words.name(m.name)} {words.VERDICTS[m.verdict]}" for m in rest) + ")"
    yield ": nothing to do."
    if plan.notes and not verbose:
        yield f" ({words.count(len(plan.notes), 'note')}, see --verbose)"


def evidence(page: Page, diagnosis: Diagnosis, at: float) -> None:
    """One line per member: name, verdict, why, and the certificates that life made void."""
    page.blank()
    page.line(("Members", "bold"), f", as seen at {words.utc(at)}")
    named = min(max((page.measure(words.name(m.name)) for m in diagnosis.members), default=0), 24)
    judged = max((len(words.VERDICTS[m.verdict]) for m in diagnosis.members), default=0)
    for member in diagnosis.members:
        page.columns(
            words.name(member.name),
            (words.VERDICTS[member.verdict], VERDICT_STYLES[member.verdict]),
            member.why,
            widths=(named, judged),
        )
        for void in member.voided:
            page.line(f"a sign of life made this void: {proof(void, at)}", indent=6, hang=8)


def _stage(page: Page, plan: Plan, stage: Stage, number: int, teller: Teller, seen: set[str], *, verbose: bool) -> None:
    page.blank()
    several = sum(bool(s.actions) for s in plan.stages) > 1
    title = f"Stage {number}, {stage.name}" if several else "To do"
    meaning = words.STAGES.get(stage.name, "" if several else stage.name)
    page.line((title, "bold"), f": {meaning}" if meaning else "", hang=2)
    if stage.forecast:
        known = (
            f"from the pool as last read at {words.utc(plan.last_known_at)}"
            if plan.last_known_at is not None
            else "without any earlier reading of this pool"
        )
        page.line(
            ("FORECAST", "bold yellow"), f" {known}. It is planned again from what is read by then.", indent=2, hang=2
        )
    for group in _grouped(stage.actions, verbose=verbose):
        show(page, group, teller, seen, verbose=verbose, indent=2)


def _key(action: Action) -> tuple[str, str, str]:
    return (action.verb, action.to.kind if action.to else "", action.to.name if action.to else "")


def _grouped(actions: Sequence[Action], *, verbose: bool) -> list[list[Action]]:
    """The actions in order; when there are very many, those alike together, where the first of them stood."""
    if verbose or len(actions) <= GROUP_ABOVE:
        return [[a] for a in actions]
    found: dict[object, list[Action]] = {}
    for number, action in enumerate(actions):
        found.setdefault(_key(action) if action.verb in words.MANY else number, []).append(action)
    return list(found.values())


def show(
    page: Page,
    group: Sequence[Action],
    teller: Teller,
    seen: set[str],
    *,
    verbose: bool,
    indent: int,
    held: bool = False,
    why: bool = True,
) -> None:
    """One action (or several alike): sign, words, why, and the proof that it rests on.

    `seen` collects the proofs that were told in full: another action that rests on them names the host only.
    """
    first = group[0]
    mark = f"? {SIGNS[first.verb]}" if held else SIGNS[first.verb]
    inner = indent + 4
    if len(group) == 1:
        was = f" (was {first.before})" if first.before and SIGNS[first.verb] == "~" else ""
        what = teller.does(first) + was
    else:
        listed = [teller.name(a.target) for a in group[:_NAMES_SHOWN]]
        more = len(group) - len(listed)
        tail = f" and {more} more (--verbose names all)" if more else ""
        what = f"{words.does_many(group)}: {', '.join(listed)}{tail}"
    page.line((mark, STYLES[mark[0]]), " ", what, indent=indent, hang=inner)
    proofs = list(dict.fromkeys(p for a in group for p in teller.rests_on(a))) if why else []
    again = bool(proofs) and all(p in seen for p in proofs)
    rests = f" [rests on the proof for {words.names(first.certificate_of)}]" if again else ""
    reasons = list(dict.fromkeys(a.why for a in group if a.why)) if why else []
    if len(reasons) > 3:
        reasons = [*reasons[:2], f"and {len(reasons) - 2} other reasons (--verbose gives each)"]
    for number, reason in enumerate(reasons, start=1):
        page.line((f"why: {reason}{rests if number == len(reasons) else ''}", "dim"), indent=inner, hang=inner + 2)
    if proofs and not again:
        page.line(("rests on: ", "bold"), "; ".join(proofs), indent=inner, hang=inner + 2)
        seen.update(proofs)
    for doomed in first.kills if len(group) == 1 else ():
        who, may = f"{words.name(doomed.name)} on {words.name(doomed.host)}", first.verb is Verb.PROMOTE
        told = f"{who} ({doomed.why})" if may else f"{who}, for {doomed.why}"
        page.line(("may kill: " if may else "kills: ", "bold red"), told, indent=inner, hang=inner + 2)
    if verbose and len(group) == 1:
        change = " → ".join(x for x in (first.before, first.after) if x)
        page.line((f"{first.level.word} level" + (f"; {change}" if change else ""), "dim"), indent=inner)


def _withheld(page: Page, plan: Plan, teller: Teller, *, verbose: bool) -> None:
    if not plan.withheld:
        return
    page.blank()
    page.line(("Withheld", "bold magenta"), ": right, but not allowed now")

    together: dict[tuple[str, str], list[Action]] = {}
    for held in plan.withheld:
        together.setdefault((held.why, held.remedy), []).append(held.action)
    for (why, remedy), items in together.items():
        for group in _grouped(items, verbose=verbose):
            show(page, group, teller, set(), verbose=verbose, indent=2, held=True, why=verbose or len(items) < 3)
        page.line(("withheld because ", "bold"), why, indent=6)
        page.next(remedy, indent=6)


def _unmet(page: Page, unmet: Sequence[Unmet], teller: Teller) -> None:
    if not unmet:
        return
    page.blank()
    page.line(("Wishes that can't be met now", "bold"))
    together: dict[tuple[str, str], list[Unmet]] = {}
    for one in unmet:
        together.setdefault((one.why, one.remedy), []).append(one)
    for (why, remedy), items in together.items():
        for wish in items:
            place = f" ({wish.place})" if wish.place else ""
            page.line(("x", "bold red"), " ", f"{teller.thing(wish.target)}: {wish.wish}{place}", indent=2, hang=6)
        page.line(f"why: {why}", indent=6, hang=8)
        page.next(remedy, indent=6)


def _notes(page: Page, plan: Plan) -> None:
    if not plan.notes:
        return
    page.blank()
    page.line(("Notes", "bold"))
    for note in plan.notes:
        page.line("- ", note, indent=2, hang=4)


def _differences(page: Page, plan: Plan) -> None:
    if not plan.differences:
        return
    page.blank()
    page.line(("Differences, field by field", "bold"))
    for what, difference in plan.differences:
        page.line(f"{what}:", indent=2)
        for line in difference.splitlines():
            page.line(line.strip(), indent=4, hang=6)


def _kept(page: Page, plan: Plan, *, verbose: bool) -> None:
    if not plan.kept:
        return
    page.blank()
    if not verbose:
        page.line((f"{words.count(len(plan.kept), 'object')} left alone (--verbose says why).", "dim"))
        return
    page.line(("Left alone", "bold"))
    for kept in plan.kept:
        page.line(f"{words.thing(kept.target)}: {kept.why}", indent=2, hang=6)
