"""What the calls of a run are, for those who count them, lose them or die of them."""

from __future__ import annotations

from functools import cache


class Killed(BaseException):
    """The process died here."""


@cache
def changes(method: str) -> bool:
    """The method writes: to the database, to a host, or to a host's power."""
    if method.startswith("agent:"):
        return method in ("agent:off", "agent:on", "agent:reboot")
    if method.startswith("Async."):
        return True
    cls, _, name = method.partition(".")
    if cls in ("session", "event", "task", "system"):
        return False
    return not name.startswith(("get_", "is_", "assert_"))
