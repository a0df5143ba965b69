"""Members in maintenance: what empties a host, what keeps each VM there, and the way back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.checker import check_plan
from reconciler.core.mark import MARK, Mark, mark_of
from reconciler.core.model import PoolState, PowerState
from reconciler.core.plan import Action, Plan, Stage, Status, Thing, Verb
from reconciler.core.planner import make_plan
from reconciler.core.wanted import Failback, Level, MasterWish, MemberState, PlacementWish, Policy, VmWish, Wanted
from tests.core.build import GIB, NOW, PoolBuilder, certificate, survey, uuid, verbs, wanted, wish

OURS = {MARK: Mark("run-1", NOW - 60).text}
MOVABLE = PlacementWish()
TOOLS = "its guest tools do not run"
STOPPABLE = PlacementWish(stop_for_maintenance=True)


def resting(manifest: Wanted, *names: str, **more: object) -> Wanted:
    """That manifest with these members in maintenance."""
    return replace(
        manifest,
        members=tuple(
            replace(m, state=MemberState.MAINTENANCE, **more) if m.name in names else m  # type: ignore[arg-type]
            for m in manifest.members
        ),
    )


def plan(manifest: Wanted, pool: PoolBuilder, spec: dict[str, str] | None = None, *, master: str = "xen01") -> Plan:
    """The plan, which the checker must accept."""
    pool.master = master
    seen = survey(spec, hosts=len(pool.hosts), master=master)
    state = pool.state()
    made = make_plan(manifest, seen, now=NOW, state=state)
    assert checked(made, manifest, state, spec, master=master) == ()
    return made


def checked(
    made: Plan, manifest: Wanted, state: PoolState, spec: dict[str, str] | None = None, *, master: str = "xen01"
) -> tuple[str, ...]:
    return check_plan(
        made,
        manifest,
        survey(spec, hosts=len(state.hosts), master=master),
        state,
        certificates=made.certificates,
        now=NOW,
        limit=Level.CROWN,
    )


def stays(made: Plan, vm: str) -> tuple[str, str]:
    """Why a VM can't leave, and what would let it."""
    (unmet,) = (u for u in made.unmet if u.target.name == vm)
    assert unmet.wish == "leave xen02, which is to be in maintenance"
    return unmet.why, unmet.remedy


def two_vms(**more: object) -> PoolBuilder:
    pool = PoolBuilder()
    pool.vm("web1", on="xen02", **more)  # type: ignore[arg-type]
    pool.vm("web2", on="xen02", memory=4 * GIB)
    return pool


BOTH = (wish("web1"), wish("web2"))


def test_a_member_in_maintenance_is_disabled_then_emptied() -> None:
    made = plan(resting(wanted(*BOTH), "xen02"), two_vms())
    assert verbs(made) == ["disable-host xen02", "migrate web2 -> xen01", "migrate web1 -> xen03"]
    disable, *moves = made.actions
    assert all(m.follows == (disable.id,) and m.source == disable.target for m in moves)
    assert made.unmet == made.withheld == ()
    assert disable.before == "enabled, 2 VMs on it"


def test_a_disabled_and_empty_one_is_as_declared() -> None:
    pool = PoolBuilder()
    pool.host("xen02", enabled=False, other_config=OURS)
    made = plan(resting(wanted(), "xen02"), pool)
    assert made.status is Status.CLEAN
    assert any(k.why == "is in maintenance: disabled, and runs no VM" for k in made.kept)


def test_one_that_its_restart_enabled_is_disabled_again() -> None:
    pool = PoolBuilder()
    pool.host("xen02", other_config=OURS)
    assert verbs(plan(resting(wanted(), "xen02"), pool)) == ["disable-host xen02"]


