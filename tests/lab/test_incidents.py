"""Each training incident can be solved, and what is no solution is told so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.wanted import Brake, StorageWish
from reconciler.lab import Lab, Seed
from reconciler.lab.faults import deed
from reconciler.lab.incidents import INCIDENTS, Trial
from tests.support.story import Story, wanted_of


class Duty:
    """Somebody on call, with the program and the lab's commands."""

    def __init__(self, name: str, folder: Path) -> None:
        incident = INCIDENTS[name]
        self.lab = Lab(Seed.generate(hosts=incident.hosts, vms=incident.vms))
        self.story = Story(self.lab, wanted_of(self.lab, brake=Brake(0.5, 1)), folder)
        self.trial = Trial(incident, self.lab)
        self.trial.prepare(lambda seconds: self.lab.run(self.lab.now + seconds))

    def do(self, *commands: str, wait: float = 60.0) -> None:
        for command in commands:
            deed(self.lab, command.split())()
            self.lab.run(self.lab.now + wait)

    def apply(self, times: int = 3) -> None:
        for _ in range(times):
            self.story.apply()
            self.lab.run(self.lab.now + 60)

    def wrong(self) -> list[str]:
        return [finding.text for finding in self.trial.check() if not finding.good]


@pytest.fixture
def on(tmp_path: Path) -> Callable[[str], Duty]:
    return lambda name: Duty(name, tmp_path)


@pytest.mark.parametrize("name", INCIDENTS)
def test_an_incident_is_unsolved_at_first_and_its_script_does_only_what_is_told(
    on: Callable[[str], Duty], name: str
) -> None:
    duty = on(name)
    assert duty.wrong()
    texts = [finding.text for finding in duty.trial.check() if finding.good]
    assert "No harm was done." in texts
    assert {h.kind for h in duty.lab.harm()} <= ({"two-domains", "two-writers"} if name == "green-pool" else set())


@pytest.mark.parametrize("name", INCIDENTS)
def test_a_scene_fits_a_terminal_and_names_hosts_that_exist(name: str) -> None:
    scene = INCIDENTS[name].scene
    assert max(map(len, scene.splitlines())) <= 78
    assert "xen01" in scene or "xen03" in scene


def test_a_dead_master_is_replaced(on: Callable[[str], Duty]) -> None:
    duty = on("dead-master")
    duty.apply()
    assert duty.wrong() == []


def test_a_host_that_is_gone_for_good_is_not_switched_on(on: Callable[[str], Duty]) -> None:
    duty = on("dead-master")
    duty.do("power on xen01")
    assert "xen01 has power: in this story it is gone for good." in duty.wrong()


def test_a_silent_bmc_needs_a_person(on: Callable[[str], Duty]) -> None:
    duty = on("silent-bmc")
    duty.apply()
    assert "Nobody acts as a master." in duty.wrong()
    duty.story.attest("xen01")
    duty.apply()
    assert duty.wrong() == []


@pytest.mark.parametrize("first", ["power off xen03", "toolstack restart xen03"])
def test_a_green_pool_is_cleared_of_second_copies(on: Callable[[str], Duty], first: str) -> None:
    duty = on("green-pool")
    assert any("run twice" in text for text in duty.wrong())
    duty.do(first, "power on xen03")
    duty.apply()
    assert duty.wrong() == []


def test_stopping_what_the_pool_shows_leaves_the_copy_that_it_does_not(on: Callable[[str], Duty]) -> None:
    duty = on("green-pool")
    twice = next(d.name for d in duty.lab.running()["xen03"] if len(duty.lab.world.copies(d.vm)) > 1)
    duty.do(f"xo stop {twice}", f"xo start {twice} xen02")
    assert any("twice" in text for text in duty.wrong())
    assert any(text.startswith("Harm was done: ") for text in duty.wrong())


def test_a_hung_master_is_restarted(on: Callable[[str], Duty]) -> None:
    duty = on("hung-master")
    duty.apply(1)
    assert duty.lab.hosts["xen01"].powered
    duty.do("toolstack restart xen01")
    assert duty.wrong() == []


def test_nobody_is_promoted_beside_a_hung_master(on: Callable[[str], Duty]) -> None:
    duty = on("hung-master")
    duty.do("xe@xen02 pool.emergency_transition_to_master", "toolstack restart xen01")
    assert any("xen01 is not the only master" in text for text in duty.wrong())


def test_power_is_no_cure_for_a_hung_toolstack(on: Callable[[str], Duty]) -> None:
    duty = on("hung-master")
    duty.do("power off xen01", "power on xen01")
    assert any("went down, and need not have" in text for text in duty.wrong())


def test_two_hosts_are_lost(on: Callable[[str], Duty]) -> None:
    duty = on("two-hosts")
    duty.story.attest("xen01")
    duty.apply()
    assert [text.split(",")[0] for text in duty.wrong()] == [
        "app-1 does not run",
        "New disks would go to 'Local storage'",
    ]
    duty.do("xo eject app-1")
    duty.story.changed(lambda wanted: replace(wanted, storage=StorageWish(default_sr="san-1")))
    duty.apply()
    assert duty.wrong() == []
