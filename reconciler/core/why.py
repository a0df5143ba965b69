"""Why a VM, a host, an SR or the master is as it is: what is wished, what is, what was considered, what comes next.

Everything is read from the plan and from what it was made of: nothing is planned here, and nothing is asked. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from reconciler.core.copies import CopyMemory
from reconciler.core.evidence import Diagnosis, Situation, Survey, Verdict
from reconciler.core.model import PoolState
from reconciler.core.plan import Action, Plan, Thing
from reconciler.core.regain import forecast_pool, plan_regain
from reconciler.core.rejoin import as_rejoined
from reconciler.core.select import Selection, select
from reconciler.core.standing import Stand, Standing, Stands, stand
from reconciler.core.wanted import Wanted

KINDS = ("vm", "host", "sr", "master")
"""What can be asked about: KIND/NAME, and "master" alone."""


_STANDINGS = {
    Standing.MAINTENANCE: "is declared in maintenance",
    Standing.SILENT: "does not answer, and nothing proves that it is dead",
    Standing.UNDECLARED: "is not declared in the manifest",
}


class Sort(StrEnum):
    """What a plan says about a thing."""

    DONE = "will be done"
    WITHHELD = "withheld"
    UNMET = "can't be met"
    KEPT = "left alone"


@dataclass(frozen=True, slots=True)
class Wish:
    """One wish in the manifest's words, and the place where it is written ("" for a default)."""

    words: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What the plan says about the thing; `action` where it is about one, `what` in words where it is not."""

    sort: Sort
    why: str
    action: Action | None = None
    what: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Considered:
    """One alternative: a host and why it is or is not possible. `chosen`: the plan takes it, or it is there."""

    name: str
    possible: bool
    why: str
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Because:
    """The whole answer. `short` is the answer in one sentence; `waits` are steps that come first, the first of all
    first; `read_at` is when the pool behind it was read (UTC seconds), None where it never was; `live`: by its master
    in this look, not by an earlier one."""

    target: Thing
    short: str
    wished: tuple[Wish, ...] = ()
    known: tuple[str, ...] = ()
    told: tuple[Told, ...] = ()
    considered: tuple[Considered, ...] = ()
    waits: tuple[Action, ...] = ()
    depends: tuple[str, ...] = ()
    next: str = ""
    read_at: float | None = None
    live: bool = True


class UnknownName(Exception):
    """Nothing of that name: `near` are names that look like it, as one would type them."""

    def __init__(self, what: str, near: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.near = tuple(near)


@dataclass(frozen=True)
class Ground:
    """What an answer is made of. `state`, `stands` and `selection` are None where no pool was ever read; without a
    master they are those of the forecast."""

    wanted: Wanted
    plan: Plan
    survey: Survey
    state: PoolState | None
    stands: Stands | None
    selection: Selection | None
    live: bool
    memory: CopyMemory | None = None
    """What is known of the members' copies of the database."""
    recorded: PoolState | None = None
    """The pool as it was read, before any forecast was made of it."""

    @property
    def read_at(self) -> float | None:
        """When the pool was read, None where it never was."""
        return self.state.read_at if self.state is not None else None

    @property
    def diagnosis(self) -> Diagnosis:
        """Who manages the pool."""
        return self.plan.diagnosis

    def told(self, things: Iterable[Thing]) -> tuple[Told, ...]:
        """What the plan says about any of these, in its own order."""
        keys = {(t.kind, t.uuid or t.name) for t in things}

        def mine(target: Thing) -> bool:
            return bool({(target.kind, target.uuid), (target.kind, target.name)} & keys)

        plan = self.plan
        return (
            *(Told(Sort.DONE, a.why, a) for a in plan.actions if mine(a.target)),
            *(Told(Sort.WITHHELD, h.why, h.action, remedy=h.remedy) for h in plan.withheld if mine(h.action.target)),
            *(Told(Sort.UNMET, u.why, what=u.wish, remedy=u.remedy) for u in plan.unmet if mine(u.target)),
            *(Told(Sort.KEPT, k.why) for k in plan.kept if mine(k.target)),
        )

    def answers(self, name: str) -> bool:
        """The member of that name answered in this look."""
        t = self.survey.of(name)
        return t is None or t.answers

    def standing(self, one: Stand) -> str:
        """Why a host is not one on which VMs can be started now, as a predicate."""
        judged = self.diagnosis.of(one.thing.name)
        if one.standing is Standing.DEAD and judged is not None and judged.verdict is not Verdict.DEAD:
            return "does not answer; nothing is started until it is proved dead"
        if one.standing is Standing.DEAD:
            return f"is dead: {one.why}"
        return _STANDINGS.get(one.standing, f"is {one.standing}: {one.why}")

    def before(self, actions: Sequence[Action]) -> tuple[Action, ...]:
        """Every step that must have succeeded before any of these, in the plan's order: what they follow, and every
        earlier stage."""
        by_id = {a.id: a for a in self.plan.actions}
        needed: set[str] = set()
        last = max((n for n, stage in enumerate(self.plan.stages) if set(stage.actions) & set(actions)), default=0)
        needed |= {a.id for stage in self.plan.stages[:last] for a in stage.actions}
        waiting = [i for a in actions for i in a.follows]
        while waiting:
            one = waiting.pop()
            if one in needed or one not in by_id:
                continue
            needed.add(one)
            waiting.extend(by_id[one].follows)
        return tuple(a for a in self.plan.actions if a.id in needed)

    def next_of(self, told: Sequence[Told]) -> str:
        """The command or step that comes next for what was told: what stands in the way first."""
        for sort in (Sort.WITHHELD, Sort.UNMET):
            for one in told:
                if one.sort is sort and one.remedy:
                    return one.remedy
        if any(t.sort is Sort.DONE for t in told):
            return f"xenrec apply {self.wanted.argument}"
        return "" if told else self.regains()

    def regains(self) -> str:
        """Where nobody manages the pool: what comes next for it, for everything else waits for that; else ""."""
        plan = self.plan
        if self.diagnosis.situation is Situation.MANAGED:
            return ""
        if plan.actions:
            return f"xenrec apply {self.wanted.argument}"
        return self.diagnosis.remedy or next((held.remedy for held in plan.withheld if held.remedy), "")


