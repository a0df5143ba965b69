"""Which VMs an entry of the manifest means. The most exact selector wins whole: uuid, name, pattern, tag."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.core.model import PoolState, Ref, Vm
from reconciler.core.plan import Thing, Unmet
from reconciler.core.wanted import SelectorKind, VmWish, Wanted
from reconciler.core.words import names

_EXACT = {SelectorKind.UUID: 0, SelectorKind.NAME: 1, SelectorKind.PATTERN: 2, SelectorKind.TAG: 3}


@dataclass(frozen=True)
class Selection:
    """The wish for each selected VM, in the order of VM names, and what could not be selected and why."""

    wishes: Mapping[Ref, VmWish]
    problems: tuple[Unmet, ...] = ()
    by_entry: Mapping[str, tuple[Ref, ...]] = field(default_factory=dict)
    """VMs that each entry's text selects, for dependsOn."""
    idle: tuple[str, ...] = ()
    """Patterns and tags that select nothing: worth saying, for a name with a [ in it is a pattern."""


def _matches(wish: VmWish, vm: Vm) -> bool:
    if wish.kind is SelectorKind.UUID:
        return vm.uuid == wish.value
    if wish.kind is SelectorKind.NAME:
        return vm.name == wish.value
    if wish.kind is SelectorKind.PATTERN:
        return fnmatch.fnmatchcase(vm.name, wish.value)
    return wish.value in vm.tags


def vm_thing(vm: Vm) -> Thing:
    """A VM as the target of an action."""
    return Thing("vm", vm.name, vm.uuid)


def select(wanted: Wanted, state: PoolState) -> Selection:
    """Resolve every entry against the pool's guests. A name that means two VMs selects none of them, ever."""
    wishes: dict[Ref, VmWish] = {}
    problems: list[Unmet] = []
    by_entry: dict[str, tuple[Ref, ...]] = {}
    idle: list[str] = []
    by_name: dict[str, list[Vm]] = {}
    by_uuid = {vm.uuid: vm for vm in state.guests}
    for vm in state.guests:
        by_name.setdefault(vm.name, []).append(vm)
    for wish in sorted(wanted.vms, key=lambda w: _EXACT[w.kind]):
        if wish.kind is SelectorKind.UUID:
            found = [by_uuid[wish.value]] if wish.value in by_uuid else []
        elif wish.kind is SelectorKind.NAME:
            found = by_name.get(wish.value, [])
        else:
            found = [vm for vm in state.guests if _matches(wish, vm)]
        target = Thing("vm", wish.value)
        if not found and wish.kind in (SelectorKind.UUID, SelectorKind.NAME) and not wish.optional:
            problems.append(_unknown(wish, target, state))
            continue
        if wish.kind is SelectorKind.NAME and len(found) > 1:
            problems.append(
                Unmet(
                    target,
                    f"state {wish.state}",
                    f"{len(found)} VMs have this name: {names(vm.uuid for vm in found)}",
                    "write uuid: instead of name: for each of them in the manifest",
                    str(wish.place or ""),
                )
            )
            continue
        by_entry.setdefault(wish.value, tuple(vm.ref for vm in found))
        if not found and not wish.optional:
            idle.append(f"{wish.place}: {wish} selects no VM" if wish.place else f"{wish} selects no VM")
        for vm in found:
            wishes.setdefault(vm.ref, wish)
    ordered = {vm.ref: wishes[vm.ref] for vm in state.guests if vm.ref in wishes}
    return Selection(ordered, tuple(problems), by_entry, tuple(idle))


def _unknown(wish: VmWish, target: Thing, state: PoolState) -> Unmet:
    why = f"no VM of the pool has this {wish.kind}"
    other = [vm for vm in state.vms.values() if not vm.is_guest and wish.value in (vm.name, vm.uuid)]
    if other:
        kind = "snapshot" if other[0].is_snapshot else "template" if other[0].is_template else "control domain"
        why = f"it is a {kind}, and those are never acted on"
    remedy = "correct the entry, or add optional: true if the VM may be missing; to see the names: xe vm-list"
    return Unmet(
        target,
        f"state {wish.state}",
        why,
        "name a VM in the entry; to see the names: xe vm-list" if other else remedy,
        str(wish.place or ""),
    )
