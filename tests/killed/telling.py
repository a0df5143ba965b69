"""A scenario of tests/scenarios whose apply is killed at one of its calls, and applied again (I10).

A kill is a kill -9: from that call on the run sends nothing and writes nothing. Whoever types the apply again finds the
state folder as it was at that moment; then the script goes on to its end.

Killed is an apply before each call that it sends, and after each that changes something. After a call that only reads,
world and disk are as before it. So they are at any two calls between which nothing was sent that changes anything and
nothing was written to the disk: the second kill is the first one, only that the person comes back some seconds later.
Of such a row of kills the first and the last are played, unless all are asked for.

Commands that only look (plan, status, drill, why, check) send nothing that changes anything, and an apply begins with
the same look.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.core.evidence import CertificateKind, Situation
from reconciler.state.folder import PoolFolder
from tests.support.calls import Killed, changes
from tests.support.scenario import Scenario

ATTEMPTS = 4
"""Applies that a person types after the kill, at most."""
PATIENCE = 130.0
"""Virtual seconds after which a promotion that never arrived is known not to have arrived."""
ONCE = ("pool.emergency_transition_to_master", "pool.designate_new_master")
"""Never sent again."""
BURIAL = "Async.host.declare_dead"
"""Sent once more where its task died with the run's session, or was still under way: something was left to bury."""
REFUSED = {
    "promotion-refused-ha-armed": "each attempt's promotion is refused by XAPI before any effect",
    "ha-armed-in-a-managed-pool": "the same",
    "hand-over-in-progress": "hand-overs are refused by XAPI before any effect while somebody else's goes on",
}


@dataclass(frozen=True, order=True)
class Point:
    """Before, or after, the n-th call that the applies of a scenario send, counted from 0."""

    number: int
    after: bool
    method: str = ""
    changed: int = 0
    """Calls that change something and that were sent until then."""
    disk: str = ""
    """Names, sizes and times of all files of the state folder as it was then, if that was watched."""

    def __str__(self) -> str:
        return f"killed {'after' if self.after else 'before'} call {self.number}, {self.method}"

    @property
    def short(self) -> str:
        """As it is typed: 17 is before the call, 17+ after it."""
        return f"{self.number}{'+' if self.after else ''}"


@dataclass(frozen=True)
class Ending:
    """How a telling ended: what runs, what a plan would still do, how many act as master; and what was sent."""

    runs: frozenset[str]
    left: frozenset[str]
    masters: int
    harm: tuple[str, ...]
    sent: Counter[tuple[str, str]]
    needless: frozenset[str]
    """Destructive calls that were sent though what they are for was so already."""
    goes_on: tuple[str, ...]
    """What an apply after the last one still did."""


class Told(BaseException):
    """The story was told to its end from within the run that was killed: unwind it."""


