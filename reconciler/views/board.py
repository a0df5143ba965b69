"""The board while a plan is applied: what runs, what waits, what ended. A value in, a rich renderable out.

Whoever drives it keeps the states (with `Board.told` for each event) and the clock, and hands the renderable to
rich.live.Live; where there is no terminal, `text.progress_line` is the view.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from rich.console import Group, RenderableType
from rich.text import Text

from reconciler.core.plan import SIGNS, Action, Result
from reconciler.views import words
from reconciler.views.events import Event
from reconciler.views.layout import Page
from reconciler.views.terminal_outcome import RESULT_STYLES, WELL


@dataclass(frozen=True, slots=True)
class State:
    """How one action stands: not begun while `since` is None. Times in UTC seconds."""

    since: float | None = None
    ended: float | None = None
    result: Result | None = None
    what: str = ""


@dataclass(frozen=True)
class Board:
    """All actions of a run in order, and how each stands. Immutable: `told` returns the next board."""

    pool: str
    actions: tuple[Action, ...]
    started_at: float
    states: Mapping[str, State] = field(default_factory=lambda: MappingProxyType({}))
    last: str = ""
    """What was told last that is about no action."""

    def of(self, action: Action) -> State:
        """How the action stands."""
        return self.states.get(action.id, State())

    def told(self, event: Event) -> Board:
        """The board after an event. An action that was not known (the plan was made again) is added at the end."""
        action = event.action
        if action is None:
            return replace(self, last=event.what)
        old = self.of(action)
        new = State(
            since=event.at if old.since is None or old.ended is not None else old.since,
            ended=event.at if event.result is not None else None,
            result=event.result,
            what=event.what,
        )
        actions = self.actions if any(a.id == action.id for a in self.actions) else (*self.actions, action)
        return replace(self, actions=actions, states=MappingProxyType({**self.states, action.id: new}))

    def replanned(self, actions: Iterable[Action]) -> Board:
        """The board when the rest was planned again: what began stays, what did not is replaced."""
        begun = tuple(a for a in self.actions if self.of(a).since is not None)
        known = {a.id for a in begun}
        return replace(self, actions=(*begun, *(a for a in actions if a.id not in known)))


def board(state: Board, now: float, *, width: int, height: int, ascii: bool = False) -> RenderableType:
    """The board in at most `height` lines of at most `width` cells: failures first, then what runs, then the rest.

    What has no room is counted in the last line.
    """
    ended = [a for a in state.actions if state.of(a).result is not None]
    running = [a for a in state.actions if state.of(a).since is not None and state.of(a).result is None]
    waiting = [a for a in state.actions if state.of(a).since is None]
    failed = [a for a in ended if state.of(a).result not in WELL]
    well = [a for a in ended if state.of(a).result in WELL]
    lines = [_title(state, now, len(well), len(failed), len(running), len(waiting))]
    if state.last:
        lines.append(Text(f"  {state.last}", "dim"))
    room = max(height - len(lines) - 1, 1)
    shown = _choose(room, failed, running, waiting, well[::-1])
    hidden = len(state.actions) - len(shown)
    order = {a.id: n for n, a in enumerate(state.actions)}
    for action in sorted(shown, key=lambda a: order[a.id]):
        lines.append(_row(action, state.of(action), now))
    if hidden:
        lines.append(Text(f"  and {hidden} more", "dim"))
    page = Page(width=width, ascii=ascii, color=False)
    for line in lines[:height]:
        shortened = page.shorten(line.plain, max(width, 1))
        line.plain = shortened
    return Group(*lines[:height])


def _choose(room: int, *groups: Sequence[Action]) -> list[Action]:
    """As many actions as there is room for, earlier groups first."""
    found: list[Action] = []
    for group in groups:
        found += group[: room - len(found)]
    return found


def _title(state: Board, now: float, well: int, failed: int, running: int, waiting: int) -> Text:
    parts = [f"{well} of {len(state.actions)} done"]
    parts += [f"{number} {word}" for number, word in ((failed, "not done"), (running, "running")) if number]
    parts += [f"{waiting} to come"] if waiting else []
    took = words.lasting(now - state.started_at)
    return Text(f"Pool {words.name(state.pool)}: {', '.join(parts)}; {took}", "bold")


def _row(action: Action, state: State, now: float) -> Text:
    what = words.brief(action)
    told = f": {words.clean(state.what)}" if state.what else ""
    if state.result is not None:
        sign, word = words.RESULTS[state.result]
        took = words.lasting((state.ended or now) - (state.since or now))
        why = told if state.result not in WELL else ""
        return Text(f"  {sign} {word:<10} {what} ({took}){why}", RESULT_STYLES[state.result])
    if state.since is not None:
        return Text(f"  * {'running':<10} {what} ({words.lasting(now - state.since)}){told}", "bold")
    return Text(f"  {SIGNS[action.verb]} {'to come':<10} {what}", "dim")
