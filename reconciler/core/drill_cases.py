"""The losses that a drill looks at, what each would mean, and all of them in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reconciler.core.plan import Thing
from reconciler.core.words import names


class Kind(StrEnum):
    """What keeps a VM down after a loss."""

    STORAGE = "storage"  # no host that is left could run it, whatever room there is
    ROOM = "room"  # one could, with room
    RULE = "rule"  # something else: a blocked operation, a VM that it depends on
    MASTER = "master"  # nobody is left who could be master


@dataclass(frozen=True, slots=True)
class Loss:
    """A VM that runs now and would stay down: the one reason, and the command that mends it now, where there is one."""

    vm: Thing
    why: str
    kind: Kind
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """What the loss of `hosts` would mean. `running` declared VMs run there now; `restarted` are (VM, host where it
    would start), told where it was planned; `lost` would stay down, of a set of hosts those that no part of it loses
    already (`by_part` counts these). `left` are guests there that the manifest does not declare running: nobody starts
    them. `new_master` would become master ("" where that stays as it is, None where nobody could)."""

    hosts: tuple[str, ...]
    running: int
    restarted: tuple[tuple[str, str], ...]
    lost: tuple[Loss, ...]
    moved: tuple[tuple[str, str], ...] = ()
    """(VM, host) of live migrations that make room first."""
    shed: tuple[str, ...] = ()
    """VMs that would be shut down for more important ones."""
    left: tuple[str, ...] = ()
    by_part: int = 0
    new_master: str | None = ""
    copy_age: float | None = None
    """Seconds: how old the new master's database copy may be."""
    loses: str = ""
    """What the promotion from that copy would lose at most, with how that is known (copies.age_words)."""
    killed: tuple[str, ...] = ()
    """VMs that run on hosts which survive, and that the promotion may kill, each with where and why (stale.py)."""
    hindrances: tuple[str, ...] = ()
    """What would hold the recovery back although the VMs have a place: the brake, a missing fence agent."""
    planned: bool = True
    """False: bounds settled it."""
    sure: bool = True
    """False: neither the bounds nor a plan settled it; `lost` then found no room at a quick look."""

    @property
    def survives(self) -> bool:
        """Every VM that runs now would run again, under a master."""
        return not self.lost and not self.shed and not self.by_part and self.new_master is not None


@dataclass(frozen=True, slots=True)
class Drill:
    """All cases, single hosts first. `skipped` sets were too many to look at."""

    cases: tuple[Case, ...]
    skipped: int = 0
    down: tuple[str, ...] = ()
    """Declared members that could not be lost, for they are not there now."""

    @property
    def single_points(self) -> tuple[str, ...]:
        """Hosts whose loss alone would leave something down."""
        return tuple(c.hosts[0] for c in self.cases if len(c.hosts) == 1 and not c.survives)


def drill_words(found: Drill) -> str:
    """The result in one sentence."""
    if not found.cases:
        return "no host is ready, so there is nothing to lose"
    bad = [c for c in found.cases if not c.survives]
    if not bad:
        most = max(len(c.hosts) for c in found.cases)
        more = " more" if found.down else ""
        what = f"any one{more} host" if most == 1 else f"any {most}{more} hosts"
        away = f" ({names(found.down)} {'is' if len(found.down) == 1 else 'are'} not there now)" if found.down else ""
        return f"the pool survives the loss of {what}{away}"
    single = found.single_points
    if len(single) > 1 and len(single) == sum(len(c.hosts) == 1 for c in found.cases):
        return "the loss of any one host leaves VMs down"
    if single:
        return f"the loss of {names(single)}" + (" alone" if len(single) == 1 else ", each alone,") + " leaves VMs down"
    return f"the pool survives the loss of any one host, but not of {names('+'.join(c.hosts) for c in bad)}"
