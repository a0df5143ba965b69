"""The smallest set of wishes that contradict each other."""

from __future__ import annotations

import random
from itertools import combinations, product

import pytest

from reconciler.core.conflict import Clause, Kind, about, conflict

HOSTS = frozenset({"xen01", "xen02", "xen03"})


def only(vm: str, *hosts: str) -> Clause:
    return Clause(vm, Kind.HOSTS, f"require of {vm}", frozenset(hosts))


def together(vm: str, group: str = "g") -> Clause:
    return Clause(vm, Kind.TOGETHER, f"together of {vm}", group=group)


def apart(vm: str, group: str = "g") -> Clause:
    return Clause(vm, Kind.APART, f"apart of {vm}", group=group)


def test_what_can_be_met_is_no_conflict() -> None:
    assert conflict(HOSTS, [only("a", "xen01"), together("a"), together("b"), apart("c"), apart("d")]) == ()


def test_only_the_wishes_that_contradict_are_named() -> None:
    clauses = [only("a", "xen01"), only("z", "xen02"), together("a"), together("b"), together("c"), only("b", "xen02")]
    assert set(conflict(HOSTS, clauses)) == {clauses[0], clauses[2], clauses[3], clauses[5]}


def test_more_than_there_are_hosts_can_not_be_apart() -> None:
    clauses = [apart(vm) for vm in "abcdef"]
    assert len(conflict(HOSTS, clauses)) == 4
    pair = [only("a", "xen01"), only("b", "xen01"), apart("a"), apart("b"), apart("c")]
    assert set(conflict(HOSTS, pair)) == set(pair[:4])


def test_apart_and_together_at_once() -> None:
    clauses = [together("a"), apart("a", "h"), together("b"), apart("b", "h"), only("a", "xen01")]
    assert set(conflict(HOSTS, clauses)) == set(clauses[:4])


def test_about_follows_groups() -> None:
    clauses = [together("a"), together("b"), apart("b", "h"), apart("c", "h"), only("c", "xen01"), only("d", "xen01")]
    assert about("a", clauses) == tuple(clauses[:5])
    assert about("d", clauses) == (clauses[5],)


def possible(clauses: tuple[Clause, ...]) -> bool:
    """By brute force, every VM on every host."""
    vms = sorted({c.vm for c in clauses})
    for where in product(sorted(HOSTS), repeat=len(vms)):
        at = dict(zip(vms, where, strict=True))
        if all(
            (c.kind is not Kind.HOSTS or at[c.vm] in c.hosts)
            and (
                c.kind is not Kind.TOGETHER
                or all(at[o.vm] == at[c.vm] for o in clauses if (o.kind, o.group) == (c.kind, c.group))
            )
            and (
                c.kind is not Kind.APART
                or all(at[o.vm] != at[c.vm] for o in clauses if (o.kind, o.group) == (c.kind, c.group) and o.vm != c.vm)
            )
            for c in clauses
        ):
            return True
    return False


@pytest.mark.parametrize("seed", range(60))
def test_the_set_is_the_smallest(seed: int) -> None:
    rng = random.Random(seed)
    clauses = []
    for vm in "abcd":
        if rng.random() < 0.7:
            clauses.append(only(vm, *rng.sample(sorted(HOSTS), rng.randint(1, 2))))
        clauses += [make(vm, "g") for make in (together, apart) if rng.random() < 0.3]
    found = conflict(HOSTS, clauses)
    smallest = next(
        (size for size in range(1, len(clauses) + 1) if any(not possible(c) for c in combinations(clauses, size))), 0
    )
    assert len(found) == smallest
    assert not found or not possible(found)
