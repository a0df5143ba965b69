"""Hardware of a scenario's hosts that VMs are given: GPUs, SR-IOV cards, USB devices."""

from __future__ import annotations

from typing import Any

from reconciler.lab.devices import FUNCTION_OF
from reconciler.lab.generate_parts import Builder
from reconciler.lab.schema import NULL

SHARE = "A16-8Q"
SHARES = 2
"""VMs that one GPU serves with a share each; or one that has it whole."""


class Hardware:
    """What is added to the tables of a pool."""

    def __init__(self, build: Builder, tables: dict[str, dict[str, dict[str, Any]]]) -> None:
        self.build, self.tables = build, tables
        self._known: dict[str, str] = {}

    def _kind(self, share: bool) -> str:
        name = SHARE if share else "passthrough"
        if name not in self._known:
            implementation = "nvidia" if share else "passthrough"
            self._known[name] = self.build.add("VGPU_type", model_name=name, implementation=implementation)
        return self._known[name]

    def _group(self) -> str:
        if "group" not in self._known:
            self._known["group"] = self.build.add("GPU_group", name_label="Group of NVIDIA A16")
        return self._known["group"]

    def add_gpus(self, host: str, number: int) -> None:
        """A host with so many GPUs, each to be had whole or in shares."""
        whole, share = self._kind(False), self._kind(True)
        for _ in range(number):
            self.build.add(
                "PGPU",
                host=host,
                GPU_group=self._group(),
                PCI=self.build.add("PCI", host=host, device_name="GA107GL [A16]"),
                supported_VGPU_types=[whole, share],
                enabled_VGPU_types=[whole, share],
                supported_VGPU_max_capacities={whole: 1, share: SHARES},
            )
        self.tables["host"][host]["chipset_info"] = {"iommu": "true"}

    def give_gpu(self, vm: str, what: str | bool, host: str | None) -> None:
        """A whole GPU (true), or a share; on the first that has room where the VM runs."""
        kind = self._kind(what == SHARE)
        there = NULL
        for ref, pgpu in self.tables["PGPU"].items():
            on = [v for v in self.tables["VGPU"].values() if v["resident_on"] == ref]
            if pgpu["host"] == host and len(on) < pgpu["supported_VGPU_max_capacities"][kind] and there == NULL:
                there = ref if all(v["type"] == kind for v in on) else NULL
        vgpu = self.build.add(
            "VGPU", VM=vm, GPU_group=self._group(), type=kind, resident_on=there, currently_attached=there != NULL
        )
        self.tables["VM"][vm]["VGPUs"] = [vgpu]
        if there != NULL and what != SHARE:
            self.tables["VM"][vm]["attached_PCIs"] = [self.tables["PGPU"][there]["PCI"]]

    def add_sriov(self, name: str, functions: dict[str, int]) -> None:
        """A network over SR-IOV cards with so many virtual functions."""
        network = self.build.add("network", name_label=name, bridge=f"br-{name}", MTU=1500, managed=True)
        for host, number in functions.items():
            card = self.build.add("PCI", host=host, device_name="X710")
            for _ in range(number):
                self.build.add("PCI", host=host, device_name="X710 VF", other_config={FUNCTION_OF: card})
            physical = self.build.add("PIF", device="eth3", host=host, PCI=card, physical=True)
            logical = self.build.add("PIF", device="eth3", network=network, host=host, currently_attached=True)
            self.build.add("network_sriov", physical_PIF=physical, logical_PIF=logical)

    def give_usb(self, vm: str, host: str) -> None:
        """A USB device that is plugged into a host."""
        group = self.build.add("USB_group", name_label="Group of 0529 0001 USB")
        self.build.add("PUSB", host=host, USB_group=group, description="Aladdin HASP")
        self.tables["VM"][vm]["VUSBs"] = [self.build.add("VUSB", VM=vm, USB_group=group)]
