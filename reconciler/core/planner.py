"""The planner's front door: everything that is known in, one Plan out. Pure: the same input gives the same plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from reconciler.core.armed import half_broken
from reconciler.core.brake import NO_BRAKE, storm_brake
from reconciler.core.buried import Buried, copies
from reconciler.core.copies import CopyMemory
from reconciler.core.diagnose import diagnose
from reconciler.core.draft import Draft
from reconciler.core.evidence import Certificate, Incident, Situation, Survey
from reconciler.core.facts import with_facts
from reconciler.core.guard import ATTENDED, Allowance, restrain
from reconciler.core.limits import grace_left, others_words
from reconciler.core.model import PoolState
from reconciler.core.moved import resting
from reconciler.core.obligations import Obligation
from reconciler.core.place.ask import Solver
from reconciler.core.plan import Action, Plan, Stage, Verb
from reconciler.core.regain import forecast_pool, plan_regain
from reconciler.core.restore import Restore, plan_restore
from reconciler.core.rights import cannot_ask
from reconciler.core.rivals import plan_rivals
from reconciler.core.succession import succession
from reconciler.core.unfollowed import unfollowed
from reconciler.core.unsettled import Unsettled
from reconciler.core.untangle import plan_tangle
from reconciler.core.upkeep import plan_refresh
from reconciler.core.wanted import VmWish, Wanted
from reconciler.core.words import count, utc


def make_plan(
    wanted: Wanted,
    survey: Survey,
    *,
    now: float,
    state: PoolState | None = None,
    last_known: PoolState | None = None,
    certificates: Sequence[Certificate] = (),
    incident: Incident | None = None,
    allowance: Allowance = ATTENDED,
    failback: bool = False,
    obligations: Sequence[Obligation] = (),
    handover: Incident | None = None,
    realms: Mapping[str, PoolState] | None = None,
    memory: CopyMemory | None = None,
    unsettled: Sequence[Unsettled] = (),
    buried: Sequence[Buried] = (),
    solver: Solver | None = None,
) -> Plan:
    """The plan for what is known now. `state` is the pool as its acting master tells it, None when there is none;
    `last_known` the pool as it was last read, for forecasts; `obligations` promotions that are not settled;
    `handover` one whose end nobody saw, or that moved members in vain; `realms` the pool as each of several masters
    tells it, by the master's name; `memory` what is known of the members' copies of the database, None where nobody
    remembers (then none is refreshed);
    `unsettled` starts whose end nobody saw; `buried` VMs that were reset for a host that was declared dead;
    `solver` is asked where VMs go in a pool too big to look at everything."""
    known = state or last_known
    diagnosis = diagnose(
        wanted,
        survey,
        certificates,
        now=now,
        known=known,
        incident=incident,
        obligations=obligations,
        yields=allowance.yields,
    )
    if diagnosis.situation is Situation.MANAGED:
        diagnosis = (
            unfollowed(
                wanted,
                survey,
                diagnosis.members,
                state=state,
                before=last_known,
                incident=incident,
                obligations=obligations,
                yields=allowance.yields,
                handover=handover,
                now=now,
            )
            or diagnosis
        )
    plan = Plan(
        pool=wanted.name,
        pool_uuid=known.pool.uuid if known else (wanted.uuid or ""),
        made_at=now,
        diagnosis=diagnosis,
        certificates=tuple(j.certificate for j in diagnosis.members if j.certificate is not None),
        source=wanted.source,
        argument=wanted.argument,
        digest=wanted.digest,
        commit=wanted.commit,
        failback=failback,
        yields=tuple(sorted(allowance.yields)),
        notes=tuple(f"{place}: {text}" if place else text for place, text in wanted.notes)
        + cannot_ask(wanted, survey)
        + half_broken(wanted, survey, ha_on=state.pool.ha_enabled if state is not None else None),
    )
    if diagnosis.situation is Situation.MANAGED and state is not None:
        plan = _managed(plan, wanted, survey, state, allowance, memory, unsettled, buried, solver, failback=failback)
    elif diagnosis.situation in (Situation.LOST, Situation.BOOTING, Situation.TANGLED):
        plan = _lost(plan, wanted, survey, last_known, incident, allowance, memory, solver)
    elif diagnosis.situation is Situation.TWO_MASTERS:
        plan = _two_masters(plan, wanted, survey, realms or {}, allowance)
    return with_facts(plan, survey, state)


def _two_masters(
    plan: Plan, wanted: Wanted, survey: Survey, realms: Mapping[str, PoolState], allowance: Allowance
) -> Plan:
    draft = plan_rivals(wanted, survey, plan.diagnosis, realms, allowance.yields)
    state = realms.get(plan.diagnosis.right or "")
    brake = storm_brake(wanted, survey, plan.diagnosis.members)
    restrain(wanted, draft, allowance, state=state, wishes={}, brake=brake, now=plan.made_at, known=state)
    stages = (Stage("regain", tuple(draft.actions)),) if draft.actions else ()
    return replace(plan, stages=stages, withheld=tuple(draft.withheld), notes=plan.notes + tuple(draft.notes))


def _wishes(restore: Restore, state: PoolState) -> dict[str, VmWish]:
    return {state.vms[ref].uuid: wish for ref, wish in restore.selection.wishes.items()}


def _managed(
    plan: Plan,
    wanted: Wanted,
    survey: Survey,
    state: PoolState,
    allowance: Allowance,
    memory: CopyMemory | None,
    unsettled: Sequence[Unsettled],
    buried: Sequence[Buried],
    solver: Solver | None,
    *,
    failback: bool,
) -> Plan:
    brake = storm_brake(wanted, survey, plan.diagnosis.members)
    restore = plan_restore(
        wanted,
        survey,
        plan.diagnosis,
        state,
        brake=brake,
        failback=failback,
        unsettled=unsettled,
        resting=resting(allowance.moves, wanted.policy.cool_down, plan.made_at),
        solver=solver,
    )
    first = Draft(actions=list(restore.regain))
    allowance = restrain(wanted, first, allowance, state=state, wishes={}, brake=brake, now=plan.made_at)
    draft = restore.draft
    for found in copies(buried, restore.stands, state):
        draft.unmet[:] = [u for u in draft.unmet if (u.target, u.wish) != (found.target, "state active")]
        draft.unmet.append(found)
    draft.actions[:] = _ordered(draft.actions)  # as they will be done, so that --max-actions cuts the last ones
    wishes = _wishes(restore, state)
    allowance = restrain(wanted, draft, allowance, state=state, wishes=wishes, brake=brake, now=plan.made_at)
    upkeep, forewarning = _refresh(wanted, survey, plan, restore, state, allowance, memory)
    declared = {uuid: str(wish.state) for uuid, wish in wishes.items()}
    draft.notes.extend(others_words(state, declared))
    _, unknown_grace = grace_left(wanted, state, plan.made_at)
    if unknown_grace and not allowance.attended and draft.actions:
        draft.notes.append(unknown_grace)
    stages = []
    if first.actions:
        stages.append(Stage("regain", tuple(first.actions)))
    if draft.actions and (first.actions or not restore.regain):
        forecast = bool(restore.regain)
        office = "relieve" if restore.relieved else "hand over"
        handover = [a for a in draft.actions if a.verb is Verb.DESIGNATE_MASTER]
        rest = [a for a in draft.actions if a.verb is not Verb.DESIGNATE_MASTER]
        if rest:
            stages.append(Stage("restore", _ordered(rest), forecast=forecast))
        if handover:
            stages.insert(
                bool(first.actions) if restore.relieved else len(stages),
                Stage(office, tuple(handover), forecast=forecast),
            )
    if upkeep and (first.actions or not restore.regain):
        stages.append(Stage("refresh", upkeep, forecast=bool(restore.regain)))
    return replace(
        plan,
        stages=tuple(stages),
        withheld=tuple(first.withheld + draft.withheld),
        unmet=tuple(draft.unmet),
        kept=tuple(draft.kept),
        notes=plan.notes + tuple(draft.notes),
        differences=restore.differences,
        last_known_at=state.read_at if restore.regain else None,
        forewarning=forewarning,
    )


def _refresh(
    wanted: Wanted,
    survey: Survey,
    plan: Plan,
    restore: Restore,
    state: PoolState,
    allowance: Allowance,
    memory: CopyMemory | None,
) -> tuple[tuple[Action, ...], str]:
    """The refresh that is due, and what the loss of the master would cost now. A stage of its own, so that the look
    before it sees what it copies. One that may not be done now is nobody's wish unmet: it is told and not withheld."""
    master = plan.diagnosis.master
    if memory is None or master is None:
        return (), ""
    now = plan.made_at
    heirs = succession(wanted, survey, plan.diagnosis, [master], known=state, memory=memory, incident=None, now=now)
    # What a probe says a refresh can't mend, so it makes none due: else it would be done again and again.
    unasked = replace(survey, testimonies=tuple(replace(t, copy=None) for t in survey.testimonies))
    known = succession(wanted, unasked, plan.diagnosis, [master], known=state, memory=memory, incident=None, now=now)
    due = plan_refresh(wanted, restore.stands, state, restore.draft, memory, known, now)
    restrain(wanted, due, allowance, state=state, wishes={}, brake=NO_BRAKE, now=now)
    restore.draft.kept.extend(due.kept)
    for held in due.withheld:
        restore.draft.keep(held.action.target, f"a refresh of the members' copies of its database waits: {held.why}")
    return tuple(due.actions), "" if state.pool.ha_enabled else heirs.forewarning(wanted, master, now)


