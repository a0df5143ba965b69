"""What is written is durable, what is damaged is never taken for absent, and two runs never overlap."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.evidence import Certificate, CertificateKind, Incident
from reconciler.state.disk import StateError, give_to_owner_of, write_whole
from reconciler.state.folder import PoolFolder, folder_name, state_dir
from reconciler.state.lock import LockBusy

CERT = Certificate(
    kind=CertificateKind.ATTESTED,
    pool="madrid",
    host="xen01",
    address="10.0.0.11",
    host_uuid="u-1",
    by="ana",
    reason="smoke",
    issued_at=1000.0,
    expires_at=2800.0,
)
INCIDENT = Incident("madrid", "xen02", "10.0.0.12", "xen01", "10.0.0.11", 1234.5, "run-1")


@pytest.fixture
def folder(tmp_path: Path) -> PoolFolder:
    return PoolFolder(tmp_path / "state", "madrid")


# --- where ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "uid", "expected"),
    [
        ({"XENREC_STATE_DIR": "/a", "STATE_DIRECTORY": "/b", "HOME": "/h"}, 0, "/a"),
        ({"STATE_DIRECTORY": "/b:/c", "HOME": "/h"}, 1000, "/b"),
        ({"HOME": "/root", "XDG_STATE_HOME": "/x"}, 0, "/var/lib/xenrec"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/x"}, 1000, "/x/xenrec"),
        ({"HOME": "/h", "XDG_STATE_HOME": "x"}, 1000, "/h/.local/state/xenrec"),
        ({"HOME": "/h"}, 1000, "/h/.local/state/xenrec"),
    ],
)
def test_the_state_directory(environ: dict[str, str], uid: int, expected: str) -> None:
    assert state_dir(environ, uid=uid) == Path(expected)


@pytest.mark.parametrize("environ", [{"XENREC_STATE_DIR": "state"}, {"STATE_DIRECTORY": "state"}, {}])
def test_a_state_directory_that_depends_on_where_one_stands_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(StateError) as caught:
        state_dir(environ, uid=1000)
    assert "export" in caught.value.remedy


@given(st.text(), st.text())
def test_folder_names_are_safe_and_distinct(one: str, other: str) -> None:
    name = folder_name(one)
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    assert not name.startswith("-")
    assert 0 < len(name) <= 60
    assert (name == folder_name(other)) == (one == other)


def test_reading_makes_nothing_and_private_is_what_is_made(folder: PoolFolder) -> None:
    assert folder.certificates() == ()
    assert folder.incident() is None
    assert folder.runs() == ()
    folder.clear_incident()
    assert folder.revoke("xen01", "no") == ()
    assert not folder.path.parent.exists()
    folder.add_certificate(CERT)
    folder.save_incident(INCIDENT)
    folder.journal("run-1").write("begin")
    with folder.lock(run="run-1", since=1.0):
        pass
    for path in (folder.path.parent, *folder.path.parent.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


# --- certificates ----------------------------------------------------------------------------------------------------


def test_certificates_come_back_as_they_were(folder: PoolFolder) -> None:
    second = replace(CERT, kind=CertificateKind.FENCED, host_uuid=None, issued_at=900.0)
    folder.add_certificate(CERT)
    folder.add_certificate(second)
    again = PoolFolder(folder.path.parent, "madrid")
    assert again.certificates() == (second, CERT)
    assert PoolFolder(folder.path.parent, "Madrid").certificates() == ()
    assert folder.certificates(now=2799.0) == (second, CERT)
    assert folder.certificates(now=2800.0) == ()


def test_a_new_attestation_replaces_the_old_one_of_that_host(folder: PoolFolder) -> None:
    folder.add_certificate(CERT)
    other = replace(CERT, host="xen02", address="10.0.0.12", host_uuid="u-2")
    folder.add_certificate(other)
    longer = replace(CERT, issued_at=2000.0, expires_at=9000.0)
    folder.add_certificate(longer)
    assert folder.certificates() == (other, longer)


def test_certificates_long_expired_are_dropped(folder: PoolFolder) -> None:
    folder.add_certificate(CERT)
    later = replace(CERT, host="xen02", address="b", host_uuid=None, issued_at=CERT.expires_at + 31 * 86_400)
    folder.add_certificate(later)
    assert folder.certificates() == (later,)


def test_a_voided_certificate_is_kept_aside_with_its_reason_and_never_comes_back(folder: PoolFolder) -> None:
    other = replace(CERT, host="xen02", address="10.0.0.12", host_uuid="u-2")
    folder.add_certificate(CERT)
    folder.add_certificate(other)
    folder.void_certificate(CERT, "xen01 answered")
    assert folder.certificates() == (other,)
    assert folder.revoke("u-2", "wrong host") == (other,)
    assert folder.revoke("xen02", "again") == ()
    assert folder.certificates() == ()
    content = json.loads((folder.path / "certificates.json").read_text())
    assert [(v["certificate"]["host"], v["why"]) for v in content["voided"]] == [
        ("xen01", "xen01 answered"),
        ("xen02", "wrong host"),
    ]


DAMAGE = [
    b"",
    b"\n",
    b'{"format_version": 1, "certificates": [{"kind"',
    b"[]",
    b"\xff\xfe",
    b"null",
    b"[" * 100_000,
    b'{"format_version": 2, "certificates": []}',
    b'{"format_version": 1, "certificates": {}}',
    b'{"format_version": 1, "certificates": [7]}',
    b'{"format_version": 1, "certificates": [{"kind": "wished"}]}',
    b'{"format_version": 1, "incident": {"pool": "madrid"}}{',
]


@pytest.mark.parametrize("content", DAMAGE)
def test_a_damaged_file_is_an_error_with_its_name_and_a_remedy_never_silence(
    folder: PoolFolder, content: bytes
) -> None:
    write_whole(folder.path / "certificates.json", content)
    with pytest.raises(StateError, match="damaged") as caught:
        folder.certificates()
    assert str(folder.path / "certificates.json") in caught.value.what
    assert "mv " in caught.value.remedy
    with pytest.raises(StateError):
        folder.add_certificate(CERT)
    assert (folder.path / "certificates.json").read_bytes() == content


@pytest.mark.parametrize("field", sorted(CERT.__dataclass_fields__))
@pytest.mark.parametrize("value", [7, True, [], {"a": 1}, "x", float("inf")])
def test_every_field_is_checked(folder: PoolFolder, field: str, value: object) -> None:
    folder.add_certificate(CERT)
    path = folder.path / "certificates.json"
    content = json.loads(path.read_text())
    good = isinstance(value, str) and field not in ("kind", "issued_at", "expires_at")
    good = good or (value == 7 and value is not True and field in ("issued_at", "expires_at"))
    content["certificates"][0][field] = value
    write_whole(path, json.dumps(content).encode())
    if good:
        assert getattr(folder.certificates()[0], field) == value
    else:
        with pytest.raises(StateError):
            folder.certificates()


def test_a_file_that_others_may_write_proves_nothing(folder: PoolFolder) -> None:
    folder.add_certificate(CERT)
    (folder.path / "certificates.json").chmod(0o666)
    with pytest.raises(StateError, match="other users"):
        folder.certificates()


def test_a_link_in_place_of_a_record_is_not_followed(folder: PoolFolder, tmp_path: Path) -> None:
    folder.prepare()
    (tmp_path / "elsewhere").write_text("{}")
    (folder.path / "incident.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError):
        folder.incident()


# --- the incident ----------------------------------------------------------------------------------------------------


def test_an_incident_is_remembered_until_it_is_cleared(folder: PoolFolder) -> None:
    folder.save_incident(INCIDENT)
    assert PoolFolder(folder.path.parent, "madrid").incident() == INCIDENT
    later = replace(INCIDENT, candidate="xen03", run="run-2")
    folder.save_incident(later)
    assert folder.incident() == later
    folder.clear_incident()
    assert folder.incident() is None


def test_a_damaged_incident_is_never_no_incident(folder: PoolFolder) -> None:
    folder.save_incident(INCIDENT)
    path = folder.path / "incident.json"
    whole = path.read_bytes()
    for length in range(len(whole) - 2):
        write_whole(path, whole[:length])
        with pytest.raises(StateError):
            folder.incident()


# --- durability ------------------------------------------------------------------------------------------------------


def test_content_is_on_disk_before_the_name_and_the_name_before_the_return(
    folder: PoolFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.prepare()
    done: list[str] = []
    fsync, replace_name = os.fsync, os.replace

    def recording_fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def recording_replace(source: str, target: Path) -> None:
        done.append("replace")
        replace_name(source, target)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "replace", recording_replace)
    folder.save_incident(INCIDENT)
    assert done == ["file", "replace", "folder"] * 2  # the obligation that outlives it, then the incident
    done.clear()
    folder.clear_incident()
    assert done == ["folder"]


def test_a_failed_write_leaves_the_old_file_and_no_litter(folder: PoolFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.save_incident(INCIDENT)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError, match="No space left") as caught:
        folder.save_incident(replace(INCIDENT, run="run-2"))
    assert "df -h" in caught.value.remedy
    assert isinstance(caught.value, OSError)
    monkeypatch.undo()
    assert folder.incident() == INCIDENT
    assert sorted(path.name for path in folder.path.iterdir()) == ["incident.json", "memory.json", "memory.lock"]


def test_a_state_directory_that_cannot_be_made_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError) as caught:
        PoolFolder(tmp_path / "file" / "state", "p").add_certificate(CERT)
    assert "XENREC_STATE_DIR" in caught.value.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_in_a_service_users_folder_belongs_to_the_service_user(tmp_path: Path) -> None:
    base = tmp_path / "state"
    base.mkdir()
    os.chown(base, 61_184, 61_184)  # in the range of systemd's dynamic users
    folder = PoolFolder(base, "madrid")
    folder.add_certificate(CERT)
    with folder.lock(run="run-1", since=1.0):
        folder.journal("run-1").write("begin")
        folder.last_known.write_text("{}")  # as another room writes it
    assert {path.stat().st_uid for path in base.rglob("*")} == {61_184}
    own = tmp_path / "own"
    own.mkdir()
    (own / "x").write_text("")
    give_to_owner_of(own, own / "x")
    assert (own / "x").stat().st_uid == 0


# --- the lock --------------------------------------------------------------------------------------------------------


def test_the_second_run_is_told_who_the_first_is(folder: PoolFolder) -> None:
    with (
        folder.lock(run="run-1", since=1000.0),
        pytest.raises(LockBusy) as caught,
        folder.lock(run="run-2", since=1001.0),
    ):
        pytest.fail("two runs at once")
    assert (caught.value.pid, caught.value.run, caught.value.since) == (os.getpid(), "run-1", 1000.0)
    assert "madrid" in str(caught.value)
    with folder.lock(run="run-3", since=1002.0), PoolFolder(folder.path.parent, "lyon").lock(run="run-3", since=1.0):
        pass


def test_an_error_inside_frees_the_lock(folder: PoolFolder) -> None:
    with pytest.raises(KeyError), folder.lock(run="run-1", since=1.0):
        raise KeyError("boom")
    with folder.lock(run="run-2", since=1.0):
        pass


def test_an_unreadable_holder_is_still_busy(folder: PoolFolder) -> None:
    with folder.lock(run="run-1", since=1.0):
        (folder.path / "lock").write_text("{torn")
        with pytest.raises(LockBusy) as caught, folder.lock(run="run-2", since=1.0):
            pass
    assert caught.value.pid == 0


HOLD = """
import sys, time
from pathlib import Path
from reconciler.state.folder import PoolFolder
folder = PoolFolder(Path(sys.argv[1]), "madrid")
with folder.lock(run="victim", since=5.0):
    journal = folder.journal("victim")
    journal.write("intent", action="promote", at=5.0)
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_killed_run_frees_its_lock_and_leaves_its_journal(folder: PoolFolder) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder.path.parent)], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"ready\n"
        with pytest.raises(LockBusy) as caught, folder.lock(run="second", since=6.0):
            pass
        assert (caught.value.pid, caught.value.run) == (run.pid, "victim")
        run.send_signal(signal.SIGKILL)
    with folder.lock(run="second", since=6.0):
        assert folder.runs() == ("victim",)


