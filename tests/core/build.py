"""A small language for pools in planner tests: hosts, SRs and VMs by name, refs made from names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconciler.core.evidence import BmcPower, Certificate, CertificateKind, LoginAnswer, Survey, Testimony
from reconciler.core.model import (
    Host,
    Network,
    Pbd,
    Pif,
    Pool,
    PoolState,
    PowerState,
    Sr,
    Vbd,
    Vdi,
    Vif,
    Vm,
)
from reconciler.core.plan import Plan, Verb
from reconciler.core.wanted import (
    Connection,
    FenceDevice,
    MasterWish,
    Member,
    PlacementWish,
    Policy,
    Priority,
    SecretRef,
    SelectorKind,
    StorageWish,
    VmWish,
    Wanted,
    WantedState,
)

GIB = 1024**3
NOW = 1_700_000_000.0
FENCE = (FenceDevice("fence_test", {"plug": "x"}),)


def uuid(name: str) -> str:
    return f"uuid-{name}"


def ref(kind: str, name: str) -> str:
    return f"OpaqueRef:{kind}-{name}"


def address(name: str) -> str:
    return f"10.0.0.{int(name[-2:]) + 10}"


class PoolBuilder:
    """Collects records; `state()` gives the PoolState. Hosts are named xen01..; xen01 is master."""

    def __init__(self, hosts: int = 3, memory: int = 64 * GIB) -> None:
        self.hosts: dict[str, Host] = {}
        self.vms: dict[str, Vm] = {}
        self.srs: dict[str, Sr] = {}
        self.pbds: dict[str, Pbd] = {}
        self.vdis: dict[str, Vdi] = {}
        self.vbds: dict[str, Vbd] = {}
        self.vifs: dict[str, Vif] = {}
        self.networks: dict[str, Network] = {}
        self.pifs: dict[str, Pif] = {}
        self.master = "xen01"
        self.default_sr: str | None = "san-1"
        for i in range(1, hosts + 1):
            name = f"xen{i:02}"
            self.hosts[name] = Host(ref("host", name), uuid(name), name, address(name), True, True, memory, 0, cpus=16)
        self.sr("san-1", shared=True)
        for name in self.hosts:
            self.sr(f"local-{name}", on=[name])

    def sr(self, name: str, *, shared: bool = False, on: list[str] | None = None, label: str | None = None) -> None:
        self.srs[name] = Sr(
            ref("SR", name), uuid(name), label or name, "lvmoiscsi" if shared else "lvm", "user", shared
        )
        for host in on if on is not None else list(self.hosts):
            key = f"{host}-{name}"
            self.pbds[key] = Pbd(ref("PBD", key), uuid(key), ref("host", host), ref("SR", name), True)

    def network(self, name: str, on: list[str]) -> None:
        self.networks[name] = Network(ref("network", name), uuid(name), name)
        for host in on:
            key = f"{host}-{name}"
            self.pifs[key] = Pif(
                ref("PIF", key), uuid(key), ref("host", host), ref("network", name), "eth0", False, True
            )

    def vm(
        self,
        name: str,
        *,
        on: str | None = None,
        power: PowerState | None = None,
        home: str | None = None,
        sr: str = "san-1",
        cd: str | None = None,
        memory: int = 2 * GIB,
        networks: tuple[str, ...] = (),
        key: str | None = None,
        **more: object,
    ) -> Vm:
        key = key or name
        vbds = []
        for device, (kind, where) in enumerate([("Disk", sr), *([("CD", cd)] if cd else [])]):
            disk = f"{key}-{device}"
            self.vdis[disk] = Vdi(ref("VDI", disk), uuid(disk), f"{name} {kind.lower()}", ref("SR", where))
            self.vbds[disk] = Vbd(
                ref("VBD", disk),
                uuid(disk),
                ref("VM", key),
                ref("VDI", disk),
                str(device),
                kind,
                "RW",
                False,
                on is not None,
            )
            vbds.append(ref("VBD", disk))
        vifs = []
        for i, network in enumerate(networks):
            vif = f"{key}-vif{i}"
            self.vifs[vif] = Vif(
                ref("VIF", vif), uuid(vif), ref("VM", key), ref("network", network), str(i), on is not None
            )
            vifs.append(ref("VIF", vif))
        vm = Vm(
            ref("VM", key),
            uuid(key),
            name,
            power or (PowerState.RUNNING if on else PowerState.HALTED),
            ref("host", on) if on else None,
            ref("host", home) if home else None,
            memory_static_max=memory,
            memory_dynamic_min=memory,
            memory_dynamic_max=memory,
            vbds=tuple(vbds),
            vifs=tuple(vifs),
            **more,  # type: ignore[arg-type]
        )
        self.vms[key] = vm
        return vm

    def host(self, name: str, **changes: object) -> None:
        self.hosts[name] = replace(self.hosts[name], **changes)  # type: ignore[arg-type]

    def state(self, **pool: object) -> PoolState:
        record = Pool(
            ref("pool", "p"),
            uuid("pool"),
            "lab",
            ref("host", self.master),
            ref("SR", self.default_sr) if self.default_sr else None,
            None,
        )

        def table(rows: Mapping[str, object]) -> dict[str, object]:
            return {r.ref: r for r in rows.values()}  # type: ignore[attr-defined]

        return PoolState(
            replace(record, **pool),  # type: ignore[arg-type]
            table(self.hosts),  # type: ignore[arg-type]
            table(self.vms),  # type: ignore[arg-type]
            table(self.vbds),  # type: ignore[arg-type]
            table(self.vdis),  # type: ignore[arg-type]
            table(self.srs),  # type: ignore[arg-type]
            table(self.pbds),  # type: ignore[arg-type]
            table(self.vifs),  # type: ignore[arg-type]
            table(self.networks),  # type: ignore[arg-type]
            table(self.pifs),  # type: ignore[arg-type]
            read_at=NOW,
            read_from=address(self.master),
        )


def wish(name: str, state: str = "running", **more: object) -> VmWish:
    kind = SelectorKind.PATTERN if "*" in name else SelectorKind.NAME
    return VmWish(kind, name, WantedState(state), **more)  # type: ignore[arg-type]


def wanted(
    *vms: VmWish,
    hosts: int = 3,
    fencing: bool = True,
    master: MasterWish | None = None,
    storage: StorageWish = StorageWish(),  # noqa: B008 - frozen
    policy: Policy = Policy(),  # noqa: B008 - frozen
    **more: object,
) -> Wanted:
    members = tuple(
        Member(f"xen{i:02}", address(f"xen{i:02}"), fencing=FENCE if fencing else ()) for i in range(1, hosts + 1)
    )
    return Wanted(
        "lab",
        members,
        Connection("root", SecretRef("env", "PW")),
        master=master,
        storage=storage,
        policy=policy,
        vms=vms,
        source="pool.yaml",
        **more,  # type: ignore[arg-type]
    )


def survey(
    spec: Mapping[str, str] | None = None, *, hosts: int = 3, master: str | None = "xen01", bmc: str = "on"
) -> Survey:
    """Everybody answers and follows `master`, except as `spec` says: "silent", "silent off", "silent unknown",
    "refused", "hung", "master", "follows xen02", "reaches xen01", "emergency", "rejected", "untrusted"."""
    spec = spec or {}
    found = []
    for i in range(1, hosts + 1):
        name = f"xen{i:02}"
        word, _, rest = spec.get(name, "").partition(" ")
        power = BmcPower(bmc)
        base = Testimony(name, address(name), NOW, LoginAnswer.SILENT, bmc=power, tcp=False)
        if word == "silent":
            found.append(replace(base, bmc=BmcPower(rest) if rest else power))
        elif word == "hung":
            found.append(replace(base, tcp=True))
        elif word in ("refused", "untrusted", "rejected", "emergency"):
            found.append(replace(base, login=LoginAnswer(word), tcp=True, local_login=word == "emergency"))
        elif word == "master" or (not word and name == master):
            found.append(replace(base, login=LoginAnswer.MASTER, tcp=True, pool_uuid=rest or uuid("pool")))
        else:
            follows = rest or master or "xen01"
            reaches = word == "reaches" or (not word and master is not None)
            found.append(
                replace(
                    base,
                    login=LoginAnswer.SLAVE,
                    follows=address(follows),
                    tcp=True,
                    local_login=True,
                    is_emergency=False,
                    reaches_master=reaches,
                )
            )
    return Survey(NOW, tuple(found))


def certificate(name: str, kind: str = "attested", *, expires: float = 1800.0) -> Certificate:
    return Certificate(
        CertificateKind(kind), "lab", name, address(name), uuid(name), "op", "seen off", NOW - 10, NOW + expires
    )


def verbs(plan: Plan) -> list[str]:
    """ "start db01 -> xen02" for each action, in order."""
    return [f"{a.verb} {a.target.name}" + (f" -> {a.to.name}" if a.to else "") for a in plan.actions]


def only(plan: Plan, verb: Verb) -> list[str]:
    return [a.target.name for a in plan.actions if a.verb is verb]


__all__ = ["PlacementWish", "Priority"]
