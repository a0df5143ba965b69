"""Scripts, incidents and checks of a served lab: commands of its control channel."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from reconciler.lab.incidents import Incident, Trial
from reconciler.lab.schedule import Run, Schedule, seconds
from reconciler.lab.server import ServedLab

NO_INCIDENT = Incident("", "A pool to try things on", lambda lab: "", 0.0)


class Scripts:
    """The schedules that have been run on a served lab, and the trial that it is. Raises ScriptError and ValueError
    for what can't be done."""

    def __init__(self, served: ServedLab, trial: Trial | None = None) -> None:
        self._served = served
        self._trial = trial
        self._runs: list[Run] = []

    def commands(self) -> dict[str, Callable[..., Any]]:
        """Name -> what carries it out."""
        return {
            "run": self._run,
            "run-log": self._log,
            "run-stop": self._stop,
            "random": self._random,
            "do": self._do,
            "check": self._check,
            "incident": self._incident,
        }

    def _attach(self, schedule: Schedule, calm_at: float | None = None) -> dict[str, Any]:
        with self._served.world() as lab:
            run = schedule.attach(lab, calm_at=calm_at)
            self._runs.append(run)
            return {"run": len(self._runs) - 1, "commands": len(schedule.entries), "length": schedule.length}

    def _run(self, script: str, title: str = "script", calm_after: str | None = None) -> dict[str, Any]:
        schedule = Schedule.parse(script, title)
        return self._attach(schedule, None if calm_after is None else schedule.length + seconds(calm_after))

    def _do(self, words: list[str]) -> dict[str, Any]:
        # A `|` of partition comes back as it was; quotes only where a name has blanks.
        command = " ".join(word if word == "|" else shlex.quote(word) for word in words)
        return self._attach(Schedule.parse(f"at 0: {command}", "command"))

    def _of(self, run: int) -> Run:
        if not 0 <= run < len(self._runs):
            raise ValueError(f"no script {run} was run")
        return self._runs[run]

    def _log(self, run: int, since: int = 0) -> dict[str, Any]:
        with self._served.world():
            known = self._of(run)
            return {
                "log": [[at, text] for at, text in known.log[since:]],
                "pending": known.pending,
                "waiting": known.waiting,
            }

    def _stop(self, run: int) -> dict[str, Any]:
        with self._served.world():
            self._of(run).detach()
            return {"run": run}

    def _random(self, seed: int, faults: int = 6, span: str = "20m") -> dict[str, str]:
        with self._served.world() as lab:
            return {"script": Schedule.random(seed, lab, faults=faults, span=seconds(span)).text()}

    def _check(self) -> dict[str, Any]:
        with self._served.world() as lab:
            trial = self._trial or Trial(NO_INCIDENT, lab)
            found = [{"good": one.good, "text": one.text} for one in trial.check()]
        return {"incident": trial.incident.name, "title": trial.incident.title, "findings": found}

    def _incident(self) -> dict[str, str]:
        trial = self._trial
        if trial is None or not trial.incident.name:
            return {"name": "", "title": "", "scene": ""}
        return {"name": trial.incident.name, "title": trial.incident.title, "scene": trial.incident.scene}
