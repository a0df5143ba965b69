"""Secret references to secrets, when they are needed. No text here ever holds a secret or a command's output."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

from reconciler.core.wanted import SecretRef

EXEC_TIMEOUT = 30.0
"""Seconds that a command may take, a person's answer to its question included."""
MAX_SECRET = 64 * 1024
"""Bytes."""


class SecretError(LookupError):
    """A secret can't be had. `what` names the reference, `why` the reason, `remedy` what to do."""

    def __init__(self, what: str, why: str, remedy: str) -> None:
        self.what, self.why, self.remedy = what, why, remedy
        super().__init__(f"{what}: {why}. {remedy}")


def resolve(ref: SecretRef, *, environ: Mapping[str, str], base: Path) -> str:
    """The secret. `base`: the folder that relative files are relative to, the manifest's own; commands run in it.

    One newline at its end is dropped. Raises SecretError if there is none, if a file of it is readable by everybody,
    or if it has several lines: fence agents read `option=value` lines, and a second line would be a second option.
    """
    match ref.kind, ref.value:
        case "env", str(name):
            return _clean(_from_env(name, environ), f"environment variable {name}")
        case "file", str(name):
            return _clean(_from_file(_path(name, environ, base)), f"file {name}")
        case "exec", tuple(argv) if argv:
            return _clean(_from_command(argv, environ, base), f"command {argv[0]}")
        case "cred", str(name):
            return _clean(_from_credential(name, environ), f"credential {name}")
    raise SecretError(f"secret of kind {ref.kind}", "it can't be read", "Use env, file, exec or cred.")


def _clean(secret: bytes | str, what: str) -> str:
    if isinstance(secret, bytes):
        if len(secret) > MAX_SECRET:
            raise SecretError(
                what, f"it gives more than {MAX_SECRET // 1024} KiB", "Check that it is the secret alone."
            )
        try:
            secret = secret.decode()
        except UnicodeDecodeError:
            # Not chained: the error's text quotes the bytes.
            raise SecretError(what, "it gives no UTF-8 text", "Check that it is the secret alone.") from None
    secret = secret.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise SecretError(what, "it is empty", "Put the secret there.")
    if any(sign in secret for sign in "\n\r\0"):
        raise SecretError(what, "it gives more than one line", "Give the secret alone, on one line.")
    return secret


def _from_env(name: str, environ: Mapping[str, str]) -> str:
    if name not in environ:
        raise SecretError(
            f"environment variable {name}", "it is not set", f"Set it: `read -rs {name} && export {name}` asks for it."
        )
    return environ[name]


def _path(name: str, environ: Mapping[str, str], base: Path) -> Path:
    if name.startswith("~/") and environ.get("HOME"):
        return Path(environ["HOME"]) / name[2:]
    return base / name


def _from_file(path: Path) -> bytes:
    what = f"file {path}"
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IROTH:
                raise SecretError(what, "everybody on this machine can read it", f"Run `chmod 600 {path}`.")
            return file.read(MAX_SECRET + 1)
    except (OSError, ValueError) as error:
        why = (getattr(error, "strerror", None) or "it can't be read").lower()
        raise SecretError(what, why, "Check the path and its owner; it is relative to the manifest.") from None


def _from_credential(name: str, environ: Mapping[str, str]) -> bytes:
    folder = environ.get("CREDENTIALS_DIRECTORY")
    remedy = f"Add `LoadCredential={name}:/path/to/it` to the unit; elsewhere use env, file or exec."
    if not folder:
        raise SecretError(f"credential {name}", "systemd gave none ($CREDENTIALS_DIRECTORY is not set)", remedy)
    if "/" in name or name in ("", ".", ".."):
        raise SecretError(f"credential {name}", "it is no file name", remedy)
    try:
        with (Path(folder) / name).open("rb") as file:
            return file.read(MAX_SECRET + 1)
    except (OSError, ValueError):
        raise SecretError(f"credential {name}", "systemd gave none of that name", remedy) from None


def _from_command(argv: tuple[str, ...], environ: Mapping[str, str], base: Path) -> bytes:
    """What the command prints. Its messages go nowhere: they might hold what it was asked for."""
    what = f"command {argv[0]}"
    try:
        # The manifest's owner chose the command; no shell reads it.
        process = subprocess.Popen(  # noqa: S603
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=base,
            env=dict(environ),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = (getattr(error, "strerror", None) or "it can't be started").lower()
        raise SecretError(what, why, "Check its path and permissions, and $PATH.") from None
    with process:
        try:
            output, _ = process.communicate(timeout=EXEC_TIMEOUT)
        except subprocess.TimeoutExpired:
            why = f"it gave nothing within {EXEC_TIMEOUT:g} s"
            raise SecretError(what, why, "Run it by hand: it may wait for an answer.") from None
        finally:
            if process.returncode is None:
                # Its own session, so that what it started ends with it and can't hold the pipe open.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        raise SecretError(what, f"it failed with exit code {process.returncode}", "Run it by hand to see why.")
    return output
