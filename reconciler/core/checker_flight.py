"""What may be under way at once: no order in which a stage's steps can be begun and end may overfill a host.

The executor begins a step as soon as what it `follows` has ended, so the order in which steps are listed promises
nothing: two steps overlap unless one follows the other. A VM takes its room when its start, or its migration to a
host, begins, and gives it back when its stop, or its migration away, ends (XAPI reserves memory on the target for the
whole of a migration, sheet §4.3). Shares no code with the planner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.core.plan import Action, Verb


@dataclass(frozen=True, slots=True)
class Load:
    """One host before the stage: bytes that it has, bytes that are taken."""

    name: str
    total: int
    taken: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """One VM, by bytes: what it takes where it arrives, what it gives back where it leaves, the uuid of the host on
    which it runs ("" for none), and that of a host which keeps room for it already."""

    arrives: int
    leaves: int
    on: str = ""
    promised: str = ""


def crowded(actions: Sequence[Action], loads: Mapping[str, Load], vms: Mapping[str, Sizes]) -> list[str]:
    """Each host (by uuid in `loads`) that some order of the steps overfills, as a sentence; `vms` by uuid."""
    arrivals: dict[str, list[tuple[Action, int]]] = {}
    departures: dict[str, list[tuple[Action, int]]] = {}
    on = {uuid: one.on for uuid, one in vms.items()}
    for action in actions:
        one = vms.get(action.target.uuid)
        if one is None or action.target.kind != "vm":
            continue
        if action.verb in (Verb.START, Verb.RESUME, Verb.MIGRATE) and action.to is not None:
            if one.promised != action.to.uuid:
                arrivals.setdefault(action.to.uuid, []).append((action, one.arrives))
            if action.verb is Verb.MIGRATE and on[action.target.uuid]:
                departures.setdefault(on[action.target.uuid], []).append((action, one.leaves))
            on[action.target.uuid] = action.to.uuid
        elif action.verb in (Verb.SHUTDOWN, Verb.SUSPEND) and on[action.target.uuid]:
            departures.setdefault(on[action.target.uuid], []).append((action, one.leaves))
            on[action.target.uuid] = ""
    found = []
    before = Before(actions)
    for uuid, coming in sorted(arrivals.items()):
        load = loads.get(uuid)
        if load is None or load.taken + sum(size for _, size in coming) <= load.total:
            continue  # even if nothing leaves first
        # A host that is too full from the start is not made so by these: only moments in which one has come count.
        forced = range(len(coming)) if load.taken > load.total else (None,)
        most, who = max((_worst(coming, departures.get(uuid, ()), before, n) for n in forced), key=lambda w: w[0])
        if load.taken + most > load.total:
            told = ", ".join(f"{a.verb} {a.target.name}" for a in who)
            found.append(f"{told}: {load.name} may not have room for these at once: nothing says that they wait")
    return found


class Before:
    """Which steps must have ended before one begins."""

    def __init__(self, actions: Sequence[Action]) -> None:
        self._by_id = {a.id: a for a in actions}
        self._known: dict[str, frozenset[str]] = {}

    def __call__(self, action: Action) -> frozenset[str]:
        """Ids of all that it follows, directly or not; of a circle, those that can be told."""
        if action.id in self._known:
            return self._known[action.id]
        found: set[str] = set()
        waiting = list(action.follows)
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            found.add(name)
            if name in self._known:
                found |= self._known[name]
            elif name in self._by_id:
                waiting.extend(self._by_id[name].follows)
        self._known[action.id] = frozenset(found)
        return self._known[action.id]


def _worst(
    arrivals: Sequence[tuple[Action, int]],
    departures: Sequence[tuple[Action, int]],
    before: Before,
    forced: int | None,
) -> tuple[int, list[Action]]:
    """The most that can have come and not yet gone: (bytes, the arrivals of that moment), the arrival of number
    `forced` among them.

    A moment is a set of begun arrivals and ended departures in which everything that one of them waited for has ended.
    The fullest one is a closure of greatest weight: all arrivals, less a minimum cut between them and the departures
    that they need.
    """
    come, gone = list(arrivals), list(departures)
    ends = {a.id: n for n, (a, _) in enumerate(gone)}
    begins = {a.id: n for n, (a, _) in enumerate(come)}
    needs: dict[int, set[int]] = {n: {ends[i] for i in before(a) if i in ends} for n, (a, _) in enumerate(come)}
    # A departure that has ended began after what it follows had ended, its own VM's arrival included: those arrivals
    # are in any such moment, and what they need is needed by the departure already.
    pulled = {n: {begins[i] for i in before(a) if i in begins} for n, (a, _) in enumerate(gone)}
    weights = [size for _, size in come]
    if forced is not None:
        weights[forced] += sum(size for _, size in gone) + 1
    flow = _Flow(weights, [size for _, size in gone], needs, pulled)
    chosen = flow.closure()
    most = sum(come[n][1] for n in chosen[0]) - sum(gone[n][1] for n in chosen[1])
    return most, [come[n][0] for n in sorted(chosen[0])]


def unwaited(actions: Sequence[Action], residents: Mapping[str, Sequence[str]]) -> list[str]:
    """Steps that don't wait for what a step before them makes true, as sentences: a proof of death by a fence, the
    burial of the host on which their VM is recorded (`residents`: VM uuids by host uuid), an earlier step with the same
    VM, the host that takes VMs again."""
    before = Before(actions)
    fences: dict[str, Action] = {}
    changes: dict[str, Action] = {}
    enabled: dict[str, Action] = {}
    found = []
    for action in actions:
        needs = [fences[name] for name in action.certificate_of if name in fences]
        if action.verb in _MOVES:
            needs += [changes[action.target.uuid]] if action.target.uuid in changes else []
            needs += [enabled[action.to.uuid]] if action.to is not None and action.to.uuid in enabled else []
            changes[action.target.uuid] = action
        known = before(action)
        found += [
            f"{action.verb} {action.target.name}: it does not wait for {one.verb} {one.target.name}"
            for one in needs
            if one.id not in known
        ]
        if action.verb is Verb.FENCE:
            fences[action.target.name] = action
        elif action.verb is Verb.DECLARE_DEAD:
            changes.update(dict.fromkeys(residents.get(action.target.uuid, ()), action))
        elif action.verb is Verb.ENABLE_HOST:
            enabled[action.target.uuid] = action
    return found


_MOVES = frozenset({Verb.START, Verb.RESUME, Verb.UNPAUSE, Verb.SHUTDOWN, Verb.SUSPEND, Verb.MIGRATE})


class _Flow:
    """Greatest closure by maximum flow: source -> arrival (its size), departure -> sink (its size), and from each to
    what it needs without bound."""

    def __init__(
        self, come: Sequence[int], gone: Sequence[int], needs: Mapping[int, set[int]], pulled: Mapping[int, set[int]]
    ) -> None:
        self._come, self._gone = len(come), len(gone)
        self._source, self._sink = self._come + self._gone, self._come + self._gone + 1
        self._room: list[dict[int, int]] = [{} for _ in range(self._sink + 1)]
        endless = sum(come) + 1
        for n, size in enumerate(come):
            self._edge(self._source, n, size)
            for m in needs[n]:
                self._edge(n, self._come + m, endless)
        for m, size in enumerate(gone):
            self._edge(self._come + m, self._sink, size)
            for n in pulled[m]:
                self._edge(self._come + m, n, endless)

    def _edge(self, a: int, b: int, size: int) -> None:
        self._room[a][b] = self._room[a].get(b, 0) + size
        self._room[b].setdefault(a, 0)

    def closure(self) -> tuple[set[int], set[int]]:
        """(arrivals, departures) of the greatest closure."""
        while path := self._path():
            width = min(self._room[a][b] for a, b in path)
            for a, b in path:
                self._room[a][b] -= width
                self._room[b][a] += width
        seen = self._reached()
        return {n for n in range(self._come) if n in seen}, {m for m in range(self._gone) if self._come + m in seen}

    def _reached(self) -> dict[int, int]:
        """What the source still reaches, each with the node before it, by the fewest edges."""
        came = {self._source: self._source}
        queue = [self._source]
        for node in queue:
            for other, room in self._room[node].items():
                if room > 0 and other not in came:
                    came[other] = node
                    queue.append(other)
        return came

    def _path(self) -> list[tuple[int, int]]:
        came = self._reached()
        if self._sink not in came:
            return []
        path, node = [], self._sink
        while node != self._source:
            path.append((came[node], node))
            node = came[node]
        return path
