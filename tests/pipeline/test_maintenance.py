"""A member goes into maintenance and comes back: the whole program over the in-memory lab, on virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.mark import MARK
from reconciler.core.model import PoolState
from reconciler.core.plan import Result, Status, Verb
from reconciler.core.port import FaultKind, TransportFault, XapiFailure
from reconciler.core.wanted import Level, MemberState, MetadataPolicy, PlacementWish
from reconciler.lab import Release
from reconciler.lab.visitor import Visitor
from reconciler.pipeline import Approval
from tests.support.calls import Killed, changes
from tests.support.scenario_pool import make_lab
from tests.support.story import Story, wanted_of

POOL: dict[str, Any] = {
    "hosts": 3,
    "vms": [
        {"name": "db01", "at": "xen02"},
        {"name": "web1", "at": "xen02"},
        {"name": "web2", "at": "xen03"},
        {"name": "app1", "at": "xen01"},
    ],
}


MIGRATE_BIG2 = ("VM.pool_migrate", "vm:big2", "host:xen01", "{}")


def story(folder: Path, **more: Any) -> Story:
    lab = make_lab({**POOL, **more})
    return Story(lab, wanted_of(lab), folder)


def declare(s: Story, host: str, state: MemberState) -> None:
    s.changed(lambda w: replace(w, members=tuple(replace(m, state=state) if m.name == host else m for m in w.members)))


def rest(s: Story, host: str) -> None:
    declare(s, host, MemberState.MAINTENANCE)


def wake(s: Story, host: str) -> None:
    declare(s, host, MemberState.ACTIVE)


def where(s: Story) -> dict[str, list[str]]:
    return {host: sorted(d.name for d in domains) for host, domains in s.lab.running().items()}


def read(s: Story) -> PoolState:
    state = s.reconciler().observe().state
    assert state is not None
    return state


def enabled(s: Story) -> dict[str, bool]:
    return {h.name: h.enabled for h in sorted(read(s).hosts.values(), key=lambda h: h.name)}


def marked(s: Story) -> list[str]:
    return sorted(h.name for h in read(s).hosts.values() if MARK in h.other_config)


AT_HOME = {"xen01": ["app1"], "xen02": ["db01", "web1"], "xen03": ["web2"]}


def test_away_and_home_again(tmp_path: Path) -> None:
    s = story(tmp_path)
    rest(s, "xen02")
    out = s.apply()
    assert {d.result for d in out.done} == {Result.DONE}
    assert out.final is not None
    assert out.final.status is Status.CLEAN
    assert where(s) == {"xen01": ["app1", "db01"], "xen02": [], "xen03": ["web1", "web2"]}
    assert enabled(s) == {"xen01": True, "xen02": False, "xen03": True}
    wake(s, "xen02")
    out = s.apply()
    assert out.final is not None
    assert out.final.status is Status.CLEAN
    assert where(s) == AT_HOME
    assert marked(s) == []
    assert s.lab.harm() == []


UNHEARD = [
    XapiFailure("SESSION_INVALID", "OpaqueRef:s"),
    TransportFault(FaultKind.UNREACHABLE, "no route", sent=False),
]


@pytest.mark.parametrize("fault", UNHEARD, ids=["forgotten", "unsent"])
@pytest.mark.parametrize("method", ["host.disable", "host.enable", "pool.sync_database"])
def test_a_call_that_did_not_get_out_is_sent_again_after_another_look_only(
    tmp_path: Path, method: str, fault: XapiFailure | TransportFault
) -> None:
    """Found by soak seeds 5100912, 5101709, 5003576 and others: it was sent again as it was."""
    s = story(tmp_path)
    s.changed(lambda w: replace(w, policy=replace(w.policy, metadata=MetadataPolicy(refresh_every=60.0))))
    rest(s, "xen02")
    if method == "host.enable":
        s.apply()
        wake(s, "xen02")
    asked: list[str] = []

    def hook(address: str, called: str, params: Sequence[Any]) -> None:
        asked.append(called)
        if called == method and asked.count(method) == 1:
            raise fault

    s.port.before_call = hook
    out = s.apply()
    assert {d.result for d in out.done} <= {Result.DONE, Result.SKIPPED}, out.done
    assert s.plan().actions == ()
    first = asked.index(method)
    between = asked[first + 1 : asked.index(method, first + 1)]
    assert {"host.get_record", "host.get_all_records"} & set(between), between


@pytest.mark.parametrize("release", [Release.V24_16, Release.CLASSIC])
def test_a_restart_of_its_toolstack_enables_it_only_where_xapi_cant_remember(tmp_path: Path, release: Release) -> None:
    """Recordings 10 and 15; newer releases take auto_enable=false (sheet §3.3)."""
    s = story(tmp_path, release=release.value)
    rest(s, "xen02")
    done = {d.action.verb: d.why for d in s.apply().done}
    assert ("enables it again" in done[Verb.DISABLE_HOST]) is (release is Release.V24_16)
    s.lab.power_off("xen02")
    s.lab.power_on("xen02")
    s.wait(200)
    assert enabled(s)["xen02"] is (release is Release.V24_16)
    assert [a.verb for a in s.plan().actions] == ([Verb.DISABLE_HOST] if release is Release.V24_16 else [])
    s.apply()
    assert enabled(s)["xen02"] is False
    s.lab.restart_toolstack("xen01")
    s.wait(60)
    assert enabled(s) == {"xen01": True, "xen02": False, "xen03": True}
    wake(s, "xen02")
    s.apply()
    assert where(s) == AT_HOME


def test_the_master_hands_over_and_leaves(tmp_path: Path) -> None:
    s = story(tmp_path)
    rest(s, "xen01")
    out = s.apply()
    assert [d.action.verb for d in out.done] == [Verb.DESIGNATE_MASTER, Verb.DISABLE_HOST, Verb.MIGRATE]
    assert [h.name for h in s.lab.masters()] == ["xen02"]
    assert where(s)["xen01"] == []
    wake(s, "xen01")
    out = s.apply(failback=True)
    assert [h.name for h in s.lab.masters()] == ["xen01"]
    assert where(s) == AT_HOME
    assert out.final is not None
    assert out.final.status is Status.CLEAN


def test_one_that_dies_in_maintenance_is_missed_by_nobody(tmp_path: Path) -> None:
    s = story(tmp_path, hosts=4)
    rest(s, "xen02")
    s.apply()
    s.lab.power_off("xen02")
    s.wait(700)
    s.lab.restart_toolstack("xen01")  # it disables every host: what is silent then was not heard since
    s.wait(60)
    s.lab.power_off("xen03")
    s.wait(700)
    out = s.apply()
    assert [d.action.verb for d in out.done] == [Verb.FENCE, Verb.DECLARE_DEAD, Verb.START]
    assert where(s)["xen02"] == where(s)["xen03"] == []
    assert sorted(where(s)["xen01"] + where(s)["xen04"]) == ["app1", "db01", "web1", "web2"]
    assert s.lab.harm() == []


@pytest.mark.parametrize("after", [0.0, 700.0])
def test_the_master_dies_while_another_is_in_maintenance(tmp_path: Path, after: float) -> None:
    """Right after the evacuation the promoted member's copy of the database does not know of it: what moved to a member
    is killed there when that comes back (recording 08), is started again, and never runs twice."""
    s = story(tmp_path)
    rest(s, "xen02")
    s.apply()
    s.wait(after)
    s.lab.power_off("xen01")
    s.wait(30)
    s.apply()
    assert [h.name for h in s.lab.masters()] == ["xen03"]
    assert where(s)["xen02"] == []
    assert sorted(where(s)["xen03"]) == ["app1", "db01", "web1", "web2"]
    assert {h.kind for h in s.lab.harm()} == ({"resync-kill"} if not after else set())
    assert enabled(s)["xen02"] is False


def test_what_somebody_else_disabled_stays_so(tmp_path: Path) -> None:
    s = story(tmp_path, disabled=["xen02"])
    rest(s, "xen02")
    out = s.apply()
    assert [d.action.verb for d in out.done] == [Verb.MIGRATE, Verb.MIGRATE]
    wake(s, "xen02")
    left = s.apply().final
    assert left is not None
    assert [(u.target.name, u.why) for u in left.unmet] == [("xen02", "it is live but disabled")]
    assert enabled(s)["xen02"] is False


def test_a_level_below_move_changes_nothing(tmp_path: Path) -> None:
    s = story(tmp_path)
    rest(s, "xen02")
    s.changed(lambda w: replace(w, policy=replace(w.policy, attended=Level.METADATA)))
    plan = s.plan()
    assert plan.actions == ()
    assert {w.action.verb for w in plan.withheld} == {Verb.DISABLE_HOST, Verb.MIGRATE}


def test_somebody_disables_it_between_plan_and_apply(tmp_path: Path) -> None:
    """What we did not disable we do not claim: it carries no mark, and is not enabled again."""
    s = story(tmp_path)
    rest(s, "xen02")

    def meddle(address: str, method: str, params: Sequence[Any]) -> None:
        if method == "host.add_to_other_config":
            db = s.lab.masters()[0].toolstack.db  # type: ignore[union-attr]
            ref = next(r for r, h in db.tables["host"].items() if h["name_label"] == "xen02")  # type: ignore[union-attr]
            db.update("host", ref, enabled=False)  # type: ignore[union-attr]

    s.port.before_call = meddle
    out = s.apply()
    assert out.final is not None
    assert out.final.status is Status.CLEAN
    assert where(s)["xen02"] == []


@pytest.mark.parametrize("gone", [True, False], ids=["it has left by itself", "it is there still"])
def test_what_was_to_be_stopped_for_a_maintenance_runs_on_where_it_went_meanwhile(tmp_path: Path, gone: bool) -> None:
    """Found by soak seed 10030295: another run had stopped it and started it elsewhere, and it was stopped there."""
    big = [{"name": f"big{n}", "at": f"xen0{n}", "gib": 20} for n in (1, 2, 3)]
    s = story(tmp_path, vms=big)
    s.wish("big2", placement=PlacementWish(stop_for_maintenance=True))
    rest(s, "xen02")
    run = s.reconciler()
    with run.folder.lock(run=run.run, since=s.port.now()):
        made = run.plan()
        assert [a.verb for a in made.actions if a.target.name == "big2"] == [Verb.SHUTDOWN]
        if gone:
            for method, *words in (("VM.clean_shutdown", "vm:big1"), MIGRATE_BIG2):
                Visitor(s.lab, lambda text: None).call("", method, words)
                s.wait(60)
        out = run.apply(made, Approval())
    stop = next(d for d in out.done if d.action.verb is Verb.SHUTDOWN)
    if gone:
        assert (stop.result, stop.why) == (Result.REFUSED, "it runs on xen01, not on xen02")
        assert where(s)["xen01"] == ["big2"]
    else:
        assert stop.result is Result.DONE
        assert where(s)["xen02"] == []


def test_killed_at_every_write_and_run_again(tmp_path: Path) -> None:
    """I10, there and back."""
    for number in range(40):
        s = story(tmp_path / str(number))
        hit = 0

        def die(address: str, method: str, params: Sequence[Any], *, at: int = number) -> None:
            nonlocal hit
            if not changes(method):
                return
            hit += 1
            if hit == at + 1:
                raise Killed

        s.port.after_call = die
        killed = False
        for turn in (rest, wake):
            turn(s, "xen02")
            try:
                s.apply()
            except Killed:
                killed = True
                s.port.after_call = None
                s.wait(20)
                s.apply()
            if turn is rest:
                assert where(s)["xen02"] == [], number
                assert enabled(s)["xen02"] is False, number
        assert where(s) == AT_HOME, number
        assert marked(s) == [], number
        assert s.lab.harm() == [], number
        if not killed:
            assert number > 10
            return
    raise AssertionError("it never ended")
