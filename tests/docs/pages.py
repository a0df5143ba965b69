"""Markdown pages as blocks to type: reading, comparing what is shown with what came, writing back what came.

A ```console block is typed line by line: `$ ` begins a command, what follows is what the screen shows. A line `...`
stands for anything. Around it, in HTML comments that a reader never sees:

    <!-- typed before            commands that are typed without being shown
    $ xenrec lab up --fast
    -->
    <!-- answers: yes -->        what is typed at the questions of the next block
    <!-- ctrl-c after: CALL -->  when the next block is interrupted
    <!-- not run: WHY -->        in front of every ```sh block, which is not typed
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

FENCE = re.compile(r"^ *```(\w*)\s*$")
ANY = "..."

_VOLATILE = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"), "TIME"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"\b\d\d:\d\d:\d\d UTC"), "TIME"),
    (re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}"), "RUN"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\b[0-9a-f]{40,64}\b"), "DIGEST"),
    (re.compile(r"\bprocess \d+"), "process N"),
    (re.compile(r"\+?\b\d+(\.\d+)? (s|min|h)\b( \d+ (s|min)\b)?"), "TOOK"),
)


@dataclass
class Command:
    """One command of a block, and the lines that the page shows below it."""

    line: str
    shown: list[str] = field(default_factory=list)


@dataclass
class Block:
    """A ```console block: its commands and where they stand (line numbers count from 0, `end` is the closing fence)."""

    start: int
    end: int
    commands: list[Command]
    before: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    interrupt: str = ""


def fences(lines: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """(language, line of the opening fence, line of the closing one) of every fenced block."""
    start, language = -1, ""
    for number, line in enumerate(lines):
        found = FENCE.match(line)
        if start < 0 and found:
            start, language = number, found[1]
        elif start >= 0 and line.strip() == "```":
            yield language, start, number
            start = -1


def blocks(text: str) -> list[Block]:
    """Every console block of a page, with the comments that belong to it."""
    lines = text.split("\n")
    found, after = [], 0
    for language, start, end in fences(lines):
        if language == "console":
            block = Block(start, end, _commands(lines[start + 1 : end]))
            _comments(block, "\n".join(lines[after:start]))
            found.append(block)
        after = end
    return found


def _commands(lines: Sequence[str]) -> list[Command]:
    commands: list[Command] = []
    for line in lines:
        if line.startswith("$ "):
            commands.append(Command(line[2:]))
        elif commands and commands[-1].line.endswith("\\") and line.startswith("> "):
            commands[-1].line = f"{commands[-1].line[:-1]}{line[2:]}"
        elif commands:
            commands[-1].shown.append(line)
        else:
            raise ValueError(f"a console block must begin with a command, not {line!r}")
    return commands


def _comments(block: Block, between: str) -> None:
    for comment in re.findall(r"<!--(.*?)-->", between, re.DOTALL):
        told = comment.strip()
        if told.startswith("typed before"):
            block.before += [line.strip()[2:] for line in told.splitlines() if line.strip().startswith("$ ")]
        elif told.startswith("answers:"):
            block.answers = [a.strip() for a in told.removeprefix("answers:").split(",")]
        elif told.startswith("ctrl-c after:"):
            block.interrupt = told.removeprefix("ctrl-c after:").strip()


def plain(line: str) -> str:
    """A line without what differs from run to run."""
    for pattern, word in _VOLATILE:
        line = pattern.sub(word, line)
    return re.sub(r"TOOK +", "TOOK ", line.rstrip())


def screen(output: str) -> list[str]:
    """What came, as lines of a page."""
    return [line.rstrip() for line in output.rstrip("\n").split("\n")] if output.strip() else []


def matches(shown: Sequence[str], came: Sequence[str]) -> bool:
    """Whether the page shows what came; `...` stands for any lines, also for none."""
    return _matches([plain(line) for line in shown], [plain(line) for line in came])


def _matches(shown: list[str], came: list[str]) -> bool:
    if ANY not in shown:
        return shown == came
    first, rest = shown.index(ANY), shown[shown.index(ANY) + 1 :]
    if came[:first] != shown[:first]:
        return False
    left = came[first:]
    return any(_matches(rest, left[n:]) for n in range(len(left) + 1)) if rest else True


def rewritten(shown: Sequence[str], came: Sequence[str]) -> list[str]:
    """What the page should show: all that came, without what the page left out by `...` before."""
    if matches(shown, came):
        return list(shown)
    if ANY not in shown:
        return list(came)
    pairs = _pairs([plain(line) for line in shown], [plain(line) for line in came])
    segments: list[list[int]] = [[]]
    for number, line in enumerate(shown):
        if line == ANY:
            segments.append([])
        else:
            segments[-1].append(number)
    result: list[str] = []
    reached = 0
    for index, segment in enumerate(segments):
        if index and result[-1:] != [ANY]:
            result.append(ANY)
        if not segment:
            continue
        known = [n for n in segment if n in pairs]
        if not known:
            return list(came)  # nobody can tell where it belongs now: leave out again what is too much
        begin = 0 if index == 0 else max(reached, pairs[known[0]] - (known[0] - segment[0]))
        end = len(came) if index == len(segments) - 1 else pairs[known[-1]] + 1 + (segment[-1] - known[-1])
        result += came[begin:end]
        reached = end
    return result if matches(result, came) else list(came)


def _pairs(old: list[str], new: list[str]) -> dict[int, int]:
    """Which line of `new` each line of `old` has become: equal ones, and beside them the most similar."""
    pairs: dict[int, int] = {}
    for match in difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks():
        pairs |= {match.a + n: match.b + n for n in range(match.size)}
    for number, line in enumerate(old):
        if number in pairs or line == ANY or not line:
            continue
        low = max((pairs[n] for n in pairs if n < number), default=-1) + 1
        high = min((pairs[n] for n in pairs if n > number), default=len(new))
        close = difflib.get_close_matches(line, new[low:high], n=1, cutoff=0.6)
        if close:
            pairs[number] = new.index(close[0], low)
    return pairs


def with_commands(text: str, changed: Sequence[tuple[Block, list[list[str]]]]) -> str:
    """The page with other lines shown below the commands of these blocks (in the page's order)."""
    lines = text.split("\n")
    for block, shown in reversed(changed):
        body: list[str] = []
        heads = lines[block.start + 1 : block.end]
        typed = _typed(heads)
        for words, below in zip(typed, shown, strict=True):
            body += words + below
        lines[block.start + 1 : block.end] = body
    return "\n".join(lines)


def _typed(lines: Sequence[str]) -> list[list[str]]:
    """The lines of each command as the page has them, continuation lines included."""
    typed: list[list[str]] = []
    for line in lines:
        if line.startswith("$ "):
            typed.append([line])
        elif typed and typed[-1][-1].endswith("\\") and line.startswith("> "):
            typed[-1].append(line)
    return typed
