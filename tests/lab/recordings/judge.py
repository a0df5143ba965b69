"""What differs between a recording and what the lab did in its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from time import gmtime, strftime
from typing import Any

from reconciler.lab import Lab, result_type, wire
from tests.lab.recordings.pool import build
from tests.lab.recordings.recording import CONTINUES, Line, Recording, names, read
from tests.lab.recordings.replay import LOGINS, Replay
from tests.lab.recordings.sent import Sent
from tests.lab.recordings.signals import Signals
from tests.lab.recordings.values import Names, differences, short

SLACK = 5.0
FACTOR = 2.0


@dataclass(frozen=True, order=True)
class Deviation:
    """Something that differs: of what, what the real pool showed, what the lab shows."""

    subject: str
    recorded: str
    lab: str


@dataclass
class Verdict:
    """`calls`: recorded calls compared; `samples`: how many of them as states that a survey saw."""

    calls: int
    samples: int
    deviations: list[Deviation]


@cache
def judged(name: str) -> tuple[Verdict, Lab]:
    """Tell one recording again (after the one that it continues) and compare."""
    recording = read(name)
    before = CONTINUES.get(recording.number)
    lab = judged(next(n for n in names() if n.startswith(before)))[1] if before else build(recording)
    return compare(recording, lab), lab


def compare(recording: Recording, lab: Lab) -> Verdict:
    """Tell a recording to a lab that stands as the recorded pool did when it began."""
    uuids = {r["uuid"]: name for name, ref in recording.names["VM"].items() for r in [_record(recording, ref)] if r}
    known = Names(recording.names, uuids)
    known.labels.update(_belongings(recording))
    replay = Replay(recording, lab, known)
    replay.run()
    return _judge(replay)


def _belongings(recording: Recording) -> dict[str, str]:
    """Names for what belongs to something that has one."""
    labels = {ref: name for table in recording.names.values() for name, ref in table.items()}
    found = {
        r["metrics"]: f"metrics of {labels[ref]}"
        for ref, r in recording.first("host.get_all_records").items()
        if "metrics" in r
    }
    for ref, record in recording.first("PBD.get_all_records").items():
        found[ref] = f"PBD {labels[record['host']]}/{labels[record['SR']]}"
    return found


def _record(recording: Recording, ref: str) -> dict[str, Any]:
    found = recording.first("VM.get_all_records").get(ref, {})
    return found if "uuid" in found else {}


def _judge(replay: Replay) -> Verdict:
    signals = Signals()
    found: set[Deviation] = set()
    samples = 0
    for sent in replay.sent:
        if _is_sample(sent):
            samples += 1
            _sample(replay, sent, signals)
        elif sent.line.data["method"] == "task.get_record" and _polled(replay, sent, signals):
            samples += 1
        else:
            found.update(_compare(replay, sent))
    for line in replay.skipped:
        found.add(Deviation(f"{line.data['method']}", "answered; its script is a stub", "not sent"))
    for t, since, theirs, mine in replay.domains:
        for host in theirs:
            signals.add(f"domains on {host}", t, since, tuple(theirs[host]), tuple(mine[host]))
    for t, since, what, recorded, lab in replay.flags:
        signals.add(f"{what}, as told", t, since, recorded, lab)
    for what, t, value in replay.seen:
        signals.extra(what, t, value)
    found.update(Deviation(m.signal, m.recorded, m.lab) for m in signals.mismatches())
    return Verdict(len(replay.sent) + len(replay.skipped), samples, sorted(found))


# -- states ------------------------------------------------------------------------------------------------------------


def _is_sample(sent: Sent) -> bool:
    """One of a series of looks at something that changes: surveys, logins tried until one works, a polled list."""
    data = sent.line.data
    if sent.line.survey is not None or (data["method"] == LOGINS[0] and sent.call is None):
        return True
    return data["method"] == "VM.get_all_records" and "projected" in data


def _polled(replay: Replay, sent: Sent, signals: Signals) -> bool:
    """A task seen at different stages is compared by its stages alone."""
    theirs, reply = sent.line.data.get("value"), sent.reply
    if sent.outcome != "value" or theirs is None or reply is None:
        return False
    what = f"status of {theirs['name_label']}"
    signals.add(what, sent.line.t, 0.0, theirs["status"], reply.value["status"])
    return bool(theirs["status"] != reply.value["status"] or theirs["status"] == "pending")


def _recorded_outcome(line: Line) -> str:
    data = line.data
    if "value" in data or "raw" in data:
        return "connected" if data.get("value") == "connected" else "value"
    if "failure" in data:
        return "failure"
    text = data["transport"]
    if "refused" in text:
        return "refused"
    if "imed out" in text or "No route" in text:
        return "silent"
    return "dropped" if "reset" in text or "closed" in text else text


def _sample(replay: Replay, sent: Sent, signals: Signals) -> None:
    data, line = sent.line.data, sent.line
    to = data["to"] + (f", asked from {data['via']}" if "via" in data else "")
    theirs, mine = _recorded_outcome(line), sent.outcome
    method = data["method"]
    if method.startswith("tcp"):
        signals.add(f"port {method.split()[-1]} of {to}", line.t, sent.since, theirs, mine)
        return
    if (theirs, mine) == ("value", "value") and method.endswith("get_all_records"):
        assert sent.reply is not None
        for what, a, b in _states(replay, method, data["value"], sent.reply.value):
            signals.add(f"{to} says: {what}", line.t, sent.since, a, b)
        return
    a = " ".join(data["failure"]) if theirs == "failure" else str(data["value"]) if theirs == "value" else theirs
    b = " ".join(sent.failure) if mine == "failure" else mine
    if mine == "value":
        assert sent.reply is not None
        b = "SESSION" if method in LOGINS else str(sent.reply.value)
    a, b = ("records", b) if method.endswith("records") and theirs == "value" else (a, b)
    b = "records" if method.endswith("records") and mine == "value" else b
    a, b = (v if v != "dropped" else "refused" for v in (a, b))
    signals.add(f"{method} at {to}", line.t, sent.since, a, b)


def _states(replay: Replay, method: str, theirs: Any, mine: Any) -> Iterator[tuple[str, Any, Any]]:
    cls = method.split(".", maxsplit=1)[0]
    labels = replay.names.labels
    metrics = {r["metrics"]: labels.get(ref, ref) for ref, r in replay.recording.first("host.get_all_records").items()}
    fields = {
        "pool": ("master", "default_SR"),
        "host": ("enabled", "address"),
        "host_metrics": ("live",),
        "VM": ("power_state", "resident_on", "scheduled_to_be_resident_on"),
        "PBD": ("currently_attached",),
    }[cls]
    partial = cls == "VM" and not any(name.startswith("Control") for name in (labels.get(r, "") for r in theirs))
    for ref in sorted(set(theirs) | set(mine)):
        a, b = theirs.get(ref), mine.get(ref)
        if a is None and partial:
            continue
        if a is None and b is not None and (cls == "VM" and (b["is_a_template"] or b["is_a_snapshot"])):
            continue  # the recorder left these out
        record = a or b
        name = labels.get(ref) or metrics.get(ref) or ref
        if cls == "PBD":
            name = f"{labels.get(record['host'], '?')}/{labels.get(record['SR'], '?')}"
        elif cls == "VM" and ref not in labels:
            name = record["name_label"]
        for field in fields:
            if (a is not None and field not in a) or (None in (a, b) and field != fields[0]):
                continue
            x, y = ("absent" if r is None else labels.get(r[field], r[field]) for r in (a, b))
            yield f"{field} of {cls} {name}", x, y


# -- single calls ------------------------------------------------------------------------------------------------------


def _subject(replay: Replay, line: Line) -> str:
    data = line.data
    args = data["args"][(0 if data["session"] in ("none", "json") else 1) :]
    if data["method"].startswith("POST") or "jsonrpc" in data["method"]:
        body = args[0]
        words = body.get("method", "") if isinstance(body, dict) else short(body)[:20]
        return f"{data['method']} {words}"
    shown = [str(replay.names.plain(a)) for a in args if not isinstance(a, dict)]
    local = ", local session" if data["session"] == "local" else ""
    return f"{data['method']}({', '.join(short(a) for a in shown)}) at {data['to']}{local}"


def _compare(replay: Replay, sent: Sent) -> Iterator[Deviation]:
    data, names_ = sent.line.data, replay.names
    subject = _subject(replay, sent.line)
    theirs, mine = _recorded_outcome(sent.line), sent.outcome
    if data["method"].startswith("POST") or "jsonrpc" in data["method"] or "raw" in data:
        yield from _written(replay, sent, subject, theirs, mine)
        return
    if theirs != mine:
        a = " ".join(str(names_.plain(v)) for v in data["failure"]) if theirs == "failure" else theirs
        b = " ".join(str(names_.plain(v)) for v in sent.failure) if mine == "failure" else mine
        yield Deviation(subject, short(a), short(b))
        return
    if theirs == "failure":
        words = ["session" if v == "SESSION" else str(names_.plain(v)) for v in data["failure"]]
        my_words = _sessions(sent, [str(names_.plain(v)) for v in sent.failure])
        if words != my_words:
            yield Deviation(subject, short(" ".join(words)), short(" ".join(my_words)))
    elif theirs == "value" and sent.reply is not None:
        for path, a_, b_ in _values(replay, sent):
            yield Deviation(f"{subject} {path}".strip(), a_, b_)
    if sent.reply is not None and mine in ("value", "failure"):
        took = sent.reply.finished_at - sent.sent_at
        if abs(took - sent.line.took) > SLACK and not 1 / FACTOR <= took / max(sent.line.took, 0.001) <= FACTOR:
            yield Deviation(f"{subject} seconds", f"{sent.line.took:.0f}", f"{took:.0f}")


def _sessions(sent: Sent, words: list[str]) -> list[str]:
    return ["session" if w == "some object" and "SESSION" in sent.line.data["failure"] else w for w in words]


def _values(replay: Replay, sent: Sent) -> Iterator[tuple[str, str, str]]:
    """Differences between two values; `projected` and summarised recordings compare what they kept."""
    assert sent.reply is not None
    data = sent.line.data
    theirs, mine, method = data["value"], sent.reply.value, data["method"]
    if method in LOGINS or method == "system.listMethods":
        return
    if method == "event.from":
        yield from _events(theirs, mine)
        return
    if method in ("message.get_all_records", "message.get"):
        yield from differences(_told(replay, theirs), _told(replay, mine))
        return
    if "projected" in data and isinstance(mine, dict):
        kept = data["projected"]
        mine = {ref: {k: v for k, v in r.items() if k in kept} for ref, r in mine.items()}
    if isinstance(theirs, int) and isinstance(mine, list | dict):
        mine = len(mine)
    elif isinstance(theirs, dict) and set(theirs) == {"records"}:
        mine = {"records": len(mine)}
    if method in ("VBD.get_all_records", "VIF.get_all_records"):  # the recorder kept those of some VMs
        kept_vms = {r["VM"] for r in theirs.values()}
        mine = {ref: r for ref, r in mine.items() if r["VM"] in kept_vms}
    if method == "role.get_all_records":  # the recorder kept the names of a few
        kept_roles = {r["name_label"] for r in theirs.values()}
        kept_fields = {k for r in theirs.values() for k in r}
        mine = {
            ref: {k: v for k, v in r.items() if k in kept_fields}
            for ref, r in mine.items()
            if r["name_label"] in kept_roles
        }
    if method == "task.get_all_records":
        start = strftime("%Y%m%dT%H:%M:%SZ", gmtime(replay.recording.started))
        theirs = {ref: r for ref, r in theirs.items() if r["created"] >= start}
    a, b = _by_kind(replay, method, theirs), _by_kind(replay, method, mine)
    yield from differences(a, b)


def _by_kind(replay: Replay, method: str, value: Any) -> Any:
    """Records of objects that have no names of their own are compared as a list."""
    plain = replay.names.plain(value)
    if result_type(method).startswith("records:") and all(isinstance(r, dict) for r in value.values()):
        labels = replay.names.labels
        rest = [v for k, v in value.items() if k not in labels]
        named = {k: v for k, v in value.items() if k in labels}
        found = replay.names.plain(named)
        for record in rest:
            name = _name_of(replay, method, record)
            while name in found:
                name += "'"
            found[name] = replay.names.plain(record)
        return found
    return plain


def _told(replay: Replay, messages: dict[str, Any]) -> dict[str, Any]:
    """Messages of the time that the recording covers, by what they say."""
    began = next((line.t for line in replay.recording.lines if "plan" in line.data), 0.0)
    start = strftime("%Y%m%dT%H:%M:%SZ", gmtime(replay.recording.started + began + 1))
    kept = [r for r in messages.values() if r["timestamp"] > start]
    return {f"{r['name']} {replay.names.plain(r['body'])}": replay.names.plain(r) for r in kept}


def _name_of(replay: Replay, method: str, record: dict[str, Any]) -> str:
    """What an object without a name is called: by what it belongs to."""
    labels = replay.names.labels
    words = [str(labels.get(record[k], "")) for k in ("host", "VM", "SR") if isinstance(record.get(k), str)]
    words += [
        str(record[k])
        for k in ("device", "userdevice", "number", "protocol", "type", "name", "name_label")
        if k in record
    ]
    return " ".join(w for w in words if w) or method.split(".", maxsplit=1)[0]


def _events(theirs: Any, mine: Any) -> Iterator[tuple[str, str, str]]:
    if "events" not in theirs or not isinstance(theirs["events"], list):
        return
    a, b = bool(theirs["events"]), bool(mine["events"])
    if a != b:
        yield "events", "some" if a else "none", "some" if b else "none"
    if "valid_ref_counts" in theirs:
        only = sorted(set(theirs["valid_ref_counts"]) ^ set(mine["valid_ref_counts"]))
        if only:
            yield "valid_ref_counts", "classes", short(f"without {' '.join(only)}")
    shapes = {e["class"]: sorted(e["snapshot"]) for e in mine["events"] if "snapshot" in e}
    for event in theirs["events"]:
        keys = shapes.get(event["class"])
        if (
            keys is not None
            and "snapshot" in event
            and "uuid" in event["snapshot"]
            and sorted(event["snapshot"]) != keys
        ):
            only = sorted(set(event["snapshot"]) ^ set(keys))
            yield f"fields of {event['class']}", "", short(only)


def _written(replay: Replay, sent: Sent, subject: str, theirs: str, mine: str) -> Iterator[Deviation]:
    """Compare the very bytes (XML), or the document (JSON)."""
    data = sent.line.data
    if sent.call is None or theirs not in ("value",):
        page = wire.server_error_page(sent.tcp.removeprefix("HTTP 500: ")).decode() if sent.call is None else mine
        recorded = str(data.get("raw", theirs))
        if recorded[:120] != page[:120]:
            yield Deviation(subject, short(recorded), short(page))
        return
    if mine not in ("value", "failure") or sent.reply is None:
        yield Deviation(subject, theirs, mine)
        return
    body = wire.refusal(sent.call, sent.failure) if mine == "failure" else wire.answer(sent.call, sent.reply.value)
    text = body.decode()
    if "raw" in data:
        recorded = str(data["raw"])
        if replay.names.plain(recorded) != replay.names.plain(text) and "OpaqueRef" not in recorded:
            yield Deviation(subject, short(recorded[80:]), short(text[80:]))
        return
    document = json.loads(text)
    if data["value"].get("result") == "SESSION" and isinstance(document.get("result"), str):
        document["result"] = "SESSION"
    theirs_, mine_ = data["value"].get("result"), document.get("result")
    if isinstance(theirs_, dict) and isinstance(mine_, dict) and "valid_ref_counts" in theirs_:
        yield from (Deviation(f"event.from {path}".strip(), a, b) for path, a, b in _events(theirs_, mine_))
        return
    for path, a, b in differences(_typed(replay, data["value"]), _typed(replay, document)):
        yield Deviation(f"{subject} {path}", a, b)


def _typed(replay: Replay, document: dict[str, Any]) -> dict[str, Any]:
    """A JSON document with the types of the numbers kept."""
    plain: dict[str, Any] = replay.names.plain(document)
    if isinstance(document.get("result"), int):
        plain["result"] = f"number {document['result']}"
    return plain
