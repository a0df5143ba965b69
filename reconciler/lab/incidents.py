"""Training incidents: a scene, a lab in trouble, and a check whether it was solved without harm.

`Trial` is one incident on one lab: it notes how things were, brings the trouble about on the lab's clock, and judges
by the physical world as much as by what is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from reconciler.lab.engine import Lab
from reconciler.lab.incident_texts import SCENES
from reconciler.lab.schedule import Schedule
from reconciler.lab.served_picture import picture


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, as a sentence, and whether it is as it must be."""

    good: bool
    text: str


@dataclass(frozen=True)
class Incident:
    """`script` makes the trouble; it has happened when `span` seconds have passed. `dark`: hosts that have no power
    and can't get any."""

    name: str
    title: str
    script: Callable[[Lab], str]
    span: float
    dark: tuple[str, ...] = ()
    checks: tuple[Callable[[Trial], list[Finding]], ...] = ()
    hosts: int = 4
    vms: int = 24
    scene: str = field(default="", repr=False)


class Trial:
    """One incident on a lab that was at rest when this was made."""

    def __init__(self, incident: Incident, lab: Lab) -> None:
        self.incident = incident
        self.lab = lab
        self.began = lab.now
        self.before = {d.vm: (d.name, d.host, d.since) for ds in lab.running().values() for d in ds}
        self.local = self._local()
        self.harmed = 0
        self.doubled: set[str] = set()
        """Uuids of the VMs that ran twice when the trouble was there: to end one of the copies is no harm."""

    def _local(self) -> dict[str, str]:
        """VM uuid -> name of the only host that reaches its disks."""
        world = self.lab.world
        found = {}
        for domains in self.lab.running().values():
            for domain in domains:
                sees = [n for n, box in world.boxes.items() if all(d.sr in box.sees for d in domain.disks)]
                if len(sees) == 1:
                    found[domain.vm] = sees[0]
        return found

    def prepare(self, advance: Callable[[float], None]) -> None:
        """Bring the trouble about; `advance` lets so many seconds of the lab's time pass. What harm that did is not
        counted."""
        run = Schedule.parse(self.incident.script(self.lab), self.incident.name).attach(self.lab)
        advance(self.incident.span)
        run.detach()
        self.harmed = len(self.lab.harm())
        self.doubled = {vm for vm in self.before if len(self.lab.world.copies(vm)) > 1}

    def check(self) -> list[Finding]:
        """What is as it must be, and what is not (yet)."""
        found = [*self._harm(), *self._master(), *self._members(), *self._guests(), *self._dark()]
        for check in self.incident.checks:
            found += check(self)
        return found

    def _harm(self) -> list[Finding]:
        harm = [
            one for one in self.lab.harm()[self.harmed :] if not (one.kind == "resync-kill" and one.vm in self.doubled)
        ]
        if not harm:
            return [Finding(True, "No harm was done.")]
        return [Finding(False, f"Harm was done: {one.text}.") for one in harm]

    def _master(self) -> list[Finding]:
        masters = [host.name for host in self.lab.masters()]
        if len(masters) == 1:
            return [Finding(True, f"{masters[0]} acts as the master.")]
        if masters:
            return [Finding(False, f"{' and '.join(masters)} all act as masters.")]
        return [Finding(False, "Nobody acts as a master.")]

    def _members(self) -> list[Finding]:
        masters = self.lab.masters()
        lost = []
        for host in self.lab.hosts.values():
            follows = host in masters or any(host.role == f"slave:{m.address}" for m in masters)
            if host.powered and not (follows and host.toolstack_state == "running"):
                lost.append(host.name)
        if lost:
            return [Finding(False, f"{_list(lost)} {'has' if len(lost) == 1 else 'have'} power and no master.")]
        return [Finding(True, "Every host that has power belongs to it.")]

    def _guests(self) -> list[Finding]:
        missing, twice = [], []
        for vm, (name, _, _) in sorted(self.before.items(), key=lambda item: item[1]):
            copies = len(self.lab.world.copies(vm))
            if copies > 1:
                twice.append(name)
            home = self.local.get(vm)
            if copies == 0 and not (home in self.incident.dark and home is not None):
                missing.append(name)
        found = []
        if twice:
            found.append(Finding(False, f"{_list(twice)} {'runs' if len(twice) == 1 else 'run'} twice."))
        if missing:
            verb = "does not run" if len(missing) == 1 else "do not run"
            found.append(Finding(False, f"{_list(missing)} {verb}, and did before."))
        if not found:
            found.append(Finding(True, "Every VM that ran before runs once, where its disks can be reached."))
        wrong = [vm["name"] for vm in picture(self.lab)["vms"] if vm["differs"]]
        if wrong and not twice:
            found.append(Finding(False, f"{_list(wrong)}: recorded otherwise than it is."))
        return found

    def _dark(self) -> list[Finding]:
        lit = [name for name in self.incident.dark if self.lab.hosts[name].powered]
        return [Finding(False, f"{name} has power: in this story it is gone for good.") for name in lit]


