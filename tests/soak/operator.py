"""People at the pool: through another client, and following what a plan told them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reconciler.core.evidence import Situation
from reconciler.core.plan import Plan
from reconciler.lab import Lab, LabHost
from reconciler.lab.faults import deed

SOURCE = "operator"
CALLS = {
    "start": "xe VM.start vm:{vm} false false",
    "stop": "xe VM.clean_shutdown vm:{vm}",
    "kill": "xe VM.hard_shutdown vm:{vm}",
    "suspend": "xe VM.suspend vm:{vm}",
    "migrate": "xe VM.pool_migrate vm:{vm} host:{host} {{}}",
    "disable": "xe host.disable host:{host}",
    "enable": "xe host.enable host:{host}",
    "block": "xe VM.add_to_blocked_operations vm:{vm} start maintenance",
    "designate": "xe pool.designate_new_master host:{host}",
}
"""What people do, in the lab's words (lab/faults.py)."""


class Operator:
    """Does things with real calls at an acting master that its desk reaches; what XAPI refuses is not done."""

    def __init__(self, lab: Lab, say: Callable[[str], None]) -> None:
        self.lab = lab
        self.say = say
        self.started: list[tuple[float, str]] = []
        """(time, VM uuid) of every start that people asked for, directly or not."""

    def _ask(self, host: LabHost, method: str, *params: Any, patience: float = 3.0) -> Any:
        reply = self.lab.request(host.address, method, params, source=SOURCE)
        self.lab.settle([reply], self.lab.now + patience)
        return reply.value if reply.done and reply.failure is None and reply.transport is None else None

    def do(self, what: str, vm: int, host: int) -> None:
        """One thing that somebody does at the acting master, without waiting for its end."""
        picture = self.lab.describe()
        guests, hosts = picture["vms"], list(self.lab.hosts)
        words = CALLS[what]
        if not guests and "{vm}" in words:
            return
        chosen = guests[vm % len(guests)] if guests else {"uuid": "", "name": ""}
        if what in ("start", "migrate"):
            self.started.append((self.lab.now, chosen["uuid"]))
        command = words.format(vm=chosen["uuid"], host=hosts[host % len(hosts)])
        self.say(f"   @ operator: {what} {chosen['name']}: {command}")
        deed(self.lab, command.split(), lambda text: self.say(f"   @ {text}"))()

    # --- what a plan told them -----------------------------------------------------------------------------------

    def follow(self, plan: Plan) -> bool:
        """Do what the plan advises and only people may do; whether there was something."""
        situation = plan.diagnosis.situation
        if situation is Situation.TWO_MASTERS:
            return self._decide()
        if any("xe-toolstack-restart" in remedy for remedy in remedies(plan)):
            return self._restart(plan)
        if any("xe pool-recover-slaves" in remedy for remedy in remedies(plan)):
            return self._decide()
        return False

    def _decide(self) -> bool:
        """On the master that most members follow, the later one where they are even: xe pool-recover-slaves."""
        followers = {
            h.name: sum(o.role == f"slave:{h.address}" for o in self.lab.hosts.values()) for h in self.lab.masters()
        }
        if not followers:
            return False
        right = max(self.lab.masters(), key=lambda h: followers[h.name])
        session = self._ask(right, "session.login_with_password", "root", "lab", "1.0", "desk")
        self.say(f"   @ operator: pool-recover-slaves on {right.name}")
        self._ask(right, "pool.recover_slaves", session, patience=120.0)
        return True

    def _restart(self, plan: Plan) -> bool:
        told = [h for h in self.lab.hosts.values() if any(_names(h, remedy) for remedy in remedies(plan))]
        for host in told:
            if host.up:
                self.say(f"   @ operator: xe-toolstack-restart on {host.name}")
                self.lab.restart_toolstack(host.name)
        return bool(told)


def remedies(plan: Plan) -> list[str]:
    """Every next step that the plan names."""
    return [plan.diagnosis.remedy, *(h.remedy for h in plan.withheld), *(u.remedy for u in plan.unmet), *plan.notes]


def _names(host: LabHost, remedy: str) -> bool:
    return "xe-toolstack-restart" in remedy and (f"{host.name}:" in remedy or f"root@{host.address} " in remedy)
