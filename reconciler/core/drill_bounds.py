"""Whether VMs of lost hosts find room on those left, settled by bounds where that is possible. Pure.

The upper bound is a placement: if a simple one exists, the VMs have a place. The lower bound is a sum: what is not
free anywhere can't be made free by moving VMs about.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from reconciler.core.model import PoolState, Ref, Vm
from reconciler.core.placement import devices, drives, need
from reconciler.core.wanted import PlacementWish


class Odds(StrEnum):
    """What the bounds say of the VMs that could run somewhere."""

    FITS = "fits"  # a placement was found
    NEVER = "never"  # more is needed than is free
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Judged:
    """`nowhere` are VMs that no host left could run; `homeless` those that the simple placement had no room for;
    bytes `needed` and `free` of all that could run somewhere."""

    odds: Odds
    nowhere: frozenset[Ref]
    homeless: tuple[Vm, ...] = ()
    needed: int = 0
    free: int = 0


@dataclass(frozen=True)
class Bounds:
    """For each host its VMs, largest first, each with its bytes, the hosts that could run it (None: every one), and
    whether its place depends on others (a group that stays together, a network inside one host)."""

    free: Mapping[Ref, int]
    vms: Mapping[Ref, Sequence[tuple[Vm, int, frozenset[Ref] | None, bool]]]

    @classmethod
    def of(
        cls,
        state: PoolState,
        vms: Mapping[Ref, Sequence[Vm]],
        wishes: Mapping[Ref, PlacementWish],
        free: Mapping[Ref, int],
        possible: Callable[[Vm], frozenset[Ref]],
    ) -> Bounds:
        """`free` bytes of each ready host; `possible` hosts of a VM are asked for once for all VMs of one kind."""
        everywhere = frozenset(free)
        asked: dict[object, frozenset[Ref]] = {}
        found: dict[Ref, list[tuple[Vm, int, frozenset[Ref] | None, bool]]] = {}
        for ref, listed in vms.items():
            rows = found.setdefault(ref, [])
            for vm in listed:
                kind = _kind(vm, wishes[vm.ref], state)
                if kind not in asked:
                    asked[kind] = possible(vm)
                where = asked[kind]
                bound = bool(wishes[vm.ref].together or devices(vm, state)) or any(
                    not state.network_hosts.get(state.vifs[v].network) for v in vm.vifs if v in state.vifs
                )
                rows.append((vm, need(vm), None if where >= everywhere else where, bound))
            rows.sort(key=lambda row: (-row[1], row[0].name, row[0].uuid))
        return cls(free, found)

    def judge(self, gone: Collection[Ref], known: Collection[str]) -> Judged:
        """The VMs of the hosts that are `gone`, but those `known` (by uuid) to stay down anyway."""
        rows = [row for ref in gone for row in self.vms.get(ref, ()) if row[0].uuid not in known]
        nowhere = frozenset(vm.ref for vm, _, where, _ in rows if where is not None and where.issubset(gone))
        rows = sorted(
            (row for row in rows if row[0].ref not in nowhere),
            key=lambda row: (row[2] is None, -row[1], row[0].name, row[0].uuid),
        )
        free = {ref: room for ref, room in self.free.items() if ref not in gone}
        needed, there = sum(row[1] for row in rows), sum(room for room in free.values() if room > 0)
        homeless = _placed_widely(rows, dict(free))
        if homeless and needed <= there:
            homeless = _placed_tightly(rows, dict(free))
        if not homeless and not any(bound for _, _, _, bound in rows):
            return Judged(Odds.FITS, nowhere)
        odds = Odds.NEVER if needed > there else Odds.UNKNOWN
        return Judged(odds, nowhere, tuple(homeless), needed, there)


def _kind(vm: Vm, wish: PlacementWish, state: PoolState) -> object:
    """Equal for VMs that the same hosts could run."""
    return (
        frozenset(d.sr for d in drives(vm, state)),
        frozenset(state.vifs[v].network for v in vm.vifs if v in state.vifs),
        vm.needs_hvm,
        vm.vcpus,
        tuple((v.group, v.type) for v in state.devices.vgpus_of.get(vm.ref, ())),
        tuple(usb.host for usb in state.devices.usbs_of.get(vm.ref, ())),
        wish.require,
        wish.avoid,
    )


def _placed_widely(rows: Sequence[tuple[Vm, int, frozenset[Ref] | None, bool]], free: dict[Ref, int]) -> list[Vm]:
    """Each VM, the choosiest first, to the host with most room; those that found none."""
    homeless = []
    anywhere = []
    for vm, size, where, _ in rows:
        if where is None:
            anywhere.append((vm, size))
            continue
        best = max((ref for ref in where if ref in free), key=lambda ref: (free[ref], ref), default=None)
        if best is None or free[best] < size:
            homeless.append(vm)
        else:
            free[best] -= size
    heap = [(-room, ref) for ref, room in free.items()]
    heapq.heapify(heap)
    for vm, size in anywhere:
        if not heap or -heap[0][0] < size:
            homeless.append(vm)
        else:
            room, ref = heap[0]
            heapq.heapreplace(heap, (room + size, ref))
    return homeless


def _placed_tightly(rows: Sequence[tuple[Vm, int, frozenset[Ref] | None, bool]], free: dict[Ref, int]) -> list[Vm]:
    """Each VM to the host with least room that has enough; those that found none."""
    homeless = []
    for vm, size, where, _ in rows:
        fit = [ref for ref in (free if where is None else where) if free.get(ref, -1) >= size]
        if fit:
            free[min(fit, key=lambda ref: (free[ref], ref))] -= size
        else:
            homeless.append(vm)
    return homeless
