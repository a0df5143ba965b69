"""The world of a scenario: what happens in its lab, what somebody else does at its pool, and what is really where."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from reconciler.lab import NULL, Lab
from reconciler.lab.faults import deed
from tests.support.scenario_pool import START

OUTSIDE = "desk"
"""Where the other people sit: cuts of "client" do not touch them."""


class ScenarioWorld:
    """Carries out the commands of a script that are not xenrec's."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.probe_says: dict[str, str] = {}
        """What `copy-age HOST` prints, by host."""

    def do(self, line: str) -> list[str]:
        """Carry out a command that is not xenrec's; what is seen of it."""
        words = shlex.split(line)
        match words:
            case ["wait", time]:
                self.lab.run(self.lab.now + float(time))
            case ["lab", "probe", host, *says]:
                self.probe_says[host] = " ".join(says)
            case ["lab", *_]:
                deed(self.lab, words)()
            case [xe, method, *args] if xe.startswith("xe"):
                return self._xe(xe, method, args)
            case _:
                raise ValueError(f"script.txt: {line!r} is no command")
        return []

    def _xe(self, xe: str, method: str, args: Sequence[str]) -> list[str]:
        lab = self.lab
        _, at, host = xe.rstrip("&").partition("@")
        masters = lab.masters()
        where = lab.hosts[host] if at else masters[0]
        login = "session.login_with_password" if where in masters else "session.slave_local_login_with_password"
        session = self._ask(where.address, login, ["root", lab.password])
        reply = lab.request(
            where.address, method, [session[1], *(self._argument(where.address, a) for a in args)], source=OUTSIDE
        )
        if xe.endswith("&"):
            return []
        lab.settle([reply], lab.now + 300)
        if not reply.done:
            return ["no answer in 300 s"]
        if reply.failure is not None:
            code, params = reply.failure
            return [f"{code} [{'; '.join(self.name_of(p) or p for p in params)}]"]
        return [f"connection {reply.transport}"] if reply.transport else []

    def _ask(self, address: str, method: str, params: Sequence[Any]) -> tuple[str, Any]:
        reply = self.lab.request(address, method, list(params), source=OUTSIDE)
        self.lab.settle([reply], self.lab.now + 60)
        assert reply.done, f"{method} at {address} gets no answer"
        assert reply.failure is None, f"{method} at {address}: {reply.failure or reply.transport}"
        return method, reply.value

    def _argument(self, address: str, word: str) -> Any:
        kind, colon, name = word.partition(":")
        if colon and kind == "address":
            return self.lab.hosts[name].address
        if colon and kind in ("vm", "host", "sr", "pool", "cd"):
            return self._ref_of({"vm": "VM", "sr": "SR", "cd": "VBD"}.get(kind, kind), name)
        if word in ("true", "false"):
            return word == "true"
        if word == "{}":
            return {}
        return int(word) if word.isdigit() else word

    def _ref_of(self, cls: str, name: str) -> str:
        for table in self.tables(cls):
            for ref, record in table.items():
                if cls == "pool" or record.get("name_label") == name:
                    return ref
                if cls == "VBD" and record["type"] == "CD" and self.name_of(record["VM"]) == name:
                    return ref
        raise ValueError(f"script.txt: no {cls} is called {name}")

    def tables(self, cls: str) -> list[dict[str, Any]]:
        """That class in each database there is, an acting master's first."""
        hosts = sorted(self.lab.hosts.values(), key=lambda h: h not in self.lab.masters())
        live = [h.toolstack.db.tables[cls] for h in hosts if h.toolstack is not None and h.toolstack.db is not None]
        return [*live, *(dict(h.disk.tables[cls]) for h in hosts)]

    def name_of(self, value: Any) -> str:
        """The name of the object that a parameter is; "" for anything else."""
        if not isinstance(value, str) or value == NULL or not value.startswith("OpaqueRef:"):
            return ""
        for cls in ("VM", "host", "SR", "pool", "network"):
            for table in self.tables(cls):
                if value in table:
                    return str(table[value]["name_label"])
        return ""

    def running(self) -> list[str]:
        """What physically is where, and what the records say otherwise."""
        told = self.lab.describe()
        by_address = {h.address: h.name for h in self.lab.hosts.values()}
        lines = []
        for name, domains in self.lab.running().items():
            host = self.lab.hosts[name]
            role = host.role if host.role != "master" else "master"
            if role.startswith("slave:"):
                address = role.removeprefix("slave:")
                role = f"member of {by_address.get(address, address)}"
            state = "" if host.toolstack_state == "running" else f" ({host.toolstack_state})"
            vms = ", ".join(d.name + (" (paused)" if d.paused else "") for d in domains)
            lines.append(f"{name}  {role}{state}: {vms or 'runs nothing'}")
        for vm in told["vms"]:
            real, recorded = vm["runs_on"], vm["resident_on"] if vm["power_state"] in ("Running", "Paused") else None
            if real != ([recorded] if recorded else []):
                said = f"{vm['power_state']} on {recorded}" if recorded else vm["power_state"]
                lines.append(f"{vm['name']}: recorded {said}, really on {' and '.join(real) or 'no host'}")
        return lines

    def harm(self) -> list[str]:
        """What the monitor recorded."""
        found = [f"harm at +{h.at - START:.1f}: {h.kind}: {h.text}" for h in self.lab.harm()]
        return found or ["no harm"]
