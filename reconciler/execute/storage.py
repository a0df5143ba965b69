"""Metadata: the pool's default SRs and a VM's affinity. Read, set, read back; nothing here waits."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.core.plan import Action, Done, Thing, Verb
from reconciler.core.port import XapiFailure
from reconciler.execute.bench import Bench, already, done, failed, refused, unknown
from reconciler.execute.desk import LostReply, heard

_SETTERS = {
    Verb.SET_DEFAULT_SR: ("pool", "default_SR", "pool.set_default_SR", "SR"),
    Verb.SET_SUSPEND_SR: ("pool", "suspend_image_SR", "pool.set_suspend_image_SR", "SR"),
    Verb.SET_AFFINITY: ("VM", "affinity", "VM.set_affinity", "host"),
}


def set_field(bench: Bench, action: Action) -> Done:
    """Point the field at `action.to`. XAPI accepts a bogus ref silently (recording 02), so it is looked up by uuid."""
    cls, _, _, to_class = _SETTERS[action.verb]
    if action.to is None or not action.to.uuid:
        return refused(action, f"the plan does not say which {to_class} by uuid", "plan again")
    read = _reader(bench, cls, action.target)
    try:
        return heard(lambda: _set(bench, action, read))
    except XapiFailure as failure:
        told = bench.explain(failure)
        return failed(action, told.sentence, told.remedy)


def _set(bench: Bench, action: Action, read: Callable[[], tuple[str, dict[str, object]]]) -> Done:
    """Look and set, once. Raises XAPI's refusal."""
    cls, field, method, to_class = _SETTERS[action.verb]
    assert action.to is not None
    desk = bench.desk()
    ref, record = read()
    if cls == "VM" and (record.get("is_control_domain") or record.get("is_a_template") or record.get("is_a_snapshot")):
        return refused(action, f"{action.target.name} is not a guest: it is never touched")
    wished = str(desk.read(f"{to_class}.get_by_uuid", action.to.uuid))
    if record.get(field) == wished:
        return already(action, f"{field} is {action.to.name} already")
    bench.intend(action, method, desk.address, to=action.to.name, to_uuid=action.to.uuid)
    lost = ""
    try:
        desk.write(method, ref, wished)
        bench.reply(action, method, "accepted")
    except LostReply as reply:
        bench.reply(action, method, "no reply")
        lost = str(reply)
    except XapiFailure as failure:
        bench.reply(action, method, failure.code)
        raise
    if read()[1].get(field) == wished:
        return done(action, f"{field} is {action.to.name}")
    if lost:
        return unknown(action, f"{lost}, and {field} is not {action.to.name} yet", "plan again")
    return failed(action, f"{field} was accepted, and reads otherwise", "plan again")


def _reader(bench: Bench, cls: str, target: Thing) -> Callable[[], tuple[str, dict[str, object]]]:
    """Reads the object that the action is about: the one pool, or the VM by uuid."""
    desk = bench.desk()

    def read() -> tuple[str, dict[str, object]]:
        if cls == "pool":
            record = desk.pool()
            return desk.pool_ref, record
        return desk.record(cls, target.uuid)

    return read
