"""The live board: a value in, lines out."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from reconciler.core.plan import Result
from reconciler.views.board import Board, board
from tests.views import samples
from tests.views.golden import expect
from tests.views.test_terminal import Event

ACTIONS = samples.MANY_VMS.actions


def _lines(state: Board, now: float, *, width: int = 80, height: int = 24, ascii: bool = False) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=500, force_terminal=False, _environ={})
    console.print(board(state, now, width=width, height=height, ascii=ascii), soft_wrap=True)
    return out.getvalue().splitlines()


def _story() -> Board:
    state = Board("madrid", ACTIONS, samples.NOW)
    for number, action in enumerate(ACTIONS[:20]):
        state = state.told(Event(samples.NOW + number, "submitted", action))
    state = state.told(Event(samples.NOW + 21, "waiting for xen03 to follow 10.0.0.12"))
    for number, action in enumerate(ACTIONS[:12]):
        result = Result.FAILED if number == 7 else Result.DONE
        state = state.told(Event(samples.NOW + 22 + number, "HOST_DISABLED [xen02]", action, result))
    return state


def test_board() -> None:
    lines = _lines(_story(), samples.NOW + 40)
    assert "12 of" not in lines[0]
    assert lines[0].startswith("Pool madrid: 11 of 124 done, 1 not done, 8 running, 104 to come; 40 s")
    expect("board.txt", "".join(f"{line}\n" for line in lines))
    expect("board.ascii.txt", "".join(f"{x}\n" for x in _lines(_story(), samples.NOW + 40, width=50, ascii=True)))


@pytest.mark.parametrize("height", [1, 2, 3, 5, 24, 200])
@pytest.mark.parametrize("width", [1, 40, 80])
def test_the_board_keeps_within_its_room(width: int, height: int) -> None:
    lines = _lines(_story(), samples.NOW + 40, width=width, height=height)
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width


def test_failures_and_what_runs_come_before_what_is_done() -> None:
    shown = "\n".join(_lines(_story(), samples.NOW + 40, height=12))
    assert "failed" in shown
    assert shown.count("running") >= 8
    assert "and 115 more" in shown


def test_a_new_plan_replaces_what_did_not_begin() -> None:
    state = _story()
    again = state.replanned(ACTIONS[18:22])
    assert again.actions == (*ACTIONS[:20], *ACTIONS[20:22])
    assert again.of(ACTIONS[0]).result is Result.DONE
    other = samples.MEMBER_DEAD.actions[2]
    assert again.told(Event(samples.NOW, "submitted", other)).actions[-1] == other


def test_a_retried_action_counts_from_its_second_begin() -> None:
    action = ACTIONS[7]
    state = _story()
    assert state.of(action).ended == samples.NOW + 29
    state = state.told(Event(samples.NOW + 50, "submitted again", action))
    assert (state.of(action).since, state.of(action).result) == (samples.NOW + 50, None)
