"""A recording told again by the lab: the same things done to it, the same calls sent at the same times.

Times are relative to what was done: where the lab is slower than the recorded pool in answering a call that the next
one waited for, or in reaching a state that the recorder waited for, everything after is that much later (`shift`).
"""

from __future__ import annotations

import json
import re
from typing import Any

from reconciler.lab import NULL, Lab, wire
from tests.lab.recordings.chance import Chance, where_it_went
from tests.lab.recordings.recording import Line, Recording
from tests.lab.recordings.sent import Sent
from tests.lab.recordings.values import Names
from tests.lab.recordings.watched import watched

PATIENCE = 10.0
"""How much later than the recorded pool the lab may reach a state that the recorder waited for, in seconds."""
STEP = 0.1
LOGINS = ("session.login_with_password", "session.slave_local_login_with_password")
DONE_TO_IT = re.compile(
    r"pull the plug|power on|network cable|restart the toolstack|write \"broken\"|clean stop|promote|placed|"
    "changes after"
)
WAITED_FOR = re.compile(r"stable|members re-pointed|healed|all enabled|all live|back\b|members? back|end state")
DISRUPTIVE = ("pool.emergency_transition_to_master", "pool.recover_slaves", "pool.designate_new_master")
STUBS = ("host.restart_agent", "host.shutdown")
"""Their scripts are stubs on the recorded machine: sent, they would do in the lab what did not happen there."""


