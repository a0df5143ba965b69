"""Lines of at most a given width with hanging indents, styled for a terminal or plain."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from reconciler.views.words import clean, fold, split_command

Part = str | tuple[str, str]
"""A text, or a text and its rich style."""

NARROWEST: Final = 40
"""Narrower terminals get lines of this width."""

_SSH: Final = r"ssh [^\s@]+@\S+ (?:'[^']*'|xl list|cat \S+|xe [a-z-]+|xe-toolstack-restart)"
_XE: Final = r"xe [a-z]+-[a-z-]+(?: (?:--[a-z]+|[a-z-]+=[^\s;,]+))*"
_WORD: Final = re.compile(rf"`[^`]*`[^\s`]*|\S*(?<![\w-])(?:{_SSH}|{_XE})[^\s`]*|\S+")
"""What must stay on one line: a word, or a command that is typed by itself, also where prose goes on behind it."""


def _ranges(text: str, first: int, others: int) -> Iterator[tuple[int, int]]:
    """Cut a text at blanks into (start, end) of lines of `first` cells, then `others`; cut longer words anywhere."""
    first, others = max(first, 2), max(others, 2)  # room for any one character, or this would never end
    room, start, end = first, 0, 0
    for begins, ends in _words(text, others):
        if cell_len(text[start:ends]) <= room:
            end = ends
            continue
        if end > start:
            yield start, end
            room = others
        start, end = begins, ends
        while cell_len(text[start:end]) > room:
            cut = start + 1
            while cell_len(text[start : cut + 1]) <= room:
                cut += 1
            yield start, cut
            start, room = cut, others
    yield start, end


def _words(text: str, room: int) -> Iterator[tuple[int, int]]:
    """(start, end) of what stays on one line; what is longer than any line is cut at blanks all the same."""
    for match in _WORD.finditer(text):
        if cell_len(match[0]) <= room:
            yield match.span()
        else:
            yield from (
                (match.start() + one.start(), match.start() + one.end()) for one in re.finditer(r"\S+", match[0])
            )


class Page:
    """Collects lines, `width` cells wide at most (commands excepted, which must survive being copied).

    Every text that comes in is cleaned: what it holds can neither move the cursor nor make a line.
    """

    def __init__(self, *, width: int, ascii: bool, color: bool) -> None:
        self.width = max(width, NARROWEST)
        self._ascii = ascii
        self._color = color
        self._lines: list[Text] = []

    def _safe(self, text: str) -> str:
        text = clean(text)
        return fold(text) if self._ascii else text

    def blank(self) -> None:
        """One empty line, never two, never first."""
        if self._lines and self._lines[-1].plain:
            self._lines.append(Text())

    def line(self, *parts: Part, indent: int = 0, hang: int | None = None) -> None:
        """One paragraph: its first line indented by `indent` cells, the next ones by `hang` (as the first if None)."""
        hang = indent if hang is None else hang
        whole = ""
        spans: list[tuple[int, int, str]] = []
        for part in parts:
            text, style = (part, "") if isinstance(part, str) else part
            start = len(whole)
            whole += self._safe(text)
            if style:
                spans.append((start, len(whole), style))
        before = indent
        for start, end in _ranges(whole, self.width - indent, self.width - hang):
            line = Text(" " * before + whole[start:end])
            for left, right, style in spans:
                if left < end and right > start:
                    line.stylize(style, before + max(left, start) - start, before + min(right, end) - start)
            self._lines.append(line)
            before = hang

    def columns(self, *cells: Part, widths: tuple[int, ...], indent: int = 2) -> None:
        """One row of a table: every cell but the last padded to its width; the last wraps under itself."""
        parts = Text(" " * indent)
        start = indent
        for cell, width in zip(cells, widths, strict=False):
            text, style = (cell, "") if isinstance(cell, str) else cell
            safe = self.shorten(text, width)
            parts.append(safe, style or None)
            parts.append(" " * (width - cell_len(safe) + 2))
            start += width + 2
        last = cells[len(widths)] if len(cells) > len(widths) else ""
        parts.rstrip()
        text = last if isinstance(last, str) else last[0]
        if start + min(self.measure(text), 16) > self.width:  # no room for the last column: it goes below
            if cell_len(parts.plain) > self.width:
                parts = Text(self.shorten(parts.plain, self.width))
            self._lines.append(parts)
            if text:
                self.line(last, indent=indent + 4)
            return
        mark = len(self._lines)
        self.line(last, indent=start, hang=start)
        rest = self._lines[mark][start:]
        if rest.plain:
            parts.append(" " * (start - cell_len(parts.plain)))
            parts.append_text(rest)
        self._lines[mark] = parts

    def shorten(self, text: str, width: int) -> str:
        """The text in at most `width` cells, its end cut off with a sign."""
        safe = self._safe(text)
        if cell_len(safe) <= width:
            return safe
        mark = "~" if self._ascii else "…"
        while safe and cell_len(safe) > width - 1:
            safe = safe[:-1]
        return safe + mark

    def measure(self, text: str) -> int:
        """Cells that the text takes here."""
        return cell_len(self._safe(text))

    def next(self, remedy: str, *, indent: int) -> None:
        """The next command or step. A command stays in one piece, on a line of its own where it must."""
        first, command = split_command(remedy)
        label = ("next: ", "bold")
        if not command:
            if first:
                self.line(label, first, indent=indent, hang=indent + 6)
            return
        if not first:
            first = "next:"
            together = indent + 6 + self.measure(command) <= self.width
        else:
            together = indent + 7 + self.measure(first) + self.measure(command) <= self.width
            if not together:
                self.line(label, first, indent=indent, hang=indent + 6)
        styled = Text(self._safe(command), "bold cyan")
        if together:
            head = first if first == "next:" else f"next: {self._safe(first)}"
            self._lines.append(Text.assemble(" " * indent, (head, "bold"), " ", styled))
            return
        if first == "next:":
            self._lines.append(Text.assemble(" " * indent, (first, "bold")))
        self._command(styled, indent + 6)

    def told(self, text: str, *, hang: int = 4) -> None:
        """One line as a program prints it; a command at its end stays in one piece, on a line of its own where it
        must."""
        indent = len(text) - len(text.lstrip())
        first, command = split_command(text)
        if not command or indent + self.measure(text.strip()) <= self.width:
            self.line(text.strip(), indent=indent, hang=indent + hang)
            return
        if first:
            self.line(first.strip(), indent=indent, hang=indent + hang)
        self._command(Text(self._safe(command)), indent + hang)

    def _command(self, command: Text, indent: int) -> None:
        """A command that is too long for any line starts as far left as it must, and is never broken."""
        room = max(self.width - cell_len(command.plain), 0)
        self._lines.append(Text.assemble(" " * min(indent, room), command))

    def render(self) -> str:
        """The whole page, each line ended by a newline, no trailing blanks."""
        for line in self._lines:
            line.rstrip()
        while self._lines and not self._lines[-1].plain:
            self._lines.pop()
        if not self._color:
            return "".join(f"{line.plain}\n" for line in self._lines)
        out = io.StringIO()
        console = Console(
            file=out,
            force_terminal=True,
            color_system="standard",
            width=10_000,  # the lines are already broken
            highlight=False,
            markup=False,
            emoji=False,
            no_color=False,
            legacy_windows=False,
            force_jupyter=False,
            _environ={},  # colour or not is the caller's choice, not TERM's
        )
        for line in self._lines:
            console.print(line, soft_wrap=True)
        return out.getvalue()


def folded(text: str, *, width: int, ascii: bool = False) -> str:
    """Lines as a program prints them, for a terminal: broken at blanks, `width` cells wide at most but for commands."""
    page = Page(width=width, ascii=ascii, color=False)
    for line in text.split("\n"):
        if line.strip():
            page.told(line)
        else:
            page.blank()
    return page.render()
