"""The master's office in a healthy pool: it leaves a member in maintenance, and goes to the declared one. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.core.draft import Draft, apply_command
from reconciler.core.model import Host, PoolState
from reconciler.core.plan import Action, Thing, Unmet, Verb
from reconciler.core.standing import Stand, Standing, Stands
from reconciler.core.wanted import Failback, Wanted
from reconciler.core.words import names

MOVING = frozenset({"pool_migrate", "migrate_send"})
"""Operations that move a running VM."""


def plan_relief(wanted: Wanted, stands: Stands, state: PoolState, draft: Draft) -> bool:
    """A master in maintenance hands its office over first: to the first fit of master.host, its successors and the
    other members, in the manifest's order. Whether that is planned."""
    acting = stands.by_ref.get(state.pool.master or "")
    if acting is None or not acting.in_maintenance:
        return False
    wish = wanted.master
    order = [*((wish.host, *wish.successors) if wish else ()), *(m.name for m in wanted.members)]
    able = [
        one
        for name in dict.fromkeys(order)
        if (one := stands.by_member.get(name)) and one.standing is Standing.READY and not one.host.leaving
    ]
    if not able:
        draft.unmet.append(
            Unmet(
                acting.thing,
                "state maintenance",
                "it is the master, and no other member is ready to take the office",
                f"bring another member back: xenrec status {wanted.argument}",
                str(acting.member.place or "") if acting.member else "",
            )
        )
        return False
    action = Action(
        Verb.DESIGNATE_MASTER,
        able[0].thing,
        f"{acting.thing.name}, which is master, goes into maintenance; all toolstacks restart, running VMs are not "
        "touched",
        before=f"{acting.thing.name} is master",
        after=f"{able[0].thing.name} is master",
    )
    if unready := _unready(stands, state):
        draft.hold(action, *unready)
        return False
    draft.actions.append(action)
    return True


def declared_master(wanted: Wanted, stands: Stands, *, failback: bool) -> Host | None:
    """The host that the master's office goes back to by itself, or because the person asked for it with `failback`."""
    wish = wanted.master
    if wish is None or wish.failback is Failback.NEVER or (wish.failback is Failback.MANUAL and not failback):
        return None
    one = stands.by_member.get(wish.host)
    return one.host if one and one.standing is Standing.READY else None


def plan_master(wanted: Wanted, stands: Stands, state: PoolState, draft: Draft, *, failback: bool) -> None:
    """Hand the office over to the host that is declared for it, after everything else; or say why it stays where it
    is."""
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
    if wish.failback is Failback.NEVER:
        draft.keep(pool, f"{acting.thing.name} is master and failback is never")
    elif unready := _unready(stands, state):
        draft.hold(action, *unready)
    elif wish.failback is Failback.MANUAL and not failback:
        draft.hold(
            action,
            f"{acting.thing.name} is master; master.failback is manual, so the hand-over waits for your word",
            apply_command(wanted, "--failback"),
        )
    else:
        draft.actions.append(action)


def _unready(stands: Stands, state: PoolState) -> tuple[str, str] | None:
    """Why the office can't be handed over now, and what to do about it."""
    if down := [s for s in stands.by_ref.values() if not (s.host.live and (s.answers or s.member is None))]:
        return _needs(down)
    if moving := [vm.name for vm in state.guests if MOVING.intersection(vm.current_operations)]:
        return on_the_way(moving)
    return None


def on_the_way(moving: Sequence[str]) -> tuple[str, str]:
    """Why VMs that migrate forbid a hand-over, and what to do about it. Each toolstack restarts in it: one that then
    finds a VM which the database still has on the source stops it (sheet §2.6)."""
    return (
        f"{names(sorted(moving))} {'is' if len(moving) == 1 else 'are'} being migrated, and a hand-over restarts all "
        "toolstacks: a VM that arrives meanwhile may be killed",
        "wait for that to end: xe task-list",
    )


def _needs(down: Sequence[Stand]) -> tuple[str, str]:
    """Why the office can't be handed over while hosts are down, and what to do about it."""
    told = f"{names(s.thing.name for s in down)} {'is' if len(down) == 1 else 'are'} not"
    return (
        f"XAPI hands mastership over only while every host is up, and {told}",
        "repair it and power it on; or, if it is gone for good, remove it from the pool: "
        f"xe host-forget uuid={down[0].host.uuid}",
    )
