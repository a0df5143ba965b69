"""How each verb on a VM goes: its call, the state that it needs, when its goal is reached, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.plan import Action, Verb
from reconciler.core.port import Json
from reconciler.core.wanted import Limits
from reconciler.execute.bench import Bench
from reconciler.execute.desk import NULL
from reconciler.execute.moving import is_there

PLACED = frozenset({Verb.START, Verb.RESUME, Verb.MIGRATE})
"""Verbs that bring a VM to a host which the plan names."""


@dataclass(frozen=True, slots=True)
class Way:
    """How one verb goes: the call, the state that it needs and the one that it reaches, the operations it is."""

    method: str
    needs: str
    goal: str
    operations: frozenset[str]
    command: str

    def typed(self, action: Action) -> str:
        """The command for a person who must do it by hand."""
        return self.command.format(uuid=action.target.uuid, to=action.to.name if action.to else "")


WAYS = {
    Verb.START: Way(
        "VM.start_on", "Halted", "Running", frozenset({"start", "start_on"}), "xe vm-start uuid={uuid} on={to}"
    ),
    Verb.RESUME: Way(
        "VM.resume_on", "Suspended", "Running", frozenset({"resume", "resume_on"}), "xe vm-resume uuid={uuid} on={to}"
    ),
    Verb.UNPAUSE: Way("VM.unpause", "Paused", "Running", frozenset({"unpause"}), "xe vm-unpause uuid={uuid}"),
    Verb.SHUTDOWN: Way(
        "VM.clean_shutdown",
        "Running",
        "Halted",
        frozenset({"clean_shutdown", "shutdown", "hard_shutdown"}),
        "xe vm-shutdown uuid={uuid} --force (it cuts the power: what the guest has not written to disk is lost)",
    ),
    Verb.SUSPEND: Way("VM.suspend", "Running", "Suspended", frozenset({"suspend"}), "xe vm-suspend uuid={uuid}"),
    Verb.MIGRATE: Way(
        "VM.pool_migrate",
        "Running",
        "Running",
        frozenset({"pool_migrate"}),
        "xe vm-migrate uuid={uuid} host={to} live=true",
    ),
}


def deadline(limits: Limits, action: Action, vm: dict[str, Json]) -> float:
    """Seconds for the whole operation; start_on sleeps the VM's start_delay twice (sheet §5.1)."""
    if action.verb is Verb.MIGRATE:
        return limits.migrate_timeout
    if action.verb in (Verb.SHUTDOWN, Verb.SUSPEND):
        return limits.shutdown_timeout + float(vm.get("shutdown_delay") or 0)
    return limits.start_timeout + 2 * float(vm.get("start_delay") or 0)


def reached(bench: Bench, action: Action, way: Way, vm: dict[str, Json]) -> bool:
    """The record says what the action is for: the state, and of a migration the host."""
    there = action.verb is not Verb.MIGRATE or is_there(bench, action, vm)
    return str(vm.get("power_state")) == way.goal and there


def on_host(bench: Bench, where: str) -> str:
    """ " on" the host of a ref, in words; "" for none."""
    return f" on {bench.name_of('host', where)}" if where not in NULL else ""
