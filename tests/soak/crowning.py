"""Judgement on calls that make masters, and that bring members behind one (watch.py has the rest)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reconciler.lab import LabHost
from tests.soak.moving import second_master

if TYPE_CHECKING:
    from tests.soak.watch import Watch


def of_promotion(watch: Watch, address: str, params: Sequence[Any]) -> None:
    """Nobody acts as a master, and nobody was told to become one (I2, I3)."""
    candidate = watch.lab.at(address)
    assert candidate is not None
    for host in watch.lab.hosts.values():
        if host is candidate:
            continue
        ts = host.toolstack
        followers = [
            h.name
            for h in watch.lab.hosts.values()
            if h is not host
            and h.toolstack is not None
            and h.toolstack.master_address == host.address
            and watch.lab.reaches(h.name, host)
        ]
        acting = ts is not None and ts.is_master and ts.alive and not host.hung and not watch.sworn_off(host)
        began = watch.sight.acts_since.get(host.name, watch.number)
        if not followers and _made_unseen(watch, host):
            continue
        if acting and began <= watch.sight.probed.get(host.name, -1):
            watch.blame("I2", f"promotes {candidate.name} while {host.name} acts as master")
        elif acting and followers and began < watch.number:
            watch.blame("I2", f"promotes {candidate.name} while {host.name} is the master of {followers}")
        known = _role_was_seen(watch, host, watch.sight.probed.get(candidate.name, -1))
        told = host.name in {told for _, told in watch.promoted}
        if host.role == "master" and host.powered and told and known:
            watch.blame("I3", f"promotes {candidate.name} after {host.name}, which has power")
    # Told by another machine it may be: both chose the same one, and the call changes nothing then.
    if candidate.role == "master" and (watch.name, candidate.name) in watch.promoted:
        watch.blame("I3", f"promotes {candidate.name}, which was told already")
    unseen = [m.name for m in watch.wanted.members if watch.sight.probed.get(m.name, -1) <= watch.sight.written]
    if unseen:
        watch.blame("I7", f"promotes {candidate.name} without asking {unseen} after its last write")
    watch.promoted.append((watch.name, candidate.name))


def _made_unseen(watch: Watch, host: LabHost) -> bool:
    """Nobody follows it and it did not answer this machine's last look: no witness that this machine can ask knows
    of it (docs/safety.md, two machines while there is no master). Either the other machine made it master; or it is
    a master beside the pool's, made by somebody or replaced and back alone, while a member tells that it follows
    another, and this machine's last reading names another."""
    others = {told for who, told in watch.promoted if who != watch.name}
    mine = {told for who, told in watch.promoted if who == watch.name}
    if host.name in mine or watch.seen(host):
        return False
    telling = [h for h in watch.lab.hosts.values() if watch.answers(h) and h.role.startswith("slave:")]
    told = any(h.toolstack is not None and not h.toolstack.emergency for h in telling)
    meant = any(h.role == f"slave:{host.address}" for h in telling)
    elsewhere = bool(watch.by_hand or watch.promoted) and told and not meant and host.name != watch.last_master
    return host.name in others or elsewhere


def _role_was_seen(watch: Watch, host: LabHost, looked: int) -> bool:
    """It was what it is, master or member, when the look was taken that the call follows."""
    return watch.sight.role_since.get(host.name, (False, watch.number))[1] <= looked


def of_recovery(watch: Watch, address: str, params: Sequence[Any]) -> None:
    """Whoever is asked wins: a second master is demoted and its VMs may be killed."""
    asked = watch.lab.at(address)
    assert asked is not None
    ts = asked.toolstack
    seen = _role_was_seen(watch, asked, watch.sight.probed.get(asked.name, -1))
    if watch.answers(asked) and ts is not None and not ts.is_master and seen:
        watch.blame("I2", f"tells the member {asked.name} to recover the others, which tangles the pool")
    for host in watch.lab.hosts.values():
        if host is not asked and host.name in watch.sight.acts_since and watch.seen(host):
            since = watch.sight.acts_since[host.name]
            if since <= watch.sight.probed[host.name]:
                watch.blame("I2", f"lets {asked.name} recover the others while {host.name} acts as master")


def of_pointing(watch: Watch, address: str, params: Sequence[Any]) -> None:
    """A host is told whom to follow: a second master only right after a look (I2, I7)."""
    host = watch.lab.at(address)
    assert host is not None
    if host.name in watch.sight.acts_since and watch.sight.acts_since[host.name] <= watch.sight.probed.get(
        host.name, -1
    ):
        second_master(watch, host, watch.lab.at(str(params[1])))
    if watch.sight.probed.get(host.name, -1) <= watch.sight.written:
        watch.blame("I7", f"points {host.name} elsewhere without looking at it")