def test_a_master_hands_over_first_to_the_first_fit_successor() -> None:
    pool = PoolBuilder(4)
    pool.vm("db01", on="xen01")
    pool.host("xen02", enabled=False)
    for manifest, heir in (
        (wanted(wish("db01"), hosts=4, master=MasterWish("xen01", ("xen02", "xen04"))), "xen04"),
        (wanted(wish("db01"), hosts=4, master=MasterWish("xen01", ("xen04",), Failback.NEVER)), "xen04"),
        (wanted(wish("db01"), hosts=4), "xen03"),
    ):
        made = plan(resting(manifest, "xen01"), pool)
        assert [s.name for s in made.stages] == ["relieve", "restore"]
        assert verbs(made)[:2] == [f"designate-master {heir}", "disable-host xen01"]
        assert made.actions[1].follows == (made.actions[0].id,)


def test_a_master_stays_where_the_office_cant_go() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen01")
    manifest = resting(wanted(wish("db01")), "xen01")
    made = plan(manifest, pool, {"xen03": "silent"})
    assert made.actions == ()
    assert [(w.action.verb, w.why) for w in made.withheld] == [
        (Verb.DESIGNATE_MASTER, "XAPI hands mastership over only while every host is up, and xen03 is not"),
        (Verb.DISABLE_HOST, "it is the master, and the office can't be handed over now"),
    ]
    pool = PoolBuilder()
    made = plan(resting(wanted(), "xen01", "xen02", "xen03"), pool)
    assert ("xen01", "it is the master, and no other member is ready to take the office") in [
        (u.target.name, u.why) for u in made.unmet
    ]


REASONS: dict[str, tuple[dict[str, object], VmWish | None, str, str]] = {
    "not declared": ({}, None, "the manifest does not name it, and a VM", "evacuate: all in the entry of xen02"),
    "max level": ({}, wish("web1", max_level=Level.METADATA), "its entry allows metadata at most", "raise maxLevel"),
    "paused": (
        {"power": PowerState.PAUSED},
        wish("web1", "as-is"),
        "it is paused, and XAPI moves running VMs only",
        "xe vm-unpause uuid=uuid-web1",
    ),
    "busy": ({"current_operations": ("snapshot",)}, wish("web1"), "somebody is at it: snapshot", "xe task-list"),
    "blocked": (
        {"blocked_operations": {"pool_migrate": "backup"}},
        wish("web1"),
        "somebody blocked pool_migrate on it: backup",
        "param-key=pool_migrate",
    ),
    "device": ({"pinned_devices": ("PCI",)}, wish("web1"), "its PCI ties it to xen02", "stopForMaintenance: true"),
    "no tools": (
        {"immobile": TOOLS, "unstoppable": TOOLS},
        wish("web1", placement=PlacementWish(stop_for_maintenance=True)),
        "its guest tools do not run, so it can neither be moved live nor shut down cleanly",
        "install or start its guest tools; or switch it off: xe vm-shutdown uuid=uuid-web1 --force",
    ),
    "nested": (
        {"immobile": "it uses nested virtualisation"},
        wish("web1"),
        "it uses nested virtualisation, so it can't be moved live",
        "stopForMaintenance: true",
    ),
    "local disk": (
        {"sr": "local-xen02"},
        wish("web1"),
        "its disk web1 disk is on local-xen02, a local SR of xen02",
        "xe vm-shutdown uuid=uuid-web1",
    ),
    "as-is": (
        {"sr": "local-xen02"},
        wish("web1", "as-is", placement=STOPPABLE),
        "its disk web1 disk is on local-xen02, a local SR of xen02",
        "let it be stopped meanwhile: state: running in its entry; or stop it now",
    ),
    "its guest may not be told": (
        {"sr": "local-xen02", "blocked_operations": {"clean_shutdown": "licence"}},
        wish("web1", placement=STOPPABLE),
        "its disk web1 disk is on local-xen02, a local SR of xen02",
        "xe vm-param-remove uuid=uuid-web1 param-name=blocked-operations param-key=clean_shutdown",
    ),
    "CD": (
        {"cd": "local-xen02"},
        wish("web1"),
        "the CD web1 cd is in its drive, and local-xen02 is a local SR of xen02",
        "xe vm-cd-eject uuid=uuid-web1",
    ),
    "half an SR": (
        {"sr": "half"},
        wish("web1"),
        "its disk web1 disk is on half, which xen03 has, and no ready host has plugged",
        "stopForMaintenance: true",
    ),
    "no room": (
        {"memory": 60 * GIB},
        wish("web1"),
        "xen01 has 34.0 GiB free and 60.0 GiB are needed; xen03 has 34.0 GiB free and 60.0 GiB are needed",
        "stop something, or bring a host back",
    ),
    "require": (
        {},
        wish("web1", placement=PlacementWish(require=("xen02",))),
        "is not in placement.require (xen02)",
        "change what it needs",
    ),
    "should be halted": (
        {"power": PowerState.PAUSED},
        wish("web1", "halted"),
        "it should be halted, and that can't be done now",
        "see the reason there",
    ),
}


