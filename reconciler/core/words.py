"""Words for people: lists, counts, sizes, times and addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import ip_address

MIB = 1024 * 1024
GIB = 1024 * MIB


def names(items: Iterable[str], most: int = 8) -> str:
    """ "a", "a and b", "a, b and 3 more": a readable list that stays short."""
    found = list(items)
    if not found:
        return "none"
    if len(found) > most:
        return f"{', '.join(found[:most])} and {len(found) - most} more"
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}"


def count(number: int, noun: str) -> str:
    """ "1 VM", "3 VMs", "2 members"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def size(number: int) -> str:
    """Bytes as GiB or MiB."""
    return f"{number / GIB:.1f} GiB" if number >= GIB else f"{number / MIB:.0f} MiB"


def ago(seconds: float) -> str:
    """A time span for people: "45 s", "20 min", "3 h"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def address_host(address: str) -> str:
    """The host part of host or host:port, as XAPI tells addresses; an IPv6 address may stand in brackets."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def is_ip(host: str) -> bool:
    """Whether it is an IP address, and not a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def elsewhere(address: str, other: str) -> bool:
    """Whether two addresses are surely not one host's: a name may stand for any."""
    try:
        return ip_address(address_host(address)) != ip_address(other)
    except ValueError:
        return False


def utc(at: float) -> str:
    """ "2026-11-22 03:14:07 UTC"."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def lasting(seconds: float) -> str:
    """A duration in its largest sensible unit: "40 s", "12 min", "2 h 5 min", "3 days"."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{round(whole / 60)} min"
    if whole < 48 * 3600:
        hours, rest = divmod(round(whole / 60), 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{whole // 86_400} days"