def _list(names: list[str], most: int = 6) -> str:
    shown = names if len(names) <= most else [*names[:most], f"{len(names) - most} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


# -- checks of single incidents


def _nobody_lost_power(trial: Trial) -> list[Finding]:
    off = [name for name, host in trial.lab.hosts.items() if not host.powered]
    if off:
        return [Finding(False, f"{_list(off)} lost power: every VM there was killed for a toolstack that hung.")]
    return [Finding(True, "No host lost its power.")]


def _the_same_master(trial: Trial) -> list[Finding]:
    first = next(iter(trial.lab.hosts))
    if [host.name for host in trial.lab.masters()] == [first]:
        return [Finding(True, f"{first} is still the master: nobody was promoted beside a living one.")]
    return [Finding(False, f"{first} is not the only master, though nothing was wrong but its toolstack.")]


def _nothing_restarted(trial: Trial) -> list[Finding]:
    again = []
    for name, host, since in trial.before.values():
        domains = [d for d in trial.lab.running()[host] if d.name == name]
        if not any(d.since == since for d in domains):
            again.append(name)
    if again:
        return [Finding(False, f"{_list(sorted(again))} went down, and need not have.")]
    return [Finding(True, "No VM went down for it.")]


def _default_sr(trial: Trial) -> list[Finding]:
    told = trial.lab.describe()["pool"]["default_SR"]
    if told == "san-1":
        return [Finding(True, "New disks go to san-1 again.")]
    return [Finding(False, f"New disks would go to {told!r}, which is on a host that is gone; it was san-1.")]


# -- the incidents


def _runs_on(lab: Lab, host: str) -> list[str]:
    return [domain.name for domain in lab.running()[host]]


def _healed(lab: Lab) -> str:
    lines = ["isolate xen03", "at 12m: xo declare-dead xen03"]
    lines += [f"at 13m: xo start {name}" for name in _runs_on(lab, "xen03")]
    return "\n".join([*lines, "at 20m: heal xen03", "at 21m: xe host.enable host:xen03"])


def _two(lab: Lab) -> str:
    return """
        xe pool.set_default_SR pool: "sr:Local storage"
        at 30m: power off xen01 with bmc
        power off xen03
        sr fail "ISO library"
    """


INCIDENTS: dict[str, Incident] = {
    one.name: one
    for one in (
        Incident(
            "dead-master",
            "The master is dead, and its BMC says so",
            lambda lab: "at 25m: power off xen01",
            26 * 60,
            dark=("xen01",),
            scene=SCENES["dead-master"],
        ),
        Incident(
            "silent-bmc",
            "The master is dead, and nothing can prove it but you",
            lambda lab: "at 25m: power off xen01 with bmc",
            26 * 60,
            dark=("xen01",),
            scene=SCENES["silent-bmc"],
        ),
        Incident(
            "green-pool",
            "Everything is green, and a VM runs twice",
            _healed,
            25 * 60,
            scene=SCENES["green-pool"],
        ),
        Incident(
            "hung-master",
            "The master answers nobody",
            lambda lab: "at 25m: toolstack hang xen01",
            27 * 60,
            checks=(_nobody_lost_power, _the_same_master, _nothing_restarted),
            scene=SCENES["hung-master"],
        ),
        Incident(
            "two-hosts",
            "Two hosts are down, the master among them",
            _two,
            31 * 60,
            dark=("xen01", "xen03"),
            checks=(_default_sr,),
            hosts=5,
            vms=20,
            scene=SCENES["two-hosts"],
        ),
    )
}
