"""How long a plan will take about, and the longest chain of steps in it, from defaults and from earlier runs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.core.model import PoolState
from reconciler.core.plan import ALONE, Action, Done, Plan, Result, Verb
from reconciler.core.wanted import Limits

USUAL = {
    Verb.FENCE: 10.0,
    Verb.PROMOTE: 15.0,
    Verb.AWAIT_MASTER: 15.0,
    Verb.RECOVER_MEMBERS: 40.0,
    Verb.AWAIT_MEMBERS: 40.0,
    Verb.FOLLOW: 30.0,
    Verb.DECLARE_DEAD: 20.0,
    Verb.DESIGNATE_MASTER: 30.0,
    Verb.START: 20.0,
    Verb.RESUME: 30.0,
    Verb.SHUTDOWN: 30.0,
    Verb.SUSPEND: 60.0,
    Verb.MIGRATE: 60.0,
    Verb.AWAIT_READY: 40.0,
}
"""Seconds, where no earlier run of this machine knows better; others take a moment."""
MOMENT = 1.0
_POWER = frozenset({Verb.START, Verb.RESUME, Verb.UNPAUSE, Verb.SHUTDOWN, Verb.SUSPEND})


@dataclass(frozen=True, slots=True)
class Took:
    """How long a verb takes on a VM: seconds, a mean in which later runs count more."""

    uuid: str
    verb: str
    seconds: float


def learnt(known: Sequence[Took], done: Iterable[Done]) -> tuple[Took, ...]:
    """What is known after some actions more; only those on VMs that were done, not found done."""
    found = {(t.uuid, t.verb): t.seconds for t in known}
    for one in done:
        if one.result is Result.DONE and one.action.target.kind == "vm" and one.action.verb in USUAL:
            key = (one.action.target.uuid, str(one.action.verb))
            found[key] = one.took if key not in found else (found[key] + one.took) / 2
    return tuple(Took(uuid, verb, round(seconds, 1)) for (uuid, verb), seconds in found.items())


def expected(
    plan: Plan, limits: Limits, known: Iterable[Took] = (), state: PoolState | None = None
) -> tuple[float, tuple[Action, ...]]:
    """(seconds that the plan takes about if nothing goes wrong, its longest chain of steps on VMs in order).

    No schedule is made: it is what the longest chain takes, or what the limits on a host or on the pool make of all
    the work, whichever is longer, and everything that nothing runs beside.
    """
    took = {(t.uuid, t.verb): t.seconds for t in known}
    delays = {vm.uuid: 2.0 * vm.start_delay for vm in state.guests} if state is not None else {}
    serial = 0.0
    ends: dict[str, float] = {}
    before: dict[str, Action | None] = {}
    actions = {a.id: a for a in plan.actions}
    work: dict[tuple[str, str], float] = {}
    for action in plan.actions:
        seconds = took.get((action.target.uuid, str(action.verb)), _usual(action, delays))
        if action.verb in ALONE:
            serial += seconds
            continue
        last = max((i for i in (*action.follows, *action.behind) if i in ends), key=lambda i: ends[i], default=None)
        ends[action.id] = seconds + (ends[last] if last else 0.0)
        before[action.id] = actions[last] if last else None
        kind = "move" if action.verb is Verb.MIGRATE else "power" if action.verb in _POWER else ""
        if kind:
            moves = kind == "move"
            places = {"": limits.migrations_per_pool if moves else limits.starts_per_pool}
            at_once = limits.migrations_per_host if moves else limits.starts_per_host
            places |= {host.uuid: at_once for host in (action.source, action.to) if host is not None}
            for place, most in places.items():
                work[kind, place] = work.get((kind, place), 0.0) + seconds / most
    longest = max(ends, key=lambda i: ends[i], default=None)
    chain: list[Action] = []
    step = actions[longest] if longest is not None else None
    while step is not None:
        chain += [step] if step.target.kind == "vm" else []
        step = before[step.id]
    bound = max(work.values(), default=0.0)
    return serial + max(bound, ends[longest] if longest else 0.0), tuple(reversed(chain))


def _usual(action: Action, delays: Mapping[str, float]) -> float:
    if action.verb is Verb.AWAIT_READY:
        if not action.follows:
            return MOMENT  # it runs already
        if action.ready is not None:
            return (
                action.ready.delay if action.ready.delay is not None else min(USUAL[action.verb], action.ready.timeout)
            )
    seconds = USUAL.get(action.verb, MOMENT)
    return seconds + (delays.get(action.target.uuid, 0.0) if action.verb is Verb.START else 0.0)
