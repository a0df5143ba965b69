"""Testimony, verdict, certificate: what is known about each host and what it proves (design §2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LoginAnswer(StrEnum):
    """What a host's XAPI said to a normal login."""

    MASTER = "master"  # accepted: it acts as a master
    SLAVE = "slave"  # HOST_IS_SLAVE [address]: a member, of `follows`
    EMERGENCY = "emergency"  # HOST_STILL_BOOTING, INTERNAL_ERROR, HOST_UNKNOWN_TO_MASTER, …: code in `detail`
    REJECTED = "rejected"  # SESSION_AUTHENTICATION_FAILED or RBAC: our credentials
    UNTRUSTED = "untrusted"  # its certificate is not the one that the manifest trusts
    REFUSED = "refused"  # connection refused: the host is up, its toolstack is not
    SILENT = "silent"  # no answer at all within the deadline, or no route
    STRANGE = "strange"  # answered, but not as XAPI does


ANSWERING = frozenset({LoginAnswer.MASTER, LoginAnswer.SLAVE, LoginAnswer.EMERGENCY, LoginAnswer.REJECTED})
"""Answers that only a living XAPI gives."""

SIGNS_OF_LIFE = ANSWERING | {LoginAnswer.UNTRUSTED, LoginAnswer.REFUSED, LoginAnswer.STRANGE}
"""Answers that something powered on gave at that address."""


class BmcPower(StrEnum):
    """What the fence agent's status said. A BMC that does not answer proves nothing."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"
    NONE = "none"  # no fence agent declared


@dataclass(frozen=True, slots=True)
class CopyTold:
    """What the operator's probe said of a member's copy of the pool database: its generation, and the time (UTC
    seconds) at which it was written there; None where it did not say. `why`: what was wrong with the answer."""

    generation: int | None = None
    at: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Testimony:
    """All that one survey learnt about one member. Times in UTC seconds, costs in seconds.

    `reaches_master`: with a local session a database read answers at once where the member reaches its master and
    never where it doesn't (recording 03). `is_emergency` is host.is_in_emergency_mode. None: not asked.
    """

    name: str
    address: str
    at: float
    login: LoginAnswer
    detail: str = ""
    follows: str | None = None
    local_login: bool | None = None
    is_emergency: bool | None = None
    reaches_master: bool | None = None
    tcp: bool | None = None
    bmc: BmcPower = BmcPower.NONE
    bmc_detail: str = ""
    took: float = 0.0
    pool_uuid: str | None = None
    """Of an accepted login: the pool that it serves. Another uuid than the manifest's is a stranger."""
    copy: CopyTold | None = None
    """What its probe said; None: none declared, or not asked."""
    armed_at: float | None = None
    """When it refused an emergency call because XAPI's HA is armed on it, as remembered (core/armed.py)."""

    @property
    def answers(self) -> bool:
        """A living XAPI answered."""
        return self.login in ANSWERING

    @property
    def ha_armed(self) -> bool:
        """XAPI's HA is armed in its own files: it said so in emergency mode (sheet §1.2), or refused a call for it."""
        codes = ("HA_HOST_CANNOT_ACCESS_STATEFILE", "HA_HEARTBEAT_DAEMON_STARTUP_FAILED")
        return self.armed_at is not None or (self.login is LoginAnswer.EMERGENCY and self.detail.startswith(codes))

    @property
    def broken(self) -> bool:
        """It says HOST_BROKEN: its role file says neither master nor member, or it follows a host of which that is so,
        whose error it repeats (sheet §1.2). Releases as recorded never say it: there the toolstack of a broken host
        dies at each start (recording 12)."""
        return self.login is LoginAnswer.EMERGENCY and self.detail.startswith("HOST_BROKEN")


@dataclass(frozen=True, slots=True)
class Survey:
    """One round of testimonies, one per declared member, in the manifest's order."""

    at: float
    testimonies: tuple[Testimony, ...]
    took: float = 0.0

    def of(self, name: str) -> Testimony | None:
        """The testimony about the member of that name."""
        return next((t for t in self.testimonies if t.name == name), None)


