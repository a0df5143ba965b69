"""The list of guards is that of the source: a line that moved or changed must be looked at again."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants.__main__ import mutate
from tests.mutants.guards import GUARDS, Guard

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("guard", GUARDS, ids=lambda g: g.name)
def test_the_guard_is_where_the_list_says_and_can_be_taken_out(guard: Guard) -> None:
    text = (ROOT / guard.file).read_text(encoding="utf-8")
    mutant = mutate(text, guard)
    assert ast.dump(ast.parse(mutant)) != ast.dump(ast.parse(text))
    for path in guard.tests:
        assert (ROOT / path).exists(), path


def test_every_invariant_that_a_line_can_keep_has_guards() -> None:
    kept = {guard.invariant for guard in GUARDS}
    assert kept >= {"I1", "I2", "I3", "I5", "I6", "I7", "I8", "I9", "I11"}
    assert len({(g.file, g.source) for g in GUARDS}) == len(GUARDS)
