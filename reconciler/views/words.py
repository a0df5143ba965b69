"""The words of every view: names made safe to print, verbs for people, times, counts.

What is printed comes from manifests, XAPI and BMCs. None of it may move the cursor, forge a line, or pass for another
name, so every text goes through `clean` and every name through `name`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, assert_never

from reconciler.core.evidence import Situation, Verdict
from reconciler.core.plan import Action, Plan, Result, Status, Thing, Verb

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Cn", "Co"})
"""Unicode categories that draw nothing, or something else than what is there (bidi overrides, line separators)."""

_REF: Final = re.compile(r"OpaqueRef:[0-9A-Za-z-]*")

_ASCII: Final = {
    "→": "->",
    "←": "<-",
    "…": "...",
    "–": "-",
    "—": "-",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "×": "x",
    "•": "*",
    "≥": ">=",
    "≤": "<=",
    "\u00a0": " ",
    "\u202f": " ",
}


def _visible(char: str) -> str:
    if char == "\n":
        return "\\n"
    if char == "\t":
        return "\\t"
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def clean(text: str) -> str:
    """The text on one line, with what can't be seen written as an escape, and refs (which mean nothing) left out."""
    text = _REF.sub(lambda m: "nothing" if m.group() == "OpaqueRef:NULL" else "an object", text)
    if text.isascii() and text.isprintable():
        return text
    # Variation selectors and joiners are Mn or Cf: without Cf an emoji sequence falls apart, which is still readable.
    return "".join(_visible(c) if unicodedata.category(c) in _HIDDEN else c for c in text)


def fold(text: str) -> str:
    """ASCII only: typographic signs by their equivalents, other letters as escapes: nothing becomes ambiguous."""
    if text.isascii():
        return text
    return "".join(_ASCII.get(c) or (c if c.isascii() else _visible(c)) for c in text)


def name(text: str) -> str:
    """A name as people should read it: quoted where it would run into the sentence."""
    shown = clean(text)
    if shown and not re.search(r"[\s\"'`,;:\\]", shown):
        return shown
    return '"' + shown.replace('"', '\\"') + '"'


def names(items: Iterable[str]) -> str:
    """ "a, b and c" ."""
    shown = [name(i) for i in items]
    if len(shown) < 2:
        return "".join(shown)
    return ", ".join(shown[:-1]) + " and " + shown[-1]


