"""The plan for a managed pool: bury, set, stop, start, hand over. Pure; the order of adding is the order of acting."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from reconciler.core.armed import armed_why, disarm_words
from reconciler.core.bury import doubts, forgotten_words, plan_burials
from reconciler.core.desired import desired_pool
from reconciler.core.differences import difference
from reconciler.core.draft import Draft, apply_command, enable_remedy, plan_command, toolstack_command
from reconciler.core.evidence import Diagnosis, LoginAnswer, Survey
from reconciler.core.maintenance import plan_departures, plan_relief
from reconciler.core.migration_network import closed, plan_migration_network
from reconciler.core.model import Host, PoolState, Vm
from reconciler.core.order import order_stops
from reconciler.core.place.ask import Solver
from reconciler.core.placement import Room
from reconciler.core.plan import Action, Thing, Unmet, Verb
from reconciler.core.returns import plan_returns, returning, stopped_for, wait_for_enabling
from reconciler.core.select import Selection, select, vm_thing
from reconciler.core.site import Site
from reconciler.core.standing import Stand, Standing, Stands, stand
from reconciler.core.starts import plan_starts
from reconciler.core.stops import plan_stop
from reconciler.core.storage import plan_storage
from reconciler.core.unsettled import Unsettled, tie
from reconciler.core.wanted import Failback, MemberState, VmWish, Wanted, WantedState
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
    regain = _plan_rejoin(wanted, survey, stands, state, draft)
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
    desired = desired_pool(wanted, selection, state, stands.hosts(), _wanted_master(wanted, stands, failback=failback))
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
        _plan_master(wanted, stands, state, draft, failback=failback)
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


def as_rejoined(stands: Stands, state: PoolState) -> tuple[Stands, PoolState]:
    """The pool as it will be when every host that answers has rejoined."""
    hosts = dict(state.hosts)
    by_ref = dict(stands.by_ref)
    for ref, one in stands.by_ref.items():
        if one.standing in (Standing.REJOINING, Standing.ASTRAY):
            maintenance = one.member is not None and one.member.state is MemberState.MAINTENANCE
            hosts[ref] = replace(one.host, live=True, enabled=not maintenance)
            by_ref[ref] = replace(
                one, host=hosts[ref], standing=Standing.MAINTENANCE if maintenance else Standing.READY, why="rejoined"
            )
        elif not one.answers:
            # A master start disables every host; one that does not answer stays so.
            hosts[ref] = replace(one.host, live=False, enabled=False)
            by_ref[ref] = replace(one, host=hosts[ref])
    members = {name: by_ref[one.host.ref] for name, one in stands.by_member.items()}
    return Stands(by_ref, members, stands.missing), replace(state, hosts=hosts)


def _astray_words(astray: Sequence[Stand]) -> str:
    """Why each is astray; those of one reason together."""
    together: dict[str, list[str]] = {}
    for one in astray:
        together.setdefault(one.why, []).append(one.thing.name)
    told = []
    for why, found in together.items():
        for single, several in (("it still follows ", "still follow "), ("it is ", "are ")):
            if why.startswith(single):
                verb = single.removeprefix("it ") if len(found) == 1 else several
                told.append(f"{names(found)} {verb}{why.removeprefix(single)}")
                break
        else:
            told.append(f"{names(found)}: {why}")
    return "; ".join(told)


def _plan_rejoin(wanted: Wanted, survey: Survey, stands: Stands, state: PoolState, draft: Draft) -> tuple[Action, ...]:
    """Members that follow another address are recovered, members that are on their way are waited for (I1).

    One in emergency mode doesn't say whom it follows: where that is a master that died while it was down, it waits for
    ever (sheet §1.2). Telling it to follow the one that it follows already does nothing.
    """
    lost = [
        s
        for s in stands.by_ref.values()
        if s.standing is Standing.REJOINING
        and (t := survey.of(s.thing.name)) is not None
        and t.login is LoginAnswer.EMERGENCY
    ]
    astray = [s for s in stands.by_ref.values() if s.standing is Standing.ASTRAY or s in lost]
    late = [s for s in stands.by_ref.values() if s.standing is Standing.REJOINING]
    pool = Thing("pool", state.pool.name, state.pool.uuid)
    if astray:
        broken = [s for s in astray if (t := survey.of(s.thing.name)) is not None and t.broken]
        waits = "; the master waits for that before it starts" if len(broken) < len(astray) else ""
        action = Action(
            Verb.RECOVER_MEMBERS,
            pool,
            f"{_astray_words(astray)}{waits}",
            before=f"{names(s.thing.name for s in astray)} astray",
            after="every member that answers follows the master and is enabled",
        )
        armed = [t for s in astray if (t := survey.of(s.thing.name)) is not None and t.ha_armed]
        if len(armed) == len(astray):  # recover_slaves passes over who refuses, and says nothing (sheet §10.3)
            draft.hold(action, f"{armed[0].name}: {armed_why(armed[0])}", disarm_words(wanted, armed[0].name))
            return ()
        elsewhere = [
            s
            for s in astray
            if (t := survey.of(s.thing.name)) is not None and t.login is LoginAnswer.SLAVE and t.reaches_master
        ]
        if elsewhere:
            verb = "reaches" if len(elsewhere) == 1 else "reach"
            draft.hold(
                action,
                f"{names(s.thing.name for s in elsewhere)} {verb} another master, so there are two masters",
                f"declare the host that they follow under spec.members, then: {plan_command(wanted)}",
            )
            return ()
        return (action,)
    if late:
        return (
            Action(
                Verb.AWAIT_MEMBERS,
                pool,
                f"{names(s.thing.name for s in late)}: {late[0].why}. Until then the pool's records prove nothing",
                before=f"{names(s.thing.name for s in late)} on the way",
                after="every member that answers is live and enabled",
            ),
        )
    return ()


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


def _wanted_master(wanted: Wanted, stands: Stands, *, failback: bool) -> Host | None:
    wish = wanted.master
    if wish is None or wish.failback is Failback.NEVER or (wish.failback is Failback.MANUAL and not failback):
        return None
    one = stands.by_member.get(wish.host)
    return one.host if one and one.standing is Standing.READY else None


def _plan_master(wanted: Wanted, stands: Stands, state: PoolState, draft: Draft, *, failback: bool) -> None:
    wish = wanted.master
    acting = stands.by_ref.get(state.pool.master or "")
    if wish is None or acting is None:
        return
    pool = Thing("pool", state.pool.name, state.pool.uuid)
    if acting.thing.name == wish.host:
        draft.keep(pool, f"{wish.host} is master, as declared")
        return
    one = stands.by_member.get(wish.host)
    if one is None:
        return
    if one.standing is not Standing.READY:
        draft.keep(pool, f"{acting.thing.name} is master, because {wish.host} is not available ({one.standing})")
        return
    action = Action(
        Verb.DESIGNATE_MASTER,
        one.thing,
        f"{wish.host} is declared as master; all toolstacks restart, running VMs are not touched",
        before=f"{acting.thing.name} is master",
        after=f"{wish.host} is master",
        follows=tuple(a.id for a in draft.actions if a.verb is not Verb.AWAIT_READY),
    )
    down = [s for s in stands.by_ref.values() if not (s.host.live and (s.answers or s.member is None))]
    if wish.failback is Failback.NEVER:
        draft.keep(pool, f"{acting.thing.name} is master and failback is never")
    elif down:
        draft.hold(
            action,
            f"XAPI hands mastership over only while every host is up, and {names(s.thing.name for s in down)} "
            + ("is not" if len(down) == 1 else "are not"),
            "repair it and power it on; or, if it is gone for good, remove it from the pool: "
            f"xe host-forget uuid={down[0].host.uuid}",
        )
    elif wish.failback is Failback.MANUAL and not failback:
        draft.hold(
            action,
            f"{acting.thing.name} is master; master.failback is manual, so the hand-over waits for your word",
            apply_command(wanted, "--failback"),
        )
    else:
        draft.actions.append(action)


def _differences(state: PoolState, desired: PoolState) -> tuple[tuple[str, str], ...]:
    found = []
    if state.pool != desired.pool:
        found.append((f"pool/{state.pool.name}", "; ".join(difference(state.pool, desired.pool, state))))
    for vm in state.guests:
        if desired.vms[vm.ref] is not vm and desired.vms[vm.ref] != vm:
            found.append((f"vm/{vm.name}", "; ".join(difference(vm, desired.vms[vm.ref], state))))
    return tuple(found)
