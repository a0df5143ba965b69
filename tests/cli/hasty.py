"""The command in a process of its own, impatient: on loopback what does not answer at once never will."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any


def be_hasty(put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Shorten the waits for hosts that may be dead, and between looks; all else is the program as it is.

    `put` is called with (module, name, value) for each.
    """
    from reconciler import looking  # noqa: PLC0415
    from reconciler.execute import crown, fit, look, rejoin  # noqa: PLC0415
    from reconciler.survey import survey  # noqa: PLC0415

    put(looking, "ask_everybody", functools.partial(survey, hang_deadline=0.6))
    put(sys.modules["reconciler.survey.survey"], "TCP_DEADLINE", 0.6)
    put(look, "TCP_DEADLINE", 0.6)
    put(crown, "POLL", 0.2)
    put(rejoin, "POLL", 0.2)
    put(fit, "BUSY_POLL", 0.2)


if __name__ == "__main__":
    from reconciler.cli import main

    be_hasty()
    main()
