"""Nobody is master and members follow one another: recognised, drawn, and led out of; and what forbids it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.checker import check_plan
from reconciler.core.diagnose import diagnose
from reconciler.core.evidence import Incident, Situation, Survey
from reconciler.core.model import PoolState
from reconciler.core.plan import Plan
from reconciler.core.planner import make_plan
from reconciler.core.ties import Chain, End, chains, circle_of, roots, ties_of
from reconciler.core.wanted import Level, MasterWish
from reconciler.views.drawing import drawing
from tests.core.build import NOW, PoolBuilder, address, certificate, survey, verbs, wanted

CIRCLE = {"xen01": "follows xen03", "xen02": "follows xen03", "xen03": "follows xen01"}
"""Recording 13."""


def seen(spec: dict[str, str] | None = None, hosts: int = 3, **more: Any) -> Survey:
    return survey(CIRCLE if spec is None else spec, hosts=hosts, master=None, **more)


def known(**pool: Any) -> PoolState:
    return replace(PoolBuilder().state(**pool), read_at=NOW - 60)


def plan(spec: dict[str, str] | None = None, **more: Any) -> Plan:
    more.setdefault("last_known", known())
    return make_plan(wanted(), seen(spec), now=NOW, **more)


def test_chains_and_where_they_end() -> None:
    spec = {"xen01": "silent", "xen02": "follows xen01", "xen03": "follows xen02", "xen04": "emergency"}
    ties = ties_of(wanted(hosts=5), seen({**spec, "xen05": "follows xen04"}, hosts=5))
    found = chains(ties)
    assert found["xen03"] == Chain(("xen03", "xen02", "xen01"), End.SILENT)
    assert found["xen05"] == Chain(("xen05", "xen04"), End.UNTOLD)
    assert roots(ties) == {"xen01": End.SILENT, "xen04": End.UNTOLD}
    assert circle_of(ties) == ()
    ties = ties_of(wanted(), seen())
    assert circle_of(ties) == ("xen01", "xen03")
    assert chains(ties)["xen02"].circle == ("xen03", "xen01")
    assert roots(ties) == {}


def test_one_that_follows_itself_is_a_circle_of_one() -> None:
    ties = ties_of(wanted(), seen({**CIRCLE, "xen01": "follows xen01"}))
    assert circle_of(ties) == ("xen01",)
    assert drawing(ties)[0] == "xen01 --> xen01 (a circle: none of them is master)"


@pytest.mark.parametrize(
    ("spec", "lines"),
    [
        (CIRCLE, ["xen01 --> xen03 --> xen01 (a circle: none of them is master)", "xen02 --> xen03 (a member itself)"]),
        (
            {"xen01": "silent", "xen02": "follows xen01", "xen03": "emergency"},
            ["xen02 --> xen01 (does not answer)", "xen03 --> ? (it answers, and does not say whom it follows)"],
        ),
        (
            {"xen01": "hung", "xen02": "follows xen01", "xen03": "follows xen09"},
            ["xen02 --> xen01 (does not answer)", f"xen03 --> {address('xen09')} (not a declared member's address)"],
        ),
        (
            {"xen01": "refused", "xen02": "follows xen01", "xen03": "follows xen01"},
            ["xen02 and xen03 --> xen01 (its host is up, and it can't be asked)"],
        ),
        (
            {"xen01": "master", "xen02": "master", "xen03": "follows xen02"},
            ["nobody --> xen01 (accepts logins as master)", "xen03 --> xen02 (accepts logins as master)"],
        ),
    ],
)
def test_it_is_drawn(spec: dict[str, str], lines: list[str]) -> None:
    assert drawing(ties_of(wanted(), seen(spec))) == lines


def test_a_circle_is_led_out_of_by_who_was_master_last() -> None:
    found = plan()
    assert found.diagnosis.situation is Situation.TANGLED
    assert "xen01 and xen03 follow one another in a circle" in found.diagnosis.why
    assert verbs(found)[:2] == ["promote xen01", "recover-members lab"]
    assert "its own database is the newest" in found.actions[0].why
    assert found.actions[0].certificate_of == ()


def test_where_nobody_read_the_pool_the_manifest_tells_and_else_nobody() -> None:
    found = make_plan(wanted(master=MasterWish("xen03")), seen(), now=NOW)
    assert verbs(found) == ["promote xen03", "recover-members lab"]
    found = make_plan(wanted(), seen(), now=NOW)
    assert found.actions == ()
    assert "set spec.master.host" in found.diagnosis.remedy


def test_a_silent_member_a_foreign_address_ha_and_a_refused_local_login_hold_it_back() -> None:
    (one,) = (h for h in plan({**CIRCLE, "xen02": "silent"}).withheld)
    assert "xen02 may be a master that nobody hears" in one.why
    assert one.remedy == "xenrec fence off pool.yaml xen02"
    (one,) = plan({**CIRCLE, "xen02": "follows xen09"}).withheld
    assert f"xen02 follows {address('xen09')}, which is no declared member's address" in one.why
    (one,) = plan(last_known=known(ha_enabled=True)).withheld
    assert "own HA is on" in one.why
    deaf = seen()
    told = tuple(replace(t, local_login=False) if t.name == "xen01" else t for t in deaf.testimonies)
    (one,) = make_plan(wanted(), replace(deaf, testimonies=told), now=NOW, last_known=known()).withheld
    assert "gave no local session to root" in one.why


def test_who_is_proved_dead_is_left_out_and_a_dead_last_master_is_succeeded() -> None:
    spec = {"xen01": "silent off", "xen02": "follows xen03", "xen03": "follows xen02"}
    found = plan(spec, certificates=(certificate("xen01"),))
    assert verbs(found)[:2] == ["promote xen02", "recover-members lab"]
    assert found.actions[0].certificate_of == ("xen01",)
    assert any("its own copy of the database" in note for note in found.notes)


def test_where_all_are_in_emergency_mode_none_of_them_is_master() -> None:
    quiet = seen({"xen01": "emergency", "xen02": "emergency", "xen03": "emergency"})
    flagged = replace(quiet, testimonies=tuple(replace(t, is_emergency=True) for t in quiet.testimonies))
    found = make_plan(wanted(), flagged, now=NOW, last_known=known())
    assert "every member is in emergency mode" in found.diagnosis.why
    assert verbs(found)[:2] == ["promote xen01", "recover-members lab"]
    starting = make_plan(wanted(), quiet, now=NOW, last_known=known())
    assert starting.actions == ()
    (one,) = make_plan(
        wanted(), flagged, now=NOW, last_known=replace(PoolBuilder(4).state(), read_at=NOW - 60)
    ).withheld
    assert "xen04 was in it" in one.why
    (one,) = make_plan(wanted(master=MasterWish("xen01")), flagged, now=NOW).withheld
    assert "this machine never read the pool" in one.why
    assert one.remedy.endswith(
        "if it is always one that answers here, nobody is master: make xen01 master by hand: "
        "ssh root@10.0.0.11 xe pool-emergency-transition-to-master; after that: xenrec apply pool.yaml"
    )


def test_a_promotion_under_way_is_watched_and_not_sent_again() -> None:
    sent = Incident("lab", "xen01", address("xen03"), "xen01", address("xen03"), NOW - 5, "run-1")
    found = plan(incident=sent)
    assert found.diagnosis.situation is Situation.BOOTING
    assert verbs(found)[0] == "await-master xen01"
    assert found.actions[0].certificate_of == ()


def test_one_who_reaches_a_master_means_that_we_are_cut_off_and_no_tangle() -> None:
    found = plan({"xen01": "silent", "xen02": "follows xen01", "xen03": "reaches xen09"})
    assert found.diagnosis.situation is Situation.CUT_OFF
    assert found.actions == ()


def test_a_chain_that_ends_at_one_silent_host_is_a_lost_master() -> None:
    found = diagnose(
        wanted(), seen({"xen01": "silent", "xen02": "follows xen01", "xen03": "follows xen02"}), (), now=NOW
    )
    assert (found.situation, found.lost_master) == (Situation.LOST, "xen01")
    assert "xen03 follows xen02, which is no master" in found.why
    assert found.ties
    found = diagnose(
        wanted(), seen({"xen01": "silent", "xen02": "follows xen01", "xen03": "follows xen09"}), (), now=NOW
    )
    assert found.situation is Situation.TANGLED


def test_the_checker_wants_every_member_to_say_that_it_is_none() -> None:
    good = plan()

    def broken(spec: dict[str, str]) -> str:
        told = check_plan(good, wanted(), seen(spec), None, certificates=(), now=NOW, limit=Level.CROWN)
        return "; ".join(told)

    assert broken(CIRCLE) == ""
    assert "it rests on no proof" in broken({**CIRCLE, "xen02": "silent"})
    assert "which is neither a member itself nor proved dead" in broken({**CIRCLE, "xen02": "follows xen09"})
    assert "still reaches a master" in broken({**CIRCLE, "xen02": "reaches xen03"})
    assert "xen02 accepts logins as master" in broken({**CIRCLE, "xen02": "master"})


def test_where_only_role_files_tell_the_plan_sends_nobody_back_to_itself() -> None:
    """Found by soak seed 6104437: the next command of the plan was the plan."""
    quiet = seen({"xen01": "emergency", "xen02": "emergency", "xen03": "emergency"})
    flagged = replace(quiet, testimonies=tuple(replace(t, is_emergency=True) for t in quiet.testimonies))
    found = make_plan(wanted(), flagged, now=NOW)
    assert found.diagnosis.situation is Situation.TANGLED
    assert found.actions == ()
    assert found.withheld == ()
    assert "cat /etc/xensource/pool.conf" in found.diagnosis.remedy
    assert "xenrec plan" not in found.diagnosis.remedy
