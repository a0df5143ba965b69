"""`make bench`: numbers of this machine, and ratios that hold on others. `--json` for programs, `--only served`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict

from tests.bench import placing, program, served
from tests.bench.measure import Number, table, yardstick


def main() -> int:
    """Take them all; exit code 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--only", choices=("served", "program", "placing"), help="only these")
    options = parser.parse_args()
    unit = yardstick()
    numbers = [Number("yardstick: this machine's Python", unit, "s", note=f"{os.cpu_count()} processors")]
    for name, room in (("program", program), ("placing", placing), ("served", served)):
        if options.only in (None, name):
            numbers += room.numbers()
    if options.json:
        rows = [{**asdict(n), "good": n.good, "yardsticks": n.value / unit if n.unit == "s" else None} for n in numbers]
        print(json.dumps(rows, indent=2))
    else:
        sys.stdout.write(table(numbers))
    return 0 if all(n.good for n in numbers) else 1


if __name__ == "__main__":
    sys.exit(main())
