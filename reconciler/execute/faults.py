"""XAPI's errors as an executor meets them: what to do about each, and one sentence for people (sheet §12)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from reconciler.core.port import XapiFailure

NameOf = Callable[[str, str], str]
"""(XenAPI class, ref or uuid) -> a name for people."""


class Turn(StrEnum):
    """What an error asks for."""

    RETRY = "retry"  # it passes by itself: later, a bounded number of times
    PERMANENT = "permanent"  # until somebody changes something
    LOOK = "look"  # what we believed is wrong: read again before saying anything


@dataclass(frozen=True, slots=True)
class Explained:
    """An error, for the loop and for people."""

    turn: Turn
    sentence: str
    remedy: str = ""


# code -> (turn, sentence with {0}, {1}… for its parameters, XenAPI classes of the parameters that are refs, remedy)
_R, _P, _L = Turn.RETRY, Turn.PERMANENT, Turn.LOOK
_TABLE: dict[str, tuple[Turn, str, tuple[str, ...], str]] = {
    "HOST_DISABLED": (
        _R,
        "{0} is disabled",
        ("host",),
        "if it stays so: xe host-enable host={0}; if that does not help, on that host: xe-toolstack-restart",
    ),
    "HOST_NOT_LIVE": (
        _R,
        "the target host is not live",
        (),
        "xe host-list params=name-label,enabled,host-metrics-live",
    ),
    "HOST_OFFLINE": (_P, "{0} is offline", ("host",), ""),
    "CANNOT_CONTACT_HOST": (_R, "the master cannot reach {0}", ("host",), "check the network between them"),
    "HOST_STILL_BOOTING": (_R, "the host's toolstack is still starting", (), ""),
    "HOST_EVACUATE_IN_PROGRESS": (_R, "{0} is being evacuated", ("host",), ""),
    "OTHER_OPERATION_IN_PROGRESS": (_R, "another operation ({2}) is running on it", (), "xe task-list"),
    "TOO_MANY_PENDING_TASKS": (_R, "the master has too many waiting operations", (), "xe task-list"),
    "NOT_SUPPORTED_DURING_UPGRADE": (_P, "a rolling upgrade is in progress", (), "finish the upgrade first"),
    "NO_HOSTS_AVAILABLE": (_R, "no host can run it", (), "plan again"),
    "SESSION_INVALID": (_R, "our session ended: the master's toolstack was restarted", (), ""),
    "NOT_SENT": (_R, "the call did not reach the master ({0})", (), ""),
    "HANDLE_INVALID": (_L, "it is gone from the pool's database ({0})", (), ""),
    "UUID_INVALID": (_L, "it is gone from the pool's database ({0})", (), ""),
    "VM_BAD_POWER_STATE": (_L, "it is {2}, not {1}", (), ""),
    "DOMAIN_EXISTS": (_P, "its domain really runs on the master", (), ""),
    "HOST_NOT_ENOUGH_FREE_MEMORY": (_P, "the target host has too little free memory", (), "plan again"),
    "HOST_NOT_ENOUGH_PCPUS": (_P, "it wants {0} VCPUs and the host has {1} CPUs", (), "lower its VCPUs"),
    "VM_REQUIRES_SR": (
        _P,
        "its storage {1} is not attached on the target host",
        ("VM", "SR"),
        "xe pbd-list sr-name-label={1}; plug the one that is not attached, or eject the CD: xe pbd-plug uuid=<PBD>",
    ),
    "VM_REQUIRES_NETWORK": (_P, "the target host has no network {1}", ("VM", "network"), ""),
    "HOST_CANNOT_ATTACH_NETWORK": (_P, "{0} cannot attach network {1}", ("host", "network"), ""),
    "VM_INCOMPATIBLE_WITH_THIS_HOST": (_P, "its CPU features do not fit {1}: {2}", ("VM", "host"), ""),
    "VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION": (
        _P,
        "{0} is too old for its virtual hardware",
        ("host",),
        "",
    ),
    "VM_HVM_REQUIRED": (_P, "it needs hardware virtualisation, which the host lacks", (), ""),
    "VM_REQUIRES_IOMMU": (_P, "it needs an IOMMU, which the host lacks", (), ""),
    "VM_REQUIRES_GPU": (_P, "it needs a GPU that the host lacks", (), ""),
    "VM_REQUIRES_VGPU": (_P, "it needs a virtual GPU that the host lacks", (), ""),
    "VM_HAS_PCI_ATTACHED": (_P, "a PCI device is passed through to it", (), ""),
    "VM_LACKS_FEATURE": (_P, "its guest tools do not run, so it cannot do this cleanly", (), ""),
    "VM_LACKS_FEATURE_SUSPEND": (_P, "its guest tools do not run, so it cannot be suspended", (), ""),
    "VM_LACKS_FEATURE_SHUTDOWN": (_P, "its guest tools do not run, so it cannot be shut down cleanly", (), ""),
    "VM_MISSING_PV_DRIVERS": (_P, "its guest tools are missing, so it cannot do this cleanly", (), ""),
    "VM_NON_SUSPENDABLE": (_P, "its guest refuses to suspend: {1}", (), ""),
    "VM_NO_SUSPEND_SR": (_P, "there is no SR for its memory image", (), "set storage.suspendImageSR in the manifest"),
    "VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT": (_P, "its guest did not acknowledge the shutdown", (), ""),
    "VM_SHUTDOWN_TIMEOUT": (_P, "its guest did not shut down within {1} s", (), ""),
    "BOOTLOADER_FAILED": (_P, "its boot loader failed: {1}", (), "look at its console and its boot disk"),
    "VDI_IN_USE": (_P, "its disk {0} is in use by another VM", ("VDI",), "xe vbd-list currently-attached=true"),
    "VDI_READONLY": (_P, "its disk {0} is read-only", ("VDI",), ""),
    "SR_BACKEND_FAILURE_46": (
        _P,
        "a disk of it is locked by another host: {1}",
        (),
        "see on each host whether it runs there: list_domains; take no lock away from a host that lives",
    ),
    "SR_HAS_NO_PBDS": (_P, "storage {0} is attached nowhere that could serve it", ("SR",), "xe pbd-plug"),
    "OPERATION_BLOCKED": (_P, "somebody blocked this operation: {1}", (), "xe vm-param-list, blocked-operations"),
    "OPERATION_NOT_ALLOWED": (_P, "XAPI does not allow it: {0}", (), ""),
    "VM_IS_TEMPLATE": (_P, "it is a template", (), ""),
    "VM_IS_SNAPSHOT": (_P, "it is a snapshot", (), ""),
    "HOST_IS_LIVE": (_P, "{0} is alive: it answered the master", ("host",), "nothing; it is not dead"),
    "XAPI_HOOK_FAILED": (_P, "the script {0} failed with exit code {3}", (), "mend {0} on the master, then run again"),
    "CANNOT_RESET_CONTROL_DOMAIN": (_P, "it is a control domain", (), ""),
    "HA_IS_ENABLED": (
        _P,
        "XAPI's own HA is armed: it elects masters and restarts VMs itself",
        (),
        "let HA finish; only if it is stuck, on each host: xe host-emergency-ha-disable --force",
    ),
    "HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN": (_P, "it would break the fail-over plan of XAPI's HA", (), ""),
    "HA_ABORT_NEW_MASTER": (_P, "the members refused the new master: {0}", (), ""),
    "DESIGNATE_NEW_MASTER_IN_PROGRESS": (_P, "another hand-over of the master is going on", (), "wait a minute"),
    "RBAC_PERMISSION_DENIED": (
        _P,
        "our account lacks the right {0}",
        (),
        "use an account with the role pool-operator (and a local root of every host, for promotions) in "
        "connection.username",
    ),
    "SESSION_AUTHENTICATION_FAILED": (_P, "the login is rejected", (), "check connection.username and its password"),
    "LICENCE_RESTRICTION": (_P, "the pool's licence does not include {0}", (), ""),
    "MESSAGE_METHOD_UNKNOWN": (_P, "this release of XAPI does not know {0}", (), ""),
    "TASK_CANCELLED": (_P, "somebody cancelled it", (), ""),
    "HOST_HAS_RESIDENT_VMS": (_P, "{0} still has resident VMs", ("host",), ""),
    # --- who is master, and hosts that are not yet or no more what they should be
    "HOST_IS_SLAVE": (_L, "this host is a member and follows {0}", (), "ask {0}"),
    "HOST_HAS_NO_MANAGEMENT_IP": (_R, "the host has no management address yet", (), "mend its network"),
    "HOST_MASTER_CANNOT_TALK_BACK": (
        _R,
        "its master cannot reach it at {0}",
        (),
        "check the network and firewall between them",
    ),
    "HOST_UNKNOWN_TO_MASTER": (
        _P,
        "its master does not know it: the master's database is older than it, or the pool secret differs",
        (),
        "join it to the pool again, or restore the pool's database",
    ),
    "HOST_ITS_OWN_SLAVE": (_P, "it is told to follow itself", (), "mend /etc/xensource/pool.conf on it"),
    "HOST_XAPI_VERSION_HIGHER_THAN_COORDINATOR": (
        _P,
        "its XAPI ({0}) is newer than the master's",
        (),
        "update the master first",
    ),
    "HOST_BROKEN": (_P, "its role file is broken", (), "look at /etc/xensource/pool.conf on it"),
    "HOST_IN_EMERGENCY_MODE": (_L, "the host is in emergency mode: it has lost its master", (), ""),
    "POOL_NOT_IN_EMERGENCY_MODE": (_P, "the host is not in emergency mode", (), ""),
    "INTERNAL_ERROR": (_L, "XAPI met something that it did not expect: {0}", (), "look at /var/log/xensource.log"),
    "HOST_NOT_DISABLED": (_P, "the host is enabled, and must be disabled for this", (), "xe host-disable"),
    "HOST_DISABLED_UNTIL_REBOOT": (_P, "{0} stays disabled until it is rebooted", ("host",), "reboot it"),
    "HOST_DISABLED_INDEFINITELY": (_P, "{0} was disabled for good", ("host",), "xe host-enable host={0} force=true"),
    "HOST_POWER_ON_MODE_DISABLED": (_P, "XAPI is not set up to power it on", (), "power it on by its BMC"),
    "CANNOT_EVACUATE_HOST": (_P, "the host cannot be emptied: {0}", (), ""),
    "HOST_EVACUATE_VM_NOT_HA_PROTECTED": (_P, "{0} is not protected by HA, so it stays", ("VM",), ""),
    "POOL_SECRET_ROTATION_PENDING": (_P, "the pool's secret is being changed", (), "finish that first"),
    # --- VMs
    "VM_IS_PROTECTED": (_P, "it is protected by HA", (), ""),
    "VM_HAS_VGPU": (_P, "a virtual GPU ties it to its host", (), ""),
    "VM_HAS_VUSBS": (_P, "a USB device ties it to its host", (), ""),
    "VM_HAS_SRIOV_VIF": (_P, "an SR-IOV network interface ties it to its host", (), ""),
    "VM_MIGRATE_FAILED": (_R, "its migration failed: {3}", (), ""),
    "VM_MIGRATE_CONTACT_REMOTE_SERVICE_FAILED": (_R, "its migration could not reach the other host", (), ""),
    "PIF_NOT_PRESENT": (_P, "{0} is not connected to network {1}", ("host", "network"), "xe pif-list"),
    "REQUIRED_PIF_IS_UNPLUGGED": (_P, "an interface of the other host is unplugged", (), "xe pif-plug uuid=<PIF>"),
    "INTERFACE_HAS_NO_IP": (
        _P,
        "the other host has no address on the migration network",
        (),
        "give it one (xe pif-reconfigure-ip), or change policy.placement.migrationNetwork",
    ),
    "VM_HOST_INCOMPATIBLE_VERSION": (_R, "{0} is older than the host that it comes from", ("host",), ""),
    "OPERATION_PARTIALLY_FAILED": (_R, "{0} was done for some VMs only", (), "xe task-list"),
    "TOO_MANY_GROUPS": (_P, "it would be in too many groups", (), ""),
    # --- HA
    "HA_NOT_ENABLED": (_P, "XAPI's HA is off", (), ""),
    "HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED": (_P, "storage {0} is not shared, which HA demands", ("SR",), ""),
    "HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED": (
        _P,
        "network {0} is not on every host, which HA demands",
        ("network",),
        "",
    ),
    "HA_POOL_IS_ENABLED_BUT_HOST_IS_DISABLED": (_P, "the pool's HA is on and this host is out of it", (), ""),
    "HA_HOST_CANNOT_ACCESS_STATEFILE": (_P, "the host cannot reach HA's state file", (), "mend its storage"),
    "HA_HEARTBEAT_DAEMON_STARTUP_FAILED": (_P, "HA's heartbeat does not start on the host", (), ""),
    # --- the database and the protocol
    "MAP_DUPLICATE_KEY": (_R, "the key {3} is there already", (), ""),
    "FEATURE_RESTRICTED": (_P, "the pool's licence does not include {0}", (), ""),
    "INVALID_VALUE": (_P, "XAPI does not take {1} for {0}", (), ""),
    "VALUE_NOT_SUPPORTED": (_P, "XAPI does not take {1} for {0}: {2}", (), ""),
    "FIELD_TYPE_ERROR": (_P, "XAPI expected another type for {0}", (), ""),
    "MESSAGE_PARAMETER_COUNT_MISMATCH": (_P, "this release of XAPI wants {1} parameters for {0}, not {2}", (), ""),
    "EVENT_FROM_TOKEN_PARSE_FAILURE": (_P, "XAPI does not understand the event token {0}", (), ""),
    "EVENT_SUBSCRIPTION_PARSE_FAILURE": (_P, "XAPI does not understand the event class {0}", (), ""),
    "EVENTS_LOST": (_L, "events were lost", (), ""),
    "SESSION_NOT_REGISTERED": (_L, "the session is not registered for events", (), ""),
}


_OF_STORAGE = re.compile(r"\b(SR|VDI|PBD) (OpaqueRef:[\w-]+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


def _named(text: str, name_of: NameOf) -> str:
    """A storage manager's text: what it tells by uuid, by its name."""

    def shown(found: re.Match[str]) -> str:
        name = name_of(found[1], found[2])
        return found[0] if name == found[2] else f"{found[1]} {name}"

    return _OF_STORAGE.sub(shown, text)


