"""`policy.placement.reserve`, watched: what a loss of hosts would leave down, counted from the pool's own records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

from reconciler.core.wanted import MemberState, Priority, VmWish, WantedState
from reconciler.lab.placement import fits
from reconciler.lab.rules import start_memory
from reconciler.lab.schema import NULL

if TYPE_CHECKING:
    from tests.soak.watch import Watch


def left_down(
    db: Any, wishes: Mapping[str, VmWish], places: Mapping[str, str], lost: Iterable[str], shut: Iterable[str] = ()
) -> tuple[int, ...]:
    """How many VMs of each priority, from the highest, would find no room on the others if these hosts (refs) died, the
    most important placed first, without any move. `places`: VM ref -> host ref; `shut`: hosts that take none."""
    gone = set(lost)
    free = {ref: _room(db, ref, places) for ref in db.tables["host"] if ref not in {*gone, *shut}}
    declared = {ref: wishes[vm["uuid"]] for ref, vm in db.tables["VM"].items() if vm["uuid"] in wishes}
    apart = {(wish.placement.apart, places[ref]) for ref, wish in declared.items() if ref in places}
    waiting = []
    for ref, wish in declared.items():
        if places.get(ref) in gone and wish.state is WantedState.RUNNING:
            may = [h for h in free if _allowed(db, wish, h) and fits(db, ref, h, memory=False)]
            vm = db.tables["VM"][ref]
            rank = (-wish.priority, vm["order"], len(may), -start_memory(vm), vm["name_label"], vm["uuid"])
            waiting.append((rank, ref, wish, may))
    down = dict.fromkeys(sorted(Priority, reverse=True), 0)
    for _, ref, wish, may in sorted(waiting, key=lambda one: one[0]):
        need, group = start_memory(db.tables["VM"][ref]), wish.placement.apart
        takes = [h for h in may if free[h] >= need and not (group and (group, h) in apart)]
        if not takes:
            down[wish.priority] += 1
            continue
        chosen = max(takes, key=lambda h: free[h])
        free[chosen] -= need
        apart.add((group, chosen))
    return tuple(down.values())


def worst(watch: Watch, db: Any, places: Mapping[str, str]) -> tuple[int, ...]:
    """The same for the worst loss that the reserve is to absorb. Hosts that don't answer count against it; those in
    maintenance are left out."""
    hosts, wanted = db.tables["host"], watch.wanted
    away = {ref for ref, host in hosts.items() if not watch.answers(watch.lab.hosts[host["name_label"]])}
    resting = {m.name for m in wanted.members if m.state is MemberState.MAINTENANCE}
    shut = away | {ref for ref, host in hosts.items() if host["name_label"] in resting}
    vms = db.tables["VM"]
    running = {at for ref, at in places.items() if vms[ref]["uuid"] in watch.wishes} - shut
    most = min(max(0, wanted.policy.reserve - len(away)), len(running))
    losses = combinations(sorted(running), most) if most else ()
    return max((left_down(db, watch.wishes, places, lost, shut) for lost in losses), default=(0,) * len(Priority))


def places_of(db: Any) -> dict[str, str]:
    """VM ref -> the host where it runs, or where it is going."""
    found = {}
    for ref, vm in db.tables["VM"].items():
        if vm["is_control_domain"] or vm["is_a_template"]:
            continue
        place = vm["scheduled_to_be_resident_on"]
        place = place if place != NULL else vm["resident_on"]
        if place in db.tables["host"]:
            found[ref] = place
    return found


def kept(watch: Watch, db: Any, vm: str, target: str, name: str) -> None:
    """A move (by uuids) that only a soft wish asks for leaves the reserve as good as it was."""
    if not watch.wanted.policy.reserve:
        return
    before = places_of(db)
    ref = next(ref for ref, record in db.tables["VM"].items() if record["uuid"] == vm)
    to = next(ref for ref, record in db.tables["host"].items() if record["uuid"] == target)
    was, now = worst(watch, db, before), worst(watch, db, {**before, ref: to})
    if now > was:
        watch.blame("I5", f"moves {name} for a soft wish, and a loss of hosts would leave {now} down, not {was}")


def _room(db: Any, host: str, places: Mapping[str, str]) -> int:
    record = db.tables["host"][host]
    there = [vm for ref, vm in db.tables["VM"].items() if places.get(ref, vm["resident_on"]) == host]
    used = sum(vm["memory_dynamic_min"] + vm["memory_overhead"] for vm in there)
    return int(db.tables["host_metrics"][record["metrics"]]["memory_total"] - record["memory_overhead"] - used)


def _allowed(db: Any, wish: VmWish, host: str) -> bool:
    name = db.tables["host"][host]["name_label"]
    return name not in wish.placement.avoid and (not wish.placement.require or name in wish.placement.require)
