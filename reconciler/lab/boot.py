"""How a toolstack starts, as master and as member, and how a member goes on (sheet §1.2, §2.2, §2.6).

Every function here is a thread of one xapi run: it yields seconds or events, and dies with the run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from reconciler.lab.database import Database
from reconciler.lab.kernel import Steps
from reconciler.lab.master_threads import begin
from reconciler.lab.records import add_guest_metrics, force_reset, note, refresh_locks, set_enabled, set_running
from reconciler.lab.schema import NULL
from reconciler.lab.timing import Release

if TYPE_CHECKING:
    from reconciler.lab.toolstack import Toolstack


def start(ts: Toolstack) -> Steps:
    """From the start of the process to rest."""
    if ts.is_master:
        yield from _start_master(ts)
    elif ts.role.startswith("slave:"):
        yield from _start_member(ts)
    else:
        yield from _start_broken(ts)


def _start_broken(ts: Toolstack) -> Steps:
    """24.16.0 dies in start-up over and over and never shows HOST_BROKEN (recording 12). As other releases' source
    reads, it answers in emergency mode, and starts again after a minute or more (sheet §1.2)."""
    timing = ts.lab.timing
    if ts.lab.release is Release.V24_16:
        yield timing.broken_retry
    else:
        yield timing.member_api
        ts.emergency = ts.api_up = True
        ts.lab.changed()
        yield timing.broken_shown
    ts.exit(restart=True)


def at_rest(ts: Toolstack) -> None:
    """As if it had been running for long."""
    ts.api_up = ts.ready = True
    if ts.is_master:
        ts.serve(Database.restore(ts.host.disk))
        for host in ts.lab.hosts.values():
            ts.last_heard[host.uuid] = ts.lab.now
        begin(ts)
    else:
        ts.connected = ts.master_run()
        ts.spawn(_follow(ts), "follow")


# -- master ----------------------------------------------------------------------------------------------------------


def _start_master(ts: Toolstack) -> Steps:
    lab, timing, host = ts.lab, ts.lab.timing, ts.host
    yield timing.master_api
    db = Database.restore(host.disk)
    ts.serve(db)
    _first_pass(ts, db)
    ts.api_up = True
    _restart_tls(ts)
    lab.changed()
    yield timing.master_check
    rival: str | None = yield from _find_other_master(ts, db)
    if rival is not None:
        host.role = f"slave:{rival}"
        host.just_became_master = False
        ts.exit(restart=True)
        return
    begin(ts)
    again = not host.just_became_master
    yield timing.master_again / 2 if again else timing.master_storage
    _stamp(ts, db)
    plug_own(ts, db)
    resync(ts, db)
    yield timing.master_again / 2 if again else timing.master_enable
    me = ts.me(db)
    if me != NULL and ts.enables_itself:
        set_enabled(db, me, True)
    ts.ready = True
    if host.just_became_master:
        host.just_became_master = False
        note(ts, "POOL_MASTER_TRANSITION", 4, "Host", host.uuid, "")
    lab.changed()


def _first_pass(ts: Toolstack, db: Database) -> None:
    """What happens to the database before the API opens (sheet §2.2 steps 3-5; recording 11 for `live`)."""
    pool, _ = db.pool()
    me = ts.me(db)
    db.update("pool", pool, master=me)
    others_live = ts.lab.release is Release.CLASSIC
    for ref, record in list(db.tables["host"].items()):
        db.update("host", ref, enabled=False, current_operations={})
        mine = ref == me
        if record["metrics"] in db.tables["host_metrics"]:
            db.update("host_metrics", record["metrics"], live=mine or others_live)
        if others_live:
            ts.last_heard[record["uuid"]] = ts.lab.now
    if me != NULL:
        db.update("host", me, address=ts.host.address)
    for ref, vm in list(db.tables["VM"].items()):
        lost = vm["power_state"] in ("Running", "Paused") and vm["resident_on"] not in db.tables["host"]
        busy = vm["power_state"] == "Halted" and (vm["current_operations"] or vm["domid"] != -1)
        if lost or busy:
            force_reset(db, ref)
        elif vm["scheduled_to_be_resident_on"] != NULL or vm["current_operations"]:
            db.update("VM", ref, scheduled_to_be_resident_on=NULL, current_operations={})


def _find_other_master(ts: Toolstack, db: Database) -> Steps:
    """check_no_other_masters: asks every host in turn; a member that hangs on its dead master holds this up until
    it is re-pointed (sheet §2.2 step 7, recording 14). The address of another master, or None."""
    from reconciler.lab.toolstack import Unreachable  # noqa: PLC0415 - toolstack imports this module

    timing = ts.lab.timing
    for ref in db.in_order("host"):
        record = db.get("host", ref)
        if record["uuid"] == ts.host.uuid:
            continue
        try:
            other: Toolstack = yield from ts.lab.connect(ts.host, record["address"], timing.no_route)
        except Unreachable:
            continue
        yield timing.ask_member
        if other.is_master and other.alive:
            return record["address"]
        # Its answer needs its database: wait for that, or for the end of its run or of the link.
        while other.alive and not _answers(ts, other) and ts.lab.reaches(ts.host.name, other.host):
            yield ts.lab.change
    return None


def _answers(ts: Toolstack, other: Toolstack) -> bool:
    """A member has its database: it waits for none, and not for us either (recordings 14, 18)."""
    if other.repointed or other.role == "broken":
        return True
    if other.master_run() is ts:
        starting = other.waiting_since is not None and ts.lab.now - other.waiting_since <= ts.lab.timing.blocked_long
        return other.connected is ts or starting
    return other.db_now() is not None


# -- member ----------------------------------------------------------------------------------------------------------


def _start_member(ts: Toolstack) -> Steps:
    timing = ts.lab.timing
    yield timing.member_api
    if ts.lab.release is Release.CLASSIC:
        ts.emergency = True
    ts.api_up = True
    ts.lab.changed()
    db: Database
    ts.waiting_since = began = ts.lab.now
    while True:
        db = yield from ts.database()
        if ts.lab.now - began > timing.blocked_long and ts.lab.release is Release.V24_16:
            yield timing.blocked_start
            ts.exit(restart=True)
            return
        yield max(0.0, timing.member_hello - timing.emergency_flash)
        if ts.db_now() is not db:
            continue
        if ts.me(db) == NULL:
            # Not in this master's database: fails before the hello and starts again (recording 16).
            yield timing.unknown_retry
            ts.exit(restart=True)
            return
        ts.emergency = True
        _restart_tls(ts)
        yield timing.emergency_flash
        if ts.db_now() is not db:
            ts.emergency = ts.lab.release is Release.CLASSIC
            continue
        break
    ts.emergency = False
    ts.waiting_since = None
    _hello(ts, db, enabled=False)
    yield timing.backup_fetch
    if not ts.host.backup_held:
        ts.host.disk = db.snapshot(ts.lab.now)
    yield timing.member_enable
    db = yield from ts.database()
    if _ha_differs(ts, db):
        ts.emergency = True
        ts.lab.changed()
        yield timing.broken_shown
        ts.exit(restart=True)
        return
    _stamp(ts, db)
    plug_own(ts, db)
    resync(ts, db)
    me = ts.me(db)
    if me != NULL and ts.enables_itself:
        set_enabled(db, me, True)
    ts.ready = True
    ts.lab.changed()
    yield from _follow(ts)


def _ha_differs(ts: Toolstack, db: Database) -> bool:
    """A starting member brings its own HA flag in step with the pool's where that is off; where it is on and its own is
    not, it must stay out, in emergency mode (xapi.ml:resynchronise_ha_state)."""
    pool_on = db.pool()[1]["ha_enabled"]
    if not pool_on:
        ts.host.ha_armed = False
    ts.disarmed = pool_on and not ts.host.ha_armed
    return ts.disarmed


def _hello(ts: Toolstack, db: Database, *, enabled: bool) -> None:
    """pool.hello / on_master_restart: the master hears from us."""
    master = ts.master_run()
    if master is None:
        return
    ts.connected = master
    master.last_heard[ts.host.uuid] = ts.lab.now
    me = ts.me(db)
    if me == NULL:
        return
    if ts.host.booted:
        unplug_own(ts, db)
    set_enabled(db, me, enabled)
    db.update("host_metrics", db.get("host", me)["metrics"], live=True)
    ts.lab.changed()


def _follow(ts: Toolstack) -> Steps:
    """A running member: when its master's xapi restarts it says hello again, without a resynchronisation of VMs;
    when only a link comes back, heartbeats go on and nothing else (recordings 07, 15, 21)."""
    timing = ts.lab.timing
    lost_since: float | None = None
    while True:
        master = ts.master_run()
        if master is not None and master is not ts.connected:
            yield timing.member_reconnect
            if ts.master_run() is not master or master.db is None:
                continue
            if ts.me(master.db) == NULL:
                ts.exit(restart=True)
                return
            _hello(ts, master.db, enabled=ts.enables_itself)
        lost_since = None if master is not None else (lost_since or ts.lab.now)
        if master is None and ts.lab.release is Release.CLASSIC:
            left = timing.lost_master - (ts.lab.now - lost_since) if lost_since is not None else timing.lost_master
            if left <= 0:
                ts.exit(restart=True)
                return
            yield from ts.lab.kernel.either(ts.lab.change, left)
        else:
            yield ts.lab.change


# -- both ------------------------------------------------------------------------------------------------------------


def _stamp(ts: Toolstack, db: Database) -> None:
    """When this xapi and its machine started, by its own clock, as each start writes it before VMs are resynchronised
    (recording 01: agent_start_time "1795309803.")."""
    me = ts.me(db)
    if me == NULL:
        return
    skew = ts.lab.world.boxes[ts.host.name].skew
    told = {**db.get("host", me)["other_config"], "agent_start_time": f"{int(ts.lab.now + skew)}."}
    if ts.host.booted_at is not None:
        told["boot_time"] = f"{int(ts.host.booted_at + skew)}."
    db.update("host", me, other_config=told)


def _restart_tls(ts: Toolstack) -> None:
    """Port 443 refuses for a moment; after a boot it has been doing so all the time (recordings 09, 14, 15)."""
    lab, host = ts.lab, ts.host
    host.tls_from = lab.now if host.tls_from == math.inf else lab.now + lab.timing.tls_restart
    lab.kernel.after(lab.timing.tls_restart, lab.changed)


def unplug_own(ts: Toolstack, db: Database) -> None:
    """After a boot nothing is plugged until the host plugs it (recordings 04, 15)."""
    ts.host.booted = False
    for ref in list(db.get("host", ts.me(db))["PBDs"]):
        db.update("PBD", ref, currently_attached=False)


def plug_own(ts: Toolstack, db: Database) -> None:
    """At start a host plugs its own PBDs; one whose storage is out of reach stays unplugged."""
    me = ts.me(db)
    for ref, pbd in list(db.tables["PBD"].items()):
        if pbd["host"] == me and pbd["SR"] in db.tables["SR"]:
            sr = db.tables["SR"][pbd["SR"]]["uuid"]
            db.update("PBD", ref, currently_attached=ts.lab.world.reaches_sr(ts.host.name, sr))


def resync(ts: Toolstack, db: Database) -> None:
    """Make the database and what runs here agree, by the database's word (sheet §2.6; recordings 05, 07, 08): only at
    the start of xapi. VMs that it places on another host or does not know are killed, others adopted."""
    world, host = ts.lab.world, ts.host
    me = ts.me(db)
    if me == NULL:
        return
    box = world.boxes[host.name]
    for domain in list(box.domains.values()):
        ref = db.by_uuid("VM", domain.vm)
        record = db.find("VM", ref) if ref is not None else None
        if ref is None or record is None:
            world.stop(host.name, domain.vm)
            text = f"{domain.name} on {host.name} was killed: the database of its master does not know it"
            world.record("resync-kill", text, vm=domain.vm, host=host.name)
        elif record["resident_on"] not in (me, NULL) and record["resident_on"] in db.tables["host"]:
            world.stop(host.name, domain.vm)
            other = db.tables["host"][record["resident_on"]]["name_label"]
            text = f"{domain.name} on {host.name} was killed: the database of its master places it on {other}"
            world.record("resync-kill", text, vm=domain.vm, host=host.name)
        else:
            set_running(ts, db, ref, me, domain)
            add_guest_metrics(ts, db, ref)
    for ref in list(db.get("host", me)["resident_VMs"]):
        vm = db.get("VM", ref)
        if not vm["is_control_domain"] and vm["uuid"] not in box.domains:
            force_reset(db, ref)
    refresh_locks(db, me, box)
