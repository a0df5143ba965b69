"""2,000 random schedules, in shards for xdist. `make soak N=…` runs more; `python -m tests.soak SEED` replays one."""

from __future__ import annotations

import re

import pytest

from tests.soak.__main__ import outcome
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
        (1031665, "two machines, one of which can't see whom the other promoted: told in docs/safety.md"),
    ],
)
def test_what_long_soaks_found_stays_found(seed: int, what: str) -> None:
    assert not outcome(seed)[1], what
