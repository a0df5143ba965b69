"""What the parts of a plan that find places for VMs work with: starts, departures and returns one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reconciler.core.draft import Draft
from reconciler.core.model import PoolState
from reconciler.core.place.ask import Solver
from reconciler.core.placement import Room
from reconciler.core.select import Selection
from reconciler.core.standing import Stands
from reconciler.core.wanted import Wanted


@dataclass(frozen=True, slots=True)
class Site:
    """The pool as it is and as it should be, and the plan for it so far. Each part finds in `room` what those before it
    left, and adds to the same draft."""

    wanted: Wanted
    selection: Selection
    stands: Stands
    """The hosts as they are when VMs move: one that this plan enables is ready."""
    room: Room
    draft: Draft
    solver: Solver | None = None
    """Asked where VMs go in a pool too big to look at everything."""

    @property
    def state(self) -> PoolState:
        """The pool as it was read."""
        return self.room.state

    def trial(self) -> Site:
        """The same with a room of its own, to try something in."""
        return replace(self, room=self.room.copy())
