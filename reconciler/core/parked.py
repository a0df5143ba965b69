"""VMs whose action fails, or is refused by XAPI, run after run: unattended runs leave them alone, and say so. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from reconciler.core.model import PoolState, PowerState, Vm
from reconciler.core.plan import Action, Done, Result, Verb
from reconciler.core.wanted import Level, Wanted
from reconciler.core.words import count, names, utc

_GOALS = {
    Verb.START: PowerState.RUNNING,
    Verb.RESUME: PowerState.RUNNING,
    Verb.UNPAUSE: PowerState.RUNNING,
    Verb.SHUTDOWN: PowerState.HALTED,
    Verb.SUSPEND: PowerState.SUSPENDED,
}


@dataclass(frozen=True, slots=True)
class Failing:
    """One verb on one VM that failed in `runs` runs in a row, the last time at `at` (UTC seconds) in run `run` for the
    reason `why`."""

    uuid: str
    name: str
    verb: str
    runs: float
    at: float
    run: str
    why: str

    @property
    def words(self) -> str:
        """What is known."""
        when = f"in {count(int(self.runs), 'run')} in a row, last" if self.runs > 1 else "in an earlier run,"
        return f"its {self.verb} failed {when} at {utc(self.at)}: {self.why}"


def noted(known: Sequence[Failing], done: Iterable[Done], *, run: str, at: float) -> tuple[Failing, ...]:
    """What is known after a run: what succeeded is forgotten, what failed counts once more, the rest stays.

    A refusal counts where XAPI refuses too, until somebody changes something. Where a guard of ours refused, or a state
    that passes (another operation, a proof that has run out), nothing was learnt about the VM.
    """
    found = {(one.uuid, one.verb): one for one in known}
    for one in done:
        action = one.action
        key = (action.target.uuid, str(action.verb))
        if action.target.kind != "vm" or action.level <= Level.OBSERVE:
            continue
        if one.result in (Result.DONE, Result.ALREADY):
            found.pop(key, None)
        elif one.result is Result.FAILED or (one.result is Result.REFUSED and one.lasting):
            before = found.get(key)
            runs = 0.0 if before is None else before.runs - (before.run == run)
            found[key] = Failing(key[0], action.target.name, key[1], runs + 1, at, run, one.why)
    return tuple(found.values())


def still_failing(known: Sequence[Failing], state: PoolState) -> tuple[Failing, ...]:
    """Those that the pool as it was read does not settle: a VM that is gone, or that is as it should be without us, is
    nobody's trouble any more."""
    vms: dict[str, Vm] = {vm.uuid: vm for vm in state.guests}
    return tuple(
        one
        for one in known
        if (vm := vms.get(one.uuid)) is not None and vm.power_state is not _GOALS.get(Verb(one.verb))
    )


def parked(known: Iterable[Failing], wanted: Wanted) -> tuple[Failing, ...]:
    """Those that unattended runs leave alone."""
    return tuple(one for one in known if one.runs >= wanted.policy.limits.park_after)


def unpark_command(wanted: Wanted, name: str) -> str:
    """What lets unattended runs try it again."""
    return f"xenrec unpark {wanted.argument} --vm {names([name])}"


def withheld_because(action: Action, known: Iterable[Failing], wanted: Wanted) -> tuple[str, str]:
    """Why an unattended run leaves the action alone, and what would change that; "" if nothing does."""
    one = next((f for f in parked(known, wanted) if (f.uuid, f.verb) == (action.target.uuid, str(action.verb))), None)
    if one is None:
        return "", ""
    return f"it is parked: {one.words}", f"mend that, then: {unpark_command(wanted, one.name)}"


def told(action: Action, known: Iterable[Failing]) -> Action:
    """An action that failed before is not tried again without saying so."""
    one = next((f for f in known if (f.uuid, f.verb) == (action.target.uuid, str(action.verb))), None)
    return action if one is None else replace(action, why=f"{action.why}; {one.words}")