@pytest.mark.parametrize("reason", REASONS)
def test_one_vm_that_cant_leave_keeps_all_and_is_named(reason: str) -> None:
    changes, entry, why, remedy = REASONS[reason]
    pool = PoolBuilder()
    pool.sr("half", on=["xen02", "xen03"])
    pool.pbds["xen03-half"] = replace(pool.pbds["xen03-half"], currently_attached=False)
    pool.vm("big1", on="xen01", memory=30 * GIB)
    pool.vm("big3", on="xen03", memory=30 * GIB)
    pool.vm("web1", on="xen02", **changes)  # type: ignore[arg-type]
    pool.vm("web2", on="xen02", memory=1 * GIB)
    entries = [wish("web2"), wish("big*", "as-is"), *([entry] if entry else [])]
    made = plan(resting(wanted(*entries), "xen02"), pool)
    assert made.actions == ()
    found = [u for u in made.unmet if u.target.name == "web1" and u.wish.startswith("leave")]
    assert why in found[0].why
    assert remedy in found[0].remedy
    (held,) = made.withheld
    assert held.action.verb is Verb.DISABLE_HOST
    assert held.why == "web1 can't leave it; nothing moves before all can, so 1 other VM stays"


def test_one_that_this_plan_unpauses_leaves_in_the_next_round() -> None:
    made = plan(resting(wanted(*BOTH), "xen02"), two_vms(power=PowerState.PAUSED))
    assert verbs(made) == ["unpause web1 -> xen02"]
    why, remedy = stays(made, "web1")
    assert why == "it is paused, and XAPI moves running VMs only; this plan unpauses it"
    assert remedy == "xenrec apply pool.yaml"


def test_evacuate_all_moves_what_the_manifest_does_not_name() -> None:
    manifest = resting(wanted(), "xen02", evacuate_all=True)
    made = plan(manifest, two_vms())
    assert verbs(made) == ["disable-host xen02", "migrate web2 -> xen01", "migrate web1 -> xen03"]
    state = two_vms().state()
    assert checked(made, resting(wanted(), "xen02"), state) == (
        "migrate web2: the manifest does not name it",
        "migrate web1: the manifest does not name it",
    )


