"""A rolling maintenance as values: whose turn it is, how far that host has come, what may be said of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from reconciler.core.drill import drill
from reconciler.core.evidence import Diagnosis, Survey
from reconciler.core.mark import MARK, Mark
from reconciler.core.model import PoolState, PowerState
from reconciler.core.plan import Action, Plan, Verb
from reconciler.core.wanted import MemberState, Wanted
from reconciler.core.words import names


class Phase(StrEnum):
    """How far the host whose turn it is has come."""

    EMPTY = "empty"  # its office is handed over, it is disabled and emptied
    COMMAND = "command"  # the command runs on it
    BACK = "back"  # it is waited for
    HOME = "home"  # it is enabled, its VMs come home


@dataclass(frozen=True, slots=True)
class Roll:
    """One rolling maintenance: written down before each step, so that it is carried on wherever it was killed.

    Times in UTC seconds, `deadline` (of the command) and `patience` (until a host is back) in seconds. `sent_at` is
    when the command was begun for the host in turn, `code` how it ended: None while that is not known. `booted` and
    `agent` are what the host said of its boot and its toolstack's start before.
    """

    id: str
    by: str
    begun_at: float
    hosts: tuple[str, ...]
    command: tuple[str, ...]
    deadline: float
    patience: float
    reboots: bool
    done: tuple[str, ...] = ()
    phase: Phase = Phase.EMPTY
    sent_at: float | None = None
    code: int | None = None
    booted: str = ""
    agent: str = ""

    @property
    def host(self) -> str | None:
        """Whose turn it is; None when all had theirs."""
        return next((h for h in self.hosts if h not in self.done), None)

    def after(self) -> Roll:
        """The turn of the next."""
        assert self.host is not None
        return replace(
            self, done=(*self.done, self.host), phase=Phase.EMPTY, sent_at=None, code=None, booted="", agent=""
        )

    def same_work(self, other: Roll) -> bool:
        """Begun again by the same words."""
        return (set(self.hosts), self.command) == (set(other.hosts), other.command)


def resting(wanted: Wanted, host: str, roll: str) -> Wanted:
    """The manifest with that member in maintenance, for the runs of that roll."""
    members = tuple(replace(m, state=MemberState.MAINTENANCE) if m.name == host else m for m in wanted.members)
    return replace(wanted, members=members, rolling=roll)


def order(wanted: Wanted, asked: Sequence[str], master: str, where: str) -> tuple[str, ...]:
    """The hosts in the order of their turns: as asked for ("all": as in the manifest), the master last or first.

    Raises ValueError in words for people.
    """
    active = [m.name for m in wanted.members if m.state is MemberState.ACTIVE]
    hosts = active if list(asked) == ["all"] else list(asked)
    known = {m.name for m in wanted.members}
    if unknown := [h for h in hosts if h not in known]:
        raise ValueError(f"{names(unknown)}: no member has this name. Members are {names(sorted(known))}")
    if idle := [h for h in hosts if h not in active]:
        raise ValueError(f"{names(idle)} {'is' if len(idle) == 1 else 'are'} declared in maintenance already")
    if len(set(hosts)) != len(hosts):
        raise ValueError("a host is named twice")
    if not hosts:
        raise ValueError("there is no active member")
    if len(active) < 2:
        raise ValueError("with one active member there is nowhere for its VMs and its office to go")
    rest = [h for h in hosts if h != master]
    if len(rest) == len(hosts):
        return tuple(hosts)
    return (master, *rest) if where == "first" else (*rest, master)


def unfinished(plan: Plan) -> tuple[str, str]:
    """(why a pool is not as declared, what next) as a roll sees it; ("", "") when it is. A hand-over of the office that
    waits for a person's word is nothing that a roll waits for."""
    for unmet in plan.unmet:
        kind = {"vm": "VM", "sr": "SR"}.get(unmet.target.kind, unmet.target.kind)
        return f"{kind} {unmet.target.name}: {unmet.wish}: {unmet.why}", unmet.remedy
    for held in plan.withheld:
        if held.action.verb is Verb.DESIGNATE_MASTER:
            continue
        return (
            f"{str(held.action.verb).replace('-', ' ')} {held.action.target.name} is withheld: {held.why}",
            held.remedy,
        )
    if plan.actions:
        first = plan.actions[0]
        return (
            f"there is something to do: {str(first.verb).replace('-', ' ')} {first.target.name}",
            f"xenrec plan {plan.argument}",
        )
    if plan.diagnosis.master is None:
        return plan.diagnosis.why, plan.diagnosis.remedy or f"xenrec status {plan.argument}"
    return "", ""


def below_reserve(
    wanted: Wanted, survey: Survey, diagnosis: Diagnosis, state: PoolState, actions: Sequence[Action], host: str
) -> str:
    """Why the pool would not survive the loss of policy.placement.reserve hosts while `host` is out, though it would
    with it in; "" if it would. `actions` are what empties the host."""
    depth = wanted.policy.reserve
    if not depth:
        return ""
    before = [(set(c.hosts), c.lost) for c in drill(wanted, survey, diagnosis, state, depth=depth).cases]
    found = drill(resting(wanted, host, ""), survey, diagnosis, _emptied(state, actions, host), depth=depth)
    if found.skipped:
        return f"policy.placement.reserve is {depth}, and there are too many sets of hosts to look at"
    for case in found.cases:
        known = {loss.vm.uuid for hosts, lost in before if hosts <= set(case.hosts) for loss in lost}
        fresh = [loss for loss in case.lost if loss.vm.uuid not in known]
        if host in case.hosts or not fresh:
            continue
        more = f" and {len(fresh) - 1} more" if len(fresh) > 1 else ""
        return (
            f"policy.placement.reserve is {depth}: with {host} out, the loss of {names(case.hosts)} would leave "
            f"{fresh[0].vm.name}{more} down: {fresh[0].why}"
        )
    return ""


def _emptied(state: PoolState, actions: Sequence[Action], host: str) -> PoolState:
    """The pool after the actions that empty a host."""
    refs = {h.uuid: ref for ref, h in state.hosts.items()}
    vms = dict(state.vms)
    by_uuid = {vm.uuid: vm for vm in state.vms.values()}
    hosts = dict(state.hosts)
    for action in actions:
        vm = by_uuid.get(action.target.uuid)
        if action.verb is Verb.MIGRATE and vm is not None and action.to is not None:
            vms[vm.ref] = replace(vms[vm.ref], resident_on=refs.get(action.to.uuid))
        elif action.verb is Verb.SHUTDOWN and vm is not None:
            vms[vm.ref] = replace(vms[vm.ref], resident_on=None, power_state=PowerState.HALTED)
        elif action.verb is Verb.DISABLE_HOST and (ref := refs.get(action.target.uuid)):
            marked = {**hosts[ref].other_config, MARK: Mark("drill", 0.0).text}
            hosts[ref] = replace(hosts[ref], enabled=False, other_config=marked)
    return replace(state, vms=vms, hosts=hosts)
