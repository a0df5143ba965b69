"""The XenAPI data model (datamodel.py) as the lab uses it: fields by class, what points to what, blank records."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from reconciler.lab.datamodel import CLASSES

NULL = "OpaqueRef:NULL"
NEVER = "19700101T00:00:00Z"

_SCALARS = {"s": "", "e": "", "i": 0, "f": 0.0, "b": False, "d": NEVER}
_MAPS = ("m", "ops")
_SETS = ("S", "E")


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `type` is a code as in datamodel.py; `writable` fields have a plain setter."""

    name: str
    type: str
    default: Any
    writable: bool

    @property
    def is_map(self) -> bool:
        """A map: has add_to_ and remove_from_ when writable."""
        return self.type in _MAPS or self.type.startswith("map(")

    @property
    def is_set(self) -> bool:
        """A set: has add_ and remove_ when writable."""
        return self.type in _SETS or self.type.startswith("set(")

    @property
    def is_ref(self) -> bool:
        """A reference to an object of the class named by `type`."""
        return self.type in SCHEMA

    def fresh(self) -> Any:
        """A default value that the caller may keep."""
        if self.is_map:
            return {}
        return [] if self.is_set else self.default


def _convert(code: str, text: str) -> Any:
    if code == "b":
        return text == "true"
    if code == "i":
        return int(text)
    return float(text) if code == "f" else text


def _parse() -> dict[str, dict[str, Field]]:
    schema: dict[str, dict[str, Field]] = {}
    fields: dict[str, Field] = {}
    for line in CLASSES.strip().splitlines():
        if not line.startswith(" "):
            fields = schema.setdefault(line, {})
            continue
        for word in line.split():
            name, _, rest = word.rstrip("!").partition(":")
            code, _, default = rest.partition("=")
            value = (
                _convert(code, default)
                if default
                else _SCALARS.get(code, "" if word.rstrip("!").endswith("=") else NULL)
            )
            fields[name] = Field(name, code, value, word.endswith("!"))
    return schema


SCHEMA: dict[str, dict[str, Field]] = {}
SCHEMA.update(_parse())

LATER = {"VM": frozenset({"groups"})}
"""Fields that came after 24.16: in no record of a lab that imitates it, as it has no objects of the class VM_group."""


def is_later(name: str) -> bool:
    """The call came after 24.16, with groups of VMs."""
    return name.startswith("VM_group.") or name in ("VM.get_groups", "VM.set_groups")


CLASS_OF = {name.lower(): name for name in SCHEMA}
"""Lower-case name, as event.from spells it, to the class."""

RELATIONS: dict[tuple[str, str], tuple[str, str]] = {
    ("VBD", "VM"): ("VM", "VBDs"),
    ("VBD", "VDI"): ("VDI", "VBDs"),
    ("VDI", "SR"): ("SR", "VDIs"),
    ("VDI", "snapshot_of"): ("VDI", "snapshots"),
    ("PBD", "SR"): ("SR", "PBDs"),
    ("PBD", "host"): ("host", "PBDs"),
    ("VIF", "VM"): ("VM", "VIFs"),
    ("VIF", "network"): ("network", "VIFs"),
    ("PIF", "network"): ("network", "PIFs"),
    ("PIF", "host"): ("host", "PIFs"),
    ("VM", "resident_on"): ("host", "resident_VMs"),
    ("VM", "snapshot_of"): ("VM", "snapshots"),
    ("VM", "parent"): ("VM", "children"),
    ("VM", "appliance"): ("VM_appliance", "VMs"),
    ("host_cpu", "host"): ("host", "host_CPUs"),
    ("console", "VM"): ("VM", "consoles"),
    ("crashdump", "VM"): ("VM", "crash_dumps"),
    ("VGPU", "VM"): ("VM", "VGPUs"),
    ("VTPM", "VM"): ("VM", "VTPMs"),
    ("VUSB", "VM"): ("VM", "VUSBs"),
    ("VUSB", "USB_group"): ("USB_group", "VUSBs"),
    ("PUSB", "USB_group"): ("USB_group", "PUSBs"),
    ("PUSB", "host"): ("host", "PUSBs"),
    ("VGPU", "GPU_group"): ("GPU_group", "VGPUs"),
    ("VGPU", "resident_on"): ("PGPU", "resident_VGPUs"),
    ("PGPU", "GPU_group"): ("GPU_group", "PGPUs"),
    ("network_sriov", "logical_PIF"): ("PIF", "sriov_logical_PIF_of"),
    ("network_sriov", "physical_PIF"): ("PIF", "sriov_physical_PIF_of"),
    ("PCI", "host"): ("host", "PCIs"),
    ("PGPU", "host"): ("host", "PGPUs"),
    ("task", "subtask_of"): ("task", "subtasks"),
}
"""(class, field) that points to an object -> (its class, the set that XAPI regenerates there from the other side)."""

CHILDREN: dict[str, tuple[tuple[str, str, str], ...]] = {}
"""Class -> (pointing field, class pointed to, set there)."""
for (_cls, _field), (_parent, _set) in RELATIONS.items():
    CHILDREN[_cls] = (*CHILDREN.get(_cls, ()), (_field, _parent, _set))


@cache
def containers(cls: str) -> tuple[str, ...]:
    """Names of the map and set fields of a class: what a copy of a record must copy."""
    return tuple(f.name for f in SCHEMA[cls].values() if f.is_map or f.is_set)


@cache
def int_fields(cls: str) -> frozenset[str]:
    """Names of the int fields of a class: XML-RPC sends these as strings."""
    return frozenset(f.name for f in SCHEMA[cls].values() if f.type == "i")


@cache
def date_fields(cls: str) -> frozenset[str]:
    """Names of the date fields of a class: XML-RPC sends these as dateTime.iso8601, JSON as plain strings."""
    return frozenset(f.name for f in SCHEMA[cls].values() if f.type == "d")


def blank(cls: str) -> dict[str, Any]:
    """A record of the class with every field at its default."""
    record = dict(_defaults(cls))
    for name in containers(cls):
        if name not in record:
            continue
        record[name] = type(record[name])()
    return record


@cache
def _defaults(cls: str) -> dict[str, Any]:
    later = LATER.get(cls, frozenset())
    return {name: field.fresh() for name, field in SCHEMA[cls].items() if name not in later}


def normalise(code: str, value: Any) -> Any:
    """A value in the lab's own form: ints as ints (databases may hold them as strings), "" for a ref as NULL.

    Raises ValueError or TypeError when the value cannot be of that type.
    """
    if code == "i":
        return int(value)
    if code == "f":
        return float(value)
    if code == "b":
        return value if isinstance(value, bool) else str(value).lower() == "true"
    if code in SCHEMA:
        return value or NULL
    if code == "set(i)":
        return [int(v) for v in value]
    if code == "map(s>i)":
        return {k: int(v) for k, v in value.items()}
    if code in _SETS or code.startswith("set("):
        return list(value)
    if code in _MAPS or code.startswith("map("):
        return dict(value)
    return value


def copy_record(cls: str, record: dict[str, Any]) -> dict[str, Any]:
    """A copy that shares nothing mutable with the database."""
    copied = dict(record)
    for name in containers(cls):
        value = copied.get(name)
        if value:
            copied[name] = copy_value(value)
        elif value is not None:
            copied[name] = [] if value.__class__ is list else type(value)()
    return copied


def copy_value(value: Any) -> Any:
    """A copy of any JSON-like value."""
    if isinstance(value, dict):
        return {k: v if v.__class__ is str else copy_value(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [v if v.__class__ is str else copy_value(v) for v in value]
    return value
