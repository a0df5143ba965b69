"""A scripted pool behind core.port.Port, for refusals that a faithful lab would rarely produce.

Virtual clock, a call log, one database, and hooks: `world.hooks` are asked before each call and may raise or answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from reconciler.core.armed import Armed
from reconciler.core.buried import Buried
from reconciler.core.copies import Refreshed
from reconciler.core.evidence import (
    BmcPower,
    Certificate,
    CertificateKind,
    Diagnosis,
    Incident,
    Judged,
    LoginAnswer,
    Situation,
    Survey,
    Testimony,
    Verdict,
)
from reconciler.core.fence_text import Refusal
from reconciler.core.limits import Pause
from reconciler.core.plan import Action, Plan, Stage, Thing, Verb
from reconciler.core.port import AgentRun, Answer, Ask, Fault, FaultKind, TransportFault, XapiFailure
from reconciler.core.unsettled import Unsettled
from reconciler.core.wanted import Brake, Connection, FenceDevice, Limits, Member, Policy, SecretRef, Wanted
from reconciler.execute.needs import Event, KillsNow
from reconciler.execute.run import Executor
from reconciler.xapi.read import read_pool
from reconciler.xapi.sessions import PoolSessions
from reconciler.xapi.tasks import XapiTasks

NULL = "OpaqueRef:NULL"
NOTHING = object()


class Killed(BaseException):
    """The process died here."""


@dataclass
class FakeHost:
    name: str
    address: str
    role: str  # "master" or "slave:<address>"
    up: bool = True
    power: bool = True
    refuses_until: float = 0.0
    becomes: tuple[float, str] | None = None  # (when, role)
    boot: float = 12.0

    @property
    def ref(self) -> str:
        return f"OpaqueRef:{self.name}"

    @property
    def uuid(self) -> str:
        return f"uuid-{self.name}"


@dataclass
class World:
    """Hosts xen01 (master), xen02, xen03 at 10.0.0.1-3, VMs v1..v6, two on each host, on one shared SR."""

    time: float = 1000.0
    calls: list[tuple[str, str]] = field(default_factory=list)
    hooks: list[Callable[[str, str, Sequence[Any]], Any]] = field(default_factory=list)
    tasks: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)
    promotions: int = 0
    task_time: float = 3.0
    cancellable: bool = True
    more: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """Tables of other classes."""
    open: set[str] = field(default_factory=set)
    """Ports of guests that accept connections, as ADDRESS:PORT; nobody else answers there."""
    rounds: list[list[Ask]] = field(default_factory=list)
    """The questions to guests, as they went out together."""

    def __post_init__(self) -> None:
        self.hosts = {f"10.0.0.{i}": FakeHost(f"xen0{i}", f"10.0.0.{i}", "slave:10.0.0.1") for i in (1, 2, 3)}
        self.hosts["10.0.0.1"].role = "master"
        self.pool = {
            "uuid": "uuid-pool",
            "name_label": "madrid",
            "master": "OpaqueRef:xen01",
            "default_SR": "OpaqueRef:sr-old",
            "suspend_image_SR": NULL,
            "ha_enabled": False,
            "current_operations": {},
        }
        self.host_records = {
            h.ref: {
                "uuid": h.uuid,
                "name_label": h.name,
                "address": h.address,
                "enabled": True,
                "metrics": f"OpaqueRef:m-{h.name}",
            }
            for h in self.hosts.values()
        }
        self.metrics = {f"OpaqueRef:m-{h.name}": {"live": True, "uuid": f"m-{h.name}"} for h in self.hosts.values()}
        self.srs = {f"OpaqueRef:sr-{n}": {"uuid": f"uuid-sr-{n}", "name_label": f"sr-{n}"} for n in ("old", "new")}
        self.networks = {f"OpaqueRef:net-{n}": {"uuid": f"uuid-net-{n}", "name_label": f"net-{n}"} for n in ("a", "b")}
        self.vms: dict[str, dict[str, Any]] = {}
        for i in range(1, 7):
            where = f"OpaqueRef:xen0{(i + 1) // 2}"
            self.vms[f"OpaqueRef:v{i}"] = {
                "uuid": f"uuid-v{i}",
                "name_label": f"v{i}",
                "power_state": "Running",
                "resident_on": where,
                "affinity": NULL,
                "current_operations": {},
                "blocked_operations": {},
                "is_control_domain": False,
                "is_a_template": False,
                "is_a_snapshot": False,
                "ha_restart_priority": "",
                "start_delay": 0,
                "shutdown_delay": 0,
            }

    # --- what tests do to it -----------------------------------------------------------------------------------

    def host(self, name: str) -> FakeHost:
        return next(h for h in self.hosts.values() if h.name == name)

    def vm(self, name: str) -> dict[str, Any]:
        return self.vms[f"OpaqueRef:{name}"]

    def pull(self, name: str) -> None:
        self.host(name).up = self.host(name).power = False

    def halt(self, name: str) -> None:
        self.vm(name).update(power_state="Halted", resident_on=NULL)

    def fail(self, method: str, *error: str, times: int = 1, address: str = "") -> None:
        """The next calls of that method are answered with this XAPI error."""
        left = [times]

        def hook(at: str, called: str, params: Sequence[Any]) -> Any:
            if called == method and left[0] and address in ("", at):
                left[0] -= 1
                raise XapiFailure(*error)
            return NOTHING

        self.hooks.append(hook)

    def lose_reply(self, method: str, *, effect: bool) -> None:
        """The next call of that method has its effect (or not) and no answer."""
        left = [1]

        def hook(at: str, called: str, params: Sequence[Any]) -> Any:
            if called == method and left[0]:
                left[0] = 0
                if effect:
                    self._answer(at, called, params)
                raise TransportFault(FaultKind.DROPPED, "reply lost", sent=True)
            return NOTHING

        self.hooks.append(hook)

    def at(self, method: str, then: Callable[[], None], *, nth: int = 1) -> None:
        """Right before the nth call of that method something happens."""
        left = [nth]

        def hook(at: str, called: str, params: Sequence[Any]) -> Any:
            if called == method:
                left[0] -= 1
                if left[0] == 0:
                    then()
            return NOTHING

        self.hooks.append(hook)

    @property
    def asked(self) -> list[Ask]:
        """Every question to a guest."""
        return [ask for one in self.rounds for ask in one]

    def count(self, method: str) -> int:
        return sum(m == method for _, m in self.calls)

    # --- the port ----------------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float) -> None:
        assert seconds >= 0
        self.time += max(seconds, 0.001)

    def call(self, address: str, method: str, params: Sequence[Any], *, deadline: float) -> Any:
        self.time += 0.01
        self.run_tasks()
        self.calls.append((address, method))
        for hook in self.hooks:
            answer = hook(address, method, params)
            if answer is not NOTHING:
                return answer
        return self._answer(address, method, params, deadline)

    def ask_all(self, asks: Sequence[Ask]) -> list[Answer]:
        answers = []
        to_guests = [a for a in asks if a.kind == "http" or a.address not in self.hosts]
        self.rounds += [to_guests] if to_guests else []
        for ask in asks:
            if ask in to_guests:
                there = f"{ask.address}:{ask.port}" in self.open
                silence = TransportFault(FaultKind.UNREACHABLE, "no route", sent=False)
                answers.append(Answer(fault=None if there else silence))
                continue
            assert ask.kind == "tcp"
            fault: Fault | None = None
            try:
                self._reach(ask.address, 0.0)
            except TransportFault as trouble:
                fault = trouble
            answers.append(Answer(fault=fault))
        self.time += 0.01
        return answers

    def run_agent(self, agent: str, options: Mapping[str, str], *, deadline: float) -> AgentRun:
        raise FileNotFoundError(agent)

    def _reach(self, address: str, deadline: float) -> FakeHost:
        host = self.hosts.get(address)
        if host is None or not host.up:
            self.time += deadline
            raise TransportFault(FaultKind.TIMEOUT, "no answer", sent=False)
        if host.becomes and self.time >= host.becomes[0]:
            host.refuses_until, host.role, host.becomes = host.becomes[0] + 3.0, host.becomes[1], None
            self._rejoin(host)
        if self.time < host.refuses_until:
            raise TransportFault(FaultKind.REFUSED, "nothing listens", sent=False)
        return host

    def _rejoin(self, host: FakeHost) -> None:
        if host.role == "master":
            self.pool["master"] = host.ref
            for other in self.hosts.values():
                self.host_records[other.ref]["enabled"] = other is host
                self.metrics[f"OpaqueRef:m-{other.name}"]["live"] = other is host
        else:
            self.host_records[host.ref]["enabled"] = True
            self.metrics[f"OpaqueRef:m-{host.name}"]["live"] = True

    def _answer(self, address: str, method: str, params: Sequence[Any], deadline: float = 5.0) -> Any:
        host = self._reach(address, deadline)
        if method == "session.slave_local_login_with_password":
            return f"OpaqueRef:local-{host.name}"
        if method in ("session.local_logout", "session.logout"):
            return ""
        if method == "pool.emergency_transition_to_master":
            self.promotions += 1
            host.becomes = (self.time + 8.0, "master")
            return ""
        if method == "pool.emergency_reset_master":
            host.becomes = (self.time + 6.0, f"slave:{params[1]}")
            return ""
        if host.role != "master":
            raise XapiFailure("HOST_IS_SLAVE", host.role.removeprefix("slave:"))
        if method == "session.login_with_password":
            return f"OpaqueRef:session-{host.name}-{len(self.calls)}"
        return self._as_master(host, method, params[1:])

    def _as_master(self, host: FakeHost, method: str, params: Sequence[Any]) -> Any:
        if method.startswith("Async."):
            return self._submit(method.removeprefix("Async."), params)
        if method == "event.from":
            raise XapiFailure("MESSAGE_METHOD_UNKNOWN", method)
        if method == "pool.recover_slaves":
            told = []
            for other in self.hosts.values():
                if other is not host and other.up:
                    other.becomes = (self.time + 6.0, f"slave:{host.address}")
                    told.append(other.ref)
            return told
        if method == "pool.designate_new_master":
            target = next(h for h in self.hosts.values() if h.ref == params[0])
            for other in self.hosts.values():
                when = self.time + (8.0 if other is target else 14.0)
                other.becomes = (when, "master" if other is target else f"slave:{target.address}")
            return ""
        if method == "host.get_servertime":
            return datetime.fromtimestamp(self.time, UTC).strftime("%Y%m%dT%H:%M:%SZ")
        if method == "message.create":
            return "OpaqueRef:message"
        if method == "VM.assert_can_boot_here":
            return ""
        cls, _, message = method.partition(".")
        table = self._table(cls)
        if message == "get_all_records":
            return {ref: dict(record) for ref, record in table.items()}
        if message == "get_by_uuid":
            for ref, record in table.items():
                if record["uuid"] == params[0]:
                    return ref
            raise XapiFailure("UUID_INVALID", cls, params[0])
        if message == "destroy":
            self.tasks.pop(params[0], None)
            return ""
        if method == "task.cancel":
            task = self.tasks[params[0]][1]
            if task["ended"] is None and self.cancellable:
                task["ended"] = ("cancelled", [])
                self.vms[task["params"][0]]["current_operations"] = {}
            return ""
        if params and params[0] not in table:
            raise XapiFailure("HANDLE_INVALID", cls, str(params[0]))
        if message == "get_record":
            return dict(table[params[0]])
        if message.startswith("set_"):
            table[params[0]][message.removeprefix("set_")] = params[1]
            return ""
        raise AssertionError(f"the scripted pool does not know {method}")

    def _table(self, cls: str) -> dict[str, dict[str, Any]]:
        if cls == "host":
            for ref, record in self.host_records.items():
                record["resident_VMs"] = [r for r, v in self.vms.items() if v["resident_on"] == ref]
        if cls == "task":
            return {ref: self._task(ref) for ref in self.tasks}
        tables: dict[str, dict[str, dict[str, Any]]] = {
            "pool": {"OpaqueRef:pool": self.pool},
            "host": self.host_records,
            "host_metrics": self.metrics,
            "SR": self.srs,
            "VM": self.vms,
            "network": self.networks,
            **self.more,
        }
        return tables[cls]

    # --- tasks -------------------------------------------------------------------------------------------------

    def _submit(self, method: str, params: Sequence[Any]) -> str:
        ref = f"OpaqueRef:task-{len(self.calls)}"
        if method.startswith("VM.") and method != "VM.power_state_reset":
            self.vms[params[0]]["current_operations"] = {ref: method.removeprefix("VM.")}
        self.tasks[ref] = (self.time + self.task_time, {"method": method, "params": params, "ended": None})
        return ref

    def _task(self, ref: str) -> dict[str, Any]:
        when, task = self.tasks[ref]
        if task["ended"] is None and self.time >= when:
            try:
                for hook in self.hooks:
                    hook("task", task["method"], task["params"])
                self._effect(task["method"], task["params"])
                task["ended"] = ("success", [])
            except XapiFailure as failure:
                task["ended"] = ("failure", [failure.code, *failure.params])
            if task["method"].startswith("VM.") and task["params"][0] in self.vms:
                self.vms[task["params"][0]]["current_operations"] = {}
        status, error = task["ended"] or ("pending", [])
        return {"uuid": ref, "status": status, "error_info": error, "result": "", "progress": 0.5}

    def run_tasks(self) -> None:
        """Let what is due take its effect without anybody asking."""
        for ref in list(self.tasks):
            self._task(ref)

    def _effect(self, method: str, params: Sequence[Any]) -> None:
        self.calls.append(("task", method))
        if method == "host.declare_dead":
            self.host_records[params[0]]["enabled"] = False
            for vm in self.vms.values():
                if vm["resident_on"] == params[0]:
                    vm.update(power_state="Halted", resident_on=NULL)
            return
        vm = self.vms[params[0]]
        needs, goal = {
            "VM.start_on": ("Halted", "Running"),
            "VM.resume_on": ("Suspended", "Running"),
            "VM.unpause": ("Paused", "Running"),
            "VM.clean_shutdown": ("Running", "Halted"),
            "VM.suspend": ("Running", "Suspended"),
            "VM.power_state_reset": (vm["power_state"], "Halted"),
            "VM.pool_migrate": ("Running", "Running"),
        }[method]
        if vm["power_state"] != needs:
            raise XapiFailure("VM_BAD_POWER_STATE", params[0], needs.lower(), vm["power_state"].lower())
        vm["power_state"] = goal
        if method in ("VM.start_on", "VM.resume_on", "VM.pool_migrate"):
            vm["resident_on"] = params[1]
        elif goal != "Running":
            vm["resident_on"] = NULL


# --- the other rooms -------------------------------------------------------------------------------------------


@dataclass
class MemoryJournal:
    lines: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    full: bool = False

    def write(self, kind: str, **fields: object) -> None:
        if self.full:
            raise OSError("no space left on device")
        self.lines.append((kind, fields))

    def of(self, kind: str) -> list[dict[str, object]]:
        return [f for k, f in self.lines if k == kind]


@dataclass
class MemoryStore:
    kept: list[Certificate] = field(default_factory=list)
    voided: list[tuple[Certificate, str]] = field(default_factory=list)
    sent: Incident | None = None
    broken: bool = False
    full: bool = False
    starts: list[Unsettled] = field(default_factory=list)
    buried: list[Buried] = field(default_factory=list)
    """Those whose end is not known."""

    def save_incident(self, incident: Incident) -> None:
        if self.broken:
            raise OSError("read-only file system")
        self.sent = incident

    def clear_incident(self) -> None:
        self.sent = None

    def withdraw_incident(self) -> None:
        self.sent = None

    def arm(self, one: Armed) -> None:
        self.armed = one

    def save_handover(self, handover: Incident) -> None:
        self.sent_handover: Incident | None = handover

    def clear_handover(self) -> None:
        self.sent_handover = None

    def add_refreshed(self, fresh: Sequence[Refreshed]) -> None:
        self.refreshed = tuple(fresh)

    def refresh_failed(self, at: float) -> None:
        self.refresh_failed_at = at

    def handover(self) -> Incident | None:
        return getattr(self, "sent_handover", None)

    def incident(self) -> Incident | None:
        return self.sent

    def bury(self, vms: Sequence[Buried]) -> None:
        self.buried += vms

    def begin(self, start: Unsettled) -> Unsettled:
        if self.full:
            raise OSError("no space left on device")
        for one in self.starts:
            if (one.uuid, one.host_uuid) == (start.uuid, start.host_uuid):
                return one
        self.starts = [*self.starts, start]
        return start

    def end(self, start: Unsettled) -> None:
        self.starts = [s for s in self.starts if s != start]

    def unsettled(self) -> tuple[Unsettled, ...]:
        return tuple(self.starts)

    def pauses(self, *, now: float) -> tuple[Pause, ...]:
        return ()

    def freed(self, host_uuid: str) -> None:
        self.starts = [replace(s, freed=s.freed or s.host_uuid == host_uuid) for s in self.starts]

    def add_certificate(self, certificate: Certificate) -> None:
        self.kept.append(certificate)

    def certificates(self) -> tuple[Certificate, ...]:
        return tuple(self.kept)

    def void_certificate(self, certificate: Certificate, why: str) -> None:
        self.kept.remove(certificate)
        self.voided.append((certificate, why))


@dataclass
class ScriptedFencer:
    world: World
    refuses: str = ""
    silent: bool = False
    checks: int = 0
    offs: int = 0

    def status(self, member: Member) -> tuple[BmcPower, str]:
        if self.silent:
            return BmcPower.UNKNOWN, "no answer"
        return (BmcPower.ON if self.world.host(member.name).power else BmcPower.OFF), "asked"

    def off(
        self, member: Member, *, pool: str, host_uuid: str | None, reason: str, lifetime_s: float
    ) -> Certificate | Refusal:
        self.offs += 1
        if self.refuses:
            return Refusal(self.refuses, "pull its power")
        self.world.pull(member.name)
        return certificate(member.name, self.world.now(), uuid=host_uuid, life=lifetime_s)

    def recheck(self, certificate: Certificate, member: Member, /) -> str:
        self.checks += 1
        power, _ = self.status(member)
        return "" if power is BmcPower.OFF else f"power is {power}"


def certificate(name: str, at: float, *, uuid: str | None = None, life: float = 3600.0) -> Certificate:
    address = f"10.0.0.{name[-1]}"
    return Certificate(CertificateKind.FENCED, "madrid", name, address, uuid, "fence_test", "test", at, at + life)


def wanted(*, migration_network: str | None = None, **limits: float) -> Wanted:
    members = tuple(Member(f"xen0{i}", f"10.0.0.{i}", fencing=(FenceDevice("fence_test"),)) for i in (1, 2, 3))
    bounds = replace(Limits(), **limits)  # type: ignore[arg-type]
    policy = Policy(brake=Brake(0.5, 1), limits=bounds, migration_network=migration_network)
    return Wanted("madrid", members, Connection("root", SecretRef("env", "X")), policy=policy, source="madrid.yaml")


def survey_of(world: World) -> Survey:
    """What a survey would find; the real one has its own tests."""
    found = []
    for host in world.hosts.values():
        login, follows, reaches = LoginAnswer.SILENT, None, None
        try:
            world._reach(host.address, 0.0)
        except TransportFault as fault:
            login = LoginAnswer.REFUSED if fault.kind is FaultKind.REFUSED else LoginAnswer.SILENT
        else:
            login = LoginAnswer.MASTER
            if host.role != "master":
                login, follows = LoginAnswer.SLAVE, host.role.removeprefix("slave:")
                boss = world.hosts.get(follows)
                reaches = boss is not None and boss.up
        found.append(Testimony(host.name, host.address, world.now(), login, follows=follows, reaches_master=reaches))
    return Survey(world.now(), tuple(found))


def plan_for(stage: Stage, *, lost: str | None = None, made_at: float = 0.0) -> Plan:
    verdicts = tuple(
        Judged(f"xen0{i}", f"10.0.0.{i}", Verdict.DEAD if f"xen0{i}" == lost else Verdict.ALIVE, "") for i in (1, 2, 3)
    )
    situation = Situation.LOST if lost else Situation.MANAGED
    return Plan("madrid", "uuid-pool", made_at, Diagnosis(situation, "", verdicts, lost_master=lost), (stage,))


def host_thing(name: str) -> Thing:
    return Thing("host", name, f"uuid-{name}", f"10.0.0.{name[-1]}")


def vm_thing(name: str) -> Thing:
    return Thing("vm", name, f"uuid-{name}")


POOL = Thing("pool", "madrid", "uuid-pool")


def start(name: str, to: str, *, dead: tuple[str, ...] = (), follows: tuple[str, ...] = ()) -> Action:
    return Action(Verb.START, vm_thing(name), "test", to=host_thing(to), certificate_of=dead, follows=follows)


@dataclass
class Rig:
    """A world and an executor's other rooms; `run` performs actions as one stage."""

    world: World = field(default_factory=World)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    store: MemoryStore = field(default_factory=MemoryStore)
    events: list[Event] = field(default_factory=list)
    wishes: Wanted = field(default_factory=wanted)
    surveys: int = 0
    kills_now: KillsNow | None = None
    planned_at: float | None = None
    """When the plan was made, None: as it is performed."""

    def __post_init__(self) -> None:
        self.fencer = ScriptedFencer(self.world)

    def survey(self) -> Survey:
        self.surveys += 1
        return survey_of(self.world)

    def executor(self, stage: Stage, lost: str | None = None) -> Executor:
        return Executor(
            self.world,
            PoolSessions(self.world, "root", lambda: "secret", run="t"),
            self.wishes,
            self.journal,
            self.store,
            self.fencer,
            lambda session: XapiTasks(self.world, session),
            self.survey,
            lambda session: read_pool(session, now=self.world.now()),
            self.events.append,
            "run-1",
            plan_for(stage, lost=lost, made_at=self.world.now() if self.planned_at is None else self.planned_at),
            kills_now=self.kills_now,
        )

    def run(self, *actions: Action, master: str | None = "10.0.0.1", lost: str | None = None) -> dict[str, Any]:
        stage = Stage("test", actions)
        self.last = self.executor(stage, lost)
        return {d.action.id: d for d in self.last.run_stage(stage, master=master)}
