"""A plan that was changed at random and would do harm is refused, whatever was changed.

Harm is found by another model than the checker's: steps are performed one by one, in random orders that `follows`
permits, on a pool of plain facts.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.checker import check_plan
from reconciler.core.evidence import Survey
from reconciler.core.model import PoolState, PowerState
from reconciler.core.moves import migration
from reconciler.core.plan import Action, Plan, Stage, Thing, Verb
from reconciler.core.standing import stand
from reconciler.core.wanted import Level, Wanted
from tests.core.build import NOW
from tests.properties.test_plan_properties import plan_of

ORDERS = 8


def harm(actions: Sequence[Action], w: Wanted, state: PoolState, seen: Survey, proved: set[str], seed: int) -> str:
    """What goes wrong in some order of the steps; "" if nothing does in the orders that were tried."""
    for n in range(ORDERS):
        if found := _performed(actions, w, state, seen, set(proved), random.Random(seed * ORDERS + n)):
            return found
    return ""


def _performed(
    actions: Sequence[Action], w: Wanted, state: PoolState, seen: Survey, proved: set[str], rng: random.Random
) -> str:
    names = {h.uuid: h.name for h in state.hosts.values()}
    hosts = {h.uuid: h for h in state.hosts.values()}
    vms = {v.uuid: v for v in state.vms.values()}
    silent = {t.name for t in seen.testimonies if not t.answers}
    at = {v.uuid: state.hosts[v.resident_on].uuid if v.resident_on else "" for v in vms.values()}
    up = {v.uuid for v in vms.values() if v.power_state in (PowerState.RUNNING, PowerState.PAUSED)}
    held: dict[str, list[str]] = {u: [] for u in hosts}  # host -> VMs that take room there, one entry for each
    for u, host in at.items():
        if host:
            held[host].append(u)
    declared = {x.value for x in w.vms}
    waiting, flying, ended = list(actions), [], set[str]()
    while waiting or flying:
        ready = [a for a in waiting if all(f in ended for f in a.follows)]
        if flying and (not ready or rng.random() < 0.4):
            one = flying.pop(rng.randrange(len(flying)))
            ended.add(one.id)
            if one.verb in (Verb.MIGRATE, Verb.SHUTDOWN, Verb.SUSPEND):
                source = one.source.uuid if one.verb is Verb.MIGRATE and one.source else at[one.target.uuid]
                if one.target.uuid in held.get(source, []):
                    held[source].remove(one.target.uuid)
            if one.verb is Verb.DECLARE_DEAD:
                for u in held[one.target.uuid]:
                    up.discard(u)
                held[one.target.uuid] = []
            if one.verb is Verb.FENCE:
                proved.add(one.target.name)
            if one.verb in (Verb.SHUTDOWN, Verb.SUSPEND):
                up.discard(one.target.uuid)
            if one.to is not None and one.verb in (Verb.START, Verb.RESUME, Verb.MIGRATE):
                at[one.target.uuid] = one.to.uuid
            continue
        if not ready:
            return "" if not waiting else "steps that wait for what never comes"
        one = ready[rng.randrange(len(ready))]
        waiting.remove(one)
        flying.append(one)
        if one.verb is Verb.DECLARE_DEAD and (one.target.name not in silent or one.target.name not in proved):
            return f"{one.target.name} is buried without proof"
        if one.target.kind == "vm" and one.target.name not in declared:
            return f"{one.target.name} is nobody's to touch"
        if one.verb not in (Verb.START, Verb.RESUME, Verb.MIGRATE) or one.to is None:
            continue
        vm, to = vms[one.target.uuid], hosts[one.to.uuid]
        if one.verb is not Verb.MIGRATE:
            if vm.uuid in up:
                return f"{vm.name} runs twice"
            up.add(vm.uuid)
        if names[to.uuid] in silent or not to.enabled:
            return f"{vm.name} goes to a host that takes nobody"
        if any((to.ref, state.vdis[state.vbds[b].vdi or ""].sr) not in state.attached for b in vm.vbds):
            return f"{vm.name} has no disk on {to.name}"
        held[to.uuid].append(vm.uuid)
        if sum(vms[u].memory_dynamic_min for u in held[to.uuid]) > to.memory_total:
            return f"{to.name} is too full"
    return ""


def mutated(plan: Plan, state: PoolState, w: Wanted, seen: Survey, rng: random.Random) -> Plan:
    """The plan with one thing changed: a step less, another order, another host, no waiting, one more migration."""
    stages = [list(s.actions) for s in plan.stages]
    which = rng.randrange(len(stages))
    actions = stages[which]
    n = rng.randrange(len(actions))
    hosts = sorted(state.hosts.values(), key=lambda h: h.name)
    kind = rng.choice(("drop", "swap", "target", "free", "unproved", "migrate", "other"))
    if kind == "drop":
        del actions[n]
    elif kind == "swap":
        m = rng.randrange(len(actions))
        actions[n], actions[m] = actions[m], actions[n]
    elif kind == "target":
        host = rng.choice(hosts)
        actions[n] = replace(actions[n], to=Thing("host", host.name, host.uuid, host.address))
    elif kind == "free":
        actions[n] = replace(actions[n], follows=())
    elif kind == "unproved":
        actions[n] = replace(actions[n], certificate_of=())
    elif kind == "migrate":
        running = [v for v in state.guests if v.power_state is PowerState.RUNNING and v.resident_on]
        if running:
            vm = rng.choice(running)
            stands = stand(w, seen, plan.diagnosis, state).by_ref
            actions.append(migration(vm, stands[vm.resident_on or ""], stands[rng.choice(hosts).ref], "why not"))
    elif state.guests:
        vm = rng.choice(state.guests)
        actions[n] = replace(actions[n], target=Thing("vm", vm.name, vm.uuid))
    return replace(
        plan, stages=tuple(Stage(s.name, tuple(a), s.forecast) for s, a in zip(plan.stages, stages, strict=True))
    )


@settings(max_examples=600, deadline=None)
@given(st.integers(0, 10**9))
def test_a_changed_plan_that_would_do_harm_is_refused(seed: int) -> None:
    w, state, seen, _, plan = plan_of(seed)
    held = [j.certificate for j in plan.diagnosis.members if j.certificate is not None]
    if not plan.actions or any(s.forecast or s.name == "regain" for s in plan.stages):
        return
    rng = random.Random(seed)
    changed = mutated(plan, state, w, seen, rng)
    found = harm(changed.actions, w, state, seen, {c.host for c in held}, seed)
    if found:
        assert check_plan(changed, w, seen, state, certificates=held, now=NOW, limit=Level.CROWN), (found, changed)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**9))
def test_no_order_of_a_plan_as_it_was_made_does_harm(seed: int) -> None:
    w, state, seen, _, plan = plan_of(seed)
    held = {j.certificate.host for j in plan.diagnosis.members if j.certificate is not None}
    if any(s.forecast or s.name == "regain" for s in plan.stages):
        return
    assert harm(plan.actions, w, state, seen, held, seed) == ""


def test_the_mutants_do_harm_often_enough_to_mean_something() -> None:
    harmful = 0
    for seed in range(300):
        w, state, seen, _, plan = plan_of(seed)
        held = {j.certificate.host for j in plan.diagnosis.members if j.certificate is not None}
        if plan.actions and not any(s.forecast or s.name == "regain" for s in plan.stages):
            changed = mutated(plan, state, w, seen, random.Random(seed))
            harmful += bool(harm(changed.actions, w, state, seen, held, seed))
    assert harmful > 20
