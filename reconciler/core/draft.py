"""A plan while it is made: actions, what is withheld, wishes unmet, objects left alone. Order is order of adding."""

from __future__ import annotations

from dataclasses import dataclass, field

from reconciler.core.plan import Action, Kept, Thing, Unmet, Withheld
from reconciler.core.standing import Stand
from reconciler.core.wanted import Wanted
from reconciler.core.words import address_host


@dataclass
class Draft:
    """What the planner's rooms add to."""

    actions: list[Action] = field(default_factory=list)
    withheld: list[Withheld] = field(default_factory=list)
    unmet: list[Unmet] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    serves: dict[str, str] = field(default_factory=dict)
    """Id of an action that only makes room -> id of the start that it makes room for."""
    given_up: dict[str, Unmet] = field(default_factory=dict)
    """Id of an action that sheds a VM -> the wish of that VM which can't be met then."""

    def keep(self, target: Thing, why: str) -> None:
        """Say why an object is left alone."""
        self.kept.append(Kept(target, why))

    def unkeep(self, target: Thing) -> None:
        """Take back what was said of an object that was left alone so far."""
        self.kept[:] = [k for k in self.kept if k.target != target]

    def hold(self, action: Action, why: str, remedy: str) -> None:
        """Withhold an action."""
        self.withheld.append(Withheld(action, why, remedy))


def attest_command(wanted: Wanted, host: str) -> str:
    """The command that obtains an attested certificate for a host."""
    manifest = wanted.argument
    return f"xenrec attest {manifest} {host} --dead --reason 'seen powered off' --for 30m"


def fence_command(wanted: Wanted, host: str) -> str:
    """The command that switches a host off by its fence agent and records the certificate."""
    return f"xenrec fence off {wanted.argument} {host}"


def look_and_attest(wanted: Wanted, host: str) -> str:
    """The step that only eyes can do, and then the command."""
    return f"see with your own eyes that {host} is powered off, then: {attest_command(wanted, host)}"


def apply_command(wanted: Wanted, *options: str) -> str:
    """The apply command with options."""
    return " ".join(["xenrec apply", wanted.argument, *options])


def plan_command(wanted: Wanted) -> str:
    """The command that shows what would be done."""
    return f"xenrec plan {wanted.argument}"


def role_command(address: str, role: str) -> str:
    """How a person writes a host's role file, "master" or "slave:ADDRESS", and has it read: nothing else mends one
    that is broken where its toolstack dies at each start (recording 12)."""
    return f"ssh root@{address_host(address)} 'echo {role} > /etc/xensource/pool.conf && xe-toolstack-restart'"


def toolstack_command(stand: Stand) -> str:
    """How to restart a host's toolstack; of one that stays down for long, what to look at first."""
    if stand.stuck_under:
        return (
            f"ssh root@{stand.host.address} cat /etc/xensource/pool.conf; unless that says broken, "
            f"ssh root@{stand.host.address} xe-toolstack-restart; if it does: "
            f"{role_command(stand.host.address, f'slave:{stand.stuck_under}')}"
        )
    return f"ssh root@{stand.host.address} xe-toolstack-restart"


def tell_again(stand: Stand) -> str:
    """How a host that went on while its master's machine restarted tells what it runs: only a start of its toolstack
    does, which adopts what the master has as halted and kills what it has elsewhere or not at all (sheet §2.6)."""
    there = f"ssh root@{stand.host.address}"
    return (
        f"compare {there} xl list with xe vm-list resident-on={stand.host.uuid}: what runs there and is halted in the "
        "pool is taken up again by the next command; what the pool has on another host or does not know, migrated or "
        f"created in those last seconds, is killed by it, so shut that down first: {there} xe-toolstack-restart"
    )


def enable_remedy(stand: Stand) -> str:
    """What to do about a host that is live and disabled: it may have come back from a partition (recording 07)."""
    return (
        "declare state: maintenance; or restart its toolstack, which enables it and makes it tell what it runs, and "
        f"kills its copies of VMs that the pool has elsewhere: {toolstack_command(stand)}"
    )
