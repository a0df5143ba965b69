"""Every call that a run sends, judged against the physical truth of that moment (I1-I9, I11). crowning.py, moving.py
and powering.py have parts.

Nothing here asks the program what it believes. A sign of life counts only if the host gave it already when the run last
looked at that address: what changes between a look and the call that follows it at once, nobody can see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from reconciler.core.wanted import Level, SelectorKind, VmWish, Wanted
from reconciler.lab import Lab, LabHost
from tests.soak.crowning import of_pointing, of_promotion, of_recovery
from tests.soak.levels import LEVELS, UNJUDGED
from tests.soak.moving import of_host
from tests.soak.powering import of_vm
from tests.support.calls import changes


@dataclass(frozen=True)
class Violation:
    """An invariant that was broken, with the virtual second of the schedule."""

    invariant: str
    at: float
    text: str

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at:.1f} s: {self.text}"


@dataclass
class Sight:
    """What one actor could see so far. Numbers are of its calls; `since` from which one on a truth held."""

    answers_since: dict[str, int] = field(default_factory=dict)
    acts_since: dict[str, int] = field(default_factory=dict)
    role_since: dict[str, tuple[bool, int]] = field(default_factory=dict)
    """Whether its role file says master, whether or not its toolstack is up; and from which call on."""
    probed: dict[str, int] = field(default_factory=dict)
    power_read: dict[str, int] = field(default_factory=dict)
    written: int = 0
    written_before: int = 0
    read: dict[tuple[str, str], int] = field(default_factory=dict)
    surveyed_low: bool = False
    struck: set[str] = field(default_factory=set)


class Watch:
    """Judges the calls of one actor. A new run (`begin`) forgets what the one before read, for I7."""

    def __init__(
        self,
        lab: Lab,
        wanted: Wanted,
        source: str,
        name: str,
        promoted: list[tuple[str, str]],
        attested: dict[str, float],
        by_hand: set[str],
    ) -> None:
        self.lab = lab
        self.wanted = wanted
        self.source = source
        self.name = name
        self.promoted = promoted
        """(actor, host) of every promotion that was sent."""
        self.attested = attested
        """Hosts that a person swore will stay off, and until when: powered on unseen, that word was broken."""
        self.pool_ha = any(h.ha_armed for h in lab.hosts.values())
        """The pool has HA, as its database says; what is armed on one host only nobody can read (docs/safety.md)."""
        self.start = lab.now
        self.found: list[Violation] = []
        self.begun: list[tuple[float, str, str]] = []
        """(time, VM uuid, host name) of every start that was sent."""
        self.moved: dict[str, tuple[float, str]] = {}
        """When this actor last sent each VM elsewhere, and the host that it was to leave: it moved if it left that."""
        self.run_began = lab.now
        self.moving: set[tuple[str, str]] = set()
        """(VM uuid, host name) of every migration under way that it read of, whosever: the VM may be there since."""
        self.sight = Sight()
        self.has_read: Callable[[], bool] = lambda: True
        """Whether this actor ever read the whole pool, and so whether XAPI's HA is on."""
        self.number = 0
        self.attended = True
        self.yields: frozenset[str] = frozenset()
        self.by_hand = by_hand
        """Hosts that people made master, without asking anybody."""
        self.last_master = ""
        """The master of the last database that this actor read."""
        self.wishes = self._resolve()

    def _resolve(self) -> Mapping[str, VmWish]:
        db = self.recorded(self.lab.masters()[0].address)
        names = {} if db is None else {r["name_label"]: r["uuid"] for r in db.tables["VM"].values()}
        return {
            (wish.value if wish.kind is SelectorKind.UUID else names.get(wish.value, "")): wish
            for wish in self.wanted.vms
        }

    def begin(self, *, attended: bool, yields: frozenset[str] = frozenset()) -> None:
        """A new run; `yields` are hosts that a person named with --yield."""
        self.yields = yields
        self.attended = attended
        self.run_began = self.lab.now
        was = self.sight
        self.sight = Sight(was.answers_since, was.acts_since, was.role_since)

    def blame(self, invariant: str, text: str) -> None:
        """Write a violation down."""
        self.found.append(Violation(invariant, self.lab.now - self.start, f"{self.name}: {text}"))

    # --- what is so ----------------------------------------------------------------------------------------------

    def answers(self, host: LabHost) -> bool:
        """Its XAPI would answer this actor now."""
        ts = host.toolstack
        return ts is not None and ts.api_up and not host.hung and self.lab.tcp(host.address, 443, self.source) == "open"

    def sample(self) -> None:
        """Before each call: which hosts answer us, which act as a master."""
        self.number += 1
        answers, acts = self.sight.answers_since, self.sight.acts_since
        for name, host in self.lab.hosts.items():
            ts = host.toolstack
            if (crowned := host.role == "master") is not self.sight.role_since.get(name, (None, 0))[0]:
                self.sight.role_since[name] = crowned, self.number
            if ts is None or not ts.api_up:
                answers.pop(name, None)
                acts.pop(name, None)
                continue
            if not self.answers(host):
                answers.pop(name, None)
            elif name not in answers:
                answers[name] = self.number
            if not ts.is_master:
                acts.pop(name, None)
            elif name not in acts:
                acts[name] = self.number

    def share(self) -> float:
        """Share of the declared members that answer us; who is silent in maintenance or sworn off is left out."""
        resting = {m.name for m in self.wanted.members if m.state == "maintenance"}
        heard = {name: self.answers(host) for name, host in self.lab.hosts.items()}
        out = resting.union(name for name, host in self.lab.hosts.items() if self.sworn_off(host))
        counted = [answers for name, answers in heard.items() if answers or name not in out]
        return sum(counted) / max(1, len(counted))

    def surveyed(self) -> None:
        """A survey begins: does the brake hold?"""
        self.sight.surveyed_low = self.share() < self.wanted.policy.brake.min_healthy

    def probe(self, address: str) -> None:
        """The actor looks at an address: a connection or a login."""
        host = self.lab.at(address)
        if host is not None:
            self.sight.probed[host.name] = self.number

    def seen(self, host: LabHost) -> bool:
        """It answered already when it was last looked at in this run."""
        since, looked = self.sight.answers_since.get(host.name), self.sight.probed.get(host.name)
        return since is not None and looked is not None and since <= looked

    def sworn_off(self, host: LabHost) -> bool:
        """A person swore that it stays off, and nothing shows us otherwise."""
        return self.attested.get(host.name, 0.0) > self.lab.now and not self.lab.reaches(self.source, host)

    def recorded(self, address: str) -> Any:
        """The database of the acting master that answers us there; None: there is none."""
        host = self.lab.at(address)
        if host is None or not self.answers(host) or host.toolstack is None or not host.toolstack.is_master:
            return None
        return host.toolstack.db

    # --- judging -------------------------------------------------------------------------------------------------

    def call(self, address: str, method: str, params: Sequence[Any]) -> None:
        """One call about to be sent."""
        bare = method.removeprefix("Async.")
        if bare in ("session.login_with_password", "session.slave_local_login_with_password"):
            self.probe(address)
        if not changes(method):
            if bare.endswith(".get_record") and len(params) > 1:
                self.sight.read[bare.split(".")[0], str(params[1])] = self.number
            elif bare.endswith((".get_all_records", ".get_all")):
                self.sight.read[bare.split(".")[0], "*"] = self.number
                if bare == "VM.get_all_records":
                    self._see_moves(address)
                    if (host := self.lab.at(address)) is not None:
                        self.last_master = host.name
            return
        if bare in UNJUDGED:
            return
        if bare not in LEVELS:
            self.blame("I5", f"sends {bare}, which is none of its business")
            return
        self._limits(bare)
        judge: dict[str, Callable[[str, Sequence[Any]], None]] = {
            "pool.emergency_transition_to_master": partial(of_promotion, self),
            "pool.recover_slaves": partial(of_recovery, self),
            "pool.emergency_reset_master": partial(of_pointing, self),
            "host.declare_dead": self._burial,
            "pool.designate_new_master": self._handover,
            "pool.sync_database": self._refresh,
        }
        if bare in judge:
            judge[bare](address, params)
        elif bare.startswith("host."):
            of_host(self, bare, address, params)
        elif bare.startswith("VM."):
            of_vm(self, bare, address, params)
        elif bare == "pool.sync_database":
            if self.sight.read.get(("host", "*"), -1) <= self.sight.written:
                self.blame("I7", f"{bare} without reading the hosts after its last write")
        elif bare.startswith("pool.") and self.sight.read.get(("pool", str(params[1])), -1) <= self.sight.written:
            self.blame("I7", f"{bare} without reading the pool after its last write")
        self.sight.written_before, self.sight.written = self.sight.written, self.number

    def _see_moves(self, address: str) -> None:
        db = self.recorded(address)
        for vm in db.tables["VM"].values() if db is not None else ():
            to = db.tables["host"].get(vm["scheduled_to_be_resident_on"])
            if to is not None and "pool_migrate" in vm["current_operations"].values():
                self.moving.add((vm["uuid"], to["name_label"]))

    def _limits(self, bare: str) -> None:
        """Levels, the brake, HA: whatever the call is about (I6, I9)."""
        policy = self.wanted.policy
        level, limit = LEVELS[bare], policy.attended if self.attended else policy.unattended
        if level > limit:
            self.blame("level", f"sends {bare} ({level.word}) in a run that may go as far as {limit.word}")
        # Members are told to follow a master that was made already, whoever answers by now: without it no VM starts.
        finishing = bare in ("pool.recover_slaves", "pool.emergency_reset_master") and bool(self.promoted)
        if level >= Level.MOVE and self.sight.surveyed_low and not finishing:
            self.blame("I6", f"sends {bare} although too few members answered its last survey")
        # Only the database says that HA is on: one who never read it leaves it to XAPI, which refuses the promotion.
        if (
            level > Level.METADATA
            and self.has_read()
            and self.pool_ha
            and any(h.ha_armed for h in self.lab.hosts.values())
        ):
            self.blame("I9", f"sends {bare} though HA is on")

    def _strike(self, name: str) -> None:
        self.sight.struck.add(name)
        most = self.wanted.policy.brake.max_hosts_per_run
        if len(self.sight.struck) > most:
            self.blame("I6", f"deals with {sorted(self.sight.struck)} in one run, and maxHostsPerRun is {most}")

    def fence(self, name: str) -> None:
        """Its fence agent is about to be told off."""
        self._limits("agent:off")
        host = self.lab.hosts[name]
        self._strike(name)
        if self.seen(host):
            self.blame("fence", f"fences {name}, which answers")
        looked = max(self.sight.probed.get(name, -1), self.sight.power_read.get(name, -1))
        if looked <= self.sight.written:
            self.blame("I7", f"fences {name} without looking at it after its last write")
        self.sight.written = self.number

    def unsent(self, method: str) -> None:
        """The call that was just judged did not get out: a promotion that nobody heard was not sent."""
        if method == "pool.emergency_transition_to_master":
            self.promoted.pop()

    def not_understood(self) -> None:
        """The call that was just judged was refused for its form, at once: what was read before it still counts."""
        self.sight.written = self.sight.written_before

    def _burial(self, address: str, params: Sequence[Any]) -> None:
        db = self.recorded(address)
        if db is None or params[1] not in db.tables["host"]:
            return
        record = db.tables["host"][params[1]]
        host = next(h for h in self.lab.hosts.values() if h.uuid == record["uuid"])
        self._strike(host.name)
        running = sorted(d.name for d in self.lab.world.boxes[host.name].domains.values())
        if running:
            self.blame("I1", f"declares {host.name} dead, where {running} run")
        elif self.seen(host):
            self.blame("I1", f"declares {host.name} dead, which answers")
        if self.sight.read.get(("host", str(params[1])), -1) <= self.sight.written:
            self.blame("I7", f"declares {host.name} dead without reading it after its last write")
        if self.sight.probed.get(host.name, -1) <= self.sight.written:
            self.blame("I7", f"declares {host.name} dead without looking at it after its last write")

    def _handover(self, address: str, params: Sequence[Any]) -> None:
        if self.sight.read.get(("host", "*"), -1) <= self.sight.written:
            self.blame("I7", "hands mastership over without reading the hosts after its last write")

    def _refresh(self, address: str, params: Sequence[Any]) -> None:
        if self.sight.read.get(("host", "*"), -1) <= self.sight.written:
            self.blame("I7", "refreshes the members' copies without reading the hosts after its last write")

    # --- afterwards ----------------------------------------------------------------------------------------------

    def harm(self, operator: Sequence[tuple[float, str]]) -> None:
        """The monitor's harm that this actor did. A start is its own if it was sent there, and nobody else started that
        VM since; kills by a stale database's word come with a promotion and are forecast, not forbidden."""
        for one in self.lab.harm():
            if one.kind not in ("two-domains", "two-writers", "no-storage"):
                continue
            mine = [at for at, vm, host in self.begun if vm == one.vm and host == one.host and at <= one.at]
            if not mine or any(mine[-1] <= at <= one.at and vm == one.vm for at, vm in operator):
                continue
            if one.kind == "no-storage":
                continue  # judged by what the pool recorded when the start was sent (I8): a cable may break afterwards
            self.found.append(Violation("I4", one.at - self.start, f"{self.name}: {one.text}"))
