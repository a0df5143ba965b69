"""Who follows whom, as one survey heard it: chains, circles, and where each of them ends. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from reconciler.core.evidence import LoginAnswer, Survey, Tie
from reconciler.core.wanted import Wanted
from reconciler.core.words import address_host


class End(StrEnum):
    """Where a member's chain of masters ends."""

    MASTER = "master"  # at a host that accepts logins
    CIRCLE = "circle"  # nowhere: each of these follows the next
    SILENT = "silent"  # at a declared member that gives no XAPI answer
    UNTOLD = "untold"  # at a member that answers and does not say whom it follows
    FOREIGN = "foreign"  # at an address that is no declared member's


@dataclass(frozen=True, slots=True)
class Chain:
    """One member's way: whom it follows, whom that one follows, and so on; `path` begins with the member.

    The last of `path` is a name, or an address where `end` is FOREIGN; with CIRCLE it occurs twice.
    """

    path: tuple[str, ...]
    end: End

    @property
    def last(self) -> str:
        """Where it ends."""
        return self.path[-1]

    @property
    def circle(self) -> tuple[str, ...]:
        """The hosts of the circle that it runs into, each once; () where there is none."""
        return self.path[self.path.index(self.last) : -1] if self.end is End.CIRCLE else ()


def ties_of(wanted: Wanted, survey: Survey) -> tuple[Tie, ...]:
    """Whom each member follows, by name where the address is a declared member's, in the manifest's order."""
    called = {address_host(m.address): m.name for m in wanted.members}
    return tuple(
        Tie(t.name, called.get(address_host(t.follows), t.follows) if t.follows else "", t.login)
        for t in survey.testimonies
    )


def chains(ties: Sequence[Tie]) -> Mapping[str, Chain]:
    """The chain of every member that says whom it follows."""
    by_name = {tie.member: tie for tie in ties}
    return {tie.member: _chain(tie, by_name) for tie in ties if tie.follows}


def _chain(start: Tie, by_name: Mapping[str, Tie]) -> Chain:
    path = [start.member]
    at = start
    while True:
        path.append(at.follows)
        if at.follows in path[:-1]:
            return Chain(tuple(path), End.CIRCLE)
        following = by_name.get(at.follows)
        if following is None:
            return Chain(tuple(path), End.FOREIGN)
        if not following.follows:
            if following.login is LoginAnswer.MASTER:
                return Chain(tuple(path), End.MASTER)
            return Chain(tuple(path), End.UNTOLD if following.answers else End.SILENT)
        at = following


def roots(ties: Sequence[Tie]) -> dict[str, End]:
    """Where all chains end: the name or address of each end that is no circle, and what it is."""
    return {chain.last: chain.end for chain in chains(ties).values() if chain.end is not End.CIRCLE}


def circle_of(ties: Sequence[Tie]) -> tuple[str, ...]:
    """The hosts of a circle, each once, beginning with the first in the manifest's order; () where there is none."""
    for chain in chains(ties).values():
        if chain.circle:
            order = [tie.member for tie in ties]
            first = min(range(len(chain.circle)), key=lambda n: order.index(chain.circle[n]))
            return chain.circle[first:] + chain.circle[:first]
    return ()