class Replay:
    """Runs a recording; afterwards `sent` holds every call in order, `domains` (t, recorded, lab's) of what ran."""

    def __init__(self, recording: Recording, lab: Lab, names: Names) -> None:
        self.recording = recording
        self.lab = lab
        self.names = names
        self.start = max(lab.now, recording.started)
        self.shift = 0.0
        self.sent: list[Sent] = []
        self.skipped: list[Line] = []
        self.domains: list[tuple[float, float, dict[str, list[str]], dict[str, list[str]]]] = []
        self.flags: list[tuple[float, float, str, bool, bool]] = []
        """(t, since, host and flag, recorded, lab's) from events that tell flags."""
        self.seen: list[tuple[str, float, Any]] = []
        """(signal, t, value) of the lab between the recorded samples."""
        self._open: list[Sent] = []
        self._threads: dict[tuple[Any, ...], Sent] = {}
        self._sessions: dict[tuple[Any, ...], str] = {}
        self._last_normal = ""
        self._disrupted = 0.0
        self._placed = False
        self._expected: dict[str, dict[str, tuple[bool, bool]]] = {}
        self._looks = 0
        self._awaited: dict[str, Any] = {}
        self._surveyed: dict[str, Any] = {}
        lab.random = self._dice = Chance()

    def run(self) -> None:
        """All of it, and a little longer for what is still under way."""
        for line in self.recording.lines:
            if line.event is not None:
                self._event(line)
            else:
                self._call(line)
        late = [s for s in self.sent if s.reply is not None and not s.reply.done]
        self.lab.settle([s.reply for s in late if s.reply], max([self.lab.now, *[s.deadline for s in late]]))

    # -- time

    def _at(self, line: Line) -> float:
        return self.start + line.t + self.shift

    def _advance(self, line: Line) -> None:
        """Let time pass to a line, looking at every state ten times a second."""
        until = self._at(line)
        while self.lab.now + STEP < until:
            self.lab.run(self.lab.now + STEP)
            self._look()
        self.lab.run(until)

    def _look(self) -> None:
        t = self.lab.now - self.start - self.shift
        self._looks += 1
        for signal, value in watched(self.lab, pbds=self._looks % 5 == 0):
            self.seen.append((signal, t, value))

    def _wait(self, check: Any) -> None:
        """Let the lab reach a state that the recorder saw by now; what follows is as much later as that takes."""
        began = self.lab.now
        while not check() and self.lab.now - began < PATIENCE:
            self.lab.run(self.lab.now + 0.05)
        self.shift += self.lab.now - began

    # -- events

    def _event(self, line: Line) -> None:
        text = line.event or ""
        self._settle_main(line)
        self._advance(line)
        if DONE_TO_IT.search(text):
            self._disrupted = line.t
        if "plan" in line.data:
            if self._placed:
                self._place(line.data["plan"])
            self._placed = True
        elif line.data.get("answer") == "OK":
            self._wait(lambda: self._takes_logins(text[:2]))
        elif WAITED_FOR.search(text) and not DONE_TO_IT.search(text):
            self._wait(self._as_expected)
        self._physical(text)
        if "domains" in line.data:
            self._note_domains(line)
        self._note_flags(line)

    def _physical(self, text: str) -> None:
        found = re.search(r"\bh\d\b", text)
        host = found[0] if found else ""
        if text.startswith("pull the plug"):
            self.lab.power_off(host)
        elif text.startswith("power on"):
            self.lab.power_on(host)
        elif text.startswith("network cable"):
            (self.lab.cut if text.endswith("down") else self.lab.heal)(host, "*")
        elif text.startswith("restart the toolstack"):
            where = re.search(r"\b(?:on|of) (h\d)", text)
            assert where is not None
            self.lab.restart_toolstack(where[1])
        elif text.startswith("write"):
            self.lab.hosts[host].role = "broken"
            self.lab.restart_toolstack(host)
        elif text.startswith("clean stop"):
            self.lab.stop_toolstack(host)
            self.lab.kernel.after(2.0, lambda: self.lab.power_off(host))

    def _place(self, plan: dict[str, str | None]) -> None:
        """Stop and start VMs as the recorder did, by calls that it did not write down."""
        master = self.lab.masters()[0]
        session = self._ask(master.address, "session.login_with_password", "root", self.lab.password)
        for name, host in plan.items():
            where = [h for h, domains in self.lab.running().items() if any(d.name == name for d in domains)]
            ref = self.recording.names["VM"][name]
            if where and where != [host]:
                self._ask(master.address, "VM.hard_shutdown", session, ref)
            if host is not None and where != [host]:
                self._ask(master.address, "VM.start_on", session, ref, self.recording.names["host"][host], False, False)

    def _ask(self, address: str, method: str, *params: Any) -> Any:
        reply = self.lab.request(address, method, params)
        self.lab.settle([reply], self.lab.now + 60.0)
        assert reply.failure is None, (method, reply.failure)
        assert reply.done, method
        assert reply.transport is None, (method, reply.transport)
        return reply.value

    def _note_domains(self, line: Line) -> None:
        theirs = {}
        for host, domains in line.data["domains"].items():
            listed = domains if isinstance(domains, list) else []
            kept = [d["vm"] for d in listed if not str(d["vm"]).endswith("-000000000000") and not d.get("suspended")]
            theirs[host] = sorted(kept)
        mine = {host: [d.name for d in domains] for host, domains in self.lab.running().items()}
        known = {host: mine[host] for host in theirs}
        self.domains.append((line.t, line.t - self._disrupted, theirs, known))

    def _flag(self, host: str) -> tuple[bool, bool]:
        """(live, enabled) of a host in the eyes of the youngest master."""
        masters = [h for h in self.lab.masters() if h.toolstack is not None and h.toolstack.db is not None]
        db = max((h.toolstack.db for h in masters if h.toolstack and h.toolstack.db), key=lambda d: d.generation)
        record = db.get("host", self.recording.names["host"][host])
        return bool(db.get("host_metrics", record["metrics"])["live"]), bool(record["enabled"])

    def _note_flags(self, line: Line) -> None:
        told = dict(line.data.get("flags", {}))
        single = re.match(r"(h\d) flags", line.event or "")
        if single:
            told[single[1]] = [line.data["live"], line.data["enabled"]]
        for host, (live, enabled) in told.items():
            if not self.lab.masters():
                continue
            mine = self._flag(host)
            since = line.t - self._disrupted
            self.flags.append((line.t, since, f"live of {host}", live, mine[0]))
            self.flags.append((line.t, since, f"enabled of {host}", enabled, mine[1]))

    def _as_expected(self, only: str = "") -> bool:
        """The lab's masters show hosts as live and enabled as the recorded ones did last."""
        for asked, flags in self._expected.items():
            if only and asked != only:
                continue
            ts = self.lab.hosts[asked].toolstack
            if ts is None or ts.db is None:
                continue
            for host, wanted in flags.items():
                record = ts.db.find("host", host)
                if record is not None and wanted == (True, True):
                    metrics = ts.db.get("host_metrics", record["metrics"])
                    if not (record["enabled"] and metrics["live"]):
                        return False
        return True

    def _expect(self, line: Line) -> None:
        value = line.data.get("value")
        if not isinstance(value, dict):
            return
        if line.data["method"] == "host.get_all_records":
            self._surveyed[line.data["to"]] = value
        elif line.data["method"] == "host_metrics.get_all_records":
            hosts = self._surveyed.get(line.data["to"], {})
            self._expected |= {
                line.data["to"]: {
                    ref: (r["enabled"], value[r["metrics"]]["live"])
                    for ref, r in hosts.items()
                    if r.get("metrics") in value
                }
            }

    # -- calls

    def _settle_main(self, line: Line) -> None:
        """What the recorder had answers to by now, the lab must have answered too, if late."""
        due = [s for s in self._open if s.line.t + s.line.took <= line.t + 0.05]
        for sent in due:
            self._open.remove(sent)
            if sent.reply is not None and "transport" not in sent.line.data:
                self.lab.settle([sent.reply], max(sent.deadline, self.lab.now))
        late = self.lab.now - self._at(line)
        if late > 0.02:
            self.shift += late

    def _call(self, line: Line) -> None:
        data = line.data
        thread = (line.survey, data["to"], data.get("via"))
        if line.survey is None:
            self._settle_main(line)
        else:
            self._expect(line)
            before = self._threads.get(thread)
            if before is not None and before.reply is not None and "transport" not in before.line.data:
                self.lab.settle([before.reply], max(self.lab.now, self._at(line) + 0.5))
        self._advance(line)
        if line.survey is None and data["method"] == LOGINS[0] and "value" in data:
            self._wait(lambda: self._takes_logins(data["to"]))
        if line.survey is None and data["session"] == "normal":
            self._wait_for_hosts(line)
        if data["method"] in DISRUPTIVE:
            self._disrupted = line.t
        if data["method"] in STUBS and "value" in data:
            self.skipped.append(line)
            return
        sent = self._send(line)
        if sent is None:
            return
        self.sent.append(sent)
        self._threads[thread] = sent
        if line.survey is None:
            self._open.append(sent)

    def _wait_for_hosts(self, line: Line) -> None:
        """The recorder went on when a survey showed hosts as live and enabled; where that takes longer, so do we.
        Once for each such survey: it may never come."""
        flags = self._expected.get(line.data["to"])
        if flags is not None and flags is not self._awaited.get(line.data["to"]):
            self._awaited[line.data["to"]] = flags
            self._wait(lambda: self._as_expected(line.data["to"]))

    def _takes_logins(self, host: str) -> bool:
        return any(h.name == host for h in self.lab.masters())

    def _send(self, line: Line) -> Sent | None:
        data, lab = line.data, self.lab
        since = line.t - self._disrupted
        method, address = data["method"], self.recording.addresses[data["to"]]
        source = data.get("via", "client")
        if method.startswith("tcp connect"):
            state = lab.tcp(address, int(method.split()[-1]), source)
            known = {"open": "connected", "unreachable": "silent", "timeout": "silent"}
            return Sent(line, None, known.get(state, state), lab.now, since)
        call: wire.Call | None = None
        if "jsonrpc" in method or method.startswith("POST"):
            try:
                call = self._written(line)
            except wire.Malformed as error:
                return Sent(line, None, f"HTTP 500: {error}", lab.now, since)
            method, params = call.method, call.params
        else:
            session = self._session(line)
            if session is None:
                return None
            params = [session if v == "SESSION" else self.names.argument(v) for v in data["args"]]
            params = [lab.password if v == "PASSWORD" else v for v in params]
            if "raw" in data:
                call = wire.Call(method, params, wire.Encoding.XML)
        self._chance(method, params)
        reply = lab.request(address, method, params, source=source)
        sent = Sent(line, reply, "", lab.now, since, call)
        reply.on_done(lambda _: self._arrived(sent))
        return sent

    def _written(self, line: Line) -> wire.Call:
        """A call that was recorded as it went over the wire."""
        body = line.data["args"][0]
        text = body if isinstance(body, str) else json.dumps(body)
        if line.data["method"] in (
            "POST /jsonrpc 1.0",
            "POST /jsonrpc 2.0",
            "jsonrpc v1",
            "jsonrpc v2",
            "POST /jsonrpc",
        ):
            call = wire.parse_json(text.encode())
        else:
            call = wire.parse_xml(text.encode())
        known = self._sessions.get(("json", line.data["to"]), self._last_normal)
        params = [known if v == "SESSION" else self.lab.password if v == "PASSWORD" else v for v in call.params]
        return wire.Call(call.method, params, call.encoding, call.ident)

    def _chance(self, method: str, params: list[Any]) -> None:
        """XAPI chooses by chance among hosts; here chance falls as it did in the recording."""
        if method.removeprefix("Async.") == "VM.start" and len(params) > 1:
            self._dice.wanted = where_it_went(self.recording, self.names, self.sent[-1].line, params[1])

    def _session(self, line: Line) -> str | None:
        """The session that the recorder used; "" when none is needed; None: a survey that could not log in here."""
        data = line.data
        if "SESSION" not in data["args"] or data["method"] in LOGINS:
            return ""
        kind, host = data["session"], data["to"]
        if line.survey is not None:
            return self._sessions.get((line.survey, host, data.get("via"), kind))
        if "session of the old" in data.get("note", "") or "session from before" in data.get("note", ""):
            return self._sessions.get(("first",), "")
        ts = self.lab.hosts[host].toolstack
        kept = self._sessions.get((host, kind), "")
        if kind == "local":
            return kept if ts is None or kept in ts.local_sessions else self._log_in(host, local=True)
        if ts is None or not ts.is_master:
            return kept or self._last_normal
        return kept if kept in ts.sessions else self._log_in(host, local=False)

    def _log_in(self, host: str, *, local: bool) -> str:
        """The recorder has sessions that it made before it wrote things down."""
        method = LOGINS[1] if local else LOGINS[0]
        ts = self.lab.hosts[host].toolstack
        if ts is None or not ts.api_up:
            return ""
        words = () if local else ("2.21", "recorder")
        session = str(self._ask(self.recording.addresses[host], method, "root", self.lab.password, *words))
        self._keep(host, "local" if local else "normal", session)
        return session

    def _keep(self, host: str, kind: str, session: str) -> None:
        self._sessions[host, kind] = session
        if kind == "normal":
            self._last_normal = session
            self._sessions.setdefault(("first",), session)

    def _arrived(self, sent: Sent) -> None:
        """Remember sessions, and which of the lab's objects stands for which recorded one."""
        reply, data = sent.reply, sent.line.data
        if reply is None or reply.failure is not None or reply.transport is not None:
            return
        method = sent.call.method if sent.call is not None else data["method"]
        if method in LOGINS:
            kind = "normal" if method == LOGINS[0] else "local"
            if sent.line.survey is not None:
                self._sessions[sent.line.survey, data["to"], data.get("via"), kind] = str(reply.value)
            elif sent.call is not None:
                self._sessions["json", data["to"]] = str(reply.value)
            elif kind == "local" or data["args"][-1] == "recorder":
                self._keep(data["to"], kind, str(reply.value))
        elif "value" in data and reply.value != NULL:
            self.names.bind(data["value"], reply.value)
            if method == "event.from" and isinstance(data["value"], dict) and "token" in data["value"]:
                self.names.pairs[data["value"]["token"]] = reply.value["token"]
