"""Which XAPI calls change nothing, and so may be sent a second time when a first answer is lost."""

from __future__ import annotations

_READS = frozenset(
    {
        "event.from",
        "host.compute_free_memory",
        "host.is_in_emergency_mode",
        "pool.is_slave",
        "system.listMethods",
    }
)


def is_pure_read(method: str) -> bool:
    """True for getters and the few other calls known to change nothing; everything else counts as a write.

    `Async.*` makes a task and a login makes a session, so both are writes.
    """
    if method.startswith("Async."):
        return False
    return method in _READS or method.rpartition(".")[2].startswith("get_")
