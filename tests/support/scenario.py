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
    lab power off|on HOST         lab toolstack stop|start|restart|hang HOST
    lab cut|heal A B              host names, client, storage, an SR's name, *
    lab bmc silent|answers|lies|honest HOST
    lab probe HOST TEXT           what `copy-age HOST` prints from now on; hangs: it does
    lab backup hold|release HOST  copies of the database do not reach it any more
    lab ha armed|off HOST         XAPI's HA as that host's own files have it
    lab guest VM …                what runs in it, see reconciler/lab/faults.py
    lab role broken|master HOST   its role file rewritten, and its toolstack restarted
    lab role follow HOST MASTER
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from reconciler.cli.apply import outcome_code
from reconciler.cli.attest import seconds
from reconciler.cli.common import plan_code
from reconciler.core.guard import Allowance
from reconciler.core.plan import Plan, Result
from reconciler.core.port import FaultKind, TransportFault
from reconciler.execute.needs import Event
from reconciler.lab import NULL, Lab
from reconciler.lab.faults import deed
from reconciler.manifest import ManifestError
from reconciler.manifest.load import load
from reconciler.manifest.secrets import resolve
from reconciler.people import disarmed, unpark
from reconciler.pipeline import Approval, Reconciler
from reconciler.state.folder import PoolFolder
from reconciler.views.saved_plan import moved_facts
from reconciler.views.text import outcome_text, plan_text, progress_line, status_text
from tests.support.calls import Killed, changes
from tests.support.labport import LabPort
from tests.support.scenario_ask import check_of, drill_of, why_of
from tests.support.scenario_pool import START, make_lab

OUTSIDE = "desk"
"""Where the other people sit: cuts of "client" do not touch them."""


@dataclass
class Trap:
    """Something that happens once at a call."""

    when: str
    method: str
    number: int
    delay: float
    then: str
    seen: int = 0


@dataclass
class TracedPort(LabPort):
    """A lab port that writes down every call that changes something, and has traps at calls."""

    lab: Lab
    world: Callable[[str], list[str]]
    name_of: Callable[[Any], str]
    source: str = "client"
    traps: list[Trap] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    began: float = 0.0
    plug: str = ""
    dead: bool = False
    """Killed: nothing is sent any more, whatever the program's `finally` clauses try."""

    def __post_init__(self) -> None:
        super().__init__(self.lab, source=self.source)
        self.before_call = self._before_call
        self.after_call = self._after_call

    def run_agent(self, agent: str, options: Any, *, deadline: float) -> Any:
        """Remember which host it is about."""
        self.plug = options.get("plug", "")
        return super().run_agent(agent, options, deadline=deadline)

    def say(self, text: str) -> None:
        """A line of what was called."""
        self.written.append(f"+{self.now() - self.began:<7.1f} {text}")

    def _before_call(self, address: str, method: str, params: Sequence[Any]) -> None:
        if self.dead:
            raise Killed
        if changes(method):
            at = self.lab.at(address)
            named = (
                [self.plug] if method.startswith("agent:") else [self.name_of(p) for p in params[1:]]
            )  # [0]: session
            words = " ".join(n for n in named if n)
            self.say(f"{at.name if at else address}: {method} {words}".rstrip())
        self._spring("before", method)

    def _after_call(self, address: str, method: str, params: Sequence[Any]) -> None:
        self._spring("after", method)

    def _spring(self, when: str, method: str) -> None:
        for trap in list(self.traps):
            if trap.when != when or not fnmatchcase(method, trap.method):
                continue
            trap.seen += 1
            if trap.seen != trap.number:
                continue
            self.traps.remove(trap)
            self._happen(trap, method)

    def _happen(self, trap: Trap, method: str) -> None:
        if trap.delay:
            self.lab.kernel.after(trap.delay, lambda: self._told(trap.then))
        elif trap.then == "die":
            self.say(f"  (killed {trap.when} {method})")
            self.dead = True
            raise Killed
        elif trap.then == "lose":
            what = "request" if trap.when == "before" else "reply"
            self.say(f"  (the {what} of {method} is lost)")
            raise TransportFault(FaultKind.DROPPED, f"{method}: the connection broke", sent=True)
        else:
            self._told(trap.then)

    def _told(self, command: str) -> None:
        self.say(f"  ({command})")
        for line in self.world(command):
            self.say(f"  ({line})")


