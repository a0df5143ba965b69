"""A pool's export is a manifest that says what is."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core import evidence
from reconciler.core.evidence import LoginAnswer, Survey
from reconciler.core.model import Host, Pool, PoolState, PowerState, Sr, Vm
from reconciler.core.plan import Status
from reconciler.core.planner import make_plan
from reconciler.core.wanted import FenceDevice, MemberState, SecretRef, SelectorKind, Wanted, WantedState
from reconciler.manifest import load
from reconciler.manifest.export import export_yaml, scalar
from reconciler.xapi.read import read_pool
from tests.manifest.build import FINGERPRINT

NOW = 1_700_000_000.0
SHARED = Path(os.environ.get("XENREC_SHARED", Path(__file__).parents[3] / "shared"))
POOLS = sorted((SHARED / "pools" / "modern").glob("*.json"))


def uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def host(number: int, name: str = "", **kw: Any) -> Host:
    values: dict[str, Any] = {
        "ref": f"h{number}", "uuid": uuid(number), "name": name or f"xen0{number}", "address": f"10.0.0.{number}",
        "enabled": True, "live": True, "memory_total": 1 << 34, "memory_overhead": 0,
    }  # fmt: skip
    return Host(**(values | kw))


def vm(number: int, name: str, state: PowerState = PowerState.RUNNING, **kw: Any) -> Vm:
    return Vm(
        f"v{number}", uuid(1000 + number), name, state, kw.pop("resident_on", None), kw.pop("affinity", None), **kw
    )


def pool(hosts: list[Host], vms: list[Vm] = (), srs: list[Sr] = (), **kw: Any) -> PoolState:  # type: ignore[assignment]
    record: dict[str, Any] = {"master": hosts[0].ref, "default_sr": None, "suspend_image_sr": None}
    return PoolState(
        Pool("p", uuid(0), kw.pop("name", "Madrid / main"), **(record | kw)),
        {h.ref: h for h in hosts},
        {v.ref: v for v in vms},
        {}, {}, {s.ref: s for s in srs}, {}, {}, {}, {},
    )  # fmt: skip


def everybody_well(state: PoolState, loaded: Wanted) -> Survey:
    """A survey in which the master acts and everybody else follows it."""
    assert state.master is not None
    master = state.master.address
    return Survey(
        NOW,
        tuple(
            evidence.Testimony(m.name, m.address, NOW, LoginAnswer.MASTER, tcp=True, pool_uuid=state.pool.uuid)
            if m.address == master
            else evidence.Testimony(
                m.name,
                m.address,
                NOW,
                LoginAnswer.SLAVE,
                follows=master,
                local_login=True,
                is_emergency=False,
                reaches_master=True,
                tcp=True,
            )
            for m in loaded.members
        ),
    )


class Recorded:
    """A session that answers from a pool database."""

    address = "192.0.2.1"

    def __init__(self, tables: dict[str, Any]) -> None:
        self.tables = tables

    def call(self, method: str, *_args: Any, **_kw: Any) -> Any:
        return self.tables.get(method.partition(".")[0], {})


@pytest.mark.skipif(not POOLS, reason="the real pool databases are not here (set XENREC_SHARED)")
@pytest.mark.parametrize("path", POOLS, ids=lambda p: p.stem)
def test_a_real_pool_is_exported_as_it_is(path: Path) -> None:
    state = read_pool(Recorded(json.loads(path.read_text())), now=NOW)  # type: ignore[arg-type]
    pins = {h.address: FINGERPRINT for h in state.hosts.values()}
    loaded = load(export_yaml(state, fingerprints=pins).encode(), "export.yaml")
    assert loaded.notes == ()
    check(state, loaded)
    plan = make_plan(loaded, everybody_well(state, loaded), now=NOW, state=state)
    assert (plan.status, plan.actions, plan.withheld, plan.unmet) == (Status.CLEAN, (), (), ())


def check(state: PoolState, loaded: Wanted) -> None:
    """Every wish is what is, and every guest has one."""
    by_member = {m.name: state.host_named(m.name) for m in loaded.members}
    assert None not in by_member.values()
    assert {h.ref for h in by_member.values() if h} == set(state.hosts)
    assert loaded.uuid == state.pool.uuid
    assert loaded.master is not None
    assert by_member[loaded.master.host] == state.master
    assert set(loaded.master.successors) == set(by_member) - {loaded.master.host}
    for wish, ref in (
        (loaded.storage.default_sr, state.pool.default_sr),
        (loaded.storage.suspend_image_sr, state.pool.suspend_image_sr),
    ):
        assert [s.ref for s in state.srs_named(wish or "")] == ([ref] if ref in state.srs else [])
    seen = set()
    for wish in loaded.vms:
        found = [g for g in state.guests if wish.value == (g.name if wish.kind is SelectorKind.NAME else g.uuid)]
        assert len(found) == 1
        seen.add(found[0].ref)
        words = {"Running": "running", "Halted": "halted", "Suspended": "suspended", "Paused": "as-is"}
        assert wish.state == words[found[0].power_state]
        home = by_member[wish.home].ref if wish.home else None  # type: ignore[union-attr]
        assert home == (found[0].affinity if found[0].affinity in state.hosts else None)
    assert seen == {g.ref for g in state.guests}


def test_names_that_are_odd_equal_or_like_patterns() -> None:
    odd = [
        "007",
        "no",
        "- a",
        "a: b",
        "a #b",
        "'q'",
        '"q"',
        "{x}",
        "é ü",
        "\xa0",
        " lead",
        "tail ",
        "a\\b",
        "~",
        "x,y",
        "日本",
    ]
    vms = [vm(n, name) for n, name in enumerate(odd)]
    vms += [vm(50, "web-*"), vm(51, "twin"), vm(52, "twin"), vm(53, ""), vm(54, "line\nbreak"), vm(55, "half\ud800")]
    vms += [vm(60, "off", PowerState.HALTED), vm(61, "asleep", PowerState.SUSPENDED), vm(62, "held", PowerState.PAUSED)]
    vms += [vm(70, "dom0", is_control_domain=True), vm(71, "golden", is_template=True), vm(72, "off", is_snapshot=True)]
    vms += [vm(80, "homely", affinity="h2"), vm(81, "lost", affinity="OpaqueRef:gone")]
    state = pool([host(1, "twin host"), host(2, "twin host"), host(3, "yes"), host(4, "bell\x07")], vms)
    text = export_yaml(state, fingerprints={h.address: FINGERPRINT for h in state.hosts.values()})
    loaded = load(text.encode(), "export.yaml")
    check(state, loaded)
    assert [m.name for m in loaded.members] == [uuid(1), uuid(4), uuid(2), "yes"]
    assert {w.value for w in loaded.vms if w.kind is SelectorKind.NAME} == {
        *odd,
        "off",
        "asleep",
        "held",
        "homely",
        "lost",
    }
    assert "# twin: is not unique" in text
    assert "# web-*: reads as a pattern" in text
    assert "it is paused" in text
    assert yaml.safe_load(text)["metadata"]["name"] == "Madrid-main"


def test_what_is_given_is_written() -> None:
    state = pool([host(1), host(2, address="fd00::2")])
    devices = (
        FenceDevice("fence_a", {"ip": "10.9.0.1", "plug": "007", "on": "yes"}, {"password": SecretRef("env", "BMC")}),
        FenceDevice("/opt/fence b", {}, {"community": SecretRef("exec", ("pass", "a, b]"))}),
    )
    other = FenceDevice("fence_a", {"ip": "10.9.0.1", "plug": "008"})
    text = export_yaml(
        state,
        username="xen rec",
        password=SecretRef("file", "no"),
        ca_file="ca.pem",
        fingerprints={"10.0.0.1:8443": FINGERPRINT.upper()},
        fencing={uuid(1): devices, "xen02": other},
        name="../x y",
        port=8443,
    )
    loaded = load(text.encode(), "export.yaml")
    assert loaded.name == "x-y"
    assert (loaded.connection.username, loaded.connection.password) == ("xen rec", SecretRef("file", "no"))
    assert loaded.connection.ca_file == "ca.pem"
    assert [m.address for m in loaded.members] == ["10.0.0.1:8443", "[fd00::2]:8443"]
    assert [m.fencing for m in loaded.members] == [devices, (other,)]
    assert [m.fingerprint for m in loaded.members] == [FINGERPRINT, None]


def test_references_that_lead_nowhere() -> None:
    state = pool([host(1), host(2)], master="OpaqueRef:gone", default_sr="OpaqueRef:gone", suspend_image_sr="s1")
    loaded = load(export_yaml(state).encode(), "x")
    assert (loaded.master, loaded.storage.default_sr, loaded.storage.suspend_image_sr) == (None, None, None)
    twins = [Sr(f"s{n}", uuid(500 + n), "Local storage", "lvm", "user", False) for n in (1, 2)]
    state = pool([host(1)], srs=twins, default_sr="OpaqueRef:gone", suspend_image_sr="s1")
    text = export_yaml(state)
    assert load(text.encode(), "x").storage.suspend_image_sr == uuid(501)
    assert "# Local storage, a name that is not unique" in text
    assert "# defaultSR: left out" in text


def test_hosts_without_an_address_of_their_own() -> None:
    state = pool([host(1), host(2, address=""), host(3, address="10.0.0.1"), host(4)])
    text = export_yaml(state)
    loaded = load(text.encode(), "x")
    assert [m.name for m in loaded.members] == ["xen01", "xen04"]
    assert text.count("# Left out: ") == 2
    with pytest.raises(ValueError, match="no host of this pool has an address"):
        export_yaml(pool([host(1, address="")]))


def test_disabled_hosts_are_in_maintenance_unless_all_are() -> None:
    hosts = [host(1), host(2, enabled=False)]
    states = [m.state for m in load(export_yaml(pool(hosts)).encode(), "x").members]
    assert states == [MemberState.ACTIVE, MemberState.MAINTENANCE]
    hosts = [replace(h, enabled=False) for h in hosts]
    states = [m.state for m in load(export_yaml(pool(hosts)).encode(), "x").members]
    assert states == [MemberState.ACTIVE, MemberState.ACTIVE]


def test_the_brake_lets_one_host_of_any_pool_be_recovered() -> None:
    for count in (1, 2, 3, 8):
        state = pool([host(n) for n in range(1, count + 1)])
        notes = load(export_yaml(state, ca_file="x").encode(), "x").notes
        assert notes == ()


def test_ha_and_workload_balancing_are_told() -> None:
    text = export_yaml(pool([host(1)], ha_enabled=True, wlb_enabled=True))
    assert "# XenServer HA is on" in text
    assert "# Workload balancing is on" in text


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(TEXTS)
def test_any_text_is_one_scalar_for_every_reader(value: str) -> None:
    written = scalar(value)
    assert "\n" not in written
    assert yaml.safe_load(f"[{written}]") == [value]
    assert yaml.safe_load(f"{written}: 1  # c\n") == {value: 1}


@given(st.lists(TEXTS, max_size=6), st.lists(TEXTS, min_size=1, max_size=3), TEXTS)
def test_any_names_export_and_load(vms: list[str], hosts: list[str], name: str) -> None:
    state = pool(
        [host(n, given) for n, given in enumerate(hosts, 1)],
        [vm(n, given, affinity="h1") for n, given in enumerate(vms)],
        name=name,
    )
    check(state, load(export_yaml(state).encode(), "x"))
    assert all(w.state is WantedState.RUNNING for w in load(export_yaml(state).encode(), "x").vms)
