"""What the error means that a host in emergency mode carries, and what to do about it (sheet §1.2, §10). Pure.

HOST_STILL_BOOTING and INTERNAL_ERROR alternate in every member that waits for its master: they say no more than that.
"""

from __future__ import annotations

MEANINGS = {
    "HOST_BROKEN": "its role file, /etc/xensource/pool.conf, is broken, or that of the host which it follows",
    "HOST_HAS_NO_MANAGEMENT_IP": "its management interface has no address",
    "HOST_IS_SLAVE": "the host that it follows is itself a member, of the host at that address",
    "HOST_ITS_OWN_SLAVE": "it follows itself; point it at the master with xe pool-emergency-reset-master there",
    "HOST_MASTER_CANNOT_TALK_BACK": "its master can't call it back: look at the network between the two",
    "HOST_UNKNOWN_TO_MASTER": "its master does not know it, or the two have different pool secrets",
    "HOST_XAPI_VERSION_HIGHER_THAN_COORDINATOR": "its toolstack is newer than its master's: update the master first",
    "HA_POOL_IS_ENABLED_BUT_HOST_IS_DISABLED": "XAPI's HA is half-broken: on in the pool, and not armed on this host",
    "HA_HOST_CANNOT_ACCESS_STATEFILE": "XAPI's HA is armed, and it can't reach the state file: look at its storage",
    "HA_HEARTBEAT_DAEMON_STARTUP_FAILED": "XAPI's HA is armed, and its heartbeat daemon does not start",
}


def meaning(detail: str) -> str:
    """What an error means, as a survey tells it ("CODE [params]"); "" for one that says nothing more."""
    return MEANINGS.get(detail.partition(" ")[0], "")
