"""How fast the program and the in-memory lab are."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler.core.drill import drill
from reconciler.core.plan import Verb
from reconciler.core.wanted import MemberState
from reconciler.lab import Lab, Schedule, Seed
from reconciler.lab.served_manifest import _wishes, guests
from reconciler.manifest.load import load
from reconciler.xapi.read import read_pool
from tests.bench.measure import Number, best, growth
from tests.support.story import Story

SPAN = 1200.0
HEAD = """\
apiVersion: xenrec/v1
kind: Pool
metadata:
  name: lab
spec:
  connection: {username: root, password: {env: PW}}
  members:
"""


def incident() -> list[Number]:
    """Twenty minutes of an incident, told on the virtual clock."""
    with tempfile.TemporaryDirectory() as folder:
        story = Story.of(Path(folder), hosts=16, vms=400)
        began, real, busy = story.lab.now, time.perf_counter(), time.process_time()
        Schedule.parse("power off xen01\nat 10m: power on xen01").attach(story.port)
        story.wait(30)
        story.apply()
        regained = story.lab.now - began
        story.wait(began + SPAN / 2 + 60 - story.lab.now)
        story.apply()
        story.wait(max(0.0, began + SPAN - story.lab.now))
        took, waited = time.process_time() - busy, time.perf_counter() - real
        assert not story.lab.harm(), story.lab.harm()
    lab = Lab(Seed.generate(hosts=16, vms=400))
    alone = best(lambda: lab.run(lab.now + SPAN))
    return [
        Number("incident: 16 hosts, 400 VMs, 20 minutes", took, "s", 2.0, note=f"{SPAN / took:,.0f} times real time"),
        Number("incident: the same by the clock on the wall", waited, "s", note="with what else this machine does"),
        Number("incident: virtual time until it is repaired", regained, "s", note="30 s of them until it is noticed"),
        Number("incident: the lab alone, 20 minutes at rest", alone, "s", note=f"{SPAN / alone:,.0f} times real time"),
    ]


def planning() -> list[Number]:
    """A plan with one dead host, for pools of several sizes."""
    found, took = [], {}
    for hosts, vms in ((16, 400), (64, 2000), (64, 5000)):
        with tempfile.TemporaryDirectory() as folder:
            story = Story.of(Path(folder), hosts=hosts, vms=vms)
            story.lab.power_off(f"xen{hosts:02d}")
            story.wait(700)
            run = story.reconciler()
            look = run.observe()
            took[vms] = best(lambda: run.plan_of(look))  # noqa: B023 - called at once
            plan = run.plan_of(look)
            note = f"{len(plan.actions)} actions"
            if vms > 400:
                note += f"; grows with VMs to the power of {growth(took[400], took[vms], vms / 400):.2f}"
            found.append(Number(f"plan: {hosts} hosts, {vms} VMs", took[vms], "s", note=note))
    return found


def evacuation() -> list[Number]:
    """A plan that empties one host of a large pool."""
    with tempfile.TemporaryDirectory() as folder:
        run = Story.of(Path(folder), hosts=64, vms=5000).reconciler()
        look = run.observe()
        members = list(run.wanted.members)
        members[5] = replace(members[5], state=MemberState.MAINTENANCE, evacuate_all=True)
        stoppable = tuple(replace(v, placement=replace(v.placement, stop_for_maintenance=True)) for v in run.wanted.vms)
        run.wanted = replace(run.wanted, members=tuple(members), vms=stoppable)
        took = best(lambda: run.plan_of(look))
        moves = sum(a.verb is Verb.MIGRATE for a in run.plan_of(look).actions)
        return [Number("plan: 64 hosts, 5000 VMs, one host emptied", took, "s", 1.0, note=f"{moves} moves")]


def drills() -> list[Number]:
    """What the loss of each host, and of each two, of a large pool would mean."""
    with tempfile.TemporaryDirectory() as folder:
        story = Story.of(Path(folder), hosts=64, vms=5000)
        run = story.reconciler()
        look = run.observe()
        diagnosis = run.plan_of(look).diagnosis
        assert look.state is not None
        pool = (run.wanted, look.survey, diagnosis, look.state)
        found = []
        for depth, goal in ((1, 3.0), (2, 10.0)):
            took = best(lambda: drill(*pool, depth=depth), 1)  # noqa: B023 - called at once
            cases = len(drill(*pool, depth=depth).cases)
            what = "each host lost" if depth == 1 else "each host and each two lost"
            found.append(Number(f"drill: 64 hosts, 5000 VMs, {what}", took, "s", goal, note=f"{cases} losses"))
    return found


class _Replay:
    """A session that answers as the lab did, and costs nothing."""

    def __init__(self, lab: Lab) -> None:
        self.address = next(iter(lab.hosts.values())).address
        self._lab = lab
        self._answers: dict[str, Any] = {}
        self._session = self._ask("session.login_with_password", "root", lab.password)

    def _ask(self, method: str, *params: Any) -> Any:
        reply = self._lab.request(self.address, method, params)
        self._lab.settle([reply], self._lab.now + 60)
        return reply.value

    def call(self, method: str, *params: Any, deadline: float = 30.0) -> Any:
        """From memory after the first time."""
        if method not in self._answers:
            self._answers[method] = self._ask(method, self._session, *params)
        return self._answers[method]

    def close(self) -> None:
        """Nothing to do."""


def reading() -> list[Number]:
    """Typing what get_all_records answers."""
    found, took = [], {}
    for vms in (500, 5000):
        lab = Lab(Seed.generate(hosts=16, vms=vms))
        session = _Replay(lab)
        read_pool(session, now=lab.now)
        took[vms] = best(lambda: read_pool(session, now=lab.now))  # noqa: B023 - called at once
        note = f"grows to the power of {growth(took[500], took[vms], vms / 500):.2f}" if vms > 500 else ""
        found.append(Number(f"read: {vms} VMs into the model", took[vms], "s", note=note))
    return found


def manifests() -> list[Number]:
    """Loading manifests of several lengths."""
    found, took = [], {}
    for vms in (500, 5000):
        lab = Lab(Seed.generate(hosts=16, vms=vms))
        text = HEAD
        for host in lab.hosts.values():
            text += f"    - {{name: {host.name}, address: {host.address}}}\n"
        text += "  virtualMachines:\n"
        names = {ref: r["name_label"] for ref, r in next(iter(lab.hosts.values())).disk.tables["host"].items()}
        for entry in _wishes(guests(lab), names):
            text += "    - {" + ", ".join(f"{key}: {value}" for key, value in entry.items()) + "}\n"
        took[vms] = best(lambda: load(text.encode(), "pool.yaml"))  # noqa: B023 - called at once
        note = f"grows to the power of {growth(took[500], took[vms], vms / 500):.2f}" if vms > 500 else ""
        found.append(Number(f"manifest: {vms} entries", took[vms], "s", note=note))
    return found


def surveys() -> list[Number]:
    """How long a look at sixteen hosts takes on the network, all alive and one dead."""
    found, took = [], {}
    for dead in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            story = Story.of(Path(folder), hosts=16, vms=400)
            if dead:
                story.lab.power_off("xen16")
                story.wait(700)
            began, calls, real = story.lab.now, len(story.port.calls), time.process_time()
            story.reconciler().survey()
            took[dead] = story.lab.now - began
            spent = time.process_time() - real
            note = f"{len(story.port.calls) - calls} calls, {spent * 1000:.0f} ms of ours"
            if dead:
                note += f"; {took[True] - took[False]:.1f} s more than with all alive"
            what = "one of them dead" if dead else "all alive"
            found.append(Number(f"survey: 16 hosts, {what}, on the network", took[dead], "s", note=note))
    return found


def numbers() -> list[Number]:
    """All of them."""
    return [*incident(), *planning(), *evacuation(), *drills(), *reading(), *manifests(), *surveys()]
