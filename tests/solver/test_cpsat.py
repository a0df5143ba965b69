"""OR-tools against brute force and against the heuristic; without it xenrec works as ever."""

from __future__ import annotations

import importlib.util

import pytest

from reconciler.core.place import solve as front
from reconciler.core.place.problem import reach
from reconciler.solver import cpsat, installed
from tests.support.brute import broken_rule, optimum, random_problem

needed = pytest.mark.skipif(importlib.util.find_spec("ortools") is None, reason="OR-tools is not installed")


def test_without_it_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.solver.find_spec", lambda name: None)
    assert installed() is None


@needed
def test_where_it_is_installed_it_is_asked() -> None:
    assert installed() is cpsat.propose


@needed
def test_in_small_pools_it_proves_what_brute_force_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "SMALL", 0)  # as if they were too big to look at everything
    proved = 0
    for seed in range(200):
        problem = random_problem(seed)
        if front.place(problem).bound is None:
            continue
        answer = front.place(problem, cpsat.propose)
        best = optimum(problem)
        assert broken_rule(problem, answer) == "", seed
        assert answer.bound is not None
        if answer.bound.reached:
            assert reach(problem, answer) == best[0], seed
            assert answer.bound.moves <= best[1], seed
        if answer.proved:
            assert (reach(problem, answer), len(answer.moves)) == best, seed
            proved += 1
    assert proved > 50


@needed
def test_it_finds_room_where_the_heuristic_does_not_and_twice_the_same() -> None:
    better = 0
    for seed in range(1_000_000, 1_000_040):
        problem = random_problem(seed, hosts=6, vms=24)
        ours = front.place(problem)
        if ours.bound is None:
            continue
        theirs = front.place(problem, cpsat.propose)
        assert broken_rule(problem, theirs) == "", seed
        assert (reach(problem, theirs), len(theirs.moves)) <= (reach(problem, ours), len(ours.moves)), seed
        if theirs.moves != ours.moves:
            better += 1
            assert front.place(problem, cpsat.propose) == theirs, seed
    assert better


@needed
def test_a_pool_beyond_its_measure_is_left_to_the_heuristic(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = random_problem(1_000_001, hosts=6, vms=24)
    monkeypatch.setattr(cpsat, "MOST", 1)
    assert cpsat.propose(problem, [item.here for item in problem.items]) is None
    monkeypatch.undo()
    assert cpsat.propose(problem, [item.here for item in problem.items], limit=0.0) is None
