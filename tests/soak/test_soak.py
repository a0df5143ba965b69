"""2,000 random schedules, in shards for xdist. `make soak N=…` runs more; `python -m tests.soak SEED` replays one."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from reconciler.core.wanted import MemberState, PlacementWish, SelectorKind, VmWish, WantedState
from tests.soak.__main__ import outcome
from tests.soak.placing import faults_of, of_migration
from tests.soak.schedule import generate
from tests.soak.shrink import shrink
from tests.soak.watch import Watch
from tests.soak.world import World, play

SCHEDULES = 2000
SHARDS = 16


@pytest.mark.parametrize("shard", range(SHARDS))
def test_no_schedule_makes_xenrec_do_harm(shard: int) -> None:
    broken = []
    for seed in range(shard, SCHEDULES, SHARDS):
        _, found = outcome(seed)
        broken += [f"python -m tests.soak {seed} --shrink   # {text}" for text in found[:1]]
    assert not broken, "\n".join(broken)


def test_a_schedule_is_the_same_every_time() -> None:
    logs: list[list[str]] = [[], []]
    for log in logs:
        play(generate(44), log)
    same = [[re.sub(r'"machine": "\w+"', "", line) for line in log] for log in logs]
    assert same[0] == same[1]
    assert any("xenrec" in line for line in logs[0])


def test_what_is_broken_is_found_and_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch is no ornament: with a planner that starts what may run elsewhere it cries out."""
    monkeypatch.setattr(Watch, "_burial", lambda self, *_: self.blame("I1", "every burial is a crime here"))
    seed = next(s for s in range(400) if any(v.invariant == "I1" for v in play(generate(s))))
    small = shrink(generate(seed))
    assert len(small.steps) <= len(generate(seed).steps)
    assert any(v.invariant == "I1" for v in play(small))


def test_wishes_about_places_are_drawn_of_every_kind() -> None:
    drawn = [World(s).wanted for s in map(generate, range(0, 120, 3)) if s.pool.vms > 2]
    policies = [w.policy for w in drawn]
    places = [vm.placement for w in drawn for vm in w.vms]
    assert {p.rebalance for p in policies} == {True, False}
    assert {0, 1} < {p.reserve for p in policies}
    assert len({p.cool_down for p in policies}) == len({p.shed for p in policies}) == 3
    assert all(any(getattr(p, key) for p in places) for key in ("apart", "together", "spread", "require", "avoid"))
    assert not any(vm.placement.apart for vm in World(generate(1023054)).wanted.vms)


@pytest.mark.parametrize(
    ("placement", "hosts", "fault"),
    [
        (PlacementWish(avoid=("xen01",)), ("xen01", "xen02"), "a: it runs on xen01, which its entry forbids"),
        (PlacementWish(require=("xen02",)), ("xen01", "xen02"), "a: it runs on xen01, which its entry forbids"),
        (PlacementWish(apart="g"), ("xen01", "xen01"), "a: another of group g (apart) runs on xen01 too"),
        (PlacementWish(together="g"), ("xen01", "xen02"), "a: another of group g (together) runs on xen02"),
        (PlacementWish(require=("xen01",), apart="g"), ("xen01", "xen02"), ""),
        (PlacementWish(together="g"), ("xen01", "xen01"), ""),
        (PlacementWish(together="g"), ("xen01", None), ""),
    ],
)
def test_a_hard_wish_that_does_not_hold_is_seen(
    placement: PlacementWish, hosts: tuple[str | None, str | None], fault: str
) -> None:
    one = VmWish(SelectorKind.UUID, "a", WantedState.RUNNING, placement=placement)
    other = replace(one, value="b", placement=replace(placement, avoid=(), require=()))
    there = {uuid: host for uuid, host in zip("ab", hosts, strict=True) if host is not None}
    assert faults_of(there, {"a": one, "b": other}).get("a", "") == fault.removeprefix("a: ")
    assert faults_of(there, {"a": replace(one, state=WantedState.HALTED), "b": other}).get("a", "") == ""