class KilledScenario(Scenario):
    """Told with a kill at (number, after); None: with none."""

    def __init__(
        self, folder: Path, state: Path, where: tuple[int, bool] | None = None, *, watch_disk: bool = False
    ) -> None:
        super().__init__(folder, state)
        self.where = where
        self.watch_disk = watch_disk
        self.points: list[Point] = []
        """All that were passed."""
        self.killed: Point | None = None
        self.ended: Ending | None = None
        self._sent: Counter[tuple[str, str]] = Counter()
        self._needless: set[str] = set()
        self._calls = self._changed = 0
        self._options: list[str] | None = None
        """Those of the apply of the script that runs now."""
        self._port_before, self._port_after = self.port.before_call, self.port.after_call
        self.port.before_call, self.port.after_call = self._before, self._after

    def end(self) -> Ending:
        """Tell it to the end."""
        with suppress(Told):
            self._rest()
        assert self.ended is not None
        return self.ended

    def _rest(self) -> None:
        while self.script:
            with suppress(Killed):  # the script has kills of its own, and one may strike while a run looks
                self._command(self.script.pop(0))
        self.port.dead = False
        if self.again is not None:
            self._second_apply()
        plan = self._reconciler([]).plan()
        self.ended = Ending(
            runs=frozenset(d.name for host in self.lab.running().values() for d in host),
            left=frozenset(a.id for a in plan.actions),
            masters=len(self.lab.masters()),
            harm=tuple(f"{h.kind}: {h.text}" for h in self.lab.harm() if h.kind not in self.allowed_harm),
            sent=self._sent,
            needless=frozenset(self._needless),
            goes_on=tuple(line for line in self.page if line.startswith("A SECOND APPLY")),
        )

    def _apply(self, options: list[str]) -> None:
        self._options = options if self.killed is None else None
        super()._apply(options)
        self._options = None

    # --- the calls of a run ---------------------------------------------------------------------------------------

    def _before(self, address: str, method: str, params: Sequence[Any]) -> None:
        if self._options is not None and not self.port.dead:
            self._pass(self._calls, False, method)
            self._calls += 1
            self._changed += changes(method)
        assert self._port_before is not None
        self._port_before(address, method, params)
        self._note(address, method, params)

    def _after(self, address: str, method: str, params: Sequence[Any]) -> None:
        counts = self._options is not None and not self.port.dead and changes(method)
        assert self._port_after is not None
        try:
            self._port_after(address, method, params)  # what the script has happen after it, and its count of calls
        finally:
            if counts:
                self._pass(self._calls - 1, True, method)

    def _pass(self, number: int, after: bool, method: str) -> None:
        if self.where is None:
            files = self.state.rglob("*") if self.watch_disk else ()
            disk = sorted((str(p), (s := p.stat()).st_size, s.st_mtime_ns) for p in files)
            self.points.append(Point(number, after, method, self._changed, repr(disk)))
        elif self.killed is None and self.where == (number, after):
            self._die(Point(number, after, method))
            raise Told

    def _die(self, here: Point) -> None:
        """From here on it is another process, which finds the disk as it is now. The one that died gets no further than
        this frame."""
        assert self._options is not None
        grave = self.state.with_name(f"{self.state.name}-{here.short}")
        if self.state.exists():
            shutil.copytree(self.state, grave)
        self.state, self.killed = grave, here
        again = [word for word in self._options if word != "--saved"]
        self._options = None
        self.page += ["", f"{str(here).upper()}; applied again"]
        for attempt in range(ATTEMPTS):
            self.port.dead = False
            with suppress(Killed):
                self._apply(again)
            self.port.dead = False
            plan = self._reconciler(again).plan()
            settled = plan.diagnosis.situation is Situation.MANAGED  # and not just a toolstack that restarts
            if settled and not plan.actions and not plan.withheld and not self._busy():
                break
            if attempt:
                self.port.wait(PATIENCE)
        self._rest()
        self.port.dead = True

    def _note(self, address: str, method: str, params: Sequence[Any]) -> None:
        """Count what must not be sent twice; `params` begin with the session."""
        bare = method.removeprefix("Async.")
        if method == ONCE[0]:
            self._sent[method, address] += 1
        elif method in (ONCE[1], BURIAL):
            name = self.world.name_of(params[1])
            if self._sent[method, name] and method == BURIAL and not self._unburied(params[1]):
                self._needless.add(f"declares {name} dead again, of which nothing is left")
            self._sent[method, name] += 1
        elif bare in ("VM.start_on", "VM.resume_on", "VM.power_state_reset"):
            name = self.world.name_of(params[1])
            if hosts := [h for h, found in self.lab.running().items() if any(d.name == name for d in found)]:
                self._needless.add(f"sends {bare} of {name}, which runs on {' and '.join(hosts)}")
        elif method == "agent:off":
            proofs = PoolFolder(self.state, self.wanted.name).certificates(now=self.lab.now)
            if any(c.kind is CertificateKind.FENCED and c.host == self.port.plug for c in proofs):
                self._needless.add(f"fences {self.port.plug} again, which is proved to be off")

    def _busy(self) -> bool:
        """What the run that died had begun goes on: the plan says so, and a person waits for it."""
        return any(vm["current_operations"] for vm in self.world.tables("VM")[0].values())

    def _unburied(self, host: str) -> bool:
        """A database has VMs on that host, or it counts as live; or a start there that was cut off may have left locks,
        of which nobody can read whether they are free."""
        vms, hosts, metrics = (self.world.tables(cls) for cls in ("VM", "host", "host_metrics"))
        resident = any(
            vm["resident_on"] == host and vm["power_state"] != "Halted" and not vm["is_control_domain"]
            for vm in vms[0].values()
        )
        uuid = hosts[0].get(host, {}).get("uuid")
        held = PoolFolder(self.state, self.wanted.name).memory.unsettled()
        locking = any(start.host_uuid == uuid and not start.freed for start in held)
        return resident or locking or bool(metrics[0].get(hosts[0].get(host, {}).get("metrics"), {}).get("live"))


def differences(name: str, whole: Ending, killed: Ending) -> Iterator[str]:
    """What a kill broke: everything in which that telling ended worse than the one without a kill."""
    yield from (f"harm: {text}" for text in killed.harm)
    if gone := whole.runs - killed.runs:  # the applies afterwards may find more that can be started
        yield f"does not run: {', '.join(sorted(gone))}"
    if more := killed.left - whole.left:
        yield f"still to do: {', '.join(sorted(more))}"
    # More time has passed: one of two masters that was giving way has done so by now.
    if killed.masters != whole.masters and not (killed.masters == 1 < whole.masters):
        yield f"{killed.masters} masters in place of {whole.masters}"
    yield from sorted(killed.needless - whole.needless)
    yield from killed.goes_on
    for (method, target), times in sorted(killed.sent.items()):
        more_allowed = ATTEMPTS if name in REFUSED else int(method == BURIAL)
        if times > max(1, whole.sent[method, target]) + more_allowed:
            yield f"{method} {target} was sent {times} times"


def tell_whole(folder: Path, state: Path, *, watch_disk: bool = False) -> tuple[Ending, list[Point]]:
    """Without a kill: how it ended, and where it could be killed; with `watch_disk` their moments can be told apart."""
    told = KilledScenario(folder, state, watch_disk=watch_disk)
    return told.end(), told.points


def tell_killed(folder: Path, state: Path, where: Point) -> KilledScenario:
    """With a kill there."""
    told = KilledScenario(folder, state, (where.number, where.after))
    told.end()
    return told


def apart(points: Sequence[Point]) -> list[Point]:
    """Those at which a kill can matter: the first and the last of each moment. To be told with `watch_disk`."""
    found: dict[tuple[int, str], list[Point]] = {}
    for point in points:
        found.setdefault((point.changed, point.disk), []).append(point)
    return sorted({one for same in found.values() for one in (same[0], same[-1])})
