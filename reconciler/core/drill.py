"""The drill: what would happen if hosts died now, planned with the real planner on a pool in which they have. Pure.

Single hosts are planned, each. Sets of hosts are planned while they are few; where they are many, bounds settle most
of them (`drill_bounds.py`) and only what lies between is planned.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from reconciler.core.brake import storm_brake
from reconciler.core.copies import CopyMemory, age_words
from reconciler.core.draft import Draft
from reconciler.core.drill_bounds import Bounds, Odds
from reconciler.core.drill_cases import Case, Drill, Kind, Loss
from reconciler.core.evidence import BmcPower, Diagnosis, LoginAnswer, Survey
from reconciler.core.model import PoolState, PowerState, Ref, Vm
from reconciler.core.placement import Room, obstacle
from reconciler.core.placing import as_found
from reconciler.core.plan import Thing, Verb
from reconciler.core.rejoin import as_rejoined
from reconciler.core.select import Selection, select
from reconciler.core.site import Site
from reconciler.core.standing import Standing, Stands, stand
from reconciler.core.starts import plan_starts
from reconciler.core.succession import Option, ranked, succession
from reconciler.core.wanted import Wanted, WantedState
from reconciler.core.words import count, names, size

MOST_CASES = 4096
"""Sets of hosts that one drill looks at; every single host is always among them."""
MOST_PLANNED = 200_000
"""VMs times hosts that sets of several hosts may ask of the planner before bounds must do."""


@dataclass(frozen=True)
class _Ground:
    """The pool before the loss. `running` are the declared VMs that run, by host; `left` other guests' names."""

    wanted: Wanted
    survey: Survey
    diagnosis: Diagnosis
    state: PoolState
    stands: Stands
    selection: Selection
    room: Room
    running: Mapping[Ref, tuple[Vm, ...]]
    left: Mapping[Ref, tuple[str, ...]]
    heirs: tuple[Option, ...]
    """Who could be promoted if the master alone were lost, the best first."""
    now: float

    @classmethod
    def of(
        cls,
        wanted: Wanted,
        survey: Survey,
        diagnosis: Diagnosis,
        state: PoolState,
        memory: CopyMemory | None,
        now: float,
    ) -> _Ground:
        lost = [diagnosis.master] if diagnosis.master else []
        heirs = succession(wanted, survey, diagnosis, lost, known=state, memory=memory, incident=None, now=now)
        # Operations and reservations die with the xapi that they belong to, or are over by then.
        vms = {
            ref: replace(vm, current_operations=(), scheduled_on=None)
            if vm.current_operations or vm.scheduled_on
            else vm
            for ref, vm in state.vms.items()
        }
        stands, state = as_rejoined(stand(wanted, survey, diagnosis, state), replace(state, vms=vms))
        selection = select(wanted, state)
        running: dict[Ref, tuple[Vm, ...]] = {}
        left: dict[Ref, tuple[str, ...]] = {}
        for ref in stands.by_ref:
            guests = [v for v in state.residents.get(ref, ()) if v.is_guest and v.power_state in _ALIVE]
            mine = [v for v in guests if _wished(v, selection)]
            running[ref] = tuple(mine)
            left[ref] = tuple(v.name for v in guests if not _wished(v, selection))
        room = Room.of(state, {ref: w.placement for ref, w in selection.wishes.items()})
        return cls(wanted, survey, diagnosis, state, stands, selection, room, running, left, heirs.options, now)

    def heir(self, dead: Collection[str]) -> Option | None:
        """Who would be promoted if these were lost, the master among them; a VM on one of them is not killed twice."""
        left = [replace(o, toll=o.toll.spared(dead)) for o in self.heirs if o.member.name not in dead]
        # Costs may be equal, and then the manifest's order decides.
        order = {name: number for number, name in enumerate(ranked(self.wanted))}
        return min(left, key=lambda o: (o.cost, order[o.member.name]), default=None)

    def ref(self, name: str) -> Ref:
        return self.stands.by_member[name].host.ref


_ALIVE = (PowerState.RUNNING, PowerState.PAUSED)


def _wished(vm: Vm, selection: Selection) -> bool:
    return vm.ref in selection.wishes and selection.wishes[vm.ref].state is WantedState.RUNNING


