"""What is under way: actions that wait for a task, an answer or a moment, all awaited together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.core.plan import Action
from reconciler.core.port import Fault, TaskResult, XapiFailure
from reconciler.core.words import count
from reconciler.execute.bench import Bench, Steps, Wait
from reconciler.execute.desk import MasterLost

LOOK_UP = 30.0  # s; at least so often the loop looks at the clock while it waits for tasks
TROUBLES = 3  # waits in a row that may fail before the master counts as lost


@dataclass(slots=True)
class Flight:
    """One action under way."""

    action: Action
    steps: Steps
    wait: Wait
    began: float


class Flights:
    """All of them, in the order in which they began."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._all: list[Flight] = []
        self._troubles = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Flight]:
        """Those that were under way when the iteration began."""
        return iter(tuple(self._all))

    def add(self, flight: Flight) -> None:
        """It waits for something."""
        self._all.append(flight)

    def remove(self, flight: Flight) -> None:
        """It has ended."""
        self._all.remove(flight)

    def clear(self) -> None:
        """None is under way any more."""
        self._all.clear()

    def wait(self) -> dict[str, TaskResult]:
        """Until the first wait of all is over, or for a while; what the tasks came to. Raises MasterLost."""
        bench = self._bench
        until = min([f.wait.until for f in self._all] + [bench.port.now() + LOOK_UP])
        if tasks := [f.wait.task for f in self._all if f.wait.task is not None]:
            return self._await(tasks, until)
        bench.port.wait(max(0.0, until - bench.port.now()))
        return {}

    def _await(self, tasks: list[str], until: float) -> dict[str, TaskResult]:
        """Results of the tasks. A master whose toolstack restarted has forgotten them all: UNKNOWN, to be observed."""
        desk = self._bench.desk()
        try:
            results = desk.tasks().wait(tasks, until)
        except Fault as fault:
            self._troubles += 1
            self._bench.say(None, f"waiting for {count(len(tasks), 'task')} failed ({fault}): logging in again")
            if isinstance(fault, XapiFailure) and fault.code == "SESSION_INVALID":
                desk.forgot += 1
            if self._troubles > TROUBLES:
                raise MasterLost(f"{desk.name} does not answer") from fault
            desk.again()
            return {}
        self._troubles = 0
        return results

    def ask(self) -> None:
        """Ask together what those whose time has come want to know; the answers go to each."""
        bench = self._bench
        due = [f for f in self._all if f.wait.asks and bench.port.now() >= f.wait.until]
        answers = iter(bench.port.ask_all([ask for f in due for ask in f.wait.asks]) if due else ())
        for flight in due:
            flight.wait.answers.extend(next(answers) for _ in flight.wait.asks)

    def over(self, flight: Flight, results: dict[str, TaskResult]) -> tuple[bool, TaskResult | None]:
        """Whether its wait is over, and with what result; None where only its time has come."""
        result = results.get(flight.wait.task) if flight.wait.task is not None else None
        if result is not None and result.ended:
            return True, result
        return self._bench.port.now() >= flight.wait.until, None
