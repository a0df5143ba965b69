"""Fencing: what the plan saw of the host, and of the rest, is looked at again right before its power is cut."""

from __future__ import annotations

import pytest

from reconciler.core.plan import Action, Done, Result, Verb
from tests.execute.world import NOTHING, Rig, host_thing

MEMBER = Action(Verb.FENCE, host_thing("xen03"), "its VMs")
MASTER = Action(Verb.FENCE, host_thing("xen01"), "the master is lost")


def cut_off() -> Rig:
    """xen03 has power, and we don't reach it; xen01 heard it and lost it."""
    rig = Rig()
    rig.world.host("xen03").up = False
    rig.world.metrics["OpaqueRef:m-xen03"]["live"] = False
    return rig


def fence(rig: Rig) -> Done:
    return rig.run(MEMBER)[MEMBER.id]


def test_one_that_the_master_has_lost_is_fenced_at_once() -> None:
    rig = cut_off()
    began = rig.world.now()
    assert fence(rig).result is Result.DONE
    assert rig.world.now() - began < 10


def test_one_whose_toolstack_restarts_by_now_lives() -> None:
    rig = cut_off()
    rig.world.host("xen03").up = True
    rig.world.host("xen03").refuses_until = rig.world.now() + 60
    done = fence(rig)
    assert (done.result, rig.fencer.offs) == (Result.REFUSED, 0)
    assert done.why == "xen03 is alive: it refuses connections, so its host is up"


@pytest.mark.parametrize("power", [True, False])
def test_one_that_the_master_hears_by_now_is_only_cut_off_from_us_unless_it_has_no_power(power: bool) -> None:
    rig = cut_off()
    rig.world.host("xen03").power = power
    rig.world.metrics["OpaqueRef:m-xen03"]["live"] = True
    done = fence(rig)
    assert rig.fencer.offs == (0 if power else 1)
    assert done.result is (Result.REFUSED if power else Result.DONE)
    assert done.why.startswith("xen01 hears xen03" if power else "xen03 is powered off")


@pytest.mark.parametrize(("age", "hears", "waits"), [(5.0, True, 15.0), (5.0, False, 55.0), (3600.0, False, 0.0)])
def test_a_master_that_has_just_started_is_given_the_time_to_hear_it(age: float, hears: bool, waits: float) -> None:
    rig = cut_off()
    began = rig.world.now()
    rig.world.host_records["OpaqueRef:xen03"]["enabled"] = False  # not heard since the master's start
    rig.world.host_records["OpaqueRef:xen01"]["other_config"] = {"agent_start_time": f"{began - age:.0f}."}

    def heard(at: str, method: str, params: object) -> None:
        if hears and rig.world.now() >= began + 14:
            rig.world.metrics["OpaqueRef:m-xen03"]["live"] = True

    rig.world.hooks.append(lambda *call: (heard(*call), NOTHING)[1])
    done = fence(rig)
    assert waits <= rig.world.now() - began < waits + 10
    assert rig.fencer.offs == (0 if hears else 1)
    assert done.result is (Result.REFUSED if hears else Result.DONE)


def test_a_master_that_does_not_say_when_it_started_is_given_a_minute() -> None:
    rig = cut_off()
    began = rig.world.now()
    rig.world.host_records["OpaqueRef:xen03"]["enabled"] = False
    assert fence(rig).result is Result.DONE
    assert 60.0 <= rig.world.now() - began < 70.0


def test_of_a_plan_that_was_read_for_minutes_it_is_asked_again_whether_the_members_reach_their_master() -> None:
    rig = Rig()
    rig.planned_at = rig.world.now() - 600
    rig.world.host("xen01").up = False
    assert rig.run(MASTER, master=None, lost="xen01")[MASTER.id].result is Result.DONE  # nobody reaches it
    rig = Rig()
    rig.planned_at = rig.world.now() - 600
    reach = rig.world._reach
    rig.world._reach = lambda address, deadline: (  # type: ignore[method-assign]
        reach("10.0.0.9", deadline) if address == "10.0.0.1" else reach(address, deadline)
    )
    done = rig.run(MASTER, master=None, lost="xen01")[MASTER.id]
    assert (done.result, rig.fencer.offs) == (Result.REFUSED, 0)
    assert "xen02 and xen03 still reach it" in done.why


def test_nobody_is_fenced_where_it_is_we_who_are_cut_off_by_now() -> None:
    rig = cut_off()
    rig.planned_at = rig.world.now() - 600
    rig.world.host("xen02").up = False
    done = fence(rig)
    assert (done.result, rig.fencer.offs) == (Result.REFUSED, 0)
    assert "only 1 of 3 members answer" in done.why
