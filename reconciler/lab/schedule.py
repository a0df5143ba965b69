"""When what goes wrong: scripts of faults on a lab's virtual time or at given calls.

One command a line; # begins a comment. Without a time a command happens at the time of the line before:

    power off h1                      at once
    wait 30                           what follows happens 30 s later (90, 1.5m, 1h, 1m30s)
    at 2m: power on h1                two minutes after the script began
    before VM.start_on#3: lose        the third such call is lost before it arrives
    after VM.start_on: lose           the first has its effect, and its answer is lost
    after VM.start at h2: power off h2            when a start at h2 has had its effect
    after pool.emergency_transition_to_master +15: toolstack restart h3     15 s after that

Methods are patterns (`VM.*`) and stand for their Async form too; a BMC's calls are bmc:status, bmc:off and bmc:on.
`lose`, `lose silently` (nobody is told that the connection is gone), `double` (the request arrives twice) and
`delay SECONDS` treat the call itself; any other command is one of faults.HELP.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from reconciler.lab.carrier import Carrier, Deed, Rule
from reconciler.lab.engine import Lab
from reconciler.lab.fault_words import ScriptError
from reconciler.lab.faults import deed

__all__ = ["Entry", "Run", "Schedule", "ScriptError", "seconds"]

_TIME = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")
_CALL = re.compile(r"(?P<method>[^\s#]+)(?:#(?P<number>\d+))?(?: at (?P<host>\S+))?(?: \+(?P<delay>\S+))?\Z")


class HasLab(Protocol):
    """A port over a lab."""

    @property
    def lab(self) -> Lab:
        """The lab."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One command. `when` is "at", or "before" or "after" the `number`th call of `method` at `host` ("": any).

    `time`: seconds after the script began, or after that call. `line`: where it stands in its script, from 1.
    """

    command: str
    when: str = "at"
    time: float = 0.0
    method: str = ""
    number: int = 1
    host: str = ""
    line: int = 0

    def text(self) -> str:
        """As a script has it."""
        if self.when == "at":
            return f"at {self.time:g}: {self.command}"
        number = f"#{self.number}" if self.number != 1 else ""
        host = f" at {self.host}" if self.host else ""
        later = f" +{self.time:g}" if self.time else ""
        return f"{self.when} {self.method}{number}{host}{later}: {self.command}"


@dataclass(frozen=True)
class Schedule:
    """A script, read. `name` says in errors whose lines are meant."""

    entries: tuple[Entry, ...]
    name: str = "script"

    @classmethod
    def parse(cls, text: str, name: str = "script") -> Schedule:
        """Read a script. Raises ScriptError with the line and what would be right."""
        entries, clock = [], 0.0
        for number, raw in enumerate(text.splitlines(), start=1):
            line = re.sub(r"(^|\s)#(\s.*|$)", "", raw).strip()
            if not line:
                continue
            try:
                clock, entry = _read(line, clock, number)
            except ScriptError as error:
                raise ScriptError(f"{name}:{number}: {error}") from None
            if entry is not None:
                entries.append(entry)
        return cls(tuple(entries), name)

    @classmethod
    def random(cls, seed: int, lab: Lab, **wishes: object) -> Schedule:
        """A random one that fits this lab; the same seed makes the same one. Wishes: see random_faults.make."""
        from reconciler.lab.random_faults import make  # noqa: PLC0415 - it makes Schedules

        return cls(tuple(make(seed, lab, **wishes)), f"random {seed}")  # type: ignore[arg-type]

    def text(self) -> str:
        """The script: parse() of it gives the same schedule again."""
        return "".join(f"{entry.text()}\n" for entry in self.entries)

    @property
    def length(self) -> float:
        """Seconds from the beginning until the last command that has a time."""
        return max((entry.time for entry in self.entries if entry.when == "at"), default=0.0)

    def attach(self, target: Lab | HasLab, *, calm_at: float | None = None) -> Run:
        """Begin now, on a lab or on the lab of a port. `calm_at`: undo everything so many seconds later.

        Raises ScriptError, before anything is done, for commands that the lab can't do.
        """
        lab = target if isinstance(target, Lab) else target.lab
        return Run(self, lab, calm_at=calm_at)


class Run:
    """A schedule at work on a lab. `log` has (seconds since it began, what happened)."""

    def __init__(self, schedule: Schedule, lab: Lab, *, calm_at: float | None = None) -> None:
        self.schedule = schedule
        self.lab = lab
        self.began = lab.now
        self.log: list[tuple[float, str]] = []
        self.attached = True
        self._rules: list[tuple[Rule, Entry]] = []
        self._due = 0
        self._open = 0
        self._later: list[tuple[float, Deed]] = []
        for entry in schedule.entries:
            try:
                self._take(entry)
            except ScriptError as error:
                raise ScriptError(f"{schedule.name}:{entry.line}: {error}" if entry.line else str(error)) from None
        if calm_at is not None:
            self._take(Entry("calm", time=calm_at))
        if self._rules:
            lab.carrier = lab.carrier or Carrier(lab)
            lab.carrier.rules += [rule for rule, _ in self._rules]
        for time, act in self._later:
            lab.kernel.after(time, act)

    @property
    def pending(self) -> int:
        """Commands with a time that have not happened yet, and calls of another client that have not ended."""
        return self._due + self._open if self.attached else 0

    @property
    def waiting(self) -> list[str]:
        """Commands that wait for a call that has not come yet, as the script has them."""
        return [entry.text() for rule, entry in self._rules if not rule.spent] if self.attached else []

    def detach(self) -> None:
        """Nothing more happens of it; what has happened stays as it is."""
        self.attached = False
        if self.lab.carrier is not None:
            mine = {id(rule) for rule, _ in self._rules}
            self.lab.carrier.rules = [rule for rule in self.lab.carrier.rules if id(rule) not in mine]

    def text(self) -> str:
        """The log, a line each."""
        return "".join(f"+{at:<8.2f} {what}\n" for at, what in self.log)

    def _note(self, text: str) -> None:
        self.log.append((self.lab.now - self.began, text))

    def _deed(self, words: list[str]) -> Deed:
        """What the command does; another client's call is open until it is told what came of it."""
        first = words[1] if words[0] == "lab" and len(words) > 1 else words[0]
        if first != "xo" and not first.startswith("xe"):
            return deed(self.lab, words)

        def told(text: str) -> None:
            self._open -= 1
            self._note(text)

        call = deed(self.lab, words, told)

        def act() -> None:
            self._open += 1
            call()

        return act

    def _take(self, entry: Entry) -> None:
        words = shlex.split(entry.command)
        if entry.when == "at":
            act = self._deed(words)
            self._due += 1
            self._later.append((entry.time, partial(self._happen, entry.command, act, due=1)))
            return
        if entry.host and entry.host not in self.lab.hosts:
            raise ScriptError(f"no host is called {entry.host}: the lab has {', '.join(self.lab.hosts)}")
        rule = Rule(entry.method, entry.host, entry.number, note=lambda call: self._note(f"{call}: {entry.command}"))
        match words:
            case ["lose"] | ["lose", "silently"]:
                rule.lost = "request" if entry.when == "before" else "reply"
                rule.silent = len(words) > 1
            case ["double"] if entry.when == "before":
                rule.copies = 1
            case ["delay", word] if entry.when == "before":
                rule.delay = seconds(word)
            case _:
                act = partial(self._at_call, entry, self._deed(words))
                if entry.when == "before":
                    rule.before = act
                else:
                    rule.after = act
        self._rules.append((rule, entry))

    def _at_call(self, entry: Entry, act: Deed) -> None:
        if entry.time:
            self.lab.kernel.after(entry.time, partial(self._happen, entry.command, act))
        else:
            act()

    def _happen(self, command: str, act: Deed, due: int = 0) -> None:
        self._due -= due
        if self.attached:
            self._note(command)
            act()