def _lost(
    plan: Plan,
    wanted: Wanted,
    survey: Survey,
    last_known: PoolState | None,
    incident: Incident | None,
    allowance: Allowance,
    memory: CopyMemory | None,
    solver: Solver | None,
) -> Plan:
    if plan.diagnosis.situation is Situation.TANGLED:
        regain = plan_tangle(
            wanted,
            survey,
            plan.diagnosis,
            known=last_known,
            incident=incident,
            yields=allowance.yields,
            memory=memory,
            now=plan.made_at,
        )
    else:
        regain = plan_regain(
            wanted, survey, plan.diagnosis, known=last_known, incident=incident, memory=memory, now=plan.made_at
        )
    draft = regain.draft
    if regain.remedy:
        plan = replace(plan, diagnosis=replace(plan.diagnosis, remedy=regain.remedy))
    allowance = restrain(
        wanted, draft, allowance, state=None, wishes={}, brake=NO_BRAKE, now=plan.made_at, known=last_known
    )
    notes = plan.notes + tuple(draft.notes)
    plan = replace(plan, withheld=tuple(draft.withheld))
    only = (Stage("regain", tuple(draft.actions)),) if draft.actions else ()
    if regain.candidate is None:
        return replace(plan, stages=only, notes=notes)
    if last_known is None:
        told = "the pool was never read from this machine, so what comes after the regain stage can't be forecast"
        return replace(plan, stages=only, notes=(*notes, told))
    state, seen, told_by = forecast_pool(wanted, survey, plan.diagnosis, last_known, regain)
    later = plan_restore(wanted, seen, told_by, state, brake=NO_BRAKE, assume_rejoined=True, solver=solver)
    spent = allowance.spent | {a.target.name for a in draft.actions if a.verb is Verb.FENCE}
    later.draft.actions[:] = _ordered(later.draft.actions)
    allowance = restrain(
        wanted,
        later.draft,
        replace(allowance, spent=frozenset(spent)),
        state=state,
        wishes=_wishes(later, state),
        brake=NO_BRAKE,
        now=plan.made_at,
    )
    upkeep, _ = _refresh(wanted, seen, replace(plan, diagnosis=told_by), later, state, allowance, memory)
    plan = replace(plan, last_known_at=last_known.read_at)
    if not draft.actions:
        return replace(plan, notes=notes + _coming(later.draft, last_known))
    stages = [Stage("regain", tuple(draft.actions))]
    if later.draft.actions:
        stages.append(Stage("restore", _ordered(later.draft.actions), forecast=True))
    if upkeep:
        stages.append(Stage("refresh", upkeep, forecast=True))
    return replace(
        plan,
        stages=tuple(stages),
        withheld=plan.withheld + tuple(later.draft.withheld),
        unmet=tuple(later.draft.unmet),
        kept=tuple(later.draft.kept),
        notes=notes + tuple(later.draft.notes),
        differences=later.differences,
    )


