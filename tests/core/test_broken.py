"""A broken role file: what tells it, who is promoted beside it, and what is said of a hand-over that failed midway."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.diagnose import diagnose
from reconciler.core.evidence import LoginAnswer, Situation, Survey
from reconciler.core.plan import Verb
from reconciler.core.planner import make_plan
from tests.core.build import NOW, PoolBuilder, certificate, survey, wanted

KNOWN = replace(PoolBuilder().state(), read_at=NOW - 60)
"""xen01 was master."""


def seen(spec: dict[str, str], *broken: str) -> Survey:
    """`broken` say HOST_BROKEN."""
    found = survey(spec, master=None)
    told = (replace(t, detail="HOST_BROKEN []") if t.name in broken else t for t in found.testimonies)
    told = (replace(t, is_emergency=True) if t.login is LoginAnswer.EMERGENCY else t for t in told)
    return replace(found, testimonies=tuple(told))


def test_a_broken_one_is_promoted_only_where_nobody_else_can_be() -> None:
    spec = {"xen01": "silent off", "xen02": "emergency", "xen03": "follows xen01"}
    dead = [certificate("xen01")]
    plan = make_plan(wanted(), seen(spec, "xen02"), now=NOW, last_known=KNOWN, certificates=dead)
    assert [a.target.name for a in plan.actions if a.verb is Verb.PROMOTE] == ["xen03"]
    assert "xen02 was passed over as new master: its role file is broken" in plan.notes
    both = seen({**spec, "xen03": "emergency"}, "xen02", "xen03")
    plan = make_plan(wanted(), both, now=NOW, last_known=KNOWN, certificates=dead)
    assert [a.target.name for a in plan.actions if a.verb is Verb.PROMOTE] == ["xen02"]


def test_the_last_master_follows_a_host_whose_toolstack_is_down() -> None:
    spec = {"xen01": "follows xen02", "xen02": "refused", "xen03": "follows xen02"}
    found = diagnose(wanted(), seen(spec), (), now=NOW, known=KNOWN)
    assert (found.situation, found.lost_master) == (Situation.BOOTING, "xen02")
    assert "xen01 handed the office over" in found.why
    assert "echo master > /etc/xensource/pool.conf" in found.remedy
    assert make_plan(wanted(), seen(spec), now=NOW, last_known=KNOWN).actions == ()
    # Without the last master's own word it may be any restart.
    found = diagnose(wanted(), seen({**spec, "xen01": "silent off"}), (), now=NOW, known=KNOWN)
    assert "handed the office over" not in found.why


def test_a_failed_hand_over_is_no_lost_master() -> None:
    """All that answer are in emergency mode, and one says HOST_BROKEN: the silent one is not the master for that."""
    spec = {"xen01": "emergency", "xen02": "emergency", "xen03": "silent off"}
    found = diagnose(wanted(), seen(spec, "xen02"), (), now=NOW, known=KNOWN)
    assert (found.situation, found.lost_master) == (Situation.TANGLED, None)
    assert "xen01 handed the office over, and that failed midway, for xen02 says" in found.why
    plan = make_plan(wanted(), seen(spec, "xen02"), now=NOW, last_known=KNOWN, certificates=[certificate("xen03")])
    assert [a.target.name for a in plan.actions if a.verb is Verb.PROMOTE] == ["xen01"]
    plan = make_plan(wanted(), seen(spec, "xen02"), now=NOW, last_known=KNOWN)
    assert plan.actions == ()
    assert [w.action.target.name for w in plan.withheld] == ["xen01"]
