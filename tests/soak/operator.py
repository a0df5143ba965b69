"""People at the pool: through another client, and following what a plan told them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reconciler.core.evidence import LoginAnswer, Situation
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
        self.by_hand: set[str] = set()
        """Hosts that people made master, or let recover the others."""

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

    def meddle(self, what: str, host: LabHost, other: LabHost) -> None:
        """Somebody who knows no better changes who is master, with a session of that very host: points it at another,
        makes it master beside whoever is, or lets it recover the others (recordings 05, 13, 17)."""
        self.say(f"   @ operator: {what} {host.name} {other.name}")
        if what != "stray":
            self.by_hand.add(host.name)
        # Whatever runs by then twice, or is started by two masters, is theirs.
        self.started += [(self.lab.now, vm["uuid"]) for vm in self.lab.describe()["vms"]]
        session = self._ask(host, "session.slave_local_login_with_password", "root", "lab")
        if session is None:
            return
        method, params = {
            "stray": ("pool.emergency_reset_master", [other.address]),
            "promote": ("pool.emergency_transition_to_master", []),
            "recover": ("pool.recover_slaves", []),
        }[what]
        self._ask(host, method, session, *params, patience=60.0)

    # --- what a plan told them -----------------------------------------------------------------------------------

    def follow(self, plan: Plan) -> bool:
        """Do what the plan advises and only people may do; whether there was something."""
        situation = plan.diagnosis.situation
        if situation is Situation.DEPOSED:
            return self._bring_back(plan)
        if any("xe-toolstack-restart" in remedy for remedy in remedies(plan)):
            return self._restart(plan)
        return False

    def _bring_back(self, plan: Plan) -> bool:
        """The replaced master's toolstack is stopped until the promoted one is master again; False: it stays away."""
        old = next(t.member for t in plan.diagnosis.ties if t.login is LoginAnswer.MASTER)
        lab = self.lab
        up = [h.name for h in lab.hosts.values() if h.up and h.name != old and h.role == "master"]
        if not up:
            return False
        self.say(f"   @ operator: stops the toolstack of {old} until {up[0]} is back")
        lab.stop_toolstack(old)
        lab.restart_toolstack(up[0])
        lab.run(lab.now + 120.0)
        lab.start_toolstack(old)
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


def yields(plan: Plan) -> str:
    """The first host of which the plan says that a person may let it give way; "" for none."""
    found = [r.partition("--yield ")[2].split()[0] for r in remedies(plan) if "--yield " in r]
    return found[0] if found else ""


def _names(host: LabHost, remedy: str) -> bool:
    return "xe-toolstack-restart" in remedy and (f"{host.name}:" in remedy or f"root@{host.address} " in remedy)
