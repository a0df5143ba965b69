"""What the checker's replay believes as it goes: the pool, the survey, and what the steps so far made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from reconciler.core.evidence import LoginAnswer, Survey, Testimony
from reconciler.core.model import Host, PoolState, PowerState, Ref, Vm
from reconciler.core.plan import Action
from reconciler.core.wanted import Level, MemberState, SelectorKind, VmWish, Wanted

ALIVE = (LoginAnswer.MASTER, LoginAnswer.SLAVE, LoginAnswer.EMERGENCY, LoginAnswer.REJECTED)


@dataclass
class World:
    """What the replay believes as it goes: where each VM runs, what each host carries, who is proved dead."""

    wanted: Wanted
    survey: Survey
    state: PoolState | None
    proved: set[str]
    limit: Level
    realms: Mapping[str, PoolState] = field(default_factory=dict)
    yields: frozenset[str] = frozenset()
    attested: frozenset[str] = frozenset()
    """Of the proved ones, those for whose death a person vouches."""
    struck: set[str] = field(default_factory=set)
    where: dict[Ref, Ref | None] = field(default_factory=dict)
    power: dict[Ref, PowerState] = field(default_factory=dict)
    load: dict[Ref, int] = field(default_factory=dict)
    enabled: dict[str, bool] = field(default_factory=dict)
    """Host uuid -> whether it is enabled, as the steps before leave it."""
    master: str = ""
    """Uuid of the master, as the steps before leave it."""
    promised: dict[Ref, Ref] = field(default_factory=dict)
    """VM -> the host that keeps room for it: somebody began its start there already."""
    moved: set[Ref] = field(default_factory=set)
    """VMs that a step brought to a host."""
    _wishes: dict[Ref, VmWish | None] = field(default_factory=dict)
    _exact: dict[tuple[SelectorKind, str], VmWish] = field(default_factory=dict)
    _loose: list[VmWish] = field(default_factory=list)

    later: tuple[Action, ...] = ()
    """Actions of the same stage that come after the one that is judged."""

    def wish(self, vm: Vm) -> VmWish | None:
        """The entry that means a VM."""
        if vm.ref not in self._wishes:
            self._wishes[vm.ref] = self._most_exact(vm)
        return self._wishes[vm.ref]

    def _most_exact(self, vm: Vm) -> VmWish | None:
        """By uuid, by name, by pattern, by tag: the first of the first kind that has one."""
        exact = self._exact.get((SelectorKind.UUID, vm.uuid)) or self._exact.get((SelectorKind.NAME, vm.name))
        return exact or next((w for w in self._loose if means(w, vm)), None)

    def __post_init__(self) -> None:
        for wish in self.wanted.vms:
            self._exact.setdefault((wish.kind, wish.value), wish)
        self._loose = [w for w in self.wanted.vms if w.kind is SelectorKind.PATTERN]
        self._loose += [w for w in self.wanted.vms if w.kind is SelectorKind.TAG]
        if self.state is None:
            return
        self.enabled = {h.uuid: h.enabled for h in self.state.hosts.values()}
        self.master = next((h.uuid for r, h in self.state.hosts.items() if r == self.state.pool.master), "")
        for vm in self.state.vms.values():
            self.where[vm.ref], self.power[vm.ref] = vm.resident_on, vm.power_state
            if vm.scheduled_on is not None and vm.scheduled_on != vm.resident_on:
                self.promised[vm.ref] = vm.scheduled_on
            for place in {vm.resident_on, vm.scheduled_on} - {None}:
                self.load[place or ""] = self.load.get(place or "", 0) + vm.memory_dynamic_min + vm.memory_overhead

    def testimony(self, name: str) -> Testimony | None:
        """What was heard of a member."""
        return next((t for t in self.survey.testimonies if t.name == name), None)

    def member_name(self, host: Host) -> str | None:
        """The declared name of a host record, by name, uuid or address."""
        for member in self.wanted.members:
            if member.name in (host.name, host.uuid):
                return member.name
        for member in self.wanted.members:
            if member.address == host.address or member.address.rsplit(":", 1)[0] == host.address:
                return member.name
        return None

    def answers(self, host: Host) -> bool:
        """It is a member, and XAPI answered there, as whatever."""
        name = self.member_name(host)
        t = self.testimony(name) if name else None
        return t is not None and t.login in ALIVE

    def braked(self) -> bool:
        """Too few members answer, those left out that are silent in maintenance or that a person attests as dead."""
        out = self.attested.union(m.name for m in self.wanted.members if m.state == "maintenance")
        counted = [t.login in ALIVE for t in self.survey.testimonies if t.login in ALIVE or t.name not in out]
        return not any(counted) or sum(counted) < self.wanted.policy.brake.min_healthy * len(counted)


def resting(host: Host, world: World) -> bool:
    """The manifest declares it in maintenance."""
    name = world.member_name(host)
    return any(m.name == name and m.state is MemberState.MAINTENANCE for m in world.wanted.members)


def means(wish: VmWish, vm: Vm) -> bool:
    """The entry's text selects the VM."""
    if wish.kind is SelectorKind.PATTERN:
        return fnmatchcase(vm.name, wish.value)
    if wish.kind is SelectorKind.TAG:
        return wish.value in vm.tags
    return wish.value == (vm.uuid if wish.kind is SelectorKind.UUID else vm.name)
