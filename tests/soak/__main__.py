"""`python -m tests.soak SEED`: one schedule with a readable log. `--count N`: that many from SEED on, on all cores.
`--shrink`: the smallest schedule that still breaks the same invariant; of many, the first seed for each invariant is
shrunk without being asked."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter

from tests.soak.schedule import Schedule, generate
from tests.soak.shrink import shrink
from tests.soak.world import play


def outcome(seed: int) -> tuple[int, list[str]]:
    """What a seed broke, as words: invariant first."""
    try:
        return seed, [str(v) for v in play(generate(seed))]
    except Exception as error:  # noqa: BLE001 - a lab that fails is a finding too
        return seed, [f"lab: {type(error).__name__}: {error} ({traceback.format_exc().splitlines()[-3].strip()})"]


def main() -> int:
    """Exit 1 if anything was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--shrink", action="store_true")
    options = parser.parse_args()
    if options.count:
        return many(options.seed, options.count, options.jobs)
    schedule = generate(options.seed)
    return tell(shrink(schedule) if options.shrink else schedule)


def tell(schedule: Schedule) -> bool:
    """Play one as a story, and whether it broke something."""
    log: list[str] = []
    try:
        found = [str(v) for v in play(schedule, log)]
    except Exception:  # noqa: BLE001
        found = [traceback.format_exc()]
    print(schedule.pool)
    for step in schedule.steps:
        print("  ", step)
    print(f"   repaired at the end: {schedule.repaired}", *log, sep="\n")
    print(*(f"BROKEN {v}" for v in found) if found else ("nothing broken",), sep="\n")
    return bool(found)


def _seldom_collect() -> None:
    """A pool is a web of references: collecting it every few hundred objects costs a fifth of the time."""
    gc.set_threshold(200_000, 20, 20)


def many(first: int, count: int, jobs: int) -> int:
    """Seeds in all processes; one line for each that broke something, then the least that breaks each invariant, and
    the tally."""
    began = time.monotonic()
    tally: Counter[str] = Counter()
    firsts: dict[str, int] = {}
    broken = 0
    with multiprocessing.Pool(jobs, initializer=_seldom_collect) as pool:
        played = pool.imap_unordered(outcome, range(first, first + count), chunksize=25)
        for number, (seed, found) in enumerate(played, start=1):
            if number % 5000 == 0:
                print(f"{number} played", flush=True)
            if found:
                broken += 1
                tally.update({text.split()[0] for text in found})
                firsts.setdefault(found[0].split()[0], seed)
                print(
                    f"seed {seed}: {found[0]}" + (f" (and {len(found) - 1} more)" if len(found) > 1 else ""), flush=True
                )
    for seed in firsts.values():
        print(f"\nseed {seed}, shrunk:")
        tell(shrink(generate(seed)))
    took = time.monotonic() - began
    print(f"{count} schedules from seed {first} in {took:.0f} s: {broken} broke something {dict(tally)}")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
