"""What a solver from outside proposes is taken only where it is better and can be replayed; its bound likewise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.place import solve as front
from reconciler.core.place.ask import Places, Proposal, asked
from reconciler.core.place.problem import Answer, Bound, Item, Problem, Spot, reach
from reconciler.core.plan import Verb
from reconciler.core.planner import make_plan
from reconciler.core.whereabouts import bound_words
from tests.core.build import GIB, NOW, PoolBuilder, only, survey, wanted, wish
from tests.support.brute import broken_rule

ALL = frozenset({0, 1, 2})


def item(name: str, here: int | None, may: frozenset[int] = ALL, need: int = 4) -> Item:
    return Item(name, name, need, need, here=here, can=ALL, may=may, movable=here is not None, yields=here is not None)


def pool(third: int = 4) -> Problem:
    """Two VMs that must change places over a third host; and one that is to start and fits nowhere."""
    spots = (Spot("1", "xen01", 0), Spot("2", "xen02", 0), Spot("3", "xen03", third))
    items = (item("a", 0, frozenset({1})), item("b", 1, frozenset({0})), item("c", None, need=9))
    return Problem(spots, items)


NOTHING_DONE = Answer(unplaced=(2,), unmet=(0, 1), bound=Bound(False))


def saying(told: Proposal | None) -> tuple[list[Places], object]:
    seen: list[Places] = []

    def solver(problem: Problem, hint: Places) -> Proposal | None:
        seen.append(hint)
        return told

    return seen, solver


def test_what_is_better_and_can_be_replayed_is_taken_with_its_bound() -> None:
    problem = pool()
    least = reach(problem, Answer(unplaced=(2,)))
    seen, solver = saying(Proposal((1, 0, None), least, 2))
    found = asked(problem, NOTHING_DONE, solver)  # type: ignore[arg-type]
    assert broken_rule(problem, found) == ""
    assert (len(found.moves), found.unmet, found.bound, found.proved) == (3, (), Bound(True, 2), False)
    assert seen == [(0, 1, None)], "it gets the answer so far as a hint"


@pytest.mark.parametrize(
    ("what", "third", "at"),
    [
        ("no room to change places", 3, (1, 0, None)),
        ("a start without room", 4, (1, 0, 2)),
        ("a VM that runs is down", 4, (None, 0, None)),
        ("where it must not run", 4, (2, 1, None)),
        ("a host that is none", 4, (7, 1, None)),
        ("too few", 4, (1, 0)),
        ("no better", 4, (0, 1, None)),
    ],
)
def test_what_cannot_be_done_or_is_no_better_is_refused(what: str, third: int, at: tuple[int | None, ...]) -> None:
    _, solver = saying(Proposal(at, None))
    assert asked(pool(third), NOTHING_DONE, solver) == NOTHING_DONE, what  # type: ignore[arg-type]


def test_a_worse_answer_and_a_bound_that_the_answer_belies_are_refused() -> None:
    problem = pool()
    _, good = saying(Proposal((1, 0, None)))
    best = asked(problem, NOTHING_DONE, good)  # type: ignore[arg-type]
    least = reach(problem, best)
    for told in (Proposal((0, 1, None)), Proposal((1, 0, None), least, 4), Proposal((1, 0, None), (0,), 1), None):
        _, solver = saying(told)
        assert asked(problem, best, solver) == best  # type: ignore[arg-type]


def test_an_answer_that_meets_its_bound_is_proved() -> None:
    problem = replace(pool(), items=(item("a", 0, frozenset({2})), item("b", 1), item("c", None, need=9)))
    _, solver = saying(Proposal((2, 1, None), reach(problem, Answer(unplaced=(2,))), 1))
    found = asked(problem, replace(NOTHING_DONE, unmet=(0,)), solver)  # type: ignore[arg-type]
    assert (len(found.moves), found.proved) == (1, True)


def test_a_solver_is_asked_only_where_not_everything_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, solver = saying(None)
    problem = pool()
    small = front.place(problem, solver)  # type: ignore[arg-type]
    assert (seen, small.proved, small.bound) == ([], True, None)
    monkeypatch.setattr(front, "SMALL", 0)
    big = front.place(problem, solver)  # type: ignore[arg-type]
    assert (len(seen), big.proved, big.bound) == (1, False, Bound(False))


@pytest.mark.parametrize("asking", [False, True])
def test_a_plan_asks_and_says_the_bound(monkeypatch: pytest.MonkeyPatch, asking: bool) -> None:
    monkeypatch.setattr(front, "SMALL", 0)
    built = PoolBuilder()
    for number in (1, 2, 3):
        built.vm(f"web{number}", on=f"xen0{number}", memory=10 * GIB)
    for number in (1, 2, 3):
        built.vm(f"app{number}", on=f"xen0{number}", memory=15 * GIB)
    built.vm("db01", memory=62 * GIB)
    seen, solver = saying(None)
    wishes = [wish(vm.name) for vm in built.vms.values()]
    plan = make_plan(wanted(*wishes), survey(), now=NOW, state=built.state(), solver=solver if asking else None)  # type: ignore[arg-type]
    said = [n for n in plan.notes if n.startswith("2 moves for hard wishes and for room; every plan")]
    assert len(said) == 1
    assert ("needs at least 1" in said[0], "OR-tools" in said[0], bool(seen)) == (True, not asking, asking)
    assert len(only(plan, Verb.MIGRATE)) == 2
    assert only(plan, Verb.START) == ["db01"]


@pytest.mark.parametrize(
    ("bound", "unplaced", "asked", "words"),
    [
        (None, (), False, ""),
        (Bound(True, 3), (), True, "3 moves for hard wishes and for room; no plan that achieves as much needs fewer"),
        (
            Bound(True, 2),
            (2,),
            True,
            "3 moves for hard wishes and for room; no order of moves achieves more; every plan that achieves as much "
            "needs at least 2",
        ),
        (
            Bound(False),
            (2,),
            False,
            "3 moves for hard wishes and for room; not every order of moves was looked at in a pool of this size, so "
            "another may find room for more; OR-tools looks further, if installed: pipx install '.[solver]'",
        ),
    ],
)
def test_the_bound_is_said(bound: Bound | None, unplaced: tuple[int, ...], asked: bool, words: str) -> None:
    moves = front.place(pool()).moves
    assert len(moves) == 3
    assert bound_words(Answer(moves=moves, unplaced=unplaced, bound=bound), asked=asked) == words


def test_room_is_not_made_beside_one_that_is_about_to_start() -> None:
    """Found by soak seed 9005253: its start is no item of the problem, and the checker refused the whole plan."""
    spots = tuple(Spot(str(n), f"xen0{n + 1}", 8) for n in range(3))
    log = replace(item("log-1", 0, frozenset({1, 2})), apart="b", priority=3)
    mail = replace(item("mail-1", 2, frozenset({1, 2})), apart="b")
    beside = Problem(spots, (log, mail), 0, {"apart:b": {1: 1}})
    assert front.place(beside).moves == ()
    assert len(front.place(replace(beside, others={})).moves) == 1


def test_no_wish_is_met_by_parting_a_group() -> None:
    """Found by soak seed 9005067: the checker refused the whole plan."""
    spots = (Spot("1", "xen01", 4), Spot("2", "xen02", 0), Spot("3", "xen03", 0))
    parts = replace(item("web-2", 1), together="t")
    stays = replace(item("ci-1", 1), together="t", movable=False, yields=False)
    wants = replace(item("cache-1", 0, frozenset({1})), priority=3)
    answer = front.place(Problem(spots, (parts, stays, wants)))
    assert (answer.moves, answer.unmet) == ((), (2,))
    assert len(front.place(Problem(spots, (replace(parts, together=""), stays, wants))).moves) == 2
