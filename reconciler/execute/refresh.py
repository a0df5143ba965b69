"""`pool.sync_database`: every member gets a copy of the database as it is now (sheet §2.7)."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.core.copies import Refreshed
from reconciler.core.evidence import Verdict
from reconciler.core.plan import Action, Done
from reconciler.core.port import Json, XapiFailure
from reconciler.core.words import names
from reconciler.execute.bench import Bench, done, failed, refused, unknown
from reconciler.execute.desk import UNHEARD, LostReply, heard
from reconciler.execute.look import look_quickly
from reconciler.execute.seats import Office, office

SYNC = "pool.sync_database"
DEADLINE = 180.0
"""Seconds: a host that died and is live=true still holds the call for some 80 to 145 (recordings 06, 10, 11)."""
DOWN = ("HOST_OFFLINE", "CANNOT_CONTACT_HOST")


def refresh(bench: Bench, action: Action) -> Done:
    """Refresh once, and remember which hosts have a copy of when.

    XAPI asks all hosts at once, waits for all, and then fails with the error of one (xapi_pool.ml:sync_database,
    threadext.ml:thread_iter). So an error that names a host which is down says nothing against those that answer:
    their copies count as refreshed, and as assumed. Any other error proves nothing, and no copy counts.
    """
    try:
        return heard(lambda: _refresh(bench, action))
    except XapiFailure as failure:
        if failure.code not in UNHEARD:
            raise
        return _vain(bench, action, failure, bench.port.now())


def _refresh(bench: Bench, action: Action) -> Done:
    """Look and refresh, once. Raises XAPI's refusal where the call was surely not executed."""
    desk = bench.desk()
    if desk.pool().get("ha_enabled"):
        return refused(action, "XAPI's own HA is on: it keeps the database on the heartbeat disk")
    now = office(bench)
    if hanging := _hanging(bench, now):
        return refused(
            action,
            f"{names(hanging)} does not answer, and the master has not noticed: the call would hang on it",
            "run again in 10 min",
        )
    master = next((h for h in now.hosts.values() if h.get("name_label") == now.name), {})
    others = {ref: h for ref, h in now.hosts.items() if h is not master}
    at = bench.port.now()
    bench.intend(action, SYNC, desk.address)
    gone = _dead(bench, now)
    if waits := [h for h in others.values() if h.get("uuid") in gone and now.is_live(h)]:
        bench.say(action, f"the master waits up to 2.5 min for {_names(waits)}; the others have their copies at once")
    try:
        desk.write(SYNC, deadline=DEADLINE)
    except LostReply as lost:
        bench.reply(action, SYNC, "no reply")
        return unknown(action, f"{lost}; no copy counts as refreshed", "run again: a refresh may be repeated")
    except XapiFailure as failure:
        bench.reply(action, SYNC, failure.code)
        if failure.code in UNHEARD:
            raise
        return _in_part(bench, action, failure, now, others, at)
    bench.reply(action, SYNC, "accepted")
    _remember(bench, others.values(), at, assumed=False)
    return done(action, f"{_names(others.values())} {'has' if len(others) == 1 else 'have'} a copy of now")


def _in_part(
    bench: Bench,
    action: Action,
    failure: XapiFailure,
    now: Office,
    others: dict[str, dict[str, Json]],
    at: float,
) -> Done:
    """It failed: for a host that was down before, or for another reason."""
    named = others.get(failure.params[0]) if failure.params else None
    dead = _dead(bench, now)
    up = [h for h in others.values() if now.is_live(h) and h.get("uuid") not in dead]
    if failure.code not in DOWN or named is None or named in up or not up:
        return _vain(bench, action, failure, at)
    _remember(bench, up, at, assumed=True)
    down = [h for h in others.values() if h not in up]
    verb = "is" if len(down) == 1 else "are"
    return done(
        action,
        f"{_names(down)} {verb} down, and XAPI says no more than that; {_names(up)}, which "
        f"{'answers' if len(up) == 1 else 'answer'}, should have a copy of now",
    )


def _vain(bench: Bench, action: Action, failure: XapiFailure, at: float) -> Done:
    """It failed, and no copy is known to be fresher."""
    with bench.recording("the refresh that failed"):
        bench.store.refresh_failed(at)
    told = bench.explain(failure)
    return failed(action, f"{told.sentence}; no copy counts as refreshed", told.remedy)


def _dead(bench: Bench, now: Office) -> set[str]:
    """Uuids of hosts that are proved dead, which the master may still take for living."""
    proved = [j.name for j in bench.plan.diagnosis.members if j.verdict is Verdict.DEAD]
    records = [now.host_of(m) for m in bench.wanted.members if m.name in proved]
    return {str(r.get("uuid")) for r in records if r is not None}


def _hanging(bench: Bench, now: Office) -> list[str]:
    """Members that the master takes for living, that did not answer the last survey and don't answer now. One that is
    proved dead is no reason to wait: the call is sent after starts, and is waited for."""
    found = []
    for member in bench.wanted.members:
        record = now.host_of(member)
        seen = bench.plan.diagnosis.of(member.name)
        if record is None or not now.is_live(record) or seen is None or seen.verdict in (Verdict.ALIVE, Verdict.DEAD):
            continue
        again = look_quickly(bench, member)
        again.close()
        if not again.answers:
            found.append(member.name)
    return found


def _remember(bench: Bench, hosts: Iterable[dict[str, Json]], at: float, *, assumed: bool) -> None:
    fresh = tuple(Refreshed(str(h.get("uuid", "")), at, assumed) for h in hosts)
    with bench.recording("the refresh"):
        bench.store.add_refreshed(fresh)


def _names(hosts: Iterable[dict[str, Json]]) -> str:
    return names(sorted(str(h.get("name_label", "")) for h in hosts))
