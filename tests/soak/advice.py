"""People who do what a plan tells them and only they may: edit the manifest, or read a file on a host and act on it."""

from __future__ import annotations

import re
from dataclasses import replace

from reconciler.core.plan import Plan
from reconciler.core.wanted import MasterWish, Wanted
from reconciler.lab import Lab
from tests.soak.operator import Operator, remedies

MAX_KILLED = re.compile(r"set policy\.metadata\.maxKilled to (\d+)")
BY_HAND = re.compile(r"make (\S+) master by hand: ssh \S+ xe pool-emergency-transition-to-master")


def edited(wanted: Wanted, plan: Plan, lab: Lab) -> Wanted | None:
    """The manifest as a person leaves it who was told to edit it; None: nothing was asked for, or it is so already."""
    told = remedies(plan)
    if accept := next((m for text in told if (m := MAX_KILLED.search(text))), None):
        metadata = replace(wanted.policy.metadata, max_killed=int(accept[1]))
        return replace(wanted, policy=replace(wanted.policy, metadata=metadata))
    if not any(BY_HAND.search(text) for text in told) or not (silent := followed_silent(lab)):
        return None
    was = wanted.master
    if was is not None and was.host == silent:
        return None
    master = replace(was, host=silent, successors=tuple(s for s in was.successors if s != silent)) if was else None
    return replace(wanted, master=master or MasterWish(silent))


def followed_silent(lab: Lab) -> str:
    """By the role files that people can read, on hosts that are up: a host without power that one of them names."""
    files = [host.role for host in lab.hosts.values() if host.up]
    off = [host for host in lab.hosts.values() if not host.powered]
    return next((host.name for host in off if f"slave:{host.address}" in files), "")


def crowned(plan: Plan, operator: Operator) -> bool:
    """Somebody makes a host master by hand, having read in every role file that nobody is, nor a host without power."""
    told = next((m[1] for text in remedies(plan) if (m := BY_HAND.search(text))), "")
    lab = operator.lab
    if not told or followed_silent(lab) or any(host.role == "master" for host in lab.hosts.values()):
        return False
    operator.meddle("promote", lab.hosts[told], lab.hosts[told])
    return True
