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
    aside = f" ({'; '.join(parts)})" if parts else ""
    guess, remedy = _guess(wanted, survey, {*resting, *dead})
    return (
        f"only {up} of {counted} members answer and policy.brake.minHealthy is "
        f"{wanted.policy.brake.min_healthy:.0%}{aside}: {guess}"
    ), remedy


def _guess(wanted: Wanted, survey: Survey, left_out: set[str]) -> tuple[str, str]:
    """What the silence most likely is, and what to do."""
    quiet = [t for t in survey.testimonies if not t.answers and t.name not in left_out]
    gone = [t for t in quiet if t.login is LoginAnswer.SILENT and t.bmc is not BmcPower.ON]
    if refused := [t for t in quiet if t.login is LoginAnswer.REFUSED]:
        remedy = f"wait a minute; if it stays down: {restart_command(refused[0])}"
        if gone:
            remedy = (
                f"wait a minute, but a host that booted without its master answers nobody; if {gone[0].name} is dead, "
                f"say so: {attest_command(wanted, gone[0].name)}"
            )
        return f"the toolstack of {names(t.name for t in refused)} is down or restarting", remedy
    remedy = "look from another network"
    hears = any(t.login is LoginAnswer.MASTER for t in survey.testimonies)
    if not hears and (reach := [t.name for t in survey.testimonies if t.reaches_master]):
        still = f"{names(reach)} still {'reaches' if len(reach) == 1 else 'reach'} the master"
        return f"{still}: it is this machine that is cut off", remedy
    if quiet:
        case = "they are dead," if gone else "they hang, power them off by hand, and"
        remedy += f"; if {case} say so of each: {attest_command(wanted, (gone or quiet)[0].name)}"
    return "it may be this machine that is cut off", remedy
