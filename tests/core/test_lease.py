"""The lease's keys: what stands in a pool's other_config is read without trust, and the next generation is right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.lease import LIFETIME, PREFIX, leases, make, next_generation, rival


def a_lease(generation: int = 1, machine: str = "m1", now: float = 1000.0, run: str = "run-1"):  # type: ignore[no-untyped-def]
    return make(generation, machine=machine, run=run, by="root@desk", pid=7, since=now, now=now)


def test_what_is_written_is_read_back() -> None:
    lease = a_lease(3)
    (found,) = leases({"other": "x", lease.key: lease.value})
    assert found == lease
    assert found.live(1000.0 + LIFETIME - 1)
    assert not found.live(1000.0 + LIFETIME)
    assert "run run-1 of root@desk, process 7, since 1970-01-01 00:16:40 UTC" in str(found)


def test_the_next_generation_follows_the_highest() -> None:
    assert next_generation(()) == 1
    two = leases({one.key: one.value for one in (a_lease(9), a_lease(10))})
    assert [one.generation for one in two] == [9, 10]
    assert next_generation(two) == 11


def test_only_a_live_lease_of_another_machine_is_a_rival() -> None:
    mine, other = a_lease(1, "m1"), a_lease(2, "m2", now=2000.0)
    assert rival((mine, other), "m1", 2100.0) == other
    assert rival((mine, other), "m1", 2000.0 + LIFETIME) is None
    assert rival((mine, other), "m2", 1100.0) == mine
    assert rival((mine,), "m1", 1100.0) is None


def test_a_lease_of_another_master_is_no_rival() -> None:
    other = make(2, machine="m2", run="r", by="b", pid=7, since=1000.0, now=1000.0, master="OpaqueRef:xen01")
    assert leases({other.key: other.value}) == (other,)
    assert rival((other,), "m1", 1100.0, "OpaqueRef:xen01") == other
    assert rival((other,), "m1", 1100.0, "OpaqueRef:xen02") is None
    assert rival((other,), "m1", 1100.0, "") == other  # unknown
    assert rival((a_lease(1, "m2"),), "m1", 1100.0, "OpaqueRef:xen02") is not None  # of one that did not say it


@pytest.mark.parametrize("value", ["", "held", "[]", "{}", '{"machine":"m","run":"r","by":"b","pid":1,"since":1}'])
def test_a_value_that_cannot_be_read_is_held_for_ever(value: str) -> None:
    found = leases({f"{PREFIX}4": value})
    assert rival(found, "m1", 1e12) is not None
    assert "can't be read" in str(found[0])
    assert next_generation(found) == 5


@given(st.dictionaries(st.one_of(st.text(), st.text().map(lambda t: PREFIX + t)), st.text(), max_size=5))
def test_no_other_config_raises(other_config: dict[str, str]) -> None:
    found = leases(other_config)
    assert len(found) == sum(key.startswith(PREFIX) for key in other_config)
    assert all(str(one) for one in found)
    assert all(one.key != f"{PREFIX}{next_generation(found)}" for one in found)


@given(st.text(), st.text(), st.floats(0, 4e9), st.integers(0, 2**22))
def test_any_holder_is_read_back(run: str, by: str, now: float, pid: int) -> None:
    lease = make(1, machine="m", run=run, by=by, pid=pid, since=now, now=now)
    assert leases({lease.key: lease.value}) == (lease,)
