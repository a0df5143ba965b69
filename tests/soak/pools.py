"""The pool of a schedule: generated, with its hardware, and with less room than it would like."""

from __future__ import annotations

import random

from reconciler.lab import Lab, Release, Seed, Timing
from reconciler.lab.database import relink
from reconciler.lab.generate_parts import Builder
from reconciler.lab.rules import GUEST_FEATURES, allowed_operations
from reconciler.lab.schema import NULL
from tests.soak.placing import squeeze
from tests.soak.schedule import PoolSpec
from tests.support.scenario_hardware import SHARE, Hardware

FAST = Timing.fast()
REAL = Timing()


def make_lab(spec: PoolSpec, seed: int) -> Lab:
    """The pool."""
    grown = Seed.generate(
        hosts=spec.hosts,
        vms=spec.vms,
        random_seed=seed,
        shared_srs=("san-1", "nfs-1")[: spec.shared],
        local_fraction=spec.local,
        running_fraction=spec.running,
    )
    if spec.ha:
        for pool in grown.tables["pool"].values():
            pool["ha_enabled"] = True
    add_hardware(grown, random.Random(f"hardware {seed}"))
    squeeze(grown, seed)
    release = Release.CLASSIC if spec.classic else Release.V24_16
    return Lab(grown, timing=FAST if spec.fast else REAL, release=release, random_seed=seed)


def add_hardware(grown: Seed, rng: random.Random) -> None:
    """In some pools hosts have GPUs, of which VMs have some, and some guests run without tools."""
    if rng.random() < 0.75:
        return
    build = Builder(rng.randrange(1 << 30))
    build.tables = grown.tables
    hardware = Hardware(build, grown.tables)
    for host in grown.tables["host"]:
        if number := rng.choice((0, 1, 1, 2)):
            hardware.add_gpus(host, number)
    for ref, vm in grown.tables["VM"].items():
        if vm["is_control_domain"] or vm["is_a_template"]:
            continue
        runs = vm["resident_on"] != NULL
        if rng.random() < 0.4:
            hardware.give_gpu(ref, rng.choice((True, SHARE)), vm["resident_on"] if runs else None)
        bare = runs and rng.random() < 0.2
        if bare:
            grown.tables["VM_guest_metrics"].pop(vm["guest_metrics"], None)
            vm["guest_metrics"] = NULL
        vm["allowed_operations"] = allowed_operations(vm, GUEST_FEATURES if bare else ())
    relink(grown.tables)
