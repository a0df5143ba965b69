"""What counts as ready, and how long it is waited for: the addresses that tools report, clocks, and what is asked."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.core.plan import Action, Done, Result, Verb
from reconciler.core.port import Ask
from reconciler.core.wanted import Ready
from reconciler.execute.ready import addresses
from tests.execute.test_vms import one
from tests.execute.world import NULL, Rig, start, vm_thing


@pytest.mark.parametrize(
    ("networks", "found"),
    [
        ({}, ()),
        (None, ()),
        ({"0/ip": "10.0.0.5", "0/ipv4/0": "10.0.0.5"}, ("10.0.0.5",)),
        ({"0/ip": "127.0.0.1", "1/ip": "169.254.3.4", "2/ip": "0.0.0.0"}, ()),
        ({"0/ipv6/0": "fe80::1", "0/ipv6/1": "2001:db8::5", "1/ip": "10.0.0.6"}, ("10.0.0.6", "2001:db8::5")),
        ({"0/ip": "nonsense", "1/ip": ""}, ()),
        ({f"{i}/ip": f"10.0.0.{i}" for i in range(1, 9)}, ("10.0.0.1", "10.0.0.2", "10.0.0.3")),
    ],
)
def test_addresses_that_others_can_reach_the_first_few(networks: Any, found: tuple[str, ...]) -> None:
    assert addresses(networks) == found


def wait(ready: Ready | None, *follows: str) -> Action:
    return Action(Verb.AWAIT_READY, vm_thing("v1"), "test", ready=ready, follows=follows)


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.world.vm("v1").update(metrics="OpaqueRef:vmm", guest_metrics="OpaqueRef:gm")
    rig.world.more["VM_metrics"] = {"OpaqueRef:vmm": {"uuid": "m", "start_time": "19700101T00:00:00Z"}}
    guest = {"uuid": "g", "PV_drivers_detected": True, "networks": {"0/ip": "10.1.0.5"}, "PV_drivers_version": {}}
    rig.world.more["VM_guest_metrics"] = {"OpaqueRef:gm": guest}
    return rig


def go(rig: Rig, ready: Ready | None) -> Done:
    return one(rig.run(wait(ready)))


def test_one_that_is_ready_costs_one_look(rig: Rig) -> None:
    done = go(rig, Ready(tools=True))
    assert (done.result, done.why) == (Result.ALREADY, "it reports by its guest tools")
    assert done.took < 1
    assert [m for _, m in rig.world.calls if m.startswith(("Async", "pool.add"))] == []


def test_one_that_ran_for_long_is_asked_once(rig: Rig) -> None:
    rig.world.vm("v1")["guest_metrics"] = NULL
    done = go(rig, Ready(address=True, timeout=600))
    assert (done.result, done.why) == (Result.FAILED, "its guest tools do not report")
    assert done.took < 1


def test_one_that_has_just_started_gets_the_rest_of_its_time(rig: Rig) -> None:
    rig.world.more["VM_guest_metrics"]["OpaqueRef:gm"]["networks"] = {}
    rig.world.time = 2_000_000_000.0
    rig.world.more["VM_metrics"]["OpaqueRef:vmm"]["start_time"] = "20330518T03:33:00Z"  # 20 s ago
    done = go(rig, Ready(address=True, timeout=60))
    assert (done.result, done.why) == (Result.FAILED, "it reports no IP address; waited 40 s")


def test_a_clock_that_is_ahead_gives_it_no_more_than_its_time(rig: Rig) -> None:
    rig.world.more["VM_guest_metrics"]["OpaqueRef:gm"]["networks"] = {}
    rig.world.time = 2_000_000_000.0
    rig.world.more["VM_metrics"]["OpaqueRef:vmm"]["start_time"] = "20400518T03:33:00Z"
    assert 60 <= go(rig, Ready(address=True, timeout=60)).took < 66


def test_one_that_stops_or_goes_ends_the_wait(rig: Rig) -> None:
    rig.world.halt("v1")
    done = go(rig, Ready(tools=True))
    assert (done.result, done.why) == (Result.FAILED, "it is Halted")
    del rig.world.vms["OpaqueRef:v1"]
    assert go(rig, Ready(tools=True)).result is Result.REFUSED
    assert go(rig, None).result is Result.REFUSED


def test_every_address_is_asked_and_one_will_do(rig: Rig) -> None:
    rig.world.more["VM_guest_metrics"]["OpaqueRef:gm"]["networks"] = {"0/ip": "10.1.0.5", "1/ipv6/0": "2001:db8::5"}
    rig.world.open.add("[2001:db8::5]:5432")
    assert go(rig, Ready(tcp=5432)).result is Result.ALREADY
    assert rig.world.asked == [Ask("tcp", 2.0, a, port=5432) for a in ("10.1.0.5", "[2001:db8::5]")]
    rig.world.rounds.clear()
    rig.world.open.clear()
    done = go(rig, Ready(tcp=5432))
    assert (done.result, done.why) == (Result.FAILED, "10.1.0.5:5432 does not answer")


def test_a_page_by_path_by_port_and_by_url(rig: Rig) -> None:
    for http in ("/health", ":8080/health", "https://api.example/health"):
        go(rig, Ready(http=http))
    urls = ["http://10.1.0.5/health", "http://10.1.0.5:8080/health", "https://api.example/health"]
    assert [a.url for a in rig.world.asked] == urls


def test_waits_ask_together(rig: Rig) -> None:
    """Two guests that are silent cost one round of questions each time, not two."""
    rig.world.vm("v2").update(metrics="OpaqueRef:vmm", guest_metrics="OpaqueRef:gm")
    rig.world.halt("v1")
    rig.world.halt("v2")
    first, second = start("v1", "xen02"), start("v2", "xen02")
    ready = Ready(tcp=1, timeout=30)
    other = Action(Verb.AWAIT_READY, vm_thing("v2"), "test", ready=ready, follows=(second.id,))
    rig.run(first, second, wait(ready, first.id), other)
    assert rig.world.rounds[1:-1]
    assert {len(r) for r in rig.world.rounds[1:-2]} == {2}
