"""What the serving process makes of a request, and how it explains what went wrong."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import typer

from reconciler.cli.lab_common import account_roles
from reconciler.lab.__main__ import accounts, explain, make_lab, password
from reconciler.lab.picture import describe
from reconciler.lab.served_port import bind, choose_port
from reconciler.lab.timing import Release, Timing
from reconciler.lab.tls import identity
from tests.lab.served.conftest import first_address, free_port

REQUEST: dict[str, Any] = {
    "hosts": 3,
    "vms": 5,
    "seed": 7,
    "from": None,
    "fast": True,
    "release": "classic",
    "address": "127.5.5.1",
    "port": None,
}
POOLS = Path(os.environ.get("XENREC_SHARED", Path(__file__).parents[4] / "shared")) / "pools/modern"


def test_a_request_becomes_a_lab_without_waits_that_the_real_network_adds() -> None:
    lab = make_lab(REQUEST, "secret")
    assert [host.address for host in lab.hosts.values()] == ["127.5.5.1", "127.5.5.2", "127.5.5.3"]
    assert lab.release is Release.CLASSIC
    assert (lab.timing.latency, lab.timing.call, lab.timing.vm_start) == (0.0, 0.0, Timing.fast().vm_start)
    assert make_lab({**REQUEST, "fast": False}, "secret").timing.vm_start == Timing().vm_start


def test_the_same_seed_gives_the_same_pool_and_another_seed_another() -> None:
    first, again, other = (describe(make_lab({**REQUEST, "seed": seed}, "secret"))["vms"] for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_each_lab_is_a_pool_of_its_own() -> None:
    """What a run remembers goes by the uuids of the pool and of its hosts: promotions, proofs, who was buried."""
    first, again = (make_lab(REQUEST, "secret") for _ in range(2))
    assert describe(first)["pool"]["uuid"] != describe(again)["pool"]["uuid"]
    assert {host.uuid for host in first.hosts.values()}.isdisjoint(host.uuid for host in again.hosts.values())


@pytest.mark.parametrize("file", sorted(POOLS.glob("*.json")) or [None], ids=lambda f: f.stem if f else "none")
def test_a_request_may_name_a_pool_database(file: Path | None) -> None:
    if file is None:
        pytest.skip(f"needs the pool databases in {POOLS}")
    lab = make_lab({**REQUEST, "from": str(file)}, "secret")
    assert all(host.address.startswith("127.5.5.") for host in lab.hosts.values())
    assert sum(len(domains) for domains in lab.running().values()) > 0


def test_the_password_is_made_once_and_kept(tmp_path: Path) -> None:
    made = password(tmp_path)
    assert len(made) >= 12
    assert password(tmp_path) == made
    assert stat.S_IMODE((tmp_path / "password").stat().st_mode) == 0o600
    (tmp_path / "password").write_text("chosen\n")
    assert password(tmp_path) == "chosen"


def test_accounts_have_passwords_of_their_own_in_files_of_their_own(tmp_path: Path) -> None:
    request = {**REQUEST, "accounts": {"viewer": "read-only"}}
    made = accounts(tmp_path, request)
    assert accounts(tmp_path, request) == made
    assert stat.S_IMODE((tmp_path / "password-viewer").stat().st_mode) == 0o600
    lab = make_lab(request, password(tmp_path), made)
    address = next(iter(lab.hosts.values())).address
    secret = (tmp_path / "password-viewer").read_text().strip()
    reply = lab.request(address, "session.login_with_password", ["viewer", secret])
    lab.settle([reply], lab.now + 10)
    assert reply.failure is None
    assert reply.value.startswith("OpaqueRef:")
    assert accounts(tmp_path, REQUEST) == {}


def test_account_takes_a_name_and_a_role(capsys: pytest.CaptureFixture[str]) -> None:
    assert account_roles(["a:read-only", "b:pool-operator"]) == {"a": "read-only", "b": "pool-operator"}
    for wrong in (["a"], ["a:boss"], ["root:read-only"], ["../x:read-only"], ["a:read-only", "a:read-only"]):
        with pytest.raises(typer.Exit) as ended:
            account_roles(wrong)
        assert ended.value.exit_code == 64
        assert f"--account {wrong[-1]}: " in capsys.readouterr().err


def test_an_identity_is_kept_until_its_host_has_another_name(tmp_path: Path) -> None:
    first = identity(tmp_path, "xen01", "127.5.5.1")
    assert identity(tmp_path, "xen01", "127.5.5.1") == first
    assert stat.S_IMODE(first.file.stat().st_mode) == 0o600
    assert identity(tmp_path, "xen02", "127.5.5.1").fingerprint != first.fingerprint
    first.file.write_text("garbage")
    assert identity(tmp_path, "../odd/" + "x" * 80, "127.5.5.1").file == first.file
    assert first.thumbprint.replace(":", "").lower() == first.fingerprint


def test_the_port_is_one_that_every_address_has_free() -> None:
    one, two = first_address(), first_address()
    port = free_port(one)
    assert choose_port([one, two], port) == port
    taken = bind(two, port)
    try:
        with pytest.raises(OSError, match="in use") as caught:
            choose_port([one, two], port)
    finally:
        taken.close()
    assert caught.value.filename == f"{two}:{port}"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.EADDRINUSE, "in use", "127.0.0.1:443"), "127.0.0.1:443: in use: choose other addresses"),
        (PermissionError(errno.EACCES, "denied", "127.0.0.1:443"), "not permitted to you: leave --port at auto"),
        (PermissionError(errno.EACCES, "denied", "/x/lab.json"), "/x/lab.json: denied"),
        (ValueError("f.json: not JSON"), "f.json: not JSON"),
    ],
)
def test_errors_of_the_start_are_one_line_with_a_remedy(error: Exception, text: str) -> None:
    assert text in explain(error)
    assert "\n" not in explain(error)
