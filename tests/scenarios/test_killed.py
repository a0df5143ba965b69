"""Every scenario again, with a kill -9 in the middle of one of its applies: it converges, no harm, nothing twice (I10).

Where the kills fall is drawn by the scenario's name. XENREC_KILLS sets how many there are for each (default 1).
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.evidence import Situation
from tests.scenarios.test_scenarios import FOLDER, NAMES
from tests.support.scenario import Killed, Scenario, changes

KILLS = int(os.environ.get("XENREC_KILLS", "1"))
ATTEMPTS = 4
"""Applies that a person types after the kill, at most."""
PATIENCE = 130.0
"""Virtual seconds after which a promotion that never arrived is known not to have arrived."""
ONCE = ("pool.emergency_transition_to_master", "pool.designate_new_master")
"""Never sent again."""
SEEN_THROUGH = ("Async.host.declare_dead",)
"""Sent once more where its task died with the run's session, or was still under way."""
REFUSED = {
    "promotion-refused-ha-armed": "each attempt's promotion is refused by XAPI before any effect",
    "hand-over-in-progress": "hand-overs are refused by XAPI before any effect while somebody else's goes on",
}


class KilledScenario(Scenario):
    """Told with a kill before (or after) the n-th call that its applies make, counted from 0; None: never."""

    def __init__(self, folder: Path, state: Path, kill: tuple[int, bool] | None) -> None:
        super().__init__(folder, state)
        self.kill = kill
        self.methods: list[str] = []
        self.sent: Counter[tuple[str, str]] = Counter()
        self.applying = False
        self.killed = ""
        self.before, self.after = self.port.before_call, self.port.after_call
        self.port.before_call, self.port.after_call = self._before, self._after

    def _before(self, address: str, method: str, params: Sequence[Any]) -> None:
        if self.applying and not self.port.dead:
            self.methods.append(method)
            self._die((len(self.methods) - 1, False))
        assert self.before is not None
        self.before(address, method, params)
        if method in (*ONCE, *SEEN_THROUGH):
            self.sent[method, address if method == ONCE[0] else str(params[1:2])] += 1

    def _after(self, address: str, method: str, params: Sequence[Any]) -> None:
        if self.applying and not self.port.dead and not self.killed:
            self._die((len(self.methods) - 1, True))
        assert self.after is not None
        self.after(address, method, params)

    def _die(self, here: tuple[int, bool]) -> None:
        if here == self.kill and not self.killed:
            self.killed = f"killed {'after' if here[1] else 'before'} call {here[0]}, {self.methods[here[0]]}"
            self.port.dead = True
            raise Killed

    def _apply(self, options: list[str]) -> None:
        was = self.killed
        self.applying = True
        with suppress(Killed):
            super()._apply(options)
        self.applying = False
        if self.killed == was:
            return
        self.port.dead = False
        for attempt in range(ATTEMPTS):
            with suppress(Killed):  # the script may have a kill of its own
                super()._apply([word for word in options if word != "--saved"])
            self.port.dead = False
            plan = self._reconciler(options).plan()
            if not plan.actions and not plan.withheld and plan.diagnosis.situation is Situation.MANAGED:
                return  # and not just because a toolstack restarts
            if attempt:
                self.port.wait(PATIENCE)

    def ending(self) -> tuple[set[str], set[str], int]:
        """What runs, what a plan would still do, and how many masters there are."""
        left = {a.id for a in self._reconciler([]).plan().actions}
        return {d.name for host in self.lab.running().values() for d in host}, left, len(self.lab.masters())


def points(name: str, methods: Sequence[str]) -> list[tuple[int, bool]]:
    """Where to kill: one half at calls that change something."""
    draw = random.Random(name)
    writes = [(n, after) for n, m in enumerate(methods) if changes(m) for after in (False, True)]
    every = [(n, False) for n in range(len(methods))]
    chosen = {draw.choice(writes if writes and draw.random() < 0.6 else every) for _ in range(KILLS) if every}
    return sorted(chosen)


@pytest.mark.parametrize("name", NAMES)
def test_killed(name: str, tmp_path: Path) -> None:
    whole = KilledScenario(FOLDER / name, tmp_path / "whole", None)
    whole.tell()
    wished = whole.ending()
    for number, after in points(name, whole.methods):
        told = KilledScenario(FOLDER / name, tmp_path / f"{number}-{after}", (number, after))
        told.tell()
        where = told.killed
        if not where:  # after a call whose request the script lost there is no after
            assert after
            continue
        assert {h.kind for h in told.lab.harm()} <= told.allowed_harm, (where, [h.text for h in told.lab.harm()])
        runs, left, masters = told.ending()
        assert runs >= wished[0], where  # the applies afterwards may find more that can be started
        assert left <= wished[1], where
        # More time has passed: one of two masters that was giving way has done so by now.
        assert masters == wished[2] or masters == 1 < wished[2], where
        for call, times in told.sent.items():
            more = ATTEMPTS if name in REFUSED else 1 if call[0] in SEEN_THROUGH else 0
            assert times <= max(1, whole.sent[call]) + more, (where, call)
