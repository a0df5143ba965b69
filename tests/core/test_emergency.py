"""Each error of emergency mode has its own words; those that every waiting member carries have none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.diagnose import diagnose
from reconciler.core.emergency import MEANINGS, meaning
from reconciler.survey.survey import EMERGENCIES
from tests.core.build import NOW, survey, wanted


@pytest.mark.parametrize("code", sorted(MEANINGS))
def test_the_verdict_says_what_the_error_means(code: str) -> None:
    seen = survey({"xen03": "emergency"})
    told = tuple(replace(t, detail=f"{code} [x]") if t.name == "xen03" else t for t in seen.testimonies)
    judged = diagnose(wanted(), replace(seen, testimonies=told), (), now=NOW).of("xen03")
    assert judged is not None
    assert judged.why == f"in emergency mode: {MEANINGS[code]} ({code} [x])"


def test_every_error_that_the_survey_knows_has_words_but_those_of_waiting() -> None:
    assert {c for c in EMERGENCIES if not meaning(c)} == {"HOST_STILL_BOOTING", "INTERNAL_ERROR"}
