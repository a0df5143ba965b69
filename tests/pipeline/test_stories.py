"""Whole stories on the in-memory lab, with either manners of XAPI: plan, apply, and the proof at the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.cli.apply import outcome_code
from reconciler.cli.common import plan_code
from reconciler.cli.exits import Exit
from reconciler.core.evidence import Situation
from reconciler.core.plan import Result, Status, Verb
from reconciler.core.wanted import Brake, Failback, StorageWish, WantedState
from reconciler.lab import Release
from tests.pipeline.told import (
    PROMOTION,
    Console,
    dead_master,
    dead_member,
    of_verb,
    on,
    proved,
    running,
    seen_before,
    unmet,
    verbs,
    writes,
)
from tests.support.story import Story

NULL = "OpaqueRef:NULL"


@pytest.fixture(params=list(Release), ids=lambda r: r.value)
def release(request: pytest.FixtureRequest) -> Release:
    return request.param  # type: ignore[no-any-return]


def test_nothing_to_do(tmp_path: Path, release: Release) -> None:
    story = seen_before(tmp_path, release=release)
    plan = story.plan()
    assert plan.status is Status.CLEAN
    assert plan_code(plan, detailed=True) is Exit.DONE
    outcome = story.apply()
    assert outcome.done == ()
    proved(story, outcome)
    assert writes(story) == []


def test_master_dead(tmp_path: Path, release: Release) -> None:
    story = seen_before(tmp_path, release=release)
    before = {vm: host for vm, host in running(story).items() if host != "xen01"}
    lost = on(story, "xen01")
    story.lab.power_off("xen01")
    story.wait(10)
    plan = story.plan()
    assert plan.diagnosis.situation is Situation.LOST
    assert [s.name for s in plan.stages] == ["regain", "restore"]
    assert verbs(plan)[:4] == ["fence xen01", "promote xen02", "recover-members lab", "declare-dead xen01"]
    assert sorted(of_verb(plan, Verb.START)) == sorted(lost - {"db03"})
    outcome = story.apply()
    proved(story, outcome, left=["db03"])
    assert "db03-disk" in unmet(outcome.final)["db03"].why  # type: ignore[arg-type]
    assert "Local storage is a local SR of xen01" in unmet(outcome.final)["db03"].why  # type: ignore[arg-type]
    # Who ran goes on where it ran, who was lost runs once on a living host.
    after = running(story)
    assert {vm: host for vm, host in after.items() if vm in before} == before
    assert set(after) == set(before) | (lost - {"db03"})
    assert [h.name for h in story.lab.masters()] == ["xen02"]
    assert sum(m == PROMOTION for _, _, m in story.port.calls) == 1


def test_master_dead_comes_back_repaired(tmp_path: Path, release: Release) -> None:
    story = dead_master(tmp_path, release=release)
    story.apply()
    story.lab.power_on("xen01")
    story.wait(120)
    plan = story.plan()
    # Its certificate is void, and the office waits for a person: failback is manual.
    assert plan.diagnosis.of("xen01").certificate is None  # type: ignore[union-attr]
    assert [(w.action.verb, w.remedy) for w in plan.withheld] == [
        (Verb.DESIGNATE_MASTER, "xenrec apply pool.yaml --failback")
    ]
    assert verbs(plan) == ["start db03"]
    outcome = story.apply(failback=True)
    proved(story, outcome)
    assert running(story)["db03"] == "xen01"
    assert [h.name for h in story.lab.masters()] == ["xen01"]


def test_member_dead(tmp_path: Path, release: Release) -> None:
    story = seen_before(tmp_path, release=release)
    before = running(story)
    lost = on(story, "xen03")
    story.lab.power_off("xen03")
    story.wait(10)
    plan = story.plan()
    assert plan.diagnosis.situation is Situation.MANAGED
    assert verbs(plan)[:2] == ["fence xen03", "declare-dead xen03"]
    assert sorted(of_verb(plan, Verb.START)) == sorted(lost - {"ci-3"})
    outcome = story.apply()
    proved(story, outcome, left=["ci-3"])
    after = running(story)
    assert {vm: host for vm, host in after.items() if before[vm] != "xen03"} == {
        vm: host for vm, host in before.items() if host != "xen03"
    }
    assert set(after) == set(before) - {"ci-3"}
    assert PROMOTION not in writes(story)


def test_member_dead_without_a_fence_agent_waits_for_a_persons_word(tmp_path: Path, release: Release) -> None:
    story = dead_member(tmp_path, release=release, fencing=False)
    calls = len(story.port.calls)
    plan = story.plan()
    assert plan.actions == ()
    assert plan_code(plan) is Exit.PARTIAL
    assert {w.action.verb for w in plan.withheld} == {Verb.DECLARE_DEAD, Verb.START}
    assert all("xenrec attest pool.yaml xen03 --dead" in w.remedy for w in plan.withheld)
    assert outcome_code(story.apply()) is Exit.PARTIAL
    assert writes(story, calls) == []
    story.attest("xen03")
    assert verbs(story.plan())[0] == "declare-dead xen03"
    proved(story, story.apply(), left=["ci-3"])


def test_master_and_a_member_dead_one_host_a_run(tmp_path: Path, release: Release) -> None:
    story = seen_before(tmp_path, release=release)
    for host in ("xen01", "xen03"):
        story.lab.power_off(host)
    story.wait(10)
    first = story.apply()
    assert first.final is not None
    assert outcome_code(first) is Exit.PARTIAL
    assert [h.name for h in story.lab.masters()] == ["xen02"]
    held = {w.action.id: w.why for w in first.final.withheld if w.action.verb is Verb.FENCE}
    assert len(held) == 1
    assert "maxHostsPerRun is 1" in next(iter(held.values()))
    assert story.lab.harm() == []
    # The other host's turn.
    second = story.apply()
    proved(story, second, left=["ci-3", "db03"])
    assert sum(m == PROMOTION for _, _, m in story.port.calls) == 1


def test_master_and_a_member_dead_at_once_with_the_brake_raised(tmp_path: Path, release: Release) -> None:
    story = seen_before(tmp_path, release=release, brake=Brake(0.5, 2))
    for host in ("xen01", "xen03"):
        story.lab.power_off(host)
    story.wait(10)
    assert sorted(of_verb(story.plan(), Verb.FENCE)) == ["xen01", "xen03"]
    proved(story, story.apply(), left=["ci-3", "db03"])
    assert set(running(story).values()) == {"xen02", "xen04"}


def test_master_and_two_members_dead_hold_the_brake_until_it_is_lowered(tmp_path: Path, release: Release) -> None:
    story = seen_before(tmp_path, release=release)
    for host in ("xen01", "xen03", "xen04"):
        story.lab.power_off(host)
    story.wait(10)
    calls = len(story.port.calls)
    plan = story.plan()
    assert plan.diagnosis.situation is Situation.CUT_OFF
    assert "only 1 of 4 members answer" in plan.diagnosis.why
    assert outcome_code(story.apply()) is Exit.UNAVAILABLE
    assert writes(story, calls) == []
    story.changed(lambda w: replace(w, policy=replace(w.policy, brake=Brake(0.2, 3))))
    outcome = story.apply()
    assert story.lab.harm() == []
    assert story.doubles() == []
    assert outcome.final is not None
    assert outcome.final.actions == ()
    assert outcome.final.withheld == ()
    # What a single host has no memory or no disk for is named; the rest runs there.
    assert set(running(story).values()) == {"xen02"}
    wished = {w.value for w in story.wanted.vms if w.state is WantedState.RUNNING}
    runs = {d.vm for d in story.lab.running()["xen02"]}
    assert {u.target.uuid for u in outcome.final.unmet if u.target.kind == "vm"} == wished - runs
    assert all("local SR" in u.why or "free and" in u.why for u in outcome.final.unmet), outcome.final.unmet


def test_a_vm_that_is_down_is_started_at_home(tmp_path: Path, release: Release) -> None:
    story = seen_before(tmp_path, release=release)
    console = Console(story)
    console("VM.hard_shutdown", console.vm("web-2"))
    home = next(v["affinity"] for v in story.lab.describe()["vms"] if v["name"] == "web-2")
    plan = story.plan()
    assert verbs(plan) == ["start web-2"]
    assert plan_code(plan, detailed=True) is Exit.CHANGES
    proved(story, story.apply())
    assert running(story)["web-2"] == home


def test_a_vm_that_should_be_halted_is_shut_down_cleanly(tmp_path: Path, release: Release) -> None:
    story = seen_before(tmp_path, release=release)
    story.wish("web-2", state=WantedState.HALTED)
    assert verbs(story.plan()) == ["shutdown web-2"]
    proved(story, story.apply())
    assert "web-2" not in running(story)
    assert "Async.VM.clean_shutdown" in writes(story)


def test_a_suspended_vm_is_suspended_and_resumed(tmp_path: Path, release: Release) -> None:
    story = seen_before(tmp_path, release=release)
    story.wish("web-2", state=WantedState.SUSPENDED)
    proved(story, story.apply())
    story.wish("web-2", state=WantedState.RUNNING)
    assert verbs(story.plan()) == ["resume web-2"]
    proved(story, story.apply())


def test_the_home_of_a_vm_is_corrected(tmp_path: Path, release: Release) -> None:
    story = seen_before(tmp_path, release=release)
    was = next(v["affinity"] for v in story.lab.describe()["vms"] if v["name"] == "web-1")
    wrong = next(h for h in ("xen02", "xen03") if h != was)
    Console(story)("VM.set_affinity", Console(story).vm("web-1"), Console(story).host(wrong))
    assert verbs(story.plan()) == ["set-affinity web-1"]
    proved(story, story.apply())
    assert next(v["affinity"] for v in story.lab.describe()["vms"] if v["name"] == "web-1") == was


def test_a_home_on_the_dead_host_stays_declared_and_is_told(tmp_path: Path, release: Release) -> None:
    story = dead_member(tmp_path, release=release)
    plan = story.plan()
    start = next(a for a in plan.actions if a.target.name == "app-2" and a.verb is Verb.START)
    assert "its home xen03 is down" in start.why
    assert start.to is not None
    assert start.to.name != "xen03"
    story.wish("app-2", home="xen04")
    plan = story.plan()
    assert "set-affinity app-2" in verbs(plan)
    start = next(a for a in plan.actions if a.target.name == "app-2" and a.verb is Verb.START)
    assert start.to is not None
    assert start.to.name == "xen04"
    proved(story, story.apply(), left=["ci-3"])
    assert running(story)["app-2"] == "xen04"


def test_a_cd_on_storage_that_no_living_host_reaches(tmp_path: Path, release: Release) -> None:
    story = seen_before(tmp_path, release=release)
    console = Console(story)
    library = console.sr_of(None, "ISO library")
    disc = next(v for v in console("SR.get_VDIs", library) if console("VDI.get_name_label", v).startswith("debian"))
    vm = console.vm("app-2")
    for vbd in console("VBD.get_all"):
        if console("VBD.get_type", vbd) == "CD" and not console("VBD.get_empty", vbd):
            console("VBD.eject", vbd)
    drive = next(v for v in console("VM.get_VBDs", vm) if console("VBD.get_type", v) == "CD")
    console("VBD.insert", drive, disc)
    for pbd in console("SR.get_PBDs", library):
        if console("PBD.get_host", pbd) != console.host("xen03"):
            console("PBD.unplug", pbd)
    story.lab.power_off("xen03")
    story.wait(10)
    outcome = story.apply()
    proved(story, outcome, left=["app-2", "ci-3"])
    told = unmet(outcome.final)["app-2"]  # type: ignore[arg-type]
    assert "the CD debian-12.iso is in its drive" in told.why
    assert "ISO library is plugged only on xen03, which is down" in told.why
    assert "xe vm-cd-eject" in told.remedy
    # What the remedy says does it.
    master = Console(story)
    drive = next(v for v in master("VM.get_VBDs", master.vm("app-2")) if master("VBD.get_type", v) == "CD")
    master("VBD.eject", drive)
    proved(story, story.apply(), left=["ci-3"])


@pytest.mark.parametrize("key", ["default_sr", "suspend_image_sr"])
def test_a_pool_wide_sr_is_missing_or_wrong(tmp_path: Path, release: Release, key: str) -> None:
    story = seen_before(tmp_path, release=release)
    story.changed(lambda w: replace(w, storage=StorageWish(**{key: "san-1"})))
    assert story.plan().status is Status.CLEAN
    console = Console(story)
    setter, getter, verb = {
        "default_sr": ("pool.set_default_SR", "pool.get_default_SR", "set-default-sr"),
        "suspend_image_sr": ("pool.set_suspend_image_SR", "pool.get_suspend_image_SR", "set-suspend-sr"),
    }[key]
    right = console.sr_of(None, "san-1")
    for wrong in (NULL, console.sr_of("xen02", "Local storage")):
        console(setter, console.pool, wrong)
        assert verbs(story.plan()) == [f"{verb} lab"]
        proved(story, story.apply())
        assert console(getter, console.pool) == right


@pytest.mark.parametrize("key", ["default_sr", "suspend_image_sr"])
def test_a_pool_wide_sr_on_the_dead_hosts_local_disk(tmp_path: Path, release: Release, key: str) -> None:
    story = seen_before(tmp_path, release=release)
    console = Console(story)
    setter = {"default_sr": "pool.set_default_SR", "suspend_image_sr": "pool.set_suspend_image_SR"}[key]
    console(setter, console.pool, console.sr_of("xen03", "Local storage"))
    story.lab.power_off("xen03")
    story.wait(10)
    # Not declared: told, not touched.
    plan = story.plan()
    assert any("Local storage is a local SR of xen03, which is down" in note for note in plan.notes)
    assert not {Verb.SET_DEFAULT_SR, Verb.SET_SUSPEND_SR} & {a.verb for a in plan.actions}
    # Declared: set.
    story.changed(lambda w: replace(w, storage=StorageWish(**{key: "san-1"})))
    verb = {"default_sr": Verb.SET_DEFAULT_SR, "suspend_image_sr": Verb.SET_SUSPEND_SR}[key]
    action = next(a for a in story.plan().actions if a.verb is verb)
    assert "Local storage is a local SR of xen03, which is down" in action.why
    proved(story, story.apply(), left=["ci-3"])
    # Declared as what nobody can reach: named, not set.
    local = console("SR.get_uuid", console.sr_of("xen03", "Local storage"))
    story.changed(lambda w: replace(w, storage=StorageWish(**{key: local})))
    proved(story, story.apply(), left=["Local storage", "ci-3"])


def test_a_healthy_pool_with_the_wrong_master(tmp_path: Path, release: Release) -> None:
    story = seen_before(tmp_path, release=release)
    before = running(story)
    story.changed(lambda w: replace(w, master=replace(w.master, host="xen02", successors=("xen01",))))  # type: ignore[type-var]
    plan = story.plan()
    assert plan.actions == ()
    assert [w.action.verb for w in plan.withheld] == [Verb.DESIGNATE_MASTER]
    assert plan_code(plan) is Exit.PARTIAL
    assert verbs(story.plan(failback=True)) == ["designate-master xen02"]
    proved(story, story.apply(failback=True))
    assert [h.name for h in story.lab.masters()] == ["xen02"]
    assert running(story) == before


def test_failback_auto_hands_the_office_over_without_being_asked(tmp_path: Path, release: Release) -> None:
    story = seen_before(tmp_path, release=release)
    story.changed(lambda w: replace(w, master=replace(w.master, host="xen03", failback=Failback.AUTO)))  # type: ignore[type-var]
    proved(story, story.apply())
    assert [h.name for h in story.lab.masters()] == ["xen03"]
    story.changed(lambda w: replace(w, master=replace(w.master, host="xen01", failback=Failback.NEVER)))  # type: ignore[type-var]
    assert story.plan().status is Status.CLEAN


def test_everything_at_once(tmp_path: Path, release: Release) -> None:
    """Master dead, default SR on its disk, VMs down that should run and running that should not, homes wrong."""
    story = seen_before(tmp_path, release=release)
    console = Console(story)
    console("pool.set_default_SR", console.pool, console.sr_of("xen01", "Local storage"))
    console("VM.hard_shutdown", console.vm("web-2"))
    console("VM.set_affinity", console.vm("app-2"), console.host("xen01"))
    story.wish("ci-3", state=WantedState.HALTED)
    story.wish("log-2", home="xen04")
    story.changed(lambda w: replace(w, storage=StorageWish(default_sr="san-1", suspend_image_sr="nfs-1")))
    story.plan()
    story.wait(700)
    story.lab.power_off("xen01")
    story.wait(10)
    plan = story.plan()
    assert plan.diagnosis.situation is Situation.LOST
    outcome = story.apply()
    final = proved(story, outcome, left=["db03"])
    done = {f"{d.action.verb} {d.action.target.name}" for d in outcome.done}
    assert {
        "fence xen01",
        "promote xen02",
        "recover-members lab",
        "declare-dead xen01",
        "set-default-sr lab",
        "set-suspend-sr lab",
        "set-affinity app-2",
        "set-affinity log-2",
        "shutdown ci-3",
        "start web-2",
    } <= done
    # What was forecast is what was done: nothing came up that the plan had not named.
    assert done == set(verbs(plan))
    assert "ci-3" not in running(story)
    assert final.diagnosis.master == "xen02"


def test_a_partitioned_member_is_fenced_before_its_vms_start_elsewhere(tmp_path: Path, release: Release) -> None:
    story = seen_before(tmp_path, release=release)
    story.lab.cut("xen03", "*")
    story.wait(10)
    outcome = story.apply()
    # The BMC said on and the master still counts it as live: not fenced in haste.
    assert outcome.done == ()
    assert outcome_code(outcome) is Exit.PARTIAL
    assert story.lab.hosts["xen03"].powered
    story.wait(700)
    outcome = story.apply()
    assert not story.lab.hosts["xen03"].powered
    proved(story, outcome, left=["ci-3"])


def test_the_client_alone_is_cut_off(tmp_path: Path, release: Release) -> None:
    story = seen_before(tmp_path, release=release)
    story.lab.cut("xen01", "client")
    story.wait(5)
    calls = len(story.port.calls)
    plan = story.plan()
    assert plan.diagnosis.situation is Situation.CUT_OFF
    assert "still reach it" in plan.diagnosis.why
    assert plan_code(plan) is Exit.UNAVAILABLE
    outcome = story.apply()
    assert outcome.done == ()
    assert writes(story, calls) == []
    assert story.lab.hosts["xen01"].powered


def test_a_failed_start_leaves_the_rest_alone(tmp_path: Path, release: Release) -> None:
    story = dead_member(tmp_path, release=release)

    def storage_fails(address: str, method: str, params: object) -> None:
        if method == "Async.VM.start_on":
            story.lab.cut("xen02", "san-1")
            story.lab.cut("xen02", "nfs-1")

    story.port.before_call = storage_fails
    outcome = story.apply()
    assert outcome.final is not None
    assert story.doubles() == []
    assert [d.action.target.name for d in outcome.done if d.result is Result.FAILED] == ["log-2"]
    assert outcome_code(outcome) is Exit.PARTIAL
    assert {d.action.target.name for d in outcome.done if d.result is Result.DONE} >= {"app-2", "mail-1"}


def test_a_pool_never_seen_before_loses_its_master(tmp_path: Path, release: Release) -> None:
    story = Story.of(tmp_path, release=release)
    story.wait(700)
    story.lab.power_off("xen01")
    story.wait(10)
    plan = story.plan()
    assert verbs(plan) == ["fence xen01", "promote xen02", "recover-members lab"]
    assert any("was never read from this machine" in n for n in plan.notes)
    proved(story, story.apply(), left=["db03"])