class Scenario:
    """One folder, told from its beginning to its end. `state` is an empty folder for the program's own."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder = folder
        self.state = state
        self.readme = (folder / "README.md").read_text(encoding="utf-8")
        self.manifest = (folder / "manifest.yaml").read_text(encoding="utf-8")
        self.lab = make_lab(yaml.safe_load((folder / "pool.yaml").read_text(encoding="utf-8")) or {})
        self.port = TracedPort(self.lab, self.world, self._name_of)
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
        self.page += self._running()
        self.page += self._harm()
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
            self.port.traps.append(_trap(line))
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
                self.page += self._running()
            case ["harm"]:
                self.page += self._harm()
            case _:
                self.again = None
                self.page += self.world(line)

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

    # --- the world -----------------------------------------------------------------------------------------------

    def world(self, line: str) -> list[str]:
        """Carry out a command that is not xenrec's; what is seen of it."""
        words = shlex.split(line)
        lab = self.lab
        match words:
            case ["wait", time]:
                lab.run(lab.now + float(time))
            case ["lab", "power", "off" | "on" as how, host]:
                (lab.power_off if how == "off" else lab.power_on)(host)
            case ["lab", "cut" | "heal" as how, a, b]:
                (lab.cut if how == "cut" else lab.heal)(a, b)
            case ["lab", "toolstack", "stop" | "start" | "restart" | "hang" as how, host]:
                getattr(lab, f"{how}_toolstack")(host)
            case ["lab", "bmc", "silent" | "answers" as how, host]:
                lab.bmc_answers[host] = how == "answers"
            case ["lab", "bmc", "lies" | "honest" as how, host]:
                lab.bmc_lies[host] = how == "lies"
            case ["lab", "probe", host, *says]:
                self.port.probe_says[host] = " ".join(says)
            case ["lab", "backup", "hold" | "release" as how, host]:
                self.lab.hosts[host].backup_held = how == "hold"
            case ["lab", "ha", "armed" | "off" as how, host]:
                lab.hosts[host].ha_armed = how == "armed"
            case ["lab", "guest" | "role", *_]:
                deed(lab, words)()
            case [xe, method, *args] if xe.startswith("xe"):
                return self._xe(xe, method, args)
            case _:
                raise ValueError(f"script.txt: {line!r} is no command")
        return []

    def _xe(self, xe: str, method: str, args: Sequence[str]) -> list[str]:
        lab = self.lab
        _, at, host = xe.rstrip("&").partition("@")
        masters = lab.masters()
        where = lab.hosts[host] if at else masters[0]
        login = "session.login_with_password" if where in masters else "session.slave_local_login_with_password"
        session = self._ask(where.address, login, ["root", lab.password])
        reply = lab.request(
            where.address, method, [session[1], *(self._argument(where.address, a) for a in args)], source=OUTSIDE
        )
        if xe.endswith("&"):
            return []
        lab.settle([reply], lab.now + 300)
        if not reply.done:
            return ["no answer in 300 s"]
        if reply.failure is not None:
            code, params = reply.failure
            return [f"{code} [{'; '.join(self._name_of(p) or p for p in params)}]"]
        return [f"connection {reply.transport}"] if reply.transport else []

    def _ask(self, address: str, method: str, params: Sequence[Any]) -> tuple[str, Any]:
        reply = self.lab.request(address, method, list(params), source=OUTSIDE)
        self.lab.settle([reply], self.lab.now + 60)
        assert reply.done, f"{method} at {address} gets no answer"
        assert reply.failure is None, f"{method} at {address}: {reply.failure or reply.transport}"
        return method, reply.value

    def _argument(self, address: str, word: str) -> Any:
        kind, colon, name = word.partition(":")
        if colon and kind == "address":
            return self.lab.hosts[name].address
        if colon and kind in ("vm", "host", "sr", "pool", "cd"):
            return self._ref_of({"vm": "VM", "sr": "SR", "cd": "VBD"}.get(kind, kind), name)
        if word in ("true", "false"):
            return word == "true"
        if word == "{}":
            return {}
        return int(word) if word.isdigit() else word

    def _ref_of(self, cls: str, name: str) -> str:
        for table in self._tables(cls):
            for ref, record in table.items():
                if cls == "pool" or record.get("name_label") == name:
                    return ref
                if cls == "VBD" and record["type"] == "CD" and self._name_of(record["VM"]) == name:
                    return ref
        raise ValueError(f"script.txt: no {cls} is called {name}")

    def _tables(self, cls: str) -> list[dict[str, Any]]:
        """That class in each database there is, an acting master's first."""
        hosts = sorted(self.lab.hosts.values(), key=lambda h: h not in self.lab.masters())
        live = [h.toolstack.db.tables[cls] for h in hosts if h.toolstack is not None and h.toolstack.db is not None]
        return [*live, *(dict(h.disk.tables[cls]) for h in hosts)]

    def _name_of(self, value: Any) -> str:
        """The name of the object that a parameter is; "" for anything else."""
        if not isinstance(value, str) or value == NULL or not value.startswith("OpaqueRef:"):
            return ""
        for cls in ("VM", "host", "SR", "pool", "network"):
            for table in self._tables(cls):
                if value in table:
                    return str(table[value]["name_label"])
        return ""

    def _running(self) -> list[str]:
        """What physically is where, and what the records say otherwise."""
        told = self.lab.describe()
        by_address = {h.address: h.name for h in self.lab.hosts.values()}
        lines = []
        for name, domains in self.lab.running().items():
            host = self.lab.hosts[name]
            role = host.role if host.role != "master" else "master"
            if role.startswith("slave:"):
                address = role.removeprefix("slave:")
                role = f"member of {by_address.get(address, address)}"
            state = "" if host.toolstack_state == "running" else f" ({host.toolstack_state})"
            vms = ", ".join(d.name + (" (paused)" if d.paused else "") for d in domains)
            lines.append(f"{name}  {role}{state}: {vms or 'runs nothing'}")
        for vm in told["vms"]:
            real, recorded = vm["runs_on"], vm["resident_on"] if vm["power_state"] in ("Running", "Paused") else None
            if real != ([recorded] if recorded else []):
                said = f"{vm['power_state']} on {recorded}" if recorded else vm["power_state"]
                lines.append(f"{vm['name']}: recorded {said}, really on {' and '.join(real) or 'no host'}")
        return lines

    def _harm(self) -> list[str]:
        found = [f"harm at +{h.at - START:.1f}: {h.kind}: {h.text}" for h in self.lab.harm()]
        return found or ["no harm"]


def _trap(line: str) -> Trap:
    head, _, then = line.partition(": ")
    when, method, *later = head.split()
    method, _, number = method.partition("#")
    delay = float(later[0].removeprefix("+")) if later else 0.0
    return Trap(when, method, int(number or 1), delay, then.strip())
