"""What the manifest means, free of YAML: the wishes, each with the place where it was written."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class Level(IntEnum):
    """How far a run may go; each level includes the lower ones."""

    OBSERVE = 0
    METADATA = 1
    MOVE = 2
    POWER = 3
    BURY = 4
    CROWN = 5

    @property
    def word(self) -> str:
        """The level's name in a manifest."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file something was written; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is to be found, never the secret: kind is env, file, exec or cred."""

    kind: str
    value: str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FenceDevice:
    """One fence agent for one host. `secrets` maps option names to where their values are found."""

    agent: str
    options: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, SecretRef] = field(default_factory=dict)


class MemberState(StrEnum):
    """What a member is for."""

    ACTIVE = "active"
    MAINTENANCE = "maintenance"


@dataclass(frozen=True, slots=True)
class Member:
    """A declared host. `fencing` is tried in order: a second agent only if the first fails."""

    name: str
    address: str
    state: MemberState = MemberState.ACTIVE
    fencing: tuple[FenceDevice, ...] = ()
    fingerprint: str | None = None
    """SHA-256 of its certificate, lower-case hex without colons."""
    place: Place | None = None
    evacuate_all: bool = False
    """Maintenance may also move VMs that the manifest does not name."""
    probe: tuple[str, ...] = ()
    """The command that tells how old its copy of the database is; (): the pool's, if there is one."""


class Failback(StrEnum):
    """Whether a master that came back gets its office back."""

    AUTO = "auto"
    MANUAL = "manual"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class MasterWish:
    """Who should be master; `successors` in order of preference if `host` is lost. Names of members."""

    host: str
    successors: tuple[str, ...] = ()
    failback: Failback = Failback.MANUAL
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class StorageWish:
    """Pool-wide SRs by name_label or uuid; None means: as it is."""

    default_sr: str | None = None
    suspend_image_sr: str | None = None
    default_sr_place: Place | None = None
    suspend_image_sr_place: Place | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """A user, and where the password is found."""

    username: str
    password: SecretRef


@dataclass(frozen=True, slots=True)
class Connection:
    """How to log in. `local`, where it is given, is who opens local sessions: a local root of every host."""

    username: str
    password: SecretRef
    ca_file: str | None = None
    place: Place | None = None
    local: Account | None = None

    @property
    def local_account(self) -> Account:
        """Who opens local sessions: `local`, or the one account there is."""
        return self.local or Account(self.username, self.password)


class WantedState(StrEnum):
    """What a VM should be doing."""

    RUNNING = "running"
    HALTED = "halted"
    SUSPENDED = "suspended"
    AS_IS = "as-is"


@dataclass(frozen=True, slots=True)
class Ready:
    """What "up" means to VMs that depend on this one. At most one of tools, address, tcp, http, delay (seconds)."""

    tools: bool = False
    address: bool = False
    tcp: int | None = None
    http: str | None = None
    delay: float | None = None
    timeout: float = 300.0

    @property
    def words(self) -> str:
        """What it means, of a VM that was named before: "accepts connections on port 5432"."""
        if self.tcp is not None:
            return f"accepts connections on port {self.tcp}"
        if self.http is not None:
            return f"answers {self.http} with a 2xx status"
        if self.delay is not None:
            return f"has run for {self.delay:g} s"
        return "reports an IP address" if self.address else "reports by its guest tools"

    @property
    def longest(self) -> float:
        """Seconds after its start at which waiting ends."""
        return self.delay if self.delay is not None else self.timeout


@dataclass(frozen=True, slots=True)
class PlacementWish:
    """Where a VM may or should run. Host lists are member names. require, avoid, together and apart are hard: a VM is
    not started against them, and a running one is moved for them; prefer and spread are soft."""

    prefer: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    spread: str | None = None
    together: str | None = None
    stop_for_maintenance: bool = False
    """It may be shut down where it can't be moved off a host that goes into maintenance."""
    apart: str | None = None


class Priority(IntEnum):
    """Order in which VMs get a place and are started; higher first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    CRITICAL = 3


class SelectorKind(StrEnum):
    """How a virtualMachines entry names its VMs."""

    NAME = "name"
    PATTERN = "pattern"
    TAG = "tag"
    UUID = "uuid"


@dataclass(frozen=True, slots=True)
class VmWish:
    """One virtualMachines entry. A VM named by several entries is a problem unless all but one are patterns or tags;
    the most exact one (uuid, name, pattern, tag) wins whole."""

    kind: SelectorKind
    value: str
    state: WantedState = WantedState.AS_IS
    home: str | None = None
    priority: Priority = Priority.NORMAL
    ready: Ready | None = None
    placement: PlacementWish = PlacementWish()
    depends_on: tuple[str, ...] = ()
    max_level: Level | None = None
    """The highest level at which this VM may be acted on; None: the pool's."""
    optional: bool = False
    """True: no VM of that name is fine (patterns and tags may always match nothing)."""
    place: Place | None = None

    def __str__(self) -> str:
        return self.value if self.kind in (SelectorKind.NAME, SelectorKind.PATTERN) else f"{self.kind} {self.value}"


