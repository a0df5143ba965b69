"""How a toolstack takes calls: gate, parameters, sessions, execution, tasks, answers (sheet §1.3, §1.4, §7.1, §8.1)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from reconciler.lab.calls import EMERGENCY_CALLS, Call, Method, convert, lookup
from reconciler.lab.database import Database
from reconciler.lab.errors import Failure
from reconciler.lab.kernel import Steps
from reconciler.lab.roles import check as check_role
from reconciler.lab.roles import permits
from reconciler.lab.schema import copy_value, is_later
from reconciler.lab.wiretext import date, xml_value

if TYPE_CHECKING:
    from reconciler.lab.engine import Lab
    from reconciler.lab.hosts import Reply
    from reconciler.lab.toolstack import Toolstack


class Desk:
    """The calls of one run of xapi.

    `doomed` are pending tasks that go when they end; `finished` the ended ones, oldest first, with their times;
    `owners` whose each task is; `rivals` other masters beside which this one has acted.
    """

    def __init__(self, ts: Toolstack) -> None:
        self.ts = ts
        self.doomed: set[str] = set()
        self.finished: dict[str, float] = {}
        self.owners: dict[str, str] = {}
        self.acted_at: float | None = None
        self.rivals: set[str] = set()
        self._pending: set[Reply] = set()

    @property
    def lab(self) -> Lab:
        """The lab."""
        return self.ts.lab

    def hang_up(self, *, told: bool) -> None:
        """The process is gone: with `told`, callers see their connections break; without power they see nothing."""
        pending, self._pending = self._pending, set()
        if told:
            for reply in pending:
                self.lab.kernel.after(self.lab.timing.latency, partial(self._drop, reply))

    def _drop(self, reply: Reply) -> None:
        reply.finish(self.lab.now, transport="dropped")

    def dispatch(self, reply: Reply, wire_name: str, params: list[Any], source: str) -> None:
        """Take a call from the network; the reply is finished now or later, or never."""
        self._pending.add(reply)
        reply.on_done(self._pending.discard)
        try:
            method, call, args, asynchronous = self._parse(wire_name, params)
        except Failure as failure:
            self._answer(reply, source, failure=failure)
            return
        if not method.session_free:
            try:
                known = self._check_session(call, method)
            except Failure as failure:
                self._answer(reply, source, failure=failure)
                return
            if not known:
                self.ts.spawn(self._later(reply, source, method, call, args, asynchronous), method.name)
                return
        elif not self.ts.is_master and not method.db_free:
            self.ts.spawn(self._later(reply, source, method, call, args, asynchronous), method.name)
            return
        self._run(reply, source, method, call, args, asynchronous)

    def _parse(self, wire_name: str, params: list[Any]) -> tuple[Method, Call, list[Any], bool]:
        asynchronous = wire_name.startswith("Async.")
        name = wire_name.removeprefix("Async.")
        method = lookup(name)
        if self.ts.emergency and (asynchronous or wire_name not in EMERGENCY_CALLS):
            raise self.ts.emergency_error()
        if method is None or (not self.lab.groups and is_later(method.name)):
            raise Failure("MESSAGE_METHOD_UNKNOWN", name)
        if asynchronous and not method.asynchronous:
            raise Failure("Fault", f"No async mode for this operation (rpc: {method.name})")
        given = list(params)
        session = ""
        if not method.session_free:
            if not given:
                raise Failure("MESSAGE_PARAMETER_COUNT_MISMATCH", method.name, str(method.required), "-1")
            session = given.pop(0)
            if not isinstance(session, str):
                raise Failure("SESSION_INVALID", str(session))
        if not method.required <= len(given) <= len(method.params):
            raise Failure("MESSAGE_PARAMETER_COUNT_MISMATCH", method.name, str(method.required), str(len(given)))
        args = [convert(p.type, value) for p, value in zip(method.params, given, strict=False)]
        if len(given) < len(method.params):
            args += [copy_value(p.default) for p in method.params[len(given) :]]
        call = Call(self.ts, method.name, session, asynchronous)
        return method, call, args, asynchronous

    def _check_session(self, call: Call, method: Method) -> bool:
        """True: go on; False: needs the database, which is out of reach. Raises SESSION_INVALID or HOST_IS_SLAVE."""
        if call.session in self.ts.local_sessions:
            call.local = True
            return self.ts.is_master or method.db_free or self.ts.db_now() is not None
        if self.ts.is_master:
            info = self.ts.sessions.get(call.session)
            if info is None:
                raise Failure("SESSION_INVALID", call.session)
            info.last_active = self.lab.now
            if method.pool_internal:
                text = f'Internal API "{method.name}" call attempted with non-pool (external) session'
                raise Failure("INTERNAL_ERROR", text)
            return True
        master = self.ts.master_run()
        if master is None or master.db is None:
            return False
        if call.session in master.sessions:
            raise Failure("HOST_IS_SLAVE", master.host.address)
        raise Failure("SESSION_INVALID", call.session)

    def _later(
        self, reply: Reply, source: str, method: Method, call: Call, args: list[Any], asynchronous: bool
    ) -> Steps:
        """A call that hangs until the database is back."""
        yield from self.ts.database()
        try:
            while not method.session_free and not self._check_session(call, method):
                yield from self.ts.database()
        except Failure as failure:
            self._answer(reply, source, failure=failure)
            return
        self._run(reply, source, method, call, args, asynchronous)

    def _run(self, reply: Reply, source: str, method: Method, call: Call, args: list[Any], asynchronous: bool) -> None:
        if call.role is not None and not asynchronous:
            try:
                check_role(method.name, call.role)
            except Failure as failure:
                self._answer(reply, source, failure=failure)
                return
        if method.acts and (call.role is None or permits(call.role, method.name)):
            self._acts(method)
        if method.acts and not self.ts.is_master and method.name != "pool.recover_slaves":
            try:
                self.ts.assert_known()  # a task belongs to the host that makes it
            except Failure as failure:
                self._answer(reply, source, failure=failure)
                return
        if asynchronous:
            db = call.db
            db.create("task", call.task, self._task_record(f"Async.{method.name}", call))
            self.owners[call.task] = call.user
            self.ts.spawn(self._task(method, call, args), method.name)
            self._answer(reply, source, value=call.task)
            return
        try:
            result = method.handler(call, *args)
        except Failure as failure:
            self._answer(reply, source, failure=failure)
            return
        except Exception as error:
            if self.lab.strict:
                raise
            self._answer(reply, source, failure=Failure("INTERNAL_ERROR", f"{type(error).__name__}({error})"))
            return
        if hasattr(result, "send"):
            self.ts.spawn(self._wait(reply, source, result), method.name)
        else:
            self._answer(reply, source, value=result)

    def _wait(self, reply: Reply, source: str, steps: Steps) -> Steps:
        try:
            value = yield from steps
        except Failure as failure:
            self._answer(reply, source, failure=failure)
            return
        self._answer(reply, source, value=value)

    def _answer(self, reply: Reply, source: str, *, value: Any = None, failure: Failure | None = None) -> None:
        def arrive() -> None:
            if self.lab.reaches(source, self.ts.host) and not self.ts.host.hung:
                reply.finish(self.lab.now, value="" if value is None else value, failure=failure)

        self._pending.discard(reply)
        self.lab.kernel.after(self.lab.timing.call * self.ts.pace() + self.lab.timing.latency, arrive)

    def _acts(self, method: Method) -> None:
        """The monitor's eye: two masters of one pool that both act."""
        if not self.ts.is_master:
            return
        for host in self.lab.masters():
            rival = host.toolstack.desk if host.toolstack is not None else None
            if rival is None or rival is self or rival.acted_at is None or host.name in self.rivals:
                continue
            self.rivals.add(host.name)
            rival.rivals.add(self.ts.host.name)
            text = f"{method.name} on {self.ts.host.name} while {host.name} acts as a master too"
            self.lab.world.record("two-masters", text, host=self.ts.host.name)
        if len(self.lab.masters()) > 1:
            self.acted_at = self.lab.now

    def _task_record(self, label: str, call: Call) -> dict[str, Any]:
        return {
            "uuid": self.lab.uuid(),
            "name_label": label,
            "created": date(self.ts.wall),
            "status": "pending",
            "resident_on": call.me,
            "type": "<none/>",
            "allowed_operations": ["cancel"],
        }

    def _task(self, method: Method, call: Call, args: list[Any]) -> Steps:
        yield self.lab.timing.call
        try:
            if call.role is not None:
                check_role(method.name, call.role)  # only the task shows it (sheet §8.1)
            result = method.handler(call, *args)
            if hasattr(result, "send"):
                result = yield from result
        except Failure as failure:
            cancelled = failure.code == "TASK_CANCELLED"
            yield from self._task_ends(
                call, status="cancelled" if cancelled else "failure", error_info=failure.description
            )
            return
        except Exception as error:
            text = f"{type(error).__name__}({error})"
            yield from self._task_ends(call, status="failure", error_info=["INTERNAL_ERROR", text])
            raise
        yield from self._task_ends(call, status="success", result=xml_value(result))

    def _task_ends(self, call: Call, **values: Any) -> Steps:
        db: Database = yield from self.ts.database()
        record = db.find("task", call.task)
        if record is None:
            return
        db.update(
            "task",
            call.task,
            finished=date(self.ts.wall),
            progress=1.0,
            allowed_operations=[],
            current_operations={},
            **values,
        )
        self.finished[call.task] = self.lab.now
        if call.task in self.doomed:
            db.delete("task", call.task)
