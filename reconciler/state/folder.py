"""Where the state lives, and the folder of one pool in it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler.core.armed import Armed
from reconciler.core.buried import Buried
from reconciler.core.copies import Refreshed
from reconciler.core.evidence import Certificate, Incident
from reconciler.core.limits import Pause
from reconciler.core.obligations import Obligation
from reconciler.core.unsettled import Unsettled
from reconciler.state.copies import Copies
from reconciler.state.disk import StateError, damaged, give_to_owner_of, make_folder, read_json, remove, write_json
from reconciler.state.durations import Durations
from reconciler.state.journal import Journal, read_journal
from reconciler.state.lock import LockBusy, holder, locked
from reconciler.state.memory import Memory
from reconciler.state.records import (
    BadRecord,
    certificate_from_json,
    certificate_to_json,
    incident_from_json,
    incident_to_json,
)
from reconciler.state.shelf import Shelf

FORMAT_VERSION = 1
EXPIRED_KEPT = 30 * 86_400.0
"""Seconds that an expired certificate is kept, for whoever asks afterwards what an action rested on."""
VOIDED_KEPT = 100
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def state_dir(environ: Mapping[str, str] | None = None, *, uid: int | None = None) -> Path:
    """Where this user's state belongs: $XENREC_STATE_DIR, else systemd's $STATE_DIRECTORY (its first), else
    /var/lib/xenrec for root, else $XDG_STATE_HOME/xenrec (~/.local/state/xenrec). Raises StateError when it is not
    an absolute path: a relative one would be another directory, with other locks, for cron than for a shell."""
    env = os.environ if environ is None else environ
    for name, value in (
        ("XENREC_STATE_DIR", env.get("XENREC_STATE_DIR", "")),
        ("STATE_DIRECTORY", env.get("STATE_DIRECTORY", "").split(":")[0]),
    ):
        if value:
            if not Path(value).is_absolute():
                raise StateError(f"{name} is {value!r}, which is not an absolute path", f"export {name}=/absolute/path")
            return Path(value)
    if (os.geteuid() if uid is None else uid) == 0:
        return Path("/var/lib/xenrec")
    home = env.get("XDG_STATE_HOME", "")
    if Path(home).is_absolute():  # the XDG specification: a relative one is to be ignored
        return Path(home) / "xenrec"
    if not Path(env.get("HOME", "")).is_absolute():
        raise StateError(
            "neither HOME nor XENREC_STATE_DIR says where the state is", "export XENREC_STATE_DIR=/absolute/path"
        )
    return Path(env["HOME"]) / ".local" / "state" / "xenrec"


def folder_name(pool: str) -> str:
    """A file name for a pool: readable, safe, and different for different names."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", pool).strip("-")[:40] or "pool"
    return f"{readable}-{hashlib.sha256(pool.encode('utf-8', 'surrogateescape')).hexdigest()[:10]}"


