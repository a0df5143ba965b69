"""The lab's data model against a real pool's records, and the list of calls against the names it answers to."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from reconciler.lab import METHODS, SCHEMA, date_fields, int_fields, lookup, result_type
from reconciler.lab.calls import EMERGENCY_CALLS
from reconciler.lab.schema import LATER
from tests.lab.story import make

SHARED = Path(os.environ.get("XENREC_SHARED") or Path(__file__).parents[3] / "shared")
HEALTHY = SHARED / "xapi" / "recordings" / "01-healthy.jsonl"


@pytest.mark.skipif(not HEALTHY.exists(), reason="the recordings are not beside this checkout (set XENREC_SHARED)")
def test_records_have_the_fields_and_types_of_a_real_pool() -> None:
    compared = set()
    for line in HEALTHY.read_text().splitlines():
        entry = json.loads(line)
        cls, _, verb = entry.get("method", "").partition(".")
        if verb != "get_all_records" or "projected" in entry or not isinstance(entry.get("value"), dict):
            continue
        for record in entry["value"].values():
            if cls in ("role", "PCI") or not isinstance(record, dict):
                continue
            assert set(record) == set(SCHEMA[cls]) - _unrecorded(cls), cls
            compared.add(cls)
            for name, value in record.items():
                field = SCHEMA[cls][name]
                if field.is_map:
                    assert isinstance(value, dict), f"{cls}.{name}"
                elif field.is_set:
                    assert isinstance(value, list), f"{cls}.{name}"
                elif field.type == "b":
                    assert isinstance(value, bool), f"{cls}.{name}"
                elif field.type == "i":
                    assert int(value) == float(value), f"{cls}.{name}"
                elif field.type == "d":
                    assert value[8] == "T", f"{cls}.{name}"
    assert {"pool", "SR", "VBD", "VDI", "PBD", "PIF", "VIF", "task", "host_metrics", "VM_metrics"} <= compared


def _unrecorded(cls: str) -> set[str]:
    return {"netbios_name", "services"} if cls == "VM_guest_metrics" else set(LATER.get(cls, ()))


def test_types_tell_an_encoder_all_it_needs() -> None:
    assert {"memory_static_max", "order", "domid"} <= int_fields("VM")
    assert "live" not in int_fields("host_metrics")
    assert date_fields("VM") == {"snapshot_time"}
    assert result_type("VM.get_all_records") == "records:VM"
    assert result_type("VM.get_order") == "i"
    assert result_type("host.get_servertime") == "d"
    assert result_type("Async.VM.start") == "task"
    assert result_type("VM.start") == "void"
    assert result_type("no.such") == "any"


def test_listed_methods_are_answered_and_none_is_async() -> None:
    s = make()
    names = s.raw("h1", "system.listMethods")
    assert not [n for n in names if n.startswith("Async.")]
    assert {"VM.start_on", "pool.recover_slaves", "VM.get_power_state", "VM.add_to_other_config"} <= set(names)
    assert "VM.set_power_state" not in names
    assert all(lookup(name) is not None for name in names)
    needs_database = {n for n in EMERGENCY_CALLS & set(METHODS) if not METHODS[n].db_free}
    assert needs_database == {  # recording 03
        "host.emergency_clear_mandatory_guidance",
        "host.emergency_reenable_tls_verification",
        "host.get_system_status_capabilities",
        "pool.is_slave",
    }


def test_no_session_is_no_session() -> None:
    s = make()
    for session in ("", "OpaqueRef:bogus"):
        reply = s.send("h1", "VM.get_all", session)
        s.wait(1.0)
        assert reply.failure == ("SESSION_INVALID", [session])
