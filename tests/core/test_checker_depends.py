"""The checker's own reading of dependsOn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.checker import check_plan
from reconciler.core.planner import make_plan
from reconciler.core.wanted import Level, SelectorKind, Wanted
from tests.core.build import NOW, PoolBuilder, survey, verbs, wanted, wish


@pytest.mark.parametrize(
    ("kind", "word"),
    [(SelectorKind.NAME, "b"), (SelectorKind.PATTERN, "b*"), (SelectorKind.UUID, "uuid-b"), (SelectorKind.TAG, "base")],
)
def test_a_start_before_what_it_depends_on_is_refused(kind: SelectorKind, word: str) -> None:
    """Whichever way the entry names the other VM."""
    pool = PoolBuilder()
    pool.vm("a", on=None)
    other = pool.vm("b", on=None, tags=("base",))
    word = other.uuid if kind is SelectorKind.UUID else word
    first = replace(wish(word, "as-is"), kind=kind)
    state, seen = pool.state(), survey()

    def broken(wishes: Wanted) -> tuple[str, ...]:
        return check_plan(made, wishes, seen, state, certificates=(), now=NOW, limit=Level.CROWN)

    made = make_plan(wanted(wish("a"), first), seen, now=NOW, state=state)
    assert verbs(made) == ["start a -> xen01"]
    assert broken(wanted(wish("a"), first)) == ()
    (why,) = broken(wanted(replace(wish("a"), depends_on=(word,)), first))
    assert why.endswith("it depends on b, which does not run before it")
