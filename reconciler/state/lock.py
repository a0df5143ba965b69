"""One run at a time on one pool on this machine. The kernel holds the lock, so a killed run leaves none behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from reconciler.state.disk import StateError, give_to_owner_of, make_folder, opened_by_its_owner


class LockBusy(Exception):
    """Another run works on this pool. `pid` 0 and `run` "" when it has not yet written who it is.

    `since` is UTC seconds, 0.0 when unknown.
    """

    def __init__(self, pool: str, *, pid: int, run: str, since: float) -> None:
        who = f"run {run}, process {pid}" if pid else "it has just begun"
        super().__init__(f"another run is working on pool {pool} ({who})")
        self.pool = pool
        self.pid = pid
        self.run = run
        self.since = since


@contextlib.contextmanager
def locked(path: Path, pool: str, *, run: str, since: float) -> Iterator[None]:
    """Hold the lock file for as long as the block lasts; never waits. Raises LockBusy or StateError.

    The file stays: removing it would let two runs lock two files of one name.
    """
    descriptor = _open(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(descriptor, pool) from None
        except OSError as error:
            raise StateError(
                f"{path} can't be locked: {error.strerror or error}",
                "Keep the state on a local disk: point XENREC_STATE_DIR at one",
            ) from None
        _say(descriptor, json.dumps({"pid": os.getpid(), "run": run, "since": since}))
        try:
            yield
        finally:
            _say(descriptor, "")
    finally:
        os.close(descriptor)


def holder(path: Path, pool: str) -> LockBusy | None:
    """Who holds the lock now, as the trouble that it would be; None when nobody does. Nothing is made or written.

    Raises StateError when the file can't be asked. A run that begins in the very moment of the question finds it busy.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"the lock {path} can't be read: {error.strerror or error}", f"ls -l {path}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _busy(descriptor, pool)
    except OSError as error:
        raise StateError(f"the lock {path} can't be asked: {error.strerror or error}", f"ls -l {path}") from None
    finally:
        os.close(descriptor)
    return None


def _open(path: Path) -> int:
    make_folder(path.parent)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        give_to_owner_of(path.parent, path)
    except OSError as error:
        what = f"the lock {path} can't be opened: {error.strerror or error}"
        raise StateError(what, opened_by_its_owner(error, path)) from None
    return descriptor


def _say(descriptor: int, words: str) -> None:
    """Who holds the lock, for people only: a full disk must not stop a run."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, words.encode(), 0)


def _busy(descriptor: int, pool: str) -> LockBusy:
    pid, run, since = 0, "", 0.0
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        holder = json.loads(os.pread(descriptor, 4096, 0))
        pid, run, since = int(holder["pid"]), str(holder["run"]), float(holder["since"])
    return LockBusy(pool, pid=pid, run=run, since=since)
