"""Two machines, two state folders, one pool: they never both act, and a dead run's lease goes to exactly one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.lease import LIFETIME, PREFIX, Lease, leases
from reconciler.core.plan import Outcome, Result, Verb
from reconciler.core.port import FaultKind, TransportFault
from reconciler.core.wanted import Failback, MasterWish, MetadataPolicy
from reconciler.execute.lease import ADD, REMOVE, LeaseBusy
from reconciler.execute.refresh import SYNC
from tests.pipeline.told import (
    PROMOTION,
    Console,
    Killed,
    changes,
    dead_master,
    dead_member,
    proved,
    running,
    seen_before,
)
from tests.support.story import Story

SMALL: dict[str, Any] = {"hosts": 3, "vms": 8}


def beside(story: Story, folder: Path) -> Story:
    """Another machine with the same manifest: its own state folder, its own port to the same lab."""
    folder.mkdir()
    return Story(story.lab, story.wanted, folder)


def standing(story: Story) -> tuple[Lease, ...]:
    """The leases in the acting master's database."""
    (pool,) = story.lab.masters()[0].toolstack.db.tables["pool"].values()  # type: ignore[union-attr]
    return leases(pool["other_config"])


def acts(method: str) -> bool:
    """The call changes something, the lease itself aside."""
    return changes(method) and method not in (ADD, REMOVE)


def watched(story: Story, machine: str, crimes: list[str], then: Callable[[int, str], None] | None = None) -> None:
    """Every call of this machine that acts through a master must find its own live lease there, and no other."""
    number = -1

    def hook(address: str, method: str, params: Sequence[Any]) -> None:
        nonlocal number
        number += 1
        if then is not None:
            then(number, method)
        masters = [h for h in story.lab.masters() if h.address == address]
        if masters and acts(method) and method != PROMOTION:
            live = {one.machine for one in standing(story) if one.live(story.lab.now)}
            if machine not in live:
                crimes.append(f"{machine} sent {method} without the lease, held by {live}")

    story.port.before_call = hook


def tried(story: Story) -> Outcome | LeaseBusy:
    """One apply."""
    try:
        return story.apply()
    except LeaseBusy as busy:
        return busy


def machine_of(story: Story) -> str:
    return story.reconciler().folder.machine()


def other_office(folder: Path, **options: Any) -> Story:
    """All is well, and the manifest wants another master at once."""
    story = seen_before(folder, **options)
    story.changed(lambda w: replace(w, master=MasterWish("xen02", ("xen01", "xen03"), Failback.AUTO)))
    return story


@pytest.mark.parametrize("share", range(2))
@pytest.mark.parametrize("tell", [dead_member, dead_master, other_office], ids=["member", "master", "office"])
def test_a_second_machine_begins_at_any_call_of_the_first(
    tmp_path: Path, tell: Callable[..., Story], share: int
) -> None:
    probe = tell(tmp_path / "probe", **SMALL)
    before = len(probe.port.calls)
    wished = probe.apply()
    assert wished.final is not None
    methods = [m for _, _, m in probe.port.calls[before:]]
    left = sorted(u.target.name for u in wished.final.unmet)
    chosen = [n for n, m in enumerate(methods) if changes(m) or n % 5 == 0]
    met = 0
    for number in chosen[share::2]:
        where = f"at call {number}, {methods[number]}"
        first = tell(tmp_path / f"{number}", **SMALL)
        second = beside(first, tmp_path / f"{number}-second")
        crimes: list[str] = []
        said: list[Outcome | LeaseBusy] = []

        def begin(at: int, method: str) -> None:
            if at == number and not said:  # noqa: B023 - used in this turn only
                said.append(tried(second))  # noqa: B023

        watched(second, machine_of(second), crimes)
        watched(first, machine_of(first), crimes, begin)
        outcome = tried(first)
        assert said, where
        assert crimes == [], where
        met += isinstance(said[0], LeaseBusy) + isinstance(outcome, LeaseBusy)
        assert first.lab.harm() == [], where
        assert first.doubles() == [], where
        assert len(first.lab.masters()) == 1, where
        promoted = {a for _, a, m in (*first.port.calls, *second.port.calls) if m == PROMOTION}
        assert len(promoted) == (1 if tell is dead_master else 0), where
        for one in (first, second):
            one.port.before_call = None
        assert standing(first) == (), where
        first.wait(LIFETIME)
        proved(first, first.apply(), left=left)
    assert met > 0


