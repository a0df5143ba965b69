"""Another client of the pool: Xen Orchestra, or an operator with `xe`. It acts on its own and waits for nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from reconciler.lab.carrier import OPERATOR
from reconciler.lab.database import Database
from reconciler.lab.engine import Lab
from reconciler.lab.hosts import LabHost, Reply
from reconciler.lab.kernel import Steps

PATIENCE = 600.0
"""Seconds after which it looks no longer for the answer to a call."""
CLASSES = {"vm": "VM", "host": "host", "sr": "SR", "pool": "pool", "cd": "VBD"}


class Visitor:
    """Makes one call as a thread of its own, from the endpoint `operator`, and notes what came of it."""

    def __init__(self, lab: Lab, note: Callable[[str], None]) -> None:
        self._lab = lab
        self._note = note

    def call(self, host: str, method: str, words: Sequence[str]) -> None:
        """Make a call at a host ("": whoever acts as a master), with the names in it looked up when it is made."""
        self._lab.kernel.spawn(self._call(host, method, list(words)), f"{OPERATOR} {method}")

    def _call(self, host: str, method: str, words: list[str]) -> Steps:
        said = f"{method} {' '.join(words)}".rstrip()
        masters = [h for h in self._lab.masters() if self._lab.reaches(OPERATOR, h)]
        where = self._lab.hosts[host] if host else (masters[0] if masters else None)
        if where is None:
            self._note(f"{said}: no master answers")
            return
        known = where.toolstack is not None and where.toolstack.is_master
        login = "session.login_with_password" if known else "session.slave_local_login_with_password"
        session = yield from self._ask(where, login, ["root", self._lab.password])
        if session is None or session.value is None or session.failure is not None or session.transport is not None:
            self._note(f"{said}: no login at {where.name}")
            return
        try:
            params = [self._read(where, word) for word in words]
        except LookupError as error:
            self._note(f"{said}: {error}")
            return
        reply = yield from self._ask(where, method, [session.value, *params])
        if reply is None:
            self._note(f"{said}: no answer")
        elif reply.failure is not None:
            self._note(f"{said}: {reply.failure[0]}")
        else:
            self._note(f"{said}: {reply.transport or 'done'}")
        if known:
            yield from self._ask(where, "session.logout", [session.value])

    def _ask(self, where: LabHost, method: str, params: list[Any]) -> Steps:
        reply = self._lab.request(where.address, method, params, source=OPERATOR)
        arrived = self._lab.kernel.event()
        reply.on_done(arrived.fire)
        came: bool = yield from self._lab.kernel.either(arrived, PATIENCE)
        found: Reply | None = reply if came else None
        return found

    def _read(self, where: LabHost, word: str) -> Any:
        kind, colon, name = word.partition(":")
        if colon and kind == "text":
            return name
        if colon and kind == "address":
            return self._lab.hosts[name].address
        if colon and kind in CLASSES:
            return self._ref(where, kind, name)
        if word in ("true", "false"):
            return word == "true"
        if word in ("{}", "[]"):
            return {} if word == "{}" else []
        return int(word) if word.lstrip("-").isdigit() else word

    def _ref(self, where: LabHost, kind: str, name: str) -> str:
        ts = where.toolstack
        db = ts.db_now() if ts is not None else None
        tables = (db if db is not None else Database.restore(where.disk)).tables
        cls = CLASSES[kind]
        for ref, record in tables[cls].items():
            if kind == "pool" or (kind != "cd" and name in (record["name_label"], record["uuid"])):
                return ref
            if kind == "cd" and record["type"] == "CD" and tables["VM"].get(record["VM"], {}).get("name_label") == name:
                return ref
        raise LookupError(f"no {cls} is called {name}")
