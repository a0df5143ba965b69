"""Roles and the subjects that have them (sheet §7.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reconciler.lab.calls import Call, method
from reconciler.lab.database import Record
from reconciler.lab.errors import Failure
from reconciler.lab.role_names import ROLES
from reconciler.lab.roles import permissions, records, ref_of
from reconciler.lab.schema import copy_record


def role_record(ref: str) -> Record:
    """A role. Raises HANDLE_INVALID."""
    found = records().get(ref)
    if found is None:
        raise Failure("HANDLE_INVALID", "role", ref)
    return found


@method("role.get_all", result="set(role)")
def get_all(_call: Call) -> list[str]:
    """Permissions too, which are internal roles (recording 01)."""
    return list(records())


@method("role.get_all_records", result="records:role")
def get_all_records(_call: Call) -> dict[str, Any]:
    """The same with what they are."""
    return {ref: copy_record("role", record) for ref, record in records().items()}


@method("role.get_by_uuid", "uuid:s", result="role")
def get_by_uuid(_call: Call, uuid: str) -> str:
    """Raises UUID_INVALID."""
    ref = f"OpaqueRef:{uuid}"
    if ref not in records():
        raise Failure("UUID_INVALID", "role", uuid)
    return ref


@method("role.get_by_name_label", "label:s", result="set(role)")
def get_by_name_label(_call: Call, label: str) -> list[str]:
    """None or one."""
    ref = ref_of(label)
    return [ref] if ref in records() else []


@method("role.get_permissions", "self:role", result="set(role)")
def get_permissions(_call: Call, role: str) -> list[str]:
    """Of a permission: itself."""
    record = role_record(role)
    return list(record["subroles"]) or [role]


@method("role.get_permissions_name_label", "self:role", result="S")
def get_permissions_name_label(call: Call, role: str) -> list[str]:
    """By name."""
    return [role_record(ref)["name_label"] for ref in get_permissions(call, role)]


@method("role.get_by_permission", "permission:role", result="set(role)")
def get_by_permission(_call: Call, permission: str) -> list[str]:
    """The roles that have it."""
    role_record(permission)
    return [ref_of(role) for role in ROLES if permission in records()[ref_of(role)]["subroles"]]


@method("role.get_by_permission_name_label", "label:s", result="set(role)")
def get_by_permission_name_label(call: Call, label: str) -> list[str]:
    """The roles that have it."""
    return get_by_permission(call, ref_of(label)) if label in permissions() else []


def _change(call: Call, subject: str, change: Callable[[list[str]], list[str]]) -> None:
    call.db.update("subject", subject, roles=change(list(call.db.get("subject", subject)["roles"])))


@method("subject.add_to_roles", "self:subject role:role")
def add_to_roles(call: Call, subject: str, role: str) -> None:
    """Holds from the subject's next login on."""
    role_record(role)

    def add(roles: list[str]) -> list[str]:
        if role in roles:
            raise Failure("ROLE_ALREADY_EXISTS")
        return [*roles, role]

    _change(call, subject, add)


@method("subject.remove_from_roles", "self:subject role:role")
def remove_from_roles(call: Call, subject: str, role: str) -> None:
    """Holds from the subject's next login on."""

    def remove(roles: list[str]) -> list[str]:
        if role not in roles:
            raise Failure("ROLE_NOT_FOUND")
        return [r for r in roles if r != role]

    _change(call, subject, remove)
