"""The exit code of a run over several pools."""

from __future__ import annotations

import itertools

import pytest

from reconciler.cli.exits import Exit, worst


def test_none_is_done() -> None:
    assert worst([]) is Exit.DONE


@pytest.mark.parametrize("code", list(Exit))
def test_one_is_itself_and_nothing_hides_behind_done(code: Exit) -> None:
    assert worst([code]) is code
    assert worst([Exit.DONE, code, Exit.DONE]) is code


def test_the_order_does_not_matter_and_changes_hide_nothing() -> None:
    for one, other in itertools.combinations(Exit, 2):
        assert worst([one, other]) is worst([other, one])
        assert worst([one, other]) is not Exit.DONE
    assert worst([Exit.CHANGES, Exit.PARTIAL]) is Exit.PARTIAL
    assert worst([Exit.PARTIAL, Exit.UNAVAILABLE]) is Exit.UNAVAILABLE
