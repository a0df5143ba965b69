"""Wishes of several entries that contradict each other, from the manifest alone."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.manifest import ManifestError
from tests.manifest.build import wanted


def told(*vms: dict[str, Any]) -> list[str]:
    try:
        wanted({"virtualMachines": list(vms)})
    except ManifestError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_a_group_that_must_be_together_on_hosts_that_are_not_the_same() -> None:
    found = told(
        {"name": "a", "placement": {"together": "app", "require": ["xen01"]}},
        {"name": "b", "placement": {"together": "app"}},
        {"name": "c", "placement": {"together": "app", "avoid": ["xen01"]}},
    )
    assert len(found) == 1
    assert "`placement` of `a` and `c`: these wishes can't all be met: require [xen01] of a (" in found[0]
    assert "avoid [xen01] of c (" in found[0]
    assert " of b" not in found[0]


def test_more_vms_apart_than_they_have_hosts() -> None:
    one = {"placement": {"apart": "dns", "require": ["xen02"]}}
    found = told({"name": "a", **one}, {"name": "b", **one}, {"name": "c", "placement": {"apart": "dns"}})
    assert len(found) == 1
    assert "`placement` of `a` and `b`" in found[0]


@pytest.mark.parametrize("state", ["halted", "suspended"])
def test_a_vm_that_is_to_be_off_contradicts_nobody(state: str) -> None:
    one = {"placement": {"apart": "dns", "require": ["xen02"]}}
    assert told({"name": "a", **one}, {"name": "b", "state": state, **one}) == []


def test_a_pattern_is_any_number_of_vms() -> None:
    one = {"placement": {"apart": "dns", "require": ["xen02"]}}
    assert told({"name": "a", **one}, {"name": "b-*", **one}) == []
    found = told(
        {"name": "a", "placement": {"together": "x", "require": ["xen01"]}},
        {"name": "b-*", "placement": {"together": "x", "require": ["xen02"]}},
    )
    assert len(found) == 1


def test_apart_and_together_in_one_word() -> None:
    assert any(
        "`together` says the opposite" in p for p in told({"name": "a", "placement": {"together": "x", "apart": "x"}})
    )