def test_what_may_be_stopped_is_and_stays_so_until_the_host_is_back() -> None:
    pool = two_vms(sr="local-xen02")
    manifest = resting(wanted(wish("web1", placement=STOPPABLE), wish("web2")), "xen02")
    made = plan(manifest, pool)
    assert verbs(made) == ["disable-host xen02", "shutdown web1", "migrate web2 -> xen01"]
    refused = ("shutdown web1: the manifest declares it running",)
    assert checked(made, resting(wanted(*BOTH), "xen02"), pool.state()) == refused
    for source in (
        None,
        Thing("host", "xen03", uuid("xen03")),
    ):  # it names the host for whose sake it stops, and no other
        stages = tuple(
            replace(s, actions=tuple(replace(a, source=source) if a.verb is Verb.SHUTDOWN else a for a in s.actions))
            for s in made.stages
        )
        assert checked(replace(made, stages=stages), manifest, pool.state()) == refused
    pool = PoolBuilder()
    pool.host("xen02", enabled=False, other_config=OURS)
    pool.vm("web1", sr="local-xen02", home="xen02")
    pool.vm("web2", on="xen01", home="xen02")
    made = plan(manifest, pool)
    assert made.status is Status.CLEAN
    assert "is stopped while xen02 is in maintenance (placement.stopForMaintenance)" in [k.why for k in made.kept]
    made = plan(wanted(wish("web1", placement=STOPPABLE), wish("web2")), pool)
    assert verbs(made) == ["enable-host xen02", "start web1 -> xen02", "migrate web2 -> xen02", "end-maintenance xen02"]
    enable, start, move, end = made.actions
    assert enable.id in start.follows
    assert move.follows == (enable.id,)
    assert end.follows == (enable.id, move.id)


def test_an_internal_network_keeps_running_vms_on_its_host() -> None:
    """XAPI counts the VM that migrates among those that use the network, so it goes only to where another runs
    (xapi_network_attach_helpers.ml:assert_can_see_named_networks)."""
    pool = two_vms(networks=("lan",))
    pool.network("lan", [])
    made = plan(resting(wanted(*BOTH), "xen02"), pool)
    assert made.actions == ()
    told = "it uses the internal network lan, and XAPI moves it only to where another VM runs that does"
    assert stays(made, "web1")[0] == told
    entry = wish("web1", placement=PlacementWish(require=("xen03",)))
    made = plan(wanted(entry), pool)
    assert made.actions == ()
    assert "web1 uses the internal network lan, off which XAPI moves no running VM" in made.unmet[0].why
    pool.vm("web3", on="xen03", networks=("lan",))
    assert "migrate web1 -> xen03" in verbs(plan(resting(wanted(*BOTH, wish("web3")), "xen02"), pool))
    pool = two_vms(networks=("lan",))
    pool.network("lan", [])
    pool.networks["lan"] = replace(pool.networks["lan"], managed=False)
    assert "migrate web1 -> xen03" in verbs(plan(resting(wanted(*BOTH), "xen02"), pool))


def test_a_vm_elsewhere_makes_room_for_one_that_leaves() -> None:
    pool = PoolBuilder(memory=16 * GIB)
    pool.vm("db01", on="xen02", memory=12 * GIB)
    pool.vm("web1", on="xen01", memory=6 * GIB)
    pool.vm("web3", on="xen03", memory=7 * GIB)
    entries = (wish("db01"), wish("web1"), wish("web3"))
    made = plan(resting(wanted(*entries), "xen02"), pool)
    assert verbs(made) == ["disable-host xen02", "migrate web1 -> xen03", "migrate db01 -> xen01"]
    disable, room, leave = made.actions
    assert room.why == ("it makes room on xen01 for db01, for xen02 goes into maintenance; xen03 has room for it")
    assert room.follows == (disable.id,)
    assert leave.follows == (room.id, disable.id)
    assert leave.why == "xen02 goes into maintenance; xen01: the only host that can run it"
    made = plan(resting(wanted(entries[0], wish("web1", "as-is"), wish("web3", "as-is")), "xen02"), pool)
    assert made.actions == ()  # what is not declared running makes room for nobody
    held = replace(wanted(*entries), policy=Policy(attended=Level.METADATA))
    made = plan(resting(held, "xen02"), pool)
    assert made.actions == ()


def test_a_vm_that_stops_anyway_is_not_moved() -> None:
    made = plan(resting(wanted(wish("web1", "halted"), wish("web2")), "xen02"), two_vms())
    assert verbs(made) == ["disable-host xen02", "shutdown web1", "migrate web2 -> xen01"]


