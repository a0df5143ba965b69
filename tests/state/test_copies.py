"""What is remembered about copies of the database: written whole, and never an obstacle when it can't be believed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.copies import NOTHING, Change, CopyMemory, Gap, Refreshed
from reconciler.state.copies import Copies

MEMORY = CopyMemory(
    10.0,
    (Change("u-1", "web1", "h-1", "", 20.0, 30.0), Change("u-2", "new", None, "h-2", 20.0, 30.0)),
    (Refreshed("h-2", 25.0, assumed=True),),
    (Gap("xen03", 20.0), Gap("xen02", 10.0, 15.0)),
    40.0,
)


def test_nothing_is_made_by_reading_and_nothing_written_where_nothing_changed(tmp_path: Path) -> None:
    copies = Copies(tmp_path / "pool")
    assert copies.load() == NOTHING
    assert copies.change(lambda memory: memory) == NOTHING
    assert list(tmp_path.iterdir()) == []


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    copies = Copies(tmp_path / "pool")
    assert copies.change(lambda _: MEMORY) == MEMORY
    assert Copies(tmp_path / "pool").load() == MEMORY


def test_a_refresh_replaces_the_older_one_of_its_host_only() -> None:
    newer = Refreshed("h-2", 60.0)
    other = Refreshed("h-3", 60.0)
    assert MEMORY.with_refreshed((newer,)).failed is None
    assert MEMORY.with_refreshed((newer, other)).refreshed == (newer, other)
    assert MEMORY.with_refreshed((other,)).of("h-2") == MEMORY.refreshed[0]


@pytest.mark.parametrize(
    "damage",
    [
        "{",
        '{"format_version": 2}',
        '{"format_version": 1, "since": true}',
        '{"format_version": 1, "changes": {}}',
        '{"format_version": 1, "refreshed": [{"host": "h-1", "at": "now", "assumed": false}]}',
        '{"format_version": 1, "refreshed": [{"host": "h-1", "at": 1.0, "assumed": "no"}]}',
        '{"format_version": 1, "gaps": [{"member": null, "lost_at": 1.0, "back_at": null}]}',
    ],
)
def test_what_is_damaged_counts_as_nothing_and_is_kept_aside(tmp_path: Path, damage: str) -> None:
    copies = Copies(tmp_path)
    path = tmp_path / "copies.json"
    path.write_text(damage, encoding="utf-8")
    path.chmod(0o600)
    assert copies.load() is NOTHING
    fresh = replace(NOTHING, since=5.0)
    assert copies.change(lambda memory: replace(memory, since=5.0)) == fresh
    assert copies.load() == fresh
    assert (tmp_path / "copies.json.damaged").read_text(encoding="utf-8") == damage
