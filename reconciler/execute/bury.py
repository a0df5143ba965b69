"""Declare a certified host dead: reset its VMs and free the locks of their disks (sheet §3.6)."""

from __future__ import annotations

from collections.abc import Generator

from reconciler.core.buried import Buried
from reconciler.core.draft import apply_command
from reconciler.core.plan import Action, Done
from reconciler.core.port import Json, TaskResult, TaskStatus, XapiFailure
from reconciler.core.words import count, names
from reconciler.execute.bench import Bench, Steps, Wait, already, done, failed, refused, unknown
from reconciler.execute.desk import LostReply
from reconciler.execute.proof import Prover

DECLARE = "host.declare_dead"
RESET = "VM.power_state_reset"
_NO_SUCH_CALL = frozenset({"MESSAGE_METHOD_UNKNOWN", "MESSAGE_REMOVED", "NOT_IMPLEMENTED", "Fault"})
"""Releases before 6.2 lack it; "Fault" is the answer to an Async form that does not exist (recording 02)."""
LOCKS_STAY = "the locks of their disks stay: /opt/xensource/sm/resetvdis.py <host> <SR> frees them"
POLL = 3.0  # s


def declare_dead(bench: Bench, prover: Prover, action: Action) -> Steps:
    """`host.declare_dead`, only beside a proof: XAPI itself takes one failed probe, or none, for death (recording 21).

    Afterwards no guest may be left resident on it; if some is, once more (a failure aborts it midway), then FAILED.
    A start there that was cut off left no guest and may have left locks, which this call frees too.
    """
    desk = bench.desk()
    member = bench.member_of(action.target)
    host = member.name if member else action.target.name
    if host not in action.certificate_of:
        return refused(action, f"the action does not rest on the death of {host}", "plan again")
    if desk.pool().get("ha_enabled"):
        return refused(action, "XAPI's own HA is on: it deals with dead hosts itself", "let HA finish")
    ref, record = desk.record("host", action.target.uuid)
    if desk.pool().get("master") == ref:
        return refused(action, f"{host} is the acting master", "plan again")
    left = _guests(bench, ref, record)
    locking = any(u.host_uuid == action.target.uuid and not u.freed for u in bench.store.unsettled())
    if not left and not record.get("enabled", True) and not locking:
        return already(action, f"no VM is resident on {host}, and it is disabled")
    if brake := bench.may_strike(host):
        return refused(action, brake, "plan again, one host after the other")
    if begun := (yield from _others(bench, action, left)):
        return begun
    _, record = desk.record("host", action.target.uuid)
    left = _guests(bench, ref, record)
    if not left and not record.get("enabled", True) and not locking:
        return already(action, f"no VM is resident on {host} any more, and it is disabled")
    if doubt := prover.doubt(action, fresh=True):
        return refused(action, doubt.why, doubt.remedy)
    bench.struck.add(host)
    first = left
    for attempt in (1, 2):
        if attempt == 2 and (doubt := prover.doubt(action, fresh=True)):
            return refused(action, doubt.why, doubt.remedy)
        ended = yield from _once(bench, prover, action, ref, left)
        if ended is not None:
            return ended
        _, record = desk.record("host", action.target.uuid)
        left = _guests(bench, ref, record)
        if not left:
            freed = f": {names(sorted(first.values()))} reset to Halted" if first else ""
            return done(action, f"{host} is declared dead{freed}")
        bench.say(action, f"{count(len(left), 'VM')} still resident on {host}")
    return failed(
        action,
        f"{names(sorted(left.values()))} still resident on {host} after two calls",
        f"xe host-declare-dead uuid={action.target.uuid}; look at its hooks in /etc/xapi.d/host-post-declare-dead",
    )


def _others(bench: Bench, action: Action, guests: dict[str, str]) -> Generator[Wait, TaskResult | None, Done | None]:
    """Wait for a burial that is under way, such as that of a run which was killed. None: there is none.

    XAPI lists the VMs when it begins and resets one after the other, each up to 10 s after it looked at its record: a
    second burial beside it ends first where `live` changes in between, and the first one then resets a VM that was
    started elsewhere meanwhile, which the next run would start a second time (xapi_host.ml:declare_dead,
    xapi_vm.ml:power_state_reset).
    """
    told = False
    until = bench.port.now() + 60.0 + 15.0 * (1 + len(guests))
    while True:
        tasks = dict(bench.desk().read("task.get_all_records"))
        pending = [t for t in tasks.values() if t.get("status") == "pending"]
        if not any(str(t.get("name_label", "")).removeprefix("Async.") == DECLARE for t in pending):
            return None
        if bench.port.now() >= until:
            return refused(action, "another call that declares a host dead still goes on", "xe task-list; plan again")
        if not told:
            bench.say(action, "waiting for a burial that is under way already")
            told = True
        yield Wait(None, bench.port.now() + POLL)


