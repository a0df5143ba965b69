"""From the solver's answer to actions, in an order that is feasible whatever goes first: what needs room that another
action gives back follows that action, and what must not meet another VM follows that one's move."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reconciler.core.model import Host, PowerState, Ref, Vm
from reconciler.core.moves import migration
from reconciler.core.place.problem import Cause, Move, groups_of
from reconciler.core.place.solve import Solution
from reconciler.core.placement import Room, barred, need, used_up
from reconciler.core.placing import Framed
from reconciler.core.plan import Action, Thing, Unmet, Verb
from reconciler.core.site import Site
from reconciler.core.standing import Stands
from reconciler.core.wanted import VmWish
from reconciler.core.words import names

Follows = Mapping[Ref, tuple[str, ...]]


@dataclass
class Carrier:
    """Turns one solution into actions of a draft; `before` are the ids that the start of a VM follows, and so does what
    makes room for it: nobody moves or stops for a start that can't be tried."""

    framed: Framed
    solution: Solution
    site: Site
    before: Follows
    _last: dict[int, str] = field(default_factory=dict)
    _by_group: dict[str, list[str]] = field(default_factory=dict)
    _waiting: dict[int, list[str]] = field(default_factory=dict)

    def make_room(self) -> None:
        """What is shed, and the moves for hard wishes and for room."""
        answer = self.solution.answer
        for gone in answer.shed:
            self._shed(gone.item, gone.beneficiary)
        for move in answer.moves:
            self._migrate(move)

    def start(self, make: Callable[[Vm, Host, tuple[str, ...]], Action]) -> dict[Ref, Action]:
        """A start for each VM that the answer places; `make` gives it for a VM, its host and what it follows."""
        made = {}
        for index, host in self.solution.answer.starts:
            vm, wish, spot = self.framed.vms[index], self.framed.wishes[index], self.framed.hosts[host]
            waits = (*self.site.room.waits_for(vm, spot.ref), *self._mates(index))
            action = make(vm, spot, waits)
            self.site.room.take(vm, spot.ref, wish.placement)
            made[vm.ref] = action
            self._serve(index, action.id)
        return made

    def rebalance(self) -> None:
        """The moves for soft wishes, after everything else."""
        for move in self.solution.balance:
            self._migrate(move)

    # --- one action -----------------------------------------------------------------------------------------------

    def _shed(self, index: int, beneficiary: int) -> None:
        stands, room, draft = self.site.stands, self.site.room, self.site.draft
        vm, wish = self.framed.vms[index], self.framed.wishes[index]
        one, other = stands.by_ref[vm.resident_on or ""], self.framed.vms[beneficiary]
        for_wish = self.framed.wishes[beneficiary]
        thing = Thing("vm", vm.name, vm.uuid)
        action = Action(
            Verb.SHUTDOWN,
            thing,
            f"{other.name} ({for_wish.priority.name.lower()}) has no room anywhere, and policy.placement.shed lets VMs "
            f"of priority {wish.priority.name.lower()} go for it",
            before=f"Running on {one.thing.name}",
            after=str(PowerState.HALTED),
            follows=self.before.get(other.ref, ()),
            source=one.thing,
        )
        draft.actions.append(action)
        draft.given_up[action.id] = Unmet(
            thing,
            f"state {wish.state}",
            f"it is shut down so that {other.name} can start, and nothing else has room for it",
            "bring a host back, or stop something; then it is started again",
            str(wish.place or ""),
        )
        draft.unkeep(thing)
        room.vacate(vm, one.host.ref, wish.placement, action.id)
        self._done(index, action.id, beneficiary)

    def _migrate(self, move: Move) -> None:
        stands, room, draft = self.site.stands, self.site.room, self.site.draft
        vm, wish = self.framed.vms[move.item], self.framed.wishes[move.item]
        source = stands.by_ref[self.framed.hosts[move.source].ref]
        target = stands.by_ref[self.framed.hosts[move.target].ref]
        follows = [*room.waits_for(vm, target.host.ref), *self._mates(move.item), *self.before.get(vm.ref, ())]
        if move.item in self._last:
            follows.append(self._last[move.item])
        if move.beneficiary is not None:
            follows += self.before.get(self.framed.vms[move.beneficiary].ref, ())
        action = migration(vm, source, target, self._why(move), follows=follows)
        draft.actions.append(action)
        draft.unkeep(action.target)
        room.take(vm, target.host.ref, wish.placement)
        room.vacate(vm, source.host.ref, wish.placement, action.id)
        self._last[move.item] = action.id
        self._done(move.item, action.id, move.beneficiary)

    def _mates(self, index: int) -> list[str]:
        """Moves and stops of VMs of its hard groups that come before it."""
        hard = [g for g in groups_of(self.framed.problem.items[index]) if not g.startswith("spread:")]
        return [action for group in hard for action in self._by_group.get(group, ())]

    def _done(self, index: int, action: str, beneficiary: int | None) -> None:
        for group in groups_of(self.framed.problem.items[index]):
            self._by_group.setdefault(group, []).append(action)
        if beneficiary is not None:
            self._waiting.setdefault(beneficiary, []).append(action)

    def _serve(self, index: int, start: str) -> None:
        """The start follows what makes room for it, and what makes room is for nothing without the start."""
        for action in self._waiting.get(index, ()):
            self.site.draft.serves[action] = start

    # --- words ----------------------------------------------------------------------------------------------------

    def _why(self, move: Move) -> str:
        """Why a VM is moved, and why there."""
        item, host = self.framed.problem.items[move.item], self.framed.hosts[move.target]
        wish, here = self.framed.wishes[move.item], self.framed.hosts[move.source]
        if move.cause is Cause.ROOM and move.beneficiary is not None:
            other = self.framed.vms[move.beneficiary].name
            return f"it makes room on {self._name(here)} for {other}; {self._name(host)} has room for it"
        if move.cause is Cause.REBALANCE:
            if item.home == move.target:
                return f"{self._name(host)} is its home, and policy.placement.rebalance is on"
            if move.target in item.prefer and (item.taste(move.target) < item.taste(move.source)):
                return f"it prefers {self._name(host)}, and policy.placement.rebalance is on"
            if item.spread and move.target in item.can & item.may:
                return f"{self._name(host)} has fewer of group {item.spread}, and policy.placement.rebalance is on"
            return f"on its way: {self._name(here)} is needed for another, and policy.placement.rebalance is on"
        if reason := barred(here, wish.placement):
            onward = "" if move.target in item.may else f"; {self._name(host)} is on its way"
            return f"{self._name(here)} {reason}{onward}"
        if item.together:
            return f"the group {item.together} comes together on {self._name(host)}"
        return f"another VM of {item.apart} runs on {self._name(here)}, and they must be apart"

    def _name(self, host: Host) -> str:
        return self.site.stands.by_ref[host.ref].thing.name


