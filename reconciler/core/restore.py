"""The plan for a managed pool: bury, set, stop, start, hand over. Pure; the order of adding is the order of acting."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from reconciler.core.bury import doubts, forgotten_words, plan_burials
from reconciler.core.desired import desired_pool
from reconciler.core.differences import difference
from reconciler.core.draft import Draft, enable_remedy, toolstack_command
from reconciler.core.evidence import Diagnosis, Survey
from reconciler.core.maintenance import plan_departures
from reconciler.core.migration_network import closed, plan_migration_network
from reconciler.core.model import PoolState, Vm
from reconciler.core.office import declared_master, plan_master, plan_relief
from reconciler.core.order import order_stops
from reconciler.core.place.ask import Solver
from reconciler.core.placement import Room
from reconciler.core.plan import Action, Thing, Unmet, Verb
from reconciler.core.rejoin import as_rejoined, plan_rejoin
from reconciler.core.returns import plan_returns, returning, stopped_for, wait_for_enabling
from reconciler.core.select import Selection, select, vm_thing
from reconciler.core.site import Site
from reconciler.core.standing import Standing, Stands, stand
from reconciler.core.starts import plan_starts
from reconciler.core.stops import plan_stop
from reconciler.core.storage import plan_storage
from reconciler.core.unsettled import Unsettled, tie
from reconciler.core.wanted import VmWish, Wanted, WantedState
from reconciler.core.words import names


@dataclass(frozen=True)
class Restore:
    """What the planner made for a managed pool. `regain` comes first and makes the rest a forecast."""

    regain: tuple[Action, ...]
    draft: Draft
    stands: Stands
    selection: Selection
    differences: tuple[tuple[str, str], ...] = ()
    relieved: bool = False
    """Its first action hands the office over, for the maintenance of the acting master."""


def plan_restore(
    wanted: Wanted,
    survey: Survey,
    diagnosis: Diagnosis,
    state: PoolState,
    *,
    brake: tuple[str, str],
    failback: bool = False,
    assume_rejoined: bool = False,
    unsettled: Sequence[Unsettled] = (),
    resting: Collection[str] = (),
    solver: Solver | None = None,
) -> Restore:
    """The fewest actions that bring a pool with one acting master to the manifest.

    `failback`: the person asked for the hand-over that `failback: manual` leaves to them. `assume_rejoined`: plan as
    if every host that answers had rejoined (a forecast): then each tells what it runs. `unsettled`: starts whose end
    nobody saw. `resting`: uuids of VMs that are not moved for soft wishes. `solver` is asked where VMs go
    in a pool too big to look at everything.
    """
    stands = stand(wanted, survey, diagnosis, state)
    if assume_rejoined:
        stands, state = as_rejoined(stands, state)
    draft = Draft()
    regain = plan_rejoin(wanted, survey, stands, state, draft)
    if regain and not assume_rejoined:
        later = plan_restore(
            wanted,
            survey,
            diagnosis,
            state,
            brake=brake,
            failback=failback,
            assume_rejoined=True,
            resting=resting,
            solver=solver,
        )
        return replace(later, regain=regain)
    selection = select(wanted, state)
    draft.unmet.extend(selection.problems)
    draft.notes.extend(selection.idle)
    _plan_members(wanted, stands, draft)
    plan_migration_network(wanted, stands, state, draft)
    relieved = plan_relief(wanted, stands, state, draft)
    desired = desired_pool(wanted, selection, state, stands.hosts(), declared_master(wanted, stands, failback=failback))
    in_doubt = doubts(wanted, stands, state, forecast=assume_rejoined)
    then, back = returning(wanted, stands, draft)
    starts = []
    for ref, wish in selection.wishes.items():
        if wish.state is not WantedState.RUNNING or stands.runs(vm := state.vms[ref]):
            continue
        if host := stopped_for(vm, wish, then, state):
            told = f"is stopped while {host.thing.name} is in maintenance (placement.stopForMaintenance)"
            draft.keep(Thing("vm", vm.name, vm.uuid), told)
        else:
            starts.append(vm)
    if not starts and (told := forgotten_words(in_doubt, state)):  # else each start that waits for it says so
        draft.notes.append(told)
    ties = {} if assume_rejoined else {u.uuid: t for u in unsettled if (t := tie(u, stands)) is not None}
    ties = {vm.uuid: ties[vm.uuid] for vm in starts if vm.uuid in ties}
    proved = plan_burials(
        wanted,
        stands,
        state,
        selection.wishes,
        in_doubt=in_doubt,
        starts_wanted=bool(starts),
        brake=brake,
        draft=draft,
        ties=ties,
    )
    _plan_homes(selection, stands, state, desired, draft)
    plan_storage(wanted, stands, state, draft)
    for ref, wish in selection.wishes.items():
        plan_stop(state.vms[ref], wish, stands, state, frozenset(proved), draft)
    site = Site(wanted, selection, then, _room(wanted, selection, state, draft), draft, solver)
    _keep_running(site, resting)
    plan_starts(site, starts, in_doubt=in_doubt, proved=proved, ties=ties, resting=resting)
    plan_departures(site)
    plan_returns(site, back)
    wait_for_enabling(draft)
    order_stops(selection, state, draft)
    if not relieved:
        plan_master(wanted, stands, state, draft, failback=failback)
    return Restore((), draft, stands, selection, _differences(state, desired), relieved)


def _keep_running(site: Site, resting: Collection[str]) -> None:
    """Say where each VM runs that is declared running and is."""
    for ref, wish in site.selection.wishes.items():
        vm = site.state.vms[ref]
        if wish.state is WantedState.RUNNING and site.stands.runs(vm):
            site.draft.keep(vm_thing(vm), _kept_words(vm, wish, site.wanted, site.stands, resting))


def _room(wanted: Wanted, selection: Selection, state: PoolState, draft: Draft) -> Room:
    """The room for what starts and moves: with what the stops so far give back."""
    room = Room.of(state, {r: w.placement for r, w in selection.wishes.items()})
    room.closed = closed(wanted, state)
    by_uuid = {vm.uuid: vm for vm in state.guests}
    for stop in draft.actions:
        if stop.verb in (Verb.SHUTDOWN, Verb.SUSPEND) and (where := by_uuid[stop.target.uuid].resident_on):
            vm = by_uuid[stop.target.uuid]
            room.vacate(vm, where, selection.wishes[vm.ref].placement, stop.id)
    return room


def _plan_members(wanted: Wanted, stands: Stands, draft: Draft) -> None:
    for member in stands.missing:
        draft.unmet.append(
            Unmet(
                Thing("host", member.name, address=member.address),
                "be a member",
                f"the pool has no host named {member.name} and none at {member.address}",
                "correct or remove the entry, or on that host: xe pool-join",
                str(member.place or ""),
            )
        )
    for one in stands.by_ref.values():
        if one.standing is Standing.UNDECLARED:
            draft.notes.append(f"{one.host.name} is in the pool but not in the manifest: nothing is placed on it")
        elif one.standing is Standing.DISABLED:
            draft.unmet.append(
                Unmet(
                    one.thing,
                    "state active",
                    "it is live but disabled",
                    enable_remedy(one),
                )
            )
        elif one.standing is Standing.SUSPECT:
            draft.notes.append(f"{one.thing.name}: {one.why}. Next: {toolstack_command(one)}")
        elif one.standing is Standing.DEAD:
            draft.notes.append(f"{one.thing.name} rejoins by itself once it is repaired and powered on")
        elif one.standing is Standing.SILENT:
            draft.notes.append(f"{one.thing.name} does not answer; once it is back it rejoins by itself")


def _plan_homes(selection: Selection, stands: Stands, state: PoolState, desired: PoolState, draft: Draft) -> None:
    for ref, wish in selection.wishes.items():
        vm, target = state.vms[ref], desired.vms[ref]
        thing = Thing("vm", vm.name, vm.uuid)
        if wish.home and wish.home not in stands.by_member:
            draft.unmet.append(
                Unmet(
                    thing, f"home {wish.home}", f"{wish.home} is not in the pool", "correct home", str(wish.place or "")
                )
            )
        elif vm.affinity != target.affinity and wish.home:
            home = stands.by_member[wish.home]
            was = state.hosts.get(vm.affinity or "")
            draft.actions.append(
                Action(
                    Verb.SET_AFFINITY,
                    thing,
                    f"its home is declared as {wish.home}"
                    + ("" if was or not vm.affinity else "; the old one is gone"),
                    before=was.name if was else "none",
                    after=wish.home,
                    to=home.thing,
                )
            )


def _kept_words(vm: Vm, wish: VmWish, wanted: Wanted, stands: Stands, resting: Collection[str]) -> str:
    where = stands.by_ref[vm.resident_on or ""].thing.name
    busy = f"; somebody is at it: {names(vm.current_operations)}" if vm.current_operations else ""
    if wish.home and wish.home != where:
        if not wanted.policy.rebalance:
            return f"runs on {where}; its home is {wish.home}, and policy.placement.rebalance is off{busy}"
        moved = "; it was moved a short time ago (policy.placement.coolDown)" if vm.uuid in resting else ""
        return f"runs on {where}; its home is {wish.home}{moved}{busy}"
    return f"runs on {where}{busy}"


def _differences(state: PoolState, desired: PoolState) -> tuple[tuple[str, str], ...]:
    found = []
    if state.pool != desired.pool:
        found.append((f"pool/{state.pool.name}", "; ".join(difference(state.pool, desired.pool, state))))
    for vm in state.guests:
        if desired.vms[vm.ref] is not vm and desired.vms[vm.ref] != vm:
            found.append((f"vm/{vm.name}", "; ".join(difference(vm, desired.vms[vm.ref], state))))
    return tuple(found)
