"""How the lab's stories are told: one call at a time, by names, over virtual time."""

from __future__ import annotations

from typing import Any

from reconciler.lab import NULL, Lab, Reply, Seed, Timing
from reconciler.lab.schema import blank

HANGS = "hangs"


class Refused(Exception):
    """XAPI's failure, as a list: code and parameters with refs replaced by names."""

    def __init__(self, *description: str) -> None:
        super().__init__(*description)
        self.description = list(description)


class Story:
    """A lab and the sessions in it. Objects are named; answers that are refs come back as names."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.sessions: dict[str, str] = {}
        self.local: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.learn()

    # -- names

    def learn(self) -> None:
        """Learn the names of all objects of every database that is in memory or on disk."""
        for host in self.lab.hosts.values():
            ts = host.toolstack
            tables = ts.db.tables if ts is not None and ts.db is not None else host.disk.tables
            for cls in ("host", "SR", "VM", "network", "pool"):
                for ref, record in tables[cls].items():
                    self.names[ref] = record["name_label"]

    def ref(self, name: str) -> str:
        """The ref of the object with that name."""
        found = [ref for ref, label in self.names.items() if label == name]
        assert len(found) == 1, f"{name}: {len(found)} objects"
        return found[0]

    def _name(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.names.get(value, value)
        if isinstance(value, list):
            return [self._name(v) for v in value]
        return value

    def address(self, host: str) -> str:
        return self.lab.hosts[host].address

    # -- calls

    def send(self, host: str, method: str, *params: Any) -> Reply:
        return self.lab.request(self.address(host), method, params)

    def raw(self, host: str, method: str, *params: Any, deadline: float = 900.0) -> Any:
        """The value; raises Refused; or "hangs", "refused", "unreachable", "dropped"."""
        reply = self.send(host, method, *params)
        self.lab.settle([reply], self.lab.now + deadline)
        return self.outcome(reply)

    def outcome(self, reply: Reply) -> Any:
        if not reply.done:
            return HANGS
        if reply.transport is not None:
            return reply.transport
        if reply.failure is not None:
            code, params = reply.failure
            raise Refused(code, *[self._name(p) for p in params])
        return reply.value

    def login(self, host: str) -> str:
        session = self.raw(host, "session.login_with_password", "root", self.lab.password)
        self.sessions[host] = session
        return str(session)

    def local_login(self, host: str) -> str:
        session = self.raw(host, "session.slave_local_login_with_password", "root", self.lab.password)
        self.local[host] = session
        return str(session)

    def ask(self, host: str, method: str, *params: Any, deadline: float = 900.0) -> Any:
        """With a normal session; names as parameters become refs."""
        if host not in self.sessions:
            self.login(host)
        return self._name(self.raw(host, method, self.sessions[host], *self._refs(params), deadline=deadline))

    def ask_locally(self, host: str, method: str, *params: Any, deadline: float = 900.0) -> Any:
        if host not in self.local:
            self.local_login(host)
        return self._name(self.raw(host, method, self.local[host], *self._refs(params), deadline=deadline))

    def _refs(self, params: tuple[Any, ...]) -> list[Any]:
        known = set(self.names.values())
        return [self.ref(p) if isinstance(p, str) and p in known else p for p in params]

    def refusal(self, host: str, method: str, *params: Any) -> list[str]:
        """The refusal that this call must get."""
        try:
            value = self.ask(host, method, *params)
        except Refused as refused:
            return refused.description
        raise AssertionError(f"{method} was not refused: {value!r}")

    def refusal_locally(self, host: str, method: str, *params: Any) -> list[str]:
        try:
            value = self.ask_locally(host, method, *params)
        except Refused as refused:
            return refused.description
        raise AssertionError(f"{method} was not refused: {value!r}")

    def sign_in(self, host: str) -> Any:
        """What a normal login gets: "master", the refusal, or what the socket did."""
        try:
            value = self.raw(host, "session.login_with_password", "root", self.lab.password, deadline=5.0)
        except Refused as refused:
            return refused.description
        if isinstance(value, str) and value.startswith("OpaqueRef:"):
            self.sessions[host] = value
            return "master"
        return value

    # -- states

    def wait(self, seconds: float) -> None:
        self.lab.run(self.lab.now + seconds)

    def until(self, check: Any, within: float, step: float = 0.5) -> float:
        """Let time pass until the check holds; how long that took. Fails after `within` seconds."""
        start = self.lab.now
        while not check():
            assert self.lab.now - start < within, f"not within {within} s"
            self.lab.run(self.lab.now + step)
        return self.lab.now - start

    def until_master(self, host: str, within: float = 60.0) -> float:
        return self.until(lambda: self.sign_in(host) == "master", within)

    def hosts(self, master: str) -> dict[str, tuple[bool, bool]]:
        """Host name -> (enabled, live) in that master's eyes."""
        records = self.raw(master, "host.get_all_records", self.sessions[master])
        metrics = self.raw(master, "host_metrics.get_all_records", self.sessions[master])
        return {r["name_label"]: (r["enabled"], metrics[r["metrics"]]["live"]) for r in records.values()}

    def until_ready(self, master: str, *hosts: str, within: float = 120.0) -> float:
        """Until these hosts are enabled and live at that master."""
        return self.until(lambda: all(self.hosts(master)[h] == (True, True) for h in hosts), within)

    def where(self, vm: str) -> list[str]:
        """Hosts on which the VM really runs."""
        return [h for h, domains in self.lab.running().items() if any(d.name == vm for d in domains)]

    def record(self, master: str, vm: str) -> tuple[str, str]:
        """(power_state, name of resident_on) as that master records it."""
        found = self.raw(master, "VM.get_record", self.sessions[master], self.ref(vm))
        return found["power_state"], "" if found["resident_on"] == NULL else self.names[found["resident_on"]]

    def harms(self) -> list[str]:
        return [h.kind for h in self.lab.harm()]

    def promote(self, host: str) -> None:
        """The runbook: promote, wait for a login, recover the others at once, wait until they are back."""
        self.ask_locally(host, "pool.emergency_transition_to_master")
        self.until_master(host)


