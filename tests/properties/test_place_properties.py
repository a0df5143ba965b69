"""The solver against brute force: on small pools it is feasible, reaches all that can be reached, and moves least."""

from __future__ import annotations

import pytest

from reconciler.core.place.problem import reach
from reconciler.core.place.solve import _greedy, place
from tests.support.brute import broken_rule, optimum, random_problem


@pytest.mark.parametrize("hundred", range(25))
def test_small_pools_are_solved_as_well_as_possible(hundred: int) -> None:
    for seed in range(hundred * 100, hundred * 100 + 100):
        problem = random_problem(seed)
        answer = place(problem)
        assert broken_rule(problem, answer) == "", seed
        assert (reach(problem, answer), len(answer.moves)) == optimum(problem), seed
        assert answer.proved, seed


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_of_greedy_answer_is_feasible(seed: int) -> None:
    for number in range(40):
        problem = random_problem(1_000_000 + seed * 40 + number, hosts=8, vms=40)
        for tight in (False, True):
            answer = _greedy(problem, tight=tight, tasteful=True)
            assert broken_rule(problem, answer) == "", number
