"""Wishes of a pool's VMs that can't all be met, with where they are written."""

from __future__ import annotations

from reconciler.core.conflict import Clause, Kind, about, conflict
from reconciler.core.model import Vm
from reconciler.core.moves import immovable
from reconciler.core.placement import Room, bound_by, lasting_obstacle, listed, unreached
from reconciler.core.placing import Framed, as_found
from reconciler.core.standing import Stands
from reconciler.core.wanted import PlacementWish
from reconciler.core.words import names


class Clashes:
    """The hard wishes of every VM of a problem, for asking why one of them can't be met."""

    def __init__(self, framed: Framed, stands: Stands, room: Room) -> None:
        self.framed, self.stands, self.room = framed, stands, room
        self.remedies: dict[str, str] = {}
        """What would help a VM more than changing a wish, by uuid."""
        ready = {h.ref for h in stands.ready}
        self.open = frozenset(n for n, host in enumerate(framed.hosts) if host.ref in ready)
        self.hosts = frozenset(self._name(n) for n in self.open)
        self.clauses = [clause for index in range(len(framed.vms)) for clause in self._clauses(index)]

    def why(self, index: int) -> str:
        """The smallest set of wishes that keeps a VM's own from being met, wherever memory is free; "" for none."""
        if self.framed.problem.items[index].here not in (None, *self.open):
            return ""
        found = conflict(self.hosts, about(self.framed.vms[index].uuid, self.clauses))
        if not found or (len(found) == 1 and not found[0].place):
            return ""
        missing = sorted(one.thing.name for one in self.stands.by_member.values() if one.thing.name not in self.hosts)
        ready = f" while only {names(sorted(self.hosts))} can take VMs" if missing and self.hosts else ""
        return f"these can't all be met{ready}: {'; '.join(str(clause) for clause in found)}"

    def remedy(self, index: int) -> str:
        """What to do about it."""
        uuid = self.framed.vms[index].uuid
        return self.remedies.get(uuid, "change one of them in the manifest, or bring a host back")

    def _name(self, host: int) -> str:
        return self.stands.by_ref[self.framed.hosts[host].ref].thing.name

    def _clauses(self, index: int) -> list[Clause]:
        vm, wish, item = self.framed.vms[index], self.framed.wishes[index], self.framed.problem.items[index]
        placement, place = wish.placement, str(wish.place or "")
        if not _hard(placement):
            return []
        found = []
        if item.here is not None and not item.movable:
            why = immovable(vm) or "may not be moved"
            if not immovable(vm) and (network := bound_by(vm, self.room.state)):
                why = f"uses the internal network {network}, off which XAPI moves no running VM"
            stays = f"{vm.name} {why}"
            found.append(Clause(vm.uuid, Kind.HOSTS, stays, frozenset({self._name(item.here)} & self.hosts)))
        elif not item.can >= self.open:
            can = frozenset(self._name(n) for n in item.can & self.open)
            found.append(
                Clause(vm.uuid, Kind.HOSTS, self._only(vm if item.here is not None else as_found(vm), can), can)
            )
        if placement.require:
            words = f"require [{', '.join(placement.require)}] of {vm.name}"
            found.append(Clause(vm.uuid, Kind.HOSTS, words, self._named(placement.require), place=place))
        if placement.avoid:
            words = f"avoid [{', '.join(placement.avoid)}] of {vm.name}"
            found.append(Clause(vm.uuid, Kind.HOSTS, words, self.hosts - self._named(placement.avoid), place=place))
        for kind, group in ((Kind.TOGETHER, placement.together), (Kind.APART, placement.apart)):
            if group:
                found.append(Clause(vm.uuid, kind, f"{kind} {group} of {vm.name}", group=group, place=place))
        return found

    def _only(self, vm: Vm, can: frozenset[str]) -> str:
        """Which hosts can run it whatever anybody wishes, and what the others lack."""
        lacking: dict[str, list[str]] = {}
        for number in sorted(self.open):
            if self._name(number) not in can:
                host = self.framed.hosts[number]
                reason = lasting_obstacle(vm, host, self.room.state) or unreached(vm, host, self.room)
                lacking.setdefault(reason, []).append(self._name(number))
        told = "; ".join(
            f"{hosts[0]} {reason}" + (f"; the same of {names(hosts[1:])}" if hosts[1:] else "")
            for reason, hosts in lacking.items()
        )
        if all(", where the CD " in reason for reason in lacking):
            self.remedies[vm.uuid] = f"xe vm-cd-eject uuid={vm.uuid}"
        return f"only {names(sorted(can))} can run {vm.name} ({told})" if can else f"no host can run {vm.name} ({told})"

    def _named(self, wished: tuple[str, ...]) -> frozenset[str]:
        return frozenset(self._name(n) for n in self.open if listed(self.framed.hosts[n], wished))


def _hard(placement: PlacementWish) -> bool:
    return bool(placement.require or placement.avoid or placement.together or placement.apart)
