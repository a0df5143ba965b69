"""The drill: what would happen if hosts died now, planned with the real planner on a pool in which they have. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from reconciler.core.draft import Draft
from reconciler.core.evidence import (
    BmcPower,
    Certificate,
    CertificateKind,
    Diagnosis,
    LoginAnswer,
    Survey,
    Verdict,
)
from reconciler.core.model import PoolState
from reconciler.core.plan import Unmet, Verb
from reconciler.core.regain import Regain, forecast_pool
from reconciler.core.restore import plan_restore
from reconciler.core.standing import Standing, stand
from reconciler.core.wanted import Wanted, WantedState
from reconciler.core.words import names

MOST_CASES = 4096
"""Sets of hosts that one drill looks at; every single host is always among them."""


@dataclass(frozen=True, slots=True)
class Case:
    """What the loss of `hosts` would mean. `restarted` are (VM, host where it would start), `lost` the wishes of VMs
    that run now and could not run then, `new_master` who would become master ("" where that stays as it is, None where
    nobody could)."""

    hosts: tuple[str, ...]
    restarted: tuple[tuple[str, str], ...]
    lost: tuple[Unmet, ...]
    new_master: str | None = ""
    copy_age: float | None = None
    """Seconds: how old the new master's database copy may be, by XAPI's default of one refresh per 300 s and member."""

    @property
    def survives(self) -> bool:
        """Every VM that runs now would run again, under a master."""
        return not self.lost and self.new_master is not None


@dataclass(frozen=True, slots=True)
class Drill:
    """All cases, single hosts first. `skipped` sets were too many to look at."""

    cases: tuple[Case, ...]
    skipped: int = 0

    @property
    def single_points(self) -> tuple[str, ...]:
        """Hosts whose loss alone would leave something down."""
        return tuple(c.hosts[0] for c in self.cases if len(c.hosts) == 1 and not c.survives)


def drill(wanted: Wanted, survey: Survey, diagnosis: Diagnosis, state: PoolState, *, depth: int = 1) -> Drill:
    """Lose each ready host, and each set of up to `depth` of them, from a managed pool.

    Only the loss is imagined: hosts that are already down stay so, and what cannot run today is not counted as lost.
    """
    stands = stand(wanted, survey, diagnosis, state)
    hosts = [name for name, one in stands.by_member.items() if one.standing in (Standing.READY, Standing.MAINTENANCE)]
    today = {u.target.uuid for u in plan_restore(wanted, survey, diagnosis, state, brake="").draft.unmet}
    where = {
        vm.uuid: one.thing.name
        for ref, one in stands.by_ref.items()
        for vm in state.residents.get(ref, ())
        if vm.is_guest
    }
    sets = [group for size in range(1, max(1, depth) + 1) for group in combinations(sorted(hosts), size)]
    looked = sets[: max(MOST_CASES, len(hosts))]
    cases = tuple(_lose(wanted, survey, diagnosis, state, group, today, where) for group in looked)
    return Drill(cases, len(sets) - len(looked))


def _lose(
    wanted: Wanted,
    survey: Survey,
    diagnosis: Diagnosis,
    state: PoolState,
    lost: Sequence[str],
    today: set[str],
    where: Mapping[str, str],
) -> Case:
    dead = tuple(lost)
    seen = replace(
        survey,
        testimonies=tuple(
            replace(t, login=LoginAnswer.SILENT, tcp=False, bmc=BmcPower.OFF) if t.name in dead else t
            for t in survey.testimonies
        ),
    )
    judged = tuple(
        replace(j, verdict=Verdict.DEAD, why="lost in the drill", certificate=_proof(wanted, j.name, j.address))
        if j.name in dead
        else j
        for j in diagnosis.members
    )
    told = replace(diagnosis, members=judged)
    new_master: str | None = ""
    age = None
    if diagnosis.master in dead:
        new_master = _successor(wanted, seen, dead)
        members = len(wanted.members) - 1
        age = 300.0 * members if members else None
        if new_master is None:
            return Case(dead, (), _all_down(wanted, survey, diagnosis, state), None)
        candidate, gone = wanted.member(new_master), wanted.member(diagnosis.master or "")
        state, seen, told = forecast_pool(wanted, seen, told, state, Regain(Draft(), candidate, gone))
    restore = plan_restore(wanted, seen, told, state, brake="", assume_rejoined=True)
    starts = tuple(
        (a.target.name, a.to.name)
        for a in restore.draft.actions
        if a.verb in (Verb.START, Verb.RESUME) and a.to is not None and where.get(a.target.uuid) in dead
    )
    unmet = tuple(
        u
        for u in restore.draft.unmet
        if u.target.kind == "vm" and u.target.uuid not in today and where.get(u.target.uuid) in dead
    )
    return Case(dead, starts, unmet, new_master, age)


def _proof(wanted: Wanted, name: str, address: str) -> Certificate:
    return Certificate(
        CertificateKind.ATTESTED, wanted.name, name, address, None, "the drill", "imagined", 0.0, float("inf")
    )


def _successor(wanted: Wanted, survey: Survey, dead: Sequence[str]) -> str | None:
    order = [
        *((wanted.master.host, *wanted.master.successors) if wanted.master else ()),
        *(m.name for m in wanted.members),
    ]
    for name in dict.fromkeys(order):
        t = survey.of(name)
        if name not in dead and t is not None and t.answers and t.local_login is not False:
            return name
    return None


def _all_down(wanted: Wanted, survey: Survey, diagnosis: Diagnosis, state: PoolState) -> tuple[Unmet, ...]:
    """With nobody left to be master every declared VM is down."""
    restore = plan_restore(wanted, survey, diagnosis, state, brake="")
    return tuple(
        Unmet(k.target, f"state {WantedState.RUNNING}", "no host is left that could be master", "")
        for k in restore.draft.kept
        if k.target.kind == "vm"
    )


def drill_words(found: Drill) -> str:
    """The result in one sentence."""
    if not found.cases:
        return "no host is ready, so there is nothing to lose"
    bad = [c for c in found.cases if not c.survives]
    if not bad:
        most = max(len(c.hosts) for c in found.cases)
        what = "any one host" if most == 1 else f"any {most} hosts"
        return f"the pool survives the loss of {what}"
    single = found.single_points
    if single:
        return f"the loss of {names(single)}" + (" alone" if len(single) == 1 else ", each alone,") + " leaves VMs down"
    return f"the pool survives the loss of any one host, but not of {names('+'.join(c.hosts) for c in bad)}"