def count(number: int, one: str, many: str = "") -> str:
    """ "1 member", "3 members" ."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def utc(at: float, *, day: bool = True) -> str:
    """A time for people: "2026-11-22 03:14:07 UTC", or without the day. Any number gives some text."""
    try:
        moment = datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):
        return f"at an impossible time ({at!r})"
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC") if day and moment.year >= 1000 else moment.strftime("%H:%M:%S UTC")


def rfc3339(at: float | None) -> str | None:
    """A time for machines, to the microsecond: "2026-11-22T03:14:07Z". None for what is no time."""
    if at is None:
        return None
    try:
        return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return None


def near(at: float, now: float) -> str:
    """A time as short as it may be: without the day when it is less than 12 hours from `now`."""
    return utc(at, day=not abs(at - now) < 12 * 3600)


def lasting(seconds: float) -> str:
    """A duration for people: "0.4 s", "12 s", "3 min 20 s", "2 h 5 min", "3 days"."""
    if not abs(seconds) < 1e12:
        return "a very long time"
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    if whole < 48 * 3600:
        hours, rest = divmod(whole // 60, 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{whole // 86400} days"


def _to(action: Action, word: str) -> str:
    return f" {word} {name(action.to.name)}" if action.to is not None else ""


def _pool_sr(action: Action, what: str) -> str:
    if action.to is None:
        return f"clear the {what} of the pool"
    return f"set the {what} to {name(action.to.name)}"


def does(action: Action) -> str:
    """What an action does, in the imperative: "start db01 on xen02"."""
    who = name(action.target.name)
    verb = action.verb
    match verb:
        case Verb.FENCE:
            return f"fence {who}: power it off and read back that it is off"
        case Verb.PROMOTE:
            return f"promote {who} to pool master"
        case Verb.AWAIT_MASTER:
            return f"wait for {who} to answer as pool master (its promotion was already sent)"
        case Verb.FOLLOW:
            return f"make {who} a member{_to(action, 'of')} again"
        case Verb.RECOVER_MEMBERS:
            return f"point the other members at the master{',' if action.to else ''}{_to(action, 'now')}"
        case Verb.AWAIT_MEMBERS:
            return "wait until every member that answers has rejoined"
        case Verb.DECLARE_DEAD:
            return f"declare {who} dead and free its VMs"
        case Verb.SET_DEFAULT_SR:
            return _pool_sr(action, "default SR")
        case Verb.SET_SUSPEND_SR:
            return _pool_sr(action, "suspend-image SR")
        case Verb.SET_AFFINITY:
            if action.to is None:
                return f"clear the home (affinity) of {who}"
            return f"set the home (affinity) of {who}{_to(action, 'to')}"
        case Verb.SYNC_DATABASE:
            return "refresh every member's copy of the pool database"
        case Verb.DESIGNATE_MASTER:
            return f"hand the office of master over to {who}"
        case Verb.START | Verb.RESUME:
            return f"{action.verb} {who}{_to(action, 'on')}"
        case Verb.UNPAUSE:
            return f"unpause {who}"
        case Verb.SHUTDOWN:
            return f"shut down {who}"
        case Verb.SUSPEND:
            return f"suspend {who}"
        case Verb.AWAIT_READY:
            return f"wait until {who} {clean(action.ready.words) if action.ready else 'is ready'}"
        case Verb.MIGRATE:
            source = f" from {name(action.source.name)}" if action.source is not None else ""
            return f"migrate {who}{source}{_to(action, 'to')}"
        case Verb.DISABLE_HOST:
            return f"disable {who} for maintenance"
        case Verb.ENABLE_HOST:
            return f"enable {who} again"
        case Verb.END_MAINTENANCE:
            return f"end the maintenance of {who}"
    assert_never(verb)


def brief(action: Action) -> str:
    """What an action does, where it is said many times: "fence xen01"."""
    return f"fence {name(action.target.name)}" if action.verb is Verb.FENCE else does(action)


MANY: Final = {
    Verb.START: ("start {n}{to}", " on "),
    Verb.RESUME: ("resume {n}{to}", " on "),
    Verb.UNPAUSE: ("unpause {n}", ""),
    Verb.SHUTDOWN: ("shut down {n}", ""),
    Verb.SUSPEND: ("suspend {n}", ""),
    Verb.MIGRATE: ("migrate {n}{to}", " to "),
    Verb.SET_AFFINITY: ("set the home (affinity) of {n}{to}", " to "),
}
"""Verbs of which there may be hundreds, in words for several at once."""


def does_many(actions: Sequence[Action]) -> str:
    """What several actions of one verb and one destination do: "start 12 VMs on xen02"."""
    first = actions[0]
    pattern, word = MANY[first.verb]
    to = word + name(first.to.name) if first.to is not None and word else ""
    return pattern.format(n=count(len(actions), "VM"), to=to)


VERDICTS: Final[Mapping[Verdict, str]] = {
    Verdict.ALIVE: "alive",
    Verdict.UNREACHABLE: "unreachable",
    Verdict.SUSPECT: "suspect",
    Verdict.PLANNED_DOWN: "planned down",
    Verdict.DEAD: "dead",
}

SITUATIONS: Final[Mapping[Situation, str]] = {
    Situation.MANAGED: "has a master",
    Situation.BOOTING: "has a master that is starting",
    Situation.LOST: "has no master",
    Situation.TWO_MASTERS: "has two masters",
    Situation.DEPOSED: "is managed by a master that was replaced",
    Situation.TANGLED: "has no master, and its members follow one another",
    Situation.CUT_OFF: "cannot be judged from here",
    Situation.DENIED: "refuses our login",
    Situation.STRANGER: "is not the pool that answers",
}

RESULTS: Final[Mapping[Result, tuple[str, str]]] = {
    Result.DONE: ("+", "done"),
    Result.ALREADY: ("=", "already so"),
    Result.FAILED: ("x", "failed"),
    Result.SKIPPED: ("/", "skipped"),
    Result.REFUSED: ("?", "refused"),
    Result.UNKNOWN: ("?", "not known"),
}
"""A sign and a word for each way in which an action ends."""


_GROUPS: Final = (
    ("to fence", (Verb.FENCE,)),
    ("to wait for", (Verb.AWAIT_MASTER, Verb.AWAIT_MEMBERS, Verb.AWAIT_READY)),
    ("to promote/recover", (Verb.PROMOTE, Verb.FOLLOW, Verb.RECOVER_MEMBERS)),
    ("to declare dead", (Verb.DECLARE_DEAD,)),
    ("to set", (Verb.SET_DEFAULT_SR, Verb.SET_SUSPEND_SR, Verb.SET_AFFINITY)),
    ("to refresh", (Verb.SYNC_DATABASE,)),
    ("to move (the master)", (Verb.DESIGNATE_MASTER,)),
    ("to migrate", (Verb.MIGRATE,)),
    ("to start", (Verb.START, Verb.RESUME, Verb.UNPAUSE)),
    ("to stop", (Verb.SHUTDOWN, Verb.SUSPEND)),
    ("to disable", (Verb.DISABLE_HOST,)),
    ("to enable", (Verb.ENABLE_HOST,)),
)


def counted(plan: Plan) -> str:
    """The closing line: "3 to promote/recover, 5 to start, 1 withheld, 2 wishes can't be met"."""
    parts = []
    for words, verbs in _GROUPS:
        number = sum(a.verb in verbs for a in plan.actions)
        if number:
            parts.append(f"{number} {words}")
    if plan.withheld:
        parts.append(f"{len(plan.withheld)} withheld")
    if plan.unmet:
        parts.append(f"{count(len(plan.unmet), 'wish', 'wishes')} can't be met")
    return ", ".join(parts) or ("nothing to do" if is_as_declared(plan) else "nothing that may be done now")


STAGES: Final = {
    "regain": "get one master and its members back",
    "restore": "bring the pool to what is declared",
    "relieve": "make another host master before this one's maintenance",
    "refresh": "give every member a copy of the pool database as it is then",
    "hand over": "make the declared host master, once all else is done",
}
"""What the stages are for; another name stands for itself."""


def thing(target: Thing) -> str:
    """A thing by its kind and name: "VM db01", "host xen01"."""
    kind = {"vm": "VM", "sr": "SR"}.get(target.kind, clean(target.kind))
    return f"{kind} {name(target.name)}"


_COMMAND: Final = re.compile(r"(?:xenrec|xe|ssh|ipmitool|fence_\w+|git|make|sudo) \S")
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"")


def is_command(text: str) -> bool:
    """The text is something to type as it is: it starts with a program's name and holds no prose."""
    bare = _QUOTED.sub("", text)
    return bool(_COMMAND.match(text)) and not re.search(r"[(),]|: |\.(?:\s|$)", bare)


def split_command(remedy: str) -> tuple[str, str]:
    """A remedy as (what to do first, the command to type); either may be ""."""
    remedy = remedy.strip()
    if is_command(remedy):
        return "", remedy
    for match in re.finditer(r": ", remedy):
        if is_command(remedy[match.end() :]):
            return remedy[: match.end() - 1], remedy[match.end() :]
    return remedy, ""


def is_as_declared(plan: Plan) -> bool:
    """Nothing is left to do, and one master says so."""
    return plan.status is Status.CLEAN
