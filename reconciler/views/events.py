"""What happens during an apply, as the views need it. The executor's own event fits."""

from __future__ import annotations

from typing import Protocol

from reconciler.core.plan import Action, Result


class Event(Protocol):
    """One thing that happened: about an action or about none; `result` when the action ended. `at` in UTC seconds."""

    @property
    def at(self) -> float:
        """When."""
        ...

    @property
    def action(self) -> Action | None:
        """What it is about."""
        ...

    @property
    def what(self) -> str:
        """What happened, in words; it may hold names."""
        ...

    @property
    def result(self) -> Result | None:
        """How the action ended, None while it goes on."""
        ...
