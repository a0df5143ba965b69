"""The room that is left while a plan is made."""

from __future__ import annotations

from dataclasses import fields

from reconciler.core.placement import Room
from tests.core.build import PoolBuilder


def test_what_is_tried_in_a_copy_does_not_change_the_room() -> None:
    room = Room.of(PoolBuilder().state(), {})
    trial = room.copy()
    kept = {f.name for f in fields(room) if isinstance(getattr(room, f.name), dict)} - {"closed"}
    assert "lent" in kept
    assert [name for name in kept if getattr(trial, name) is getattr(room, name)] == []
