"""A schedule as data: a pool, a manifest, and what happens, all from one number. Hosts and VMs are given by index.

Indices count modulo what there is, so that a schedule with fewer hosts, VMs or steps is still one (shrink.py).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

Step = tuple[Any, ...]
"""("power-off", host), ("run", who, what, hits), …: world.py performs them, and its table is the list."""

WAITS = (0.5, 3.0, 8.0, 15.0, 31.0, 65.0, 130.0, 310.0, 650.0)
OPERATIONS = (
    "start",
    "start",
    "stop",
    "kill",
    "migrate",
    "migrate",
    "disable",
    "enable",
    "block",
    "designate",
    "suspend",
)


PLAYED = range(2_000, 10_000_000)
"""Seeds that were played before HA that is armed on one host only was drawn: those named in docs keep their stories."""


@dataclass(frozen=True)
class PoolSpec:
    """What Seed.generate gets, the release and the clockwork."""

    hosts: int
    vms: int
    classic: bool
    fast: bool
    shared: int
    local: float
    running: float
    ha: bool = False


@dataclass(frozen=True)
class Schedule:
    """All that a soak run is made of. `manifest` seeds the manifest; `repaired`: at the end dead hosts get power."""

    seed: int
    pool: PoolSpec
    manifest: int
    steps: tuple[Step, ...]
    repaired: bool


def generate(seed: int) -> Schedule:
    """The schedule of a number."""
    rng = random.Random(seed)
    pool = PoolSpec(
        hosts=rng.choice((2, 3, 3, 3, 3, 4, 4, 5, 6)),
        vms=rng.choice((0, 1, 2, 3, 3, 4, 6, 8, 12)),
        classic=rng.random() < 0.4,
        fast=rng.random() < 0.7,
        shared=rng.choice((1, 2, 2)),
        local=rng.choice((0.0, 0.15, 0.4)),
        running=rng.choice((0.4, 0.7, 1.0)),
        ha=rng.random() < 0.04,
    )
    steps: list[Step] = []
    if rng.random() < 0.9:
        steps.append(("run", 0, rng.choice(("plan", "apply")), ()))
    if rng.random() < 0.8:
        steps.append(("wait", rng.choice(WAITS)))
    if rng.random() < 0.3:
        steps.append(("script", rng.randrange(1 << 20), rng.choice((2, 4, 6))))
    for _ in range(rng.randint(1, 5)):
        steps.append(_event(rng, pool.hosts))
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.8:
            steps.append(("wait", rng.choice(WAITS)))
        if rng.random() < 0.35:
            steps.append(("attest", _who(rng), _host(rng, pool.hosts), rng.choice((60.0, 1800.0, 1800.0))))
        steps.append(_run(rng, pool.hosts))
        for _ in range(rng.randint(0, 2)):
            steps.append(_event(rng, pool.hosts))
    manifest, repaired = rng.randrange(1 << 30), rng.random() < 0.5
    if seed % 8 == 7:  # drawn apart, so that the others stay what they were
        steps = _with_maintenance(random.Random(f"maintenance {seed}"), steps, pool.hosts)
    for at, step in _tangles(seed, pool.hosts, len(steps)):
        steps.insert(at, step)
    broken = random.Random(f"role {seed}")  # drawn apart, so that the others stay what they were
    if broken.random() < 0.08:
        steps.insert(broken.randrange(len(steps) + 1), ("role-broken", _host(broken, pool.hosts)))
    half = random.Random(f"half-broken HA {seed}")
    if seed not in PLAYED and not pool.ha and half.random() < 0.06:
        steps.insert(half.randrange(len(steps) + 1), ("ha-armed", _host(half, pool.hosts)))
    return Schedule(seed, pool, manifest, tuple(steps), repaired)


def _tangles(seed: int, hosts: int, length: int) -> list[tuple[int, Step]]:
    """In one schedule of eight somebody meddles with who is master, between other things; from a chance of its own, so
    that the others stay as they were."""
    rng = random.Random(f"tangle {seed}")
    if rng.random() >= 0.125:
        return []
    host = rng.randrange(hosts)
    other = (host + rng.randrange(1, hosts)) % hosts
    at = rng.randrange(min(2, length), length + 1)
    meddled: Step = rng.choice(
        (("meddle", "stray", host, other), ("meddle", "promote", host, other), ("meddle", "recover", host, other))
    )
    if meddled[1] != "promote" or rng.random() < 0.4:
        return [(at, meddled)]
    # A partition that everybody in it survives: two masters, once it is healed.
    split: list[Step] = [("cut", 0, h) for h in range(1, hosts)]
    wait: Step = ("wait", rng.choice((65.0, 130.0)))
    healed: list[Step] = [("heal", 0), ("wait", rng.choice(WAITS))]
    steps = [*split, ("meddle", "promote", 1, 0), wait, ("meddle", "recover", 1, 0), wait, *healed]
    return [(at + number, step) for number, step in enumerate(steps)]


def _with_maintenance(rng: random.Random, steps: list[Step], hosts: int) -> list[Step]:
    """The same, in which somebody edits the manifest: members go into maintenance, and some come back."""
    steps = list(steps)
    for _ in range(rng.choice((1, 1, 2))):
        host = rng.randrange(hosts)
        at = rng.randint(0, len(steps))
        going: list[Step] = [("member", host, True), _run(rng, hosts)]
        if rng.random() < 0.5:
            going += [("flap", host, 4.0), ("wait", rng.choice(WAITS))]
        steps[at:at] = going
        if rng.random() < 0.7:
            back = rng.randint(at + len(going), len(steps))
            steps[back:back] = [("member", host, False), _run(rng, hosts)]
    return steps


def _who(rng: random.Random) -> int:
    return int(rng.random() < 0.2)


def _host(rng: random.Random, hosts: int) -> int:
    """Host 0 is the first master, so it is in trouble more often."""
    return 0 if rng.random() < 0.35 else rng.randrange(hosts)


def _event(rng: random.Random, hosts: int) -> Step:
    """Something that happens to the pool without xenrec."""
    host = _host(rng, hosts)
    other = (host + rng.randrange(1, hosts)) % hosts
    kinds: list[tuple[float, Step]] = [
        (4.0, ("power-off", host)),
        (1.5, ("power-on", host)),
        (1.0, ("cut", host, "client")),
        (0.4, ("cut", host, "other")),
        (0.8, ("cut", host, other)),
        (1.0, ("cut", host, "*")),
        (0.6, ("cut", host, "storage")),
        (1.5, ("heal", host)),
        (1.0, ("hang", host)),
        (0.8, ("toolstack", host)),
        (0.5, ("stop-toolstack", host)),
        (0.5, ("bmc-silent", host)),
        (0.3, ("bmc-lies", host)),
        (0.3, ("bmc-answers", host)),
        (0.2, ("bmc-honest", host)),
        (0.4, ("slow", host, rng.choice((3.0, 20.0)))),
        (0.4, ("backup", host)),
        (0.3, ("memory", host)),
        (2.5, ("operator", rng.choice(OPERATIONS), rng.randrange(12), host)),
        (1.0, ("flap", host, rng.choice((1.0, 4.0, 20.0)))),
        (2.0, ("wait", rng.choice(WAITS))),
    ]
    return rng.choices([k for _, k in kinds], [w for w, _ in kinds])[0]


def _run(rng: random.Random, hosts: int) -> Step:
    what = rng.choices(("apply", "unattended", "plan", "failback"), (6.0, 2.0, 1.0, 1.0))[0]
    hits = []
    if rng.random() < 0.65:
        for _ in range(rng.choice((1, 1, 2, 3))):
            on_write = rng.random() < 0.6
            number = rng.randrange(8) if on_write else int(2 ** rng.uniform(0.0, 7.5))
            hits.append(("write" if on_write else "call", number, _hit(rng, hosts)))
    return ("run", _who(rng), what, tuple(hits))


def _hit(rng: random.Random, hosts: int) -> Step:
    """What happens around one call of a run."""
    kinds: list[tuple[float, Step]] = [
        (2.0, ("kill-before",)),
        (2.0, ("kill-after",)),
        (1.0, ("lose-request", rng.choice(("timeout", "dropped")))),
        (2.0, ("lose-reply", rng.choice(("timeout", "dropped")))),
        (1.0, ("session-gone",)),
        (4.0, ("world", _event(rng, hosts))),
        (1.2, ("other", rng.choice(("apply", "apply", "unattended", "plan")))),
    ]
    return rng.choices([k for _, k in kinds], [w for w, _ in kinds])[0]
