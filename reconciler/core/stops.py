"""VMs that should be halted or suspended. Only what the manifest names is stopped, and only cleanly (I5)."""

from __future__ import annotations

from reconciler.core.draft import Draft
from reconciler.core.model import PoolState, PowerState, Ref, Vm
from reconciler.core.plan import Action, Thing, Unmet, Verb
from reconciler.core.standing import Stands
from reconciler.core.starts import busy
from reconciler.core.wanted import VmWish, WantedState

_OWN = {
    Verb.SHUTDOWN: frozenset({"clean_shutdown", "shutdown", "hard_shutdown"}),
    Verb.SUSPEND: frozenset({"suspend"}),
}
"""Operations under way that reach the goal by themselves: whoever performs the verb waits for them."""


def plan_stop(vm: Vm, wish: VmWish, stands: Stands, state: PoolState, proved: frozenset[Ref], draft: Draft) -> None:
    """Add the action that halts or suspends a VM, or say why it is left."""
    if wish.state not in (WantedState.HALTED, WantedState.SUSPENDED):
        if wish.state is WantedState.AS_IS:
            draft.keep(Thing("vm", vm.name, vm.uuid), f"is {vm.power_state} and its state is declared as-is")
        return
    thing = Thing("vm", vm.name, vm.uuid)
    place = str(wish.place or "")
    goal = PowerState.HALTED if wish.state is WantedState.HALTED else PowerState.SUSPENDED
    if vm.power_state is goal:
        draft.keep(thing, f"is {goal}, as declared")
        return
    one = stands.by_ref.get(vm.resident_on or "")
    if one is not None and not one.answers and vm.power_state in (PowerState.RUNNING, PowerState.PAUSED):
        if one.host.ref in proved and goal is PowerState.HALTED:
            draft.keep(thing, f"is halted by the burial of {one.thing.name}")
        else:
            draft.unmet.append(
                Unmet(
                    thing,
                    f"state {wish.state}",
                    f"it is recorded as running on {one.thing.name}, which does not answer",
                    f"prove {one.thing.name} dead or bring it back",
                    place,
                )
            )
        return
    verb = Verb.SHUTDOWN if goal is PowerState.HALTED else Verb.SUSPEND
    if not _OWN[verb].issuperset(vm.current_operations):
        draft.unmet.append(busy(vm, wish))
        return
    action = Action(
        verb,
        thing,
        f"the manifest declares it {wish.state}",
        before=f"{vm.power_state} on {one.thing.name}" if one else str(vm.power_state),
        after=str(goal),
        to=None,
    )
    operation = "clean_shutdown" if verb is Verb.SHUTDOWN else "suspend"
    if text := vm.blocked_operations.get(operation):
        draft.unmet.append(
            Unmet(
                thing,
                f"state {wish.state}",
                f"{operation} is blocked: {text}",
                f"xe vm-param-remove uuid={vm.uuid} param-name=blocked-operations param-key={operation}",
                place,
            )
        )
    elif vm.power_state is PowerState.RUNNING:
        draft.actions.append(action)
    elif vm.power_state is PowerState.PAUSED:
        draft.unmet.append(
            Unmet(
                thing,
                f"state {wish.state}",
                "it is paused, so it can't stop cleanly",
                f"xe vm-unpause uuid={vm.uuid}",
                place,
            )
        )
    elif vm.power_state is PowerState.SUSPENDED:
        draft.unmet.append(
            Unmet(
                thing,
                "state halted",
                "it is suspended, and halting it would throw away its memory image",
                f"xe vm-resume uuid={vm.uuid} (then run again), or lose the image: "
                f"xe vm-shutdown uuid={vm.uuid} --force",
                place,
            )
        )
    else:
        draft.unmet.append(
            Unmet(
                thing, "state suspended", "it is halted: only a running VM can be suspended", "declare it halted", place
            )
        )
