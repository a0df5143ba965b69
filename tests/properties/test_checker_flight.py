"""Whether steps may overfill a host at once: compared with every order in which they can begin and end."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.checker_flight import Load, Sizes, crowded
from reconciler.core.plan import Action, Thing, Verb

HOSTS = ("a", "b", "c")


def thing(kind: str, name: str) -> Thing:
    return Thing(kind, name, name)


def steps(seed: int) -> tuple[list[Action], dict[str, Sizes], dict[str, Load]]:
    """A few starts, stops and migrations, each following some of those before it."""
    rng = random.Random(seed)
    vms, actions = {}, []
    on: dict[str, str] = {}
    for n in range(rng.randint(2, 4)):
        name, size = f"vm{n}", rng.randint(1, 6)
        on[name] = rng.choice([*HOSTS, ""])
        vms[name] = Sizes(size, size, on[name])
    last: dict[str, Action] = {}
    for _ in range(rng.randint(2, 5)):
        name = rng.choice(sorted(vms))
        where = on[name]
        follows = {a.id for a in actions if rng.random() < 0.35}
        if name in last:
            follows.add(last[name].id)
        if not where:
            to = rng.choice(HOSTS)
            action = Action(Verb.START, thing("vm", name), "", to=thing("host", to), follows=tuple(sorted(follows)))
        elif rng.random() < 0.3:
            to = ""
            action = Action(Verb.SHUTDOWN, thing("vm", name), "", follows=tuple(sorted(follows)))
        else:
            to = rng.choice([h for h in HOSTS if h != where])
            action = Action(
                Verb.MIGRATE,
                thing("vm", name),
                "",
                to=thing("host", to),
                source=thing("host", where),
                follows=tuple(sorted(follows)),
            )
        if action.id in {a.id for a in actions}:
            continue
        actions.append(action)
        last[name], on[name] = action, to
    taken = {host: sum(v.leaves for v in vms.values() if v.on == host) for host in HOSTS}
    loads = {host: Load(host, rng.randint(4, 12), taken[host]) for host in HOSTS}
    return actions, vms, loads


def overfilled(actions: Sequence[Action], vms: Mapping[str, Sizes], loads: Mapping[str, Load]) -> set[str]:
    """Hosts that are too full in some moment of some order: every order is tried."""
    by_id = {a.id: a for a in actions}
    at: dict[str, str] = {}
    on = {name: one.on for name, one in vms.items()}
    for a in actions:  # where each step leaves its VM from: steps of one VM follow each other
        at[a.id] = on[a.target.name]
        on[a.target.name] = a.to.name if a.to else ""
    bad: set[str] = set()
    seen = set()
    waiting = [(frozenset[str](), frozenset[str]())]
    while waiting:
        begun, ended = waiting.pop()
        if (begun, ended) in seen:
            continue
        seen.add((begun, ended))
        full = {host: load.taken for host, load in loads.items()}
        for name in begun:
            a = by_id[name]
            if a.to:
                full[a.to.name] += vms[a.target.name].arrives
        for name in ended:
            a = by_id[name]
            if at[name]:
                full[at[name]] -= vms[a.target.name].leaves
        come = {a.to.name for a in actions if a.id in begun and a.to}
        bad |= {host for host, load in loads.items() if full[host] > load.total and host in come}
        waiting += [
            (begun | {a.id}, ended) for a in actions if a.id not in begun and all(f in ended for f in a.follows)
        ]
        waiting += [(begun, ended | {name}) for name in begun - ended]
    return bad


@settings(max_examples=600, deadline=None)
@given(st.integers(0, 10**9))
def test_a_host_is_told_exactly_where_some_order_overfills_it(seed: int) -> None:
    actions, vms, loads = steps(seed)
    told = crowded(actions, loads, vms)
    bad = overfilled(actions, vms, loads)
    assert {line.split(": ", 1)[1].split(" ", 1)[0] for line in told} == bad


def test_a_start_waits_for_the_stop_that_makes_its_room() -> None:
    stop = Action(Verb.SHUTDOWN, thing("vm", "old"), "")
    vms = {"old": Sizes(4, 4, "a"), "new": Sizes(4, 4)}
    loads = {"a": Load("a", 6, 4)}
    start = Action(Verb.START, thing("vm", "new"), "", to=thing("host", "a"), follows=(stop.id,))
    assert crowded([stop, start], loads, vms) == []
    hasty = Action(Verb.START, thing("vm", "new"), "", to=thing("host", "a"))
    told = crowded([stop, hasty], loads, vms)
    assert told == ["start new: a may not have room for these at once: nothing says that they wait"]


def test_a_start_that_xapi_began_already_has_its_room() -> None:
    start = Action(Verb.START, thing("vm", "new"), "", to=thing("host", "a"))
    assert crowded([start], {"a": Load("a", 6, 6)}, {"new": Sizes(4, 4, promised="a")}) == []


def test_five_thousand_steps_take_no_time() -> None:
    vms = {f"vm{n}": Sizes(1, 1, "a" if n < 200 else "") for n in range(400)}
    stops = [Action(Verb.SHUTDOWN, thing("vm", f"vm{n}"), "") for n in range(200)]
    starts = [
        Action(Verb.START, thing("vm", f"vm{n}"), "", to=thing("host", "a"), follows=(stops[n - 200].id,))
        for n in range(200, 400)
    ]
    assert crowded([*stops, *starts], {"a": Load("a", 200, 200)}, vms) == []
