"""In which order VMs start and stop: what depends on what (hard), then XAPI's own order within a vApp (soft). Pure.

A vApp's VMs start in groups of ascending `order` and stop in descending ones; a group waits for the one before and
goes on even if that failed (sheet §10.4). `start_delay` and `shutdown_delay` are slept inside the calls (§5.1), so the
next group, and a dependant, wait for them too. Where dependsOn says otherwise than a vApp, dependsOn wins.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from heapq import heappop, heappush

from reconciler.core.draft import Draft
from reconciler.core.model import PoolState, Ref
from reconciler.core.plan import Action, Thing, Verb
from reconciler.core.select import Selection
from reconciler.core.site import Site
from reconciler.core.words import names

_UP = (Verb.START, Verb.RESUME, Verb.UNPAUSE)
_DOWN = (Verb.SHUTDOWN, Verb.SUSPEND)
Edges = Mapping[Ref, Collection[Ref]]
"""VM -> those that come before it."""


def needs(ref: Ref, selection: Selection) -> tuple[Ref, ...]:
    """The VMs that one depends on, each once; an entry that matches the VM itself means the others."""
    wish = selection.wishes.get(ref)
    words = wish.depends_on if wish is not None else ()
    return tuple(dict.fromkeys(dep for word in words for dep in selection.by_entry.get(word, ()) if dep != ref))


def order_starts(site: Site, made: Mapping[Ref, Action], failed: Collection[Ref]) -> None:
    """Add the starts so that each comes after what it depends on, and between them the waits for `ready`.

    A VM that depends on one that is not up and does not come up is withheld, and says so. `made` is in the order of
    importance; `failed` are VMs that should run and can't be started.
    """
    selection, state, draft = site.selection, site.state, site.draft
    pending = dict(made)
    _hold_orphans(site, pending, set(failed))
    hard = {ref: [dep for dep in needs(ref, selection) if dep in pending] for ref in pending}
    while circle := _circle(hard):
        told = " -> ".join(names([state.name_of(ref)]) for ref in (*circle, circle[0]))
        for ref in circle:
            draft.hold(pending.pop(ref), f"its dependsOn goes round: {told}", "break the circle in the manifest")
        _hold_orphans(site, pending, {*failed, *circle})
        hard = {ref: [dep for dep in needs(ref, selection) if dep in pending] for ref in pending}
    vapps = _vapps(pending, state)
    sequence = _sequence(list(pending), hard, vapps)
    dependants: dict[Ref, list[str]] = {}
    for ref in sequence:
        for dep in needs(ref, selection):
            dependants.setdefault(dep, []).append(state.name_of(ref))
    started: dict[Ref, Action] = {}
    waits: dict[Ref, Action | None] = {}
    for ref in sequence:
        follows = list(pending[ref].follows)
        for dep in needs(ref, selection):
            if dep not in waits:
                waits[dep] = wait = _wait(dep, started.get(dep), dependants[dep], selection, state)
                draft.actions += [wait] if wait is not None else []
            before = waits[dep] or started.get(dep)
            follows += [before.id] if before is not None else []
        behind = [started[other].id for other in vapps.get(ref, ()) if other in started]
        started[ref] = replace(
            pending[ref],
            follows=tuple(dict.fromkeys(follows)),
            behind=tuple(i for i in behind if i not in follows),
        )
        draft.actions.append(started[ref])


def order_stops(selection: Selection, state: PoolState, draft: Draft) -> None:
    """Have what others depend on stop after them, and a vApp's VMs in descending order; say who runs on without it.
    What would start and depends on a VM that stops is withheld."""
    stops = {a.target.uuid: a for a in draft.actions if a.verb in _DOWN}
    refs = {vm.ref: stops[vm.uuid] for vm in state.guests if vm.uuid in stops}
    _hold_stranded(set(refs), selection, state, draft)
    dependants: dict[Ref, list[Ref]] = {ref: [] for ref in refs}
    staying: dict[Ref, list[Ref]] = {ref: [] for ref in refs}
    for ref in selection.wishes:
        for dep in needs(ref, selection):
            if dep in refs and ref in refs:
                dependants[dep].append(ref)
            elif dep in refs and state.vms[ref].power_state == "Running":
                staying[dep].append(ref)
    while circle := _circle(dependants):
        dependants[circle[0]].remove(circle[1 % len(circle)])  # who stops first is of no matter there
    vapps = _vapps(refs, state, ascending=False)
    done: dict[Ref, Action] = {}
    for ref in _sequence(list(refs), dependants, vapps):
        follows = tuple(dict.fromkeys((*refs[ref].follows, *(done[other].id for other in dependants[ref]))))
        behind = tuple(
            done[other].id for other in vapps.get(ref, ()) if other in done and done[other].id not in follows
        )
        why = refs[ref].why
        if staying[ref]:
            several = len(staying[ref]) > 1
            who = names(state.name_of(r) for r in staying[ref])
            why += f"; {who}, which {'depend' if several else 'depends'} on it, {'go' if several else 'goes'} on"
        done[ref] = replace(refs[ref], follows=follows, behind=behind, why=why)
    turn = iter(done.values())
    draft.actions[:] = [next(turn) if a.verb in _DOWN else a for a in draft.actions]


def _hold_stranded(down: set[Ref], selection: Selection, state: PoolState, draft: Draft) -> None:
    """Withhold the starts that depend on VMs that are to stop, and what depends on those."""
    starts = {a.target.uuid: a for a in draft.actions if a.verb in _UP}
    pending = {vm.ref: starts[vm.uuid] for vm in state.guests if vm.uuid in starts}
    while stranded := [ref for ref in pending if down.intersection(needs(ref, selection))]:
        for ref in stranded:
            action = pending.pop(ref)
            bad = names(state.name_of(dep) for dep in needs(ref, selection) if dep in down)
            draft.hold(action, f"it depends on {bad}, which does not run then", "see what is declared there")
            draft.actions.remove(action)
        down.update(stranded)


def _hold_orphans(site: Site, pending: dict[Ref, Action], failed: set[Ref]) -> None:
    """Withhold what depends on something that is not up and does not come up, and what depends on that."""
    selection, state, draft = site.selection, site.state, site.draft
    held = {h.action.target.uuid for h in draft.withheld if h.action.verb in _UP}
    down = failed | {vm.ref for vm in state.guests if vm.uuid in held}
    progress = True
    while progress:
        progress = False
        for ref, action in list(pending.items()):
            lost = [word for word in selection.wishes[ref].depends_on if word not in selection.by_entry]
            bad = [
                d
                for d in needs(ref, selection)
                if d not in pending and (d in down or not site.stands.runs(state.vms[d]))
            ]
            if not bad and not lost:
                continue
            why = f"it depends on {names(lost)}, and no VM can be told by that" if lost else _why_down(bad, down, state)
            draft.hold(action, why, "see the reason there" if lost or down.intersection(bad) else _start_it(bad, state))
            down.add(ref)
            del pending[ref]
            progress = True


def _why_down(bad: Sequence[Ref], down: Collection[Ref], state: PoolState) -> str:
    cannot = [ref for ref in bad if ref in down]
    if cannot:
        return f"it depends on {names(state.name_of(ref) for ref in cannot)}, which can't be started"
    vm = state.vms[bad[0]]
    what = f"is {vm.power_state}" if vm.power_state != "Running" else "runs where nobody answers"
    return f"it depends on {names([vm.name])}, which {what} and is not declared running"


def _start_it(bad: Sequence[Ref], state: PoolState) -> str:
    return f"declare {names(state.name_of(ref) for ref in bad)} running, or remove the dependency"


def _wait(
    ref: Ref, start: Action | None, dependants: Sequence[str], selection: Selection, state: PoolState
) -> Action | None:
    """The wait for a VM to be ready, if its entry says what that is."""
    ready = selection.wishes[ref].ready
    if ready is None:
        return None
    vm = state.vms[ref]
    several = len(dependants) > 1
    who = names(dependants) if len(dependants) < 5 else f"{names(dependants[:3])} and {len(dependants) - 3} others"
    why = f"{who} {'depend' if several else 'depends'} on it"
    return Action(
        Verb.AWAIT_READY,
        Thing("vm", vm.name, vm.uuid),
        why if start is not None else f"{why}; it runs already, so it is waited for only if it has just started",
        after=f"it {ready.words}",
        follows=(start.id,) if start is not None else (),
        ready=ready,
    )


def _vapps(refs: Iterable[Ref], state: PoolState, *, ascending: bool = True) -> dict[Ref, list[Ref]]:
    """VM -> those of its vApp whose turn comes before its own."""
    members: dict[Ref, list[Ref]] = {}
    for ref in refs:
        if (vapp := state.vms[ref].appliance) is not None:
            members.setdefault(vapp, []).append(ref)
    earlier: dict[Ref, list[Ref]] = {}
    for group in members.values():
        for ref in group:
            own = state.vms[ref].order
            earlier[ref] = [r for r in group if (state.vms[r].order < own if ascending else state.vms[r].order > own)]
    return earlier


def _sequence(refs: Sequence[Ref], hard: Edges, soft: Edges) -> list[Ref]:
    """The VMs so that what is `hard` comes first without exception (it has no circle) and what is `soft` where that
    leaves a choice; otherwise as they came."""
    place = {ref: number for number, ref in enumerate(refs)}
    must = {ref: {r for r in hard.get(ref, ()) if r in place} for ref in refs}
    may = {ref: must[ref] | {r for r in soft.get(ref, ()) if r in place} for ref in refs}
    followers: dict[Ref, list[Ref]] = {ref: [] for ref in refs}
    for ref, others in may.items():
        for other in others:
            followers[other].append(ref)
    free = [place[ref] for ref in refs if not may[ref]]
    made: dict[Ref, None] = {}
    while len(made) < len(refs):
        turn = refs[heappop(free)] if free else next(r for r in refs if r not in made and not must[r])
        if turn in made:
            continue
        made[turn] = None
        for ref in followers[turn]:
            must[ref].discard(turn)
            may[ref].discard(turn)
            if not may[ref]:
                heappush(free, place[ref])
    return list(made)


def _circle(edges: Edges) -> list[Ref]:
    """A circle, each VM before one that it waits for; [] if there is none."""
    clear: set[Ref] = set()
    for start in edges:
        path: list[Ref] = []
        trail = [(start, iter(edges.get(start, ())))]
        path.append(start)
        while trail:
            ref, others = trail[-1]
            other = next((o for o in others if o not in clear), None)
            if other is None:
                clear.add(ref)
                trail.pop()
                path.pop()
            elif other in path:
                return path[path.index(other) :]
            else:
                path.append(other)
                trail.append((other, iter(edges.get(other, ()))))
    return []
