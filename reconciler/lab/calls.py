"""The table of calls: names, parameters, flags, and how parameters are decoded. Handlers are in the api package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.lab.database import Database
from reconciler.lab.errors import Failure
from reconciler.lab.schema import NULL, SCHEMA

if TYPE_CHECKING:
    from reconciler.lab.engine import Lab
    from reconciler.lab.toolstack import Toolstack

EMERGENCY_CALLS = frozenset(
    {
        "pool.emergency_transition_to_master",
        "pool.emergency_reset_master",
        "pool.is_slave",
        "session.slave_local_login",
        "session.slave_local_login_with_password",
        "session.local_logout",
        "host.propose_new_master",
        "host.commit_new_master",
        "host.abort_new_master",
        "host.local_assert_healthy",
        "host.signal_networking_change",
        "host.local_management_reconfigure",
        "host.ha_xapi_healthcheck",
        "host.emergency_ha_disable",
        "host.management_disable",
        "host.get_system_status_capabilities",
        "host.is_in_emergency_mode",
        "host.shutdown_agent",
        "host.emergency_reset_server_certificate",
        "host.emergency_disable_tls_verification",
        "host.emergency_reenable_tls_verification",
        "host.emergency_clear_mandatory_guidance",
        "host.update_firewalld_service_status",
    }
)
"""What a host in emergency mode answers (sheet §1.3): exactly these names, never Async."""


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter after the session. `type` is a schema code; `optional` ones may be left out at the end."""

    name: str
    type: str
    optional: bool = False
    default: Any = None


@dataclass(frozen=True, slots=True)
class Method:
    """One call.

    `asynchronous`: has an Async form. `session_free`: takes no session. `db_free`: a local session may make it on a
    member without a master. `pool_internal`: only for pool and local sessions. `acts`: changes what runs, so that two
    masters doing it are harm. `result`: a schema code, "void", "any", or "record:CLASS" / "records:CLASS".
    """

    name: str
    handler: Callable[..., Any]
    params: tuple[Param, ...] = ()
    asynchronous: bool = False
    session_free: bool = False
    db_free: bool = False
    pool_internal: bool = False
    acts: bool = False
    result: str = "void"
    required: int = field(init=False)
    """How many parameters after the session it needs."""

    def __post_init__(self) -> None:
        """Count, once."""
        object.__setattr__(self, "required", sum(not p.optional for p in self.params))


class Call:
    """One call being executed: on which toolstack, for which session, under which task."""

    __slots__ = ("asynchronous", "cancelled", "local", "method", "session", "task", "ts")

    def __init__(self, ts: Toolstack, method: str, session: str, asynchronous: bool) -> None:
        self.ts = ts
        self.method = method
        self.session = session
        self.asynchronous = asynchronous
        self.local = False
        self.cancelled = False
        self.task = ts.lab.ref()

    @property
    def lab(self) -> Lab:
        """The lab."""
        return self.ts.lab

    @property
    def now(self) -> float:
        """Virtual UTC seconds."""
        return self.ts.lab.now

    @property
    def db(self) -> Database:
        """The database. On a member whose master vanished in the middle of a call there is none: INTERNAL_ERROR."""
        db = self.ts.db_now()
        if db is None:
            raise Failure("INTERNAL_ERROR", "Master_connection.Cannot_connect_to_master")
        return db

    @property
    def me(self) -> str:
        """Ref of the host that executes it."""
        return self.ts.me(self.db)

    @property
    def role(self) -> str | None:
        """The role of its session; None: everything is permitted (local root, or a local session)."""
        info = self.ts.sessions.get(self.session)
        return None if self.local or info is None else info.role

    @property
    def user(self) -> str:
        """Whose session it is."""
        info = self.ts.sessions.get(self.session)
        return "root" if info is None else info.user

    @property
    def operation(self) -> str:
        """Its name as an operation: "start_on"."""
        return self.method.split(".", 1)[1]


METHODS: dict[str, Method] = {}
_GENERIC: list[Callable[[str], Method | None]] = []
_found: dict[str, Method | None] = {}


