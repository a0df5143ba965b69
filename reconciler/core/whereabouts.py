"""Which host each VM gets, and the moves for that: the planner's side of the solver, with its reasons in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.core.carry import Carrier, choice_words, trouble
from reconciler.core.clash import Clashes
from reconciler.core.model import Host, PoolState, Ref, Vm
from reconciler.core.moves import immovable
from reconciler.core.place.greedy import Greedy
from reconciler.core.place.problem import Answer
from reconciler.core.place.reserve import Loss
from reconciler.core.place.solve import Solution, solve
from reconciler.core.placement import barred, bound_by, drives, lasting_obstacle, need, obstacle, unreached
from reconciler.core.placing import Candidate, Framed, as_found, frame
from reconciler.core.plan import Action, Thing, Unmet
from reconciler.core.site import Site
from reconciler.core.standing import Stands
from reconciler.core.storage import hosts_of, unreachable_words
from reconciler.core.wanted import Level, VmWish
from reconciler.core.words import count, names, size

Make = Callable[[Vm, Host, str, tuple[str, ...]], Action]


@dataclass
class Places:
    """One run of the solver for a draft: `place` first, `balance` when the starts are in the draft."""

    site: Site
    before: Mapping[Ref, tuple[str, ...]]
    resting: frozenset[str] = frozenset()
    settle: bool = True
    """Look at what runs, too; else only where a start finds no room."""
    _carrier: Carrier | None = field(default=None, init=False)

    def place(self, starts: Sequence[Candidate], make: Make) -> dict[Ref, Action]:
        """The starts that have a host, with what makes room for them; who has none, and whose hard wishes can't be met,
        is told in the draft."""
        framed, solution = self._solved(starts)
        self._carrier = Carrier(framed, solution, self.site, self.before)
        self._carrier.make_room()
        made = self._carrier.start(
            lambda vm, host, waits: make(vm, host, choice_words(framed, vm, host, self.site.room), waits)
        )
        self._tell(framed, solution, {one.vm.ref: one.only for one in starts})
        return made

    def _solved(self, starts: Sequence[Candidate]) -> tuple[Framed, Solution]:
        if not self.settle:
            framed = frame(self.site, starts, running=False)
            answer = Greedy(framed.problem).answer()
            if not any(framed.problem.open_to[i] for i in answer.unplaced):  # no move makes room for any of these
                return framed, Solution(answer)
        framed = frame(self.site, starts, resting=self.resting)
        return framed, solve(framed.problem, self.site.solver)

    def balance(self) -> None:
        """The moves for soft wishes."""
        if self._carrier is not None:
            self._carrier.rebalance()

    # --- what can't be had ----------------------------------------------------------------------------------------

    def _tell(self, framed: Framed, solution: Solution, only: Mapping[Ref, Ref | None]) -> None:
        failing = solution.answer.unplaced or solution.answer.unmet
        clashes = Clashes(framed, self.site.stands, self.site.room) if failing else None
        for index in solution.answer.unplaced:
            vm, wish = framed.vms[index], framed.wishes[index]
            hosts = [h for h in self.site.stands.ready if only[vm.ref] in (None, h.ref)]
            halted = as_found(vm)
            told = [(h.name, reason) for h in hosts if (reason := obstacle(halted, h, self.site.room, wish.placement))]
            thing = Thing("vm", vm.name, vm.uuid)
            if clashes is not None and (why := clashes.why(index)):
                self.site.draft.unmet.append(
                    Unmet(thing, "state running", why, clashes.remedy(index), str(wish.place or ""))
                )
                continue
            self.site.draft.unmet.append(no_host(vm, wish, thing, sorted(told), self.site.stands, self.site.state))
        for index in sorted(solution.answer.unmet):
            self.site.draft.unmet.append(self._unsettled(framed, index, clashes))
        if note := bound_words(solution.answer, asked=self.site.solver is not None):
            self.site.draft.notes.append(note)
        if solution.loss is not None:
            self.site.draft.unmet.append(self._uncovered(framed, solution.loss))

    def _uncovered(self, framed: Framed, loss: Loss) -> Unmet:
        """What the declared reserve does not cover: which loss would leave what down."""
        lost = names(self.site.stands.by_ref[framed.hosts[h].ref].thing.name for h in loss.hosts)
        down = names((framed.vms[i].name for i in loss.down), most=5)
        needed = size(sum(framed.problem.items[i].need for i in loss.down))
        policy = self.site.wanted.policy
        return Unmet(
            Thing("pool", self.site.state.pool.name, self.site.state.pool.uuid),
            f"reserve {policy.reserve}",
            f"if {lost} {'was' if len(loss.hosts) == 1 else 'were'} lost, {down} ({needed}) would find no room",
            f"stop something, add memory or a host, or lower policy.placement.reserve; to see every case: xenrec drill "
            f"{self.site.wanted.argument}",
            str(policy.reserve_place or ""),
        )

    def _unsettled(self, framed: Framed, index: int, clashes: Clashes | None) -> Unmet:
        """A running VM whose hard wish can't be met: what is wrong, and why no move mends it."""
        vm, wish = framed.vms[index], framed.wishes[index]
        wrong = trouble(framed, index, self.site.stands, wish)
        remedy = "change its placement, stop something, or bring a host back"
        others = [h for h in self.site.stands.ready if h.ref != vm.resident_on]
        told = [f"{h.name} {reason}" for h in others if (reason := self._bar(vm, h, wish))]
        if clashes is not None and (clash := clashes.why(index)):
            thing, place = Thing("vm", vm.name, vm.uuid), str(wish.place or "")
            return Unmet(thing, "placement", f"{wrong}; {clash}", clashes.remedy(index), place)
        if reason := immovable(vm):
            why, remedy = f"it {reason}", "mend that, or change its placement"
        elif network := bound_by(vm, self.site.state):
            why, remedy = f"it uses the internal network {network}, off which XAPI moves no running VM", "stop it first"
        elif wish.max_level is not None and wish.max_level < Level.MOVE:
            why, remedy = f"its entry allows {wish.max_level.word} at most", "raise maxLevel in its entry"
        elif len(told) == len(others):
            why = "; ".join(told[:6]) + (f"; and {len(told) - 6} more can't either" if len(told) > 6 else "")
            why = why or "no other host is ready"
        else:
            why = "no order of moves leads there"
        return Unmet(Thing("vm", vm.name, vm.uuid), "placement", f"{wrong}; {why}", remedy, str(wish.place or ""))

    def _bar(self, vm: Vm, host: Host, wish: VmWish) -> str:
        """Why a running VM can't go to a host, wherever the others of its groups are."""
        free = self.site.room.free.get(host.ref, 0)
        short = f"has {size(max(0, free))} free and {size(need(vm))} are needed" if free < need(vm) else ""
        never = lasting_obstacle(vm, host, self.site.state) or unreached(vm, host, self.site.room)
        return never or short or barred(host, wish.placement)


