from __future__ import annotations

import json
import os
import stat
from dataclasses import replace

import pytest

from reconciler.core import evidence
from reconciler.core.evidence import BmcPower, LoginAnswer, Survey
from reconciler.core.model import Host, Pbd, Pool, PoolState, PowerState, Vm
from reconciler.xapi.snapshot import HIDDEN, Snapshot, SnapshotError, load, save

HOST = Host("h", "hu", "xen01", "10.0.0.1", True, False, 34359738368, 100, current_operations=("evacuate",))
VM = Vm("v", "vu", "db · ü", PowerState.RUNNING, "h", None, tags=("a",), blocked_operations={"start": "no"})
STATE = PoolState(
    pool=Pool("p", "pu", "", "h", None, None, other_config={"a": "b"}),
    hosts={"h": HOST},
    vms={"v": VM},
    vbds={},
    vdis={},
    srs={},
    pbds={"d": Pbd("d", "du", "h", "gone", True)},
    vifs={},
    networks={},
    pifs={},
    read_at=17.25,
    read_from="10.0.0.1",
)
SURVEY = Survey(
    5.0,
    (evidence.Testimony("xen01", "10.0.0.1", 5.0, LoginAnswer.MASTER, tcp=True, bmc=BmcPower.NONE, took=0.1),),
    took=0.2,
)
SNAPSHOT = Snapshot("madrid", 20.0, survey=SURVEY, state=STATE)


def test_what_is_saved_is_what_is_loaded(tmp_path):
    path = tmp_path / "deep" / "pool.json"
    save(SNAPSHOT, path)
    assert load(path) == SNAPSHOT
    assert isinstance(load(path).state.vms["v"].power_state, PowerState)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    save(Snapshot("madrid", 21.0, survey=SURVEY), path)
    assert load(path) == Snapshot("madrid", 21.0, survey=SURVEY)
    assert [p.name for p in path.parent.iterdir()] == ["pool.json"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "pool.json"
    save(SNAPSHOT, path)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SnapshotError, match="No space left"):
        save(replace(SNAPSHOT, name="other"), path)
    assert load(path) == SNAPSHOT
    assert len(list(tmp_path.iterdir())) == 1


def test_values_that_look_like_secrets_are_left_out(tmp_path):
    secretive = replace(STATE, hosts={"h": replace(HOST, other_config={"iscsi_Password": "hunter2", "iqn": "i"})})
    path = tmp_path / "pool.json"
    save(replace(SNAPSHOT, state=secretive), path)
    assert "hunter2" not in path.read_text()
    assert load(path).state.hosts["h"].other_config == {"iscsi_Password": HIDDEN, "iqn": "i"}


def damaged(change):
    def write(path):
        save(SNAPSHOT, path)
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return write


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda p: p.write_text(""), "not JSON, or was cut short"),
        (lambda p: p.write_bytes(b"\xff\x00" * 1000), "not JSON"),
        (lambda p: p.write_text("[" * 100_000), "not JSON"),
        (lambda p: p.write_text("[1]"), "no format_version"),
        (lambda p: p.write_text('{"format_version": 99}'), "format_version is 99"),
        (damaged(lambda c: c.pop("name")), "damaged at name"),
        (
            damaged(lambda c: c["state"]["vms"]["v"].update(power_state="Dozing")),
            r"damaged at state\.vms\.v\.power_state",
        ),
        (lambda p: p.mkdir(), "cannot be read"),
        (lambda p: None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_snapshot_says_why_and_what_to_do(tmp_path, write, words):
    path = tmp_path / "pool.json"
    write(path)
    with pytest.raises(SnapshotError, match=words) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "xenrec capture" in str(caught.value)
