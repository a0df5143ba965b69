"""What a run may do: levels, the storm brake, who else is driving. Takes actions out of a draft, with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler.core.draft import Draft, apply_command
from reconciler.core.limits import Pause, withheld_by
from reconciler.core.model import PoolState
from reconciler.core.moved import Moved
from reconciler.core.parked import Failing, told, withheld_because
from reconciler.core.plan import UPKEEP, Action, Done, Kept, Plan, Result, Stage, Verb, Withheld
from reconciler.core.stopped import Stopped, holds_back
from reconciler.core.wanted import Level, VmWish, Wanted
from reconciler.core.words import count, names


@dataclass(frozen=True, slots=True)
class Allowance:
    """How far this run may go. `spent`: hosts already fenced or buried in this run.

    `max_actions`: actions that this run may perform at most, of which `used` are done; None for no bound. `pauses` are
    people's words to leave the pool or a VM alone, `stops` VMs that were found stopped while their host lives,
    `failing` what failed in the runs before, `moves` VMs that were found on another host than before.
    """

    attended: bool = True
    spent: frozenset[str] = frozenset()
    max_actions: int | None = None
    used: int = 0
    pauses: tuple[Pause, ...] = ()
    stops: tuple[Stopped, ...] = ()
    failing: tuple[Failing, ...] = ()
    yields: frozenset[str] = frozenset()
    """Hosts of which a person said that they give way: as a second master, or with copies of VMs that run elsewhere."""
    moves: tuple[Moved, ...] = ()

    def level(self, wanted: Wanted) -> Level:
        """The highest level of this run."""
        return wanted.policy.attended if self.attended else wanted.policy.unattended

    @property
    def key(self) -> str:
        """The manifest's key that sets it."""
        return "policy.levels.attended" if self.attended else "policy.levels.unattended"


_HOST_VERBS = (Verb.FENCE, Verb.DECLARE_DEAD)
_ON_PURPOSE = (Verb.DISABLE_HOST, Verb.ENABLE_HOST, Verb.DESIGNATE_MASTER)
"""What somebody wants of a pool that is well: nothing that HA would do, were it only waited for."""


ATTENDED = Allowance()


def restrain(
    wanted: Wanted,
    draft: Draft,
    allowance: Allowance,
    *,
    state: PoolState | None,
    wishes: Mapping[str, VmWish],
    brake: tuple[str, str],
    now: float,
    known: PoolState | None = None,
) -> Allowance:
    """Withhold every action that is above what the run may do, and whatever follows a withheld one.

    `wishes` maps VM uuids to their entries; `known` is the pool as last read where `state` is None. The first reason
    that applies is the one given. Returns what is left of the allowance after the actions that were kept.
    """
    kept: list[Action] = []
    refused: dict[str, Action] = {}
    hosts = set(allowance.spent)
    used = allowance.used
    for action in draft.actions:
        broken = next((i for i in action.follows if i in refused), None)
        if broken is not None and action.verb is Verb.AWAIT_READY:
            refused[action.id] = refused[broken]  # whoever waits for it waits for that one
            continue
        if broken is not None and action.verb is not Verb.DESIGNATE_MASTER:
            first = refused[broken]
            draft.hold(action, f"it follows {words(first)}, which is withheld", "see the reason there")
            refused[action.id] = action
            continue
        why, remedy = _refusal(wanted, action, allowance, state, wishes, brake, hosts)
        if not why:
            why, remedy = withheld_by(
                wanted,
                action,
                attended=allowance.attended,
                pauses=allowance.pauses,
                state=state,
                known=known,
                now=now,
            )
        if not why:
            why, remedy = _stopped_by_hand(wanted, action, allowance, now)
        if not why and not allowance.attended:
            why, remedy = withheld_because(action, allowance.failing, wanted)
        if not why and counts(action) and allowance.max_actions is not None and used >= allowance.max_actions:
            why, remedy = (
                f"this run may perform {count(allowance.max_actions, 'action')} (--max-actions)",
                f"run again for the next ones: {apply_command(wanted)}",
            )
        if why:
            draft.hold(action, why, remedy)
            refused[action.id] = action
            continue
        if action.verb in _HOST_VERBS:
            hosts.add(action.target.name)
        used += counts(action)
        # Only a hand-over, which comes last, goes on without what it would have waited for.
        kept.append(replace(action, follows=tuple(i for i in action.follows if i not in refused)))
    kept, idle = _without_purpose(kept, draft)
    used -= sum(counts(action) for action in idle)
    draft.unmet.extend(draft.given_up[action.id] for action in kept if action.id in draft.given_up)
    draft.actions[:] = [told(_told_stopped(action, allowance), allowance.failing) for action in waited_for(kept)]
    return replace(allowance, used=used)


def waited_for(actions: Sequence[Action]) -> list[Action]:
    """Without waiting for what nothing follows any more."""
    needed = {i for a in actions for i in a.follows}
    return [a for a in actions if a.verb is not Verb.AWAIT_READY or a.id in needed]


