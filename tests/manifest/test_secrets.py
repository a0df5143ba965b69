"""Secrets are had when they are needed, and never shown."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from reconciler.core.wanted import SecretRef
from reconciler.manifest import secrets
from reconciler.manifest.secrets import SecretError, resolve

WORD = "correct horse battery"


def secret_file(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_each_kind(tmp_path: Path) -> None:
    secret_file(tmp_path / "pw", WORD.encode() + b"\n")
    environ = {"PW": WORD, "CREDENTIALS_DIRECTORY": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    printer = (sys.executable, "-c", f"print({WORD!r})")
    for ref in (
        SecretRef("env", "PW"),
        SecretRef("file", "pw"),
        SecretRef("file", str(tmp_path / "pw")),
        SecretRef("file", "~/pw"),
        SecretRef("exec", printer),
        SecretRef("exec", ("cat", "pw")),
        SecretRef("cred", "pw"),
    ):
        assert resolve(ref, environ=environ, base=tmp_path) == WORD


def test_one_newline_is_dropped_and_nothing_else(tmp_path: Path) -> None:
    for content, kept in ((b" a \n", " a "), (b"a\r\n", "a"), ("é".encode(), "é")):
        secret_file(tmp_path / "pw", content)
        assert resolve(SecretRef("file", "pw"), environ={}, base=tmp_path) == kept


def refused(ref: SecretRef, base: Path, environ: dict[str, str] | None = None) -> SecretError:
    with pytest.raises(SecretError) as caught:
        resolve(ref, environ=environ or {"PATH": "/usr/bin:/bin"}, base=base)
    assert caught.value.what
    assert caught.value.why
    assert caught.value.remedy
    chain: list[BaseException | None] = [caught.value, caught.value.__cause__]
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert not any(WORD in repr(error) for error in chain)
    return caught.value


def test_what_cannot_be_had(tmp_path: Path) -> None:
    cases = [
        (SecretRef("env", "NOPE"), "is not set"),
        (SecretRef("file", "nope"), "no such file"),
        (SecretRef("file", "."), "is a directory"),
        (SecretRef("file", "a\0b"), "can't be read"),
        (SecretRef("exec", ("/nope/nope",)), "no such file"),
        (SecretRef("exec", ("sh", "-c", f"echo {WORD}; echo {WORD} >&2; exit 3")), "exit code 3"),
        (SecretRef("exec", ("true",)), "is empty"),
        (SecretRef("cred", "nope"), "$CREDENTIALS_DIRECTORY is not set"),
        (SecretRef("vault", "x"), "can't be read"),
        (SecretRef("exec", ()), "can't be read"),
    ]
    for ref, words in cases:
        assert words in str(refused(ref, tmp_path)), ref
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert "none of that name" in str(refused(SecretRef("cred", "nope"), tmp_path, environ))
    assert "is no file name" in str(refused(SecretRef("cred", "../pw"), tmp_path, environ))
    assert "is empty" in str(refused(SecretRef("env", "PW"), tmp_path, {"PW": ""}))


@pytest.mark.parametrize(
    "content", [WORD.encode() + b"\nsecond", WORD.encode() + b"\0", WORD.encode() + b"\xff", b"a" * 70_000, b""]
)
def test_what_is_no_secret(tmp_path: Path, content: bytes) -> None:
    secret_file(tmp_path / "pw", content)
    refused(SecretRef("file", "pw"), tmp_path)
    refused(SecretRef("exec", ("cat", "pw")), tmp_path)


def test_a_file_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    path = secret_file(tmp_path / "pw", WORD.encode(), 0o644)
    assert f"chmod 600 {path}" in refused(SecretRef("file", "pw"), tmp_path).remedy
    path.chmod(0o640)
    assert resolve(SecretRef("file", "pw"), environ={}, base=tmp_path) == WORD


def test_a_command_that_waits_is_ended_with_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "EXEC_TIMEOUT", 0.2)
    began = time.monotonic()
    error = refused(SecretRef("exec", ("sh", "-c", f"echo {WORD}; sleep 31 & echo $! > child; wait")), tmp_path)
    assert "within 0.2 s" in str(error)
    assert time.monotonic() - began < 5
    child = (tmp_path / "child").read_text().strip()
    until = time.monotonic() + 5
    while time.monotonic() < until:
        state = subprocess.run(["ps", "-o", "stat=", "-p", child], capture_output=True, text=True, check=False).stdout
        if not state.strip() or state.startswith("Z"):
            return
    raise AssertionError("the command's child lives on")


def test_a_command_gets_the_given_environment_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTSIDE", "1")
    ref = SecretRef("exec", ("/bin/sh", "-c", 'echo "${OUTSIDE-unset}$INSIDE"'))
    assert resolve(ref, environ={"INSIDE": "2"}, base=tmp_path) == "unset2"
