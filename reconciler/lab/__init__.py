"""A simulated XenServer pool: a physical world, the recorded one that XAPI answers from, and a monitor of harm.

Imports nothing of the rest of the package. Lab is the whole of it; what it serves and how is for others to say.
"""

from reconciler.lab import api as _api  # enters every call in the table
from reconciler.lab.calls import METHODS, lookup, result_type
from reconciler.lab.engine import Lab
from reconciler.lab.errors import BmcSilent, Failure
from reconciler.lab.hosts import LabHost, Reply
from reconciler.lab.physical import Domain, Harm
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
    "Seed",
    "Timing",
    "date_fields",
    "int_fields",
    "lookup",
    "result_type",
]

assert _api
