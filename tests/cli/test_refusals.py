"""What can't be done: one clear message, the right exit code, and nothing called that writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.lab.server import ServedLab
from tests.cli.conftest import Bench, bench_of, first_address, xenrec

WAYS = [("plan",), ("apply", "--yes"), ("apply", "--unattended"), ("status",)]


def ways(function):
    """Each command that asks the pool."""
    return pytest.mark.parametrize("way", WAYS, ids=" ".join)(function)


def typed(bench: Bench, way: tuple[str, ...]):
    """Type it and see that nothing was written; no stack trace is a message."""
    ran = bench.run(*way)
    assert bench.writes() == []
    assert "Traceback" not in ran.said
    return ran


@ways
def test_a_wrong_password(bench: Bench, way: tuple[str, ...]) -> None:
    (bench.folder / "lab" / "password").write_text("not-the-password\n")
    ran = typed(bench, way)
    assert ran.code == 77
    # A member tells who its master is before it looks at a password.
    assert "xen01 rejects the login of root" in ran.said
    assert "check connection.username and where connection.password comes from" in ran.said
    # Asked once of each: what locks accounts is guessing.
    logins = [address for address, method in bench.calls if method == "session.login_with_password"]
    assert sorted(logins) == sorted(set(logins))
    assert "not-the-password" not in ran.said


@ways
def test_a_wrong_fingerprint_of_the_master(bench: Bench, way: tuple[str, ...]) -> None:
    identity = bench.served.identities()["xen01"]
    bench.edit(identity.fingerprint, "ab" * 32)
    ran = typed(bench, way)
    assert ran.code == 77
    assert "the certificate of xen01" in ran.said
    assert identity.fingerprint[:16] in ran.said.replace(":", "").lower()
    assert "-fingerprint -sha256" in ran.said
    # The password was not sent to whoever shows that certificate.
    assert bench.lab.hosts["xen01"].address not in {address for address, _ in bench.calls}


@ways
def test_an_unreachable_pool(bench: Bench, way: tuple[str, ...]) -> None:
    bench.served.stop()
    ran = typed(bench, way)
    assert ran.code == 69
    assert "none of the 3 members answers" in ran.said


@ways
def test_a_member_of_another_pool_at_a_declared_address(
    tmp_path: Path, certificates: Path, surroundings: dict[str, str], way: tuple[str, ...]
) -> None:
    first = first_address()
    other = first.rpartition(".")[0] + "." + str(int(first.rpartition(".")[2]) + 5)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    with (
        bench_of(ours, certificates / "ours") as bench,
        bench_of(theirs, certificates / "theirs", first=other, hosts=1, seed=7, name="theirs") as stranger,
    ):
        at = _address(stranger.served, "xen01")
        bench.edit(_address(bench.served, "xen03"), at)
        bench.edit(bench.served.identities()["xen03"].fingerprint, stranger.served.identities()["xen01"].fingerprint)
        ran = typed(bench, way)
        assert stranger.writes() == []
        assert ran.code == 1
        assert f"xen03 ({at}) is master of another pool" in ran.said
        assert "correct the member's address" in ran.said


def _address(served: ServedLab, name: str) -> str:
    with served.world() as lab:
        return served.address_of(lab.hosts[name])


@ways
def test_an_unknown_vm(bench: Bench, way: tuple[str, ...]) -> None:
    bench.edit("    - name: app-1", "    - name: app-one")
    line = _line_of(bench.manifest, "app-one")
    ran = typed(bench, way)
    assert ran.code == 3
    if way == ("status",):
        assert "1 wish can't be met" in ran.said
        assert "next: xenrec plan" in " ".join(ran.said.split())
    else:
        assert "no VM of the pool has this name" in ran.said
        assert f"pool.yaml:{line}:7)" in "".join(ran.said.split())
        assert "optional: true" in ran.said


@ways
def test_an_ambiguous_vm_name(bench: Bench, way: tuple[str, ...]) -> None:
    with bench.served.world() as lab:
        toolstack = next(h.toolstack for h in lab.hosts.values() if h.role == "master")
        assert toolstack is not None
        assert toolstack.db is not None
        refs = [r for r, vm in toolstack.db.tables["VM"].items() if vm["name_label"] in ("app-1", "mail-1")]
        for ref in refs:
            toolstack.db.update("VM", ref, name_label="app-1")
    text = bench.manifest.read_text().split("\n")
    at = next(i for i, line in enumerate(text) if "name: mail-1" in line)
    del text[at : at + 3]
    bench.manifest.write_text("\n".join(text))
    line = _line_of(bench.manifest, "name: app-1")
    ran = typed(bench, way)
    assert ran.code == 3
    if way != ("status",):
        assert "2 VMs have this name" in ran.said
        assert f"pool.yaml:{line}:7)" in "".join(ran.said.split())
        assert "write uuid: instead of name:" in " ".join(ran.said.split())


def _line_of(file: Path, text: str) -> int:
    return next(number for number, line in enumerate(file.read_text().split("\n"), 1) if text in line)


@pytest.mark.parametrize("command", [("validate",), ("plan",), ("apply", "--yes"), ("status",)], ids=" ".join)
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"\n# nothing but a comment\n", "empty"),
        (b"\x00\xff" * (5 << 20), "pool.yaml"),
        (b"{" * (10 << 20), "pool.yaml"),
        (b"- a\n- b\n", "pool.yaml:1:1"),
        (b"apiVersion: xenrec/v1\nkind: Pool\n", "pool.yaml"),
    ],
    ids=["empty", "comment", "10 MB of bytes", "10 MB of braces", "a list", "no spec"],
)
def test_a_file_that_is_no_manifest(
    surroundings: dict[str, str], tmp_path: Path, command: tuple[str, ...], content: bytes, told: str
) -> None:
    (tmp_path / "pool.yaml").write_bytes(content)
    ran = xenrec(command[0], "pool.yaml", *command[1:])
    assert ran.code == 65
    assert told in ran.said
    assert "Traceback" not in ran.said
    assert len(ran.said) < 2000


@pytest.mark.parametrize("command", [("validate",), ("plan",), ("apply", "--yes"), ("status",), ("attest", "xen01")])
def test_a_file_that_is_not_there(surroundings: dict[str, str], command: tuple[str, ...]) -> None:
    ran = xenrec(command[0], "nowhere.yaml", *command[1:])
    assert ran.code == 65
    assert "nowhere.yaml" in ran.said
    assert "no such file or directory. Check the path" in ran.said


def test_a_password_that_is_nowhere_to_be_found(bench: Bench) -> None:
    bench.edit(f"file: {bench.folder / 'lab' / 'password'}", "env: NOT_SET_ANYWHERE")
    for way in WAYS:
        ran = typed(bench, way)
        assert ran.code == 65, ran
        assert "NOT_SET_ANYWHERE" in ran.said
    assert bench.calls == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["plan", "pool.yaml", "--unatended"], "--unattended"),
        (["plan"], "MANIFEST"),
        (["plam", "pool.yaml"], "plan"),
        (["plan", "pool.yaml", "--format", "texts"], "text"),
        (["apply", "pool.yaml"], "there is no terminal to ask on"),
        (["apply", "pool.yaml", "--format", "xe", "--yes"], "apply has no format xe"),
        (["apply", "pool.yaml", "--unattended", "--attest-dead", "xen01"], "nobody is there"),
        (["apply", "pool.yaml", "--yes", "--attest-dead", "xen01"], "there is no terminal"),
        (["plan", "pool.yaml", "--require-signed"], "--require-signed needs --repo"),
        (["attest", "pool.yaml"], "which host?"),
        (["attest", "pool.yaml", "xen99", "--dead", "--reason", "x"], "declared: xen01, xen02, xen03"),
        (["attest", "pool.yaml", "xen02", "--dead"], "how you know"),
        (["attest", "pool.yaml", "xen02", "--reason", "seen"], "say what you attest"),
        (["attest", "pool.yaml", "xen02", "--dead", "--reason", "x", "--for", "3d"], "is not a time up to 12h"),
        (["export"], "ADDRESS"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_usage(bench: Bench, words: list[str], told: str) -> None:
    ran = xenrec(*words)
    assert ran.code == 64, ran
    assert told in ran.err.replace("\n", " "), ran
    assert ran.out == ""
    assert bench.writes() == []


def test_no_word_at_all_helps(surroundings: dict[str, str]) -> None:
    ran = xenrec()
    assert "plan" in ran.said
    assert "apply" in ran.said
    assert xenrec("--version").out.startswith("xenrec ")
    assert os.environ["XENREC_STATE_DIR"]


def test_a_state_folder_that_can_not_be_written(bench: Bench) -> None:
    bench.state.write_text("a file where a folder should be")
    ran = bench.run("apply", "--yes")
    assert ran.code == 1
    assert str(bench.state) in ran.err
    assert bench.writes() == []
