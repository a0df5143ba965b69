"""The solver against brute force: on small pools it is feasible, reaches all that can be reached, and moves least."""

from __future__ import annotations

from dataclasses import replace

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


@pytest.mark.parametrize("hundred", range(4))
def test_devices_are_counted(hundred: int) -> None:
    """GPUs and virtual functions, of which hosts have few: as good as the best, and never more than there are."""
    scarce = 0
    for seed in range(2_000_000 + hundred * 100, 2_000_100 + hundred * 100):
        problem = random_problem(seed, devices=True)
        answer = place(problem)
        assert broken_rule(problem, answer) == "", seed
        assert (reach(problem, answer), len(answer.moves)) == optimum(problem), seed
        without = replace(problem, items=tuple(replace(i, takes=()) for i in problem.items))
        scarce += reach(problem, answer) != reach(problem, place(without))
    assert scarce > 5, scarce


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_of_greedy_answer_is_feasible(seed: int) -> None:
    for number in range(40):
        problem = random_problem(1_000_000 + seed * 40 + number, hosts=8, vms=40)
        for tight in (False, True):
            answer = _greedy(problem, tight=tight, tasteful=True)
            assert broken_rule(problem, answer) == "", number
