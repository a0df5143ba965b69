"""The lab: hosts, links, a clock, and the calls that go between them."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reconciler.lab import api as _api  # enters every call in the table
from reconciler.lab import roles
from reconciler.lab.construction import hosts_of, populate, with_addresses, with_groups, with_subjects, without_groups
from reconciler.lab.database import Snapshot
from reconciler.lab.errors import BmcSilent
from reconciler.lab.guests import Guests
from reconciler.lab.hosts import LabHost, Reply
from reconciler.lab.kernel import Event, Kernel, Steps
from reconciler.lab.physical import Domain, Harm, World
from reconciler.lab.schema import copy_value
from reconciler.lab.seed import Seed
from reconciler.lab.timing import Release, Timing
from reconciler.lab.toolstack import Toolstack, Unreachable
from reconciler.lab.wiretext import uuid_text

if TYPE_CHECKING:
    from reconciler.lab.carrier import Carrier

Json = Any

__all__ = ["Lab", "LabHost", "Reply"]

assert _api


class Lab:
    """A simulated pool. Nothing in it blocks: calls are submitted, and time passes only in run() and settle().

    `strict`: an unforeseen error inside a handler is raised out of run(); otherwise the caller gets INTERNAL_ERROR.
    `password` is root's on every host. `accounts` are those of a directory by name: (password, role); they can log in
    to the master and have no local sessions. Without `guest_addresses` no
    guest has one. Raises ValueError for a role that XAPI has not.
    """

    def __init__(
        self,
        seed: Seed,
        *,
        timing: Timing = Timing(),  # noqa: B008 - frozen
        release: Release = Release.V24_16,
        start: float = 1_700_000_000.0,
        random_seed: int = 0,
        password: str = "lab",  # noqa: S107 - of a simulated pool
        accounts: dict[str, tuple[str, str]] | None = None,
        guest_addresses: bool = True,
    ) -> None:
        self.timing = timing
        self.release = release
        self.password = password
        self.accounts = roles.checked(accounts or {})
        self.strict = True
        self.random = random.Random(random_seed)  # noqa: S311 - repeatable on purpose
        self.kernel = Kernel(start)
        self.world = World(lambda: self.kernel.now)
        self._hosts: dict[str, LabHost] = {}
        self._by_address: dict[str, LabHost] = {}
        self._changed = self.kernel.event()
        self.bmc_answers: dict[str, bool] = {}
        self.bmc_lies: dict[str, bool] = {}
        self.carrier: Carrier | None = None
        """What may happen to single calls on their way (carrier.py); None: nothing."""
        self._build(seed, guest_addresses=guest_addresses)

    # -- construction ------------------------------------------------------------------------------------------

    def _build(self, seed: Seed, *, guest_addresses: bool) -> None:
        tables = with_groups(seed.tables) if self.groups else without_groups(seed.tables)
        vms = (r["uuid"] for r in tables["VM"].values() if not r["is_control_domain"])
        self.guests = Guests(self.world, vms, addresses=guest_addresses)
        tables = with_addresses(tables, self.guests)
        if self.accounts:
            tables = with_subjects(tables, self.accounts)
        snapshot = Snapshot({c: dict(t) for c, t in tables.items()}, 1000, self.now)
        self.world.sr_names = {r["uuid"]: r["name_label"] for r in tables["SR"].values()}
        for host in hosts_of(self, tables, seed.memory, snapshot):
            self._hosts[host.name] = host
            self._by_address[host.address] = host
            self.bmc_answers[host.name] = True
            self.bmc_lies[host.name] = False
        populate(self, tables)
        order = sorted(self._hosts.values(), key=lambda h: h.role != "master")
        for host in order:
            host.toolstack = Toolstack(self, host)
            host.toolstack.begin_at_rest()
        self.changed()

    @property
    def groups(self) -> bool:
        """It has VM_group and VM.groups, which came in 24.19.1."""
        return self.release is not Release.V24_16

    # -- time --------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Virtual UTC seconds."""
        return self.kernel.now

    def run(self, until: float) -> None:
        """Let virtual time pass to `until`, doing everything that is due."""
        self.kernel.run(until)

    def settle(self, replies: Sequence[Reply], until: float) -> None:
        """Let time pass until every reply is done, but not beyond `until`."""
        kernel = self.kernel
        pending = list(replies)
        while True:
            while pending and pending[-1].done:
                pending.pop()
            if not pending:
                return
            due = kernel.next_due()
            if due is None or due > until:
                kernel.run(until)
                return
            kernel.step()

    def next_due(self) -> float | None:
        """When the next thing happens by itself: how long a server may sleep."""
        return self.kernel.next_due()

    def changed(self) -> None:
        """Something that others wait for changed: power, a link, a toolstack."""
        event, self._changed = self._changed, self.kernel.event()
        event.fire()

    @property
    def change(self) -> Event:
        """Fires at the next change of power, links or toolstacks."""
        return self._changed

    # -- the recorded world, from outside ------------------------------------------------------------------------

    @property
    def hosts(self) -> Mapping[str, LabHost]:
        """By name."""
        return self._hosts

    @property
    def pool_name(self) -> str:
        """What the pool is called in the first database that there is."""
        for host in self._hosts.values():
            ts = host.toolstack
            if ts is not None and ts.db is not None:
                return str(ts.db.pool()[1]["name_label"])
        tables = max(self._hosts.values(), key=lambda h: h.disk.taken_at).disk.tables
        return str(next(iter(tables["pool"].values()))["name_label"])

    def at(self, address: str) -> LabHost | None:
        """The host with this address."""
        return self._by_address.get(address)

    def reaches(self, source: str, host: LabHost) -> bool:
        """Packets from `source` get to the host and there is an operating system to take them."""
        return host.up and self.world.linked(source, host.name)

    def request(self, address: str, method: str, params: Sequence[Json], *, source: str = "client") -> Reply:
        """Submit a call over the simulated network; never blocks."""
        reply = Reply(method, self.now)
        args = copy_value(list(params))
        if self.carrier is not None:
            self.carrier.carry(reply, address, method, args, source)
        else:
            self.kernel.after(self.timing.latency, lambda: self.deliver(reply, address, method, args, source))
        return reply

    def deliver(self, reply: Reply, address: str, method: str, params: list[Json], source: str) -> None:
        """A call gets to where its host is, or would be. Takes the parameters as the callee's own."""
        host = self.at(address)
        if host is None or not self.reaches(source, host):
            wait = self.timing.no_route
            self.kernel.after(wait, lambda: reply.finish(self.now, transport="unreachable"))
            return
        if host.hung:
            return
        ts = host.toolstack
        if ts is None or not ts.api_up:
            reply.finish(self.now, transport="refused")
            return
        ts.desk.dispatch(reply, method, params, source)

    def tcp(self, address: str, port: int, source: str = "client") -> str:
        """What connecting to a port does: "open", "refused", "unreachable" or "timeout". Takes no virtual time."""
        host = self.at(address)
        if host is None:
            return self.guests.tcp(address, port, source, self.now)
        if not self.reaches(source, host):
            return "unreachable"
        if port == 22 or (port == 80 and host.toolstack is not None and host.toolstack.api_up):
            return "open"
        if port == 443 and self.now >= host.tls_from:
            return "open"  # stunnel's, which accepts while xapi is down (recording 03)
        return "refused"

    def connect(self, source: LabHost, address: str, give_up: float) -> Steps:
        """From one toolstack to another: the other's Toolstack. Raises Unreachable after the time that it takes."""
        while True:
            host = self.at(address)
            if host is None or not self.reaches(source.name, host) or not self.reaches(host.name, source):
                # With its own cable out a host knows at once that nobody can be reached (recording 05).
                yield min(give_up, 0.5) if self.world.isolated(source.name) else give_up
                raise Unreachable(address)
            if not host.hung:
                break
            yield self.change
        ts = host.toolstack
        if ts is None or not ts.api_up:
            yield self.timing.ask_member
            raise Unreachable(address)
        return ts

    # -- the physical world --------------------------------------------------------------------------------------

    def _host(self, name: str) -> LabHost:
        if name not in self._hosts:
            raise KeyError(f"no host is called {name}: there are {', '.join(self._hosts)}")
        return self._hosts[name]

    def power_off(self, host: str) -> None:
        """Pull the plug: domains and memory are gone, role file and what was flushed of the database stay."""
        box = self._host(host)
        if not box.powered:
            return
        self._note_contacts()
        if box.toolstack is not None:
            box.toolstack.pull_the_plug()
        box.toolstack = None
        box.up = False
        box.hung = False
        self.world.power_off(host)
        self.changed()

    def power_on(self, host: str) -> None:
        """Boot: the toolstack starts when the operating system has."""
        box = self._host(host)
        if box.powered:
            return
        self.world.boxes[host].powered = True
        box.booted_at = self.now
        box.wanted = True
        self.kernel.spawn(self._boot(box), f"boot {host}")

    def _boot(self, box: LabHost) -> Steps:
        yield self.timing.host_boot
        if not box.powered or box.up:
            return
        box.up = box.booted = True
        box.tls_from = math.inf
        self.changed()
        yield self.timing.services
        if box.powered and box.up:
            self.start_toolstack(box.name)

    def cut(self, a: str, b: str) -> None:
        """Cut a link between two endpoints: host names, "client", "*" (everybody), "storage" or an SR's name."""
        self._note_contacts()
        self.world.cut(a, b)
        self.changed()

    def heal(self, a: str, b: str) -> None:
        """Undo a cut."""
        self.world.heal(a, b)
        self.changed()

    def _note_contacts(self) -> None:
        for host in self._hosts.values():
            if host.toolstack is not None:
                host.toolstack.note_contacts()

    def stop_toolstack(self, host: str) -> None:
        """Stop xapi; its supervisor leaves it stopped. VMs run on."""
        box = self._host(host)
        self._note_contacts()
        box.wanted = False
        box.hung = False
        if box.toolstack is not None:
            box.toolstack.exit(restart=False)

    def start_toolstack(self, host: str) -> None:
        """Start xapi if it does not run."""
        box = self._host(host)
        box.wanted = True
        if box.up and box.toolstack is None:
            box.toolstack = Toolstack(self, box)
            box.toolstack.begin()
            self.changed()

    def restart_toolstack(self, host: str) -> None:
        """xe-toolstack-restart: VMs run on."""
        box = self._host(host)
        self._note_contacts()
        box.wanted = True
        box.hung = False
        if box.toolstack is not None:
            box.toolstack.exit(restart=True)
        else:
            self.start_toolstack(host)

    def hang_toolstack(self, host: str) -> None:
        """xapi accepts connections and never answers, until it is restarted."""
        box = self._host(host)
        self._note_contacts()
        box.hung = True
        if box.toolstack is not None:
            box.toolstack.freeze()
        self.changed()

    def bmc(self, host: str, action: str) -> str:
        """Ask a BMC: "status", "off" or "on"; the answer is "on" or "off". Raises BmcSilent when it does not answer."""
        box = self._host(host)
        if not self.bmc_answers[host]:
            raise BmcSilent(f"the BMC of {host} does not answer")
        if self.carrier is not None:
            return self.carrier.carry_bmc(host, action, lambda: self._bmc(host, box, action))
        return self._bmc(host, box, action)

    def _bmc(self, host: str, box: LabHost, action: str) -> str:
        if action == "off" and self.bmc_lies[host]:
            return "off"
        if action == "off":
            self.power_off(host)
        elif action == "on":
            self.power_on(host)
        elif action != "status":
            raise ValueError(f"{action}: a BMC knows status, off and on")
        return "on" if box.powered else "off"

    def running(self) -> dict[str, list[Domain]]:
        """Host name -> domains that really run there, by VM name."""
        return {
            name: sorted(box.domains.values(), key=lambda d: (d.name, d.vm)) for name, box in self.world.boxes.items()
        }

    def harm(self) -> list[Harm]:
        """Everything that the monitor has recorded, in order."""
        return list(self.world.harm)

    def describe(self) -> dict[str, Any]:
        """Both worlds, as JSON (see picture.py)."""
        from reconciler.lab.picture import describe  # noqa: PLC0415 - picture looks at Lab

        return describe(self)

    def masters(self) -> list[LabHost]:
        """Hosts whose toolstack acts as a master now and answers."""
        found = []
        for host in self._hosts.values():
            ts = host.toolstack
            if ts is not None and ts.is_master and ts.api_up and not host.hung:
                found.append(host)
        return found

    def ref(self) -> str:
        """A fresh opaque reference."""
        return f"OpaqueRef:{self.uuid()}"

    def uuid(self) -> str:
        """A fresh uuid, repeatable with the random seed."""
        return uuid_text(self.random.getrandbits(128))