def make(timing: Timing | None = None, **options: Any) -> Story:
    """The recordings' pool: h1 (master), h2, h3; vm1-vm6 on a shared SR, local-h1 … on local ones; vm1 and vm4 on h1,
    vm2 on h2, vm3 on h3, vm5 and vm6 halted, local-h1 running on h1."""
    seed = Seed.generate(3, 0, shared_srs=("shared",), iso_sr=False, memory_per_host=64 << 30, **options)
    tables = seed.tables
    hosts = list(tables["host"])
    for number, ref in enumerate(hosts, start=1):
        tables["host"][ref]["name_label"] = f"h{number}"
    srs = {r["name_label"]: ref for ref, r in tables["SR"].items() if r["shared"]}
    for pbd in tables["PBD"].values():
        if pbd["SR"] not in srs.values():
            number = hosts.index(pbd["host"]) + 1
            tables["SR"][pbd["SR"]]["name_label"] = f"local-sr-h{number}"
            srs[f"local-sr-h{number}"] = pbd["SR"]
    network = next(iter(tables["network"]))
    plan = {"vm1": 0, "vm2": 1, "vm3": 2, "vm4": 0, "vm5": None, "vm6": None, "local-h1": 0}
    for name, number in plan.items():
        _guest(tables, name, None if number is None else hosts[number], srs, network)
    return Story(Lab(Seed.from_tables(tables), timing=timing or Timing()))


def _guest(tables: Any, name: str, host: str | None, srs: dict[str, str], network: str) -> None:
    sr = srs["local-sr-h1"] if name == "local-h1" else srs["shared"]
    vm, vdi, vbd, vif, tools = (f"OpaqueRef:{kind}-{name}" for kind in ("vm", "vdi", "vbd", "vif", "tools"))
    memory = 512 << 20
    tables["VM"][vm] = {
        **blank("VM"),
        "uuid": f"uuid-{name}",
        "name_label": name,
        "power_state": "Running" if host else "Halted",
        "resident_on": host or NULL,
        "memory_static_max": memory,
        "memory_dynamic_max": memory,
        "memory_dynamic_min": memory,
        "memory_static_min": memory,
        "memory_overhead": 7 << 20,
        "VCPUs_max": 1,
        "VCPUs_at_startup": 1,
        "HVM_boot_policy": "BIOS order",
        "domain_type": "hvm",
        "guest_metrics": tools if host else NULL,
    }
    if host:
        features = {f"feature-{name}": "1" for name in ("shutdown", "reboot", "suspend", "poweroff")}  # recording 01
        tables["VM_guest_metrics"][tools] = {**blank("VM_guest_metrics"), "other": features}
    tables["VDI"][vdi] = {**blank("VDI"), "uuid": f"disk-{name}", "name_label": f"{name}-disk", "SR": sr}
    tables["VBD"][vbd] = {
        **blank("VBD"),
        "uuid": f"vbd-{name}",
        "VM": vm,
        "VDI": vdi,
        "mode": "RW",
        "currently_attached": bool(host),
        "userdevice": "0",
    }
    tables["VIF"][vif] = {**blank("VIF"), "uuid": f"vif-{name}", "VM": vm, "network": network}
