"""Plans as data with two readers: one performs them (execute/), one prints them (views/)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reconciler.core.evidence import Certificate, Diagnosis, Situation
from reconciler.core.fates import Doomed
from reconciler.core.wanted import Level, Ready


class Verb(StrEnum):
    """Every kind of action there is."""

    FENCE = "fence"
    PROMOTE = "promote"
    AWAIT_MASTER = "await-master"  # observe a promotion that was already sent
    FOLLOW = "follow"  # a host that acts as a second master is told to follow the right one
    RECOVER_MEMBERS = "recover-members"
    AWAIT_MEMBERS = "await-members"  # wait until all that answer have rejoined, without a call that writes
    DECLARE_DEAD = "declare-dead"
    SET_DEFAULT_SR = "set-default-sr"
    SET_SUSPEND_SR = "set-suspend-sr"
    SET_AFFINITY = "set-affinity"
    SYNC_DATABASE = "sync-database"  # give every member a copy of the database as it is now
    DESIGNATE_MASTER = "designate-master"
    START = "start"
    RESUME = "resume"
    UNPAUSE = "unpause"
    SHUTDOWN = "shutdown"
    SUSPEND = "suspend"
    MIGRATE = "migrate"  # live, from `source` to `to`
    DISABLE_HOST = "disable-host"  # for maintenance: marked as ours, then disabled
    ENABLE_HOST = "enable-host"  # one that carries our mark
    END_MAINTENANCE = "end-maintenance"  # remove the mark, once the VMs are home
    AWAIT_READY = "await-ready"  # what others depend on is to be `ready`, without a call that writes


SIGNS = {
    Verb.FENCE: "!",
    Verb.PROMOTE: "^",
    Verb.AWAIT_MASTER: "^",
    Verb.FOLLOW: "^",
    Verb.RECOVER_MEMBERS: "^",
    Verb.AWAIT_MEMBERS: "^",
    Verb.DECLARE_DEAD: "!",
    Verb.SET_DEFAULT_SR: "~",
    Verb.SET_SUSPEND_SR: "~",
    Verb.SET_AFFINITY: "~",
    Verb.SYNC_DATABASE: "~",
    Verb.DESIGNATE_MASTER: "^",
    Verb.START: ">",
    Verb.RESUME: ">",
    Verb.UNPAUSE: ">",
    Verb.SHUTDOWN: "-",
    Verb.SUSPEND: "-",
    Verb.MIGRATE: "@",
    Verb.DISABLE_HOST: "-",
    Verb.ENABLE_HOST: ">",
    Verb.END_MAINTENANCE: "~",
    Verb.AWAIT_READY: ":",
}

LEVELS = {
    Verb.FENCE: Level.CROWN,
    Verb.PROMOTE: Level.CROWN,
    Verb.AWAIT_MASTER: Level.OBSERVE,
    Verb.FOLLOW: Level.CROWN,
    Verb.RECOVER_MEMBERS: Level.CROWN,
    Verb.AWAIT_MEMBERS: Level.OBSERVE,
    Verb.DECLARE_DEAD: Level.BURY,
    Verb.SET_DEFAULT_SR: Level.METADATA,
    Verb.SET_SUSPEND_SR: Level.METADATA,
    Verb.SET_AFFINITY: Level.METADATA,
    Verb.SYNC_DATABASE: Level.METADATA,
    Verb.DESIGNATE_MASTER: Level.MOVE,
    Verb.START: Level.POWER,
    Verb.RESUME: Level.POWER,
    Verb.UNPAUSE: Level.POWER,
    Verb.SHUTDOWN: Level.POWER,
    Verb.SUSPEND: Level.POWER,
    Verb.MIGRATE: Level.MOVE,
    Verb.DISABLE_HOST: Level.MOVE,
    Verb.ENABLE_HOST: Level.MOVE,
    Verb.END_MAINTENANCE: Level.METADATA,
    Verb.AWAIT_READY: Level.OBSERVE,
}


ALONE = frozenset(
    {
        Verb.FENCE,
        Verb.PROMOTE,
        Verb.AWAIT_MASTER,
        Verb.FOLLOW,
        Verb.RECOVER_MEMBERS,
        Verb.AWAIT_MEMBERS,
        Verb.DESIGNATE_MASTER,
        Verb.SYNC_DATABASE,
    }
)
"""Verbs that nothing runs beside: they decide who is master, wait for everybody, or copy what all others did."""
UPKEEP = frozenset({Verb.SYNC_DATABASE})
"""Verbs that keep a pool ready for the worst and change nothing that a manifest declares: a pool that lacks only them
is as declared, and no run is blamed for leaving them out."""


@dataclass(frozen=True, slots=True)
class Thing:
    """What an action or a wish is about. `kind` is host, vm, sr or pool; `uuid` is "" where it can't be known yet."""

    kind: str
    name: str
    uuid: str = ""
    address: str = ""
    """Of a host."""

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Action:
    """One step; `id` is stable for the same input.

    `before` and `after` are words for people ("Halted", "Running on xen02"). `to` is the host (or SR) that it goes to;
    `certificate_of` names the hosts whose death it rests on; `follows` the ids that must have succeeded before;
    `via` is the address that the call goes to: "" means the acting master; `source` the host that a migration
    leaves, or for whose sake a VM is stopped there and nowhere else.
    `behind` names ids that must have ended before, in whatever way; `ready` is what an AWAIT_READY waits for.
    """

    verb: Verb
    target: Thing
    why: str
    before: str = ""
    after: str = ""
    to: Thing | None = None
    certificate_of: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()
    via: str = ""
    source: Thing | None = None
    kills: tuple[Doomed, ...] = ()
    """Running VMs that the step kills, as far as that can be known."""
    behind: tuple[str, ...] = ()
    ready: Ready | None = None

    @property
    def id(self) -> str:
        """Stable name of the action within its plan; by uuid, for names may be shared. A migration's has its end, too:
        one VM may move twice in a plan, out of the way and on."""
        name = f"{self.verb}:{self.target.kind}/{self.target.uuid or self.target.name}"
        if self.verb is Verb.MIGRATE and self.to is not None:
            return f"{name}>{self.to.uuid or self.to.name}"
        return name

    @property
    def level(self) -> Level:
        """How far a run must be allowed to go for it."""
        return LEVELS[self.verb]


