"""Members in maintenance: disabled, emptied, kept empty (sheet §3.3-§3.5). office.py relieves a master.

A host is emptied whole or not at all: while one VM can't leave, nothing of it moves, and each that can't is named with
the one reason and the command. XAPI's own host.evacuate asks the same, but demands that each VM could run on *every*
enabled host and chooses targets by itself, so it is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reconciler.core.draft import apply_command
from reconciler.core.leaving import Departure, Way, reasons, way_out
from reconciler.core.mark import mark_of
from reconciler.core.migration_network import NO_MIGRATION
from reconciler.core.model import PoolState, PowerState, Ref, Vm
from reconciler.core.place.solve import Solution
from reconciler.core.placement import bound_by, drives
from reconciler.core.placing import Leaver
from reconciler.core.plan import Action, Unmet, Verb
from reconciler.core.select import vm_thing
from reconciler.core.site import Site
from reconciler.core.standing import Stand, Standing, Stands
from reconciler.core.wanted import Level, SelectorKind, VmWish, WantedState
from reconciler.core.words import count, names

LEAVING = (Verb.SHUTDOWN, Verb.SUSPEND, Verb.MIGRATE)


@dataclass(frozen=True, slots=True)
class Stuck:
    """A VM that can't leave: why, and what would let it."""

    vm: Vm
    why: str
    remedy: str


def plan_departures(site: Site) -> None:
    """Disable and empty each member in maintenance that answers, or say what keeps each VM there."""
    for one in site.stands.by_ref.values():
        if one.standing is Standing.MAINTENANCE and one.in_maintenance:
            _depart(site, one)


def _depart(site: Site, one: Stand) -> None:
    room, draft = site.room, site.draft
    guests = [
        vm
        for vm in site.state.residents.get(one.host.ref, ())
        if vm.is_guest and vm.power_state in (PowerState.RUNNING, PowerState.PAUSED)
    ]
    if not guests and not one.host.enabled:
        whose = "" if mark_of(one.host.other_config) else ", by somebody else: xenrec will not enable it"
        draft.keep(one.thing, f"is in maintenance: disabled{whose}, and runs no VM")
        return
    disable = _disable(site, one, guests)
    if one.host.ref == site.state.pool.master and not disable.follows:
        if one.host.enabled:
            why = "it is the master, and the office can't be handed over now"
            draft.hold(disable, why, "see the reason there")
        return
    stops, stuck, way = _out(site, one, guests)
    if stuck:
        _tell_stuck(site, one, disable, stuck, len(guests) - len(stuck))
        return
    first = (disable.id,) if one.host.enabled else ()
    draft.actions.extend([disable] if one.host.enabled else [])
    for vm, meant, why in stops:
        draft.actions.append(_stop(vm, meant, one, why, first))
        draft.unkeep(draft.actions[-1].target)
        room.vacate(vm, one.host.ref, meant.placement, draft.actions[-1].id)
    before = {vm.ref: first for vm in way.framed.vms}
    Departure(way.framed, Solution(way.answer), site, before).all_leave(one)


def _disable(site: Site, one: Stand, guests: Sequence[Vm]) -> Action:
    """A master hands its office over first, where that is planned."""
    return Action(
        Verb.DISABLE_HOST,
        one.thing,
        "the manifest declares it in maintenance" if not site.wanted.rolling else "its turn in the rolling maintenance",
        before=f"enabled, {count(len(guests), 'VM')} on it" if guests else "enabled, runs no VM",
        after="disabled and empty",
        follows=tuple(a.id for a in site.draft.actions if a.verb is Verb.DESIGNATE_MASTER and not a.follows),
    )


def _tell_stuck(site: Site, one: Stand, disable: Action, stuck: Sequence[Stuck], can: int) -> None:
    """What can't leave, each with its reason; `can` others could, and stay."""
    for found in stuck:
        wish = site.selection.wishes.get(found.vm.ref)
        site.draft.unmet.append(
            Unmet(
                vm_thing(found.vm),
                f"leave {one.thing.name}, which is to be in maintenance",
                found.why,
                found.remedy,
                str((wish.place if wish else None) or ""),
            )
        )
    told = f"{names(s.vm.name for s in stuck)} can't leave it"
    if not one.host.enabled:
        site.draft.keep(one.thing, f"is disabled; {told}")
        return
    if can:
        told += f"; nothing moves before all can, so {count(can, 'other VM')} {'stays' if can == 1 else 'stay'}"
    site.draft.hold(disable, told, stuck[0].remedy if len(stuck) == 1 else "see the reasons there")


