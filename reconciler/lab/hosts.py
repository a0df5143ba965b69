"""What the lab hands out: replies to calls, and hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from reconciler.lab.database import Records, Snapshot
from reconciler.lab.errors import Failure
from reconciler.lab.toolstack import Toolstack

if TYPE_CHECKING:
    from reconciler.lab.engine import Lab

Json = Any


class Reply:
    """What came of a submitted call. Exactly one of `value`, `failure` and `transport` means something once `done`;
    a call that nobody ever answers is never done.

    Whoever sets `shared` before it is done gets Records as the database holds them, and must not change them.
    `transport` is "refused", "unreachable" or "dropped"; times in virtual UTC seconds. Values are the caller's own.
    """

    __slots__ = ("_watchers", "done", "failure", "finished_at", "method", "sent_at", "shared", "transport", "value")

    def __init__(self, method: str, sent_at: float) -> None:
        self.method = method
        self.sent_at = sent_at
        self.done = False
        self.shared = False
        self.value: Json = None
        self.failure: tuple[str, list[str]] | None = None
        self.transport: str | None = None
        self.finished_at = 0.0
        self._watchers: list[Callable[[Reply], None]] = []

    def on_done(self, watcher: Callable[[Reply], None]) -> None:
        """Call `watcher` when done (at once if it is)."""
        if self.done:
            watcher(self)
        else:
            self._watchers.append(watcher)

    def finish(
        self, at: float, *, value: Json = None, failure: Failure | None = None, transport: str | None = None
    ) -> None:
        """The answer arrives; a second one is ignored."""
        if self.done:
            return
        self.done = True
        self.finished_at = at
        self.value = value.own() if isinstance(value, Records) and not self.shared else value
        self.failure = (failure.code, list(failure.params)) if failure else None
        self.transport = transport
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher(self)


class LabHost:
    """One host: its place in the physical world and what its disk remembers.

    `role` is pool.conf: "master", "slave:<address>" or "broken". `disk` is state.db: a master's own flushed database,
    a member's last backup.
    """

    def __init__(self, lab: Lab, name: str, uuid: str, address: str, role: str, disk: Snapshot) -> None:
        self._lab = lab
        self.name = name
        self.uuid = uuid
        self.address = address
        self.role = role
        self.disk = disk
        self.up = True
        """The operating system answers the network."""
        self.wanted = True
        """The supervisor keeps the toolstack running."""
        self.booted = False
        """It has booted since its toolstack started last: what it had plugged is not plugged any more."""
        self.tls_from = 0.0
        """When port 443, which is stunnel's, accepts again: a starting toolstack starts it anew."""
        self.hung = False
        self.ha_armed = False
        self.auto_enable = True
        """False: told with host.disable to stay disabled over restarts."""
        self.slow = 1.0
        """How many times as long as usual everything takes that its toolstack does."""
        self.backup_held = False
        """Its master's backups fail to reach it: `disk` gets older and older."""
        self.just_became_master = False
        self.booted_at: float | None = None
        """When its machine last got power; None: before the lab began."""
        self.toolstack: Toolstack | None = None
        self.messages: dict[str, dict[str, Any]] = {}
        """Stored as files of this host, not in the database (sheet §9)."""
        self.message_ages: dict[str, int] = {}

    @property
    def powered(self) -> bool:
        """It has power."""
        return self._lab.world.boxes[self.name].powered

    @property
    def toolstack_state(self) -> str:
        """In a word, for people: running, starting, stopped, hung, booting, off."""
        if not self.powered:
            return "off"
        if not self.up:
            return "booting"
        if self.hung:
            return "hung"
        if self.toolstack is None:
            return "stopped" if not self.wanted else "starting"
        return "running" if self.toolstack.api_up else "starting"