def _without_purpose(kept: Sequence[Action], draft: Draft) -> tuple[list[Action], list[Action]]:
    """What is left when nothing moves or stops to make room for a start that is withheld, and what that takes out."""
    left, idle = list(kept), list[Action]()
    while True:
        ids = {action.id for action in left}
        gone = [
            action
            for action in left
            if draft.serves.get(action.id, action.id) not in ids
            or (idle and action.verb is not Verb.DESIGNATE_MASTER and {a.id for a in idle}.intersection(action.follows))
        ]
        if not gone:
            taken = {a.id for a in idle}
            return [replace(a, follows=tuple(i for i in a.follows if i not in taken)) for a in left], idle
        for action in gone:
            left.remove(action)
            idle.append(action)
            draft.hold(action, "what it makes room or waits for is withheld", "see the reason there")


def counts(action: Action) -> bool:
    """It counts against --max-actions. What only watches does not, nor does recovering the members, which finishes a
    promotion: cut off from it, the new master may stay disabled for ever (recording 14), nor upkeep."""
    return action.level > Level.OBSERVE and action.verb is not Verb.RECOVER_MEMBERS and action.verb not in UPKEEP


def _stop_of(action: Action, allowance: Allowance) -> Stopped | None:
    if action.verb is not Verb.START:
        return None
    return next((s for s in allowance.stops if s.uuid == action.target.uuid), None)


def _stopped_by_hand(wanted: Wanted, action: Action, allowance: Allowance, now: float) -> tuple[str, str]:
    stop = _stop_of(action, allowance)
    if stop is None or allowance.attended:
        return "", ""
    why = holds_back(stop, respect=wanted.policy.respect_manual_stop, now=now)
    if not why:
        return "", ""
    return why, f"to keep it stopped declare state: halted; to start it now: {apply_command(wanted)}"


def _told_stopped(action: Action, allowance: Allowance) -> Action:
    """A VM that somebody stopped is not started without saying so."""
    stop = _stop_of(action, allowance)
    if stop is None:
        return action
    return replace(action, why=f"{action.why}; {stop.words}. To keep it stopped declare state: halted")


def words(action: Action) -> str:
    """An action in few words, for reasons."""
    verb = str(action.verb).replace("-", " ")
    return f"{verb} {action.target.name}"


def _upgrade_over(state: PoolState) -> str:
    """XAPI sets the key when hosts differ in version and removes it when they no longer do; what else set it, or died
    meanwhile, leaves it there."""
    key = "param-name=other-config param-key=rolling_upgrade_in_progress"
    return (
        "finish it first; if every host has its new version, the key is a left-over: "
        f"xe pool-param-remove uuid={state.pool.uuid} {key}"
    )


def _refusal(
    wanted: Wanted,
    action: Action,
    allowance: Allowance,
    state: PoolState | None,
    wishes: Mapping[str, VmWish],
    brake: tuple[str, str],
    hosts: set[str],
) -> tuple[str, str]:
    limit = allowance.level(wanted)
    if action.level > limit:
        remedy = f"raise {allowance.key} in the manifest to {action.level.word}, if that is meant"
        if not allowance.attended and action.level <= wanted.policy.attended:
            remedy = f"a person may do it: {apply_command(wanted)}"
        return f"this run may go as far as {limit.word} ({allowance.key}) and this is {action.level.word}", remedy
    wish = wishes.get(action.target.uuid)
    if action.target.kind == "vm" and wish is not None and wish.max_level is not None and action.level > wish.max_level:
        return (
            f"its entry allows {wish.max_level.word} at most and this is {action.level.word}",
            "raise maxLevel in its entry",
        )
    if state is not None and state.pool.ha_enabled and action.level > Level.METADATA:
        why = "XAPI's own HA is on, and it restarts VMs and chooses masters by itself"
        if action.verb in _ON_PURPOSE:
            return why, "leave it to HA; or, as long as this takes: xe pool-ha-disable"
        return why, "watch what it does: xe vm-list params=name-label,power-state,resident-on"
    if state is not None and "rolling_upgrade_in_progress" in state.pool.other_config and action.level > Level.METADATA:
        return "a rolling upgrade of the pool is in progress", _upgrade_over(state)
    if brake[0] and action.level >= Level.MOVE:
        return brake
    most = wanted.policy.brake.max_hosts_per_run
    if action.verb in _HOST_VERBS and action.target.name not in hosts and len(hosts) >= most:
        return (
            f"policy.brake.maxHostsPerRun is {most}, and this run already deals with another host",
            "raise it in the manifest if so many hosts are really down, or run again afterwards: "
            f"{apply_command(wanted)}",
        )
    return "", ""


def _key(action: Action) -> tuple[str, str]:
    return (str(action.verb), action.target.uuid or action.target.name)


