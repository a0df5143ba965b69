"""GPUs, USB devices and virtual functions as XAPI's database tells them."""

from __future__ import annotations

from typing import Any

from reconciler.core.port import XapiFailure
from reconciler.xapi.read import read_pool

NULL = "OpaqueRef:NULL"


class Pool:
    """Answers from tables, and the calls that ask what is left."""

    address = "10.0.0.1"

    def __init__(self) -> None:
        vm = {"power_state": "Halted", "name_label": "cad1", "uuid": "u1"}
        self.left: dict[str, int] = {}
        self.calls: list[tuple[str, ...]] = []
        self.tables: dict[str, dict[str, dict[str, Any]]] = {
            "pool": {"p": {"uuid": "p"}},
            "host": {h: {"uuid": h, "name_label": h, "chipset_info": {"iommu": "true"}} for h in ("h1", "h2")},
            "VM": {"v1": {**vm, "VGPUs": ["g1"]}, "v2": {**vm, "uuid": "u2", "power_state": "Running"}},
            "VGPU": {"g1": {"VM": "v1", "GPU_group": "gg", "type": "whole"}},
            "VGPU_type": {
                "whole": {"model_name": "passthrough", "implementation": "passthrough"},
                "half": {"model_name": "A16-8Q", "implementation": "nvidia"},
                "third": {"model_name": "A16-4Q", "implementation": "nvidia"},
            },
            "GPU_group": {"gg": {"name_label": "Group of A16"}},
            "PGPU": {"p1": self.gpu("h1"), "p2": self.gpu("h2")},
        }

    @staticmethod
    def gpu(host: str, **more: object) -> dict[str, object]:
        kinds = ["whole", "half", "third"]
        capacities = {"whole": "1", "half": "2", "third": "3"}
        known = {"host": host, "GPU_group": "gg", "PCI": f"pci-{host}", "enabled_VGPU_types": kinds}
        return {**known, "supported_VGPU_max_capacities": capacities, "resident_VGPUs": [], **more}

    def call(self, method: str, *params: str, deadline: float = 30.0) -> Any:
        cls, _, message = method.partition(".")
        if message == "get_all_records":
            return self.tables.get(cls, {})
        self.calls.append((method, *params))
        if "|".join(params) not in self.left:
            raise XapiFailure("MESSAGE_METHOD_UNKNOWN", (method,))
        return self.left["|".join(params)]

    def left_of(self, pgpu: str) -> dict[str, int]:
        state = read_pool(self, now=1.0)  # type: ignore[arg-type]
        return dict(next(p.left for p in state.devices.pgpus if p.ref == pgpu))


def test_a_gpu_is_counted_as_xapi_does() -> None:
    """xapi_pgpu_helpers.ml:get_remaining_capacity_internal."""
    pool = Pool()
    assert pool.left_of("p1") == {"whole": 1, "half": 2, "third": 3}
    pool.tables["VGPU"]["g2"] = {"VM": "v2", "GPU_group": "gg", "type": "half"}
    pool.tables["PGPU"]["p1"]["resident_VGPUs"] = ["g2"]
    assert pool.left_of("p1") == {"whole": 0, "half": 1, "third": 2}
    assert pool.calls == []
    pool.tables["VGPU"]["g3"] = {"VM": "v3", "GPU_group": "gg", "type": "half", "scheduled_to_be_resident_on": "p1"}
    assert pool.left_of("p1")["half"] == 0
    pool.tables["VM"]["v2"]["attached_PCIs"] = ["pci-h2"]
    assert pool.left_of("p2")["whole"] == 0


def test_types_that_share_a_gpu_are_asked_for() -> None:
    """Which types may share one is in no record that a client sees."""
    pool = Pool()
    pool.tables["VGPU"] |= {f"g{n}": {"VM": "v2", "GPU_group": "gg", "type": t} for n, t in ((2, "half"), (3, "third"))}
    pool.tables["PGPU"]["p1"]["resident_VGPUs"] = ["g2"]
    pool.left = {"p1|third": 1}
    assert pool.left_of("p1") == {"whole": 0, "half": 1, "third": 1}
    assert pool.calls == [("PGPU.get_remaining_capacity", "p1", "third")]
    pool.left = {}
    assert pool.left_of("p1")["third"] == 3, "what this release does not tell refuses nobody"


def test_nothing_is_read_where_no_vm_has_a_device() -> None:
    pool = Pool()
    pool.tables["VM"]["v1"]["VGPUs"] = []
    state = read_pool(pool, now=1.0)  # type: ignore[arg-type]
    assert state.devices.stock == {}
    assert state.devices.vgpus == ()


def test_usb_devices_and_virtual_functions() -> None:
    pool = Pool()
    pool.tables["VM"]["v1"] |= {"VGPUs": [], "VUSBs": ["x1"], "VIFs": ["f1", "f2"]}
    pool.tables["VUSB"] = {"x1": {"VM": "v1", "USB_group": "ug"}}
    pool.tables["USB_group"] = {"ug": {"name_label": "Group of keys", "PUSBs": ["d1"]}}
    pool.tables["PUSB"] = {"d1": {"host": "h2", "description": "Aladdin HASP"}}
    pool.tables["network"] = {n: {"uuid": n, "name_label": n} for n in ("fast", "vlan7")}
    pool.tables["VIF"] = {f: {"VM": "v1", "network": n} for f, n in (("f1", "fast"), ("f2", "vlan7"))}
    pool.tables["PIF"] = {
        "l1": {"host": "h1", "network": "fast", "sriov_logical_PIF_of": ["s1"]},
        "t1": {"host": "h1", "network": "vlan7", "VLAN_master_of": "w1"},
        "l2": {"host": "h2", "network": "fast", "sriov_logical_PIF_of": ["s2"]},
    }
    pool.tables["VLAN"] = {"w1": {"tagged_PIF": "l1", "untagged_PIF": "t1"}}
    pool.left = {"s1": 3}
    devices = read_pool(pool, now=1.0).devices  # type: ignore[arg-type]
    assert devices.stock == {"h1": {"vf|fast": 3}}, "of h2 nothing is known, so nothing is refused"
    assert devices.takes("v1", ("fast", "vlan7")) == {"vf|fast": 2}
    names = {"h1": "xen01", "h2": "xen02"}
    told = "is not where its USB device Aladdin HASP is plugged in (xen02 is)"
    assert devices.lacking("v1", "h1", iommu=True, names=names) == told
    assert devices.lacking("v1", "h2", iommu=None, names=names) == ""


def test_types_take_room_from_each_other() -> None:
    pool = Pool()
    pool.tables["VGPU"] |= {
        "g1": {"VM": "v1", "GPU_group": "gg", "type": "half"},
        "g2": {"VM": "v2", "GPU_group": "gg", "type": "third"},
    }
    devices = read_pool(pool, now=1.0).devices  # type: ignore[arg-type]
    assert devices.takes("v1", ()) == {"gpu|gg|half": 1, "gpu|gg": 3}
    assert devices.takes("v2", ()) == {"gpu|gg|third": 1, "gpu|gg": 2}
    assert devices.stock["h1"]["gpu|gg"] == 6
