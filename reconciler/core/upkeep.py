"""Keeping a pool ready for the loss of its master: the members' copies of the database stay fresh. Pure."""

from __future__ import annotations

from reconciler.core.copies import CopyMemory
from reconciler.core.draft import Draft
from reconciler.core.model import PoolState
from reconciler.core.plan import Action, Thing, Verb
from reconciler.core.standing import Stand, Standing, Stands
from reconciler.core.succession import Succession
from reconciler.core.wanted import Wanted
from reconciler.core.words import count, lasting, names, utc

_MOVES_VMS = (Verb.DECLARE_DEAD, Verb.START, Verb.RESUME, Verb.MIGRATE)
"""After these a copy from before has a VM where it does not run any more: promoted, it kills the VM where it does."""


def plan_refresh(
    wanted: Wanted,
    stands: Stands,
    state: PoolState,
    draft: Draft,
    memory: CopyMemory,
    heirs: Succession,
    now: float,
) -> Draft:
    """The refresh that is due, as the one action of a draft of its own, or why there is none (nothing is said where the
    manifest asks for none). `draft` holds what the run does before it, `heirs` who would be promoted if the master were
    lost now.

    Not while HA is on, for then XAPI writes the database to the heartbeat disk and to no member
    (xapi_pool.ml:sync_database); nor while the master takes a host that does not answer for living, for the call waits
    for that host up to two minutes (recording 06: 78 s). Where copies are wrong that is worth waiting for, beside a
    host that is proved dead: the living have their copies at once.
    """
    found = Draft()
    every = wanted.policy.metadata.refresh_every
    others = [s for ref, s in stands.by_ref.items() if ref != state.pool.master]
    if every is None or not others:
        return found
    pool = Thing("pool", state.pool.name, state.pool.uuid)
    if state.pool.ha_enabled:
        found.keep(pool, "XAPI's own HA keeps its database on the heartbeat disk, so members' copies are not refreshed")
        return found
    reached = [s for s in others if _reached(s)]
    silent = [s.thing.name for s in others if not _reached(s)]
    moving = [a for a in draft.actions if a.verb in _MOVES_VMS]
    wrong = sorted({one.vm.name for option in heirs.options for one in option.toll.counted})
    waits = [s for s in others if not _reached(s) and s.host.live]
    unnoticed = [s.thing.name for s in waits if not ((moving or wrong) and s.standing is Standing.DEAD)]
    if not reached:
        return found
    why = _due(reached, moving, wrong, memory, now, every)
    if not why:
        found.keep(pool, f"the members' copies of its database were refreshed less than {lasting(every)} ago")
        return found
    if unnoticed:
        found.keep(
            pool,
            f"a refresh of the members' copies is due ({why}) and waits until the master has noticed that "
            f"{names(unnoticed)} {'is' if len(unnoticed) == 1 else 'are'} gone: until then the call hangs on it",
        )
        return found
    told = f"; {names(silent)} can't get one now" if silent else ""
    found.actions.append(
        Action(
            Verb.SYNC_DATABASE,
            pool,
            why + told,
            before=_before(reached, memory),
            after="a copy of now on every member that answers",
        )
    )
    return found


def _reached(one: Stand) -> bool:
    return one.answers or (one.member is None and one.host.live)


def _due(
    reached: list[Stand], moving: list[Action], wrong: list[str], memory: CopyMemory, now: float, every: float
) -> str:
    """Why a refresh is due, "" while it is not."""
    if moving:
        starts = sum(a.verb is not Verb.DECLARE_DEAD for a in moving)
        what = (
            f"{count(starts, 'VM')} will have started or moved" if starts else f"{moving[0].target.name} will be buried"
        )
        return f"{what}, and a copy from before would not know it"
    known = {s.host.uuid: memory.of(s.host.uuid) for s in reached}
    unknown = [s.thing.name for s in reached if known[s.host.uuid] is None]
    if unknown:
        return f"no refresh of {names(unknown)} is known"
    if wrong:
        verb = "has" if len(wrong) == 1 else "have"
        return f"{names(wrong)} {verb} moved since the last one, and an older copy, promoted, kills VMs that moved"
    oldest = min(r.at for r in known.values() if r is not None)
    if now - oldest >= every or oldest > now:
        return f"the last one was at {utc(oldest)}, and policy.metadata.refreshEvery is {lasting(every)}"
    return ""


def _before(reached: list[Stand], memory: CopyMemory) -> str:
    known = [memory.of(s.host.uuid) for s in reached]
    times = [r.at for r in known if r is not None]
    return f"of {utc(min(times))}" if len(times) == len(known) else "of an unknown age"