def ceiling(fresh: Plan, approved: Plan) -> Plan:
    """`fresh` without what was not approved: an approved plan is a ceiling, less may be done and never more.

    The approved plan's target of a move or start may differ: where a VM starts is decided from what is read last. A
    host that was approved for burial by name only (its uuid was not known then) matches by name.
    """
    allowed = {_key(a) for a in approved.actions} | {(str(a.verb), a.target.name) for a in approved.actions}
    beyond = {
        a.id: ("it was not in the approved plan", apply_again(fresh))
        for a in fresh.actions
        if _key(a) not in allowed and (str(a.verb), a.target.name) not in allowed and a.level > Level.OBSERVE
    }
    # Nobody who approves a plan has refused a refresh that only became due since: it is left to the next run.
    return _upkeep_later(_without(fresh, beyond))


def _upkeep_later(plan: Plan) -> Plan:
    """The same with upkeep that is withheld left to the next run: nothing is blamed for it."""
    later = tuple(
        Kept(w.action.target, f"{words(w.action)} is left to the next run: {w.why}")
        for w in plan.withheld
        if w.action.verb in UPKEEP
    )
    if not later:
        return plan
    held = tuple(w for w in plan.withheld if w.action.verb not in UPKEEP)
    return replace(plan, withheld=held, kept=plan.kept + later)


def upkeep_once(fresh: Plan, done: Iterable[Done]) -> Plan:
    """`fresh` without upkeep that this run did twice already: where VMs move all the time it would never rest."""
    times = Counter(d.action.id for d in done if d.action.verb in UPKEEP and d.result is Result.DONE)
    again = {a.id: ("this run did it twice already", "") for a in fresh.actions if times[a.id] >= 2}
    return _upkeep_later(_without(fresh, again)) if again else fresh


def apply_again(plan: Plan) -> str:
    """The command that plans and approves anew."""
    return f"xenrec apply {plan.argument or plan.source or 'MANIFEST'}"


_FARED = {
    Result.REFUSED: "was refused",
    Result.UNKNOWN: "was sent, and what became of it is not known,",
    Result.SKIPPED: "was skipped",
}


_WAITS_FOR = {Verb.AWAIT_MASTER: Verb.PROMOTE, Verb.AWAIT_MEMBERS: Verb.RECOVER_MEMBERS}
"""An action that only waits, and the one that has waited for the same thing."""


def hold_back(fresh: Plan, failures: Mapping[str, Done]) -> Plan:
    """`fresh` without what already failed in this run, and without waiting again for what was waited for in vain:
    nothing is tried in a loop."""
    reasons = {}
    for action in fresh.actions:
        one = failures.get(action.id) or _moved_in_vain(action, failures)
        fared = f"it {_FARED.get(one.result, str(one.result))}" if one else ""
        if one is None and action.verb in _WAITS_FOR:
            one = failures.get(replace(action, verb=_WAITS_FOR[action.verb]).id)
            fared = "it was waited for already"
        if one is not None:
            reasons[action.id] = (
                f"{fared} in this run: {one.why}",
                one.remedy or f"mend that, then: {apply_again(fresh)}",
            )
    return _without(fresh, reasons)


MOVES_TRIED = 2
"""Hosts that one VM is tried to be migrated to in a run, when it fails."""


def _moved_in_vain(action: Action, failures: Mapping[str, Done]) -> Done | None:
    """The migrations of the same VM that failed in this run, if it was tried to two other hosts already."""
    if action.verb is not Verb.MIGRATE:
        return None
    tried = [d for d in failures.values() if _key(d.action) == _key(action)]
    return tried[-1] if len(tried) >= MOVES_TRIED else None


def _without(plan: Plan, reasons: Mapping[str, tuple[str, str]]) -> Plan:
    """Move the actions of these ids, and what follows them, to the withheld ones."""
    gone: dict[str, Action] = {}
    held: list[Withheld] = []
    stages: list[Stage] = []
    notes = plan.notes
    for stage in plan.stages:
        if stage.forecast and gone:
            # What comes after a stage that is not done whole can't be foretold, but what it leaves down can.
            down = [a.target.name for a in stage.actions if a.verb in (Verb.START, Verb.RESUME, Verb.UNPAUSE)]
            notes += (f"until then not started: {names(down)}",) if down else ()
            break
        kept = []
        for action in stage.actions:
            broken = next((i for i in action.follows if i in gone), None)
            if action.id in reasons:
                held.append(Withheld(action, *reasons[action.id]))
                gone[action.id] = action
            elif broken is not None and action.verb is Verb.AWAIT_READY:
                gone[action.id] = gone[broken]
            elif broken is not None:
                why = f"it follows {words(gone[broken])}, which is withheld"
                if gone[broken].verb is Verb.AWAIT_READY:
                    why = f"it depends on {gone[broken].target.name}, which is not ready"
                held.append(Withheld(action, why, "see the reason there"))
                gone[action.id] = action
            else:
                kept.append(action)
        if kept := waited_for(kept):
            stages.append(replace(stage, actions=tuple(kept)))
    if not gone:
        return plan
    return replace(
        plan, stages=tuple(stages), withheld=plan.withheld + tuple(held), notes=notes, expected=None, critical=()
    )
