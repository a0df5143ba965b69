"""The checker accepts every plan that the planner makes, and refuses plans that were made dangerous on purpose."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.checker import check_plan
from reconciler.core.plan import Action, Plan, Stage, Thing, Verb
from reconciler.core.planner import make_plan
from reconciler.core.wanted import Brake, Level, MemberState, Policy
from tests.core.build import NOW, PoolBuilder, address, certificate, survey, uuid, wanted, wish
from tests.properties.test_plan_properties import plan_of


@settings(max_examples=800, deadline=None)
@given(st.integers(0, 10**9))
def test_the_checker_accepts_every_plan_of_the_planner(seed: int) -> None:
    w, state, seen, certificates, plan = plan_of(seed)
    held = [j.certificate for j in plan.diagnosis.members if j.certificate is not None]
    assert all(c in certificates for c in held)
    assert check_plan(plan, w, seen, state, certificates=held, now=NOW, limit=Level.CROWN) == ()


def forged(*actions: Action) -> Plan:
    """A plan that says whatever it is told to."""
    base = make_plan(wanted(), survey(), now=NOW, state=PoolBuilder().state())
    return replace(base, stages=(Stage("restore", actions),))


def host(name: str) -> Thing:
    return Thing("host", name, uuid(name), address(name))


def judged(plan: Plan, pool: PoolBuilder, spec: dict[str, str] | None = None, **more: object) -> str:
    w = more.pop("wanted", wanted(wish("db01")))
    level = more.pop("limit", Level.CROWN)
    state = pool.state(**more)
    found = check_plan(plan, w, survey(spec), state, certificates=[], now=NOW, limit=level)  # type: ignore[arg-type]
    return "\n".join(found)


def start(to: str, **more: object) -> Action:
    return Action(Verb.START, Thing("vm", "db01", uuid("db01")), "", to=host(to), **more)  # type: ignore[arg-type]


def test_a_start_of_a_vm_that_may_run_on_an_unproved_host_is_refused() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen03")
    bury = Action(Verb.DECLARE_DEAD, host("xen03"), "", certificate_of=("xen03",))
    told = judged(forged(bury, start("xen02")), pool, {"xen03": "silent"})
    assert "declare-dead xen03: xen03 is not proved dead" in told
    assert "start db01: it may be running on xen03, which is not proved dead" in told


def test_a_burial_of_a_host_that_answers_or_is_master_is_refused() -> None:
    pool = PoolBuilder()
    assert "something answers" in judged(forged(Action(Verb.DECLARE_DEAD, host("xen03"), "")), pool)
    assert "it is the acting master" in judged(forged(Action(Verb.DECLARE_DEAD, host("xen01"), "")), pool)


def test_a_promotion_beside_a_master_or_without_proof_is_refused() -> None:
    promote = Action(Verb.PROMOTE, host("xen02"), "")
    told = judged(forged(promote), PoolBuilder())
    assert "xen01 accepts logins as master" in told
    assert "it rests on no proof" in told
    assert "xen03 still reaches a master" in told


def test_a_start_where_storage_memory_or_the_host_is_missing_is_refused() -> None:
    pool = PoolBuilder(memory=1024**3)
    pool.vm("db01", sr="local-xen01")
    pool.host("xen03", enabled=False)
    told = judged(forged(start("xen03")), pool)
    assert "does not reach the storage of its drive 0" in told
    assert "has not enough memory left" in told
    assert "xen03 is not live, enabled and answering" in told


def test_what_the_manifest_does_not_say_is_refused() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen02")
    stop = Action(Verb.SHUTDOWN, Thing("vm", "db01", uuid("db01")), "")
    assert "declares it running" in judged(forged(stop), pool)
    assert "the manifest does not name it" in judged(forged(stop), pool, wanted=wanted())
    assert "it is running" in judged(forged(start("xen03")), pool).lower()


def test_levels_order_and_ha_are_kept() -> None:
    pool = PoolBuilder()
    pool.vm("db01")
    assert "this run may go to metadata" in judged(forged(start("xen02")), pool, limit=Level.METADATA)
    assert "HA is on" in judged(forged(start("xen02")), pool, ha_enabled=True)
    assert "does not come before it" in judged(forged(start("xen02", follows=("fence:host/x",))), pool)


def test_more_hosts_than_the_policy_allows_are_refused() -> None:
    pool = PoolBuilder()
    both = forged(Action(Verb.FENCE, host("xen02"), ""), Action(Verb.FENCE, host("xen03"), ""))
    told = judged(both, pool, {"xen02": "silent", "xen03": "silent"})
    assert "maxHostsPerRun" in told
    assert "minHealthy" in told


def test_a_silent_member_in_maintenance_does_not_count_for_the_brake() -> None:
    pool = PoolBuilder()
    one = forged(Action(Verb.FENCE, host("xen02"), ""))
    strict = replace(wanted(wish("db01")), policy=Policy(brake=Brake(0.5, 1)))
    resting = replace(
        strict,
        members=tuple(replace(m, state=MemberState.MAINTENANCE) if m.name == "xen03" else m for m in strict.members),
    )
    spec = {"xen02": "silent", "xen03": "silent"}
    assert "minHealthy" in judged(one, pool, spec, wanted=strict)
    assert "minHealthy" not in judged(one, pool, spec, wanted=resting)
    # One that answers counts among both: to be in maintenance is no excuse for the others.
    most = replace(resting, policy=Policy(brake=Brake(0.7, 1)))
    assert "minHealthy" in judged(one, pool, {"xen02": "silent"}, wanted=most)
    assert "minHealthy" in judged(one, pool, dict.fromkeys(("xen01", "xen02", "xen03"), "silent"), wanted=resting)


def test_a_proof_that_expired_or_is_of_another_pool_proves_nothing() -> None:
    pool = PoolBuilder()
    bury = forged(Action(Verb.DECLARE_DEAD, host("xen03"), "", certificate_of=("xen03",)))
    seen = survey({"xen03": "silent"})
    for bad in (certificate("xen03", expires=-1), replace(certificate("xen03"), pool="other")):
        found = check_plan(bury, wanted(), seen, pool.state(), certificates=[bad], now=NOW, limit=Level.CROWN)
        assert found == ("declare-dead xen03: xen03 is not proved dead",)
    good = check_plan(
        bury, wanted(), seen, pool.state(), certificates=[certificate("xen03")], now=NOW, limit=Level.CROWN
    )
    assert good == ()


def test_a_migration_from_elsewhere_of_what_cannot_move_or_to_where_it_cannot_run_is_refused() -> None:
    def move(source: str, to: str) -> Plan:
        vm = Thing("vm", "db01", uuid("db01"))
        return forged(Action(Verb.MIGRATE, vm, "", to=host(to), source=host(source)))

    pool = PoolBuilder()
    pool.vm("db01", on="xen02", sr="san-1")
    assert judged(move("xen02", "xen03"), pool) == ""
    assert "it runs on xen02" in judged(move("xen01", "xen03"), pool)
    assert "it is there already" in judged(move("xen02", "xen02"), pool)
    assert "the manifest does not name it" in judged(move("xen02", "xen03"), pool, wanted=wanted())
    assert "this run may go to metadata" in judged(move("xen02", "xen03"), pool, limit=Level.METADATA)
    assert "xen02 is not live and answering" in judged(move("xen02", "xen03"), pool, {"xen02": "silent"})
    pool.host("xen03", enabled=False)
    assert "xen03 is not live, enabled and answering" in judged(move("xen02", "xen03"), pool)
    halted = PoolBuilder()
    halted.vm("db01", sr="local-xen01")
    told = judged(move("xen02", "xen03"), halted)
    assert "it is Halted" in told
    assert "it runs on no host" in told
    assert "does not reach the storage of its drive 0" in told


def test_the_checker_shares_no_code_with_the_planner() -> None:
    core = Path(__file__).parents[2] / "reconciler" / "core"
    values = {f"reconciler.core.{name}" for name in ("evidence", "model", "plan", "wanted")}
    checkers = sorted(core.glob("checker*.py"))
    assert len(checkers) == 6
    own = {f"reconciler.core.{path.stem}" for path in checkers}
    for path in checkers:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        named |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        ours = {name for name in named if name.startswith("reconciler")}
        assert ours <= values | own, f"{path.name} imports {sorted(ours - values - own)}"
