"""The network that migrations go over, judged before anything moves."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.checker import check_plan
from reconciler.core.migration_network import OF_XEN_ORCHESTRA
from reconciler.core.model import PoolState
from reconciler.core.plan import Plan, Verb
from reconciler.core.planner import make_plan
from reconciler.core.wanted import Level, MemberState, PlacementWish, Policy, Wanted
from tests.core.build import GIB, NOW, PoolBuilder, survey, verbs, wanted, wish


def pool(**addresses: str | None) -> PoolBuilder:
    """web1 is to leave xen01; each host has an interface on `migr`, with that address."""
    made = PoolBuilder()
    made.vm("web1", on="xen01")
    made.vm("big3", on="xen03", memory=30 * GIB)
    made.network("migr", ["xen01", "xen02", "xen03"])
    made.network("other", ["xen01", "xen02", "xen03"])
    for key, pif in made.pifs.items():
        host, _, network = key.partition("-")
        told = addresses.get(host, "10.1.0.1") if network == "migr" else ""
        made.pifs[key] = replace(pif, address=told)
    return made


def manifest(network: str | None) -> Wanted:
    entry = wish("web1", placement=PlacementWish(avoid=("xen01",)))
    return wanted(entry, wish("big3"), policy=Policy(migration_network=network))


def plan(declared: Wanted, state: PoolState) -> Plan:
    made = make_plan(declared, survey(), now=NOW, state=state)
    assert check_plan(made, declared, survey(), state, certificates=(), now=NOW, limit=Level.CROWN) == ()
    return made


def test_a_host_without_an_address_there_is_no_target() -> None:
    assert verbs(plan(manifest("migr"), pool().state())) == ["migrate web1 -> xen02"]
    made = plan(manifest("migr"), pool(xen02="").state())
    assert verbs(made) == ["migrate web1 -> xen03"]
    (note,) = made.notes
    assert note.startswith("xen02 has no address on network migr, over which VMs are to migrate")
    # What is not known is no reason.
    assert verbs(plan(manifest("migr"), pool(xen02=None).state())) == ["migrate web1 -> xen02"], (
        "not known is no reason"
    )
    made = plan(manifest("migr"), pool(xen02="", xen03="").state())
    assert made.actions == ()
    (unmet,) = made.unmet
    assert "only xen01 can run web1 (xen02 has no address on network migr, over which VMs are to migrate" in unmet.why
    assert "the same of xen03" in unmet.why


def test_unplugged_and_unconnected_hosts_are_no_targets_either() -> None:
    made = pool()
    made.pifs["xen02-migr"] = replace(made.pifs["xen02-migr"], currently_attached=False)
    assert "xen02 has its interface on network migr" in plan(manifest("migr"), made.state()).notes[0]
    del made.pifs["xen02-migr"]
    found = plan(manifest("migr"), made.state())
    assert verbs(found) == ["migrate web1 -> xen03"]
    assert "xen02 is not connected to network migr" in found.notes[0]


def test_a_network_that_is_none_is_told_with_those_that_would_do() -> None:
    made = plan(manifest("mirg"), pool().state())
    assert made.actions == ()
    told = {u.wish: (u.why, u.remedy) for u in made.unmet}
    why, remedy = told["migrationNetwork mirg"]
    assert why == "the pool has no network mirg (policy.placement.migrationNetwork): no VM can be moved"
    assert remedy == "write one of these: migr"
    assert "xen02 is reached by no migration: the pool has no network mirg" in told["placement"][0]
    twice = pool()
    twice.networks["again"] = replace(twice.networks["other"], ref="network-again", uuid="uuid-again", name="migr")
    made = plan(manifest("migr"), twice.state())
    why, remedy = {u.wish: (u.why, u.remedy) for u in made.unmet}["migrationNetwork migr"]
    assert why.startswith("migr means 2 networks")
    assert remedy == "write one of these: uuid-again and uuid-migr"


def test_the_word_of_xen_orchestra_counts_while_its_network_is_there() -> None:
    for key, target in (("uuid-migr", "xen03"), ("gone", "xen02")):
        state = pool(xen02="").state(other_config={OF_XEN_ORCHESTRA: key})
        assert verbs(plan(manifest(None), state)) == [f"migrate web1 -> {target}"]


def test_evacuation_and_starts() -> None:
    declared = manifest("migr")
    resting = replace(
        declared,
        vms=(wish("web1"), wish("big3"), wish("down1")),
        members=tuple(replace(m, state=MemberState.MAINTENANCE) if m.name == "xen03" else m for m in declared.members),
    )
    made = pool(xen02="")
    made.vm("down1", memory=40 * GIB)
    found = plan(resting, made.state())
    assert "migrate big3 -> xen01" in verbs(found)
    # A start needs no migration.
    assert [a.to.name for a in found.actions if a.verb is Verb.START and a.to] == ["xen02"], (
        "a start needs no migration"
    )