@dataclass(frozen=True, slots=True)
class Brake:
    """The storm brake: with fewer than `min_healthy` of the declared members answering (a share 0..1, counted as
    at least that share; a silent one in maintenance does not count), it is we who are cut off. At most
    `max_hosts_per_run` hosts are fenced or buried in a run."""

    min_healthy: float = 0.5
    max_hosts_per_run: int = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """Operations in flight at once, and deadlines in seconds."""

    starts_per_host: int = 3
    starts_per_pool: int = 16
    call_timeout: float = 30.0
    start_timeout: float = 600.0
    shutdown_timeout: float = 1260.0
    """XAPI's own domain_shutdown_total_timeout is 1200 s."""
    promotion_timeout: float = 600.0
    rejoin_timeout: float = 300.0
    migrations_per_host: int = 2
    """Live migrations that a host takes part in at once, as source or as target."""
    migrations_per_pool: int = 8
    migrate_timeout: float = 1800.0
    park_after: int = 3
    """Runs in a row in which an action on a VM may fail before unattended runs leave it alone."""


@dataclass(frozen=True, slots=True)
class FreezeWindow:
    """A time in which no run goes further than `level`, attended or not.

    Either from `since` until `until` (UTC seconds), or every week on `days` (0 is Monday) from `start` until `end`
    (seconds after midnight UTC); an `end` that is not after its `start` is on the next day.
    """

    reason: str
    level: Level = Level.OBSERVE
    since: float | None = None
    until: float | None = None
    days: tuple[int, ...] = ()
    start: float = 0.0
    end: float = 86_400.0
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class MetadataPolicy:
    """How the members' copies of the pool database are kept and judged. Times in seconds.

    `refresh_every`: copies older than that are refreshed; None: XAPI's own backups only. `max_killed`: the VMs on
    living hosts that a promotion may kill, for the promoted copy knows them elsewhere or not at all. `probe`: a command
    and its arguments that tells the age of a member's copy; `{name}` and `{address}` in them are the member's.
    """

    refresh_every: float | None = None
    max_killed: int = 5
    probe: tuple[str, ...] = ()
    probe_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How far runs go and how many things they do at once. `reserve`: hosts whose loss the rest should be able to
    absorb."""

    attended: Level = Level.CROWN
    unattended: Level = Level.POWER
    brake: Brake = Brake()
    reserve: int = 0
    limits: Limits = Limits()
    freeze: tuple[FreezeWindow, ...] = ()
    grace: float = 600.0
    """Seconds after the master's machine booted in which an unattended run only observes: the pool is starting, and
    XAPI starts VMs by itself. 0: none."""
    respect_manual_stop: float = 900.0
    """Seconds for which an unattended run does not start a VM that was found stopped while its host lives. 0: none."""
    migration_network: str | None = None
    """Network (name or uuid) that migrations go over; None: the pool's own setting, or the management network."""
    metadata: MetadataPolicy = MetadataPolicy()
    rebalance: bool = False
    """Running VMs are moved for their soft wishes, too: home, prefer and spread."""
    cool_down: float = 3600.0
    """Seconds for which a VM that was moved, by whomever, is not moved for a soft wish."""
    shed: Priority | None = None
    """VMs of this priority and lower may be shut down so that more important ones can start; None: no VM is."""
    reserve_place: Place | None = None
    migration_network_place: Place | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A whole manifest. `notes` are keys that are understood but not acted on, each with its answer, as
    (place, text): shown by validate and plan, so that no key is silently ignored."""

    name: str
    members: tuple[Member, ...]
    connection: Connection
    uuid: str | None = None
    master: MasterWish | None = None
    storage: StorageWish = StorageWish()
    policy: Policy = Policy()
    vms: tuple[VmWish, ...] = ()
    notes: tuple[tuple[Place | None, str], ...] = ()
    source: str = ""
    """The file (or REVISION:path) that it was read from."""
    digest: str = ""
    """SHA-256 of the bytes that it was read from, hex."""
    commit: str | None = None
    """The Git commit that it was read from, when it was."""
    repo: str | None = None
    """The repository of that commit, as it was named on the command line."""
    rolling: str = ""
    """The rolling maintenance that this run is part of: only it enables the hosts that it disabled."""

    state_dir: str = ""
    """The state directory that was named on the command line, "" where it was not: the next command needs it, too."""

    @property
    def argument(self) -> str:
        """What names this manifest on a command line, for the next command to type."""
        kept = f" --state-dir {shlex.quote(self.state_dir)}" if self.state_dir else ""
        if self.commit is None:
            return (shlex.quote(self.source) if self.source else "MANIFEST") + kept
        path = shlex.quote(self.source.partition(":")[2] or ".")
        return f"{path} --repo {shlex.quote(self.repo or 'REPOSITORY')} --revision {self.commit[:12]}{kept}"

    def probe_of(self, member: Member) -> tuple[str, ...]:
        """The command that tells how old a member's copy of the pool database is; () where none is declared."""
        told = {"{name}": member.name, "{address}": member.address}
        argv = list(member.probe or self.policy.metadata.probe)
        for word, value in told.items():
            argv = [argv[0], *(argument.replace(word, value) for argument in argv[1:])] if argv else []
        return tuple(argv)

    def member(self, name: str) -> Member | None:
        """The member of that name."""
        return next((m for m in self.members if m.name == name), None)
