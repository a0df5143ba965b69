"""A small discrete-event kernel: a virtual clock, events, and processes that are generators.

A process yields either a number of seconds to sleep or an Event to wait for. Nothing here knows about XAPI.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Generator
from typing import Any

Steps = Generator[Any, Any, Any]
"""What a process is made of: yields seconds (float) or an Event, returns its result."""


class Event:
    """Something that happens at most once, with a value."""

    __slots__ = ("_kernel", "_waiters", "fired", "value")

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._waiters: list[Callable[[], None]] = []
        self.fired = False
        self.value: Any = None

    def fire(self, value: Any = None) -> None:
        """Wake everybody who waits, at this same instant, in the order in which they came. Again: does nothing."""
        if self.fired:
            return
        self.fired = True
        self.value = value
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            self._kernel.after(0.0, waiter)

    def then(self, action: Callable[[], None]) -> None:
        """Run `action` when it fires, or now-ish if it has."""
        if self.fired:
            self._kernel.after(0.0, action)
        else:
            self._waiters.append(action)


class Process:
    """A running generator. `done` fires when it ended, was killed or raised; then `result` or `error` is set."""

    __slots__ = ("_kernel", "_pace", "_running", "_steps", "_turn", "alive", "done", "error", "name", "result")

    def __init__(self, kernel: Kernel, steps: Steps, name: str, pace: Callable[[], float] | None = None) -> None:
        self._kernel = kernel
        self._steps = steps
        self._pace = pace
        self._turn = 0
        self._running = False
        self.name = name
        self.alive = True
        self.done = Event(kernel)
        self.result: Any = None
        self.error: Exception | None = None

    def step(self, turn: int = 0) -> None:
        """Run until the next yield; `turn` makes wake-ups that came too late harmless."""
        if not self.alive or turn != self._turn:
            return
        self._turn += 1
        turn = self._turn
        self._running = True
        try:
            wanted = next(self._steps)
        except StopIteration as stop:
            self._end(stop.value, None)
            return
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for this process
            self._end(None, error)
            return
        finally:
            self._running = False
        if not self.alive:  # it killed itself, directly or not
            self._steps.close()
        elif isinstance(wanted, Event):
            wanted.then(lambda: self.step(turn))
        else:
            self._kernel.after(wanted if self._pace is None else wanted * self._pace(), lambda: self.step(turn))

    def kill(self) -> None:
        """End it where it stands, as kill -9 would: no clean-up of what it was doing to the world."""
        if self.alive:
            self.alive = False
            self._turn += 1
            if not self._running:
                self._steps.close()
            self.done.fire()

    def _end(self, result: Any, error: Exception | None) -> None:
        if not self.alive:
            return
        self.alive = False
        self.result = result
        self.error = error
        self.done.fire()


class Kernel:
    """The clock (seconds) and the queue of what is due."""

    def __init__(self, start: float) -> None:
        self.now = start
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Run `action` `delay` seconds from now; equal times run in the order in which they were asked for."""
        due = self.now + delay if delay > 0.0 else self.now
        heapq.heappush(self._queue, (due, next(self._order), action))

    def event(self) -> Event:
        """A new event."""
        return Event(self)

    def spawn(self, steps: Steps, name: str = "", pace: Callable[[], float] | None = None) -> Process:
        """Start a process; its first step runs at this same instant, before this returns.

        `pace` is asked at every sleep how many times as long it takes (a slow host's: more than 1).
        """
        process = Process(self, steps, name, pace)
        process.step(0)
        return process

    def next_due(self) -> float | None:
        """When the next thing happens; None: never."""
        return self._queue[0][0] if self._queue else None

    def step(self) -> None:
        """Do the next thing, moving the clock to its time."""
        due, _, action = heapq.heappop(self._queue)
        self.now = max(self.now, due)
        action()

    def run(self, until: float) -> None:
        """Do everything due up to and including `until`; the clock then stands at `until` or later."""
        while self._queue and self._queue[0][0] <= until:
            self.step()
        self.now = max(self.now, until)

    def either(self, event: Event, seconds: float) -> Steps:
        """Wait for the event for at most so long; True if it fired."""
        if event.fired:
            return True
        woken = Event(self)
        event.then(woken.fire)
        self.after(seconds, woken.fire)
        yield woken
        return event.fired
