"""Whether an answer is of the shape that XAPI's data model promises: nothing else goes any further.

Only what this room reads is looked at. An answer of another shape counts as no answer: whoever gives it is not the
master that we know, or is ill.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from reconciler.core.port import FaultKind, Json, TransportFault

MOST = 1_000_000_000
"""Seconds, bytes or what else a field counts here: more is nonsense."""


def _is_text(value: Json) -> bool:
    return isinstance(value, str)


def _is_flag(value: Json) -> bool:
    return isinstance(value, bool)


def _is_map(value: Json) -> bool:
    return isinstance(value, dict) and all(isinstance(k, str) and isinstance(v, str) for k, v in value.items())


def _is_number(value: Json) -> bool:
    """An int, also as text: the wire has had both (sheet §7.1)."""
    if isinstance(value, bool):
        return False
    if isinstance(value, str):
        return value.removeprefix("-").isdecimal() and len(value) < 12
    return isinstance(value, int | float) and math.isfinite(value) and abs(value) < MOST


_TEXTS = [
    *("address", "affinity", "default_SR", "ha_restart_priority", "host", "master", "metrics", "name_label"),
    *("power_state", "resident_on", "suspend_image_SR", "suspend_SR", "uuid"),
]
_FLAGS = ["enabled", "ha_enabled", "is_a_snapshot", "is_a_template", "is_control_domain", "live"]
_MAPS = ["blocked_operations", "current_operations", "other_config"]
_NUMBERS = ["start_delay", "shutdown_delay"]
_FIELDS: dict[str, tuple[Callable[[Json], bool], str]] = {
    **dict.fromkeys(_TEXTS, (_is_text, "a text")),
    **dict.fromkeys(_FLAGS, (_is_flag, "true or false")),
    **dict.fromkeys(_MAPS, (_is_map, "a map of texts")),
    **dict.fromkeys(_NUMBERS, (_is_number, "a number")),
}


def checked(method: str, value: Json) -> Json:
    """The answer itself. Raises TransportFault(PROTOCOL) when it can't be an answer to that method."""
    name = method.rpartition(".")[2]
    why = ""
    if name == "get_all_records":
        why = _not_records(value)
    elif name == "get_record":
        why = _not_record(value)
    elif name == "get_by_uuid":
        why = "" if isinstance(value, str) and value else "it is no ref"
    elif name == "recover_slaves":
        why = "" if isinstance(value, list) and all(isinstance(ref, str) for ref in value) else "it is no list of refs"
    elif name == "assert_can_boot_here":
        why = "" if value in ("", None) else "it is not silence, which means yes"
    elif name == "get_other_config":
        why = "" if _is_map(value) else "it is no map of texts"
    if why:
        raise TransportFault(FaultKind.PROTOCOL, f"{method} was answered with nonsense: {why}", sent=True)
    return value


def _not_records(value: Json) -> str:
    if not isinstance(value, dict) or not all(isinstance(ref, str) for ref in value):
        return "it is no map of records"
    return next((why for record in value.values() if (why := _not_record(record))), "")


def _not_record(value: Json) -> str:
    """Why it is no record; a field that is absent is one that this release does not have."""
    if not isinstance(value, dict):
        return "it is no record"
    for name, found in value.items():
        check = _FIELDS.get(name)
        if check is not None and not check[0](found):
            return f"{name} is not {check[1]}"
    return ""
