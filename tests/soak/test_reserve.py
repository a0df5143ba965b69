"""The watch over `policy.placement.reserve` can fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reconciler.core.wanted import MemberState, SelectorKind, VmWish, WantedState
from reconciler.lab.placement import fits
from reconciler.lab.rules import start_memory
from tests.soak.reserve import kept, places_of, worst
from tests.soak.rest import Rest
from tests.soak.schedule import generate
from tests.soak.world import World


def tight() -> tuple[World, Any, str, str, str, str]:
    """A pool of three that should absorb the loss of one, one declared VM in it, and room for that on one host only:
    world, database, VM, where it runs, the host with room, the third."""
    for seed in range(1, 600, 3):
        schedule = generate(seed)
        if schedule.pool.hosts != 3 or not schedule.pool.vms:
            continue
        world = World(schedule)
        toolstack = world.lab.masters()[0].toolstack
        assert toolstack is not None
        db = toolstack.db
        assert db is not None
        hosts = db.tables["host"]
        places = places_of(db)
        vm = next((v for v in sorted(places) if all(fits(db, v, host, memory=False) for host in hosts)), None)
        if vm is None:
            continue
        here = places[vm]
        record = db.tables["VM"][vm]
        roomy, third = sorted(set(hosts) - {here})
        for ref, host in hosts.items():
            used = sum(
                v["memory_dynamic_min"] + v["memory_overhead"]
                for v in db.tables["VM"].values()
                if v["resident_on"] == ref
            )
            more = start_memory(record) if ref == roomy else -start_memory(record) if ref == here else 0
            db.update("host_metrics", host["metrics"], memory_total=host["memory_overhead"] + used + more)
        members = tuple(replace(m, state=MemberState.ACTIVE) for m in world.wanted.members)
        watch = world.actors[0].watch
        watch.wanted = replace(world.wanted, members=members, policy=replace(world.wanted.policy, reserve=1))
        watch.wishes = {record["uuid"]: VmWish(SelectorKind.UUID, record["uuid"], WantedState.RUNNING)}
        return world, db, vm, here, roomy, third
    raise AssertionError("no schedule has such a pool")


def test_a_move_for_a_soft_wish_that_spends_the_reserve_is_blamed() -> None:
    world, db, vm, _, roomy, third = tight()
    watch = world.actors[0].watch
    uuid, target = db.tables["VM"][vm]["uuid"], {ref: host["uuid"] for ref, host in db.tables["host"].items()}
    kept(watch, db, uuid, target[third], "db01")
    assert watch.found == []
    kept(watch, db, uuid, target[roomy], "db01")
    assert [v.invariant for v in watch.found] == ["I5"]
    assert "moves db01 for a soft wish" in watch.found[0].text
    watch.wanted = replace(watch.wanted, policy=replace(watch.wanted.policy, reserve=0))
    kept(watch, db, uuid, target[roomy], "db01")
    assert len(watch.found) == 1


def test_what_the_reserve_does_not_cover_must_be_told() -> None:
    world, db, vm, _, roomy, _ = tight()
    watch = world.actors[0].watch
    assert sum(worst(watch, db, places_of(db))) == 0
    assert sum(worst(watch, db, {**places_of(db), vm: roomy})) == 1
    db.update("VM", vm, resident_on=roomy)
    rest = Rest(world)
    rest.wanted = world.wanted = watch.wanted
    plan = replace(world.actors[0].reconciler().plan(), stages=(), unmet=(), withheld=())
    assert any("loss of hosts leaves 1 VMs down, and the plan is silent" in str(v) for v in rest.prove(plan))