@dataclass(frozen=True, slots=True)
class Withheld:
    """An action that is right but not allowed now: one reason, and the next command to type."""

    action: Action
    why: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Unmet:
    """A wish that no action can meet now: what is wished, the one reason, the next command or step."""

    target: Thing
    wish: str
    why: str
    remedy: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """An object considered and left alone, and why."""

    target: Thing
    why: str


@dataclass(frozen=True, slots=True)
class Stage:
    """Actions in a feasible order. `forecast`: made from the last known pool, to be planned again from what is read."""

    name: str
    actions: tuple[Action, ...]
    forecast: bool = False


class Status(StrEnum):
    """What the plan comes to."""

    CLEAN = "clean"  # a managed pool with nothing to do and every wish met
    CHANGES = "changes"  # actions to do
    BLOCKED = "blocked"  # nothing that may be done, but wishes are unmet or actions withheld


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact that the plan rests on, as (what, value): compared one by one when a saved plan is applied."""

    what: str
    value: str


@dataclass(frozen=True)
class Plan:
    """What is wrong, what will be done, and why. Times in UTC seconds.

    `facts` are what a saved plan must find again; `fingerprint` is their digest (hex). `last_known_at` is when the
    pool behind a forecast was read. `notes` are worth saying but call for nothing.
    """

    pool: str
    pool_uuid: str
    made_at: float
    diagnosis: Diagnosis
    stages: tuple[Stage, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    unmet: tuple[Unmet, ...] = ()
    kept: tuple[Kept, ...] = ()
    notes: tuple[str, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    facts: tuple[Fact, ...] = ()
    fingerprint: str = ""
    source: str = ""
    digest: str = ""
    commit: str | None = None
    argument: str = ""
    """What names the manifest on a command line."""
    last_known_at: float | None = None
    differences: tuple[tuple[str, str], ...] = ()
    """(thing, field by field difference) for people; made with deepdiff, only where objects differ."""
    failback: bool = False
    """It was made with the word that the hand-over waits for: apply needs it, too."""
    yields: tuple[str, ...] = ()
    """Hosts of which a person said that they give way (--yield): apply needs it, too."""
    forewarning: str = ""
    """Of a managed pool: what the loss of its master now would cost, and how that is known."""
    reminders: tuple[str, ...] = ()
    """Those of the notes that outlive runs: open obligations, pauses, freeze windows, other runs."""
    expected: float | None = None
    """Seconds that all of it takes about, if nothing goes wrong."""
    critical: tuple[str, ...] = ()
    """Ids of the longest chain of its actions on VMs, in order."""

    @property
    def actions(self) -> tuple[Action, ...]:
        """Every action of every stage, in order."""
        return tuple(a for s in self.stages for a in s.actions)

    @property
    def only_upkeep(self) -> bool:
        """The pool is as declared, and all that there is to do keeps it ready for the worst."""
        managed = self.diagnosis.situation is Situation.MANAGED
        left = self.withheld or self.unmet or any(a.verb not in UPKEEP for a in self.actions)
        return bool(self.actions) and managed and not left

    @property
    def status(self) -> Status:
        """CLEAN, CHANGES or BLOCKED."""
        if self.actions:
            return Status.CHANGES
        managed = self.diagnosis.situation is Situation.MANAGED
        return Status.CLEAN if managed and not self.withheld and not self.unmet else Status.BLOCKED


class Result(StrEnum):
    """How one action ended."""

    DONE = "done"
    ALREADY = "already"  # its goal was reached without it
    FAILED = "failed"
    SKIPPED = "skipped"  # something that it follows failed
    REFUSED = "refused"  # its precondition or certificate no longer holds
    UNKNOWN = "unknown"  # the reply was lost and observation could not tell


@dataclass(frozen=True, slots=True)
class Done:
    """The outcome of one action: in words, with the seconds it took and the next command when it failed."""

    action: Action
    result: Result
    why: str = ""
    remedy: str = ""
    took: float = 0.0
    lasting: bool = False
    """Of a refusal: XAPI refuses it too, until somebody changes something. Others are our own guards, or pass."""


@dataclass(frozen=True)
class Outcome:
    """What an apply did and what it proved: `final` is the plan made from the pool as read at the end."""

    run: str
    done: tuple[Done, ...]
    final: Plan | None
    started_at: float
    ended_at: float
    timeline: tuple[tuple[float, str], ...] = ()
    """(seconds since the start, what happened)."""
    stopped: str = ""
    """Why it stopped before the end, if it did."""
    milestones: tuple[tuple[float, str], ...] = ()
    """(seconds since the start, step reached) of a change of the master; () where there was none."""
