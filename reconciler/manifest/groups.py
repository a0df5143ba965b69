"""Groups of VMs whose wishes contradict each other, found from the manifest alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from reconciler.core.conflict import Clause, Kind, about, conflict
from reconciler.core.wanted import Place, SelectorKind
from reconciler.manifest.problems import Problem, listing, quoted
from reconciler.manifest.raw import Entry, block, text, texts

_MOST = 20
"""So many contradictions are named; who has more changes something fundamental first."""
_ONE = (SelectorKind.NAME, SelectorKind.UUID)


def check_groups(entries: Sequence[Entry], hosts: frozenset[str]) -> Iterator[Problem]:
    """`together` and `apart` against `require`, `avoid` and each other, with the smallest set of wishes that conflicts.

    An entry counts as one VM for `apart` only where it names one: how many a pattern or a tag selects is for `plan`.
    """
    places: dict[Clause, Place] = {}
    of_entry = {n: list(_clauses(n, entry, hosts, places)) for n, entry in enumerate(entries)}
    clauses = [clause for found in of_entry.values() for clause in found]
    grouped = {clause.vm for clause in clauses if clause.group}
    told: set[tuple[Clause, ...]] = set()
    seen: set[str] = set()
    for number in of_entry:
        if str(number) not in grouped or str(number) in seen:
            continue
        part = about(str(number), clauses)
        seen |= {clause.vm for clause in part}
        found = conflict(hosts, part)
        if found and found not in told and len(told) < _MOST:
            told.add(found)
            last = max((places[clause] for clause in found), key=lambda p: (p.file, p.line, p.column))
            names = dict.fromkeys(quoted(str(entries[int(clause.vm)])) for clause in found)
            yield Problem(
                last,
                f"`placement` of {listing(names, 'and')}",
                f"these wishes can't all be met: {'; '.join(str(clause) for clause in found[:12])}",
                "Change one of them.",
            )


def _clauses(number: int, entry: Entry, hosts: frozenset[str], places: dict[Clause, Place]) -> Iterator[Clause]:
    wish = block(entry.get("placement"))
    if entry.kind is None or entry.get("state") in ("halted", "suspended") or not hosts:
        return
    name = str(entry)
    require = frozenset(word for _, word in texts(wish.get("require"))) & hosts
    avoid = frozenset(word for _, word in texts(wish.get("avoid"))) & hosts
    if (require and not require - avoid) or avoid >= hosts:
        return  # told of the entry itself
    groups: Mapping[Kind, str | None] = {
        Kind.TOGETHER: text(wish.get("together")),
        Kind.APART: text(wish.get("apart")) if entry.kind in _ONE else None,
    }

    def made(kind: Kind, key: str, words: str, allowed: frozenset[str] = frozenset(), group: str = "") -> Clause:
        place = entry.place("placement", key)
        clause = Clause(str(number), kind, f"{words} of {name}", allowed, group, str(place))
        places[clause] = place
        return clause

    if require:
        yield made(Kind.HOSTS, "require", f"require [{', '.join(sorted(require))}]", require)
    if avoid:
        yield made(Kind.HOSTS, "avoid", f"avoid [{', '.join(sorted(avoid))}]", hosts - avoid)
    for kind, group in groups.items():
        if group:
            yield made(kind, str(kind), f"{kind} {group}", group=group)