def seconds(text: str) -> float:
    """A time: 90, 90s, 1.5m, 1h, 1m30s. Raises ScriptError."""
    found = _TIME.fullmatch(text)
    if not text or found is None:
        raise ScriptError(f"{text} is no time: write 90, 1.5m, 1h or 1m30s")
    hours, minutes, rest = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + rest


def _read(line: str, clock: float, number: int) -> tuple[float, Entry | None]:
    """(the clock for the next line, the entry if it is one)."""
    first, _, rest = line.partition(" ")
    if first == "wait":
        return clock + seconds(rest.strip()), None
    if first not in ("at", "before", "after"):
        return clock, Entry(_checked(line), time=clock, line=number)
    when, colon, command = rest.partition(": ")
    if not colon:
        raise ScriptError(f"{line}: write `{first} …: COMMAND`")
    command = _checked(command.strip())
    if first == "at":
        time = seconds(when.strip())
        return time, Entry(command, time=time, line=number)
    found = _CALL.match(when.strip())
    if found is None:
        raise ScriptError(f"{when}: write METHOD, METHOD#N, `METHOD at HOST` or METHOD +SECONDS")
    delay = found["delay"]
    return clock, Entry(
        command,
        first,
        seconds(delay) if delay else 0.0,
        found["method"],
        int(found["number"] or 1),
        found["host"] or "",
        number,
    )


def _checked(command: str) -> str:
    """The command, whose quotes match."""
    try:
        words: Sequence[str] = shlex.split(command)
    except ValueError as error:
        raise ScriptError(f"{command}: {error}") from None
    if not words:
        raise ScriptError("a command is missing")
    return command
