"""What a master does all its life: who is live, what is garbage, backups on the members (sheet §2.7, §3.1, §7.4, §8.1).

Every function here is a thread of one xapi run: it yields seconds, and dies with the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.lab.database import Database
from reconciler.lab.kernel import Steps

if TYPE_CHECKING:
    from reconciler.lab.toolstack import Toolstack


def begin(ts: Toolstack) -> None:
    """Begin all of them."""
    ts.spawn(_watch_hosts(ts), "db_gc")
    ts.spawn(_back_up(ts), "pool_db_backup")


def _watch_hosts(ts: Toolstack) -> Steps:
    """db_gc's loop: `live` follows heartbeats; nothing else changes when a host goes silent (sheet §3.1)."""
    timing = ts.lab.timing
    while True:
        yield timing.gc
        ts.note_contacts()
        db = ts.db
        if db is None:
            return
        for record in list(db.tables["host"].values()):
            if record["uuid"] == ts.host.uuid or record["metrics"] not in db.tables["host_metrics"]:
                continue
            heard = ts.last_heard.get(record["uuid"])
            alive = heard is not None and ts.lab.now - heard <= timing.assumed_dead
            if db.tables["host_metrics"][record["metrics"]]["live"] != alive:
                db.update("host_metrics", record["metrics"], live=alive)
        _collect_garbage(ts, db)


def _collect_garbage(ts: Toolstack, db: Database) -> None:
    """Finished tasks go after a while or when there are too many, idle sessions after a day (sheet §7.4, §8.1)."""
    timing, now = ts.lab.timing, ts.lab.now
    desk = ts.desk
    metrics = {record["metrics"] for record in db.tables["host"].values()}
    for ref in [ref for ref in db.tables["host_metrics"] if ref not in metrics]:
        db.delete("host_metrics", ref)
    for ref in [ref for ref, pbd in db.tables["PBD"].items() if pbd["host"] not in db.tables["host"]]:
        db.delete("PBD", ref)
    if desk.finished:
        finished = [ref for ref in desk.finished if ref in db.tables["task"]]
        surplus = max(0, len(finished) - timing.max_tasks)
        for number, ref in enumerate(finished):
            if number < surplus or now - desk.finished[ref] > timing.task_kept:
                db.delete("task", ref)
        desk.finished = {ref: at for ref, at in desk.finished.items() if ref in db.tables["task"]}
    idle = [ref for ref, info in ts.sessions.items() if now - info.last_active > timing.session_idle]
    for ref in idle:
        del ts.sessions[ref]


def _back_up(ts: Toolstack) -> Steps:
    """pool_db_backup: one member after the other, `db_sync` seconds each (sheet §2.7)."""
    while True:
        asked = False
        for host in list(ts.lab.hosts.values()):
            if host is ts.host or ts.db is None or ts.db.by_uuid("host", host.uuid) is None:
                continue
            asked = True
            yield ts.lab.timing.db_sync
            if ts.hears(host.toolstack) and ts.db is not None and not host.backup_held:
                host.disk = ts.db.snapshot(ts.lab.now)
        if not asked:
            yield ts.lab.timing.db_sync
