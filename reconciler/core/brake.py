"""The storm brake (I6): with too few members answering it is this machine that is cut off, and nothing is done."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.core.draft import attest_command
from reconciler.core.evidence import BmcPower, CertificateKind, Judged, LoginAnswer, Survey, Verdict
from reconciler.core.judge import restart_command
from reconciler.core.wanted import Wanted
from reconciler.core.words import names

NO_BRAKE = ("", "")


def off_on_purpose(wanted: Wanted, survey: Survey) -> tuple[str, ...]:
    """Members declared in maintenance that do not answer: their silence says nothing about who is cut off."""
    resting = {m.name for m in wanted.members if m.state == "maintenance"}
    return tuple(t.name for t in survey.testimonies if t.name in resting and not t.answers)


def attested(members: Iterable[Judged]) -> tuple[str, ...]:
    """Members whose death a person vouches for. A fence agent's proof does not count here: else a machine that loses
    its line to one host after the other would fence them all, each time with fewer left to ask."""
    return tuple(
        j.name
        for j in members
        if j.verdict is Verdict.DEAD and j.certificate and j.certificate.kind is CertificateKind.ATTESTED
    )


def answering(wanted: Wanted, survey: Survey, members: Iterable[Judged]) -> tuple[int, int]:
    """How many members answer, of how many that the brake counts: all but those off on purpose or attested dead."""
    left_out = {*off_on_purpose(wanted, survey), *attested(members)}
    return sum(t.answers for t in survey.testimonies), len(survey.testimonies) - len(left_out)


def storm_brake(wanted: Wanted, survey: Survey, members: Iterable[Judged]) -> tuple[str, str]:
    """Why the storm brake holds, and what to do about it; NO_BRAKE if it doesn't (I6)."""
    members = tuple(members)
    up, counted = answering(wanted, survey, members)
    if counted and up >= wanted.policy.brake.min_healthy * counted:
        return NO_BRAKE
    resting, dead = off_on_purpose(wanted, survey), attested(members)
    told = (("in maintenance and silent", resting), ("attested dead", dead))
    parts = [f"{names(who)}, {what}, {'is' if len(who) == 1 else 'are'} not counted" for what, who in told if who]
    left_out = f" ({'; '.join(parts)})" if parts else ""
    refused = [t for t in survey.testimonies if t.login is LoginAnswer.REFUSED and t.name not in resting]
    if refused:
        guess = f"the toolstack of {names(t.name for t in refused)} is down or restarting"
        remedy = f"wait a minute; if it stays down: {restart_command(refused[0])}"
    else:
        guess = "it may be this machine that is cut off"
        silent = [t for t in survey.testimonies if not t.answers and t.name not in {*resting, *dead}]
        remedy = "look from another network"
        if reach := [t.name for t in survey.testimonies if t.reaches_master]:
            guess = f"{names(reach)} still {'reaches' if len(reach) == 1 else 'reach'} the master: it is this machine"
            guess += " that is cut off"
        elif silent:
            powered = all(t.bmc is BmcPower.ON for t in silent)
            case = "they hang, power them off by hand, and" if powered else "they are dead,"
            one = next((t for t in silent if t.bmc is not BmcPower.ON), silent[0])
            remedy += f"; if {case} say so of each: {attest_command(wanted, one.name)}"
    return (
        f"only {up} of {counted} members answer and policy.brake.minHealthy is "
        f"{wanted.policy.brake.min_healthy:.0%}{left_out}: {guess}"
    ), remedy
