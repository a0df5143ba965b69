"""Files that survive a power cut: written whole or not at all, and found damaged rather than believed.

Everything is private (folders 0700, files 0600). When root works in a folder that belongs to somebody else, as an
administrator does in the folder of a systemd DynamicUser service, what root makes is given to the folder's owner:
otherwise the service could not read what its administrator attested.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

SIZE_LIMIT = 16 * 1024 * 1024
"""Bytes of a record file (not of a journal or a snapshot) above which it is surely not ours."""


class StateError(OSError):
    """The state directory can't be read, written or believed. `remedy` is the next thing to type or do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}. {self.remedy}"


def room(folder: Path) -> str:
    """What to do about a disk that takes nothing."""
    return f"Free or mount that disk (df -h {folder}), or point XENREC_STATE_DIR elsewhere"


def opened_by_its_owner(error: OSError, path: Path) -> str:
    """What to do where a file of ours can't be opened to be written: the disk, or else somebody else's file."""
    if error.errno in (errno.EROFS, errno.ENOSPC, errno.EDQUOT):
        return room(path.parent)
    return f"Run as the user that it belongs to (ls -l {path.parent}), or point XENREC_STATE_DIR elsewhere"


def make_folder(path: Path) -> None:
    """Make a folder of ours and its parents, 0700, and fsync where it was entered. Raises StateError."""
    if path.is_dir():
        return
    try:
        if not path.parent.is_dir():
            make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        give_to_owner_of(path.parent, path)
        sync_folder(path.parent)
    except StateError:
        raise
    except OSError as error:
        raise StateError(
            f"the state directory {path} can't be made: {error.strerror or error}",
            "Point XENREC_STATE_DIR at a directory that this user may write",
        ) from None


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def give_to_owner_of(folder: Path, path: Path) -> None:
    """When we are root and the folder isn't root's, give `path` to the folder's owner; otherwise nothing."""
    if os.geteuid() == 0:
        owner = folder.stat()
        if owner.st_uid != 0:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file atomically; content and name are on disk when this returns. Raises StateError."""
    make_folder(path.parent)
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600, O_EXCL
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        give_to_owner_of(path.parent, Path(temporary))
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise StateError(f"{path} can't be written: {error.strerror or error}", room(path.parent)) from None


def write_json(path: Path, value: dict[str, Any]) -> None:
    """`write_whole` of a value as JSON that people can read."""
    write_whole(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def read_json(path: Path, version: int) -> dict[str, Any] | None:
    """The JSON object in a file of ours, None when there is no such file.

    Raises StateError for a file that is torn, that is not ours, that a newer xenrec wrote, or that others may write:
    such a file may hold the word on a host's death or on a promotion that was sent, so it is never taken for absent.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path} can't be read: {error.strerror or error}", f"Look at it: ls -l {path}") from None
    with open(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise damaged(path, "it is not a plain file")
        if found.st_mode & 0o022:
            raise StateError(
                f"{path} may be written by other users, so it proves nothing",
                f"Look into it, and if it is right: chmod 600 {path}",
            )
        if found.st_size > SIZE_LIMIT:
            raise damaged(path, f"it has {found.st_size} bytes")
        try:
            content = file.read()
            value = json.loads(content)
        except OSError as error:
            raise StateError(f"{path} can't be read: {error.strerror or error}", "Check that disk") from None
        except (ValueError, RecursionError):
            raise damaged(
                path, "it is empty" if not content.strip() else "it is not JSON, or only a part of it"
            ) from None
    if not isinstance(value, dict):
        raise damaged(path, "it is not a JSON object")
    if value.get("format_version") != version:
        raise damaged(path, f"its format_version is {value.get('format_version')!r}, this xenrec writes {version}")
    return value


def damaged(path: Path, why: str) -> StateError:
    """The error for a file that can't be believed."""
    return StateError(
        f"{path} is damaged: {why}",
        f"Look into it; when it is clear what it said: mv {path} {path}.damaged and run again",
    )


def remove(path: Path) -> None:
    """Remove a file durably; fine when it is not there. Raises StateError."""
    try:
        path.unlink()
        sync_folder(path.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StateError(f"{path} can't be removed: {error.strerror or error}", f"Remove it: rm {path}") from None