def _coming(later: Draft, known: PoolState) -> tuple[str, ...]:
    """What would follow a regain stage that is withheld, in a sentence."""
    if known.pool.ha_enabled:
        return ()  # that is for XAPI's HA to decide
    coming = (*later.actions, *(w.action for w in later.withheld))
    starts = sum(a.verb in (Verb.START, Verb.RESUME) for a in coming)
    parts = [f"{count(starts, 'VM')} to start"] if starts else []
    if later.unmet:
        parts.append(f"{len(later.unmet)} {'wish' if len(later.unmet) == 1 else 'wishes'} that can't be met")
    if not parts:
        return ()
    return (f"after the regain stage, as the pool was at {utc(known.read_at)}: {' and '.join(parts)}",)


_RANK = {
    Verb.FENCE: 0,
    Verb.DECLARE_DEAD: 1,
    Verb.SET_DEFAULT_SR: 2,
    Verb.SET_SUSPEND_SR: 2,
    Verb.SET_AFFINITY: 3,
    Verb.SHUTDOWN: 4,
    Verb.SUSPEND: 4,
    Verb.DISABLE_HOST: 1,
    Verb.ENABLE_HOST: 1,
    Verb.END_MAINTENANCE: 7,
}


def _ordered(actions: Sequence[Action]) -> tuple[Action, ...]:
    """Burials of who is proved dead, fencing, other burials, settings, stops, starts; within one rank the order in
    which the rooms made them (starts by priority)."""
    return tuple(sorted(actions, key=_rank))


def _rank(action: Action) -> int:
    if action.verb is Verb.DESIGNATE_MASTER:
        return 8 if action.follows else -2  # what relieves a master of its office comes first
    if action.verb is Verb.DECLARE_DEAD and not action.follows:
        return -1  # proved dead already: policy.brake.maxHostsPerRun must not be spent on another one
    return _RANK.get(action.verb, 5)
