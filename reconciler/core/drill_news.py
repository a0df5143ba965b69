"""What a drill found that an earlier one did not: single points of failure that are new, known, or solved. Pure.

A finding is remembered until a later drill of the same hosts no longer finds it. It is news until a person
acknowledges it; that it is solved is told once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from reconciler.core.drill_cases import Case, Drill, Kind
from reconciler.core.words import count, names


@dataclass(frozen=True, slots=True)
class Finding:
    """What the loss of `hosts` (joined by "+") would leave down. `what` tells findings of the same hosts apart: a VM's
    uuid, "room" for all VMs that would find none, "master", or "set" for whatever a set of hosts adds to its parts.
    `since` in UTC seconds; `acknowledged_by` names who took note of it, None while it is news."""

    hosts: str
    what: str
    words: str
    since: float
    acknowledged_by: str | None = None


@dataclass(frozen=True, slots=True)
class News:
    """`fresh` were found for the first time, `open` earlier and nobody acknowledged them yet, `known` are acknowledged,
    `solved` were remembered and are gone. `held` were not looked at this time, for their hosts are down."""

    fresh: tuple[Finding, ...] = ()
    open: tuple[Finding, ...] = ()
    known: tuple[Finding, ...] = ()
    solved: tuple[Finding, ...] = ()
    held: tuple[Finding, ...] = ()

    @property
    def remembered(self) -> tuple[Finding, ...]:
        """What the next drill is to be compared with."""
        found = (*self.fresh, *self.open, *self.known, *self.held)
        return tuple(sorted(found, key=lambda f: (f.hosts.count("+"), f.hosts, f.what)))


def findings(found: Drill, *, now: float) -> tuple[Finding, ...]:
    """What a drill found, in the order of its cases."""
    return tuple(finding for case in found.cases for finding in _of(case, now))


def _of(case: Case, now: float) -> Iterable[Finding]:
    hosts = "+".join(case.hosts)
    if case.new_master is None:
        yield Finding(hosts, "master", "nobody is left who could be master, so nothing restarts", now)
        return
    if len(case.hosts) > 1:
        if case.lost:
            told = names((loss.vm.name for loss in case.lost), 3)
            yield Finding(hosts, "set", f"{told} would stay down, which either loss alone is survived by", now)
        return
    for loss in case.lost:
        if loss.kind is not Kind.ROOM:
            yield Finding(hosts, loss.vm.uuid, f"{loss.vm.name} would stay down: {loss.why}", now)
    if roomless := [loss for loss in case.lost if loss.kind is Kind.ROOM]:
        told = names((loss.vm.name for loss in roomless), 3)
        yield Finding(hosts, "room", f"{count(len(roomless), 'VM')} would find no room on the others: {told}", now)


def news(found: Drill, known: Sequence[Finding], members: Iterable[str], *, now: float) -> News:
    """Compare a drill with what earlier ones found. What is about hosts that are no longer `members` is dropped."""
    before = {(f.hosts, f.what): f for f in known}
    looked = {"+".join(case.hosts) for case in found.cases}
    fresh: list[Finding] = []
    still: list[Finding] = []
    acknowledged: list[Finding] = []
    for finding in findings(found, now=now):
        old = before.pop((finding.hosts, finding.what), None)
        if old is None:
            fresh.append(finding)
            continue
        kept = replace(finding, since=old.since, acknowledged_by=old.acknowledged_by)
        (still if kept.acknowledged_by is None else acknowledged).append(kept)
    declared = set(members)
    rest = [f for f in before.values() if declared.issuperset(f.hosts.split("+"))]
    return News(
        tuple(fresh),
        tuple(still),
        tuple(acknowledged),
        solved=tuple(f for f in rest if f.hosts in looked),
        held=tuple(f for f in rest if f.hosts not in looked),
    )


def acknowledge(told: News, by: str) -> News:
    """A person takes note of everything that is news."""
    taken = tuple(replace(f, acknowledged_by=by) for f in (*told.fresh, *told.open))
    return replace(told, fresh=(), open=(), known=(*told.known, *taken))
