"""Members in maintenance in random pools: accepted by the checker, whole or not at all, and done with one plan."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.checker import check_plan
from reconciler.core.evidence import Certificate, Survey
from reconciler.core.mark import MARK, Mark
from reconciler.core.model import Host, PoolState
from reconciler.core.plan import Plan, Verb
from reconciler.core.planner import make_plan
from reconciler.core.wanted import Level, MemberState, Wanted
from tests.core.build import NOW
from tests.properties.test_plan_properties import perform, world

World = tuple[Wanted, PoolState, Survey, list[Certificate]]


def resting_world(seed: int) -> World:
    """A random pool in which some members rest, and some hosts carry a mark of ours or of a roll."""
    wanted, state, seen, certificates = world(seed)
    rng = random.Random(f"maintenance {seed}")
    members = tuple(
        replace(
            m,
            state=MemberState.MAINTENANCE if rng.random() < 0.4 else MemberState.ACTIVE,
            evacuate_all=rng.random() < 0.5,
        )
        for m in wanted.members
    )
    vms = tuple(replace(w, placement=replace(w.placement, stop_for_maintenance=rng.random() < 0.4)) for w in wanted.vms)
    hosts = {ref: _marked(host, rng) if rng.random() < 0.3 else host for ref, host in sorted(state.hosts.items())}
    rolling = rng.choice(("", "", "roll-1"))
    return replace(wanted, members=members, vms=vms, rolling=rolling), replace(state, hosts=hosts), seen, certificates


def _marked(host: Host, rng: random.Random) -> Host:
    mark = Mark("run-1", NOW - 60.0, rng.choice(("", "", "roll-1", "roll-2")))
    return replace(host, enabled=rng.random() < 0.3, other_config={**host.other_config, MARK: mark.text})


def performed(plan: Plan, state: PoolState) -> PoolState:
    """`perform`, and what the verbs of maintenance promise."""
    after = perform(plan, state)
    hosts, vms = dict(after.hosts), dict(after.vms)
    refs = {h.uuid: h.ref for h in state.hosts.values()}
    of_vm = {v.uuid: v.ref for v in state.vms.values()}
    for action in plan.actions:
        if action.verb is Verb.MIGRATE and action.to is not None:
            vm = of_vm[action.target.uuid]
            vms[vm] = replace(vms[vm], resident_on=refs[action.to.uuid])
        elif action.verb in (Verb.DISABLE_HOST, Verb.ENABLE_HOST, Verb.END_MAINTENANCE):
            host = hosts[refs[action.target.uuid]]
            config = {k: v for k, v in host.other_config.items() if k != MARK}
            if action.verb is Verb.DISABLE_HOST:
                host = replace(host, enabled=False, other_config={**config, MARK: Mark("run-2", NOW).text})
            elif action.verb is Verb.ENABLE_HOST:
                host = replace(host, enabled=True)
            else:
                host = replace(host, other_config=config)
            hosts[host.ref] = host
    return replace(after, hosts=hosts, vms=vms)


def plan_of(made: World, state: PoolState | None = None) -> Plan:
    return make_plan(made[0], made[2], now=NOW, state=state or made[1], certificates=made[3])


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9))
def test_the_checker_accepts_it_and_a_host_is_emptied_whole_or_not_at_all(seed: int) -> None:
    made = wanted, state, seen, _ = resting_world(seed)
    plan = plan_of(made)
    found = check_plan(plan, wanted, seen, state, certificates=plan.certificates, now=NOW, limit=Level.CROWN)
    assert found == ()
    if not plan.stages or plan.stages[0].forecast or plan.stages[0].name == "regain":
        return
    after = performed(plan, state)
    moved = {a.source.uuid for a in plan.actions if a.source is not None and "goes into maintenance" in a.why}
    resting = {m.name for m in wanted.members if m.state is MemberState.MAINTENANCE}
    for host in state.hosts.values():
        left = [v for v in after.residents.get(host.ref, ()) if v.is_guest]
        disabled = any(a.verb is Verb.DISABLE_HOST and a.target.uuid == host.uuid for a in plan.actions)
        if host.name in resting and (disabled or host.uuid in moved):
            assert not left, (host.name, [v.name for v in left])
        if disabled:
            assert host.name in resting
            assert after.pool.master != host.ref


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9))
def test_performed_it_leaves_nothing_of_maintenance_to_do(seed: int) -> None:
    made = resting_world(seed)
    plan = plan_of(made)
    if not plan.stages or plan.stages[0].forecast or plan.stages[0].name == "regain":
        return
    if any(a.verb in (Verb.DESIGNATE_MASTER, Verb.UNPAUSE) for a in plan.actions):
        return  # the survey says who is master, and is not made anew; an unpaused VM moves in the next round
    if made[1].master is not None and made[1].master.name in {
        m.name for m in made[0].members if m.state == "maintenance"
    }:
        return  # whom this plan enables may take its office in the next round
    again = plan_of(made, performed(plan, made[1]))
    ours = (Verb.DISABLE_HOST, Verb.ENABLE_HOST, Verb.END_MAINTENANCE, Verb.MIGRATE, Verb.SHUTDOWN)
    assert [a.id for a in again.actions if a.verb in ours] == []


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**9))
def test_the_order_of_the_records_does_not_matter(seed: int) -> None:
    made = _, state, _, _ = resting_world(seed)
    rng = random.Random(seed)

    def mixed(table: dict[str, object]) -> dict[str, object]:
        rows = list(table.items())
        rng.shuffle(rows)
        return dict(rows)

    other = replace(state, hosts=mixed(dict(state.hosts)), vms=mixed(dict(state.vms)))  # type: ignore[arg-type]
    one, two = plan_of(made), plan_of(made, other)
    assert [a.id for a in one.actions] == [a.id for a in two.actions]
    assert [w.why for w in one.withheld] == [w.why for w in two.withheld]
    assert {u.why for u in one.unmet} == {u.why for u in two.unmet}
