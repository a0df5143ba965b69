"""What every test shares: properties give the same answer on every machine, however loaded it is.

`make test` draws the same examples each time, so that a red build is about the change. `HYPOTHESIS_PROFILE=fresh` draws
new ones; `make soak` does.
"""

from __future__ import annotations

import gc
import os

from hypothesis import HealthCheck, settings

gc.set_threshold(100_000, 20, 20)
"""A pool is a web of references: collecting it every few hundred objects costs a quarter of the time."""

settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fresh", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