def sentence(trouble: Exception) -> str:
    """Any trouble for people, of XAPI's errors what they mean, refs and all."""
    return explain(trouble, lambda cls, ref: ref).sentence if isinstance(trouble, XapiFailure) else str(trouble)


def explain(failure: XapiFailure, name_of: NameOf) -> Explained:
    """What to do about an error, and its sentence with names in place of refs. Unknown codes are PERMANENT."""
    entry = _TABLE.get(failure.code)
    if entry is None:
        if failure.code.endswith("_IN_PROGRESS"):
            word = failure.code.removesuffix("_IN_PROGRESS").replace("_", " ").lower()
            return Explained(Turn.RETRY, f"a pool operation is in progress ({word})")
        if failure.code.startswith("SR_BACKEND_FAILURE"):
            text = "; ".join(p for p in failure.params if p) or "no text"
            text = _named(text, name_of)
            return Explained(Turn.PERMANENT, f"the storage failed: {text} ({failure.code})", "look at /var/log/SMlog")
        return Explained(Turn.PERMANENT, f"XAPI answered {failure}")
    turn, sentence, classes, remedy = entry
    # XAPI sends fewer parameters than its datamodel lists (sheet, conventions): a missing one is shown as unknown.
    params = list(failure.params) + ["?"] * 4
    for index, cls in enumerate(classes):
        if index < len(failure.params):
            params[index] = name_of(cls, failure.params[index])
    if failure.code.startswith("SR_BACKEND_FAILURE"):
        params = [_named(p, name_of) for p in params]
    return Explained(turn, f"{sentence.format(*params)} ({failure.code})", remedy.format(*params))
