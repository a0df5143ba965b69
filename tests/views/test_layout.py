"""Lines of at most a given width, in which what is to be typed stays in one piece."""

from __future__ import annotations

import pytest

from reconciler.views.layout import Page


@pytest.mark.parametrize(
    ("prose", "whole"),
    [
        (
            "on xen02, and only there: xe host-emergency-ha-disable --force; then",
            "xe host-emergency-ha-disable --force;",
        ),
        ("compare ssh root@10.0.0.11 xl list with what the pool has", "ssh root@10.0.0.11 xl list"),
        (
            "see (ssh root@10.0.0.11 cat /etc/xensource/pool.conf), then",
            "(ssh root@10.0.0.11 cat /etc/xensource/pool.conf),",
        ),
        (
            "what: xe vm-list params=name-label,power-state uuid=1 and wait",
            "xe vm-list params=name-label,power-state uuid=1",
        ),
    ],
)
def test_a_command_in_the_middle_of_a_sentence_stays_on_one_line(prose: str, whole: str) -> None:
    for width in range(len(whole) + 8, 80):
        assert any(whole in line for line in lines_of(prose, width)), width


def test_a_command_longer_than_any_line_is_cut_at_blanks() -> None:
    found = lines_of(f"first xe vm-param-remove uuid={'a' * 36} param-name=other-config param-key=x, then plan", 48)
    assert all(len(line) <= 48 for line in found)
    assert f"uuid={'a' * 36}" in found[1]


def lines_of(prose: str, width: int) -> list[str]:
    page = Page(width=width, ascii=False, color=False)
    page.line(prose, hang=4)
    return page.render().splitlines()
