"""What every test shares: properties give the same answer on every machine, however loaded it is.

`make test` draws the same examples each time, so that a red build is about the change. `HYPOTHESIS_PROFILE=fresh` draws
new ones; `make soak` does.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fresh", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
