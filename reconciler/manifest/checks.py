"""What needs more than one value of a file to be wrong: unknown hosts, duplicates, impossible wishes.

They read raw values, so that they report beside whatever else is wrong with the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticCustomError

from reconciler.core.wanted import Brake, Level, Place, SelectorKind
from reconciler.core.words import names
from reconciler.manifest import fields
from reconciler.manifest.depends import check_depends
from reconciler.manifest.groups import check_groups
from reconciler.manifest.problems import Problem, Severity, did_you_mean, listing, quoted
from reconciler.manifest.raw import SELECTORS, Entry, block, blocks, text, texts
from reconciler.manifest.reader import Document, Path


@dataclass(frozen=True)
class Host:
    """A declared member, as written."""

    name: str
    place: Place
    in_maintenance: bool


def check(pool: Document, entries: Sequence[Entry]) -> list[Problem]:
    """Every cross check of a pool's document and of all its virtualMachines entries."""
    hosts = {host.name: host for host in _hosts(pool)}
    return [
        *_members(pool),
        *_trust(pool),
        *_master(pool, hosts),
        *_policy(pool, hosts),
        *_defaults(entries, hosts),
        *_entries(pool, entries, hosts),
        *check_depends(entries),
        *check_groups(entries, frozenset(hosts)),
    ]


def _hosts(pool: Document) -> Iterator[Host]:
    for index, member in blocks(block(pool.value, "spec").get("members")):
        name = text(member.get("name"))
        if name is not None:
            place = pool.place(("spec", "members", index, "name"))
            yield Host(name, place, member.get("state") == "maintenance")


def _members(pool: Document) -> Iterator[Problem]:
    seen: dict[tuple[str, str], Place] = {}
    devices: dict[str, tuple[int, Place]] = {}
    for index, member in blocks(block(pool.value, "spec").get("members")):
        for key in ("name", "address"):
            value = text(member.get(key))
            if value is None:
                continue
            place = pool.place(("spec", "members", index, key))
            first = seen.setdefault((key, _normal_address(value) if key == "address" else value), place)
            if first != place:
                remedy = (
                    "Give each host its own address."
                    if key == "address"
                    else "Where hosts share a name, use their uuids."
                )
                yield Problem(place, f"{key} {quoted(value)}", f"the member at {first} has it already", remedy)
        yield from _devices(pool, index, member, devices)
        pinned = text(member.get("fingerprint")), text(block(member, "tls").get("fingerprint"))
        if None not in pinned:
            place = pool.place(("spec", "members", index, "fingerprint"))
            yield Problem(place, "`fingerprint`", "`tls` gives it, too", "Keep one of the two.")


def _devices(
    pool: Document, index: int, member: dict[str, Any], devices: dict[str, tuple[int, Place]]
) -> Iterator[Problem]:
    """A device that another member has, too: to fence the one would cut the other's power, and prove the one dead."""
    fencing = member.get("fencing")
    for number, device in blocks(fencing if isinstance(fencing, list) else [fencing]):
        agent = text(device.get("agent"))
        if agent is None:
            continue
        at: Path = ("fencing", number, "agent") if isinstance(fencing, list) else ("fencing", "agent")
        place = pool.place(("spec", "members", index, *at))
        options = block(device, "options")
        key = repr((agent.rsplit("/", 1)[-1], sorted((str(name), str(value)) for name, value in options.items())))
        owner, first = devices.setdefault(key, (index, place))
        if owner != index:
            yield Problem(
                place,
                f"fence device {quoted(agent)}",
                f"the member at {first} has the same one with the same options, so one of them would be switched off "
                "in place of the other",
                "Give each host its own, by its address, plug or port.",
            )


def _trust(pool: Document) -> Iterator[Problem]:
    """Hosts whose certificate nothing declared can verify: their first answer names its fingerprint, and is refused."""
    spec = block(pool.value, "spec")
    if "caFile" in block(spec, "connection", "tls"):
        return
    bare = [
        (index, str(member.get("name", member["address"])))
        for index, member in blocks(spec.get("members"))
        if "address" in member and "fingerprint" not in member and "tls" not in member
    ]
    if bare:
        yield Problem(
            pool.place(("spec", "members", bare[0][0])),
            f"certificates of {listing((quoted(name) for _, name in bare), 'and')}",
            "neither a fingerprint nor connection.tls.caFile is declared, so no answer of theirs is trusted",
            "Declare a fingerprint for each: a command that is refused shows it for comparison.",
            Severity.WARNING,
        )


def _normal_address(value: str) -> str:
    try:
        return fields.address(value)
    except PydanticCustomError:
        return value


