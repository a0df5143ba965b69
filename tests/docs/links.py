"""Links between pages: files that exist, headings that exist in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.docs.pages import fences

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def links(text: str) -> Iterator[tuple[int, str]]:
    """(line number from 1, target) of every link outside of blocks."""
    lines = text.split("\n")
    inside = {n for _, start, end in fences(lines) for n in range(start, end + 1)}
    for number, line in enumerate(lines):
        if number not in inside:
            yield from ((number + 1, target) for target in _LINK.findall(re.sub(r"``?[^`]+``?", _keep_links, line)))


def _keep_links(code: re.Match[str]) -> str:
    """Code in a link's text stays out of the way; a link inside code is no link."""
    return "code" if "](" not in code[0] else ""


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    lines = text.split("\n")
    inside = {n for _, start, end in fences(lines) for n in range(start, end + 1)}
    found: set[str] = set()
    for number, line in enumerate(lines):
        heading = re.match(r"#{1,6} +(.*?) *#*$", line)
        if heading is None or number in inside:
            continue
        plain = re.sub(r"[^\w\- ]", "", heading[1].replace("`", "").lower()).replace(" ", "-")
        name, again = plain, 0
        while name in found:
            again += 1
            name = f"{plain}-{again}"
        found.add(name)
    return found


def broken(page: Path, target: str) -> str:
    """Why a link of a page leads nowhere; "" if it leads somewhere, or out of the repository."""
    if re.match(r"[a-z]+:", target):
        return ""
    name, _, anchor = target.partition("#")
    file = (page.parent / name).resolve() if name else page
    if not file.exists():
        return "there is no such file"
    if anchor and (file.suffix != ".md" or anchor not in anchors(file.read_text(encoding="utf-8"))):
        return f"{file.name} has no heading with the anchor {anchor}"
    return ""
