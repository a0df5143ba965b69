"""Calls of no class, and of classes that the lab has nothing to say about but must not refuse."""

from __future__ import annotations

from reconciler.lab.calls import METHODS, Call, lookup, method
from reconciler.lab.schema import SCHEMA, is_later


@method("system.listMethods", session_free=True, db_free=True, result="S")
def list_methods(call: Call) -> list[str]:
    """Every name that answers, without Async forms (recording 01)."""
    names = {name for name in METHODS if not name.startswith("system.")}
    for cls, fields in SCHEMA.items():
        verbs = ["get_all", "get_all_records", "get_record", "get_by_uuid", "get_by_name_label"]
        for field in fields:
            verbs += [f"get_{field}", f"set_{field}", f"add_to_{field}", f"remove_from_{field}"]
            verbs += [f"add_{field}", f"remove_{field}"]
        names |= {f"{cls}.{verb}" for verb in verbs if lookup(f"{cls}.{verb}") is not None}
    return sorted(name for name in names if call.lab.groups or not is_later(name))