def drill(
    wanted: Wanted,
    survey: Survey,
    diagnosis: Diagnosis,
    state: PoolState,
    *,
    depth: int = 1,
    only: str = "",
    memory: CopyMemory | None = None,
    now: float = 0.0,
) -> Drill:
    """Lose each host that answers (or `only` that one), and each set of up to `depth` of them, from a managed pool.

    Only the loss is imagined: hosts that are already down stay so, and what does not run today is not counted as lost.
    `memory` is what is known of the members' copies of the database, `now` (UTC seconds) when they are
    lost, after the pool was read.
    """
    ground = _Ground.of(wanted, survey, diagnosis, state, memory, max(now or 0.0, state.read_at))
    ready = (Standing.READY, Standing.MAINTENANCE)
    hosts = sorted(
        name for name, one in ground.stands.by_member.items() if one.standing in ready and only in ("", name)
    )
    sets = [group for size in range(1, max(1, depth) + 1) for group in combinations(hosts, size)]
    looked = sets[: max(MOST_CASES, len(hosts))]
    load = {name: len(ground.running[ground.ref(name)]) * len(hosts) for name in hosts}
    left = MOST_PLANNED
    bounds: Bounds | None = None
    cases: dict[tuple[str, ...], Case] = {}
    down: dict[tuple[str, ...], frozenset[str]] = {}
    for dead in looked:
        known = _parts(dead, down)
        cost = sum(load[name] for name in dead)
        if len(dead) > 1 and cost * len(looked) > MOST_PLANNED:
            bounds = bounds or _bounds(ground)
            case = _judged(ground, dead, known, bounds, may_plan=left >= cost)
        else:
            case = _planned(ground, dead, known)
        left -= cost if len(dead) > 1 and case.planned else 0
        cases[dead] = case
        down[dead] = known | {loss.vm.uuid for loss in case.lost}
    away = () if only else tuple(m.name for m in wanted.members if m.name not in hosts)
    return Drill(tuple(cases.values()), len(sets) - len(looked), away)


def _parts(dead: tuple[str, ...], down: Mapping[tuple[str, ...], frozenset[str]]) -> frozenset[str]:
    """VMs that the loss of a part of the set leaves down already."""
    found: set[str] = set()
    for part in combinations(dead, len(dead) - 1):
        found |= down.get(part, frozenset())
    return frozenset(found)


def _planned(ground: _Ground, dead: tuple[str, ...], known: frozenset[str]) -> Case:
    """The case as the planner would plan it."""
    case = _frame(ground, dead)
    gone = {ground.ref(name) for name in dead}
    vms = [vm for ref in sorted(gone) for vm in ground.running[ref]]
    if case.new_master is None:
        return replace(case, lost=_masterless(vms, known), by_part=sum(vm.uuid in known for vm in vms))
    # First with everybody else where they are; only where that leaves VMs without room may others move or give way.
    draft = _starts(ground, gone, vms, alone=True)
    if any(
        _kind(vm, ground, gone, draft) is Kind.ROOM for vm in vms if vm.uuid in {u.target.uuid for u in draft.unmet}
    ):
        draft = _starts(ground, gone, vms, alone=False)
    moved = tuple((a.target.name, a.to.name) for a in draft.actions if a.verb is Verb.MIGRATE and a.to is not None)
    shed = tuple(a.target.name for a in draft.actions if a.verb is Verb.SHUTDOWN)
    restarted = tuple(
        (a.target.name, a.to.name) for a in draft.actions if a.verb in (Verb.START, Verb.RESUME) and a.to is not None
    )
    reasons = {u.target.uuid: u.why for u in draft.unmet} | {h.action.target.uuid: h.why for h in draft.withheld}
    ejects = {u.target.uuid: u.remedy for u in draft.unmet if u.remedy.startswith("xe vm-cd-eject ")}
    return replace(
        case,
        restarted=restarted,
        moved=moved,
        shed=shed,
        lost=tuple(
            Loss(
                Thing("vm", vm.name, vm.uuid),
                reasons[vm.uuid],
                _kind(vm, ground, gone, draft),
                ejects.get(vm.uuid, ""),
            )
            for vm in vms
            if vm.uuid in reasons and vm.uuid not in known
        ),
        by_part=sum(vm.uuid in known for vm in vms),
    )


def _starts(ground: _Ground, gone: Collection[Ref], vms: Sequence[Vm], *, alone: bool) -> Draft:
    """What the planner would do with the VMs of lost hosts, once these are buried; `alone`: with these only."""
    selection = ground.selection
    if alone:
        selection = replace(selection, wishes={vm.ref: selection.wishes[vm.ref] for vm in vms})
    by_ref = {
        ref: replace(one, standing=Standing.DEAD, why="lost in the drill", imagined=True) if ref in gone else one
        for ref, one in ground.stands.by_ref.items()
    }
    members = {name: by_ref[one.host.ref] for name, one in ground.stands.by_member.items()}
    room = replace(ground.room.copy(), promised={})
    room.networks = {network: host for network, host in ground.room.networks.items() if host not in gone}
    site = Site(ground.wanted, selection, Stands(by_ref, members), room, Draft())
    plan_starts(site, vms, in_doubt=(), proved=dict.fromkeys(gone, ()), settle=False)
    return site.draft


