"""A random manifest for a lab's pool, and who may be touched by it, worked out without the program."""

from __future__ import annotations

import random
from dataclasses import replace

from reconciler.core.wanted import (
    Account,
    Brake,
    Connection,
    Failback,
    Level,
    MasterWish,
    MemberState,
    MetadataPolicy,
    PlacementWish,
    Policy,
    Priority,
    Ready,
    SelectorKind,
    StorageWish,
    VmWish,
    Wanted,
    WantedState,
)
from reconciler.lab import Lab
from reconciler.lab.guests import NEVER
from tests.support.labport import PROBE
from tests.support.story import wanted_of

STATES = (WantedState.RUNNING, WantedState.RUNNING, WantedState.HALTED, WantedState.SUSPENDED, WantedState.AS_IS)


def random_wanted(lab: Lab, seed: int) -> Wanted:
    """A manifest of that pool: a subset of its VMs, mostly as they are, and a policy."""
    rng = random.Random(seed)
    hosts = list(lab.hosts)
    share = rng.choice((0.0, 0.34, 0.5, 0.5, 0.51))
    wanted = wanted_of(lab, fencing=False, brake=Brake(share, rng.choice((1, 1, 2, 3))))
    fenced = wanted_of(lab, fencing=True)
    every = rng.choice((1.0, 1.0, 0.5, 0.0))
    members = tuple(
        replace(
            full if rng.random() < every else bare,
            state=MemberState.MAINTENANCE if i and rng.random() < 0.05 else MemberState.ACTIVE,
        )
        for i, (bare, full) in enumerate(zip(wanted.members, fenced.members, strict=True))
    )
    policy = replace(
        wanted.policy,
        attended=Level.CROWN if rng.random() < 0.9 else rng.choice(list(Level)),
        unattended=rng.choice((Level.OBSERVE, Level.MOVE, Level.POWER, Level.POWER, Level.BURY, Level.CROWN)),
    )
    own = random.Random(f"copies {seed}")  # of its own, so that older schedules stay what they were
    metadata = MetadataPolicy(
        own.choice((None, 60.0, 600.0, 3600.0)), own.choice((0, 5, 5, 1000)), own.choice(((), (PROBE, "{name}"))), 3.0
    )
    policy = replace(policy, metadata=metadata)
    master: MasterWish | None = MasterWish(
        hosts[0] if rng.random() < 0.8 else rng.choice(hosts),
        tuple(rng.sample(hosts, rng.randint(0, len(hosts) - 1))),
        rng.choice((Failback.MANUAL, Failback.AUTO, Failback.NEVER)),
    )
    if master and master.host in master.successors:
        master = replace(master, successors=tuple(s for s in master.successors if s != master.host))
    return replace(
        wanted,
        members=members,
        policy=policy,
        master=master if rng.random() < 0.85 else None,
        storage=StorageWish(default_sr=rng.choice((None, None, "san-1"))),
        connection=_connection(wanted.connection, seed),
        vms=_ordered(random.Random(f"{seed} order"), _wishes(rng, wanted, hosts, lab), lab),
    )


def _connection(connection: Connection, seed: int) -> Connection:
    """Now and then with an account of its own for local sessions."""
    apart = random.Random(f"local {seed}").random() < 0.2
    return replace(connection, local=Account("root", connection.password) if apart else None)


def _wishes(rng: random.Random, wanted: Wanted, hosts: list[str], lab: Lab) -> tuple[VmWish, ...]:
    kept = []
    names = {vm["uuid"]: vm["name"] for vm in lab.describe()["vms"]}
    changing = rng.choice((0.0, 0.15, 0.5))
    for wish in wanted.vms:
        if rng.random() < 0.15:
            continue
        changed = wish
        if rng.random() < changing:
            changed = replace(changed, state=rng.choice(STATES))
        if rng.random() < changing:
            changed = replace(changed, home=rng.choice((None, *hosts)))
        if rng.random() < 0.1:
            changed = replace(
                changed,
                placement=PlacementWish(
                    prefer=(rng.choice(hosts),),
                    avoid=(rng.choice(hosts),) if rng.random() < 0.5 else (),
                    spread="s" if rng.random() < 0.5 else None,
                ),
            )
        if rng.random() < 0.05:
            changed = replace(changed, max_level=rng.choice(list(Level)))
        if kept and rng.random() < 0.15:
            changed = replace(changed, depends_on=(rng.choice(kept).value,))
        if rng.random() < 0.2:
            changed = replace(changed, priority=rng.choice(list(Priority)))
        kept.append(changed)
    if rng.random() < 0.05:
        kept += _forbidden(rng, lab, names)
    return tuple(kept)


def with_maintenance(wanted: Wanted, seed: int) -> Wanted:
    """What maintenance may do there: stop VMs, move those that the manifest does not name. Drawn apart."""
    rng = random.Random(f"maintenance {seed}")
    share = rng.choice((0.0, 0.3, 1.0))
    return replace(
        wanted,
        members=tuple(replace(m, evacuate_all=rng.random() < 0.3) for m in wanted.members),
        vms=tuple(
            replace(w, placement=replace(w.placement, stop_for_maintenance=rng.random() < share)) for w in wanted.vms
        ),
    )


def _ordered(rng: random.Random, wishes: tuple[VmWish, ...], lab: Lab) -> tuple[VmWish, ...]:
    """Some depend on others and wait for them, by every means; not every guest does what is waited for."""
    if rng.random() < 0.5:
        return wishes
    made: list[VmWish] = []
    for wish in wishes:
        guest = lab.guests.of(wish.value)
        guest.tools = rng.choice((None, None, None, 5.0, 90.0, NEVER))
        guest.ports = {5432: rng.choice((0.0, 3.0, 40.0, NEVER)), 80: rng.choice((1.0, 20.0))}
        guest.pages = {"/": rng.choice((200, 200, 503))}
        changed = wish
        if rng.random() < 0.5:
            ready = rng.choice((Ready(tools=True), Ready(address=True), Ready(tcp=5432), Ready(http="/")))
            changed = replace(changed, ready=replace(ready, timeout=rng.choice((10.0, 60.0, 300.0))))
            if rng.random() < 0.2:
                changed = replace(changed, ready=Ready(delay=rng.choice((1.0, 45.0))))
        if made and rng.random() < 0.5 and wish.kind is SelectorKind.UUID:
            changed = replace(changed, depends_on=tuple({rng.choice(made).value for _ in range(rng.randint(1, 2))}))
        made.append(changed)
    return tuple(made)


def _forbidden(rng: random.Random, lab: Lab, names: dict[str, str]) -> list[VmWish]:
    """Somebody declares a control domain or a template by its uuid (I11)."""
    db = lab.masters()[0].toolstack
    assert db is not None
    assert db.db is not None
    records = list(db.db.tables["VM"].values())
    found = [r["uuid"] for r in records if r["uuid"] not in names and (r["is_control_domain"] or r["is_a_template"])]
    if not found:
        return []
    return [VmWish(SelectorKind.UUID, rng.choice(sorted(found)), rng.choice(STATES[:3]))]


def policy_of(wanted: Wanted, *, attended: bool) -> tuple[Policy, Level]:
    """The policy and how far a run may go by it."""
    return wanted.policy, wanted.policy.attended if attended else wanted.policy.unattended
