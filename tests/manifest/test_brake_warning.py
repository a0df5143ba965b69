"""The warning about a storm brake that one lost host is enough for."""

from __future__ import annotations

import pytest

from tests.manifest.test_load import document, wanted


def warnings(share: str, *resting: str) -> list[str]:
    named = [f"xen{n:02}" for n in range(1, 5)]
    members = [
        {"name": name, "address": f"{name}.lab", "state": "maintenance" if name in resting else "active"}
        for name in named
    ]
    loaded = wanted({"policy": {"brake": {"minHealthy": share}}, "members": members})
    return [text for _, text in loaded.notes if text.startswith("`minHealthy`")]


def test_it_counts_all_members_while_all_can_answer() -> None:
    assert document()["spec"]["members"]
    assert warnings("75%") == []
    (told,) = warnings("76%")
    assert "with one of 4 members down 75% are left" in told
    assert "until a person attests that it is dead" in told
    assert "Write at most `75%`" in told


def test_one_in_maintenance_that_is_off_leaves_the_count() -> None:
    assert warnings("66%", "xen04") == []
    (told,) = warnings("70%", "xen04")
    assert "while xen04, in maintenance, is off, with one of the other 3 members down 67% are left" in told
    assert "Write at most `66%`" in told
    (told,) = warnings("60%", "xen03", "xen04")
    assert "while xen03 and xen04, in maintenance, are off, with one of the other 2 members down 50%" in told


@pytest.mark.parametrize("resting", [("xen02", "xen03", "xen04"), ("xen01", "xen02", "xen03")])
def test_with_one_host_left_there_is_nobody_to_recover_from(resting: tuple[str, ...]) -> None:
    assert warnings("70%", *resting) == []
