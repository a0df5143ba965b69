"""`make real-time`: how long a pool is without a master, with XAPI's real constants, on a served lab.

Everything is real but the pool: HTTPS, the commands as typed, and time. A run takes about three minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.bench.measure import Number, table

SILENT = 20.0
"""Seconds from the loss of the master until somebody says that it is dead: its members hang on it by then."""
TARGET = 60.0
"""Seconds from that word until one master is followed by every member, without the toolstack's own restart."""
COMMAND = (sys.executable, "-c", "import sys; from reconciler.cli import main; sys.exit(main())")


@dataclass
class Desk:
    """A folder with a lab, a state folder, and somebody who types."""

    place: Path

    def __call__(self, *words: str, codes: Sequence[int] = (0,)) -> str:
        """One command; what it printed. Ends the measurement when it exits otherwise than expected."""
        environment = {
            **os.environ,
            "XENREC_STATE_DIR": str(self.place / "state"),
            "XENREC_LAB_DIR": str(self.place / ".lab"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        ran = subprocess.run(
            [*COMMAND, *words],
            cwd=self.place,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        if ran.returncode not in codes:
            raise SystemExit(f"xenrec {' '.join(words)}: exit code {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran.stdout


def recovery(hosts: int, vms: int, proof: str, address: str) -> dict[str, Any]:
    """Lose the master of a served lab and get the pool back: when the word was given, and what `apply` printed as JSON.

    `proof` is "attested" or "fenced". Seconds count from the moment at which the command that ends the doubt is typed.
    """
    with tempfile.TemporaryDirectory(prefix="xenrec-real-time-") as name:
        desk = Desk(Path(name))
        manifest = ".lab/manifest.yaml"
        desk("lab", "up", "--hosts", str(hosts), "--vms", str(vms), "--address", address)
        try:
            desk("plan", manifest, codes=(0, 3))
            desk("lab", "power", "off", "xen01")
            time.sleep(SILENT)
            began = time.time()
            if proof == "attested":
                desk("attest", manifest, "xen01", "--dead", "--reason", "seen powered off", "--for", "30m")
            told = json.loads(desk("apply", manifest, "--yes", "--format", "json", codes=(0, 3)))
            ended = time.time()
            harm = desk("lab", "harm")
        finally:
            desk("lab", "down")
    return {"outcome": told, "began": began, "ended": ended, "harm": harm}


def figures(found: dict[str, Any], proof: str) -> tuple[list[Number], list[tuple[float, str]]]:
    """The numbers, and the time line in seconds since the word was given."""
    outcome = found["outcome"]
    offset = datetime.fromisoformat(outcome["started_at"]).timestamp() - found["began"]
    steps = [(one["after_s"] + offset, str(one["what"])) for one in outcome["milestones"]]

    def at(words: str) -> float:
        return next(when for when, what in steps if words in what)

    accepted, answers, managed = at("accepted to become master"), at("accepts logins"), at("the pool is managed again")
    restart = answers - accepted
    whole = found["ended"] - found["began"]
    numbers = [
        Number(f"{proof}: until the promotion is sent", accepted, "s"),
        Number(f"{proof}: the toolstack's own restart", restart, "s"),
        Number(f"{proof}: until one master is followed by all", managed, "s"),
        Number(f"{proof}: the same without that restart", managed - restart, "s", TARGET),
        Number(f"{proof}: until every VM that can run does, proved", whole, "s"),
    ]
    return numbers, [*steps, (whole, "every VM that can run does; the pool was read again")]


def main() -> int:
    """Measure; exit code 1 if a target is missed or anything happened that must never happen."""
    parser = argparse.ArgumentParser(prog="make real-time", description=__doc__)
    parser.add_argument("--hosts", type=int, default=4)
    parser.add_argument("--vms", type=int, default=24)
    parser.add_argument("--proof", choices=("attested", "fenced", "both"), default="both")
    parser.add_argument("--address", default="127.0.92.11", help="address of the lab's first host")
    options = parser.parse_args()
    good = True
    for proof in ("attested", "fenced") if options.proof == "both" else (options.proof,):
        found = recovery(options.hosts, options.vms, proof, options.address)
        numbers, steps = figures(found, proof)
        print(f"{options.hosts} hosts, {options.vms} VMs; seconds since " + _since(proof))
        for when, what in steps:
            print(f"  +{when:5.1f} s  {what}")
        print(f"\n{table(numbers)}")
        if "no harm" not in found["harm"].lower():
            print(f"HARM: {found['harm']}")
            good = False
        good = good and all(n.good for n in numbers)
    return 0 if good else 1


def _since(proof: str) -> str:
    return "the attestation was typed" if proof == "attested" else "apply was typed, which fences the old master"


if __name__ == "__main__":
    sys.exit(main())
