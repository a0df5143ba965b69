"""XAPI's HA, armed on one host only: no promotion rests beside it, and what ends the wait."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.armed import Armed, half_broken, still_armed
from reconciler.core.evidence import Survey
from reconciler.core.plan import Verb
from reconciler.core.planner import make_plan
from tests.core.build import NOW, PoolBuilder, certificate, survey, wanted

KNOWN = replace(PoolBuilder().state(), read_at=NOW - 60)
LOST = {"xen01": "silent off", "xen02": "follows xen01", "xen03": "follows xen01"}


def armed(spec: dict[str, str], name: str, master: str | None = None) -> Survey:
    found = survey(spec, master=master)
    told = (replace(t, armed_at=NOW - 30) if t.name == name else t for t in found.testimonies)
    return replace(found, testimonies=tuple(told))


def test_nobody_is_promoted_beside_a_host_that_would_refuse() -> None:
    dead = [certificate("xen01")]
    for name, said in (("xen02", "xen02 refuses to be promoted"), ("xen03", "xen03 would refuse to follow xen02")):
        plan = make_plan(wanted(), armed(LOST, name), now=NOW, last_known=KNOWN, certificates=dead)
        assert plan.actions == ()
        (held,) = [w for w in plan.withheld if w.action.verb is Verb.PROMOTE]
        assert held.why.startswith(said)
        assert f"on {name}: xe host-emergency-ha-disable --force" in held.remedy
        assert held.remedy.endswith(f"xenrec unpark pool.yaml --host {name}")
    plan = make_plan(wanted(), survey(LOST, master=None), now=NOW, last_known=KNOWN, certificates=dead)
    assert [a.verb for a in plan.actions if a.verb is Verb.PROMOTE] == [Verb.PROMOTE]


def test_a_host_by_whose_word_ha_is_on_stops_a_promotion() -> None:
    seen = survey({**LOST, "xen03": "emergency"}, master=None)
    detail = "HA_POOL_IS_ENABLED_BUT_HOST_IS_DISABLED []"
    told = (replace(t, detail=detail, is_emergency=True) if t.name == "xen03" else t for t in seen.testimonies)
    seen = replace(seen, testimonies=tuple(told))
    plan = make_plan(wanted(), seen, now=NOW, last_known=KNOWN, certificates=[certificate("xen01")])
    assert plan.actions == ()
    assert "XAPI's own HA is on in this pool" in plan.withheld[0].why
    assert any("xen03 says that it is on in the pool" in note for note in plan.notes)


def test_what_ends_it() -> None:
    held = (Armed("xen02", NOW - 30, "r"),)
    seen = survey({})
    assert still_armed(wanted(), held, seen) == held
    assert still_armed(wanted(), held, survey({"xen01": "silent", "xen02": "master"}, master=None)) == ()
    for started, ha, left in ((NOW - 10, False, ()), (NOW - 50, False, held), (NOW - 10, True, held)):
        state = PoolBuilder().state(ha_enabled=ha)
        ref, host = next((r, h) for r, h in state.hosts.items() if h.name == "xen02")
        host = replace(host, other_config={"agent_start_time": f"{int(started)}."})
        state = replace(state, hosts={**state.hosts, ref: host})
        assert still_armed(wanted(), held, seen, state) == left


def test_a_managed_pool_says_it_and_a_pool_whose_ha_is_on_does_not() -> None:
    seen = armed({}, "xen02", "xen01")
    (told,) = half_broken(wanted(), seen, ha_on=False)
    assert "xen02 refuses to become master" in told
    assert "xe-toolstack-restart" in told
    assert half_broken(wanted(), seen, ha_on=True) == ()
