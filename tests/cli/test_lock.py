"""xenrec lock and history, typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.lease import LIFETIME, make
from reconciler.lab.faults import deed
from reconciler.state.folder import PoolFolder
from tests.cli.desk import Desk, at_desk  # noqa: F401 - the fixture


def pool_record(desk: Desk) -> dict[str, Any]:
    (record,) = desk.lab.masters()[0].toolstack.db.tables["pool"].values()
    return record  # type: ignore[no-any-return]


def other_machine(desk: Desk, ahead: float = 0.0, master: str = "") -> None:
    """Another machine's run holds the pool; the master's clock is ahead by so much."""
    now = float(int(desk.lab.now)) + ahead
    lease = make(4, machine="elsewhere", run="r-9", by="juan@other", pid=33, since=now, now=now, master=master)
    config = {**pool_record(desk)["other_config"], lease.key: lease.value}
    ref = next(iter(desk.lab.masters()[0].toolstack.db.tables["pool"]))
    desk.lab.masters()[0].toolstack.db.update("pool", ref, other_config=config)


def test_free(desk: Desk) -> None:
    shown = desk("xenrec lock show m.yaml")
    assert (shown.text, shown.code) == ("this machine: free\nthe pool: free\n", 0)
    assert desk("xenrec lock release m.yaml").text == "there was no lease to remove\n"


def test_held_elsewhere_is_told_and_apply_is_busy(desk: Desk) -> None:
    desk.lab.power_off("xen02")
    desk.lab.run(desk.lab.now + 60)
    other_machine(desk)
    shown = desk("xenrec lock show m.yaml")
    assert shown.code == 75
    assert "the pool: run r-9 of juan@other, process 33, since 2026-11-22 03:0" in shown.text
    assert "xenrec lock release m.yaml" in shown.text
    assert json.loads(desk("xenrec lock show m.yaml --format json").text)["leases"][0]["by"] == "juan@other"
    busy = desk("xenrec apply m.yaml --yes")
    assert busy.code == 75, busy.text
    assert "run r-9 of juan@other" in busy.text
    assert "nothing was done" in busy.text
    noted = desk("xenrec plan m.yaml")
    assert "run r-9 of juan@other" in noted.text
    refused = desk("xenrec lock release m.yaml")
    assert refused.code == 64
    assert "xenrec lock release m.yaml --yes" in refused.text
    removed = desk("xenrec lock release m.yaml --yes")
    assert removed.code == 0
    assert removed.text.endswith("removed: 1; the pool is free\n")
    assert not [key for key in pool_record(desk)["other_config"] if key.startswith("xenrec-lease")]
    done = desk("xenrec apply m.yaml --yes")
    assert done.code in (0, 3), done.text


def test_an_expired_lease_is_no_obstacle(desk: Desk) -> None:
    other_machine(desk)
    desk.lab.run(desk.lab.now + LIFETIME + 1)
    shown = desk("xenrec lock show m.yaml")
    assert shown.code == 0
    assert "(expired: whoever comes takes it over)" in shown.text


def test_a_lease_of_before_another_host_became_master_is_no_obstacle(desk: Desk) -> None:
    other_machine(desk, master="OpaqueRef:another")
    shown = desk("xenrec lock show m.yaml")
    assert shown.code == 0
    assert "(of before another host became master: whoever comes takes it over)" in shown.text
    assert not json.loads(desk("xenrec lock show m.yaml --format json").text)["leases"][0]["live"]
    assert "another run works on this pool" not in desk("xenrec plan m.yaml --verbose").text


@pytest.mark.parametrize("skew", [600.0, -600.0])
def test_a_lease_counts_by_the_masters_clock(desk: Desk, skew: float) -> None:
    """By this machine's own it would be expired, or hold for longer than it does: who compares the times with the clock
    on the wall would release the lease of a run that lives."""
    deed(desk.lab, ["clock", desk.lab.masters()[0].name, f"{skew:g}"])()
    desk.lab.power_off("xen02")
    desk.lab.run(desk.lab.now + 60)
    other_machine(desk, skew)
    how = "10 min ahead of" if skew > 0 else "10 min behind"
    shown = desk("xenrec lock show m.yaml")
    assert f"unless it is renewed, by the clock of the master, which is {how} this machine's" in shown.text
    assert shown.code == 75
    busy = desk("xenrec apply m.yaml --yes")
    assert (busy.code, f"(by the clock of the master, which is {how} this machine's)" in busy.text) == (75, True)
    desk.lab.run(desk.lab.now + LIFETIME + 1)
    shown = desk("xenrec lock show m.yaml")
    assert "(expired: whoever comes takes it over)" in shown.text
    assert shown.code == 0


def test_held_here(desk: Desk) -> None:
    folder = PoolFolder(Path(desk.terminal.env["XENREC_STATE_DIR"]), "m")
    with folder.lock(run="r-1", since=desk.lab.now):
        shown = desk("xenrec lock show m.yaml")
        assert shown.code == 75
        assert "this machine: run r-1, process " in shown.text
        assert desk("xenrec lock release m.yaml --yes").code == 75


def test_history(desk: Desk) -> None:
    assert "No run on pool m is recorded" in desk("xenrec history m.yaml").text
    desk.lab.power_off("xen02")
    desk.lab.run(desk.lab.now + 60)
    desk("xenrec apply m.yaml --yes")
    (run,) = json.loads(desk("xenrec history m.yaml --format json").text)["runs"]
    assert run["ended"]
    assert run["results"]["done"] > 1
    shown = desk("xenrec history m.yaml last")
    assert shown.code == 0
    assert shown.text.startswith(f"Run {run['run']}\n")
    assert "declare-dead xen02: about to send" in shown.text
    assert "lease taken (xenrec-lease-1)" in shown.text
    assert desk("xenrec history m.yaml nosuch").code == 64
    assert desk("xenrec history m.yaml ../../etc/passwd").code == 64
    # A line torn by a kill in the middle of a write is left out.
    (file,) = Path(desk.terminal.env["XENREC_STATE_DIR"]).glob("*/runs/*.jsonl")
    whole = file.read_bytes()
    file.write_bytes(whole[: whole.rindex(b'"run-end"')])
    assert "no end recorded" in desk("xenrec history m.yaml").text
