"""What the checker accepts, the lab performs: in crowded pools in which nothing goes wrong nothing may be refused.

Every plan of a run is checked before it is performed; a step that XAPI then refuses, for memory, storage, a network
or whatever, is a disagreement.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.wanted import Brake, PlacementWish, WantedState
from tests.support.scenario_pool import make_lab
from tests.support.story import Story, failures, wanted_of

HOSTS = ("xen01", "xen02", "xen03")


def crowded(seed: int, folder: Path) -> Story:
    """Three small hosts, nearly full; wishes that want VMs up, down, here and not there; sometimes a dead member."""
    rng = random.Random(seed)
    vms: list[dict[str, object]] = []
    room = dict.fromkeys(HOSTS, 12)
    for n in range(rng.randint(6, 10)):
        gib = rng.randint(1, 4)
        vm: dict[str, object] = {"name": f"vm{n}", "gib": gib}
        if rng.random() < 0.2:
            vm["sr"] = f"local@{rng.choice(HOSTS)}"
        at = str(vm["sr"]).partition("@")[2] if "sr" in vm else rng.choice(HOSTS)
        if rng.random() < 0.65 and room[at] >= gib:
            room[at] -= gib
            vm["at"] = at
        else:
            vm["state"] = "halted"
        vms.append(vm)
    lab = make_lab({"hosts": 3, "memory": 16, "vms": vms})
    story = Story(lab, wanted_of(lab, brake=Brake(0.3, 1)), folder)
    for vm in vms:
        changes: dict[str, object] = {}
        if "state" in vm and rng.random() < 0.7:
            changes["state"] = WantedState.RUNNING
        elif "at" in vm and rng.random() < 0.2:
            changes["state"] = WantedState.HALTED
        if rng.random() < 0.3:
            changes["placement"] = PlacementWish(avoid=(rng.choice(HOSTS),))
        if changes:
            story.wish(str(vm["name"]), **changes)
    if rng.random() < 0.5:
        story.plan()
        story.lab.power_off("xen03")
        story.wait(700)
    return story


@pytest.mark.parametrize("seed", range(8))
def test_what_is_accepted_is_not_refused(seed: int, tmp_path: Path) -> None:
    for more in range(2):
        story = crowded(seed * 100 + more, tmp_path / str(more))
        outcome = story.apply()
        assert not outcome.stopped, outcome.stopped
        assert not failures(outcome), [(d.action.id, d.result, d.why) for d in failures(outcome)]
        assert not story.doubles()
        assert not story.lab.harm()
        again = replace(story.plan(), made_at=0.0)
        assert not again.actions, [a.id for a in again.actions]
