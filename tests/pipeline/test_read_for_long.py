"""A plan that a person read for minutes, and what others did meanwhile."""

from __future__ import annotations

from pathlib import Path

from reconciler.command import Ran
from reconciler.core.plan import Plan, Result, Verb
from reconciler.execute.strike import FRESH
from reconciler.pipeline import Approval
from tests.pipeline.test_maintenance import enabled, rest, wake, where
from tests.pipeline.test_roll import Trip, stopped
from tests.support.story import Story


def _read_for(s: Story, seconds: float) -> tuple[Plan, Plan]:
    """(A plan, the same after a person read it while somebody else's run carried it out)."""
    run = s.reconciler()
    made = run.plan()
    other = Story(s.lab, s.wanted, s.folder / "elsewhere")
    other.apply()
    s.wait(max(0.0, seconds - (s.port.now() - made.made_at)))
    return made, run.again(made, Approval(made))


def test_a_plan_that_was_read_for_long_is_made_again(tmp_path: Path) -> None:
    s = Trip(tmp_path).s
    rest(s, "xen03")
    run = s.reconciler()
    made = run.plan()
    assert run.again(made, Approval(made)) is made
    made, left = _read_for(s, FRESH + 1.0)
    assert Verb.DISABLE_HOST in {a.verb for a in made.actions}
    assert left.actions == ()


def test_a_host_that_another_roll_has_taken_since_the_plan_is_not_enabled(tmp_path: Path) -> None:
    """It was, in the midst of what was done to it, and VMs were moved there."""
    t = Trip(tmp_path)
    s = t.s
    rest(s, "xen03")
    s.apply()
    wake(s, "xen03")
    run = s.reconciler()
    made = run.plan()
    assert Verb.ENABLE_HOST in {a.verb for a in made.actions}
    other = Trip(tmp_path, lambda host: Ran(3, ""), s=Story(s.lab, s.wanted, tmp_path / "elsewhere"))
    other.s.apply()
    stopped(lambda: other.go(["xen03"]))
    out = run.apply(made, Approval(made))
    enable = next(d for d in out.done if d.action.verb is Verb.ENABLE_HOST)
    assert enable.result is Result.REFUSED
    assert enable.why == "xen03 is in the rolling maintenance roll-1 since the plan was made"
    assert enabled(s)["xen03"] is False
    assert where(s)["xen03"] == []
