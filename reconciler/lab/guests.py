"""What runs inside the VMs: their addresses, when their tools report, and which ports and pages answer.

All of it belongs to the physical world: it is there while a domain lives, so many seconds after that came to life.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from reconciler.lab.physical import Domain, World

NEVER = math.inf
"""Seconds: it does not happen."""


@dataclass
class Guest:
    """A guest, by its VM. Seconds count from the start of its domain."""

    address: str
    """"" is none."""
    tools: float | None = None
    """When its tools report; None: as timing.guest_tools says."""
    ports: dict[int, float] = field(default_factory=dict)
    """Port -> when it accepts connections."""
    pages: dict[str, int] = field(default_factory=dict)
    """Path -> HTTP status, on every port that is open."""
    network: bool = True
    """False: nothing reaches it."""


class Guests:
    """Every VM's guest. One that nobody told of has an address and tools, and serves nothing."""

    def __init__(self, world: World, vms: Iterable[str], *, addresses: bool = True) -> None:
        self._world = world
        self._addresses = addresses
        self._guests: dict[str, Guest] = {}
        for vm in vms:
            self.of(vm)

    def of(self, vm: str) -> Guest:
        """The guest of a VM (by uuid)."""
        if vm not in self._guests:
            number = len(self._guests) + 1
            self._guests[vm] = Guest(f"10.64.{number >> 8 & 255}.{number & 255}" if self._addresses else "")
        return self._guests[vm]

    def _there(self, address: str, source: str) -> tuple[Guest, Domain] | None:
        """Who has that address, runs, and is reached."""
        for vm, guest in self._guests.items():
            if not address or guest.address != address or not guest.network:
                continue
            for domain in self._world.copies(vm):
                if not domain.paused and self._world.linked(source, domain.host):
                    return guest, domain
        return None

    def tcp(self, address: str, port: int, source: str, now: float) -> str:
        """What connecting does: "open", "refused", or "unreachable" where nobody runs that has the address."""
        found = self._there(address, source)
        if found is None:
            return "unreachable"
        guest, domain = found
        return "open" if now >= domain.since + guest.ports.get(port, NEVER) else "refused"

    def http(self, url: str, source: str, now: float) -> int | str:
        """The status that a URL is answered with, or what connecting does."""
        parts = urlsplit(url)
        address = parts.hostname or ""
        told = self.tcp(address, parts.port or (443 if parts.scheme == "https" else 80), source, now)
        found = self._there(address, source)
        if told != "open" or found is None:
            return told
        return found[0].pages.get(parts.path or "/", 404)


def networks(guest: Guest) -> dict[str, str]:
    """VM_guest_metrics.networks as tools fill it."""
    return {"0/ip": guest.address, "0/ipv4/0": guest.address} if guest.address else {}
