"""What must hold for every plan, whatever the pool, the survey and the wishes."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.evidence import Survey
from reconciler.core.model import PoolState, PowerState
from reconciler.core.plan import Plan, Status, Verb
from reconciler.core.planner import make_plan
from reconciler.core.wanted import Brake, MasterWish, Policy, Wanted
from tests.core.build import (
    FENCE,
    GIB,
    NOW,
    PlacementWish,
    PoolBuilder,
    Priority,
    certificate,
    ref,
    survey,
    wanted,
    wish,
)

_POWERS = (PowerState.HALTED, PowerState.RUNNING, PowerState.RUNNING, PowerState.SUSPENDED, PowerState.PAUSED)
_STATES = ("running", "running", "running", "halted", "suspended", "as-is")
_FATES = ("", "", "", "silent", "silent off", "silent unknown", "refused", "hung")


def world(seed: int) -> tuple[Wanted, PoolState, Survey, list]:  # type: ignore[type-arg]
    """A random pool of 2 to 5 hosts with one acting master, wishes for most VMs, and fates for the members."""
    rng = random.Random(seed)
    hosts = rng.randint(2, 5)
    pool = PoolBuilder(hosts, memory=rng.choice((16, 64)) * GIB)
    names = list(pool.hosts)
    pool.sr("iso", shared=True, on=rng.sample(names, rng.randint(1, hosts)))
    fates = {n: rng.choice(_FATES) for n in names[1:]}
    for name, fate in fates.items():
        if fate:
            pool.host(name, live=rng.random() < 0.3, enabled=rng.random() < 0.5)
        elif rng.random() < 0.1:
            pool.host(name, enabled=False)
    wishes = []
    for i in range(rng.randint(0, 8)):
        power = rng.choice(_POWERS)
        on = rng.choice(names) if power in (PowerState.RUNNING, PowerState.PAUSED) else None
        name = f"vm{i}"
        pool.vm(
            name,
            on=on,
            power=power,
            home=rng.choice([None, *names]),
            sr=rng.choice(["san-1", "san-1", f"local-{rng.choice(names)}"]),
            cd=rng.choice([None, None, "iso"]),
            memory=rng.choice((1, 2, 8)) * GIB,
        )
        if rng.random() < 0.85:
            placement = PlacementWish(
                prefer=tuple(rng.sample(names, 1)) if rng.random() < 0.2 else (),
                require=tuple(rng.sample(names, rng.randint(1, hosts))) if rng.random() < 0.2 else (),
                avoid=tuple(rng.sample(names, 1)) if rng.random() < 0.2 else (),
                spread=rng.choice([None, "s"]),
                together=rng.choice([None, None, None, "t"]),
                apart=rng.choice([None, None, None, "a"]),
            )
            home, priority = rng.choice([None, *names]), rng.choice(tuple(Priority))
            wishes.append(wish(name, rng.choice(_STATES), home=home, placement=placement, priority=priority))
    certificates = [certificate(n, rng.choice(("attested", "fenced"))) for n in names[1:] if rng.random() < 0.4]
    w = wanted(
        *wishes,
        hosts=hosts,
        fencing=rng.random() < 0.6,
        master=rng.choice([None, MasterWish(names[0], tuple(names[1:]))]),
        policy=Policy(
            brake=Brake(0.0 if rng.random() < 0.7 else 0.5, rng.randint(1, 3)),
            reserve=rng.choice((0, 0, 1, 2)),
            rebalance=rng.random() < 0.5,
            shed=rng.choice((None, None, Priority.LOW, Priority.HIGH)),
        ),
    )
    bmc = "on" if w.members[0].fencing else "none"
    if bmc == "none":
        fates = {n: f.split()[0] if f else "" for n, f in fates.items()}
    return w, pool.state(), survey(fates, hosts=hosts, bmc=bmc), certificates


def perform(plan: Plan, state: PoolState) -> PoolState:
    """The pool after the plan, worked out without the planner: what each verb promises."""
    hosts, vms, pool = dict(state.hosts), dict(state.vms), state.pool
    by_uuid = {v.uuid: v for v in state.vms.values()}
    host_by_uuid = {h.uuid: h for h in state.hosts.values()}
    for action in plan.actions:
        vm = by_uuid.get(action.target.uuid)
        to = host_by_uuid.get(action.to.uuid) if action.to else None
        if action.verb is Verb.DECLARE_DEAD:
            dead = host_by_uuid[action.target.uuid]
            hosts[dead.ref] = replace(hosts[dead.ref], enabled=False)
            for one in list(vms.values()):
                if one.resident_on == dead.ref and not one.is_control_domain:
                    vms[one.ref] = replace(one, power_state=PowerState.HALTED, resident_on=None)
        elif action.verb in (Verb.START, Verb.RESUME, Verb.UNPAUSE, Verb.MIGRATE) and vm and to:
            vms[vm.ref] = replace(vms[vm.ref], power_state=PowerState.RUNNING, resident_on=to.ref)
        elif action.verb is Verb.SHUTDOWN and vm:
            vms[vm.ref] = replace(vms[vm.ref], power_state=PowerState.HALTED, resident_on=None)
        elif action.verb is Verb.SUSPEND and vm:
            vms[vm.ref] = replace(vms[vm.ref], power_state=PowerState.SUSPENDED, resident_on=None)
        elif action.verb is Verb.SET_AFFINITY and vm and to:
            vms[vm.ref] = replace(vms[vm.ref], affinity=to.ref)
        elif action.verb is Verb.DESIGNATE_MASTER:
            pool = replace(pool, master=host_by_uuid[action.target.uuid].ref)
    return replace(state, hosts=hosts, vms=vms, pool=pool)


def plan_of(seed: int) -> tuple[Wanted, PoolState, Survey, list, Plan]:  # type: ignore[type-arg]
    w, state, seen, certificates = world(seed)
    return w, state, seen, certificates, make_plan(w, seen, now=NOW, state=state, certificates=certificates)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 10**9))
def test_nothing_is_started_or_buried_without_proof_for_every_host_that_may_run_it(seed: int) -> None:
    _, state, seen, certificates, plan = plan_of(seed)
    alive = {t.name for t in seen.testimonies if t.answers}
    certified = {j.name for j in plan.diagnosis.members if j.certificate is not None}
    fenced_here = {a.target.name: a.id for a in plan.actions if a.verb is Verb.FENCE}
    names = {h.ref: h.name for h in state.hosts.values()}
    by_uuid = {v.uuid: v for v in state.vms.values()}
    before: set[str] = set()
    for action in plan.actions:
        if action.verb is Verb.DECLARE_DEAD:
            assert action.target.name not in alive
            assert action.target.name in certified or fenced_here[action.target.name] in action.follows
        if action.verb in (Verb.START, Verb.RESUME):
            vm = by_uuid[action.target.uuid]
            suspects = {names[vm.resident_on]} if vm.resident_on else set()
            suspects |= {h.name for h in state.hosts.values() if h.name not in alive and not h.enabled}
            for host in suspects - alive:
                assert host in action.certificate_of, (host, action)
                assert host in certified or host in fenced_here
        assert all(i in before for i in action.follows), "an action follows one that does not come before it"
        before.add(action.id)
    assert len(before) == len(plan.actions)
    assert all(c.pool == "lab" for c in certificates)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 10**9))
def test_every_start_can_reach_all_its_storage_and_fits_its_host(seed: int) -> None:
    _, state, seen, _, plan = plan_of(seed)
    alive = {t.name for t in seen.testimonies if t.answers}
    host_by_uuid = {h.uuid: h for h in state.hosts.values()}
    by_uuid = {v.uuid: v for v in state.vms.values()}
    load = {
        h.ref: sum(v.memory_dynamic_min for v in state.vms.values() if v.resident_on == h.ref)
        for h in host_by_uuid.values()
    }
    where = {v.uuid: v.resident_on for v in state.vms.values()}
    given: dict[str, tuple[str, int]] = {}
    """What an action gives back: the host and the bytes."""
    after: dict[str, set[str]] = {}
    for action in plan.actions:
        after[action.id] = set(action.follows).union(*(after.get(i, set()) for i in action.follows))
        if action.verb in (Verb.SHUTDOWN, Verb.SUSPEND, Verb.MIGRATE):
            gone = by_uuid[action.target.uuid]
            source = where[gone.uuid] or ""
            load[source] -= gone.memory_dynamic_min
            given[action.id] = (source, gone.memory_dynamic_min)
        if action.verb not in (Verb.START, Verb.RESUME, Verb.MIGRATE):
            continue
        assert action.to is not None
        host, vm = host_by_uuid[action.to.uuid], by_uuid[action.target.uuid]
        assert host.enabled
        assert host.live
        assert host.name in alive
        for vbd in vm.vbds:
            assert (host.ref, state.vdis[state.vbds[vbd].vdi or ""].sr) in state.attached
        load[host.ref] += vm.memory_dynamic_min
        assert load[host.ref] <= host.memory_total
        still = sum(size for i, (at, size) in given.items() if at == host.ref and i not in after[action.id])
        assert load[host.ref] + still <= host.memory_total, "it does not follow what makes room for it"
        where[vm.uuid] = host.ref


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 10**9))
def test_a_performed_plan_leaves_nothing_to_do(seed: int) -> None:
    w, state, seen, certificates, plan = plan_of(seed)
    fenced = {a.target.name for a in plan.actions if a.verb is Verb.FENCE}
    certificates = certificates + [certificate(n, "fenced") for n in fenced]
    silent = tuple(replace(t, bmc=type(t.bmc).OFF) if t.name in fenced else t for t in seen.testimonies)
    if any(a.verb in (Verb.AWAIT_MEMBERS, Verb.RECOVER_MEMBERS) for a in plan.actions):
        return  # a forecast: the rest is planned from what is read afterwards
    held = {h.action.id for h in plan.withheld}
    again = plan
    for _ in range(3):  # one that was moved or unpaused may be what another waits for
        state = perform(again, state)
        again = make_plan(w, replace(seen, testimonies=silent), now=NOW, state=state, certificates=certificates)
        if not any(a.verb in (Verb.MIGRATE, Verb.SHUTDOWN) for a in again.actions):
            break
    left = [a for a in again.actions if a.verb is not Verb.AWAIT_MEMBERS and a.id not in held]
    assert left == [], [a.id for a in left]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**9))
def test_what_the_manifest_does_not_name_is_not_touched(seed: int) -> None:
    w, _, _, _, plan = plan_of(seed)
    named = {v.value for v in w.vms}
    touched = {a.target.name for a in plan.actions if a.target.kind == "vm"}
    assert touched <= named


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**9), st.randoms(use_true_random=False))
def test_the_same_input_in_any_order_gives_the_same_plan(seed: int, rng: random.Random) -> None:
    w, state, seen, certificates, plan = plan_of(seed)

    def shuffled(table: object) -> dict[str, object]:
        items = list(table.items())  # type: ignore[attr-defined]
        rng.shuffle(items)
        return dict(items)

    mixed = replace(
        state,
        **{k: shuffled(getattr(state, k)) for k in ("hosts", "vms", "vbds", "vdis", "pbds", "srs")},  # type: ignore[arg-type]
    )
    assert make_plan(w, seen, now=NOW, state=mixed, certificates=certificates) == plan


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**9))
def test_a_promotion_rests_on_proof_and_never_stands_beside_a_living_master(seed: int) -> None:
    rng = random.Random(seed)
    hosts = rng.randint(2, 5)
    names = [f"xen{i:02}" for i in range(1, hosts + 1)]
    fates = {
        n: rng.choice(("", "", "silent", "refused", "reaches xen01", "master", "emergency", "hung")) for n in names
    }
    fates["xen01"] = rng.choice(("silent", "silent off", "silent unknown", "refused", "hung", "untrusted", "master"))
    certificates = [certificate("xen01")] if rng.random() < 0.5 else []
    fencing = rng.random() < 0.5
    if not fencing:
        fates = {n: "silent" if f.startswith("silent") else f for n, f in fates.items()}
    w = wanted(hosts=hosts, fencing=fencing)
    assert (w.members[0].fencing == FENCE) == fencing
    seen = survey(fates, hosts=hosts, master=None, bmc="on" if fencing else "none")
    plan = make_plan(w, seen, now=NOW, certificates=certificates, last_known=PoolBuilder(hosts).state())
    promotions = [a for a in plan.actions if a.verb is Verb.PROMOTE]
    assert len(promotions) <= 1
    if promotions:
        assert fates["xen01"].startswith("silent")
        assert not any(f in ("master", "reaches xen01") for f in fates.values())
        assert promotions[0].certificate_of == ("xen01",)
        held = plan.diagnosis.of("xen01")
        assert held is not None
        fence = [a for a in plan.actions if a.verb is Verb.FENCE and a.target.name == "xen01"]
        assert held.certificate is not None or (fence and fence[0].id in promotions[0].follows)
    assert plan.status in Status
    assert ref("host", "xen01") not in plan.diagnosis.why