def _unknown_host(name: str, place: Place, what: str, hosts: Iterable[str]) -> Problem:
    meant = did_you_mean(name, hosts)
    remedy = f"Did you mean {quoted(meant)}?" if meant else f"Members are {listing(hosts, 'and')}."
    return Problem(place, f"{what} {quoted(name)}", "no member has this name", remedy)


def _master(pool: Document, hosts: dict[str, Host]) -> Iterator[Problem]:
    at: Path = ("spec", "master")
    master = block(pool.value, *("spec", "master"))
    host = text(master.get("host"))
    if host is not None and host not in hosts:
        yield _unknown_host(host, pool.place((*at, "host")), "`host`", hosts)
    elif host is not None and all(one.in_maintenance for one in hosts.values()):
        yield Problem(
            pool.place((*at, "host")),
            f"`host` {quoted(host)}",
            "every member is in maintenance, so none can be master",
            "Make one of them active.",
        )
    seen: set[str] = set()
    for index, name in texts(master.get("successors")):
        place = pool.place((*at, "successors", index))
        if name not in hosts:
            yield _unknown_host(name, place, "`successors`", hosts)
        elif name == host:
            yield Problem(place, f"`successors` {quoted(name)}", "it is the master already", "Remove it from the list.")
        elif name in seen:
            yield Problem(
                place, f"`successors` {quoted(name)}", "it stands in the list twice", "Remove one of the two."
            )
        seen.add(name)


def _level(value: object) -> Level | None:
    return Level.__members__.get(value.upper()) if isinstance(value, str) and value.islower() else None


def _policy(pool: Document, hosts: dict[str, Host]) -> Iterator[Problem]:
    policy = block(pool.value, "spec", "policy")
    attended, unattended = (_level(block(policy, "levels").get(key)) for key in ("attended", "unattended"))
    if unattended is not None and unattended > (Level.CROWN if attended is None else attended):
        yield Problem(
            pool.place(("spec", "policy", "levels", "unattended")),
            f"`unattended` {quoted(unattended.word)}",
            "a run on its own would go further than one with a person",
            "Lower it, or raise `attended`.",
        )
    reserve = block(policy, "placement").get("reserve")
    if type(reserve) is int and hosts and reserve >= len(hosts):
        yield Problem(
            pool.place(("spec", "policy", "placement", "reserve")),
            f"`reserve` `{reserve}`",
            f"nothing survives the loss of all {len(hosts)} members",
            f"Write at most {len(hosts) - 1}.",
        )
    brake = block(policy, "brake")
    try:
        healthy = fields.share(brake["minHealthy"]) if "minHealthy" in brake else Brake().min_healthy
    except PydanticCustomError:
        return
    resting = [name for name, host in hosts.items() if host.in_maintenance]
    for off in ([], resting) if resting else ([],):
        counted = len(hosts) - len(off)  # one in maintenance that is silent leaves the brake's count (core/brake.py)
        left = (counted - 1) / counted if counted > 1 else 1.0
        if left < healthy:
            aside = f"while {names(off)}, in maintenance, {'is' if len(off) == 1 else 'are'} off, " if off else ""
            whose = f"the other {counted}" if off else str(counted)
            yield Problem(
                pool.place(("spec", "policy", "brake", "minHealthy")),
                f"`minHealthy` {healthy:.0%}",
                f"{aside}with one of {whose} members down {left:.0%} are left, so the brake stops every recovery until "
                "a person attests that it is dead",
                f"Write at most `{int(left * 100)}%` to let one host be recovered.",
                Severity.WARNING,
            )
            return


def _defaults(entries: Sequence[Entry], hosts: dict[str, Host]) -> Iterator[Problem]:
    """Host names in `defaults` blocks are checked once, even where every entry says otherwise."""
    for doc in {id(entry.doc): entry.doc for entry in entries}.values():
        defaults = block(doc.value, "spec", "defaults")
        home = text(defaults.get("home"))
        if home is not None and home not in hosts:
            yield _unknown_host(home, doc.place(("spec", "defaults", "home")), "`home`", hosts)
        for key in ("prefer", "require", "avoid"):
            for index, name in texts(block(defaults, "placement").get(key)):
                if name not in hosts:
                    place = doc.place(("spec", "defaults", "placement", key, index))
                    yield _unknown_host(name, place, f"`{key}`", hosts)


