"""The benchmark's own arithmetic; its numbers are for `make bench`."""

from __future__ import annotations

import pytest

from tests.bench.measure import Number, best, growth, table


def test_growth_is_the_exponent() -> None:
    assert growth(1.0, 10.0, 10) == pytest.approx(1.0)
    assert growth(2.0, 18.0, 3) == pytest.approx(2.0)


def test_a_missed_target_is_shouted_about() -> None:
    fast, slow = Number("a", 700.0, "calls/s", 500.0, at_least=True), Number("bb", 1.5, "s", 1.0, note="why")
    assert (fast.good, slow.good, Number("c", 9.0, "s").good) == (True, False, True)
    assert table([fast, slow]).splitlines() == [
        "a         700 calls/s    ≥ 500",
        "bb        1.5 s          ≤ 1  MISSED      why",
    ]


def test_the_best_of_several_is_taken() -> None:
    calls: list[int] = []
    assert best(lambda: calls.append(1), times=4) >= 0
    assert len(calls) == 4
