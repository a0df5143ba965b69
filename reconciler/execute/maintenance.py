"""host.disable and host.enable for maintenance, and the mark that remembers whose doing it was (sheet §3.3, §3.4)."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.mark import MARK, Mark, mark_of
from reconciler.core.plan import Action, Done
from reconciler.core.port import Json, XapiFailure
from reconciler.core.wanted import MemberState
from reconciler.execute.bench import Bench, Steps, Wait, already, done, failed, host_now, refused, unknown
from reconciler.execute.desk import LostReply, heard
from reconciler.execute.faults import Turn

ADD, REMOVE = "host.add_to_other_config", "host.remove_from_other_config"
DISABLE, ENABLE = "host.disable", "host.enable"
POLL = 5.0  # s between tries to enable a host whose toolstack is still starting
PATIENCE = 120.0  # s for which it is tried


@dataclass(frozen=True, slots=True)
class _Seen:
    """The host, read now."""

    ref: str
    enabled: bool
    live: bool
    mark: Mark | None
    master: bool


def _read(bench: Bench, action: Action) -> _Seen | Done:
    """The host that an action is about, or why nothing may be done to it."""
    found = host_now(bench, action, action.target)
    if isinstance(found, Done):
        return found
    ref, host, live = found
    pool = bench.desk().pool()
    if pool.get("ha_enabled"):
        return refused(action, "XAPI's own HA is on", "leave it to HA, or: xe pool-ha-disable")
    told: dict[str, str] = {str(k): str(v) for k, v in dict(host.get("other_config") or {}).items()}
    return _Seen(ref, bool(host.get("enabled")), live, mark_of(told), str(pool.get("master")) == ref)


def _offline(bench: Bench, action: Action) -> Done:
    name = action.target.name
    return refused(action, f"{name} is not live: nothing can be told to it", f"xenrec status {bench.wanted.argument}")


def disable(bench: Bench, action: Action) -> Done:
    """Mark the host, then disable it. Newer releases take auto_enable=false and keep it disabled over restarts of its
    toolstack and machine; others (24.16 among them, recording 10) enable it at the next, and the next run disables it
    again. A parameter too many is refused before any effect (sheet §7.1)."""
    member = bench.member_of(action.target)
    if member is None or member.state is not MemberState.MAINTENANCE:
        return refused(action, f"{action.target.name} is not declared in maintenance", "plan again")
    try:
        return heard(lambda: _disable(bench, action))
    except XapiFailure as failure:
        told = bench.explain(failure)
        return failed(action, told.sentence, told.remedy)


def _disable(bench: Bench, action: Action) -> Done:
    """Look, mark and disable, once. Raises XAPI's refusal."""
    seen = _read(bench, action)
    if isinstance(seen, Done):
        return seen
    if not seen.live:
        return _offline(bench, action)
    if seen.master:
        return refused(action, f"{action.target.name} is the master: the office is handed over first", "plan again")
    if not seen.enabled:
        return already(action, f"{action.target.name} is disabled already")
    desk = bench.desk()
    if seen.mark is None or seen.mark.roll != bench.wanted.rolling:
        mark = Mark(bench.run_id, round(bench.port.now(), 3), bench.wanted.rolling)
        if seen.mark is not None:
            _write(bench, action, REMOVE, seen.ref, MARK)
        _write(bench, action, ADD, seen.ref, MARK, mark.text)
        after = _read(bench, action)
        if isinstance(after, Done) or after.mark != mark:
            return failed(action, f"{action.target.name} could not be marked as disabled by xenrec", "plan again")
    lasts = True
    bench.intend(action, DISABLE, desk.address)
    try:
        try:
            desk.write(DISABLE, seen.ref, False)
        except XapiFailure as failure:
            if failure.code != "MESSAGE_PARAMETER_COUNT_MISMATCH":
                raise
            lasts = False
            desk.write(DISABLE, seen.ref)
        bench.reply(action, DISABLE, "accepted")
    except LostReply as lost:
        bench.reply(action, DISABLE, "no reply")
        return _observed(bench, action, str(lost), enabled=False)
    except XapiFailure as failure:
        bench.reply(action, DISABLE, failure.code)
        raise
    return _observed(
        bench,
        action,
        "" if lasts else "this release enables it again when its toolstack restarts; the next run disables it again",
        enabled=False,
    )


