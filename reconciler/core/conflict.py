"""The smallest set of placement wishes that contradict each other. Pure; memory plays no part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from math import comb

_MOST_SETS = 4000
"""Sets of wishes that are tried for being smaller than the first one found."""


class Kind(StrEnum):
    """What a wish says."""

    HOSTS = "hosts"
    TOGETHER = "together"
    APART = "apart"


@dataclass(frozen=True, slots=True)
class Clause:
    """One wish, or one fact, about one VM: it runs on one of `hosts`, or it is of a group. `words` are for people,
    `place` is where it is written, "" for a fact."""

    vm: str
    kind: Kind
    words: str
    hosts: frozenset[str] = frozenset()
    group: str = ""
    place: str = ""

    def __str__(self) -> str:
        return f"{self.words} ({self.place})" if self.place else self.words


def conflict(hosts: frozenset[str], clauses: Sequence[Clause]) -> tuple[Clause, ...]:
    """Wishes that can't all be met on these hosts, so that any one less could be; () where all can.

    Each group of VMs that must be apart is judged by itself; what only several such groups make impossible together is
    not found.
    """
    if _possible(hosts, clauses):
        return ()
    core: list[Clause] = []
    rest = list(clauses)
    while _possible(hosts, core):
        least, most = 0, len(rest)
        while least < most:  # the shortest beginning of the rest that makes it impossible
            middle = (least + most) // 2
            if _possible(hosts, [*core, *rest[:middle]]):
                least = middle + 1
            else:
                most = middle
        core.append(rest[least - 1])
        rest = rest[: least - 1]
    for number in range(1, len(core)):
        if comb(len(clauses), number) > _MOST_SETS:
            break
        for smaller in combinations(clauses, number):
            if not _possible(hosts, smaller):
                return smaller
    return tuple(clause for clause in clauses if clause in core)


def about(vm: str, clauses: Sequence[Clause]) -> tuple[Clause, ...]:
    """The wishes that can have to do with one VM: its own, and those of all that its groups lead to."""
    of_vm: dict[str, list[Clause]] = {}
    of_group: dict[tuple[Kind, str], list[Clause]] = {}
    for clause in clauses:
        of_vm.setdefault(clause.vm, []).append(clause)
        if clause.group:
            of_group.setdefault((clause.kind, clause.group), []).append(clause)
    seen, waiting = {vm}, [vm]
    while waiting:
        for clause in of_vm.get(waiting.pop(), ()):
            for other in of_group.get((clause.kind, clause.group), ()):
                if other.vm not in seen:
                    seen.add(other.vm)
                    waiting.append(other.vm)
    return tuple(clause for clause in clauses if clause.vm in seen)


def _possible(hosts: frozenset[str], clauses: Sequence[Clause]) -> bool:
    """All of these can be met at once, as far as `conflict` judges that."""
    leader: dict[str, str] = {}  # VM -> one of those that must be where it is

    def find(vm: str) -> str:
        while (above := leader.setdefault(vm, vm)) != vm:
            leader[vm] = vm = leader[above]
        return vm

    first: dict[str, str] = {}
    for clause in clauses:
        if clause.kind is Kind.TOGETHER:
            leader[find(clause.vm)] = find(first.setdefault(clause.group, clause.vm))
    domains: dict[str, frozenset[str]] = {}
    for clause in clauses:
        one = find(clause.vm)
        allowed = clause.hosts if clause.kind is Kind.HOSTS else hosts
        domains[one] = domains.get(one, hosts) & allowed
    if not all(domains.values()):
        return False
    apart: dict[str, list[str]] = {}
    for clause in clauses:
        if clause.kind is Kind.APART:
            apart.setdefault(clause.group, []).append(find(clause.vm))
    return all(len(set(found)) == len(found) and _each_its_own(found, domains) for found in apart.values())


def _each_its_own(vms: Sequence[str], domains: Mapping[str, frozenset[str]]) -> bool:
    """Every one can have a host that no other has (augmenting paths)."""
    taken: dict[str, str] = {}

    def give(vm: str, tried: set[str]) -> bool:
        for host in sorted(domains[vm] - tried):
            tried.add(host)
            if host not in taken or give(taken[host], tried):
                taken[host] = vm
                return True
        return False

    return all(len(taken) < len(vms) and give(vm, set()) for vm in vms)
