"""XAPI tasks: submit Async calls, wait for many at once in one event.from, read what became of them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import unescape

from reconciler.core.port import (
    Fault,
    FaultKind,
    Json,
    Port,
    Session,
    TaskResult,
    TaskStatus,
    TransportFault,
    XapiFailure,
)
from reconciler.xapi.fields import Record

EVENT_TIMEOUT = 10.0
"""Seconds that one event.from may block. After each that brought nothing the tasks themselves are looked at, because
deletions can be lost in silence and tokens from before a restart of the master starve (sheet §8.2)."""
ANSWER_SLACK = 15.0
"""Seconds beyond its own timeout that an event.from may take to answer."""
POLL = 1.0
"""Seconds between two looks where event.from can't be used."""

_NO_EVENTS = frozenset(
    {"MESSAGE_METHOD_UNKNOWN", "MESSAGE_REMOVED", "MESSAGE_DEPRECATED", "EVENT_SUBSCRIPTION_PARSE_FAILURE"}
)
_VALUE = re.compile(r"<value>(?:<string>)?([^<]*)(?:</string>)?</value>|<value\s*/>")
_STATUSES = {
    "pending": TaskStatus.PENDING,
    "cancelling": TaskStatus.PENDING,
    "success": TaskStatus.SUCCESS,
    "failure": TaskStatus.FAILURE,
    "cancelled": TaskStatus.CANCELLED,
}


class XapiTasks:
    """Tasks of one session at the acting master (core.port.Tasks)."""

    def __init__(self, port: Port, session: Session) -> None:
        self._port = port
        self._session = session
        self._has_events = True

    def submit(self, method: str, *params: Json, deadline: float = 30.0) -> str:
        """Send `Async.<method>` and return its task's ref; raises XapiFailure or TransportFault."""
        ref = self._session.call(f"Async.{method}", *params, deadline=deadline)
        if not isinstance(ref, str) or not ref:
            raise TransportFault(
                FaultKind.PROTOCOL, f"{self._session.address}: answered Async.{method} with no task", sent=True
            )
        return ref

    def wait(self, refs: Sequence[str], until: float) -> dict[str, TaskResult]:
        """Until at least one task has ended or `until` (UTC seconds); one result per ref. See core.port.Tasks."""
        results = {ref: TaskResult(ref, TaskStatus.PENDING) for ref in refs}
        token = ""
        while refs:
            if self._has_events:
                token = self._by_event(results, token, until)
            else:
                self._by_reading(results)
            if any(r.ended for r in results.values()):
                self._destroy(r.task for r in results.values() if r.ended and r.status is not TaskStatus.UNKNOWN)
                break
            if self._port.now() >= until:
                break
            if not self._has_events:
                self._port.wait(max(0.0, min(POLL, until - self._port.now())))
        return results

    def cancel(self, ref: str) -> None:
        """Ask for cancellation, best effort; the operation may still succeed."""
        with contextlib.suppress(Fault):
            self._session.call("task.cancel", ref)

    def _by_event(self, results: dict[str, TaskResult], token: str, until: float) -> str:
        """One event.from on all tasks: the first, with the empty token, answers at once with every task's record."""
        timeout = max(0.0, min(EVENT_TIMEOUT, until - self._port.now()))
        try:
            batch = self._session.call(
                "event.from", [f"task/{ref}" for ref in results], token, timeout, deadline=timeout + ANSWER_SLACK
            )
        except XapiFailure as failure:
            if failure.code not in _NO_EVENTS:
                raise
            self._has_events = False
            return token
        events, new_token = self._parts(batch)
        for event in events:
            ref, record = event.get("ref"), event.get("snapshot")
            if ref in results and isinstance(record, Mapping) and event.get("operation") != "del":
                results[ref] = result_of(str(ref), record)
        # A task that the first answer does not show, one that was deleted, and silence all call for a look.
        deleted = {event.get("ref") for event in events if event.get("operation") == "del"}
        shown = {event.get("ref") for event in events}
        doubtful = [
            ref
            for ref, result in results.items()
            if not result.ended and (ref in deleted or not events or (token == "" and ref not in shown))
        ]
        for ref in doubtful:
            results[ref] = self._look(ref)
        return new_token

    def _by_reading(self, results: dict[str, TaskResult]) -> None:
        for ref, result in results.items():
            if not result.ended:
                results[ref] = self._look(ref)

    def _look(self, ref: str) -> TaskResult:
        try:
            record = self._session.call("task.get_record", ref)
        except XapiFailure as failure:
            if failure.code != "HANDLE_INVALID":
                raise
            return TaskResult(ref, TaskStatus.UNKNOWN)
        if not isinstance(record, Mapping):
            raise self._strange("task.get_record")
        return result_of(ref, record)

    def _parts(self, batch: Any) -> tuple[list[Mapping[str, Any]], str]:
        if not isinstance(batch, Mapping) or not isinstance(batch.get("events"), list):
            raise self._strange("event.from")
        events = batch["events"]
        if not all(isinstance(e, Mapping) and isinstance(e.get("ref"), str) for e in events):
            raise self._strange("event.from")
        if not isinstance(batch.get("token"), str):
            raise self._strange("event.from")
        return events, batch["token"]

    def _strange(self, method: str) -> TransportFault:
        return TransportFault(
            FaultKind.PROTOCOL, f"{self._session.address}: {method} did not answer as XAPI does", sent=True
        )

    def _destroy(self, refs: Any) -> None:
        for ref in refs:
            # XAPI keeps 200 ended tasks of everybody together; ours are read, so they go.
            with contextlib.suppress(Fault):
                self._session.call("task.destroy", ref)


def result_of(ref: str, record: Mapping[str, Any]) -> TaskResult:
    """What a task record says; raises TransportFault(PROTOCOL) where it is no task record."""
    fields = Record("task", ref, record)
    word = fields.text("status")
    if word not in _STATUSES:
        raise TransportFault(FaultKind.PROTOCOL, f"task.status is {word!r}, no status of XAPI's", sent=True)
    status = _STATUSES[word]
    failure = None
    error = fields.texts("error_info")
    if error:
        failure = XapiFailure(*error)
    elif status is TaskStatus.FAILURE:
        failure = XapiFailure("INTERNAL_ERROR", "the task failed without saying why")
    progress = record.get("progress", 0.0)
    return TaskResult(
        ref,
        status,
        failure=failure if status in (TaskStatus.FAILURE, TaskStatus.CANCELLED) else None,
        result=plain_result(fields.text("result")) if status is TaskStatus.SUCCESS else None,
        progress=float(progress) if isinstance(progress, int | float) else 0.0,
    )


def plain_result(text: str) -> str | None:
    """A task's result out of its XML: the ref or text of `<value>…</value>`, None for void.

    A set or a struct stays XML: no caller needs one. XAPI sends XML here to JSON clients too (sheet §8.1).
    """
    found = _VALUE.fullmatch(text.strip())
    if found is None:
        return text or None
    return unescape(found.group(1) or "") or None
