"""The pool is read class after class: what is made or deleted meanwhile leaves references that lead nowhere."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.checker import check_plan
from reconciler.core.model import PoolState
from reconciler.core.planner import make_plan
from reconciler.core.wanted import Level, PlacementWish, Policy, Wanted
from reconciler.core.why import ground
from reconciler.core.why_vm import why_vm
from tests.core.build import NOW, PoolBuilder, survey, verbs, wanted, wish


def planned(declared: Wanted, state: PoolState) -> list[str]:
    """The plan, which the checker lets pass, too."""
    made = make_plan(declared, survey(), now=NOW, state=state)
    assert check_plan(made, declared, survey(), state, certificates=(), now=NOW, limit=Level.CROWN) == ()
    return verbs(made)


def test_a_vm_that_was_made_meanwhile_has_an_interface_and_no_record() -> None:
    pool = PoolBuilder()
    pool.network("internal", [])
    pool.vm("web1", networks=("internal",))
    pool.vm("web2", on="xen02", networks=("internal",))
    pool.vm("new", on="xen03", networks=("internal",))
    del pool.vms["new"]
    assert planned(wanted(wish("web1"), wish("web2")), pool.state()) == ["start web1 -> xen02"]


def test_a_host_that_joined_meanwhile_has_an_interface_and_no_record() -> None:
    pool = PoolBuilder()
    pool.network("migr", ["xen01", "xen02", "xen03"])
    pool.vm("web1", on="xen01")
    for key, pif in pool.pifs.items():
        pool.pifs[key] = replace(pif, address="10.1.0.1", host="OpaqueRef:new" if "xen03" in key else pif.host)
    entry = wish("web1", placement=PlacementWish(avoid=("xen01",)))
    declared = wanted(entry, policy=Policy(migration_network="migr"))
    assert planned(declared, pool.state()) == ["migrate web1 -> xen02"]


def test_why_tells_of_a_vm_whose_network_is_gone() -> None:
    pool = PoolBuilder()
    pool.network("lan", ["xen01", "xen02", "xen03"])
    pool.network("dmz", ["xen01", "xen02", "xen03"])
    pool.vm("web1", on="xen01", networks=("lan", "dmz"))
    del pool.networks["dmz"]
    state, declared = pool.state(), wanted(wish("web1"))
    made = make_plan(declared, survey(), now=NOW, state=state)
    told = why_vm(ground(declared, made, survey(), state, None), "web1")
    assert "networks lan" in told.known
