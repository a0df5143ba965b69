"""Limits: how many power operations and migrations may be under way at once, in the pool and on each host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from reconciler.core.plan import Action, Verb
from reconciler.core.wanted import Limits
from reconciler.execute.ways import WAYS


class Crowd:
    """How many power operations are under way, in the pool and on each host, against the limits; migrations have
    limits of their own, and count on the host that they leave, too."""

    def __init__(self, under_way: Iterable[Action], limits: Limits) -> None:
        self._limits = limits
        self._hosts: Counter[str] = Counter()
        self._moves: Counter[str] = Counter()
        self._all = 0
        self._moving = 0
        for action in under_way:
            self.add(action)

    def add(self, action: Action) -> None:
        """One more."""
        if action.verb is Verb.MIGRATE:
            self._moving += 1
            self._moves.update(_ends(action))
        elif action.verb in WAYS:
            self._all += 1
            if action.to is not None:
                self._hosts[action.to.uuid] += 1

    def takes(self, action: Action) -> bool:
        """There is room for it; only power operations and migrations need room."""
        if action.verb is Verb.MIGRATE:
            free = all(self._moves[host] < self._limits.migrations_per_host for host in _ends(action))
            return free and self._moving < self._limits.migrations_per_pool
        if action.verb not in WAYS:
            return True
        if self._all >= self._limits.starts_per_pool:
            return False
        return action.to is None or self._hosts[action.to.uuid] < self._limits.starts_per_host


def _ends(action: Action) -> tuple[str, ...]:
    """The hosts that take part in a migration, by uuid."""
    return tuple(thing.uuid for thing in (action.source, action.to) if thing is not None)