def _out(site: Site, one: Stand, guests: Sequence[Vm]) -> tuple[list[tuple[Vm, VmWish, str]], list[Stuck], Way]:
    """What is stopped, each with why it can't be moved; what can't leave; and the way out of the rest."""
    leaving = {a.target.uuid: a.level for a in site.draft.actions if a.verb in LEAVING}
    unpaused = {a.target.uuid for a in site.draft.actions if a.verb is Verb.UNPAUSE}
    trial = site.trial()
    stops: list[tuple[Vm, VmWish, str]] = []
    stuck: list[Stuck] = []
    going: list[Leaver] = []
    for vm in guests:
        wish = site.selection.wishes.get(vm.ref)
        limit = wish.max_level if wish is not None else None
        if vm.uuid in leaving and (limit is None or limit >= leaving[vm.uuid]):
            continue  # else it is withheld, and the VM stays
        if vm.uuid in unpaused:
            told = "it is paused, and XAPI moves running VMs only; this plan unpauses it"
            found: Stuck | None = Stuck(vm, told, apply_command(site.wanted))
        else:
            found = tie(vm, wish, one, site.state)
        if found is None:
            meant = wish or VmWish(SelectorKind.UUID, vm.uuid)
            going.append(Leaver(vm, meant, home_of(vm, wish, site.stands), _may_stop(vm, meant)))
            continue
        trial.room.vacate(vm, one.host.ref, wish.placement if wish else None, "")
        if wish is not None and _may_stop(vm, wish) and found.remedy == _STOPPABLE:
            stops.append((vm, wish, found.why))
        else:
            stuck.append(_told(found, vm, wish))
    way = way_out(trial, one, going)
    for goer in (*way.stopped, *way.stuck):
        found = _homeless(site, goer.vm, one, reasons(trial, way, goer, one))
        if goer.stoppable:
            stops.append((goer.vm, goer.wish, found.why))
        else:
            stuck.append(_told(found, goer.vm, site.selection.wishes.get(goer.vm.ref)))
    return stops, sorted(stuck, key=lambda s: (s.vm.name, s.vm.uuid)), way


_STOPPABLE = "stop it for the maintenance"
"""The remedy of a VM that could leave only by being stopped, until `_told` writes it out."""


def _may_stop(vm: Vm, wish: VmWish) -> bool:
    """Its entry allows it, and starts it again afterwards, and XAPI can ask its guest to stop."""
    allowed = wish.placement.stop_for_maintenance and wish.state is WantedState.RUNNING
    return allowed and not vm.unstoppable and "clean_shutdown" not in vm.blocked_operations


def _told(stuck: Stuck, vm: Vm, wish: VmWish | None) -> Stuck:
    if stuck.remedy != _STOPPABLE:
        return stuck
    if vm.unstoppable and vm.unstoppable == vm.immobile:
        return replace(
            stuck,
            why=f"{vm.unstoppable}, so it can neither be moved live nor shut down cleanly",
            remedy=_to_stop(vm, wish),
        )
    if vm.unstoppable:
        return replace(stuck, remedy=_to_stop(vm, wish))
    return replace(stuck, remedy=f"{_to_stop(vm, wish)}; or stop it now: xe vm-shutdown uuid={vm.uuid}")


def _to_stop(vm: Vm, wish: VmWish | None) -> str:
    """What lets a run stop it: what keeps XAPI from it, or what its entry (None: it has none) lacks."""
    if vm.unstoppable:
        return f"install or start its guest tools; or switch it off: xe vm-shutdown uuid={vm.uuid} --force"
    lacks = [] if wish is not None and wish.state is WantedState.RUNNING else ["state: running"]
    if wish is None or not wish.placement.stop_for_maintenance:
        lacks.append("placement: {stopForMaintenance: true}")
    if not lacks:
        return (
            "allow that its guest is told to stop: "
            f"xe vm-param-remove uuid={vm.uuid} param-name=blocked-operations param-key=clean_shutdown"
        )
    return f"let it be stopped meanwhile: {' and '.join(lacks)} in {'its entry' if wish else 'an entry of its own'}"