def choice_words(framed: Framed, vm: Vm, host: Host, room: Room) -> str:
    """Why this host: as people would say it, with what is true of it at this moment of the plan."""
    index = framed.index[vm.ref]
    item, chosen = framed.problem.items[index], framed.hosts.index(host)
    if item.home == chosen:
        return "its home"
    if chosen in item.prefer:
        return "preferred for it"
    if item.spread:
        return f"fewest of group {item.spread}, then most free memory"
    groups = room.groups
    if item.together and groups.get((f"together:{item.together}", host.ref)):
        return f"where the group {item.together} runs"
    free = {n: room.free.get(framed.hosts[n].ref, 0) for n in framed.problem.open_to[index]}
    beside = {n for n in free if groups.get((f"apart:{item.apart}", framed.hosts[n].ref))}
    fit = [n for n, bytes_ in free.items() if bytes_ >= need(vm) and n not in beside]
    if item.takes:
        fit = [n for n in fit if not used_up(vm, framed.hosts[n], room)]
    if len(fit) <= 1:
        return "the only host that can run it"
    if free[chosen] == max(free[n] for n in fit):
        return "most free memory"
    return "so that the others keep their room together"


def trouble(framed: Framed, index: int, stands: Stands, wish: VmWish) -> str:
    """Which hard wish of a running VM does not hold."""
    vm, item = framed.vms[index], framed.problem.items[index]
    here = stands.by_ref[vm.resident_on or ""]
    if reason := barred(here.host, wish.placement):
        return f"{here.thing.name} {reason}"
    others = [
        (framed.vms[i].name, stands.by_ref[framed.vms[i].resident_on or ""].thing.name)
        for i in (framed.problem.groups.get(f"together:{item.together}", ()) if item.together else ())
        if i != index and framed.vms[i].resident_on not in (None, vm.resident_on)
    ]
    if others:
        told = names(f"{name} on {host}" for name, host in others)
        return f"it runs on {here.thing.name}, and of its group {item.together} {told}"
    beside = [
        framed.vms[i].name
        for i in framed.problem.groups.get(f"apart:{item.apart}", ())
        if i != index and framed.vms[i].resident_on == vm.resident_on
    ]
    return f"{names(beside)} runs on {here.thing.name}, too, and must be apart from it"