class PoolFolder:
    """All that is kept about one pool. Nothing is made before something is written, so reading needs no rights.

    Writers are durable when they return and raise StateError (an OSError). Readers raise StateError for what is there
    but can't be believed; what is not there is empty.
    """

    def __init__(self, base: Path, pool: str) -> None:
        self.pool = pool
        self.path = base / folder_name(pool)

    @property
    def last_known(self) -> Path:
        """Where the snapshot of the pool as last read belongs (xapi/snapshot.py writes and reads it)."""
        return self.path / "last-known.json"

    @property
    def memory(self) -> Memory:
        """Pauses, obligations and VMs found stopped."""
        return Memory(self.path)

    @property
    def durations(self) -> Durations:
        """How long actions on VMs took."""
        return Durations(self.path)

    @property
    def copies(self) -> Copies:
        """What is remembered about the members' copies of the database."""
        return Copies(self.path)

    def add_refreshed(self, fresh: Sequence[Refreshed]) -> None:
        """Remember which hosts have a copy of the database of when. Raises StateError."""
        self.copies.change(lambda memory: memory.with_refreshed(tuple(fresh)))

    def refresh_failed(self, at: float) -> None:
        """Remember that a refresh failed at `at` (UTC seconds). Raises StateError."""
        self.copies.change(lambda memory: replace(memory, failed=at))

    def prepare(self) -> None:
        """Make the folder, for whoever writes `last_known`. Raises StateError."""
        make_folder(self.path)

    def machine_if_known(self) -> str | None:
        """That name, None where none was made on this machine. Raises StateError."""
        content = read_json(self.path / "machine.json", FORMAT_VERSION)
        if content is None or content.get("hostname") != os.uname().nodename:
            return None
        return str(content.get("machine"))

    def machine(self) -> str:
        """A random name of this folder on this machine, made at first need: what tells the lease of our own dead run
        from that of another machine, which may have got a copy of this folder. To be called with the lock held."""
        path = self.path / "machine.json"
        here = os.uname().nodename
        content = read_json(path, FORMAT_VERSION)
        if content is None or content.get("hostname") != here:
            content = {"format_version": FORMAT_VERSION, "hostname": here, "machine": secrets.token_hex(8)}
            write_json(path, content)
        name = content.get("machine")
        if not isinstance(name, str) or not name:
            raise damaged(path, "its machine is missing or not a text")
        return name

    def lock(self, *, run: str, since: float) -> AbstractContextManager[None]:
        """Held while a run changes the pool; never waits: raises LockBusy, or StateError. `since` in UTC seconds."""
        return self._lock(run, since)

    def holder(self) -> LockBusy | None:
        """The run on this machine that holds the lock now, None when nobody does. Raises StateError."""
        return holder(self.path / "lock", self.pool)

    @contextlib.contextmanager
    def _lock(self, run: str, since: float) -> Iterator[None]:
        with locked(self.path / "lock", self.pool, run=run, since=since):
            try:
                yield
            finally:
                self.settle_owners()

    # --- certificates --------------------------------------------------------------------------------------------

    def add_certificate(self, certificate: Certificate) -> None:
        """Remember a proof of death; it replaces one of the same kind for the same host."""
        with self._certificates_file() as content:
            kept = [
                old
                for old in _certificates(self._certificates_path, content)
                if (old.kind, old.host, old.address, old.host_uuid)
                != (certificate.kind, certificate.host, certificate.address, certificate.host_uuid)
                and old.expires_at > certificate.issued_at - EXPIRED_KEPT
            ]
            content["certificates"] = [certificate_to_json(one) for one in (*kept, certificate)]

    def certificates(self, *, now: float | None = None) -> tuple[Certificate, ...]:
        """Every certificate that was not voided or revoked, oldest first; with `now`, those that have not expired."""
        content = read_json(self._certificates_path, FORMAT_VERSION)
        found = _certificates(self._certificates_path, content or {})
        return tuple(one for one in sorted(found, key=lambda one: one.issued_at) if now is None or now < one.expires_at)

    def void_certificate(self, certificate: Certificate, why: str) -> None:
        """The host showed a sign of life: the certificate proves nothing more. It is kept aside, with the reason."""
        self._void(lambda one: one == certificate, why)

    def revoke(self, host: str, why: str) -> tuple[Certificate, ...]:
        """Take back every certificate for the host of that name, address or uuid: those taken back."""
        return self._void(lambda one: host in (one.host, one.address, one.host_uuid), why)

    def _void(self, chosen: Callable[[Certificate], bool], why: str) -> tuple[Certificate, ...]:
        if not self._certificates_path.exists():
            return ()
        with self._certificates_file() as content:
            found = _certificates(self._certificates_path, content)
            gone = [one for one in found if chosen(one)]
            content["certificates"] = [certificate_to_json(one) for one in found if not chosen(one)]
            aside = content.get("voided")
            aside = aside if isinstance(aside, list) else []
            aside += [{"certificate": certificate_to_json(one), "why": why} for one in gone]
            content["voided"] = aside[-VOIDED_KEPT:]
        return tuple(gone)

    def voided(self) -> tuple[tuple[Certificate, str], ...]:
        """Certificates that a sign of life made void or that were revoked, each with the reason, the latest last."""
        content = read_json(self._certificates_path, FORMAT_VERSION) or {}
        found = []
        aside = content.get("voided", [])
        for one in aside if isinstance(aside, list) else []:
            try:
                found.append((certificate_from_json(one.get("certificate")), str(one.get("why", ""))))
            except (BadRecord, AttributeError):
                continue  # of what is void nothing rests on it, so a damaged record is no danger
        return tuple(found)

    @property
    def _certificates_path(self) -> Path:
        return self.path / "certificates.json"

    def _certificates_file(self) -> AbstractContextManager[dict[str, Any]]:
        """Read, change, write back, alone: a person attests while a run holds the pool's lock."""
        return Shelf(self.path, "certificates").content()

    # --- the incident --------------------------------------------------------------------------------------------

    def save_incident(self, incident: Incident) -> None:
        """Remember a promotion, before it is sent; it replaces one that can no longer take effect. With it goes the
        obligation that the lost master must be seen following the new one, which outlives the incident."""
        if incident.lost_master != incident.candidate:
            self.memory.oblige(_obligation(incident))
        write_json(self._incident_path, {"format_version": FORMAT_VERSION, "incident": incident_to_json(incident)})

    def incident(self) -> Incident | None:
        """The promotion that was sent and is not yet confirmed, None when there is none. A file that can't be believed
        is an error and never None: None would allow a second promotion."""
        return _sent(self._incident_path, "incident")

    def clear_incident(self) -> None:
        """Forget it: one master is confirmed, or it surely was not sent. Fine when there is none."""
        remove(self._incident_path)

    def withdraw_incident(self) -> None:
        """Forget it with all that came with it: the host surely did not become master."""
        sent = self.incident()
        if sent is not None:
            self.memory.withdraw(_obligation(sent))
        self.clear_incident()

    def arm(self, one: Armed) -> None:
        """Remember that a host refused for HA. Raises StateError, OSError."""
        self.memory.arm(one)

    @property
    def _incident_path(self) -> Path:
        return self.path / "incident.json"

    def save_handover(self, handover: Incident) -> None:
        """Remember a hand-over of the office in a healthy pool, before it is sent."""
        write_json(self._handover_path, {"format_version": FORMAT_VERSION, "handover": incident_to_json(handover)})

    def handover(self) -> Incident | None:
        """The hand-over that was sent and whose end no run has seen, None when there is none. Raises StateError."""
        return _sent(self._handover_path, "handover")

    def clear_handover(self) -> None:
        """Forget it: it is known what came of it. Fine when there is none."""
        remove(self._handover_path)

    def bury(self, vms: Sequence[Buried]) -> None:
        """Remember the VMs of a host, before it is declared dead."""
        self.memory.bury(vms)

    def begin(self, start: Unsettled) -> Unsettled:
        """Remember a start before it is sent; what is held, maybe an older one. Raises StateError, OSError."""
        return self.memory.begin(start)

    def end(self, start: Unsettled) -> None:
        """It is known what came of it. Raises StateError, OSError."""
        self.memory.end((start,))

    def unsettled(self) -> tuple[Unsettled, ...]:
        """Starts whose end nobody saw. Raises StateError, OSError."""
        return self.memory.unsettled()

    def pauses(self, *, now: float) -> tuple[Pause, ...]:
        """The pauses that hold. Raises StateError, OSError."""
        return self.memory.pauses(now=now)

    def freed(self, host_uuid: str) -> None:
        """That host was declared dead, so no start left a disk locked there. Raises StateError, OSError."""
        self.memory.freed(host_uuid)

    @property
    def _handover_path(self) -> Path:
        return self.path / "handover.json"

    # --- journals ------------------------------------------------------------------------------------------------

    def journal(self, run: str) -> Journal:
        """The journal of a run; nothing is written until its first line. Raises ValueError for an unsafe run id."""
        if not RUN_ID.fullmatch(run):
            raise ValueError(f"{run!r} is not a run id")
        return Journal(self.path / "runs" / f"{run}.jsonl")

    def runs(self) -> tuple[str, ...]:
        """Ids of the runs that have a journal, the latest first."""
        try:
            found = [(path.stat().st_mtime_ns, path.stem) for path in (self.path / "runs").glob("*.jsonl")]
        except OSError as error:
            raise StateError(
                f"{self.path / 'runs'} can't be read: {error.strerror or error}", f"ls -l {self.path}"
            ) from None
        return tuple(run for _, run in sorted(found, reverse=True))

    def lines(self, run: str) -> list[dict[str, Any]]:
        """The lines of a run's journal, as far as they can be read. Raises StateError, ValueError."""
        return read_journal(self.journal(run).path)

    def prune(self, keep: int = 500) -> None:
        """Remove the oldest journals beyond `keep` (at least 1); to be called with the lock held."""
        for run in self.runs()[max(keep, 1) :]:
            remove(self.path / "runs" / f"{run}.jsonl")

    def settle_owners(self) -> None:
        """Give what root wrote here to the folder's owner (disk.give_to_owner_of); of comfort, so never an error."""
        with contextlib.suppress(OSError):
            for path in self.path.iterdir():
                give_to_owner_of(self.path, path)


def _sent(path: Path, name: str) -> Incident | None:
    """What was sent and is not settled yet, None without such a file. Raises StateError when it is damaged."""
    content = read_json(path, FORMAT_VERSION)
    if content is None:
        return None
    try:
        return incident_from_json(content.get(name))
    except BadRecord as error:
        raise damaged(path, str(error)) from None


def _certificates(path: Path, content: Mapping[str, Any]) -> list[Certificate]:
    """The certificates in the content of the file. Raises StateError when one is damaged."""
    listed = content.get("certificates", [])
    if not isinstance(listed, list):
        raise damaged(path, "its certificates are not a list")
    try:
        return [certificate_from_json(one) for one in listed]
    except BadRecord as error:
        raise damaged(path, str(error)) from None


def _obligation(sent: Incident) -> Obligation:
    return Obligation(sent.lost_master, sent.lost_address, sent.candidate, sent.sent_at, sent.run)
