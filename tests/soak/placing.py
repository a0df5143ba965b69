"""Wishes about where VMs run, drawn and watched: hard ones hold at rest or are told, nothing moves without a reason."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.core.wanted import MemberState, PlacementWish, Priority, VmWish, Wanted, WantedState
from reconciler.lab import Seed
from tests.soak import reserve
from tests.soak.moving import MARK

if TYPE_CHECKING:
    from tests.soak.watch import Watch

FOUND_BEFORE = range(2_000, 6_000_000)
"""Seeds that were played before placement was drawn: those that are named in docs and tests keep their stories."""

_DOWN = (WantedState.HALTED, WantedState.SUSPENDED)


def with_placement(wanted: Wanted, seed: int) -> Wanted:
    """In one schedule of three: groups apart, together and spread, hosts required and avoided, homes; `rebalance`,
    `coolDown`, `shed` and `reserve`."""
    if seed % 3 or seed in FOUND_BEFORE:
        return wanted
    rng = random.Random(f"placement {seed}")
    policy = replace(
        wanted.policy,
        reserve=rng.choice((0, 0, 1, 2)),
        shed=rng.choice((None, Priority.NORMAL, Priority.HIGH)),
        rebalance=rng.random() < 0.5,
        cool_down=rng.choice((0.0, 120.0, 3600.0)),
    )
    names = [m.name for m in wanted.members]
    share = rng.choice((0.2, 0.5, 0.9))
    ranked = [replace(wish, priority=rng.choice((Priority.LOW, *Priority))) for wish in wanted.vms]
    for at, wish in enumerate(ranked):
        if wish.state is WantedState.HALTED and rng.random() < 0.5:  # for which the others may have to give room
            ranked[at] = replace(wish, state=WantedState.RUNNING, priority=Priority.CRITICAL)
    vms = tuple(_placed(rng, wish, names) if rng.random() < share else wish for wish in ranked)
    return replace(wanted, policy=policy, vms=vms)


def _placed(rng: random.Random, wish: VmWish, names: Sequence[str]) -> VmWish:
    some = tuple(rng.sample(list(names), rng.randint(1, max(1, len(names) - 1))))
    placement = rng.choice(
        (
            PlacementWish(apart=rng.choice("ab")),
            PlacementWish(apart="a", spread="s"),
            PlacementWish(together=rng.choice("tu")),
            PlacementWish(spread="s", prefer=some),
            PlacementWish(require=some),
            PlacementWish(avoid=some[:1], apart="b"),
        )
    )
    changed = replace(wish, placement=placement)
    return replace(changed, home=rng.choice(names)) if rng.random() < 0.4 else changed


def squeeze(grown: Seed, seed: int) -> None:
    """In half of those schedules hosts have hardly more memory than their VMs use: room must be made, VMs be shed."""
    rng = random.Random(f"room {seed}")
    if seed % 3 or seed in FOUND_BEFORE or rng.random() < 0.5:
        return
    for ref, host in grown.tables["host"].items():
        there = [v for v in grown.tables["VM"].values() if v["resident_on"] == ref]
        used = sum(v["memory_static_max"] + (64 << 20) for v in there)
        grown.tables["host_metrics"][host["metrics"]]["memory_total"] = used + (rng.choice((0, 0, 1, 3)) << 30)


def faults_of(hosts: Mapping[str, str], wishes: Mapping[str, VmWish]) -> dict[str, str]:
    """VM uuid -> the hard wish of its entry that does not hold with VMs running on these hosts (uuid -> host name)."""
    found: dict[str, str] = {}
    for uuid, wish in wishes.items():
        host, placement = hosts.get(uuid), wish.placement
        if host is None or wish.state in _DOWN:
            continue
        if forbids(wish, host):
            found[uuid] = f"it runs on {host}, which its entry forbids"
        for other, beside in wishes.items():
            there = hosts.get(other)
            if other == uuid or there is None or beside.state in _DOWN:
                continue
            if placement.apart and placement.apart == beside.placement.apart and there == host:
                found.setdefault(uuid, f"another of group {placement.apart} (apart) runs on {host} too")
            if placement.together and placement.together == beside.placement.together and there != host:
                found.setdefault(uuid, f"another of group {placement.together} (together) runs on {there}")
    return found


def may_be_shed(watch: Watch, wish: VmWish, db: Any) -> bool:
    """The policy lets it give room, and a more important one that is declared running does not run."""
    limit = watch.wanted.policy.shed
    if wish.state is not WantedState.RUNNING or limit is None or wish.priority > limit:
        return False
    states = {r["uuid"]: r["power_state"] for r in db.tables["VM"].values()}
    return any(
        other.state is WantedState.RUNNING and other.priority > wish.priority and states.get(uuid) != "Running"
        for uuid, other in watch.wishes.items()
    )


def of_migration(watch: Watch, db: Any, vm: Mapping[str, Any], target: Mapping[str, Any], wish: VmWish) -> None:
    """A VM is about to be moved: not where its entry forbids it, and not without any reason."""
    name, to = vm["name_label"], str(target.get("name_label"))
    hosts = {ref: h["name_label"] for ref, h in db.tables["host"].items()}
    here = hosts.get(vm["resident_on"], "")
    if not forbids(wish, here):  # else it may pass through another such host
        on_target(watch, "VM.pool_migrate", name, to, wish)
    records = {r["uuid"]: r for r in db.tables["VM"].values()}
    running = {u: hosts[r["resident_on"]] for u, r in records.items() if r["resident_on"] in hosts}
    states = [(w, records[u]["power_state"]) for u, w in watch.wishes.items() if u in records]
    needed = any(w.state is WantedState.RUNNING and state != "Running" for w, state in states)
    emptied = any(m.state is MemberState.MAINTENANCE for m in watch.wanted.members)
    returning = any(MARK in h["other_config"] for h in db.tables["host"].values())
    if not (needed or emptied or returning or faults_of(running, watch.wishes)):
        moved_at, left = watch.moved.get(vm["uuid"], (None, ""))
        if not watch.wanted.policy.rebalance:
            watch.blame("I5", f"moves {name} to {to}, and no hard wish, start or maintenance asks for it")
        elif left == here or moved_at is None or moved_at >= watch.run_began:
            pass  # it did not move, or passes through a third host in one plan
        elif watch.lab.now - moved_at < watch.wanted.policy.cool_down:
            watch.blame("I5", f"moves {name} to {to} {watch.lab.now - moved_at:.0f} s after its last move")
        else:
            reserve.kept(watch, db, vm["uuid"], target["uuid"], name)
    watch.moved[vm["uuid"]] = (watch.lab.now, here)


def forbids(wish: VmWish, host: str) -> bool:
    """Its entry does not let it be there."""
    return host in wish.placement.avoid or bool(wish.placement.require and host not in wish.placement.require)


def on_target(watch: Watch, bare: str, name: str, to: str, wish: VmWish) -> None:
    """require and avoid hold for every host that a VM is sent to."""
    if forbids(wish, to):
        watch.blame("I8", f"{bare} {name} on {to}, which its entry forbids")