def _entries(pool: Document, entries: Sequence[Entry], hosts: dict[str, Host]) -> Iterator[Problem]:
    seen: dict[tuple[SelectorKind, str], Place] = {}
    attended = _level(block(pool.value, "spec", "policy", "levels").get("attended"))
    for entry in entries:
        yield from _selector(entry)
        if entry.kind is not None:
            first = seen.setdefault((entry.kind, entry.value), entry.place())
            if first != entry.place():
                yield Problem(
                    entry.place(),
                    f"{quoted(str(entry))} is named twice",
                    f"{first} names it already",
                    "Keep one entry.",
                )
        home = text(entry.own.get("home"))
        if home is not None and home not in hosts:
            yield _unknown_host(home, entry.place("home"), "`home`", hosts)
        if entry.get("placement") is not None:
            yield from _placement(entry, hosts)
        level = _level(entry.own.get("maxLevel"))
        if level is not None and attended is not None and level > attended:
            yield Problem(
                entry.place("maxLevel"),
                f"`maxLevel` {quoted(level.word)}",
                f"no run of this pool goes beyond {attended.word}",
                "It changes nothing; raise `levels.attended` or remove it.",
                Severity.WARNING,
            )
        if entry.own.get("optional") is True and entry.kind in (SelectorKind.PATTERN, SelectorKind.TAG):
            yield Problem(
                entry.place("optional"),
                "`optional`",
                f"a {entry.kind} may always match nothing",
                "It changes nothing; remove it.",
                Severity.WARNING,
            )


def _selector(entry: Entry) -> Iterator[Problem]:
    given = [key for key in SELECTORS if key in entry.own]
    if len(given) > 1:
        yield Problem(
            entry.place(given[1]),
            f"{listing((quoted(key) for key in given), 'and')} in one entry",
            "an entry selects its VMs in one way",
            "Keep one of them, or write an entry for each.",
        )
    elif not given and not (entry.doc.find(entry.path).nulls or set()).intersection(SELECTORS):
        yield Problem(
            entry.place(),
            "an entry without a VM",
            "it doesn't say which VM it is about",
            "Add `name:`, `pattern:`, `tag:` or `uuid:`.",
        )


def _placement(entry: Entry, hosts: dict[str, Host]) -> Iterator[Problem]:
    wish = block(entry.get("placement"))
    named = {key: {name: index for index, name in texts(wish.get(key))} for key in ("prefer", "require", "avoid")}
    require, avoid = named["require"], named["avoid"]

    def impossible(place: Place, what: str, why: str, remedy: str) -> Problem:
        return Problem(place, f"{what} for {quoted(str(entry))}", why, remedy)

    if "placement" in entry.own:
        for key, names in named.items():
            for name in names:
                if name not in hosts:
                    yield _unknown_host(name, entry.place("placement", key, names[name]), f"`{key}`", hosts)
    for name in [name for name in require if name in avoid]:
        place = entry.place("placement", "avoid", avoid[name])
        yield impossible(place, f"`avoid` {quoted(name)}", "`require` names it, too", "Remove it from one of the two.")
    for name, index in named["prefer"].items():
        place = entry.place("placement", "prefer", index)
        if name in avoid:
            yield impossible(
                place, f"`prefer` {quoted(name)}", "`avoid` names it, too", "Remove it from one of the two."
            )
        elif require and name not in require and name in hosts:
            yield impossible(
                place, f"`prefer` {quoted(name)}", "`require` leaves it out", "Add it to `require` or remove it here."
            )
    home = text(entry.get("home"))
    if home is not None and home in avoid:
        yield impossible(entry.place("home"), f"`home` {quoted(home)}", "`avoid` names it", "Choose another home.")
    elif home in hosts and require and home not in require:
        yield impossible(entry.place("home"), f"`home` {quoted(str(home))}", "`require` leaves it out", "Add it there.")
    if hosts and all(host in avoid for host in hosts):
        place = entry.place("placement", "avoid")
        yield impossible(place, "`avoid`", "it names every member, so no host is left", "Leave at least one out.")
    spread, together, apart = (text(wish.get(key)) for key in ("spread", "together", "apart"))
    if spread is not None and len(require) == 1:
        yield impossible(
            entry.place("placement", "spread"),
            f"`spread` {quoted(spread)}",
            f"`require` leaves only {quoted(next(iter(require)))}",
            "Allow more hosts, or remove one of the two.",
        )
    if spread is not None and spread == together:
        yield impossible(
            entry.place("placement", "together"),
            f"`together` {quoted(spread)}",
            "`spread` says the opposite",
            "Keep one.",
        )
    if apart is not None and apart == together:
        place = entry.place("placement", "apart")
        yield impossible(place, f"`apart` {quoted(apart)}", "`together` says the opposite", "Keep one.")
    if require and all(hosts[name].in_maintenance for name in require if name in hosts) and set(require) <= set(hosts):
        yield Problem(
            entry.place("placement", "require"),
            f"`require` for {quoted(str(entry))}",
            f"{listing(require, 'and')} {'is' if len(require) == 1 else 'are'} in maintenance",
            "It can't be started until one is active.",
            Severity.WARNING,
        )
