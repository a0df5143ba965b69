"""What every test shares: properties give the same answer on every machine, however loaded it is.

`make test` draws the same examples each time, so that a red build is about the change. `HYPOTHESIS_PROFILE=fresh` draws
new ones; `make soak` does.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

gc.set_threshold(100_000, 20, 20)
"""A pool is a web of references: collecting it every few hundred objects costs a quarter of the time."""

settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fresh", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture(scope="session", autouse=True)
def a_disk_without_power_cuts() -> Iterator[None]:
    """No test cuts the power of its own machine, and waiting for the disk is what many of them would do most. What is
    synced, and when, tests/state sees by the calls; programs that tests start sync as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)
        patch.setattr(os, "fdatasync", lambda fd: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell starts what runs in the background with Ctrl-C ignored, and the programs that tests interrupt would
    inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
