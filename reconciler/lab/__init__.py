"""A simulated XenServer pool: a physical world, the recorded one that XAPI answers from, and a monitor of harm.

Imports nothing of the rest of the package. Lab is the whole of it; what it serves and how is for others to say.
The names are loaded when they are first used: a fence agent or `xenrec lab status` needs none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconciler.lab.calls import METHODS, lookup, result_type
    from reconciler.lab.engine import Lab
    from reconciler.lab.errors import BmcSilent, Failure
    from reconciler.lab.hosts import LabHost, Reply
    from reconciler.lab.physical import Domain, Harm
    from reconciler.lab.schedule import Schedule, ScriptError
    from reconciler.lab.schema import NULL, SCHEMA, date_fields, int_fields
    from reconciler.lab.seed import Seed
    from reconciler.lab.timing import Release, Timing

__all__ = [
    "METHODS",
    "NULL",
    "SCHEMA",
    "BmcSilent",
    "Domain",
    "Failure",
    "Harm",
    "Lab",
    "LabHost",
    "Release",
    "Reply",
    "Schedule",
    "ScriptError",
    "Seed",
    "Timing",
    "date_fields",
    "int_fields",
    "lookup",
    "result_type",
]

_HOMES = {
    "calls": ("METHODS", "lookup", "result_type"),
    "engine": ("Lab",),
    "errors": ("BmcSilent", "Failure"),
    "hosts": ("LabHost", "Reply"),
    "physical": ("Domain", "Harm"),
    "schedule": ("Schedule", "ScriptError"),
    "schema": ("NULL", "SCHEMA", "date_fields", "int_fields"),
    "seed": ("Seed",),
    "timing": ("Release", "Timing"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOME[name] in ("calls", "hosts"):
        import_module("reconciler.lab.engine")  # which has every call entered in the table
    found = getattr(import_module(f"reconciler.lab.{_HOME[name]}"), name)
    globals()[name] = found
    return found
