"""Placement problems of a size, for the figures."""

from __future__ import annotations

import random

from reconciler.core.place.problem import Item, Problem, Spot

GIB = 1 << 30
_SIZES = (1, 2, 2, 4, 4, 4, 8, 8, 16, 32)


def host_lost(hosts: int, vms: int, *, load: float = 0.96, seed: int = 1) -> Problem:
    """A pool that has just lost one of its hosts: the VMs of that one are down, and with them the living hosts would be
    `load` full. Every VM can run everywhere; three of four may be moved."""
    rng = random.Random(seed)
    sizes = [rng.choice(_SIZES) * GIB for _ in range(vms)]
    lost = vms // hosts
    living = hosts - 1
    used = [0] * living
    here: list[int | None] = [None] * lost
    for size in sizes[lost:]:
        host = min(range(living), key=lambda h: used[h]) if rng.random() < 0.9 else rng.randrange(living)
        used[host] += size
        here.append(host)
    each = max([int(sum(sizes) / load / living), *used])
    everywhere = frozenset(range(living))
    items = tuple(
        Item(
            key=f"{number:06}",
            name=f"vm{number:06}",
            need=size,
            held=size,
            priority=rng.choice((0, 1, 1, 1, 2, 3)),
            here=at,
            can=everywhere,
            may=everywhere,
            movable=at is not None,
            yields=rng.random() < 0.75,
            home=rng.randrange(living) if rng.random() < 0.3 else None,
        )
        for number, (size, at) in enumerate(zip(sizes, here, strict=True))
    )
    spots = tuple(Spot(f"{h:04}", f"xen{h:04}", each - used[h]) for h in range(living))
    return Problem(spots, items)
