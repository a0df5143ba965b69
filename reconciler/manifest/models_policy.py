"""The manifest's shape: how far runs go, what stops them, how much they do at once. See models.py."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from reconciler.manifest.block import Block
from reconciler.manifest.fields import (
    Count,
    Duration,
    LevelWord,
    Patience,
    Probe,
    Share,
    Text,
    clock,
    moment,
    refuse,
)


class Levels(Block):
    """How far runs may go; each level includes those before it."""

    attended: LevelWord | None = None
    """With a person at the terminal. Unset: crown."""
    unattended: LevelWord | None = None
    """From cron or a service. Unset: power, or `attended` if that is lower."""


class BrakeBlock(Block):
    """With too many hosts gone at once it is more likely that we are cut off: then nothing is fenced or buried."""

    min_healthy: Share = 0.5
    """Share of the members that must answer, as in `51%`."""
    max_hosts_per_run: Count = 1
    """Hosts that one run may fence or declare dead."""


class PolicyPlacement(Block):
    """Rules for placing VMs in the whole pool."""

    reserve: int = Field(0, ge=0)
    """Hosts whose loss the others should be able to absorb: their VMs find room there, the most important ones first.
    Room is kept where it can be; a VM that is to run is started all the same, and plan says what the loss would leave
    down."""
    rebalance: bool = False
    """`true`: running VMs are moved live for `home`, `prefer` and `spread`, too. Else they are moved only for hard
    wishes (`require`, `avoid`, `together`, `apart`), or to make room."""
    cool_down: Patience = 3600.0
    """A VM that was moved, by whomever, is not moved again by `rebalance` for so long. `0`: at once."""
    shed: Literal["none", "low", "normal", "high"] = "none"
    """VMs of this priority and lower may be shut down, cleanly, where a VM of a higher one can't start otherwise."""
    migration_network: Text | None = None
    """Network that migrations go over, by name or uuid; each host needs an address on it. Unset: the one that Xen
    Orchestra set for the pool, or the management network."""


class LimitsBlock(Block):
    """Operations in flight at once, and how long each may take."""

    starts_per_host: Count = 3
    """VMs that start at once on one host."""
    starts_per_pool: Count = 16
    """VMs that start at once in the pool."""
    call_timeout: Duration = 30.0
    """For one answer of a host."""
    start_timeout: Duration = 600.0
    """For a VM to start or resume."""
    shutdown_timeout: Duration = 1260.0
    """For a VM to shut down or suspend; XAPI's own limit is 1200 s."""
    promotion_timeout: Duration = 600.0
    """For a new master to accept logins."""
    rejoin_timeout: Duration = 300.0
    """For the other members to follow it."""
    migrations_per_host: Count = 2
    """VMs that migrate at once from or to one host."""
    migrations_per_pool: Count = 8
    """VMs that migrate at once in the pool."""
    migrate_timeout: Duration = 1800.0
    """For a live migration; then it is cancelled, and the VM goes on where it was."""
    park_after: Count = 3
    """Runs in a row in which an action on a VM may fail before unattended runs leave it alone (`xenrec unpark`)."""


class MetadataBlock(Block):
    """The members' copies of the pool's database: a promoted member starts from its own."""

    refresh_every: Duration | None = None
    """Copies that were refreshed longer ago are refreshed by the next run (`pool.sync_database`), and after every run
    that starts VMs. Unset: only XAPI's own backups, one per 5 min and member."""
    probe: Probe = Field(default_factory=list)
    """A command and its arguments that tells how old a member's copy is; `{name}` and `{address}` in the arguments are
    the member's. It is run without a shell or our environment, and prints one JSON object with the database's
    `generation` (a number), the copy's `time` (`2026-11-22T03:14:07Z` or seconds since 1970), or both. No secrets here:
    arguments can be seen by every user of the machine."""
    probe_timeout: Duration = 10.0
    """How long it may take."""
    max_killed: int = Field(5, ge=0)
    """A promotion is withheld if it may kill more VMs than this on living hosts, because they started, moved or were
    created after the promoted copy was made."""


class Freeze(Block):
    """A time in which no run goes far: from a day and time until another, or every week at the same hours, in UTC."""

    from_: Text = Field(alias="from")
    """When it begins: `2026-12-20T18:00Z`, or a time of day, `18:00`."""
    until: Text
    """When it ends, written like `from`. A time of day that is not after `from` is on the next day."""
    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(default_factory=list)
    """With times of day: on which days it begins. Unset: every day."""
    level: LevelWord = "observe"
    """The highest level that remains allowed."""
    reason: Text
    """Why, for whoever is told to wait."""

    @model_validator(mode="after")
    def _one_kind_of_time(self) -> Freeze:
        daily = [re.fullmatch(r"[0-9]{2}:[0-9]{2}", word) is not None for word in (self.from_, self.until)]
        if daily[0] != daily[1]:
            raise refuse(
                "`from` and `until`",
                "one is a time of day, the other a day and a time",
                "Write both in the same way: `18:00`, or `2026-12-20T18:00Z`.",
            )
        if all(daily):
            if clock(self.from_) == 86_400:
                raise refuse("`from`", "nothing begins at 24:00", "Write `00:00`, and the next day.")
            clock(self.until)
        elif self.days:
            raise refuse("`days`", "they go with times of day", "Write `from: 18:00`, or remove `days`.")
        elif moment(self.until) <= moment(self.from_):
            raise refuse("`until`", "it is not after `from`", "Write a later time.")
        return self


class Policy(Block):
    """How far runs go, what stops them, and how much they do at once."""

    levels: Levels = Levels()
    """How far runs may go."""
    brake: BrakeBlock = BrakeBlock()
    """The storm brake."""
    placement: PolicyPlacement = PolicyPlacement()
    """Rules for placing VMs."""
    limits: LimitsBlock = LimitsBlock()
    """Operations at once, and deadlines."""
    metadata: MetadataBlock = MetadataBlock()
    """The members' copies of the pool's database."""
    freeze: list[Freeze] = Field(default_factory=list)
    """Times in which no run goes far."""
    grace: Patience = 600.0
    """After the master's machine booted an unattended run only observes for so long: members are still starting, and
    XAPI starts VMs by itself. `0`: none."""
    respect_manual_stop: Patience = 900.0
    """A VM that ran and was found stopped while its host lives was stopped by somebody, or crashed: an unattended run
    doesn't start it for so long. `0`: none."""
