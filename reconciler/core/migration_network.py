"""The network that migrations go over: declared, or set for the pool by Xen Orchestra; which hosts it leads to. Pure.

XAPI looks when the source is about to send: the target must have a plugged PIF with an address on it
(xapi_network_attach_helpers.ml:assert_valid_ip_configuration_on_network_for_host).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from reconciler.core.draft import Draft
from reconciler.core.model import Host, Network, PoolState, Ref
from reconciler.core.plan import Thing, Unmet
from reconciler.core.standing import Stands
from reconciler.core.wanted import Wanted
from reconciler.core.words import names

OF_XEN_ORCHESTRA = "xo:migrationNetwork"
"""Key of pool.other_config with a network's uuid. XAPI itself has no pool-wide setting: the network is an option of
each call, and without it the source connects to the target's management address."""
NO_MIGRATION = "is reached by no migration: "
_KEY = "policy.placement.migrationNetwork"


def named(wanted: Wanted, state: PoolState) -> tuple[str, tuple[Network, ...]]:
    """The name or uuid that is meant, "" for the management network, and the networks that it means. What Xen Orchestra
    wrote about a network that is gone means nothing."""
    declared = wanted.policy.migration_network
    key = declared or state.pool.other_config.get(OF_XEN_ORCHESTRA, "")
    found = tuple(n for n in state.networks.values() if key in (n.name, n.uuid)) if key else ()
    if not declared and len(found) != 1:
        return "", ()
    return key, found


def closed(wanted: Wanted, state: PoolState) -> Mapping[Ref, str]:
    """Hosts to which no VM can be moved for that network, each with why."""
    key, found = named(wanted, state)
    if not key:
        return {}
    if len(found) != 1:
        return {ref: f"{NO_MIGRATION}{_wrong(key, found)}" for ref in state.hosts}
    return {ref: why for ref, host in state.hosts.items() if (why := _no_way(host, found[0], state))}


def _wrong(key: str, found: Sequence[Network]) -> str:
    what = f"{names([key])} means {len(found)} networks" if found else f"the pool has no network {names([key])}"
    return f"{what} ({_KEY})"


def _no_way(host: Host, network: Network, state: PoolState) -> str:
    pifs = [p for p in state.pifs.values() if p.host == host.ref and p.network == network.ref]
    told = f"{names([network.name])}, over which VMs are to migrate"
    if not pifs:
        return f"is not connected to network {told}"
    if not pifs[0].currently_attached:
        return f"has its interface on network {told}, unplugged"
    return f"has no address on network {told}" if pifs[0].address == "" else ""


def plan_migration_network(wanted: Wanted, stands: Stands, state: PoolState, draft: Draft) -> None:
    """Tell a declared network that is none, with those that would do; and hosts that it does not lead to."""
    key, found = named(wanted, state)
    if not key:
        return
    if len(found) != 1:
        able = sorted(n.uuid for n in found) or _candidates(key, stands, state)
        remedy = f"write one of these: {names(able, most=6)}" if able else "xe network-list; then correct the manifest"
        place = wanted.policy.migration_network_place
        pool = Thing("pool", state.pool.name, state.pool.uuid)
        why = f"{_wrong(key, found)}: no VM can be moved"
        draft.unmet.append(Unmet(pool, f"migrationNetwork {key}", why, remedy, str(place or "")))
        return
    for host in stands.ready:
        if why := _no_way(host, found[0], state):
            remedy = "Next: xe pif-reconfigure-ip, or xe pif-plug, there; until then no VM is moved to it"
            draft.notes.append(f"{stands.by_ref[host.ref].thing.name} {why}. {remedy}")


def _candidates(key: str, stands: Stands, state: PoolState) -> Sequence[str]:
    """Networks that are called nearly so, and those on which every ready host has an address."""
    near = get_close_matches(key, sorted({n.name for n in state.networks.values()}))
    whole = [n for n in state.networks.values() if not any(_no_way(h, n, state) for h in stands.ready)]
    return list(dict.fromkeys((*near, *sorted(n.name for n in whole if stands.ready))))