def _kind(vm: Vm, ground: _Ground, gone: Collection[Ref], draft: Draft) -> Kind:
    if any(h.action.target.uuid == vm.uuid for h in draft.withheld) or vm.blocked_operations:
        return Kind.RULE
    return Kind.ROOM if _possible(vm, ground) - set(gone) else Kind.STORAGE


def _possible(vm: Vm, ground: _Ground) -> frozenset[Ref]:
    """Ready hosts that could run a VM if they had all the room in the world and nobody else on them."""
    wish = ground.selection.wishes[vm.ref].placement
    empty = Room(ground.state, dict.fromkeys(ground.state.hosts, 1 << 62))
    halted = as_found(vm)
    return frozenset(h.ref for h in ground.stands.ready if not obstacle(halted, h, empty, wish))


def _bounds(ground: _Ground) -> Bounds:
    vms = {ref: found for ref, found in ground.running.items() if found}
    wishes = {vm.ref: ground.selection.wishes[vm.ref].placement for found in vms.values() for vm in found}
    ready = {h.ref: ground.room.free[h.ref] for h in ground.stands.ready}
    return Bounds.of(ground.state, vms, wishes, ready, lambda vm: _possible(vm, ground))


def _judged(ground: _Ground, dead: tuple[str, ...], known: frozenset[str], bounds: Bounds, *, may_plan: bool) -> Case:
    """The case by its bounds; planned where they don't settle it, if that `may_plan` be."""
    case = _frame(ground, dead)
    gone = frozenset(ground.ref(name) for name in dead)
    vms = [vm for ref in sorted(gone) for vm in ground.running[ref]]
    by_part = sum(vm.uuid in known for vm in vms)
    if case.new_master is None:
        return replace(case, lost=_masterless(vms, known), by_part=by_part)
    found = bounds.judge(gone, known)
    if found.odds is Odds.UNKNOWN and may_plan:
        return _planned(ground, dead, known)
    lost = [
        Loss(Thing("vm", vm.name, vm.uuid), _nowhere(vm, dead), Kind.STORAGE)
        for vm in vms
        if vm.ref in found.nowhere and vm.uuid not in known
    ]
    if found.odds is not Odds.FITS:
        why = f"{size(found.needed)} are needed for all of them and {size(found.free)} are free on the hosts left"
        lost += [Loss(Thing("vm", vm.name, vm.uuid), why, Kind.ROOM) for vm in found.homeless if vm.uuid not in known]
    sure = found.odds is not Odds.UNKNOWN
    return replace(case, lost=tuple(lost), by_part=by_part, planned=False, sure=sure)


def _nowhere(vm: Vm, dead: Sequence[str]) -> str:
    return f"no other host than {names(dead)} could run it (xenrec why says what is missing on each)"


def _masterless(vms: Iterable[Vm], known: Collection[str]) -> tuple[Loss, ...]:
    why = "no host is left that could be master"
    return tuple(Loss(Thing("vm", vm.name, vm.uuid), why, Kind.MASTER) for vm in vms if vm.uuid not in known)


def _frame(ground: _Ground, dead: tuple[str, ...]) -> Case:
    """Everything about a case but the places of its VMs."""
    gone = [ground.ref(name) for name in dead]
    seen = replace(
        ground.survey,
        testimonies=tuple(
            replace(t, login=LoginAnswer.SILENT, tcp=False, bmc=BmcPower.OFF, reaches_master=None)
            if t.name in dead
            else replace(t, reaches_master=None)
            for t in ground.survey.testimonies
        ),
    )
    lost_master = ground.diagnosis.master in dead
    heir = ground.heir(dead) if lost_master else None
    new_master = heir.member.name if heir is not None else None if lost_master else ""
    copy = heir.copy if heir is not None else None
    hindrances = [brake] if (brake := storm_brake(ground.wanted, seen, ground.diagnosis.members)[0]) else []
    unarmed = [m.name for m in ground.wanted.members if m.name in dead and not m.fencing]
    if unarmed:
        hindrances.append(f"no fence agent is declared for {names(unarmed)}: somebody has to go and look")
    most = ground.wanted.policy.brake.max_hosts_per_run
    if len(dead) > most:
        hindrances.append(f"policy.brake.maxHostsPerRun lets one run deal with {count(most, 'dead host')} only")
    return Case(
        dead,
        sum(len(ground.running[ref]) for ref in gone),
        (),
        (),
        left=tuple(name for ref in gone for name in ground.left[ref]),
        new_master=new_master,
        copy_age=max(0.0, ground.now - copy.low) if copy is not None else None,
        loses=age_words(copy, ground.now) if copy is not None else "",
        killed=tuple(str(one) for one in heir.toll.counted) if heir is not None else (),
        hindrances=tuple(hindrances),
    )
