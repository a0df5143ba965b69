"""`python -m reconciler.lab DIRECTORY`: serve the lab that DIRECTORY/request.json describes, until told to end.

`xenrec lab up` writes that file and starts this in the background. Everything goes to stderr (the log), nothing to
stdout. Exit codes: 0 ended as asked, 1 could not serve (the log's last line says why).
"""

from __future__ import annotations

import gc
import json
import logging
import os
import secrets
import signal
import sys
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler.lab.control import Control
from reconciler.lab.engine import Lab
from reconciler.lab.incidents import INCIDENTS, Trial
from reconciler.lab.seed import Seed
from reconciler.lab.served_client import MANIFEST, PASSWORD, REQUEST, STATE
from reconciler.lab.served_manifest import guests, manifest
from reconciler.lab.served_port import HTTPS
from reconciler.lab.served_script import NO_INCIDENT
from reconciler.lab.server import ServedLab
from reconciler.lab.timing import Release, Timing

log = logging.getLogger("reconciler.lab")


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM, SIGINT or the control command `down`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    directory = Path(arguments[0]).resolve()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        request = json.loads((directory / REQUEST).read_text(encoding="utf-8"))
        lab = make_lab(request, password(directory), accounts(directory, request))
        spare_the_collector()
        served = ServedLab(lab, directory, port=request["port"])
        serve(served, lab, directory, request, ended)
    except (OSError, ValueError) as error:
        log.error("%s", explain(error))
        return 1
    log.info("serving %s", ", ".join(served.address_of(host) for host in lab.hosts.values()))
    ended.wait()
    served.stop()
    (directory / STATE).unlink(missing_ok=True)
    log.info("ended")
    return 0


def make_lab(request: dict[str, Any], secret: str, others: dict[str, tuple[str, str]] | None = None) -> Lab:
    """The lab that `lab up` asked for. Raises OSError or ValueError for a bad pool database."""
    if request.get("from"):
        seed = Seed.from_file(request["from"], first_address=request["address"])
    else:
        seed = Seed.generate(
            hosts=request["hosts"],
            vms=request["vms"],
            random_seed=request["seed"],
            first_address=request["address"],
        )
        # A pool and machines of its own each time: what runs remember of the last lab (proofs, promotions, who was
        # declared dead) is not told of this one.
        for record in (*seed.tables["pool"].values(), *seed.tables["host"].values()):
            record["uuid"] = str(uuid.uuid4())
    timing = Timing.fast() if request.get("fast") else Timing()
    # The real network and the real processor take their own time.
    timing = replace(timing, latency=0.0, call=0.0)
    incident = INCIDENTS.get(request.get("incident") or "")
    return Lab(
        seed,
        timing=timing,
        release=Release(request["release"]),
        start=time.time() - (incident.span if incident is not None else 0.0),
        random_seed=request["seed"],
        password=secret,
        accounts=others,
    )


def spare_the_collector() -> None:
    """The pool's records live as long as this process: looking through them for garbage costs seconds in a big pool."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def serve(served: ServedLab, lab: Lab, directory: Path, request: dict[str, Any], ended: threading.Event) -> None:
    """Start serving and write down what is served: the manifest, then the state. Raises OSError."""
    served.start()
    try:
        suffix = "" if served.port == HTTPS else f":{served.port}"
        with served.world():
            text = manifest(lab, served.identities(), suffix, directory)
            trial = Trial(INCIDENTS.get(request.get("incident") or "", NO_INCIDENT), lab)
        write(directory / MANIFEST, text)
        trial.prepare(served.skip)
        about = {
            "pid": os.getpid(),
            "pool": lab.pool_name,
            "directory": str(directory),
            "port": served.port,
            "others": {str(k): v for k, v in served.others.items()},
            "vms": len(guests(lab)),
            "release": lab.release.value,
            "fast": bool(request.get("fast")),
            "incident": trial.incident.name,
            "accounts": {name: role for name, (_, role) in lab.accounts.items()},
            "hosts": [
                {
                    "name": host.name,
                    "uuid": host.uuid,
                    "address": served.address_of(host),
                    "fingerprint": served.identities()[host.name].fingerprint,
                }
                for host in lab.hosts.values()
            ],
        }
        Control(served, directory, about=about, on_down=ended.set, trial=trial).start()
        write(directory / STATE, json.dumps(about, indent=2) + "\n")
    except BaseException:
        served.stop()
        raise


def accounts(directory: Path, request: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Password and role of the accounts that `lab up` asked for, by name."""
    asked = request.get("accounts") or {}
    return {name: (password(directory, f"{PASSWORD}-{name}"), role) for name, role in asked.items()}


def password(directory: Path, name: str = PASSWORD) -> str:
    """The password in that file (root's, on every host): kept over `down` and `up`, random the first time."""
    file = directory / name
    try:
        known = file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        known = ""
    if not known:
        known = secrets.token_urlsafe(12)
        write(file, known + "\n")
    return known


def write(file: Path, text: str) -> None:
    """Write a file whole, readable by its owner only."""
    part = file.with_name(file.name + ".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    part.replace(file)


def explain(error: Exception) -> str:
    """An error of the start as one line with its remedy."""
    if isinstance(error, OSError) and error.filename and ":" in str(error.filename):
        if isinstance(error, PermissionError):
            return f"{error.filename}: not permitted to you: leave --port at auto, or choose one above 1023"
        return f"{error.filename}: {error.strerror}: choose other addresses with --address, or a port with --port"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