def test_the_busy_one_is_told_who_and_does_nothing(tmp_path: Path) -> None:
    first = dead_member(tmp_path / "first", **SMALL)
    second = beside(first, tmp_path / "second")
    told: list[str] = []

    def begin(address: str, method: str, params: Sequence[Any]) -> None:
        if method == "Async.host.declare_dead" and not told:
            calls = len(second.port.calls)
            with pytest.raises(LeaseBusy) as busy:
                second.apply()
            told.append(str(busy.value))
            assert not [m for _, _, m in second.port.calls[calls:] if changes(m)]

    first.port.before_call = begin
    assert {d.result for d in first.apply().done} == {Result.DONE}
    assert "another run is working on this pool: run run-2 of somebody" in told[0]
    assert "since 20" in told[0]
    assert standing(first) == ()


@pytest.mark.parametrize("released", [True, False], ids=["a run that ended", "a run that died with its master"])
def test_the_lease_in_a_copy_of_before_the_promotion_holds_nobody_up(tmp_path: Path, released: bool) -> None:
    """Every copy that a run refreshes has that run's lease. Held up for its five minutes, the members were not told to
    follow the new master, and its start waits for that (sheet §2.2)."""
    first = seen_before(tmp_path / "first", **SMALL)
    first.changed(lambda w: replace(w, policy=replace(w.policy, metadata=MetadataPolicy(refresh_every=60.0))))
    second = beside(first, tmp_path / "second")
    second.plan()

    def die() -> None:
        first.lab.power_off("xen01")
        raise Killed

    if not released:
        first.at(SYNC, die, before=False)
    with suppress(Killed):
        first.apply()
    assert SYNC in [m for _, _, m in first.port.calls]
    first.lab.power_off("xen01")
    first.wait(10)
    began = second.lab.now
    outcome = second.apply()
    assert {d.result for d in outcome.done} == {Result.DONE}
    assert [d.action.verb for d in outcome.done][:3] == [Verb.FENCE, Verb.PROMOTE, Verb.RECOVER_MEMBERS]
    assert second.lab.now - began < LIFETIME
    assert standing(second) == ()


def killed_with_the_lease(folder: Path) -> Story:
    """A run that died right after it took the lease."""
    story = dead_member(folder, **SMALL)

    def die(address: str, method: str, params: Sequence[Any]) -> None:
        if method == ADD or story.dead:  # type: ignore[attr-defined]
            story.dead = True  # type: ignore[attr-defined]
            raise Killed

    story.dead = False  # type: ignore[attr-defined]
    story.port.after_call = die
    story.port.before_call = lambda a, m, p: die(a, "", p)
    with pytest.raises(Killed):
        story.apply()
    story.port.before_call = story.port.after_call = None
    assert len(standing(story)) == 1
    return story


def test_the_machine_of_the_dead_run_takes_over_at_once(tmp_path: Path) -> None:
    story = killed_with_the_lease(tmp_path / "first")
    assert {d.result for d in story.apply().done} == {Result.DONE}
    assert standing(story) == ()


def test_another_machine_waits_until_it_expired(tmp_path: Path) -> None:
    first = killed_with_the_lease(tmp_path / "first")
    second = beside(first, tmp_path / "second")
    with pytest.raises(LeaseBusy):
        second.apply()
    first.wait(LIFETIME + 1)
    assert {d.result for d in second.apply().done} == {Result.DONE}
    assert standing(first) == ()


