"""What a promotion kills is named before: on random pools, with VMs that move, start, stop and are made."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from reconciler.core.diagnose import diagnose
from reconciler.core.model import PoolState, Vm
from reconciler.core.port import Fault
from reconciler.core.stale import Chance
from reconciler.core.succession import Option, succession
from reconciler.lab import Release
from tests.support.story import Story


def _move(story: Story, state: PoolState, rng: random.Random) -> None:
    """One thing that a person does to a VM; what XAPI refuses is not done."""
    run = story.reconciler()
    assert state.master is not None
    session = run.sessions.login(story.lab.hosts[state.master.name].address)
    vm: Vm = rng.choice(state.guests)
    host = rng.choice(sorted(state.hosts))
    try:
        match rng.choice(("move", "move", "move", "stop", "start", "make")):
            case "move":
                session.call("VM.pool_migrate", vm.ref, host, {})
            case "stop":
                session.call("VM.hard_shutdown", vm.ref)
            case "start":
                session.call("VM.start_on", vm.ref, host, False, False)
            case "make":
                made = session.call("VM.clone", vm.ref, f"new-{rng.randint(0, 999)}")
                session.call("VM.start_on", made, host, False, False)
    except Fault:
        pass
    finally:
        session.close()


def _chosen(story: Story) -> Option:
    """Who would be promoted now, by the same memory that the next run plans with."""
    run = story.reconciler()
    look = run.observe()
    told = diagnose(story.wanted, look.survey, (), now=look.at, known=look.last_known, incident=None)
    assert told.lost_master is not None
    heirs = succession(
        story.wanted,
        look.survey,
        told,
        [told.lost_master],
        known=look.last_known,
        memory=look.copies,
        incident=None,
        now=look.at,
    )
    assert heirs.first is not None
    return heirs.first


@pytest.mark.parametrize("seed", range(16))
def test_whatever_a_promotion_kills_was_named_and_what_will_die_for_sure_dies(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    release = rng.choice((Release.V24_16, Release.CLASSIC))
    story = Story.of(tmp_path, hosts=rng.choice((3, 4)), vms=10, seed=seed, release=release)
    for _ in range(rng.randint(1, 6)):
        state = story.reconciler().observe().state
        assert state is not None
        _move(story, state, rng)
        story.wait(rng.choice((1.0, 60.0, 400.0)))
    story.reconciler().observe()
    master = next(h.name for h in story.lab.masters())
    story.lab.power_off(master)
    story.wait(150.0)
    option = _chosen(story)
    assert story.apply().final is not None
    killed = {h.text.split(" on ")[0] for h in story.lab.harm() if h.kind == "resync-kill"}
    named = {one.vm.name for one in option.toll.killed}
    sure = {one.vm.name for one in option.toll.killed if one.chance is Chance.SURE}
    assert sure <= killed <= named, (sorted(sure), sorted(killed), sorted(named))
    assert {h.kind for h in story.lab.harm()} <= {"resync-kill"}


def test_the_property_has_teeth(tmp_path: Path) -> None:
    """In that many pools some VMs do die, else nothing was shown."""
    story = Story.of(tmp_path, hosts=3, vms=10, seed=1)
    state = story.reconciler().observe().state
    assert state is not None
    assert state.master is not None
    vm = next(v for v in state.guests if v.resident_on == state.master.ref)
    other = next(ref for ref in sorted(state.hosts) if ref != state.master.ref)
    session = story.reconciler().sessions.login(story.lab.hosts[state.master.name].address)
    session.call("VM.pool_migrate", vm.ref, other, {})
    session.close()
    story.reconciler().observe()
    story.lab.power_off(state.master.name)
    story.wait(150.0)
    assert [one.vm.name for one in _chosen(story).toll.counted] == [vm.name]
    story.apply()
    assert [h.text.split(" on ")[0] for h in story.lab.harm()] == [vm.name]
