"""People who do what a plan tells them and only they may: edit the manifest, or read a file on a host and act on it."""

from __future__ import annotations

import re
from dataclasses import replace

from reconciler.core.plan import Plan
from reconciler.core.wanted import MasterWish, Wanted
from reconciler.lab import Lab
from tests.soak.operator import Operator, remedies

MAX_KILLED = re.compile(r"set policy\.metadata\.maxKilled to (\d+)")
NAME_MASTER = re.compile(r"who was master last can't be told, .*: set spec\.master\.host in \S+ to that host$")
BY_HAND = re.compile(r"make (\S+) master by hand: ssh \S+ xe pool-emergency-transition-to-master")


def edited(wanted: Wanted, plan: Plan, lab: Lab) -> Wanted | None:
    """The manifest as a person leaves it who was told to edit it; None: nothing was asked for, or it is so already."""
    told = remedies(plan)
    if accept := next((m for text in told if (m := MAX_KILLED.search(text))), None):
        metadata = replace(wanted.policy.metadata, max_killed=int(accept[1]))
        return replace(wanted, policy=replace(wanted.policy, metadata=metadata))
    if any(NAME_MASTER.search(text) for text in told):
        return _naming(wanted, most_followed(lab))
    if any(BY_HAND.search(text) for text in told) and (silent := followed_silent(lab)):
        return _naming(wanted, silent)
    return None


def _naming(wanted: Wanted, host: str) -> Wanted | None:
    was = wanted.master
    if was is None:
        return replace(wanted, master=MasterWish(host))
    if was.host == host:
        return None
    return replace(wanted, master=replace(was, host=host, successors=tuple(s for s in was.successors if s != host)))


def most_followed(lab: Lab) -> str:
    """The host that most role files name: who has no record of who was master last takes that one for it."""
    files = [host.role for host in lab.hosts.values()]
    return max(lab.hosts.values(), key=lambda host: files.count(f"slave:{host.address}")).name


def followed_silent(lab: Lab) -> str:
    """By the role files that people can read, on hosts that are up: a host without power that one of them names."""
    files = [host.role for host in lab.hosts.values() if host.up]
    off = [host for host in lab.hosts.values() if not host.powered]
    return next((host.name for host in off if f"slave:{host.address}" in files), "")


def crowned(plan: Plan, operator: Operator) -> bool:
    """Somebody makes a host master by hand, having read in every role file that nobody with power is, and that nobody
    follows a host without."""
    told = next((m[1] for text in remedies(plan) if (m := BY_HAND.search(text))), "")
    lab = operator.lab
    if not told or followed_silent(lab) or any(host.role == "master" and host.powered for host in lab.hosts.values()):
        return False
    operator.meddle("promote", lab.hosts[told], lab.hosts[told])
    return True
