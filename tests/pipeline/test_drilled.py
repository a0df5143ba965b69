"""The drill beside a green plan: what it found before is remembered in the state folder."""

from __future__ import annotations

from pathlib import Path

from tests.support.story import Story


def test_a_finding_is_new_once_open_until_taken_note_of_and_solved_when_it_is_mended(tmp_path: Path) -> None:
    story = Story.of(tmp_path, hosts=3, vms=12)
    run = story.reconciler()
    look = run.observe()
    plan = run.plan_of(look)
    first = run.drilled(look, plan)
    assert first is not None
    assert first[1].fresh, "a generated lab has VMs on local disks"
    told = [f.words for f in first[1].fresh]

    def again(*, taken: bool = False) -> tuple[list[str], list[str], list[str]]:
        later = story.reconciler()
        look = later.observe()
        drilled = later.drilled(look, later.plan_of(look), taken=taken)
        assert drilled is not None
        found = drilled[1]
        return [f.words for f in found.fresh], [f.words for f in found.open], [f.words for f in found.known]

    assert again() == ([], told, [])
    assert again(taken=True) == ([], told, [])
    assert again() == ([], [], told)
    assert {f.acknowledged_by for f in story.reconciler().folder.memory.findings()} == {run.by}


def test_without_a_master_there_is_nothing_to_drill(tmp_path: Path) -> None:
    story = Story.of(tmp_path, hosts=3, vms=6)
    story.plan()
    story.lab.power_off("xen01")
    story.wait(120)
    run = story.reconciler()
    look = run.observe()
    assert run.drilled(look, run.plan_of(look)) is None
    assert run.folder.memory.findings() == ()
