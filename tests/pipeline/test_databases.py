"""Real pools: databases of XenServer pools of several releases, exported, planned, and hosts lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from reconciler.cli.apply import outcome_code
from reconciler.cli.exits import Exit
from reconciler.core.plan import Plan, Result, Status
from reconciler.core.wanted import FenceDevice, SelectorKind, WantedState
from reconciler.lab import Lab, Release, Seed
from reconciler.manifest import load
from reconciler.manifest.export import export_yaml
from tests.pipeline.told import BACKED_UP, running, verbs
from tests.support.labport import AGENT
from tests.support.story import Story, wanted_of

POOLS = Path(os.environ.get("XENREC_SHARED", Path(__file__).parents[3] / "shared")) / "pools" / "modern"
NAMES = ["Cowley-db", "boston-db", "tampa-db_inc_snapshots", "tampa-poolof16and23-xapi-db", "xapidb_app"]
TWO_HOSTS = [name for name in NAMES if name != "Cowley-db"]

pytestmark = pytest.mark.skipif(not POOLS.is_dir(), reason=f"no real pool databases in {POOLS}")


def exported(folder: Path, name: str, release: Release = Release.V24_16) -> Story:
    """A lab with that database, and the manifest that export makes of it."""
    lab = Lab(Seed.from_file(POOLS / f"{name}.json"), release=release)
    story = Story(lab, wanted_of(lab), folder)
    state = story.reconciler().observe().state
    assert state is not None
    text = export_yaml(
        state,
        fingerprints={host.address: f"{number:064x}" for number, host in enumerate(state.hosts.values(), 1)},
        fencing={host.uuid: FenceDevice(AGENT, {"plug": host.name}) for host in lab.hosts.values()},
    )
    story.wanted = load(text.encode(), f"{name}.yaml")
    return story


def named(story: Story, plan: Plan, lost: str) -> None:
    """Every VM that should run either runs, or is named with a reason and a next step."""
    runs = {d.vm for domains in story.lab.running().values() for d in domains}
    told = {u.target.uuid for u in plan.unmet}
    by_uuid = {v["uuid"]: v["name"] for v in story.lab.describe()["vms"]}
    for wish in story.wanted.vms:
        found = [u for u, n in by_uuid.items() if wish.value in (u, n)]
        assert len(found) == 1, wish
        assert wish.kind in (SelectorKind.NAME, SelectorKind.UUID)
        if wish.state is WantedState.RUNNING:
            assert (found[0] in runs) is not (found[0] in told), (by_uuid[found[0]], lost)
    assert all(u.why and u.remedy for u in plan.unmet)
    assert all(lost in u.why or "free and" in u.why for u in plan.unmet), plan.unmet


@pytest.mark.parametrize("name", NAMES)
def test_the_export_of_a_real_pool_plans_to_nothing(tmp_path: Path, name: str) -> None:
    story = exported(tmp_path, name)
    plan = story.plan()
    assert plan.status is Status.CLEAN, (verbs(plan), plan.unmet, plan.withheld)
    assert story.apply().done == ()


@pytest.mark.parametrize("who", ["master", "member"])
@pytest.mark.parametrize("release", list(Release), ids=lambda r: r.value)
@pytest.mark.parametrize("name", TWO_HOSTS)
def test_a_host_of_a_real_pool_dies(tmp_path: Path, name: str, release: Release, who: str) -> None:
    story = exported(tmp_path, name, release)
    assert story.plan().status is Status.CLEAN
    story.wait(BACKED_UP)
    (master,) = (h.name for h in story.lab.masters())
    (member,) = (h for h in story.lab.hosts if h != master)
    lost, left = (master, member) if who == "master" else (member, master)
    before = running(story)
    story.lab.power_off(lost)
    story.wait(10)
    outcome = story.apply()
    assert outcome.final is not None
    assert {d.result for d in outcome.done} <= {Result.DONE, Result.ALREADY}, outcome.done
    assert verbs(outcome.final) == []
    assert outcome.final.withheld == ()
    assert story.lab.harm() == []
    assert story.doubles() == []
    assert [h.name for h in story.lab.masters()] == [left]
    # Who ran on the living host still does.
    assert {vm for vm, host in before.items() if host == left} <= set(running(story))
    named(story, outcome.final, story.wanted.member(lost).name if story.wanted.member(lost) else lost)  # type: ignore[union-attr]
    assert outcome_code(outcome) is (Exit.PARTIAL if outcome.final.unmet else Exit.DONE)
    assert verbs(story.plan()) == []


def test_a_single_host_that_dies_is_told_and_nothing_is_tried(tmp_path: Path) -> None:
    story = exported(tmp_path, "Cowley-db")
    story.plan()
    (host,) = story.lab.hosts
    story.lab.power_off(host)
    story.wait(10)
    outcome = story.apply()
    assert outcome.done == ()
    assert outcome_code(outcome) is Exit.UNAVAILABLE


def test_the_files_are_what_these_tests_take_them_for() -> None:
    for name in NAMES:
        tables = json.loads((POOLS / f"{name}.json").read_text())
        assert len(tables["host"]) == (1 if name == "Cowley-db" else 2)
