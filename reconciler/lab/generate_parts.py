"""What a generated pool is made of, apart from its VMs: hosts, networks, storage."""

from __future__ import annotations

import random
from typing import Any

from reconciler.lab.database import Record
from reconciler.lab.rules import MIB
from reconciler.lab.schema import SCHEMA, blank
from reconciler.lab.wiretext import date, uuid_text

GIB = 1 << 30
Tables = dict[str, dict[str, Record]]


class Builder:
    """Collects records; the same seed makes the same pool."""

    def __init__(self, random_seed: int) -> None:
        self.rng = random.Random(random_seed)  # noqa: S311 - repeatable on purpose
        self.tables: Tables = {c: {} for c in SCHEMA}

    def uuid(self) -> str:
        """A fresh uuid."""
        return uuid_text(self.rng.getrandbits(128))

    def add(self, cls: str, **values: Any) -> str:
        """A record with these values, the rest at their defaults; its ref."""
        uuid = self.uuid()
        ref = f"OpaqueRef:{self.uuid()}"
        self.tables[cls][ref] = {**blank(cls), "uuid": uuid, **values}
        return ref


def add_hosts(b: Builder, count: int, first: str, memory: int, cpus: int) -> list[str]:
    """Hosts with metrics, CPUs and control domains; memory in bytes; their refs in order."""
    from reconciler.lab.seed import addresses  # noqa: PLC0415 - seed imports this module

    refs = []
    width = max(2, len(str(count)))
    for number, address in enumerate(addresses(first, count), start=1):
        label = f"xen{number:0{width}d}"
        metrics = b.add(
            "host_metrics", memory_total=memory, memory_free=memory // 2, live=True, last_updated=date(1_699_990_000)
        )
        ref = b.add(
            "host",
            name_label=label,
            name_description="Default install",
            hostname=label,
            address=address,
            enabled=True,
            metrics=metrics,
            memory_overhead=768 * MIB,
            API_version_major=2,
            API_version_minor=21,
            API_version_vendor="XenSource",
            software_version={
                "product_version": "8.3.0",
                "product_brand": "XCP-ng",
                "platform_name": "XCP",
                "platform_version": "3.4.0",
                "xapi": "24.16",
                "xapi_build": "24.16.0",
                "xen": "4.17.4",
            },
            capabilities=["xen-3.0-x86_64", "hvm-3.0-x86_32", "hvm-3.0-x86_32p", "hvm-3.0-x86_64"],
            cpu_info={"cpu_count": str(cpus), "socket_count": "1", "vendor": "GenuineIntel", "speed": "2400.000"},
            virtual_hardware_platform_versions=[0, 1, 2],
            sched_policy="credit",
            edition="xcp-ng",
            other_config={"agent_start_time": "1699990000.", "boot_time": "1699980000."},
            allowed_operations=["vm_migrate", "provision", "vm_resume", "evacuate", "vm_start"],
        )
        for cpu in range(cpus):
            b.add("host_cpu", host=ref, number=cpu, vendor="GenuineIntel", speed=2400, modelname="Simulated CPU")
        add_control_domain(b, ref, label, min(4, cpus))
        refs.append(ref)
    return refs


def add_control_domain(b: Builder, host: str, label: str, vcpus: int) -> None:
    """dom0 of a host."""
    size = 4 * GIB
    metrics = b.add("VM_metrics", memory_actual=size, VCPUs_number=vcpus, start_time=date(1_699_980_000))
    ref = b.add(
        "VM",
        name_label=f"Control domain on host: {label}",
        power_state="Running",
        resident_on=host,
        affinity=host,
        domid=0,
        is_control_domain=True,
        metrics=metrics,
        memory_static_max=size,
        memory_dynamic_max=size,
        memory_dynamic_min=size,
        memory_static_min=size,
        memory_target=size,
        VCPUs_max=vcpus,
        VCPUs_at_startup=vcpus,
        domain_type="pv",
    )
    b.tables["host"][host]["control_domain"] = ref


def add_networks(b: Builder, hosts: list[str]) -> list[str]:
    """Two networks with a PIF on every host; the first carries management."""
    refs = []
    for number in range(2):
        ref = b.add(
            "network",
            name_label=f"Pool-wide network associated with eth{number}",
            bridge=f"xenbr{number}",
            MTU=1500,
            managed=True,
        )
        refs.append(ref)
        for index, host in enumerate(hosts):
            b.add(
                "PIF",
                device=f"eth{number}",
                network=ref,
                host=host,
                MAC=f"02:16:3e:{number:02x}:{index >> 8:02x}:{index & 255:02x}",
                MTU=1500,
                VLAN=-1,
                physical=True,
                currently_attached=True,
                IP=b.tables["host"][host]["address"] if number == 0 else "",
                ip_configuration_mode="Static" if number == 0 else "None",
                management=number == 0,
            )
    return refs


def add_pbd(b: Builder, sr: str, host: str, config: dict[str, str]) -> None:
    """A plugged PBD."""
    b.add("PBD", SR=sr, host=host, device_config=config, currently_attached=True)


def add_shared_sr(b: Builder, label: str, hosts: list[str]) -> str:
    """A shared SR, plugged on every host: NFS when its name says so, else iSCSI."""
    nfs = label.startswith("nfs")
    ref = b.add(
        "SR",
        name_label=label,
        type="nfs" if nfs else "lvmoiscsi",
        content_type="user",
        shared=True,
        physical_size=20 << 40,
    )
    config = {"server": "10.0.0.50", "serverpath": f"/{label}"} if nfs else {"target": "10.0.0.51", "port": "3260"}
    for host in hosts:
        add_pbd(b, ref, host, config)
    return ref


def add_local_sr(b: Builder, host: str) -> str:
    """A host's own SR."""
    ref = b.add("SR", name_label="Local storage", type="lvm", content_type="user", physical_size=1 << 40)
    add_pbd(b, ref, host, {"device": "/dev/sda3"})
    return ref


def add_iso_sr(b: Builder, hosts: list[str]) -> str:
    """A library of ISO images, on every host."""
    ref = b.add("SR", name_label="ISO library", type="iso", content_type="iso", shared=True, physical_size=1 << 40)
    for host in hosts:
        add_pbd(b, ref, host, {"location": "10.0.0.50:/iso", "type": "nfs_iso"})
    for label in ("debian-12.iso", "guest-tools.iso"):
        add_vdi(b, ref, label, 4 * GIB, read_only=True)
    return ref


def add_vdi(b: Builder, sr: str, label: str, size: int, *, read_only: bool = False) -> str:
    """A disk or an image; size in bytes."""
    ref = b.add(
        "VDI", name_label=label, SR=sr, virtual_size=size, physical_utilisation=size, managed=True, read_only=read_only
    )
    b.tables["VDI"][ref]["location"] = b.tables["VDI"][ref]["uuid"]
    return ref


def add_template(b: Builder) -> None:
    """One default template."""
    b.add(
        "VM",
        name_label="Debian Bookworm 12",
        is_a_template=True,
        is_default_template=True,
        memory_static_max=2 * GIB,
        memory_dynamic_max=2 * GIB,
        memory_dynamic_min=2 * GIB,
        memory_static_min=GIB,
        VCPUs_max=1,
        VCPUs_at_startup=1,
        HVM_boot_policy="BIOS order",
        domain_type="hvm",
        metrics=b.add("VM_metrics"),
    )