@pytest.mark.parametrize("limit", [Level.METADATA, Level.MOVE])
def test_a_vm_that_should_stop_and_may_not_keeps_all(limit: Level) -> None:
    """Its stop is withheld, so it stays; the other one of its group was moved away as if it were gone."""
    placement = PlacementWish(together="g")
    web1 = wish("web1", "halted", max_level=limit, placement=placement)
    made = plan(resting(wanted(web1, wish("web2", placement=placement)), "xen02"), two_vms())
    assert made.actions == ()
    assert {w.action.verb for w in made.withheld} == {Verb.DISABLE_HOST, Verb.SHUTDOWN}
    assert ("web1", "leave xen02, which is to be in maintenance") in [(u.target.name, u.wish) for u in made.unmet]


def test_groups_leave_together_and_apart() -> None:
    for word, hosts in (("together", 1), ("spread", 2)):
        placement = PlacementWish(**{word: "g"})  # type: ignore[arg-type]
        made = plan(resting(wanted(*(wish(n, placement=placement) for n in ("web1", "web2"))), "xen02"), two_vms())
        assert len({a.to.name for a in made.actions if a.verb is Verb.MIGRATE and a.to}) == hosts


def test_only_a_host_that_we_disabled_is_enabled() -> None:
    pool = PoolBuilder()
    pool.host("xen02", enabled=False)
    made = plan(wanted(), pool)
    assert made.actions == ()
    assert [(u.target.name, u.why) for u in made.unmet] == [("xen02", "it is live but disabled")]
    pool.host("xen02", enabled=False, other_config=OURS)
    assert verbs(plan(wanted(), pool)) == ["enable-host xen02", "end-maintenance xen02"]
    pool.host("xen02", enabled=True, other_config=OURS)
    assert verbs(plan(wanted(), pool)) == ["end-maintenance xen02"]


def test_what_does_not_fit_at_home_stays_and_is_told() -> None:
    pool = PoolBuilder(memory=8 * GIB)
    pool.host("xen02", other_config=OURS)
    pool.vm("full", on="xen02", memory=6 * GIB)
    pool.vm("web1", on="xen01", home="xen02", memory=4 * GIB)
    pool.vm("web2", on="xen03", home="xen02", memory=1 * GIB)
    made = plan(wanted(*BOTH, wish("full")), pool)
    assert verbs(made) == ["migrate web2 -> xen02", "end-maintenance xen02"]
    assert [k.why for k in made.kept if k.target.name == "web1"] == [
        "runs on xen01 and can't be brought home: xen02 has 2.0 GiB free and 4.0 GiB are needed"
    ]


def test_only_its_own_roll_enables_a_host() -> None:
    pool = PoolBuilder()
    pool.host("xen02", enabled=False, other_config={MARK: Mark("run-1", NOW - 60, "roll-1").text})
    made = plan(wanted(), pool)
    assert made.actions == ()
    (held,) = made.withheld
    assert held.action.verb is Verb.ENABLE_HOST
    assert held.why == "xen02 is in the rolling maintenance roll-1, since 2023-11-14 22:12:20 UTC"
    assert "xenrec roll pool.yaml --resume" in held.remedy
    ours = replace(wanted(), rolling="roll-1")
    made = plan(ours, pool)
    assert verbs(made) == ["enable-host xen02", "end-maintenance xen02"]
    assert checked(made, wanted(), pool.state()) == (
        "enable-host xen02: another rolling maintenance disabled it",
        "end-maintenance xen02: another rolling maintenance disabled it",
    )
    pool.host("xen02", other_config={MARK: "what is this"})
    assert verbs(plan(wanted(), pool))[0] == "enable-host xen02"


def test_a_host_in_maintenance_holds_no_start_back() -> None:
    """Live and disabled by us, it is not the healed member of recording 07; neither is one that the manifest rests."""
    pool = PoolBuilder()
    pool.vm("web1")
    for manifest, config in ((resting(wanted(wish("web1")), "xen02"), {}), (wanted(wish("web1")), OURS)):
        pool.host("xen02", enabled=False, other_config=config)
        assert any(told.startswith("start web1 -> ") for told in verbs(plan(manifest, pool)))
    pool.host("xen02", enabled=False, other_config={})
    assert plan(wanted(wish("web1")), pool).actions == ()