def _params(text: str) -> tuple[Param, ...]:
    found = []
    for word in text.split():
        name, _, rest = word.partition(":")
        code, optional, default = rest.partition("=")
        value: Any = {
            "b": default == "true",
            "i": int(default or 0) if code == "i" else 0,
            "m": {},
            "f": 0.0,
            "set(VDI)": [],
        }.get(code, NULL if code in SCHEMA else default)
        found.append(Param(name, code, bool(optional), value))
    return tuple(found)


def method(name: str, params: str = "", **flags: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a handler in the table. `params`: words like "vm:VM force:b network:network=" (with = optional)."""

    def enter(handler: Callable[..., Any]) -> Callable[..., Any]:
        METHODS[name] = Method(name, handler, _params(params), **flags)
        return handler

    return enter


def generic(maker: Callable[[str], Method | None]) -> Callable[[str], Method | None]:
    """Enter a maker of methods by pattern (getters, setters), asked after the table."""
    _GENERIC.append(maker)
    return maker


def lookup(name: str) -> Method | None:
    """The method of that name, also spelled with an underscore (VM_get_all); None: unknown."""
    if name not in _found:
        _found[name] = _find(name) or (_find(name.replace("_", ".", 1)) if "." not in name else None)
        if _found[name] is None and "." not in name:
            for cls in sorted(SCHEMA, key=len, reverse=True):
                if name.startswith(f"{cls}_"):
                    _found[name] = _find(f"{cls}.{name[len(cls) + 1 :]}")
                    break
    return _found[name]


def _find(name: str) -> Method | None:
    if name in METHODS:
        return METHODS[name]
    for maker in _GENERIC:
        made = maker(name)
        if made is not None:
            return made
    return None


def result_type(name: str) -> str:
    """What a method answers, as a schema code; "any" for an unknown one. For whoever must encode it exactly."""
    found = lookup(name.removeprefix("Async."))
    if found is None:
        return "any"
    return "task" if name.startswith("Async.") else found.result


def _rpc(value: Any) -> str:
    """A value as ocaml-rpc prints it in its complaints."""
    if isinstance(value, bool):
        return f"B({str(value).lower()})"
    if isinstance(value, int):
        return f"I({value})"
    if isinstance(value, float):
        return f"F({value:g})"
    if isinstance(value, str):
        return f"S({value})"
    if isinstance(value, dict):
        return "Dict(" + ";".join(f"{k}:{_rpc(v)}" for k, v in value.items()) + ")"
    if isinstance(value, list):
        return "Enum(" + ";".join(_rpc(v) for v in value) + ")"
    return "N"


def convert(code: str, value: Any) -> Any:
    """A parameter from the wire. Raises INTERNAL_ERROR with XAPI's words when it is of another type (recording 02)."""
    if code == "b":
        if not isinstance(value, bool):
            raise _odd(f"Expected bool, got '{_rpc(value)}'")
        return value
    if code == "i":
        return _integer(value)
    if code == "f":
        try:
            return float(value)
        except (TypeError, ValueError):
            raise _odd(f"Expected float, got '{_rpc(value)}'") from None
    if code in ("m", "ops") or code.startswith(("map(", "record:")):
        if not isinstance(value, dict):
            raise _odd(f"Expecting Rpc.Dict, but found '{_rpc(value)}'")
        return value
    if code in ("S", "E") or code.startswith("set("):
        if not isinstance(value, list):
            raise _odd(f"Expecting Rpc.Enum, but found '{_rpc(value)}'")
        return value
    if not isinstance(value, str):
        raise _odd(f"Expected string, got '{_rpc(value)}'")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool):
        raise _odd(f"Expected int64, got '{_rpc(value)}'")
    try:
        return int(value)
    except (TypeError, ValueError):
        raise _odd("Int64.of_string") from None


def _odd(text: str) -> Failure:
    return Failure("INTERNAL_ERROR", f'Failure("{text}")')
