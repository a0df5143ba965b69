"""The checker's own reading of policy.placement.shed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.checker import check_plan
from reconciler.core.planner import make_plan
from reconciler.core.wanted import Level, Policy, Priority, Wanted
from tests.core.build import GIB, NOW, PoolBuilder, survey, verbs, wanted, wish


@pytest.mark.parametrize(
    ("limit", "low", "high"),
    [
        (None, Priority.LOW, Priority.HIGH),  # the policy sheds nothing
        (Priority.LOW, Priority.NORMAL, Priority.HIGH),  # it is above the policy's limit
        (Priority.LOW, Priority.LOW, Priority.LOW),  # what it goes for is no more important
    ],
)
def test_a_vm_is_shed_only_where_the_policy_lets_it_go_for_a_more_important_one(
    limit: Priority | None, low: Priority, high: Priority
) -> None:
    pool = PoolBuilder(hosts=1, memory=8 * GIB)
    pool.vm("batch", on="xen01", memory=6 * GIB)
    pool.vm("db", memory=6 * GIB)
    state, seen = pool.state(), survey(hosts=1)

    def declared(shed: Priority | None, batch: Priority, db: Priority) -> Wanted:
        entries = (replace(wish("db"), priority=db), replace(wish("batch"), priority=batch))
        return wanted(*entries, hosts=1, policy=Policy(shed=shed))

    allowed = declared(Priority.LOW, Priority.LOW, Priority.HIGH)
    made = make_plan(allowed, seen, now=NOW, state=state)
    assert verbs(made) == ["shutdown batch", "start db -> xen01"]

    def broken(wishes: Wanted) -> tuple[str, ...]:
        return check_plan(made, wishes, seen, state, certificates=(), now=NOW, limit=Level.CROWN)

    assert broken(allowed) == ()
    assert any("the manifest declares it running" in why for why in broken(declared(limit, low, high)))
