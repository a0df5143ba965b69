"""From a pool and its wishes to a placement problem, and from the answer to actions: moves, stops and starts.

Only VMs that the manifest names are ever moved or stopped; everything else takes room where it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from reconciler.core.model import Host, PowerState, Ref, Vm
from reconciler.core.moves import immovable
from reconciler.core.place.problem import NOWHERE, Item, Problem, Spot, groups_of
from reconciler.core.place.world import World
from reconciler.core.placement import barred, devices, drives, held, internal_networks, lasting_obstacle, need
from reconciler.core.plan import Verb
from reconciler.core.site import Site
from reconciler.core.standing import Standing
from reconciler.core.wanted import Level, PlacementWish, Priority, VmWish, Wanted, WantedState

_GOING = (Verb.SHUTDOWN, Verb.SUSPEND, Verb.MIGRATE)
_LOST = (Standing.DEAD, Standing.SILENT, Standing.SUSPECT)
SOURCES = (Standing.READY, Standing.DISABLED)
"""Hosts whose VMs are moved for their wishes or for room; those of a host in maintenance are for it to empty."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A VM to start or resume; `home` is the host that it belongs to, `only` the one on which it may be started, for it
    may run there already."""

    vm: Vm
    wish: VmWish
    home: Ref | None
    only: Ref | None = None


@dataclass(frozen=True, slots=True)
class Leaver:
    """A VM that is to leave the host where it runs; `stoppable`: it may be shut down where it can't."""

    vm: Vm
    wish: VmWish
    home: Ref | None
    stoppable: bool = False


@dataclass(frozen=True)
class Framed:
    """A problem with what its indexes mean."""

    problem: Problem
    hosts: tuple[Host, ...]
    vms: tuple[Vm, ...]
    wishes: tuple[VmWish, ...]

    @cached_property
    def index(self) -> Mapping[Ref, int]:
        """The item of each VM."""
        return {vm.ref: number for number, vm in enumerate(self.vms)}


def as_found(vm: Vm) -> Vm:
    """A VM that is to be started, as XAPI finds it then: one recorded as running on a lost host is halted."""
    stale = vm.power_state in (PowerState.RUNNING, PowerState.PAUSED)
    return replace(vm, power_state=PowerState.HALTED) if stale else vm


def frame(
    site: Site, starts: Sequence[Candidate] = (), *, resting: Collection[str] = (), running: bool = True
) -> Framed:
    """The problem of placing `starts`, and every running VM that the manifest names, on the hosts that answer. Without
    `running` these stay where they are, and are no items.

    `resting`: uuids of VMs that are not moved for soft wishes now. What the draft stops or moves already is left out.
    """
    return _Frame(site, frozenset(resting)).framed(starts, running=running)


def frame_leaving(site: Site, source: Ref, leavers: Sequence[Leaver], *, others: bool) -> Framed:
    """The problem of emptying a host: `leavers` go from there to ready hosts, first those that can't be stopped.

    With `others` VMs that run elsewhere may make room for them; what does not please these now is no reason to move
    them, for that was tried before.
    """
    return _Frame(site, emptied=source).leaving(leavers, others=others)


