"""A pool, a manifest, and commands: the whole program over the in-memory lab on virtual time.

Tests and scenario folders tell their stories with it. Production code only, but for the port.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reconciler.core.guard import Allowance
from reconciler.core.plan import Done, Outcome, Plan
from reconciler.core.wanted import (
    Brake,
    Connection,
    FenceDevice,
    MasterWish,
    Member,
    Policy,
    SecretRef,
    SelectorKind,
    StorageWish,
    VmWish,
    Wanted,
    WantedState,
)
from reconciler.execute.needs import Event
from reconciler.lab import Lab, Release, Seed, Timing
from reconciler.pipeline import Approval, Reconciler
from reconciler.state.folder import PoolFolder
from tests.support.labport import AGENT, LabPort

PASSWORD = SecretRef("env", "LAB")


def wanted_of(lab: Lab, *, fencing: bool = True, brake: Brake = Brake(0.5, 1), successors: bool = True) -> Wanted:  # noqa: B008
    """The manifest that describes a lab's pool as it is recorded now: every guest as it is, at its home."""
    told = lab.describe()
    hosts = list(lab.hosts.values())
    names = sorted((h.name for h in hosts), key=lambda name: (name != told["master"], name))
    by_uuid = {h.uuid: h.name for h in hosts}
    members = tuple(
        Member(h.name, h.address, fencing=(FenceDevice(AGENT, {"plug": h.name}),) if fencing else ()) for h in hosts
    )
    vms = []
    for vm in told["vms"]:
        state = {"Running": "running", "Halted": "halted", "Suspended": "suspended"}.get(vm["power_state"], "as-is")
        home = vm.get("affinity")
        vms.append(
            VmWish(
                SelectorKind.UUID,
                vm["uuid"],
                WantedState(state),
                home=by_uuid.get(home, home) if home in by_uuid or home in names else None,
            )
        )
    return Wanted(
        lab.pool_name,
        members,
        Connection("root", PASSWORD),
        uuid=told["pool"]["uuid"] if isinstance(told.get("pool"), dict) else None,
        master=MasterWish(names[0], tuple(names[1:])) if successors else None,
        storage=StorageWish(),
        policy=Policy(brake=brake),
        vms=tuple(vms),
        source="pool.yaml",
    )


@dataclass
class Story:
    """One lab, one manifest, one state folder; runs are numbered."""

    lab: Lab
    wanted: Wanted
    folder: Path
    port: LabPort = field(init=False)
    events: list[Event] = field(default_factory=list)
    runs: int = 0
    missing: frozenset[str] = frozenset()
    """Secrets that can't be had, by the value of their reference; all others are the lab's password."""

    def __post_init__(self) -> None:
        self.port = LabPort(self.lab)

    @classmethod
    def of(
        cls,
        folder: Path,
        *,
        hosts: int = 4,
        vms: int = 24,
        seed: int = 0,
        file: Path | None = None,
        release: Release = Release.V24_16,
        fencing: bool = True,
        brake: Brake = Brake(0.5, 1),  # noqa: B008
        timing: Timing | None = None,
    ) -> Story:
        """A generated pool (or one from a database file) and the manifest that describes it."""
        grown = Seed.from_file(file) if file else Seed.generate(hosts=hosts, vms=vms, random_seed=seed)
        lab = Lab(grown, timing=timing or Timing(), release=release, random_seed=seed)
        return cls(lab, wanted_of(lab, fencing=fencing, brake=brake), folder)

    def reconciler(self, *, attended: bool = True, failback: bool = False) -> Reconciler:
        """A new run."""
        self.runs += 1
        return Reconciler(
            self.wanted,
            self.port,
            PoolFolder(self.folder, self.wanted.name),
            self.secret,
            f"run-{self.runs}",
            allowance=Allowance(attended=attended),
            failback=failback,
            progress=self.events.append,  # type: ignore[arg-type]
        )

    def secret(self, ref: SecretRef) -> str:
        """The lab's password. Raises LookupError for one of `missing`."""
        if ref.value in self.missing:
            raise LookupError(f"secret {ref.value} is not set")
        return "lab"

    def plan(self, **more: bool) -> Plan:
        """What xenrec plan would make now."""
        return self.reconciler(**more).plan()

    def apply(self, *, approval: Approval | None = None, **more: bool) -> Outcome:
        """What xenrec apply --yes would do now."""
        run = self.reconciler(**more)
        with run.folder.lock(run=run.run, since=self.port.now()):
            return run.apply(run.plan(), approval or Approval())

    def attest(self, host: str, lifetime: float = 1800.0) -> object:
        """A person's word about a host."""
        return self.reconciler().attest(host, by="op@desk", reason="seen powered off", lifetime=lifetime)

    def wait(self, seconds: float) -> None:
        """Virtual time."""
        self.port.wait(seconds)

    def at(self, method: str, then: Callable[[], object], *, nth: int = 1, before: bool = True) -> None:
        """Something happens once, right before (or after) the nth call of a method."""
        left = [nth]

        def hook(address: str, called: str, params: Sequence[Any]) -> None:
            if called == method:
                left[0] -= 1
                if left[0] == 0:
                    then()

        if before:
            self.port.before_call = hook
        else:
            self.port.after_call = hook

    def doubles(self) -> list[str]:
        """VMs that physically run on more than one host."""
        seen: dict[str, int] = {}
        for domains in self.lab.running().values():
            for domain in domains:
                seen[domain.name] = seen.get(domain.name, 0) + 1
        return sorted(name for name, number in seen.items() if number > 1)

    def changed(self, change: Callable[[Wanted], Wanted]) -> None:
        """Edit the manifest."""
        self.wanted = change(self.wanted)

    def wish(self, name: str, **changes: object) -> None:
        """Edit one entry, by the VM's present name."""
        uuid = next(v["uuid"] for v in self.lab.describe()["vms"] if v["name"] == name)
        self.wanted = replace(
            self.wanted,
            vms=tuple(replace(w, **changes) if w.value == uuid else w for w in self.wanted.vms),  # type: ignore[arg-type]
        )


def failures(outcome: Outcome) -> list[Done]:
    """What did not work."""
    return [d for d in outcome.done if d.result not in ("done", "already")]
