"""What a survey knows of one member so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from reconciler.core.evidence import Testimony
from reconciler.core.port import Answer
from reconciler.core.wanted import FenceDevice, Member


@dataclass
class Case:
    """What is known of one member so far; the sessions are ours to end."""

    member: Member
    testimony: Testimony
    session: str | None = None
    local: str | None = None
    unsure: bool = False
    """XAPI refused the login with a code that we do not know: only its emergency flag tells what that means."""
    levels: list[FenceDevice] = field(default_factory=list)
    """Fence devices that were not asked yet, in the manifest's order."""
    silent: list[str] = field(default_factory=list)
    """What devices said that did not know."""


Reader = Callable[[Answer], None]
"""Puts the answer to one question into the testimony of the case that it is about."""