def test_after_a_master_start_a_host_in_maintenance_is_waited_for_like_the_others() -> None:
    """Every host is disabled then, and what a promoted master's older database says of one that is still starting
    proves nothing (recordings 11, 14)."""
    pool = PoolBuilder()
    pool.vm("web1")
    manifest = resting(wanted(wish("web1")), "xen02")
    for name in pool.hosts:
        pool.host(name, enabled=False)
    assert [a.verb for a in plan(manifest, pool).stages[0].actions] == [Verb.AWAIT_MEMBERS]
    pool.host("xen01", enabled=True)
    pool.host("xen03", enabled=True)
    assert verbs(plan(manifest, pool)) == ["start web1 -> xen01"]
    # A master that is itself in maintenance is never enabled: the others tell.
    pool.host("xen01", enabled=False)
    pool.host("xen02", enabled=True)
    made = plan(resting(wanted(wish("web1")), "xen01"), pool)
    assert verbs(made)[0] == "designate-master xen02"


def test_a_silent_host_that_we_disabled_is_not_fenced_while_it_may_be_restarting() -> None:
    pool = PoolBuilder()
    pool.vm("web1")
    pool.host("xen02", enabled=False, live=False, other_config=OURS)
    made = plan(wanted(wish("web1")), pool, {"xen02": "silent"})
    assert made.actions == ()
    assert {w.action.verb for w in made.withheld} == {Verb.FENCE, Verb.START}
    assert all(
        "xenrec itself disabled it for maintenance" in w.why or w.action.verb is Verb.START for w in made.withheld
    )
    # The manifest's own word is enough, as long as nothing runs there.
    assert verbs(plan(resting(wanted(wish("web1")), "xen02"), pool, {"xen02": "silent"})) == ["start web1 -> xen01"]
    # Certified dead it is dead.
    dead = make_plan(
        wanted(wish("web1")),
        survey({"xen02": "silent off"}),
        now=NOW,
        state=pool.state(),
        certificates=(certificate("xen02"),),
    )
    assert verbs(dead) == ["start web1 -> xen01"]


def test_the_checker_knows_the_verbs() -> None:
    pool = PoolBuilder()
    pool.host("xen03", enabled=False)
    manifest = wanted()
    made = make_plan(manifest, survey(), now=NOW, state=pool.state())

    def with_actions(*actions: Action) -> tuple[str, ...]:
        return checked(replace(made, stages=(Stage("restore", actions),)), manifest, pool.state())

    def host(name: str) -> Thing:
        return Thing("host", name, uuid(name))

    assert with_actions(Action(Verb.DISABLE_HOST, host("xen01"), "")) == (
        "disable-host xen01: the manifest does not declare it in maintenance",
        "disable-host xen01: it is the master",
    )
    assert with_actions(Action(Verb.ENABLE_HOST, host("xen03"), "")) == (
        "enable-host xen03: it was not xenrec that disabled it",
    )
    assert with_actions(Action(Verb.END_MAINTENANCE, host("xen03"), "")) == (
        "end-maintenance xen03: it was not xenrec that disabled it",
        "end-maintenance xen03: it is still disabled",
    )
    assert with_actions(Action(Verb.ENABLE_HOST, Thing("host", "xen09", "gone"), "")) == (
        "enable-host xen09: the pool has no such host",
    )


def test_marks_are_read_back_whatever_they_hold() -> None:
    mark = Mark("run-1", 12.5, "roll-9")
    assert mark_of({MARK: mark.text}) == mark
    assert mark_of({}) is None
    for text in ("", "[]", "null", "{", '{"run":1}', '{"run":"a","at":"b"}', '{"run":"a","at":1e999}'):
        found = mark_of({MARK: text})
        assert found is not None
        assert found.roll == ""
