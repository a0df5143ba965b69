"""Getters and setters that every class has, made from the schema."""

from __future__ import annotations

from typing import Any

from reconciler.lab.api.role import role_record
from reconciler.lab.calls import Call, Method, Param, convert, generic
from reconciler.lab.database import Record, Records
from reconciler.lab.errors import Failure
from reconciler.lab.records import write_vm
from reconciler.lab.schema import SCHEMA, Field, copy_record, copy_value

NO_GET_ALL = frozenset({"session", "message", "user"})
"""Classes without get_all (message has its own); without get_by_name_label, though they have the field: pool."""
REMOVED = frozenset({"VIF_metrics", "VBD_metrics"})
_OPERATIONS = """
snapshot clone copy create_template revert checkpoint snapshot_with_quiesce provision start start_on pause
unpause clean_shutdown clean_reboot hard_shutdown power_state_reset hard_reboot suspend csvm resume
resume_on pool_migrate migrate_send get_boot_record send_sysrq send_trigger query_services shutdown
call_plugin changing_memory_live awaiting_memory_live changing_dynamic_range changing_static_range
changing_memory_limits changing_shadow_memory changing_shadow_memory_live changing_VCPUs changing_VCPUs_live
changing_NVRAM assert_operation_valid data_source_op update_allowed_operations make_into_template import
export metadata_export reverting destroy create_vtpm
"""
OPERATIONS = frozenset(_OPERATIONS.split())
"""Keys that VM.blocked_operations may have."""


def record_of(call: Call, cls: str, ref: str) -> Record:
    """A record to answer with. Raises HANDLE_INVALID."""
    if cls == "message":
        found = call.ts.host.messages.get(ref)
        if found is None:
            raise Failure("HANDLE_INVALID", cls, ref)
        return dict(found)
    if cls == "role":
        return copy_record(cls, role_record(ref))
    return copy_record(cls, call.db.get(cls, ref))


@generic
def getters(name: str) -> Method | None:
    """get_all, get_all_records, get_record, get_by_uuid, get_by_name_label, get_<field> of any class."""
    cls, _, verb = name.partition(".")
    if cls not in SCHEMA or not verb.startswith("get_"):
        return None
    if cls in REMOVED and verb in ("get_all", "get_all_records"):
        return Method(name, _removed, result="any")
    if verb == "get_all" and cls not in NO_GET_ALL:
        return Method(name, lambda call: list(call.db.tables[cls]), result=f"set({cls})")
    if verb == "get_all_records" and cls not in NO_GET_ALL:
        return Method(name, lambda call: Records(cls, call.db.tables[cls]), result=f"records:{cls}")
    one = (Param("self", cls),)
    if verb == "get_record":
        return Method(name, lambda call, ref: record_of(call, cls, ref), one, result=f"record:{cls}")
    if verb == "get_by_uuid":
        return Method(name, lambda call, uuid: _by_uuid(call, cls, uuid), (Param("uuid", "s"),), result=cls)
    if verb == "get_by_name_label" and "name_label" in SCHEMA[cls] and cls != "pool":
        return Method(
            name, lambda call, label: _by_name(call, cls, label), (Param("label", "s"),), result=f"set({cls})"
        )
    field = SCHEMA[cls].get(verb.removeprefix("get_"))
    if field is None or cls in ("session", "message"):
        return None

    def get(call: Call, ref: str) -> Any:
        return copy_value(record_of(call, cls, ref)[field.name])

    return Method(name, get, one, result=field.type)


def _removed(_call: Call) -> None:
    raise Failure("MESSAGE_REMOVED")


def _by_uuid(call: Call, cls: str, uuid: str) -> str:
    if cls == "message":
        for ref, record in call.ts.host.messages.items():
            if record["uuid"] == uuid:
                return ref
        raise Failure("UUID_INVALID", cls, uuid)
    found = call.db.by_uuid(cls, uuid)
    if found is None:
        raise Failure("UUID_INVALID", cls, uuid)
    return found


def _by_name(call: Call, cls: str, label: str) -> list[str]:
    return [ref for ref, r in call.db.tables[cls].items() if r["name_label"] == label]


@generic
def setters(name: str) -> Method | None:
    """set_<field>, add_to_<map>, remove_from_<map>, add_<set>, remove_<set> of writable fields."""
    cls, _, verb = name.partition(".")
    if cls not in SCHEMA:
        return None
    for prefix, maker in (("set_", _set), ("add_to_", _add_to), ("remove_from_", _remove_from)):
        field = SCHEMA[cls].get(verb.removeprefix(prefix))
        if verb.startswith(prefix) and field is not None and field.writable:
            return maker(name, cls, field)
    for prefix in ("add_", "remove_"):
        field = SCHEMA[cls].get(verb.removeprefix(prefix))
        if verb.startswith(prefix) and field is not None and field.writable and field.is_set:
            return _member(name, cls, field, add=prefix == "add_")
    return None


def _write(call: Call, cls: str, ref: str, field: Field, value: Any) -> None:
    if cls == "VM" and field.name == "blocked_operations":
        write_vm(call.db, ref, blocked_operations=value)
    else:
        call.db.update(cls, ref, **{field.name: value})


def _check(field: Field, value: Any) -> None:
    if field.name in ("order", "start_delay", "shutdown_delay") and value < 0:
        raise Failure("INVALID_VALUE", f"{field.name} must be non-negative", str(value))
    if field.name == "ha_restart_priority" and value not in ("", "restart", "best-effort"):
        raise Failure("INVALID_VALUE", "ha_restart_priority", value)
    if field.name == "blocked_operations" and not set(value) <= OPERATIONS:
        raise Failure("INTERNAL_ERROR", 'Failure("Unknown tag/contents")')


def _set(name: str, cls: str, field: Field) -> Method:
    def handler(call: Call, ref: str, value: Any) -> None:
        call.db.get(cls, ref)
        _check(field, value)
        _write(call, cls, ref, field, value)

    return Method(name, handler, (Param("self", cls), Param("value", field.type)))


def _key(field: Field) -> str:
    """Type of a map's keys."""
    return "e" if field.type.startswith("map(e>") else "s"


def _add_to(name: str, cls: str, field: Field) -> Method | None:
    if not field.is_map:
        return None

    def handler(call: Call, ref: str, key: str, value: Any) -> None:
        current = call.db.get(cls, ref)[field.name]
        if key == "":
            raise Failure("INTERNAL_ERROR", "Db_exn.Empty_key_in_map")
        _check(field, {key: value})
        if key in current:
            raise Failure("MAP_DUPLICATE_KEY", cls, field.name, ref, key)
        _write(call, cls, ref, field, {**current, key: value})

    return Method(name, handler, (Param("self", cls), Param("key", _key(field)), Param("value", "s")))


def _remove_from(name: str, cls: str, field: Field) -> Method | None:
    if not field.is_map:
        return None

    def handler(call: Call, ref: str, key: str) -> None:
        current = call.db.get(cls, ref)[field.name]
        if key in current:
            _write(call, cls, ref, field, {k: v for k, v in current.items() if k != key})

    return Method(name, handler, (Param("self", cls), Param("key", _key(field))))


def _member(name: str, cls: str, field: Field, *, add: bool) -> Method:
    def handler(call: Call, ref: str, value: Any) -> None:
        current = call.db.get(cls, ref)[field.name]
        item = convert("s", value)
        if add and item not in current:
            _write(call, cls, ref, field, [*current, item])
        elif not add and item in current:
            _write(call, cls, ref, field, [v for v in current if v != item])

    return Method(name, handler, (Param("self", cls), Param("value", "s")))