def ground(
    wanted: Wanted,
    plan: Plan,
    survey: Survey,
    state: PoolState | None,
    last_known: PoolState | None,
    memory: CopyMemory | None = None,
) -> Ground:
    """All that answers are made of, from one look and its plan. Without a master the pool is the one that the plan's
    forecast was made from: the last known, as it will be after the regain stage."""
    if state is not None and plan.diagnosis.situation is Situation.MANAGED:
        stands = stand(wanted, survey, plan.diagnosis, state)
        return Ground(wanted, plan, survey, state, stands, select(wanted, state), True, memory, state)
    if last_known is None:
        return Ground(wanted, plan, survey, None, None, None, False)
    regain = plan_regain(
        wanted, survey, plan.diagnosis, known=last_known, incident=None, memory=memory, now=plan.made_at
    )
    if regain.candidate is None:
        return Ground(wanted, plan, survey, last_known, None, select(wanted, last_known), False, recorded=last_known)
    later, seen, told = forecast_pool(wanted, survey, plan.diagnosis, last_known, regain)
    stands, later = as_rejoined(stand(wanted, seen, told, later), later)
    return Ground(wanted, plan, survey, later, stands, select(wanted, later), False, recorded=last_known)


def parse(words: str) -> tuple[str, str]:
    """("vm", "db01") from vm/db01, ("master", "") from master. Raises UnknownName."""
    kind, slash, name = words.partition("/")
    if kind == "master" and not slash:
        return kind, ""
    if kind in KINDS and kind != "master" and name:
        return kind, name
    alike = get_close_matches(kind, KINDS, 1) or ["vm"]
    near = [f"{k}/{words}" for k in ("vm", "host", "sr")] if not slash else [f"{alike[0]}/{name}"]
    raise UnknownName(f"{words} is not vm/NAME, host/NAME, sr/NAME or master", near)


def near(kind: str, name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Names that look like one that was typed, the most similar first, as one types them."""
    by_fold: dict[str, str] = {}
    for known in names:
        by_fold.setdefault(known.casefold(), known)
    found = get_close_matches(name.casefold(), list(by_fold), n=3, cutoff=0.5)
    parts = [fold for fold in by_fold if len(name) > 2 and name.casefold() in fold and fold not in found]
    return tuple(f"{kind}/{by_fold[fold]}" for fold in (*found, *sorted(parts))[:3])
