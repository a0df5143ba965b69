"""Calls that a client seldom makes, as far as recordings show what XAPI answers to them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from reconciler.lab.calls import Call, Method, Param, generic, method
from reconciler.lab.database import Record
from reconciler.lab.errors import Failure
from reconciler.lab.forward import forward
from reconciler.lab.kernel import Steps
from reconciler.lab.schema import SCHEMA, copy_record

if TYPE_CHECKING:
    from reconciler.lab.toolstack import Toolstack

QUERY = re.compile(r'field "(\w+)" = "([^"]*)"\Z')


def _nothing(ts: Toolstack) -> Steps:
    yield ts.lab.timing.call


@method("system.isAlive")
def is_alive(_call: Call) -> None:
    """Takes a session: its parameter is refused as one (recording 01)."""


@method("system.methodHelp", result="s")
def method_help(_call: Call) -> str:
    """The same."""
    return ""


@method("host.emergency_clear_mandatory_guidance")
def emergency_clear_mandatory_guidance(call: Call) -> None:
    """Reads the host's record, so it hangs where the database is away (recording 03)."""
    call.ts.assert_known()


@method("host.emergency_reenable_tls_verification")
def emergency_reenable_tls_verification(call: Call) -> None:
    """The same."""
    call.ts.assert_known()


@method("host.sync_data", "host:host")
def sync_data(call: Call, host: str) -> None:
    """Answers for a dead host too (recording 03)."""
    call.db.get("host", host)


@method("host.backup_rrds", "host:host delay:f")
def backup_rrds(call: Call, host: str, delay: float) -> Steps:
    """Forwarded."""
    yield from forward(call, host, _nothing)


@method("host.call_plugin", "host:host plugin:s fn:s args:m", asynchronous=True, result="s")
def call_plugin(call: Call, host: str, plugin: str, fn: str, args: dict[str, str]) -> Steps:
    """No plugin is installed."""
    yield from forward(call, host, _nothing)
    raise Failure("XENAPI_MISSING_PLUGIN", plugin)


@method("pool.ha_compute_max_host_failures_to_tolerate", result="i")
def ha_compute_max_host_failures_to_tolerate(call: Call) -> int:
    """With nothing protected every host may fail (recording 02). Protected VMs are not planned for here: what they
    need is left out of account."""
    return len(call.db.tables["host"])


@method("PBD.destroy", "self:PBD", asynchronous=True)
def pbd_destroy(call: Call, pbd: str) -> None:
    """Only of an unplugged one."""
    if call.db.get("PBD", pbd)["currently_attached"]:
        raise Failure("OPERATION_NOT_ALLOWED", "PBD is currently attached")
    call.db.delete("PBD", pbd)


def _assert_unplugged(call: Call, sr: str) -> Record:
    record = call.db.get("SR", sr)
    pbds = [call.db.find("PBD", ref) for ref in record["PBDs"]]
    if any(pbd is not None and pbd["currently_attached"] for pbd in pbds):
        raise Failure("SR_HAS_PBD", sr)
    return record


@method("SR.forget", "sr:SR", asynchronous=True)
def sr_forget(call: Call, sr: str) -> None:
    """The records go, the storage stays."""
    record = _assert_unplugged(call, sr)
    for ref in record["VDIs"]:
        call.db.delete("VDI", ref)
    for ref in record["PBDs"]:
        call.db.delete("PBD", ref)
    call.db.delete("SR", sr)


@method("SR.destroy", "sr:SR", asynchronous=True)
def sr_destroy(call: Call, sr: str) -> None:
    """Refused while plugged; this lab destroys no storage beyond that."""
    if _assert_unplugged(call, sr)["VDIs"]:
        raise Failure("SR_NOT_EMPTY")
    sr_forget(call, sr)


@method("event.next", result="any")
def event_next(_call: Call) -> None:
    """The old interface: nobody ever registers."""
    raise Failure("SESSION_NOT_REGISTERED", "trackid=0123456789abcdef0123456789abcdef")


@generic
def get_all_records_where(name: str) -> Method | None:
    """`field "NAME" = "VALUE"`, and `true`: the forms that clients use."""
    cls, _, verb = name.partition(".")
    if cls not in SCHEMA or verb != "get_all_records_where":
        return None

    def where(call: Call, query: str) -> dict[str, Record]:
        table = call.db.tables[cls]
        found = QUERY.match(query.strip())
        if found is None:
            return {ref: copy_record(cls, r) for ref, r in table.items()}
        field, wanted = found[1], found[2]
        if field not in SCHEMA[cls]:
            raise Failure("INTERNAL_ERROR", "missing field", field, "")
        return {ref: copy_record(cls, r) for ref, r in table.items() if _text(r.get(field, "")) == wanted}

    return Method(name, where, (Param("expr", "s"),), result=f"records:{cls}")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
