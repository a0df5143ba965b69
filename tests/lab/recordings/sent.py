"""A recorded call beside the lab's answer to it."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.lab import Reply, wire
from tests.lab.recordings.recording import Line


@dataclass
class Sent:
    """A recorded call and the lab's answer to it. `since`: seconds since the last thing that was done to the pool."""

    line: Line
    reply: Reply | None
    tcp: str
    sent_at: float
    since: float
    call: wire.Call | None = None

    @property
    def deadline(self) -> float:
        """When the client gives up: where the recorded one did, else after twice the recorded time or 5 s more."""
        took = self.line.took
        if "Timeout" in str(self.line.data.get("transport", "")):
            return self.sent_at + took
        return self.sent_at + max(2 * took, took + 5.0)

    @property
    def outcome(self) -> str:
        """value, failure, or what the transport did: refused, dropped, silent, connected."""
        if self.reply is None:
            return self.tcp
        if not self.reply.done or self.reply.finished_at > self.deadline + 0.001:
            return "silent"
        if self.reply.transport is not None:
            return "silent" if self.reply.transport == "unreachable" else self.reply.transport
        return "failure" if self.reply.failure is not None else "value"

    @property
    def failure(self) -> list[str]:
        """Code and parameters."""
        assert self.reply is not None
        assert self.reply.failure is not None
        return [self.reply.failure[0], *self.reply.failure[1]]