class CertificateKind(StrEnum):
    """Where a proof of death came from."""

    FENCED = "fenced"
    ATTESTED = "attested"


@dataclass(frozen=True, slots=True)
class Certificate:
    """Proof that one host is dead, until it expires or the host shows a sign of life. Times in UTC seconds.

    `host_uuid` is None only when no database could be read when it was made; then name and address identify it.
    """

    kind: CertificateKind
    pool: str
    host: str
    address: str
    host_uuid: str | None
    by: str
    reason: str
    issued_at: float
    expires_at: float

    def covers(self, *, host: str, address: str, uuid: str | None, now: float) -> bool:
        """It speaks of that host, and now."""
        if not self.issued_at - 1.0 <= now < self.expires_at:
            return False
        return self.speaks_of(host=host, address=address, uuid=uuid)

    def speaks_of(self, *, host: str, address: str, uuid: str | None) -> bool:
        """It is about that host, whether or not it holds now."""
        if self.host_uuid is not None and uuid is not None:
            return self.host_uuid == uuid
        return self.host == host and self.address == address


class Verdict(StrEnum):
    """What all testimonies about a host add up to. Silence never adds up to dead."""

    ALIVE = "alive"
    UNREACHABLE = "unreachable"
    SUSPECT = "suspect"
    PLANNED_DOWN = "planned-down"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on one member, in words, and the certificate that it rests on when it is DEAD."""

    name: str
    address: str
    verdict: Verdict
    why: str
    certificate: Certificate | None = None
    voided: tuple[Certificate, ...] = ()
    """Every certificate about it that a sign of life made void, also those that would hold later only (a clock was
    ahead): the one that counted first."""


@dataclass(frozen=True, slots=True)
class Tie:
    """Whom a member says that it follows: a declared member's name, else an address, "" where it does not say."""

    member: str
    follows: str
    login: LoginAnswer

    @property
    def answers(self) -> bool:
        """A living XAPI answered."""
        return self.login in ANSWERING


class Situation(StrEnum):
    """Who manages the pool."""

    MANAGED = "managed"  # exactly one host accepts logins as master
    BOOTING = "booting"  # a promotion was sent, or a member follows a master that is starting
    LOST = "lost"  # nobody accepts logins and at least one member answers
    TANGLED = "tangled"  # nobody accepts logins, and the members follow one another or different hosts
    TWO_MASTERS = "two-masters"
    DEPOSED = "deposed"  # the only host that accepts logins was replaced, and its successor is not to be seen
    CUT_OFF = "cut-off"  # too few members answer: it is we
    DENIED = "denied"  # members answer but reject us
    STRANGER = "stranger"  # what answers is another pool


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The situation of the whole pool, its reason in words, and the verdict on every member."""

    situation: Situation
    why: str
    members: tuple[Judged, ...]
    master: str | None = None
    """Name of the acting master when MANAGED."""
    lost_master: str | None = None
    """When LOST: name of the member that the others follow in vain, None when it is not a declared member."""
    remedy: str = ""
    astray: tuple[str, ...] = ()
    """When MANAGED: names of members that follow another address than the acting master's."""
    masters: tuple[str, ...] = ()
    """When TWO_MASTERS: names of all that accept logins as master of this pool."""
    right: str | None = None
    """When TWO_MASTERS: which of them is the pool's. None where neither followers, promotions nor a person tell."""
    ties: tuple[Tie, ...] = ()
    """Who follows whom, where that is not as it should be."""

    def of(self, name: str) -> Judged | None:
        """The verdict on the member of that name."""
        return next((m for m in self.members if m.name == name), None)


@dataclass(frozen=True, slots=True)
class Incident:
    """A promotion that was sent: kept on disk from before the call until one master is confirmed (I3).

    Out of a tangle, where nobody was lost, `lost_master` is the candidate itself, and `lost_address` whom it followed.
    """

    pool: str
    candidate: str
    candidate_address: str
    lost_master: str
    lost_address: str
    sent_at: float
    run: str
