"""The exit code of a run over several pools, and what it says at its end."""

from __future__ import annotations

import itertools
import logging

import pytest

from reconciler.cli.app import Plain
from reconciler.cli.common import Stop, stop_words
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


def test_trouble_moves_no_cursor_and_forges_no_line() -> None:
    """XAPI, a fence agent or a file in a repository may have any name."""
    stop = Stop(Exit.ERROR, "xen01 says \x1b[2J\rall is well\nand \u202ethis", "xenrec status \x1b]0;x\x07")
    assert (
        stop_words(stop) == "xen01 says \\x1b[2J\\x0dall is well\nand \\u202ethis\n  next: xenrec status \\x1b]0;x\\x07"
    )
    record = logging.LogRecord("x", logging.WARNING, "x.py", 1, "%s said %s", ("xen01", "\x1b[2J\nERROR: no"), None)
    assert Plain("%(levelname)s: %(message)s").format(record) == "WARNING: xen01 said \\x1b[2J\\nERROR: no"
