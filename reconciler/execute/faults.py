"""XAPI's errors as an executor meets them: what to do about each, and one sentence for people (sheet §12)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from reconciler.core.port import XapiFailure

NameOf = Callable[[str, str], str]
"""(XenAPI class, ref) -> a name for people."""


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
        "if it stays so: xe host-enable host={0}, or xe-toolstack-restart on it",
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
    "NO_HOSTS_AVAILABLE": (_R, "no host can run it", (), "xe vm-start prints no reason; plan again"),
    "SESSION_INVALID": (_R, "our session ended: the master's toolstack was restarted", (), ""),
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
        "xe pbd-list sr-name-label={1}; then xe pbd-plug, or eject the CD",
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
        "a disk of it is still locked for a host that died ({2})",
        (),
        "xe host-declare-dead uuid=<dead host> frees the locks; or /opt/xensource/sm/resetvdis.py <dead host> <SR>",
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
        "let HA finish; only if it is stuck: xe host-emergency-ha-disable --force on each host",
    ),
    "HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN": (_P, "it would break the fail-over plan of XAPI's HA", (), ""),
    "HA_ABORT_NEW_MASTER": (_P, "the members refused the new master: {0}", (), ""),
    "DESIGNATE_NEW_MASTER_IN_PROGRESS": (_P, "another hand-over of the master is going on", (), "wait a minute"),
    "RBAC_PERMISSION_DENIED": (_P, "our account lacks the right {0}", (), "use an account with role pool-operator"),
    "SESSION_AUTHENTICATION_FAILED": (_P, "the login is rejected", (), "check connection.username and its password"),
    "LICENCE_RESTRICTION": (_P, "the pool's licence does not include {0}", (), ""),
    "MESSAGE_METHOD_UNKNOWN": (_P, "this release of XAPI does not know {0}", (), ""),
    "TASK_CANCELLED": (_P, "somebody cancelled it", (), ""),
    "HOST_HAS_RESIDENT_VMS": (_P, "{0} still has resident VMs", ("host",), ""),
}


def explain(failure: XapiFailure, name_of: NameOf) -> Explained:
    """What to do about an error, and its sentence with names in place of refs. Unknown codes are PERMANENT."""
    entry = _TABLE.get(failure.code)
    if entry is None:
        if failure.code.endswith("_IN_PROGRESS"):
            word = failure.code.removesuffix("_IN_PROGRESS").replace("_", " ").lower()
            return Explained(Turn.RETRY, f"a pool operation is in progress ({word})")
        if failure.code.startswith("SR_BACKEND_FAILURE"):
            text = "; ".join(p for p in failure.params if p) or "no text"
            return Explained(Turn.PERMANENT, f"the storage failed: {text} ({failure.code})", "look at /var/log/SMlog")
        return Explained(Turn.PERMANENT, f"XAPI answered {failure}")
    turn, sentence, classes, remedy = entry
    # XAPI sends fewer parameters than its datamodel lists (sheet, conventions): a missing one is shown as unknown.
    params = list(failure.params) + ["?"] * 4
    for index, cls in enumerate(classes):
        if index < len(failure.params):
            params[index] = name_of(cls, failure.params[index])
    return Explained(turn, f"{sentence.format(*params)} ({failure.code})", remedy.format(*params))
