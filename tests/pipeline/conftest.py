"""Stories in virtual time."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def a_disk_without_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What reaches the disk when power goes is the matter of tests/state; here it costs three quarters of the time."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(os, "fdatasync", lambda fd: None)
