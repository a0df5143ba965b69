"""The calls, by class. Importing this package enters them all in the table of calls."""

from reconciler.lab.api import (
    appliance,
    event,
    generic,
    hand_over,
    host,
    odd,
    pool,
    role,
    session,
    storage,
    system,
    task,
    vm,
    vm_copy,
    vm_group,
    vm_move,
)

__all__ = [
    "appliance",
    "event",
    "generic",
    "hand_over",
    "host",
    "odd",
    "pool",
    "role",
    "session",
    "storage",
    "system",
    "task",
    "vm",
    "vm_copy",
    "vm_group",
    "vm_move",
]
