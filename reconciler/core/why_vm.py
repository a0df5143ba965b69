"""Why a VM runs where it runs, or does not: every host with what keeps it from being the one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reconciler.core.migration_network import closed
from reconciler.core.model import Host, PoolState, PowerState, Ref, Vm
from reconciler.core.placement import Room, drives, need, obstacle
from reconciler.core.plan import Thing, Verb
from reconciler.core.select import Selection
from reconciler.core.standing import Standing, Stands
from reconciler.core.storage import hosts_of
from reconciler.core.wanted import PlacementWish, SelectorKind, VmWish, WantedState
from reconciler.core.why import Because, Considered, Ground, Sort, Told, UnknownName, Wish, near
from reconciler.core.words import names, size


def why_vm(ground: Ground, name: str) -> Because:
    """The answer about the VM of that name or uuid. Raises UnknownName."""
    state = ground.state
    found = [] if state is None else [v for v in state.vms.values() if name in (v.name, v.uuid)]
    guests = [v for v in found if v.is_guest]
    if len(guests) > 1:
        uuids = names(v.uuid for v in guests)
        raise UnknownName(f"{len(guests)} VMs are named {name}, say which: {uuids}", [f"vm/{guests[0].uuid}"])
    if guests and state is not None and ground.selection is not None:
        return _of(ground, guests[0], state, ground.selection)
    entries = [w for w in ground.wanted.vms if w.value == name]
    told = ground.told([Thing("vm", name)])
    if found:
        what = "a template" if found[0].is_template else "a snapshot" if found[0].is_snapshot else "a control domain"
        short = f"{name} is {what}, and those are never acted on"
        return Because(Thing("vm", name, found[0].uuid), short, told=told, read_at=ground.read_at, live=ground.live)
    if entries:
        short = "the manifest names it, and the pool has no such VM"
        if state is None:
            short = "the manifest names it; this pool was never read from here, so nothing more is known"
        wished = _wishes(entries[0])
        return Because(
            Thing("vm", name),
            short,
            wished,
            told=told,
            next=ground.next_of(told),
            read_at=ground.read_at,
            live=ground.live,
        )
    known = [v.name for v in state.guests] if state is not None else []
    listed = [w.value for w in ground.wanted.vms if w.kind is SelectorKind.NAME]
    raise UnknownName(f"neither the pool nor the manifest knows a VM {name}", near("vm", name, [*known, *listed]))


def _of(ground: Ground, vm: Vm, state: PoolState, selection: Selection) -> Because:
    thing = Thing("vm", vm.name, vm.uuid)
    wish = selection.wishes.get(vm.ref)
    told = ground.told([thing, Thing("vm", wish.value)] if wish and wish.kind is SelectorKind.NAME else [thing])
    mine = [t.action for t in told if t.sort is Sort.DONE and t.action is not None]
    answer = Because(
        thing,
        _short(vm, wish, told, ground, state),
        wished=_wishes(wish) if wish is not None else (),
        known=_known(vm, ground, state),
        told=told,
        waits=ground.before(mine),
        depends=_depends(vm, wish, selection, state),
        next=_next(vm, told, ground, state, selection) if wish is not None or told else "",
        read_at=ground.read_at,
        live=ground.live,
    )
    if ground.stands is None:
        return answer
    target = next((a.to.uuid for a in mine if a.to is not None and a.verb is not Verb.SET_AFFINITY), "")
    placement = wish.placement if wish is not None else PlacementWish()
    return replace(answer, considered=_considered(vm, placement, ground, ground.stands, state, target))


def _short(vm: Vm, wish: VmWish | None, told: tuple[Told, ...], ground: Ground, state: PoolState) -> str:
    where = _host_name(vm.resident_on, ground, state)
    now = f"is {vm.power_state}" + (f" on {where}" if where else "")
    if where and not ground.answers(where):
        now = f"is recorded {vm.power_state} on {where}, which does not answer"
    if wish is None:
        return f"it {now}; no entry of the manifest means it, so it is never touched"
    for sort, words in (
        (Sort.UNMET, "what is declared can't be met: "),
        (Sort.WITHHELD, "what is right is withheld: "),
        (Sort.DONE, "the plan acts on it: "),
        (Sort.KEPT, "it is left alone: "),
    ):
        for one in told:
            if one.sort is sort:
                return f"it {now}; {words}{one.why}"
    if ground.regains():
        return f"it {now}; nothing is planned for it before the pool has a master again"
    return f"it {now}, and the plan says nothing about it"


def _wishes(wish: VmWish) -> tuple[Wish, ...]:
    place = str(wish.place or "")
    selects = "" if wish.kind is SelectorKind.NAME else f" (by {wish.kind} {wish.value})"
    lines = [f"state {wish.state}{selects}"]
    if wish.home:
        lines.append(f"home {wish.home}")
    p = wish.placement
    lines += [
        f"placement.{key} {names(value)}"
        for key, value in (("require", p.require), ("avoid", p.avoid), ("prefer", p.prefer))
        if value
    ]
    lines += [f"placement.{key} {value}" for key, value in (("together", p.together), ("spread", p.spread)) if value]
    if wish.state is WantedState.RUNNING:
        lines.append(f"priority {wish.priority.name.lower()}")
    if wish.depends_on:
        lines.append(f"dependsOn {names(wish.depends_on)}")
    if wish.max_level is not None:
        lines.append(f"maxLevel {wish.max_level.word}")
    return tuple(Wish(line, place) for line in lines)


def _known(vm: Vm, ground: Ground, state: PoolState) -> tuple[str, ...]:
    where = _host_name(vm.resident_on, ground, state)
    lines = [f"{vm.power_state}" + (f", recorded on {where}" if where else "")]
    stands = ground.stands
    one = stands.by_ref.get(vm.resident_on or "") if stands is not None else None
    if one is not None and not one.answers:
        lines.append(f"{where} {ground.standing(one)}")
    home = _host_name(vm.affinity, ground, state)
    lines.append(f"home (affinity) {home or 'none'}; needs {size(need(vm))} to start, {vm.vcpus} CPUs")
    for drive in drives(vm, state):
        sr = state.srs.get(drive.sr or "")
        if sr is None:
            lines.append(f"{drive.vbd_type} {drive.what} on storage that is gone")
            continue
        up, down = hosts_of(sr, stands, state) if stands is not None else ([], [])
        reach = f"plugged on {names(up)}" if up else "plugged on no host that answers"
        gone = f"; on {names(down)} too, no answer" if down else ""
        lines.append(f"{drive.vbd_type} {drive.what} on {sr.name}: {reach}{gone}")
    nets = (state.networks.get(state.vifs[v].network) for v in vm.vifs if v in state.vifs)
    networks = [net.name for net in nets if net is not None]
    if networks:
        lines.append(f"networks {names(dict.fromkeys(networks))}")
    if given := state.devices.described(vm.ref):
        lines.append(f"is given {names(given)}")
    if vm.pinned_devices and vm.power_state is PowerState.RUNNING:
        lines.append(f"tied to its host by {names(vm.pinned_devices)}")
    if vm.immobile and one is not None and one.answers:
        lines.append(f"can't be moved live: {vm.immobile}")
    if vm.current_operations:
        lines.append(f"somebody is at it: {names(vm.current_operations)}")
    lines += [f"{op} is blocked: {text or 'no reason given'}" for op, text in sorted(vm.blocked_operations.items())]
    return tuple(lines)


def _depends(vm: Vm, wish: VmWish | None, selection: Selection, state: PoolState) -> tuple[str, ...]:
    """Whom it waits for, and who waits for it."""
    lines = []
    for entry in wish.depends_on if wish is not None else ():
        for ref in selection.by_entry.get(entry, ()):
            if ref != vm.ref:
                lines.append(f"it waits for {state.name_of(ref)}, which is {state.vms[ref].power_state}")
    waiting = [
        state.name_of(ref)
        for ref, other in selection.wishes.items()
        if ref != vm.ref and any(vm.ref in selection.by_entry.get(entry, ()) for entry in other.depends_on)
    ]
    if waiting:
        lines.append(f"{names(waiting)} {'waits' if len(waiting) == 1 else 'wait'} for it")
    return tuple(lines)


def _next(vm: Vm, told: Sequence[Told], ground: Ground, state: PoolState, selection: Selection) -> str:
    """What comes next; for a VM that waits for others, what comes next for the first of those that can't run."""
    seen = {vm.ref}
    waiting = [(vm.ref, tuple(told))]
    while waiting:
        ref, about = waiting.pop(0)
        wish = selection.wishes.get(ref)
        for entry in wish.depends_on if wish is not None else ():
            for other in selection.by_entry.get(entry, ()):
                one = state.vms[other]
                theirs = ground.told([Thing("vm", one.name, one.uuid)])
                if other not in seen and any(t.sort in (Sort.WITHHELD, Sort.UNMET) for t in theirs):
                    seen.add(other)
                    waiting.append((other, theirs))
        if not waiting:
            return ground.next_of(about)
    return ""