def test_a_move_that_nothing_asks_for_is_blamed_and_so_is_one_to_a_forbidden_host() -> None:
    world = World(next(s for s in map(generate, range(1, 99, 3)) if s.pool.vms > 2 and s.pool.hosts > 2))
    lab, watch = world.lab, world.actors[0].watch
    db = lab.masters()[0].toolstack.db  # type: ignore[union-attr]
    assert db is not None
    vm = next(v for v in db.tables["VM"].values() if lab.world.copies(v["uuid"]))
    watch.wanted = replace(
        world.wanted, members=tuple(replace(m, state=MemberState.ACTIVE) for m in world.wanted.members)
    )
    wish = VmWish(SelectorKind.UUID, vm["uuid"], WantedState.RUNNING, placement=PlacementWish(avoid=("xen02",)))
    watch.wishes = {vm["uuid"]: wish}
    target = next(h for h in db.tables["host"].values() if h["name_label"] == "xen02")
    of_migration(watch, db, vm, target, wish)
    assert [v.invariant for v in watch.found] == ["I8", "I5"]
    assert "no hard wish, start or maintenance asks for it" in watch.found[1].text
    watch.wanted = replace(watch.wanted, policy=replace(watch.wanted.policy, rebalance=True, cool_down=60.0))
    wish = replace(wish, placement=PlacementWish())
    watch.wishes = {vm["uuid"]: wish}
    of_migration(watch, db, vm, target, wish)  # the one before left it where it was
    assert len(watch.found) == 2
    vm["resident_on"] = next(
        ref for ref, host in db.tables["host"].items() if ref != vm["resident_on"] and host is not target
    )
    of_migration(watch, db, vm, target, wish)  # nor is a second leg of the same run one
    assert len(watch.found) == 2
    vm["resident_on"] = next(ref for ref, host in db.tables["host"].items() if host is target)
    lab.run(lab.now + 5)
    watch.begin(attended=True)
    of_migration(watch, db, vm, target, wish)
    assert "5 s after its last move" in watch.found[2].text


def test_the_physical_truth_counts_not_the_recorded_one() -> None:
    """A start of a VM that runs elsewhere is blamed though the database has it as halted."""
    world = World(next(s for s in map(generate, range(100)) if s.pool.vms > 2 and s.pool.hosts > 2 and not s.pool.ha))
    lab, watch = world.lab, world.actors[0].watch
    master = lab.masters()[0]
    assert master.toolstack is not None
    db = master.toolstack.db
    assert db is not None
    ref, vm = next((r, v) for r, v in db.tables["VM"].items() if lab.world.copies(v["uuid"]))
    db.update("VM", ref, power_state="Halted", resident_on="OpaqueRef:NULL")
    watch.sample()
    where = {c.host for c in lab.world.copies(vm["uuid"])}
    target = next(r for r, h in db.tables["host"].items() if h["name_label"] not in where)
    watch.call(master.address, "Async.VM.start_on", ["session", ref, target, False, False])
    assert "I1" in {v.invariant for v in watch.found}
    assert "I7" in {v.invariant for v in watch.found}


@pytest.mark.parametrize(
    ("seed", "what"),
    [
        (305794, "a start where the VM runs already, which the hypervisor refuses: the watch was wrong"),
        (1010395, "an affinity was sent again without another look"),
        (1021536, "the office was handed over by somebody else, and nobody said who was master"),
        (1023054, "a master forgot a start, and the host on which the VM runs hung: it was started twice"),
        (1028861, "a promotion that met a closed door counted as sent: the watch was wrong"),
        (4001630, "members in emergency mode repeat what their masters say: one was said to follow itself"),
        (4003108, "all in emergency mode, and this machine never read the pool: people read the role files"),
        (4006586, "a start that was cut off left a disk locked for a host that was disabled and empty already"),
        (4006649, "as 4003108, with hosts that are off"),
        (5002372, "a move that was cut off is tried again on its target: the watch was wrong"),
        (5100007, "another machine's whole run between our last look and the call: the watch was wrong"),
        (5100912, "a refresh that did not get out was sent again without another look"),
        (5013065, "the last master read was cut off, and somebody pointed the members at a host that died"),
        (5114152, "a candidate that somebody pointed elsewhere was waited for for ever"),
        (5105136, "a successor in emergency mode, and the plan asked for a proof of its death"),
        (5122123, "a hard shutdown during a migration: the lab let the domain run on unrecorded"),
        (10018568, "a line that comes and goes hid a master that another machine made: told in docs/safety.md"),
        (10030295, "what was to be stopped for a maintenance was stopped where another run had brought it"),
        (10021425, "a replaced master was back, alone and cut off, when its successor died: told in docs/safety.md"),
        (10509418, "an attestation saw that HA is on, and forgot it; then the master was lost"),
        (10034412, "the second leg of one plan's move over a third host is no move of its own: the watch was wrong"),
        (10533312, "an office given back before its promotion was confirmed was asked for again in each run"),
        (10506570, "a migration that did not happen and is sent again is no second move: the watch was wrong"),
        (10005617, "two machines attested one death, the second for less long: the watch was wrong"),
        (1031665, "two machines, one of which can't see whom the other promoted: told in docs/safety.md"),
    ],
)
def test_what_long_soaks_found_stays_found(seed: int, what: str) -> None:
    assert not outcome(seed)[1], what
