"""Live migrations as actions, for whoever plans them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.core.model import PowerState, Vm
from reconciler.core.plan import Action, Thing, Verb
from reconciler.core.standing import Stand
from reconciler.core.words import names


def immovable(vm: Vm) -> str:
    """Why XAPI would migrate it to no host at all, whatever hosts there are; "" if it would (sheet §4.3). Whether a
    host can take it is placement's question."""
    if vm.power_state is not PowerState.RUNNING:
        return f"is {vm.power_state}, and only a running VM migrates"
    if vm.current_operations:
        return f"is busy: {names(vm.current_operations)}"
    if (text := vm.blocked_operations.get("pool_migrate")) is not None:
        return f"must not migrate, as somebody noted on it: {text or 'without a reason'} (pool_migrate is blocked)"
    if vm.immobile:
        return f"can't be moved live: {vm.immobile}"
    if vm.pinned_devices:
        return f"is tied to its host by {names(vm.pinned_devices)}"
    return ""


def migration(vm: Vm, source: Stand, to: Stand, why: str, *, follows: Iterable[str] = ()) -> Action:
    """The live migration of a running VM. `follows`: what must have succeeded before, such as the moves that make room.

    It holds until both hosts have room for it: the executor keeps `policy.limits.migrationsPerHost` on either end.
    """
    return Action(
        Verb.MIGRATE,
        Thing("vm", vm.name, vm.uuid),
        why,
        before=f"Running on {source.thing.name}",
        after=f"Running on {to.thing.name}",
        to=to.thing,
        source=source.thing,
        follows=tuple(dict.fromkeys(follows)),
    )