def tie(vm: Vm, wish: VmWish | None, one: Stand, state: PoolState) -> Stuck | None:
    """What ties a VM to where it runs, whatever the other hosts are; in the order in which XAPI would refuse."""
    host = one.thing.name
    move = f"xe vm-migrate uuid={vm.uuid} host=HOST live=true"
    if wish is None and not (one.member and one.member.evacuate_all):
        why = "the manifest does not name it, and a VM that it does not name is never touched"
        return Stuck(vm, why, f"name it; or write evacuate: all in the entry of {host}; or move it yourself: {move}")
    if wish is not None and wish.max_level is not None and wish.max_level < Level.MOVE:
        why = f"its entry allows {wish.max_level.word} at most and this is {Level.MOVE.word}"
        return Stuck(vm, why, f"raise maxLevel in its entry; or move it yourself: {move}")
    if wish is not None and wish.state in (WantedState.HALTED, WantedState.SUSPENDED):
        return Stuck(vm, f"it should be {wish.state}, and that can't be done now", "see the reason there")
    if vm.power_state is PowerState.PAUSED:
        return Stuck(vm, "it is paused, and XAPI moves running VMs only", f"xe vm-unpause uuid={vm.uuid}")
    if vm.current_operations:
        return Stuck(vm, f"somebody is at it: {names(vm.current_operations)}", "wait for that to end: xe task-list")
    if "pool_migrate" in vm.blocked_operations:
        text = vm.blocked_operations["pool_migrate"]
        remedy = f"xe vm-param-remove uuid={vm.uuid} param-name=blocked-operations param-key=pool_migrate"
        return Stuck(vm, f"somebody blocked pool_migrate on it: {text or 'without a reason'}", remedy)
    if vm.immobile:
        return Stuck(vm, f"{vm.immobile}, so it can't be moved live", _STOPPABLE)
    if vm.pinned_devices:
        return Stuck(vm, f"its {names(vm.pinned_devices)} ties it to {host}", _STOPPABLE)
    if network := bound_by(vm, state):
        why = f"it uses the internal network {network}, and XAPI moves it only to where another VM runs that does"
        return Stuck(vm, why, _STOPPABLE)
    return None


def _homeless(site: Site, vm: Vm, one: Stand, obstacles: Sequence[tuple[str, str]]) -> Stuck:
    """Why no ready host can take a VM."""
    stands, state, host = site.stands, site.state, one.thing.name
    for drive in drives(vm, state):
        sr = state.srs.get(drive.sr or "")
        if sr is None or any((h.ref, sr.ref) in state.attached for h in stands.ready):
            continue
        others = sorted(
            s.thing.name for ref, s in stands.by_ref.items() if s is not one and ref in state.sr_hosts.get(sr.ref, ())
        )
        where = f"a local SR of {host}"
        if others:
            where = f"which {names(others)} {'has' if len(others) == 1 else 'have'}, and no ready host has plugged"
        if drive.is_cd:
            why = f"the CD {drive.what} is in its drive, and {sr.name} is {where}"
            return Stuck(vm, why, f"xe vm-cd-eject uuid={vm.uuid}")
        return Stuck(vm, f"its disk {drive.what} is on {sr.name}, {where}", _STOPPABLE)
    if not obstacles:
        return Stuck(vm, "no other host is ready to take VMs", "bring one back")
    if all(why.startswith(NO_MIGRATION) for _, why in obstacles):
        return Stuck(
            vm,
            f"no VM can be moved: {obstacles[0][1].removeprefix(NO_MIGRATION)}",
            "correct policy.placement.migrationNetwork",
        )
    told = "; ".join(f"{name} {why}" for name, why in obstacles[:4])
    if len(obstacles) > 4:
        told += f"; and {count(len(obstacles) - 4, 'more host')} can't either"
    short = all("free and" in why for _, why in obstacles)
    remedy = "stop something, or bring a host back" if short else "change what it needs, or bring a host back"
    return Stuck(vm, told, f"{remedy}; or {_to_stop(vm, site.selection.wishes.get(vm.ref))}")


def _stop(vm: Vm, wish: VmWish, one: Stand, why: str, follows: tuple[str, ...]) -> Action:
    return Action(
        Verb.SHUTDOWN,
        vm_thing(vm),
        f"{one.thing.name} goes into maintenance and it can't be moved: {why}; its entry allows to stop it "
        "(placement.stopForMaintenance)",
        before=f"Running on {one.thing.name}",
        after=str(PowerState.HALTED),
        follows=follows,
        source=one.thing,
    )


def home_of(vm: Vm, wish: VmWish | None, stands: Stands) -> Ref | None:
    """The host that a VM belongs to: as declared, else its affinity."""
    declared = stands.by_member.get(wish.home or "") if wish else None
    return declared.host.ref if declared else vm.affinity