def bound_words(answer: Answer, *, asked: bool) -> str:
    """How far an answer may be from the best, where not every order of moves was looked at; "" where it was, or where
    there is nothing to tell. `asked`: a solver from outside was."""
    if answer.bound is None:
        return ""
    moves, least = len(answer.moves), answer.bound.moves
    better = "" if asked else "; OR-tools looks further, if installed: pipx install '.[solver]'"
    done = f"{count(moves, 'move') if moves else 'no move'} for hard wishes and for room"
    if answer.bound.reached and (answer.unplaced or answer.unmet):
        done += "; no order of moves achieves more"
    if not answer.bound.reached:
        limit = "not every order of moves was looked at in a pool of this size, so another may find room for more"
        return f"{done}; {limit}{better}"
    if moves <= least:
        return f"{done}; no plan that achieves as much needs fewer" if moves else done
    limit = f"every plan that achieves as much needs at least {least}" if least else "it may be done with fewer"
    return f"{done}; {limit}{better}"


_STOPS = frozenset({"clean_shutdown", "hard_shutdown", "shutdown", "suspend"})
"""Operations that give a VM's memory back when they end."""


def no_host(
    vm: Vm,
    wish: VmWish,
    thing: Thing,
    obstacles: Sequence[tuple[str, str]],
    stands: Stands,
    state: PoolState,
) -> Unmet:
    """Why no host can run a VM: storage that only lost hosts reach, else what each host lacks (name, reason)."""
    place = str(wish.place or "")
    for drive in drives(vm, state):
        sr = state.srs.get(drive.sr or "")
        if sr is None:
            what = "disk" if not drive.is_cd else "CD"
            return Unmet(
                thing, "state running", f"the storage of its {what} {drive.what} is gone", "xe vm-disk-list", place
            )
        lost = unreachable_words(sr, stands, state)
        if lost and drive.is_cd:
            return Unmet(
                thing,
                "state running",
                f"the CD {drive.what} is in its drive, and {lost}",
                f"xe vm-cd-eject uuid={vm.uuid}",
                place,
            )
        if lost:
            return Unmet(
                thing,
                "state running",
                f"its disk {drive.what} is out of reach: {lost}",
                f"repair {names(hosts_of(sr, stands, state)[1])} and power it on; until then nothing can run this VM",
                place,
            )
    reasons = Counter(reason for _, reason in obstacles)
    if not obstacles:
        why = "no host is ready to start VMs"
    elif len(reasons) == 1:
        reason = next(iter(reasons))
        why = f"{obstacles[0][0]} {reason}"
        if len(obstacles) > 1:
            negative = reason.startswith("is not ")
            why = f"no ready host is {reason.removeprefix('is not ')}" if negative else f"every ready host {reason}"
    else:
        why = "; ".join(f"{host} {reason}" for host, reason in obstacles[:4])
        if len(obstacles) > 4:
            why += f"; and {len(obstacles) - 4} more hosts can't either"
    short = "free and" in why
    remedy = (
        "stop something or bring a host back" if short else "bring back a host that can run it, or change its needs"
    )
    if short and (going := sorted(one.name for one in state.guests if _STOPS & set(one.current_operations))):
        why += f"; {names(going)} {'is' if len(going) == 1 else 'are'} being stopped, which gives room back"
        remedy = "wait until that has ended, then run again; else " + remedy
    return Unmet(thing, "state running", why, remedy, place)
