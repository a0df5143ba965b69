"""How each member stands behind a new master: by its own login, and by that master's database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.core.evidence import LoginAnswer
from reconciler.core.mark import mark_of
from reconciler.core.port import Json
from reconciler.core.wanted import Member, MemberState
from reconciler.core.words import names
from reconciler.execute.bench import Bench
from reconciler.execute.desk import same_address
from reconciler.execute.look import Look


@dataclass(frozen=True, slots=True)
class Seat:
    """One member as its own login and the master's database show it."""

    member: Member
    follows: bool
    known: bool
    live: bool
    enabled: bool
    said: str = ""
    silent: bool = False
    """Its host takes no connection."""
    resting: bool = False
    """It may stay disabled: in maintenance, or disabled by us for one that is over."""

    @property
    def back(self) -> bool:
        """It follows, is live and enabled, so its VMs are resynchronised (sheet §2.6: before it enables itself).

        A member in maintenance is disabled on purpose.
        """
        return self.follows and self.live and (self.enabled or self.resting)

    def missing(self, master: str) -> str:
        """What keeps it from being back, for people."""
        name = self.member.name
        if not self.follows:
            return f"{name} does not follow {master}: it {self.said}"
        if not self.known:
            return f"{name} follows {master}, whose database does not know it"
        if not self.live:
            return f"{name} follows {master}, but is not live yet"
        return f"{name} follows {master} but stays disabled: run xe-toolstack-restart on it"


@dataclass(frozen=True, slots=True)
class Office:
    """The acting master as its own database shows it."""

    name: str
    address: str
    live: bool
    enabled: bool
    """Or disabled on purpose: in maintenance."""
    hosts: dict[str, dict[str, Json]]
    metrics: dict[str, dict[str, Json]]

    def host_of(self, member: Member) -> dict[str, Json] | None:
        """The record of a declared member: by name, then by address."""
        for fits in (
            lambda h: h.get("name_label") == member.name,
            lambda h: same_address(str(h.get("address", "")), member.address),
        ):
            found = [h for h in self.hosts.values() if fits(h)]
            if len(found) == 1:
                return found[0]
        return None

    def is_live(self, host: dict[str, Json]) -> bool:
        """Its host_metrics.live."""
        return bool(self.metrics.get(str(host.get("metrics", "")), {}).get("live", False))


def rests(member: Member, host: Mapping[str, Json]) -> bool:
    """Its record may say disabled though it has rejoined: it is in maintenance, or still carries our mark."""
    if member.state is MemberState.MAINTENANCE:
        return True
    return mark_of({str(k): str(v) for k, v in dict(host.get("other_config") or {}).items()}) is not None


def office(bench: Bench) -> Office:
    """Read who is master and how every host stands, in three calls. Raises MasterLost, XapiFailure."""
    desk = bench.desk()
    hosts = dict(desk.read("host.get_all_records"))
    metrics = dict(desk.read("host_metrics.get_all_records"))
    mine = dict(hosts.get(str(desk.pool().get("master", "")), {}))
    live = bool(metrics.get(str(mine.get("metrics", "")), {}).get("live", False))
    return Office(
        str(mine.get("name_label", desk.address)),
        str(mine.get("address", desk.address)),
        live,
        bool(mine.get("enabled", False)) or ((own := bench.member_of_record(mine)) is not None and rests(own, mine)),
        hosts,
        metrics,
    )


def seats_of(bench: Bench, master: Office, expected: Sequence[Member], seen: dict[str, Look]) -> list[Seat]:
    """How each expected member stands, by its own answer and the master's database."""
    seats: list[Seat] = []
    own = bench.desk().address
    for member in expected:
        answer = seen[member.name]
        follows = answer.answer is LoginAnswer.SLAVE and (
            same_address(answer.follows, master.address) or same_address(answer.follows, own)
        )
        host = master.host_of(member)
        seats.append(
            Seat(
                member,
                follows,
                known=host is not None,
                live=host is not None and master.is_live(host),
                enabled=bool(host and host.get("enabled", False)),
                said=str(answer),
                resting=host is not None and rests(member, host),
                silent=answer.answer is LoginAnswer.SILENT and not answer.connected,
            )
        )
    return seats


def waiting_for(bench: Bench, seats: Sequence[Seat], trouble: str, ready: bool) -> str:
    """What is still waited for, in the order in which it comes."""
    master = bench.name_at(bench.master or "")
    if trouble:
        return f"waiting for {master}: {trouble}"
    steps: dict[str, list[str]] = {}
    for seat in seats:
        if seat.silent:
            step = "to answer"
        elif not seat.follows:
            step = f"to restart behind {master}"
        elif not seat.live:
            step = f"to be heard by {master}"
        else:
            step = "to resynchronise VMs and be enabled"
        if not seat.back:
            steps.setdefault(step, []).append(seat.member.name)
    parts = [f"{names(found)} {step}" for step, found in steps.items()]
    if not ready:
        parts.append(f"{master} itself to be enabled")
    return f"waiting for {'; '.join(parts)}"