def _once(
    bench: Bench, prover: Prover, action: Action, ref: str, guests: dict[str, str]
) -> Generator[Wait, TaskResult | None, Done | None]:
    """One call and its end. None: read what it did."""
    desk = bench.desk()
    host = action.target.name
    # 10 s per connect timeout, one for the host and one per VM, while live=true (recording 06).
    until = bench.port.now() + 60.0 + 15.0 * (1 + len(guests))
    _remember(bench, action, ref, guests)
    bench.intend(action, DECLARE, desk.address, vms=sorted(guests.values()))
    bench.say(action, f"declaring {host} dead: {count(len(guests), 'VM')} to reset")
    try:
        task = desk.submit(DECLARE, ref)
    except LostReply as lost:
        return (yield from _observe(bench, action, ref, until, str(lost), guests))
    except XapiFailure as failure:
        return (yield from _refusal(bench, prover, action, failure, guests))
    result = yield Wait(task, until)
    if result is None:
        bench.reply(action, DECLARE, "still pending at its deadline")
        return unknown(
            action, f"declaring {host} dead still goes on", f"xe task-list; then {apply_command(bench.wanted)}"
        )
    if result.status is TaskStatus.SUCCESS:
        bench.reply(action, DECLARE, "done")
        with bench.recording(f"that {host} was declared dead"):
            bench.store.freed(action.target.uuid)
        return None
    if result.failure is not None:
        return (yield from _refusal(bench, prover, action, result.failure, guests))
    return (yield from _observe(bench, action, ref, until, f"its task is {result.status}", guests))


def _remember(bench: Bench, action: Action, ref: str, guests: dict[str, str]) -> None:
    """Which VMs the host may go on running, should it only be cut off. Raises CannotRecord: then it is not buried."""
    desk = bench.desk()
    toolstack = str(dict(desk.read("host.get_record", ref).get("other_config") or {}).get("agent_start_time", ""))
    vms = [
        Buried(
            name,
            str(desk.read("VM.get_record", vm).get("uuid", "")),
            action.target.name,
            action.target.uuid,
            toolstack,
            bench.port.now(),
            bench.run_id,
        )
        for vm, name in guests.items()
    ]
    with bench.recording(f"what runs on {action.target.name}"):
        bench.store.bury(vms)


def _refusal(
    bench: Bench, prover: Prover, action: Action, failure: XapiFailure, guests: dict[str, str]
) -> Generator[Wait, TaskResult | None, Done | None]:
    bench.reply(action, DECLARE, failure.code)
    host = action.target.name
    told = bench.explain(failure)
    if failure.code == "HOST_IS_LIVE":
        member = bench.member_of(action.target)
        if member is not None:
            prover.void(member, "it answered the master", action, action.target.uuid or None)
        return refused(action, f"{host} is alive: it answered the master. Its certificate is void", "plan again")
    if failure.code in _NO_SUCH_CALL:
        return (yield from _reset_each(bench, prover, action, guests))
    if failure.code == "XAPI_HOOK_FAILED":
        return failed(action, told.sentence, told.remedy)
    bench.say(action, told.sentence)
    return None


def _reset_each(
    bench: Bench, prover: Prover, action: Action, guests: dict[str, str]
) -> Generator[Wait, TaskResult | None, Done | None]:
    """The fall-back of a release that lacks declare_dead: one bare reset per VM, which frees no lock (sheet §4.4)."""
    desk = bench.desk()
    bench.say(action, f"this release lacks {DECLARE}: resetting each VM; {LOCKS_STAY}")
    for ref, name in sorted(guests.items(), key=lambda g: g[1]):
        if doubt := prover.doubt(action):
            return refused(action, doubt.why, doubt.remedy)
        bench.intend(action, RESET, desk.address, vm=name)
        until = bench.port.now() + 60.0
        try:
            result = yield Wait(desk.submit(RESET, ref), until)
        except LostReply:
            bench.reply(action, RESET, f"{name}: no reply")
            continue
        except XapiFailure as failure:
            result = TaskResult("", TaskStatus.FAILURE, failure)
        failure_of = result.failure if result is not None else None
        bench.reply(
            action, RESET, f"{name}: {failure_of.code if failure_of else result.status if result else 'pending'}"
        )
        if failure_of is not None:
            told = bench.explain(failure_of)
            if failure_of.code == "HOST_IS_LIVE":
                member = bench.member_of(action.target)
                if member is not None:
                    prover.void(member, "it answered the master", action, action.target.uuid or None)
                return refused(action, f"{action.target.name} is alive: it answered the master", "plan again")
            return failed(action, f"{name}: {told.sentence}", told.remedy)
    return None


def _observe(
    bench: Bench, action: Action, ref: str, until: float, why: str, guests: dict[str, str]
) -> Generator[Wait, TaskResult | None, Done | None]:
    """The reply or the task was lost: read until no guest is left, never ask again in this run. Where none was left
    before, nothing can be read: XAPI does not tell which disks are locked."""
    if not guests:
        bench.reply(action, DECLARE, "not to be observed")
        told = f"{why}, and whether the locks of disks are free can't be read"
        return unknown(action, told, apply_command(bench.wanted))
    bench.say(action, f"{why}: reading what it did")
    left: dict[str, str] = {}
    while True:
        _, record = bench.desk().record("host", action.target.uuid)
        left = _guests(bench, ref, record)
        if not left:
            bench.reply(action, DECLARE, "observed: done")
            return None
        if bench.port.now() >= until:
            bench.reply(action, DECLARE, "observed: unfinished")
            return unknown(
                action,
                f"{why}, and {names(sorted(left.values()))} still resident",
                apply_command(bench.wanted),
            )
        yield Wait(None, bench.port.now() + POLL)


def _guests(bench: Bench, ref: str, record: dict[str, Json]) -> dict[str, str]:
    """VM ref -> name of every VM but control domains that the database places on the host."""
    found: dict[str, str] = {}
    for vm in record.get("resident_VMs", ()):
        try:
            vm_record = bench.desk().read("VM.get_record", vm)
        except XapiFailure as failure:
            if failure.code == "HANDLE_INVALID":
                continue
            raise
        if vm_record.get("resident_on") == ref and not vm_record.get("is_control_domain"):
            found[str(vm)] = str(vm_record.get("name_label", vm))
    return found
