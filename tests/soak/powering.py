"""Judgement on calls on VMs: starts, stops, resets, moves (watch.py has the rest)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reconciler.core.wanted import WantedState
from tests.soak.levels import LEVELS
from tests.soak.moving import disks_within_reach, maintained
from tests.soak.placing import may_be_shed, of_migration, on_target

if TYPE_CHECKING:
    from tests.soak.watch import Watch

BEGINS = {"VM.start_on": ("Halted",), "VM.resume_on": ("Suspended",)}
ENDS = {"VM.clean_shutdown": WantedState.HALTED, "VM.suspend": WantedState.SUSPENDED}


def of_vm(watch: Watch, bare: str, address: str, params: Sequence[Any]) -> None:
    """Any call on a VM: whose it is, and what its entry allows (I5, I7, I11)."""
    db = watch.recorded(address)
    if db is None or params[1] not in db.tables["VM"]:
        return
    vm = db.tables["VM"][params[1]]
    name, uuid = vm["name_label"], vm["uuid"]
    if watch.sight.read.get(("VM", str(params[1])), -1) <= watch.sight.written:
        watch.blame("I7", f"{bare} {name} without reading it after its last write")
    if vm["is_control_domain"] or vm["is_a_template"] or vm["is_a_snapshot"]:
        watch.blame("I11", f"{bare} {name}, which is not a guest")
    wish = watch.wishes.get(uuid)
    if wish is None:
        if bare == "VM.pool_migrate" and maintained(watch, vm, db, all_vms=True):
            disks_within_reach(watch, bare, db, vm, db.tables["host"].get(params[2], {}))
        else:
            watch.blame("I5", f"{bare} {name}, which the manifest does not name")
        return
    if wish.max_level is not None and LEVELS[bare] > wish.max_level:
        watch.blame("level", f"{bare} {name}, whose entry allows {wish.max_level.word}")
    copies = watch.lab.world.copies(uuid)
    stops = bare == "VM.clean_shutdown" and wish.placement.stop_for_maintenance and maintained(watch, vm, db)
    shed = bare == "VM.clean_shutdown" and may_be_shed(watch, wish, db)
    if bare in ENDS and wish.state is not ENDS[bare] and not (stops or shed):
        watch.blame("I5", f"{bare} {name}, which is declared {wish.state}")
    if bare == "VM.set_affinity" and wish.home is None:
        watch.blame("I5", f"{bare} {name}, whose home is not declared")
    if (bare in BEGINS or bare == "VM.unpause") and wish.state is not WantedState.RUNNING:
        watch.blame("I5", f"{bare} {name}, which is declared {wish.state}")
    if bare == "VM.power_state_reset" and copies:
        watch.blame("I1", f"resets {name}, which runs on {copies[0].host}")
    if bare == "VM.pool_migrate":
        target = db.tables["host"].get(params[2], {})
        disks_within_reach(watch, bare, db, vm, target)
        of_migration(watch, db, vm, target, wish)
    if bare in BEGINS:
        target = db.tables["host"].get(params[2], {})
        on_target(watch, bare, name, str(target.get("name_label")), wish)
        _start(watch, bare, db, vm, target, [c.host for c in copies])


def _start(
    watch: Watch, bare: str, db: Any, vm: Mapping[str, Any], target: Mapping[str, Any], copies: list[str]
) -> None:
    name = vm["name_label"]
    # XAPI itself refuses one whose record says otherwise by now: somebody else was faster.
    taken = vm["power_state"] in BEGINS[bare] and not vm["current_operations"]
    # A start or move that was cut off is tried again on its own host, where the hypervisor refuses a second domain.
    here = target.get("name_label")
    again = any(vm["uuid"] == one and here == host for _, one, host in watch.begun)
    again = again or (vm["uuid"], here) in watch.moving
    if taken and [c for c in copies if c != here or not again]:
        watch.blame("I1", f"{bare} {name} on {target.get('name_label')} while it runs on {copies}")
    host = next((h for h in watch.lab.hosts.values() if h.uuid == target.get("uuid")), None)
    if host is None:
        return
    watch.begun.append((watch.lab.now, vm["uuid"], host.name))
    disks_within_reach(watch, bare, db, vm, target)
