"""The recorded pool as a lab: full records from recording 01, names, refs and states from the recording at hand."""

from __future__ import annotations

from functools import cache
from typing import Any

from reconciler.lab import NULL, Lab, Release, Seed, Timing
from reconciler.lab.rules import allowed_operations
from tests.lab.recordings.recording import Recording, names, read

PHASES = {"05": 27.0, "06": 26.5, "07": 26.0, "12": 2.0, "16": 20.0}
"""Seconds after the recording's start at which db_gc's loop of 30 s comes round, where the recording shows it."""
Tables = dict[str, dict[str, Any]]


def timing(recording: Recording) -> Timing:
    """The recorded settings; and the simulated hypervisor's speed, which takes tenths of a second for anything."""
    settings = recording.settings
    return Timing(
        fuse=settings["fuse_time"],
        heartbeat=settings["host_heartbeat_interval"],
        assumed_dead=settings["host_assumed_dead_interval"],
        db_sync=settings["pool_db_sync_interval"],
        host_boot=0.0,
        services=2.5,
        vm_start=0.4,
        vm_stop=0.25,
        vm_clean_shutdown=0.5,
        vm_reboot=0.4,
        vm_suspend=0.4,
        vm_resume=0.4,
        vm_migrate=0.6,
        guest_tools=0.05,
        sr_plug=0.2,
    )


@cache
def healthy() -> Tables:
    """Every class of which recording 01 has all records, with their fields complete."""
    found: Tables = {}
    for line in read(next(n for n in names() if n.startswith("01"))).lines:
        cls, _, verb = line.data.get("method", "").partition(".")
        if verb != "get_all_records" or "projected" in line.data or "survey" in line.data:
            continue
        value = line.data.get("value")
        if isinstance(value, dict) and cls not in ("role", "message", "task"):
            found[cls] = value
    return found


def _renamed(value: Any, refs: dict[str, str]) -> Any:
    if isinstance(value, str):
        return refs.get(value, value)
    if isinstance(value, list):
        return [_renamed(v, refs) for v in value]
    if isinstance(value, dict):
        return {refs.get(k, k): _renamed(v, refs) for k, v in value.items()}
    return value


def _refs(recording: Recording) -> dict[str, str]:
    """Recording 01's refs -> the ones at hand: by class and name; PBDs by host and SR, metrics by host."""
    old = read(next(n for n in names() if n.startswith("01")))
    refs = {
        ref: recording.names[cls][name]
        for cls, table in old.names.items()
        for name, ref in table.items()
        if name in recording.names[cls]
    }
    mine = {(r["host"], r["SR"]): ref for ref, r in recording.first("PBD.get_all_records").items()}
    for ref, record in healthy()["PBD"].items():
        key = (refs.get(record["host"], ""), refs.get(record["SR"], ""))
        if key in mine:
            refs[ref] = mine[key]
    hosts = recording.first("host.get_all_records")
    for ref, record in healthy()["host"].items():
        new = hosts.get(refs[ref], {})
        if "metrics" in new:
            refs[record["metrics"]] = new["metrics"]
    return refs


def tables(recording: Recording) -> Tables:
    """The pool at the recording's start: at rest, with the VMs where they are placed first."""
    found: Tables = _renamed(healthy(), _refs(recording))
    found = {cls: {ref: dict(record) for ref, record in table.items()} for cls, table in found.items()}
    pool = next(iter(found["pool"].values()))
    pool.update(
        {k: v for k, v in next(iter(recording.first("pool.get_all_records").values()), {}).items() if k in pool}
    )
    for sr in found["SR"].values():
        sr["type"] = "dummy"  # what these really are behind their names: drivers without disks and without locks
    pool["master"] = recording.names["host"][master(recording)]
    placed: dict[str, str | None] = next((line.data["plan"] for line in recording.lines if line.data.get("plan")), {})
    seen = recording.first("VM.get_all_records")
    spare = next(iter(found["VM_guest_metrics"].values()))
    for name, ref in recording.names["VM"].items():
        if ref not in found["VM"]:  # made by an earlier scenario of the same pool: a halted VM without devices
            model = found["VM"][recording.names["VM"]["vm6"]]
            found["VM"][ref] = {**model, "name_label": name, "VBDs": [], "VIFs": [], "consoles": []}
        record, shown = found["VM"][ref], seen.get(ref, {})
        record["uuid"] = shown.get("uuid", record["uuid"])
        if record["is_control_domain"]:
            continue
        state, host = shown.get("power_state", "Halted"), shown.get("resident_on", NULL)
        if name in placed:
            on = placed[name]
            state, host = ("Running", recording.names["host"][on]) if on else ("Halted", NULL)
        _place(found, ref, state, host, spare)
    return found


def master(recording: Recording) -> str:
    """Who is master when it begins: whoever answers a normal session first."""
    for line in recording.lines:
        if line.data.get("session") == "normal" and "value" in line.data:
            return str(line.data["to"])
    raise ValueError(f"{recording.name}: nobody ever answers a normal session")


def _place(found: Tables, ref: str, state: str, host: str, spare: dict[str, Any]) -> None:
    """Put a VM into a state; a running one has guest tools, another has none."""
    record = found["VM"][ref]
    running = state in ("Running", "Paused")
    record.update(power_state=state, resident_on=host if running else NULL, scheduled_to_be_resident_on=NULL)
    tools = record["guest_metrics"]
    if running and tools not in found["VM_guest_metrics"]:
        tools = f"{ref}-tools"
        found["VM_guest_metrics"][tools] = {**spare, "uuid": record["uuid"]}
    if not running:
        found["VM_guest_metrics"].pop(tools, None)
        tools = NULL
    record["guest_metrics"] = tools
    record["allowed_operations"] = allowed_operations({**record, "current_operations": {}})
    for table in ("VBD", "VIF"):
        for device in found[table].values():
            if device["VM"] == ref:
                device["currently_attached"] = running
                if running and table == "VBD":
                    device["device"] = device["device"] or "xvda"


def build(recording: Recording, release: Release = Release.V24_16) -> Lab:
    """A lab at rest, as the recorded pool was; its clock shows the time at which the recording began."""
    seed = Seed.from_tables(tables(recording))
    for record in seed.tables["host"].values():
        record["address"] = recording.addresses[record["name_label"]]
    for pif in seed.tables["PIF"].values():
        if pif["management"]:
            pif["IP"] = seed.tables["host"][pif["host"]]["address"]
    phase = PHASES.get(recording.number, 0.0)
    lab = Lab(
        seed, timing=timing(recording), release=release, start=recording.started - (30.0 - phase), guest_addresses=False
    )
    lab.run(recording.started)
    return lab
