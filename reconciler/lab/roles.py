"""XAPI's roles: who may make which call (sheet §7.4), and the objects of the class `role`.

Roles are part of the toolstack, not of the database. Which role a call needs is stated by rules for getters, tags and
plain setters, and by name for what differs; the data model is what they are checked against.
"""

from __future__ import annotations

import uuid as uuids
from functools import cache

from reconciler.lab.calls import METHODS
from reconciler.lab.database import Record
from reconciler.lab.errors import Failure
from reconciler.lab.role_names import ROLES
from reconciler.lab.schema import NULL, SCHEMA, blank, is_later

ROOT = "pool-admin"
TASK_ANY = "/any"
"""What a call on somebody else's task needs is called like the call with this behind it; pool-operator has it."""

_NEEDS = {
    "read-only": """
        session.logout session.login_with_password task.set_progress task.set_status task.cancel task.destroy
        task.create event.inject event.from event.next VM.assert_agile VM.assert_can_boot_here
        VM.compute_memory_overhead host.compute_memory_overhead host.compute_free_memory message.get
        host.is_in_emergency_mode pool.is_slave system.isAlive system.methodHelp VM_appliance.assert_can_be_recovered
        """,
    "vm-operator": """
        pool.set_gui_config pool.add_to_gui_config pool.remove_from_gui_config VM.resume VM.suspend VM.hard_reboot
        VM.hard_shutdown VM.clean_reboot VM.shutdown VM.clean_shutdown VM.unpause VM.pause VM.start VBD.insert VBD.eject
        """,
    "vm-admin": "network.set_MTU VM.clone VM.destroy VM.set_is_a_template VM.set_VCPUs_max VM.set_VCPUs_at_startup",
    "vm-power-admin": """
        VM.set_memory VM.set_memory_limits VM.pool_migrate VM.resume_on VM.start_on VM.snapshot VM.set_affinity SR.scan
        """,
    "pool-operator": """
        VM.set_appliance VM.set_suspend_VDI VM.set_order VM.set_shutdown_delay VM.set_start_delay
        VM.set_ha_restart_priority VM.power_state_reset VM_appliance.start VM_appliance.clean_shutdown
        VM_appliance.hard_shutdown VM_appliance.shutdown VM_appliance.create VM_appliance.destroy
        """,
    "pool-admin": """
        session.local_logout session.slave_local_login_with_password session.set_other_config
        session.add_to_other_config session.remove_from_other_config host.call_plugin host.backup_rrds host.sync_data
        host.emergency_clear_mandatory_guidance host.emergency_reenable_tls_verification
        host.propose_new_master host.commit_new_master host.abort_new_master host.local_assert_healthy
        host.ha_xapi_healthcheck subject.add_to_roles subject.remove_from_roles
        """,
}
_BY_NAME = {name: role for role, names in _NEEDS.items() for name in names.split()}
_OF_VM_ADMINS = frozenset(
    ("VM", "VM_group", "VM_metrics", "VM_guest_metrics", "VIF", "VIF_metrics", "VDI", "VBD", "VBD_metrics", "console")
)
_OF_POOL_ADMINS = frozenset(("session", "user", "subject", "role", "PUSB", "USB_group", "VUSB"))


@cache
def needed(name: str) -> str:
    """The least role that may make the call."""
    known = _BY_NAME.get(name)
    if known is not None:
        return known
    cls, _, verb = name.partition(".")
    if verb.startswith("get_") or verb == "get":
        return "pool-operator" if cls == "secret" and verb != "get_other_config" else "read-only"
    if verb in ("set_tags", "add_tags", "remove_tags"):
        return "vm-operator"
    if cls in _OF_POOL_ADMINS:
        return "pool-admin"
    return "vm-admin" if cls in _OF_VM_ADMINS else "pool-operator"


def includes(role: str, other: str) -> bool:
    """Whoever has `role` has what `other` has."""
    return ROLES.index(role) >= ROLES.index(other)


def check(name: str, role: str, *, suffix: str = "") -> None:
    """Raises RBAC_PERMISSION_DENIED [permission; message] unless the role may make the call (sheet §7.4)."""
    least = "pool-operator" if suffix else needed(name)
    if not includes(role, least):
        able = ", ".join(ROLES[ROLES.index(least) :])
        text = f"No permission in user session. (Roles with this permission: {able})"
        raise Failure("RBAC_PERMISSION_DENIED", f"{name.lower()}{suffix}", text)


def permits(role: str, name: str) -> bool:
    """The role may make the call."""
    return includes(role, needed(name))


def ref_of(name: str) -> str:
    """The reference of a role: the same in every pool."""
    return f"OpaqueRef:{_uuid(name)}"


def _uuid(name: str) -> str:
    return str(uuids.uuid5(uuids.NAMESPACE_OID, f"role {name}"))


@cache
def permissions() -> dict[str, str]:
    """Permission -> the least role with it: one for every call, as far as the lab has it."""
    found = {name.lower(): needed(name) for name in METHODS if "." in name and not is_later(name)}
    for cls, fields in SCHEMA.items():
        verbs = [f"get_{field}" for field in fields] + ["get_record", "get_by_uuid", "get_all", "get_all_records"]
        for field in fields.values():
            if field.writable:
                verbs.append(f"set_{field.name}")
                if field.is_map:
                    verbs += [f"add_to_{field.name}", f"remove_from_{field.name}"]
                elif field.is_set:
                    verbs += [f"add_{field.name}", f"remove_{field.name}"]
        names = (f"{cls}.{verb}" for verb in verbs)
        found.update({name.lower(): needed(name) for name in names if not is_later(name)})
    return found


@cache
def records() -> dict[str, Record]:
    """Every role by reference: the internal ones are the permissions, which the six others are made of."""
    rights = permissions()
    found: dict[str, Record] = {}
    for right in rights:
        found[ref_of(right)] = {**blank("role"), "uuid": _uuid(right), "name_label": right, "is_internal": True}
    for role in ROLES:
        parts = [ref_of(right) for right, least in rights.items() if includes(role, least)]
        found[ref_of(role)] = {**blank("role"), "uuid": _uuid(role), "name_label": role, "subroles": parts}
    return found


def subject(name: str, role: str) -> tuple[str, Record]:
    """Reference and record of an account of the directory."""
    sid = f"S-1-5-21-{uuids.uuid5(uuids.NAMESPACE_OID, f'subject {name}').int % 10**9}"
    uuid = str(uuids.uuid5(uuids.NAMESPACE_OID, f"subject {name}"))
    record = {
        **blank("subject"),
        "uuid": uuid,
        "subject_identifier": sid,
        "other_config": {"subject-name": name, "subject-is-group": "false"},
        "roles": [ref_of(role)],
    }
    return f"OpaqueRef:{uuid}", record


def role_of(record: Record) -> str | None:
    """The strongest role of a subject; None: it has none."""
    names = {ref_of(role): role for role in ROLES}
    mine = [names[ref] for ref in record["roles"] if ref in names]
    return max(mine, key=ROLES.index, default=None)


def checked(accounts: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Accounts by name: (password, role). Raises ValueError for a role that there is not, and for root."""
    for name, (_, role) in accounts.items():
        if role not in ROLES:
            raise ValueError(f"{name}: no role {role}: there are {', '.join(ROLES)}")
        if name in ("", "root", NULL):
            raise ValueError(f"{name or 'an account without a name'}: choose another name: root is there already")
    return dict(accounts)