@dataclass
class _Frame:
    site: Site
    resting: frozenset[str] = frozenset()
    emptied: Ref = ""
    """The host that is to be empty: nothing is placed on it."""
    hosts: tuple[Host, ...] = ()
    index: dict[Ref, int] = field(default_factory=dict)
    named: dict[str, int] = field(default_factory=dict)
    unheard: frozenset[Ref] = frozenset()
    """Hosts that nothing is placed on and that may run what is recorded there: not heard, or in maintenance."""
    open: tuple[int, ...] = ()
    shut: frozenset[int] = frozenset()
    """Hosts to which no migration leads."""
    lost: int = 0
    """Hosts that are down or not heard: the reserve is there for them, and soft wishes wait until they are back."""
    _can: dict[tuple[object, ...], frozenset[int]] = field(default_factory=dict)
    _may: dict[tuple[tuple[str, ...], tuple[str, ...]], frozenset[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ready = {h.ref for h in self.site.stands.ready}
        self.hosts = tuple(
            s.host
            for ref, s in self.site.stands.by_ref.items()
            if ref in ready or s.standing in SOURCES or ref == self.emptied
        )
        self.index = {host.ref: number for number, host in enumerate(self.hosts)}
        self.lost = sum(s.standing in _LOST for s in self.site.stands.by_ref.values())
        buried = {a.target.uuid for a in self.site.draft.actions if a.verb is Verb.DECLARE_DEAD}
        self.unheard = frozenset(
            ref
            for ref, s in self.site.stands.by_ref.items()
            if ref not in self.index and s.standing is not Standing.DEAD and s.host.uuid not in buried
        )
        self.named = {name: n for n, host in enumerate(self.hosts) for name in (host.name, host.uuid)}
        self.shut = frozenset(n for n, host in enumerate(self.hosts) if host.ref in self.site.room.closed)
        self.open = tuple(number for number, host in enumerate(self.hosts) if host.ref in ready)

    def framed(self, starts: Sequence[Candidate], *, running: bool) -> Framed:
        starting = {one.vm.ref for one in starts}
        items: list[Item] = []
        vms: list[Vm] = []
        wishes: list[VmWish] = []
        for one in sorted(starts, key=lambda c: (c.vm.name, c.vm.uuid)):
            items.append(self._start(one))
            vms.append(one.vm)
            wishes.append(one.wish)
        for vm, wish in self._runs() if running else ():
            if vm.ref not in starting:
                items.append(self._running(vm, wish))
                vms.append(vm)
                wishes.append(wish)
        return self._framed(items, vms, wishes)

    def leaving(self, leavers: Sequence[Leaver], *, others: bool) -> Framed:
        """See `frame_leaving`."""
        here = self.index[self.emptied]
        pairs = [(self._leaver(one, here), one) for one in sorted(leavers, key=lambda g: (g.vm.name, g.vm.uuid))]
        items = [item for item, _ in pairs]
        vms, wishes = [one.vm for _, one in pairs], [one.wish for _, one in pairs]
        known = {vm.ref for vm in vms}
        for vm, wish in self._runs() if others else ():
            if vm.ref not in known and vm.resident_on != self.emptied:
                items.append(self._running(vm, wish))
                vms.append(vm)
                wishes.append(wish)
        framed = self._framed(items, vms, wishes)
        before = World(framed.problem)
        quiet = tuple(
            item if index < len(pairs) or before.content(index) else replace(item, movable=False, yields=False)
            for index, item in enumerate(framed.problem.items)
        )
        return replace(framed, problem=replace(framed.problem, items=quiet))

    def _runs(self) -> Iterator[tuple[Vm, VmWish]]:
        """Declared VMs that run on a host of the problem, and go on running there so far."""
        going = {a.target.uuid for a in self.site.draft.actions if a.verb in _GOING}
        for ref, wish in self.site.selection.wishes.items():
            vm = self.site.state.vms[ref]
            if vm.uuid in going or vm.resident_on not in self.index:
                continue
            if vm.power_state is PowerState.RUNNING and wish.state in (WantedState.RUNNING, WantedState.AS_IS):
                yield vm, wish

    def _framed(self, items: Sequence[Item], vms: Sequence[Vm], wishes: Sequence[VmWish]) -> Framed:
        stock: dict[Ref, dict[str, int]] = {}
        for (host, what), number in self.site.room.stock.items():
            stock.setdefault(host, {})[what] = number
        spots = tuple(Spot(h.uuid, h.name, self.site.room.free.get(h.ref, 0), stock.get(h.ref, {})) for h in self.hosts)
        problem = Problem(spots, tuple(items), max(0, self.site.wanted.policy.reserve - self.lost), self._others(items))
        return Framed(problem, self.hosts, tuple(vms), tuple(wishes))

    def _others(self, items: Sequence[Item]) -> dict[str, dict[int, int]]:
        """What the room counts beyond the items: VMs that are going elsewhere, and those nobody declared."""
        found: dict[str, dict[int, int]] = {}
        for (group, host), number in self.site.room.groups.items():
            if number > 0 and (host in self.index or host in self.unheard):
                there = found.setdefault(group, {})
                there[self.index.get(host, NOWHERE)] = there.get(self.index.get(host, NOWHERE), 0) + number
        for network, host in self.site.room.networks.items():
            if host in self.index:
                found.setdefault(f"tie:{network}", {})[self.index[host]] = 1
        for item in items:
            if item.here is None:
                continue
            for group in groups_of(item):
                counts = found.get(group, {})
                if group.startswith("tie:"):
                    counts.pop(item.here, None)
                elif item.here in counts:
                    counts[item.here] -= 1
        return {group: {h: n for h, n in counts.items() if n} for group, counts in found.items()}

    # --- items ----------------------------------------------------------------------------------------------------

    def _start(self, one: Candidate) -> Item:
        vm, wish = one.vm, one.wish
        item = self._item(as_found(vm), wish)
        can = item.can if one.only is None else item.can & {self.index.get(one.only, -1)}
        return replace(item, home=self.index.get(one.home or ""), can=can)

    def _leaver(self, one: Leaver, here: int) -> Item:
        """One that must leave; who may be stopped comes last, the least important of these at the very end."""
        item = self._item(one.vm, one.wish)
        return replace(
            item,
            priority=int(one.wish.priority) if one.stoppable else int(Priority.CRITICAL) + 1,
            order=0,
            here=here,
            held=held(one.vm),
            can=item.can & item.may - {here} - self.shut,
            may=item.may - {here},
            movable=True,
            home=self.index.get(one.home or ""),
        )

    def _running(self, vm: Vm, wish: VmWish) -> Item:
        here = self.index[vm.resident_on or ""]
        item = self._item(vm, wish)
        if self.shut:
            item = replace(item, can=item.can - self.shut)
        allowed = wish.max_level is None or wish.max_level >= Level.MOVE
        movable = allowed and not immovable(vm) and self.hosts[here].live and (not item.ties or bool(item.can - {here}))
        declared = self.site.stands.by_member.get(wish.home or "")
        policy = self.site.wanted.policy
        yields = movable and wish.state is WantedState.RUNNING and not item.ties
        return replace(
            item,
            here=here,
            held=held(vm),
            can=item.can | {here},
            movable=movable,
            yields=yields,
            eager=movable and policy.rebalance and not self.lost and vm.uuid not in self.resting,
            home=self.index.get(declared.host.ref) if declared else None,
            shed=yields_to_shed(vm, wish, self.site.wanted) and not self._awaited(wish),
            restart=wish.state is WantedState.RUNNING,
        )

    def _awaited(self, wish: VmWish) -> bool:
        """Another of its `together` group is to start, and goes where it is: shut down, it would leave that one apart
        from the rest of the group."""
        group, vms = wish.placement.together, self.site.state.vms
        return group is not None and any(
            other.placement.together == group
            and other.state is WantedState.RUNNING
            and vms[ref].power_state in (PowerState.HALTED, PowerState.SUSPENDED)
            for ref, other in self.site.selection.wishes.items()
        )

    def _item(self, vm: Vm, wish: VmWish) -> Item:
        placement = wish.placement
        return Item(
            key=vm.uuid,
            name=vm.name,
            need=need(vm),
            priority=int(wish.priority),
            order=vm.order,
            can=self._hosts_of(vm),
            may=self._allowed(placement),
            prefer=self._indexes(placement.prefer),
            spread=placement.spread or "",
            together=placement.together or "",
            apart=placement.apart or "",
            ties=tuple(internal_networks(vm, self.site.state)),
            takes=tuple(sorted(devices(vm, self.site.state).items())),
        )

    def _hosts_of(self, vm: Vm) -> frozenset[int]:
        """Open hosts on which XAPI lets it run, memory apart; VMs with the same needs share the set."""
        state = self.site.state
        key = (
            frozenset(d.sr for d in drives(vm, state)),
            frozenset(state.vifs[v].network for v in vm.vifs if v in state.vifs),
            tuple((v.group, v.type) for v in state.devices.vgpus_of.get(vm.ref, ())),
            tuple(usb.host for usb in state.devices.usbs_of.get(vm.ref, ())),
            vm.needs_hvm,
            vm.vcpus,
            None if vm.power_state is PowerState.HALTED else tuple(sorted(vm.boot_cpu.items())),
        )
        if key not in self._can:
            self._can[key] = frozenset(n for n in self.open if not lasting_obstacle(vm, self.hosts[n], state))
        return self._can[key]

    def _allowed(self, placement: PlacementWish) -> frozenset[int]:
        key = (placement.require, placement.avoid)
        if key not in self._may:
            self._may[key] = frozenset(n for n, host in enumerate(self.hosts) if not barred(host, placement))
        return self._may[key]

    def _indexes(self, wished: Sequence[str]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(self.named[name] for name in wished if name in self.named))


def yields_to_shed(vm: Vm, wish: VmWish, wanted: Wanted) -> bool:
    """The policy lets it be shut down for a more important one, and nothing about it forbids that."""
    limit = wanted.policy.shed
    return (
        limit is not None
        and wish.priority <= limit
        and wish.state is WantedState.RUNNING
        and (wish.max_level is None or wish.max_level >= Level.POWER)
        and not vm.current_operations
        and not vm.unstoppable
        and not {"clean_shutdown", "shutdown"} & set(vm.blocked_operations)
    )
