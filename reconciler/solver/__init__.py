"""OR-tools, where it is installed (`xenrec[solver]`): places for VMs in pools too big to look at every position."""

from __future__ import annotations

from importlib.util import find_spec

from reconciler.core.place.ask import Solver


def installed() -> Solver | None:
    """OR-tools as a solver, loaded when it is first asked; None where it is not installed."""
    if find_spec("ortools") is None:
        return None
    from reconciler.solver.cpsat import propose  # noqa: PLC0415 - only where it is installed

    return propose
