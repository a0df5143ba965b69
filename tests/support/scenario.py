"""A scenario: README.md, manifest.yaml, pool.yaml, script.txt, and all that was seen, expected.txt.

script.txt has one command a line; # begins a comment. What a person does with xenrec:

    status | plan [-v] [--unattended] [--failback] [--yield=HOST] [--out]
    apply [--unattended] [--failback] [--yield=HOST] | apply --saved
    drill [--hosts=N] [--acknowledge]
    why vm/NAME | host/NAME | sr/NAME | master
    check                         of the saved plan
    attest HOST LIFETIME          xenrec attest manifest.yaml HOST --dead --for LIFETIME (30m, 2h)
    unpark VM | unpark --host HOST
                                  xenrec unpark manifest.yaml --vm VM, --host HOST
    edit OLD => NEW               change the manifest's text
    password WORD                 what XENREC_PASSWORD is from now on

What the world does:

    wait SECONDS
    lab …                         what goes wrong, in the lab's own words (reconciler/lab/faults.py)
    lab probe HOST TEXT           what `copy-age HOST` prints from now on; hangs: it does
    xe METHOD ARG…                somebody else, at the acting master; ARGs are vm:NAME, host:NAME, sr:NAME,
    xe@HOST METHOD ARG…           pool:, vbd:NAME (its CD drive), true, false, numbers, address:NAME, or text;
    xe& METHOD ARG…               & does not wait for the answer
    running | harm

and what goes wrong at a call, once, armed for the commands that follow ("*" stands for any call, #N for the Nth):

    before METHOD[#N]: die | lose | a command of the world
    after METHOD[#N]: die | lose | a command of the world
    after METHOD[#N] +SECONDS: a lab command

`die` kills the run there; `lose` loses the request (before) or the reply (after).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import yaml

from reconciler.cli.apply import outcome_code
from reconciler.cli.attest import seconds
from reconciler.cli.common import plan_code
from reconciler.core.guard import Allowance
from reconciler.core.plan import Plan, Result
from reconciler.execute.needs import Event
from reconciler.manifest import ManifestError
from reconciler.manifest.load import load
from reconciler.manifest.secrets import resolve
from reconciler.people import disarmed, unpark
from reconciler.pipeline import Approval, Reconciler
from reconciler.state.folder import PoolFolder
from reconciler.views.saved_plan import moved_facts
from reconciler.views.text import outcome_text, plan_text, progress_line, status_text
from tests.support.calls import Killed
from tests.support.scenario_ask import check_of, drill_of, why_of
from tests.support.scenario_pool import make_lab
from tests.support.scenario_port import TracedPort, trap
from tests.support.scenario_world import ScenarioWorld


class Scenario:
    """One folder, told from its beginning to its end. `state` is an empty folder for the program's own."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder = folder
        self.state = state
        self.readme = (folder / "README.md").read_text(encoding="utf-8")
        self.manifest = (folder / "manifest.yaml").read_text(encoding="utf-8")
        self.lab = make_lab(yaml.safe_load((folder / "pool.yaml").read_text(encoding="utf-8")) or {})
        self.world = ScenarioWorld(self.lab)
        self.port = TracedPort(self.lab, self.world.do, self.world.name_of)
        self.port.probe_says = self.world.probe_says
        self.secret = self.lab.password
        self.runs = 0
        self.saved: Plan | None = None
        self.again: list[str] | None = None
        """The words of the last apply, while nothing else has happened since."""
        self.page: list[str] = []
        self.events: list[Event] = []
        self.shown = ""
        """The plan shown last, without times: apply does not show the same one again."""
        self.wanted = load(self.manifest.encode(), "manifest.yaml")
        lines = (raw.partition("  #")[0].strip() for raw in (folder / "script.txt").read_text("utf-8").splitlines())
        self.script = [line for line in lines if line and not line.startswith("#")]
        """Its commands that are still to come."""

    @property
    def allowed_harm(self) -> set[str]:
        """Kinds of harm that the script itself causes, as the README says."""
        for line in self.readme.splitlines():
            if line.startswith("Harm of the script itself:"):
                return {word.strip() for word in line.partition(":")[2].rstrip(".").split(",")}
        return set()

    def tell(self) -> str:
        """Run the script; everything that was seen, as text."""
        while self.script:
            self._command(self.script.pop(0))
        if self.again is not None:
            self._second_apply()
        self._head("in the end", sign="=")
        self.page += self.world.running()
        self.page += self.world.harm()
        return "\n".join(self.page).rstrip() + "\n"

    def _head(self, text: str, sign: str = "$") -> None:
        at = datetime.fromtimestamp(self.lab.now, UTC)
        self.page += ["", f"{at:%H:%M:%S} {sign} {text}"] if self.page else [f"{at:%H:%M:%S} {sign} {text}"]

    def _command(self, line: str) -> None:
        self._head(line)
        self.port.dead = False
        if line.startswith("edit "):
            self.again = None
            self._edit(line.removeprefix("edit "))
            return
        if line.partition(" ")[0] in ("before", "after"):
            self.port.traps.append(trap(line))
            return
        words = shlex.split(line)
        match words:
            case ["status"]:
                self._status()
            case ["plan", *options]:
                self._plan(options)
            case ["apply", *options]:
                self._apply(options)
            case ["attest", host, lifetime]:
                self.again = None
                made = self._reconciler([]).attest(
                    host, by="op@desk", reason="seen powered off", lifetime=seconds(lifetime)
                )
                self.page.append(made if isinstance(made, str) else f"{host} is attested dead for {lifetime}")
            case ["drill", *options]:
                self.page.append(drill_of(self._reconciler([]), options))
            case ["why", what]:
                self.page.append(why_of(self._reconciler([]), what))
            case ["check"]:
                assert self.saved is not None, "check is about a saved plan: plan --out"
                self.page.append(check_of(self._reconciler([]), self.saved))
            case ["unpark", "--host", host]:
                gone_hosts = disarmed(self._reconciler([]), by="op@desk", host=host)
                self.page += [f"forgotten: {one.host} refused for XAPI's HA" for one in gone_hosts]
            case ["unpark", vm]:
                gone = unpark(self._reconciler([]), by="op@desk", vm=vm)
                self.page += [f"forgotten: {one.name}: {one.words}" for one in gone]
            case ["password", word]:
                self.secret = word
            case ["running"]:
                self.page += self.world.running()
            case ["harm"]:
                self.page += self.world.harm()
            case _:
                self.again = None
                self.page += self.world.do(line)

    # --- xenrec --------------------------------------------------------------------------------------------------

    def _reconciler(self, options: Sequence[str]) -> Reconciler:
        self.runs += 1
        return Reconciler(
            self.wanted,
            self.port,
            PoolFolder(self.state, self.wanted.name),
            lambda ref: resolve(ref, environ={"XENREC_PASSWORD": self.secret}, base=self.folder),
            f"run-{self.runs}",
            allowance=Allowance(
                attended="--unattended" not in options,
                yields=frozenset(o.removeprefix("--yield=") for o in options if o.startswith("--yield=")),
            ),
            failback="--failback" in options,
            progress=self.events.append,  # type: ignore[arg-type]
        )

    def _edit(self, words: str) -> None:
        old, arrow, new = words.partition(" => ")
        assert arrow, f"edit OLD => NEW: {words}"
        assert self.manifest.count(old) == 1, f"{old!r} stands {self.manifest.count(old)} times in the manifest"
        self.manifest = self.manifest.replace(old, new)
        try:
            self.wanted = load(self.manifest.encode(), "manifest.yaml")
        except ManifestError as error:
            self.page.append(str(error))

    def _status(self) -> None:
        run = self._reconciler([])
        look = run.observe()
        plan = run.plan_of(look)
        command = "xenrec plan manifest.yaml" if plan.actions or plan.withheld or plan.unmet else ""
        text = status_text(self.wanted.name, plan.diagnosis, look.survey, plan, ascii=True, next_command=command)
        self.page += [text.rstrip("\n"), f"[exit {int(plan_code(plan))}]"]

    def _plan(self, options: Sequence[str]) -> None:
        plan = self._reconciler(options).plan()
        if "--out" in options:
            self.saved = plan
        self.page += [self._plan_text(plan, verbose="-v" in options), f"[exit {int(plan_code(plan))}]"]

    def _plan_text(self, plan: Plan, *, verbose: bool = False) -> str:
        text = plan_text(plan, ascii=True, verbose=verbose).rstrip("\n")
        untimed = re.sub(r"\d\d:\d\d:\d\d", "", text)
        if untimed == self.shown and len(untimed) > 200:
            return "(the plan above, but for the time of day)"
        self.shown = untimed
        return text

    def _apply(self, options: list[str]) -> None:
        run = self._reconciler(options)
        self.port.written.clear()
        self.port.began = began = self.lab.now
        self.events.clear()
        self.again = None
        with run.folder.lock(run=run.run, since=self.lab.now):
            plan = run.plan()
            approved = self.saved if "--saved" in options else None
            if approved is not None and approved.fingerprint != plan.fingerprint:
                self.page += ["The saved plan no longer fits; nothing was done. What moved:"]
                self.page += [f"  {fact}" for fact in moved_facts(approved, plan)] + ["[exit 1]"]
                return
            self.page.append(self._plan_text(plan))
            if not plan.actions:
                self.page.append(f"[exit {int(plan_code(plan))}]")
                self.again = options
                return
            try:
                outcome = run.apply(plan, Approval(approved))
            except Killed:
                self.page += ["", "-- calls that write", *self.port.written, "KILLED"]
                self.port.written.clear()
                return
        self.page += ["", "-- calls that write", *self.port.written, "", "-- what happened when"]
        self.page += [progress_line(event, started_at=began, ascii=True) for event in self.events]
        self.page += ["", "-- outcome", outcome_text(outcome, ascii=True).rstrip("\n")]
        self.page.append(f"[exit {int(outcome_code(outcome))}]")
        if all(d.result in (Result.DONE, Result.ALREADY) for d in outcome.done):
            self.again = options  # what failed may be tried again

    def _second_apply(self) -> None:
        """The same apply again changes nothing; what it would change is shown, and fails the test."""
        run = self._reconciler(self.again or [])
        self.port.written.clear()
        self.port.began = self.lab.now
        with run.folder.lock(run=run.run, since=self.lab.now):
            plan = run.plan()
            if plan.actions:
                self.page += ["", "A SECOND APPLY GOES ON:", self._plan_text(plan)]
                run.apply(plan, Approval())
        self.page += [f"A SECOND APPLY WRITES: {line}" for line in self.port.written]
