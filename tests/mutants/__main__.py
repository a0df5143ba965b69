"""`python -m tests.mutants [WORDS]`: take out each guard in a copy of the tree, and run the tests that should notice.

WORDS pick guards whose name has them all. Exit 1 if one survives.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local

from tests.mutants.guards import GUARDS, Guard

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("reconciler", "tests", "manifests", "schemas", "docs", "pyproject.toml")
here = local()


def tree() -> Path:
    """This thread's copy of the sources."""
    if not hasattr(here, "tree"):
        here.tree = Path(tempfile.mkdtemp(prefix="mutants-"))
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, here.tree / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
            elif source.exists():
                shutil.copy(source, here.tree / name)
    return Path(here.tree)


def mutate(text: str, guard: Guard) -> str:
    """The text without the guard. Raises ValueError where it is not there exactly once."""
    if text.count(guard.source) != 1:
        raise ValueError(f"{guard.name}: found {text.count(guard.source)} times")
    return text.replace(guard.source, guard.instead)


def tested(base: Path, tests: Sequence[str]) -> str:
    """The first test that fails in this tree; "" if none does."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
        cwd=base,
        env=os.environ | {"PYTHONPATH": str(base), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode == 0:
        return ""
    failed = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0] if failed else f"pytest ended with {run.returncode}"


def fate(guard: Guard) -> tuple[Guard, str]:
    """The test that failed without the guard; "" if none did."""
    tests = guard.tests if "/execute/" not in guard.file else tuple(reversed(guard.tests))
    path = tree() / guard.file
    text = path.read_text(encoding="utf-8")
    path.write_text(mutate(text, guard), encoding="utf-8")
    try:
        return guard, tested(tree(), tests)
    finally:
        path.write_text(text, encoding="utf-8")


def main(words: list[str]) -> int:
    """Every chosen guard, and the tally."""
    chosen = [g for g in GUARDS if all(word in g.name for word in words)]
    for tests in sorted({g.tests for g in chosen}):
        if failed := tested(tree(), tests):
            print(f"nothing can be learnt from tests that fail anyway: {failed}")
            return 2
    survivors = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for guard, killer in pool.map(fate, chosen):
            print(f"{'killed  ' if killer else 'SURVIVED'} {guard.name}", flush=True)
            if killer:
                print(f"           {killer[:110]}", flush=True)
            else:
                survivors.append(guard)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} killed")
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