def test_a_hand_over_is_kept_beside_an_incident(tmp_path: Path) -> None:
    folder = PoolFolder(tmp_path, "p")
    assert folder.handover() is None
    sent = Incident("p", "xen02", "10.0.0.2", "xen01", "10.0.0.1", 5.0, "r1")
    folder.save_handover(sent)
    assert (folder.handover(), folder.incident()) == (sent, None)
    (folder.path / "handover.json").write_text("{")
    with pytest.raises(StateError, match=r"handover\.json is damaged"):
        folder.handover()
    folder.clear_handover()
    assert folder.handover() is None


def test_the_folder_has_a_name_of_its_own_on_each_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = PoolFolder(tmp_path, "p")
    name = folder.machine()
    assert PoolFolder(tmp_path, "p").machine() == name
    assert PoolFolder(tmp_path, "q").machine() != name
    here = os.uname()
    copied = os.uname_result((here[0], "another-host", *here[2:]))
    monkeypatch.setattr(os, "uname", lambda: copied)
    assert folder.machine() != name


def test_the_holder_of_the_lock_is_told_without_taking_it(tmp_path: Path) -> None:
    folder = PoolFolder(tmp_path, "p")
    assert folder.holder() is None
    with folder.lock(run="r7", since=12.0):
        busy = folder.holder()
        assert busy is not None
        assert (busy.run, busy.pid, busy.since) == ("r7", os.getpid(), 12.0)
    assert folder.holder() is None
