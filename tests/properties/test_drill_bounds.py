"""What bounds say of the loss of several hosts is what the planner finds, where it plans them."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core import drill as drills
from reconciler.core.diagnose import diagnose
from reconciler.core.drill import drill
from reconciler.core.drill_cases import Case, Kind
from reconciler.core.model import Vm
from reconciler.core.wanted import Brake, PlacementWish, Policy, VmWish
from tests.core.build import GIB, NOW, PoolBuilder, survey, wanted, wish


class Pool(PoolBuilder):
    """With the wishes that were made for its VMs."""

    wishes: tuple[VmWish, ...] = ()


def cases(seed: int, planned: int) -> tuple[Pool, dict[tuple[str, ...], Case]]:
    """Every loss of one and of two hosts of a random pool, asking the planner `planned` much for sets."""
    rng = random.Random(seed)
    hosts = rng.randint(3, 5)
    pool = Pool(hosts, memory=16 * GIB)
    names = list(pool.hosts)
    pool.sr("pair", shared=True, on=rng.sample(names, 2))
    wishes = []
    for i in range(rng.randint(1, 12)):
        placement = PlacementWish(avoid=tuple(rng.sample(names, 1)) if rng.random() < 0.2 else ())
        pool.vm(
            f"vm{i}",
            on=rng.choice(names),
            sr=rng.choice(["san-1", "san-1", "pair", f"local-{rng.choice(names)}"]),
            memory=rng.choice((1, 2, 4, 7)) * GIB,
        )
        wishes.append(wish(f"vm{i}", placement=placement))
    pool.wishes = tuple(wishes)
    w = wanted(*wishes, hosts=hosts, policy=Policy(brake=Brake(0.0, 2)))
    seen, state = survey(hosts=hosts), pool.state()
    before = drills.MOST_PLANNED
    drills.MOST_PLANNED = planned
    try:
        found = drill(w, seen, diagnose(w, seen, (), now=NOW, known=state), state, depth=2)
    finally:
        drills.MOST_PLANNED = before
    return pool, {case.hosts: case for case in found.cases}


def down_by_part(found: dict[tuple[str, ...], Case], hosts: tuple[str, ...]) -> set[str]:
    return {x.vm.name for host in hosts for x in found[host,].lost}


def fits(pool: Pool, gone: tuple[str, ...], lost: set[str], by_part: set[str]) -> bool:
    """Whether the VMs of lost hosts can be put on the others, found by trying; the pool's records as they are."""
    state = pool.state()
    refs = {h.name: ref for ref, h in state.hosts.items()}
    dead = {refs[name] for name in gone}
    free = {
        ref: h.memory_total - sum(v.memory_dynamic_min for v in state.vms.values() if v.resident_on == ref)
        for ref, h in state.hosts.items()
        if ref not in dead
    }
    avoid = {w.value: {refs[n] for n in w.placement.avoid} for w in pool.wishes}
    todo = [v for v in state.vms.values() if v.resident_on in dead and v.name not in lost | by_part]

    def place(rest: list[Vm]) -> bool:
        if not rest:
            return True
        vm, *others = rest
        srs = {state.vdis[state.vbds[vbd].vdi or ""].sr for vbd in vm.vbds}
        for ref, room in list(free.items()):
            if ref in avoid[vm.name] or any((ref, sr) not in state.attached for sr in srs):
                continue
            if room >= vm.memory_dynamic_min:
                free[ref] = room - vm.memory_dynamic_min
                found = place(others)
                free[ref] = room
                if found:
                    return True
        return False

    return place(sorted(todo, key=lambda v: -v.memory_dynamic_min))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9))
def test_bounds_never_promise_what_the_planner_denies(seed: int) -> None:
    _, planned = cases(seed, 10**9)
    pool, bounded = cases(seed, 0)
    assert planned.keys() == bounded.keys()
    for hosts, case in bounded.items():
        exact = planned[hosts]
        assert exact.planned
        assert case.planned == (len(hosts) == 1 or not case.running)
        assert case.by_part == exact.by_part
        assert {x.vm.name for x in case.lost if x.kind is Kind.STORAGE} == {
            x.vm.name for x in exact.lost if x.kind is Kind.STORAGE
        }
        roomless = any(x.kind is Kind.ROOM for x in case.lost)
        if case.sure and roomless:
            assert any(x.kind is Kind.ROOM for x in exact.lost), (hosts, case, exact)
        if not case.planned and not roomless:
            assert fits(pool, hosts, {x.vm.name for x in case.lost}, down_by_part(bounded, hosts)), (hosts, case)