def _host_name(ref: Ref | None, ground: Ground, state: PoolState) -> str:
    if ref is None:
        return ""
    one = ground.stands.by_ref.get(ref) if ground.stands is not None else None
    return one.thing.name if one is not None else state.name_of(ref)


def _considered(
    vm: Vm, placement: PlacementWish, ground: Ground, stands: Stands, state: PoolState, target: str
) -> tuple[Considered, ...]:
    wishes = ground.selection.wishes if ground.selection is not None else {}
    room = Room.of(state, {ref: w.placement for ref, w in wishes.items()})
    room.closed = closed(ground.wanted, state)
    running = vm.power_state in (PowerState.RUNNING, PowerState.PAUSED)
    ready = {h.ref for h in stands.ready}
    found = []
    for ref, one in stands.by_ref.items():
        name, chosen = one.thing.name, one.host.uuid == target
        if running and vm.resident_on == ref and one.answers:
            found.append(Considered(name, True, "it runs there", chosen=not target or chosen))
        elif ref not in ready:
            leaving = f"is being emptied or restarted ({names(one.host.leaving)})" if one.host.leaving else ""
            why = leaving if one.standing is Standing.READY else ground.standing(one)
            found.append(Considered(name, False, why, chosen=chosen))
        else:
            found.append(_host(vm, one.host, name, placement, room, chosen=chosen))
    return tuple(found)


def _host(vm: Vm, host: Host, name: str, placement: PlacementWish, room: Room, *, chosen: bool) -> Considered:
    why = obstacle(vm, host, room, placement)
    if why:
        return Considered(name, False, why, chosen=chosen)
    fits = f"could run it: {size(max(0, room.free.get(host.ref, 0)))} free"
    if host.ref == vm.affinity:
        fits += ", its home"
    if name in placement.prefer or host.uuid in placement.prefer:
        fits += ", preferred"
    return Considered(name, True, fits, chosen=chosen)