def enable(bench: Bench, action: Action) -> Steps:
    """Enable a host that xenrec itself disabled. A toolstack that is still starting (HOST_STILL_BOOTING) is waited
    for."""
    until = bench.port.now() + PATIENCE
    while True:
        seen = _read(bench, action)
        if isinstance(seen, Done):
            return seen
        if seen.enabled:
            return already(action, f"{action.target.name} is enabled already")
        if seen.mark is None:
            return refused(
                action,
                f"it was not xenrec that disabled {action.target.name}",
                f"whoever did may enable it: xe host-enable uuid={action.target.uuid}",
            )
        if seen.mark.roll and seen.mark.roll != bench.wanted.rolling:
            return refused(
                action,
                f"{action.target.name} is in the rolling maintenance {seen.mark.roll} since the plan was made",
                f"go on with it, or end it with --abandon: xenrec roll {bench.wanted.argument} --resume",
            )
        if not seen.live:
            return _offline(bench, action)
        desk = bench.desk()
        bench.intend(action, ENABLE, desk.address)
        try:
            desk.write(ENABLE, seen.ref)
            bench.reply(action, ENABLE, "accepted")
            return _observed(bench, action, "", enabled=True)
        except LostReply as lost:
            bench.reply(action, ENABLE, "no reply")
            return _observed(bench, action, str(lost), enabled=True)
        except XapiFailure as failure:
            bench.reply(action, ENABLE, failure.code)
            told = bench.explain(failure)
            if told.turn is not Turn.RETRY or bench.port.now() >= until:
                return failed(action, told.sentence, told.remedy)
        yield Wait(None, bench.port.now() + POLL)


def end(bench: Bench, action: Action) -> Done:
    """Remove the mark: the maintenance is over."""
    return heard(lambda: _end(bench, action))


def _end(bench: Bench, action: Action) -> Done:
    """Look and remove it, once. Raises XAPI's refusal."""
    seen = _read(bench, action)
    if isinstance(seen, Done):
        return seen
    if seen.mark is None:
        return already(action, f"{action.target.name} carries no mark of a maintenance")
    if not seen.enabled:
        return refused(action, f"{action.target.name} is still disabled", "plan again")
    _write(bench, action, REMOVE, seen.ref, MARK)
    after = _read(bench, action)
    if isinstance(after, _Seen) and after.mark is None:
        return done(action, "its mark is removed")
    return unknown(action, "its mark could not be removed", "plan again")


def _write(bench: Bench, action: Action, method: str, *params: Json) -> None:
    """A change of the mark, journalled; a lost reply is seen at the next reading."""
    desk = bench.desk()
    bench.intend(action, method, desk.address)
    try:
        desk.write(method, *params)
        bench.reply(action, method, "accepted")
    except LostReply:
        bench.reply(action, method, "no reply")
    except XapiFailure as failure:
        bench.reply(action, method, failure.code)
        if failure.code != "MAP_DUPLICATE_KEY":
            raise


def _observed(bench: Bench, action: Action, why: str, *, enabled: bool) -> Done:
    """Read back: XAPI's answer is its word, the record is what counts."""
    word = "enabled" if enabled else "disabled"
    seen = _read(bench, action)
    if isinstance(seen, Done):
        return seen
    if seen.enabled is enabled:
        return done(action, f"{action.target.name} is {word}" + (f"; {why}" if why else ""))
    told = f"{why}, and {action.target.name} is not {word}" if why else f"it was accepted, and it is not {word}"
    return unknown(action, told, "plan again")
