"""`python -m tests.killed [NAME…]`: these scenarios (all) with their applies killed before and after each of the calls.

`NAME:17` (before call 17) and `NAME:17+` (after it) tell one such story, with every call and every word. Exit 1 if
anything was broken.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from functools import partial
from pathlib import Path

from tests.killed.telling import Point, apart, differences, tell_killed, tell_whole
from tests.scenarios.test_scenarios import FOLDER, NAMES

LONGEST = 300  # seconds of real time for one story
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


def _all_of(name: str, *, every: bool) -> tuple[str, int, int, list[tuple[Point, str]]]:
    """How many kills there are, how many were played, and what they broke."""
    found: list[tuple[Point, str]] = []
    with tempfile.TemporaryDirectory(prefix="killed-", dir=MEMORY) as base:
        whole, points = tell_whole(FOLDER / name, Path(base) / "whole", watch_disk=True)
        played = points if every else apart(points)
        for point in played:
            state = Path(base) / point.short
            signal.alarm(LONGEST)
            try:
                ended = tell_killed(FOLDER / name, state, point).ended
                assert ended is not None
                found += [(point, text) for text in differences(name, whole, ended)]
            except Exception:  # noqa: BLE001 - whatever it is, it is a finding
                found.append((point, traceback.format_exc()))
            signal.alarm(0)
            for folder in Path(base).glob(f"{state.name}*"):
                shutil.rmtree(folder)
            gc.collect()
    return name, len(points), len(played), found


def _one(text: str) -> int:
    """One story, told."""
    name, _, point = text.partition(":")
    where = Point(int(point.rstrip("+")), point.endswith("+"))
    with tempfile.TemporaryDirectory(prefix="killed-", dir=MEMORY) as base:
        whole, points = tell_whole(FOLDER / name, Path(base) / "whole")
        if (where.number, where.after) not in {(p.number, p.after) for p in points}:
            print(f"{name} has no such call: they go up to {points[-1].short if points else 'none'}")
            return 2
        told = tell_killed(FOLDER / name, Path(base) / "state", where)
    print(*told.page, sep="\n")
    assert told.ended is not None
    found = list(differences(name, whole, told.ended))
    print("", *(f"BROKEN {what}" for what in found) if found else ("nothing broken",), sep="\n")
    return bool(found)


def _prepare() -> None:
    """A pool is a web of references: it is collected between stories."""
    gc.disable()
    signal.signal(signal.SIGALRM, _too_long)


def _too_long(*_: object) -> None:
    raise TimeoutError(f"not told within {LONGEST} s")


def main() -> int:
    """Every kill, and the tally."""
    parser = argparse.ArgumentParser(prog="python -m tests.killed", description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--every", action="store_true", help="also those that equal another, a moment later")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    if len(options.names) == 1 and ":" in options.names[0]:
        return _one(options.names[0])
    names = options.names or NAMES
    if unknown := sorted(set(names) - set(NAMES)):
        parser.error(f"no such scenario: {', '.join(unknown)}")
    began, kills, played, broken = time.monotonic(), 0, 0, 0
    with multiprocessing.Pool(options.jobs, initializer=_prepare) as pool:
        told = pool.imap_unordered(partial(_all_of, every=options.every), names)
        for number, (name, there, times, found) in enumerate(told, start=1):
            kills += there
            played += times
            broken += len({point for point, _ in found})
            for point, text in found:
                print(f"{name}:{point.short} {point}: {text}", flush=True)
            if number % 25 == 0:
                print(f"{number} of {len(names)} scenarios, {played} kills", flush=True)
    took = time.monotonic() - began
    print(f"{played} of {kills} kills in {len(names)} scenarios in {took:.0f} s: {broken} broke something")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
