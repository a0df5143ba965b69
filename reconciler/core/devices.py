"""Hardware that VMs are given and that hosts have few of: GPUs and shares of them, virtual functions of network cards,
USB devices. Where there is one, and how many more VMs it takes; by XAPI's rules, from what its database tells. Pure.

XAPI asks in this order: IOMMU, GPU, USB, SR-IOV (xapi_vm_helpers.ml:assert_can_boot_here; sheet §5.3 tests 9 to 11).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import lcm


@dataclass(frozen=True, slots=True)
class VgpuType:
    """A kind of GPU or share of one. `whole`: it is a GPU passed through, all of it; `needs_iommu`: it is passed
    through, or a function of the card is."""

    name: str
    whole: bool = False
    needs_iommu: bool = False


@dataclass(frozen=True, slots=True)
class Vgpu:
    """What a VM is given of a GPU: any GPU of the group that offers the type."""

    ref: str
    vm: str
    group: str
    type: str


@dataclass(frozen=True, slots=True)
class Pgpu:
    """A GPU of a host. `left` VGPUs of each enabled type fit on it now, `most` when it is empty."""

    ref: str
    host: str
    group: str
    left: Mapping[str, int]
    most: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Function:
    """One host's card behind an SR-IOV network: how many virtual functions are left. `card` is the same for every
    network (VLANs, too) whose interfaces take them from it."""

    network: str
    host: str
    card: str
    left: int


@dataclass(frozen=True, slots=True)
class Usb:
    """A USB device that a VM is given, and the host that it is plugged into."""

    vm: str
    name: str
    host: str | None


@dataclass(frozen=True)
class Devices:
    """All that the pool's VMs are given. Empty where none is given anything, or where nobody asked."""

    pgpus: tuple[Pgpu, ...] = ()
    vgpus: tuple[Vgpu, ...] = ()
    types: Mapping[str, VgpuType] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    """Names of GPU groups, and of the networks by which cards are called."""
    functions: tuple[Function, ...] = ()
    usbs: tuple[Usb, ...] = ()

    @cached_property
    def vgpus_of(self) -> Mapping[str, tuple[Vgpu, ...]]:
        """By VM."""
        found: dict[str, list[Vgpu]] = {}
        for vgpu in self.vgpus:
            found.setdefault(vgpu.vm, []).append(vgpu)
        return {vm: tuple(listed) for vm, listed in found.items()}

    @cached_property
    def usbs_of(self) -> Mapping[str, tuple[Usb, ...]]:
        """By VM."""
        found: dict[str, list[Usb]] = {}
        for usb in self.usbs:
            found.setdefault(usb.vm, []).append(usb)
        return {vm: tuple(listed) for vm, listed in found.items()}

    @cached_property
    def cards(self) -> Mapping[str, str]:
        """SR-IOV network -> card."""
        return {one.network: one.card for one in self.functions}

    @cached_property
    def offers(self) -> Mapping[tuple[str, str], tuple[Pgpu, ...]]:
        """The GPUs of a group on a host."""
        found: dict[tuple[str, str], list[Pgpu]] = {}
        for pgpu in self.pgpus:
            found.setdefault((pgpu.host, pgpu.group), []).append(pgpu)
        return {key: tuple(listed) for key, listed in found.items()}

    @cached_property
    def shares(self) -> Mapping[str, Mapping[str, int]]:
        """Group -> type -> parts of a GPU that one takes, for groups of which VMs want several types: these take room
        from each other."""
        wanted: dict[str, set[str]] = {}
        for vgpu in self.vgpus:
            wanted.setdefault(vgpu.group, set()).add(vgpu.type)
        found: dict[str, Mapping[str, int]] = {}
        for group, types in wanted.items():
            most: dict[str, int] = {}
            for pgpu in self.pgpus:
                for kind in types if pgpu.group == group else ():
                    most[kind] = max(most.get(kind, 0), pgpu.most.get(kind, 0))
            whole = lcm(*(n for n in most.values() if n > 0)) if any(most.values()) else 0
            if len(types) > 1 and whole:
                found[group] = {kind: whole // n for kind, n in most.items() if n > 0}
        return found

    @cached_property
    def stock(self) -> Mapping[str, Mapping[str, int]]:
        """Host -> what it has -> how many are left now. Where it says nothing there is no limit that is known."""
        found: dict[str, Counter[str]] = {}
        for pgpu in self.pgpus:
            there = found.setdefault(pgpu.host, Counter())
            for kind, left in pgpu.left.items():
                there[f"gpu|{pgpu.group}|{kind}"] += left
            if parts := self.shares.get(pgpu.group):
                there[f"gpu|{pgpu.group}"] += max((parts.get(kind, 0) * n for kind, n in pgpu.left.items()), default=0)
        for one in self.functions:
            found.setdefault(one.host, Counter())[f"vf|{one.card}"] = one.left
        return {host: dict(there) for host, there in found.items()}

    def takes(self, vm: str, networks: tuple[str, ...]) -> Mapping[str, int]:
        """What a VM takes of its host's stock; `networks` are those of its interfaces, one each."""
        taken: Counter[str] = Counter()
        for vgpu in self.vgpus_of.get(vm, ()):
            taken[f"gpu|{vgpu.group}|{vgpu.type}"] += 1
            if parts := self.shares.get(vgpu.group):
                taken[f"gpu|{vgpu.group}"] += parts.get(vgpu.type, 0)
        for network in networks if self.functions else ():
            if network in self.cards:
                taken[f"vf|{self.cards[network]}"] += 1
        return {what: number for what, number in taken.items() if number}

    def lacking(self, vm: str, host: str, *, iommu: bool | None, names: Mapping[str, str]) -> str:
        """What a host has none of, however few VMs run there; "" if nothing. `names` of hosts, for people."""
        for vgpu in self.vgpus_of.get(vm, ()):
            if iommu is False and (kind := self.types.get(vgpu.type)) is not None and kind.needs_iommu:
                return "has no IOMMU that is switched on, and its GPU is passed through to it"
        for vgpu in self.vgpus_of.get(vm, ()):
            gpus = self.offers.get((host, vgpu.group), ())
            if not gpus:
                return f"has no GPU of {self._group(vgpu)}"
            if not any(vgpu.type in pgpu.most for pgpu in gpus):
                kind = self.types.get(vgpu.type)
                how = f"offers {self._type(vgpu.type)}"
                if kind is not None and kind.whole:
                    how = "is passed through whole"
                return f"has no GPU of {self._group(vgpu)} that {how}"
        for usb in self.usbs_of.get(vm, ()):
            if usb.host != host:
                there = f"{names[usb.host]} is" if usb.host and usb.host in names else "no host is"
                return f"is not where its USB device {usb.name} is plugged in ({there})"
        return ""

    def described(self, vm: str) -> tuple[str, ...]:
        """What a VM is given, for people."""
        found = []
        for vgpu in self.vgpus_of.get(vm, ()):
            kind = self.types.get(vgpu.type)
            what = "a whole GPU" if kind is not None and kind.whole else f"a share {self._type(vgpu.type)} of a GPU"
            found.append(f"{what} of {self._group(vgpu)}")
        return (*found, *(f"the USB device {usb.name}" for usb in self.usbs_of.get(vm, ())))

    def short(self, what: str) -> str:
        """What it means that too few of something are left on a host."""
        kind, _, rest = what.partition("|")
        if kind == "vf":
            return f"has no virtual function left on SR-IOV network {self.groups.get(rest, rest)}"
        group, _, type_ = rest.partition("|")
        named = self.groups.get(group, "its GPU group")
        if type_ in self.types and self.types[type_].whole:
            return f"has no free GPU of {named}"
        return f"has no room left{f' for {self._type(type_)}' if type_ else ''} on its GPUs of {named}"

    def _group(self, vgpu: Vgpu) -> str:
        return self.groups.get(vgpu.group, "its GPU group")

    def _type(self, ref: str) -> str:
        return self.types[ref].name if ref in self.types else "its type"
