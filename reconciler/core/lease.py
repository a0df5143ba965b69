"""The lease that says who works on a pool, as keys of pool.other_config. Pure: reading, judging, the next key.

A key carries a generation, `xenrec-lease-<n>`, because XAPI's add_to_other_config is the one atomic test-and-set there
is (MAP_DUPLICATE_KEY when the key exists, sheet §9): whoever adds generation n + 1 has taken over n, and a second one
that tries the same is refused. Times are UTC seconds on the acting master's clock, so that machines whose clocks differ
agree on what has expired.

A lease holds with the master that it was taken on, and nowhere else: whoever holds one takes another before he writes
anything on another master. The copy of the database with which a promoted member starts may have one of a run that
ended long ago.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.core.words import lasting, utc

PREFIX = "xenrec-lease-"
LIFETIME = 300.0
"""Seconds that a lease holds without being renewed: no call of ours waits longer, and who comes after a crash on
another machine waits no longer than this."""
RENEW_BELOW = 200.0
"""It is renewed once fewer seconds than this are left of it."""
CLOCKS_DIFFER = 30.0
"""Seconds from which on it is told that the master's clock is another."""


@dataclass(frozen=True, slots=True)
class Lease:
    """One key. `machine` is the random name of one state folder, whose file lock lets one run live at a time.

    `expires` None: its value can't be read, so it never expires by itself. `master`: the ref of the host that was
    master when it was taken, which is the same in every copy of the database; "" unknown.
    """

    key: str
    generation: int
    machine: str = ""
    run: str = ""
    by: str = ""
    pid: int = 0
    since: float = 0.0
    expires: float | None = None
    master: str = ""

    def live(self, now: float, master: str = "") -> bool:
        """It has not expired, and was not taken on another master than this one (a ref; "" unknown)."""
        here = not self.master or not master or self.master == master
        return self.expires is None or (here and now < self.expires)

    @property
    def holder(self) -> str:
        """Who holds it, in words."""
        if self.expires is None:
            return f"somebody (the value of {self.key} in pool.other_config can't be read)"
        process = f", process {self.pid}" if self.pid else ""
        return f"run {self.run} of {self.by}{process}"

    @property
    def value(self) -> str:
        """What stands under its key."""
        told = {
            "machine": self.machine,
            "run": self.run,
            "by": self.by,
            "pid": self.pid,
            "since": round(self.since, 3),
            "expires": self.expires,
            "master": self.master,
        }
        return json.dumps(told, sort_keys=True, ensure_ascii=True)

    def __str__(self) -> str:
        if self.expires is None:
            return self.holder
        return f"{self.holder}, since {utc(self.since)}, until {utc(self.expires)} unless it is renewed"


def make(
    generation: int, *, machine: str, run: str, by: str, pid: int, since: float, now: float, master: str = ""
) -> Lease:
    """A lease of that generation, for LIFETIME seconds from now. Whole seconds: the master's clock tells no others."""
    key, until = f"{PREFIX}{generation}", now + LIFETIME
    return Lease(key, generation, machine, _shown(run), _shown(by), pid, round(since, 3), until, master)


def leases(other_config: Mapping[str, str]) -> tuple[Lease, ...]:
    """Every lease among the keys, the lowest generation first. What can't be read counts as held for ever."""
    found = [_lease(str(key), value) for key, value in other_config.items() if str(key).startswith(PREFIX)]
    return tuple(sorted(found, key=lambda lease: (lease.generation, lease.key)))


def next_generation(found: Iterable[Lease]) -> int:
    """The generation after all of these."""
    return max((lease.generation for lease in found), default=0) + 1


def clock_words(master: float, ours: float) -> str:
    """What must be known to compare a lease's times with the watch on one's own wall; "" where the clocks agree."""
    ahead = master - ours
    if abs(ahead) < CLOCKS_DIFFER:
        return ""
    how = "ahead of" if ahead > 0 else "behind"
    return f"by the clock of the master, which is {lasting(abs(ahead))} {how} this machine's"


def rival(found: Iterable[Lease], machine: str, now: float, master: str = "") -> Lease | None:
    """The live lease of another machine. One of this machine is of a run that died: we hold its file lock."""
    held = (one for one in found if one.live(now, master))
    return next((one for one in held if one.expires is None or one.machine != machine), None)


def _lease(key: str, value: object) -> Lease:
    tail = key.removeprefix(PREFIX)
    generation = int(tail) if tail.isascii() and tail.isdigit() and len(tail) < 16 else 0
    unreadable = Lease(key, generation)
    try:
        told = json.loads(str(value))
    except (ValueError, RecursionError):
        return unreadable
    if generation < 1 or not isinstance(told, dict):
        return unreadable
    texts = [told.get(name) for name in ("machine", "run", "by")]
    since, expires, pid = told.get("since"), told.get("expires"), told.get("pid")
    if not all(isinstance(text, str) for text in texts) or not texts[0]:
        return unreadable
    if not _is_time(since) or not _is_time(expires) or not isinstance(pid, int) or isinstance(pid, bool):
        return unreadable
    machine, run, by = (_shown(str(text)) for text in texts)
    master = str(told.get("master") or "")
    return Lease(key, generation, machine, run, by, pid, float(str(since)), float(str(expires)), master)


def _shown(text: str) -> str:
    """What others wrote, safe to print."""
    return "".join(c if c.isprintable() else "?" for c in text)[:100]


LATEST = 253_402_300_000.0
"""31 December 9999: no later time can be shown."""


def _is_time(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and 0 <= value < LATEST
