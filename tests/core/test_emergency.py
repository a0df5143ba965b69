"""Each error of emergency mode has its own words; those that every waiting member carries have none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.diagnose import diagnose
from reconciler.core.emergency import MEANINGS, meaning
from reconciler.core.wanted import Brake, Policy
from reconciler.survey.survey import EMERGENCIES
from tests.core.build import NOW, PoolBuilder, survey, wanted


@pytest.mark.parametrize("code", sorted(MEANINGS))
def test_the_verdict_says_what_the_error_means(code: str) -> None:
    seen = survey({"xen03": "emergency"})
    told = tuple(replace(t, detail=f"{code} [x]") if t.name == "xen03" else t for t in seen.testimonies)
    judged = diagnose(wanted(), replace(seen, testimonies=told), (), now=NOW).of("xen03")
    assert judged is not None
    assert judged.why == f"in emergency mode: {MEANINGS[code]} ({code} [x])"


def test_every_error_that_the_survey_knows_has_words_but_those_of_waiting() -> None:
    assert {c for c in EMERGENCIES if not meaning(c)} == {"HOST_STILL_BOOTING", "INTERNAL_ERROR"}


@pytest.mark.parametrize(
    ("read", "undeclared", "why"),
    [
        (False, "", "this machine never read the pool"),
        (True, "", "xen02, which was master when the pool was last read, is a member now"),
        (True, "xen02", "who was master when the pool was last read is not declared"),
    ],
)
def test_why_nobody_can_tell_who_was_master(read: bool, undeclared: str, why: str) -> None:
    """Found by soak seed 11500460: a machine that had read the pool a moment ago was told that it never had."""
    pool = PoolBuilder(hosts=4)
    pool.master = "xen02"
    entry = replace(wanted(hosts=4), master=None, policy=Policy(brake=Brake(0.25, 1)))
    entry = replace(entry, members=tuple(m for m in entry.members if m.name != undeclared))
    seen = survey({"xen01": "silent", "xen02": "emergency", "xen03": "emergency", "xen04": "silent"}, hosts=4)
    seen = replace(seen, testimonies=tuple(t for t in seen.testimonies if t.name != undeclared))
    found = diagnose(entry, seen, (), now=NOW, known=pool.state() if read else None)
    assert f"and {why}: see whom each follows: ssh root@" in found.remedy