def test_an_expired_lease_is_taken_over_by_exactly_one_of_two(tmp_path: Path) -> None:
    """The third machine comes at each call of the second's taking over."""
    outcomes = set()
    for number in range(4):
        dead = killed_with_the_lease(tmp_path / f"{number}")
        dead.wait(LIFETIME + 1)
        second, third = (beside(dead, tmp_path / f"{number}-{n}") for n in (2, 3))
        crimes: list[str] = []
        said: list[Outcome | LeaseBusy] = []
        seen: list[str] = []

        def begin(at: int, method: str) -> None:
            if method in ("host.get_servertime", "pool.get_other_config", ADD, REMOVE):
                seen.append(method)  # noqa: B023
                if len(seen) == number + 1 and not said:  # noqa: B023
                    said.append(tried(third))  # noqa: B023

        watched(third, machine_of(third), crimes)
        watched(second, machine_of(second), crimes, begin)
        mine = tried(second)
        assert crimes == []
        acted = [isinstance(one, Outcome) and bool(one.done) for one in (mine, said[0])]
        assert any(acted)
        outcomes.add((isinstance(mine, LeaseBusy), isinstance(said[0], LeaseBusy)))
        assert standing(dead) == ()
        assert dead.lab.harm() == []
    assert (False, True) in outcomes  # it came too late


def test_a_run_whose_lease_is_taken_from_it_stops(tmp_path: Path) -> None:
    story = dead_member(tmp_path / "first", **SMALL)
    console = Console(story)

    def release(address: str, method: str, params: Sequence[Any]) -> None:
        if method == "Async.host.declare_dead":
            for lease in standing(story):
                console(REMOVE, console.pool, lease.key)
            story.port.after_call = None
            story.wait(11)

    story.port.after_call = release
    outcome = story.apply()
    assert "was released or taken over" in outcome.stopped
    assert "Async.VM.start_on" not in [m for _, _, m in story.port.calls]
    assert {d.result for d in story.apply().done} == {Result.DONE}


def test_what_cannot_be_read_under_our_key_is_somebody(tmp_path: Path) -> None:
    story = dead_member(tmp_path / "first", **SMALL)
    console = Console(story)
    console(ADD, console.pool, f"{PREFIX}7", "do not touch, Juan")
    with pytest.raises(LeaseBusy, match=r"xenrec-lease-7 in pool\.other_config can't be read"):
        story.apply()
    console(REMOVE, console.pool, f"{PREFIX}7")
    assert {d.result for d in story.apply().done} == {Result.DONE}


@pytest.mark.parametrize("method", [ADD, REMOVE])
def test_the_answer_to_a_lease_call_is_lost(tmp_path: Path, method: str) -> None:
    story = dead_member(tmp_path / "first", **SMALL)
    lost: list[str] = []

    def lose(address: str, called: str, params: Sequence[Any]) -> None:
        if called == method and not lost:
            lost.append(called)
            raise TransportFault(FaultKind.DROPPED, "the cable", sent=True)

    story.port.after_call = lose
    assert {d.result for d in story.apply().done} == {Result.DONE}
    assert lost == [method]
    assert standing(story) == ()


def test_it_is_renewed_while_a_long_start_is_under_way(tmp_path: Path) -> None:
    """Twenty minutes of one operation, with another machine asking all the time."""
    story = seen_before(tmp_path / "first", **SMALL)
    console = Console(story)
    name = next(vm for vm in sorted(running(story)) if vm.startswith("app"))
    console("VM.hard_shutdown", console.vm(name))
    console("VM.set_start_delay", console.vm(name), 600)
    second = beside(story, tmp_path / "second")
    machine = machine_of(story)
    crimes: list[str] = []
    keys: set[str] = set()
    begun = story.lab.now

    def look(at: int, method: str) -> None:
        if story.lab.masters():
            keys.update(one.key for one in standing(story))

    watched(story, machine, crimes, look)
    outcome = story.apply()
    assert {d.result for d in outcome.done} == {Result.DONE}
    assert story.lab.now - begun > 2 * LIFETIME
    assert len(keys) >= 4
    assert crimes == []
    assert second.plan().actions == ()


def test_a_run_with_nothing_to_do_leaves_no_trace(tmp_path: Path) -> None:
    story = seen_before(tmp_path / "first", **SMALL)
    calls = len(story.port.calls)
    assert story.apply().done == ()
    assert not [m for _, _, m in story.port.calls[calls:] if changes(m)]


def test_the_lease_of_our_own_dead_run_is_no_other_run(tmp_path: Path) -> None:
    story = killed_with_the_lease(tmp_path / "first")
    assert not [note for note in story.plan().notes if "another run" in note]
    (note,) = [n for n in beside(story, tmp_path / "second").plan().notes if "another run" in n]
    assert "run run-2 of somebody" in note
