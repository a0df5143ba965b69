"""XAPI's HA, half-broken: armed in one host's own files while it is off in the pool, or the other way round. Pure.

Nothing that only reads shows the first: `ha_armed` is in the host's local database, and pool.ha_enabled is another flag
(sheet §10.3). A start without the state file shows it as an error of emergency mode; else the first that shows it is
the HA_IS_ENABLED with which the host refuses a promotion, or to follow another master, before it does anything. That is
remembered until somebody says that it is mended.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.core.evidence import LoginAnswer, Survey, Testimony
from reconciler.core.wanted import Wanted
from reconciler.core.words import names, utc


@dataclass(frozen=True, slots=True)
class Armed:
    """`host` refused an emergency call with HA_IS_ENABLED at `at` (UTC seconds), in run `run`."""

    host: str
    at: float
    run: str


def still_armed(held: Iterable[Armed], survey: Survey) -> tuple[Armed, ...]:
    """Without those that act as a master now: one that was promoted since, or always was one, was not in the way."""
    masters = {t.name for t in survey.testimonies if t.login is LoginAnswer.MASTER}
    return tuple(one for one in held if one.host not in masters)


def pool_says_on(survey: Survey) -> str:
    """The name of a host by whose word HA is on in the pool, "" where none says so: it started, found itself disarmed,
    and stays out (xapi.ml:resynchronise_ha_state)."""
    on = "HA_POOL_IS_ENABLED_BUT_HOST_IS_DISABLED"
    return next((t.name for t in survey.testimonies if t.detail.startswith(on)), "")


def armed_why(t: Testimony) -> str:
    """How it is known that HA is armed on that host, "" where nothing says so."""
    if t.armed_at is not None:
        return f"XAPI's HA is armed in its own files, for which it refused at {utc(t.armed_at)} (HA_IS_ENABLED)"
    return f"XAPI's HA is armed in its own files, by its own word ({t.detail.partition(' ')[0]})" if t.ha_armed else ""


def armed_first(survey: Survey) -> str:
    """The first member that answers and on which HA is armed; "" for none."""
    return next((t.name for t in survey.testimonies if t.ha_armed and t.answers), "")


def armed_bar(survey: Survey, candidate: str) -> str:
    """Why nobody is promoted beside a member on which HA is armed; "" where there is none. It refuses to be promoted,
    and it refuses to follow: a new master waits for ever in its start for a living member that follows the lost one
    (recording 14), and pool.recover_slaves passes it over without a word (sheet §10.3)."""
    t = survey.of(armed_first(survey))
    if t is None:
        return ""
    if t.name == candidate:
        return f"{t.name} refuses to be promoted: {armed_why(t)}"
    return (
        f"{t.name} would refuse to follow {candidate}, which can't finish its start beside a living member of the lost "
        f"master: {armed_why(t)}"
    )


def disarm_words(wanted: Wanted, host: str) -> str:
    """What a person does about it, when that is safe, and what ends the wait."""
    return (
        f"where HA is off in the pool, or no other host runs it (else HA takes {host} for failed and starts its VMs a "
        f"second time), on {host}: xe host-emergency-ha-disable --force; then: "
        f"xenrec unpark {wanted.argument} --host {host}"
    )


def half_broken(wanted: Wanted, survey: Survey, *, ha_on: bool | None) -> tuple[str, ...]:
    """Notes on hosts whose HA does not stand as the pool's does; `ha_on`: the pool's flag, None: no master tells."""
    found = []
    if not ha_on and (armed := [t for t in survey.testimonies if t.ha_armed]):
        off = "while it is off in the pool" if ha_on is False else "whatever it is in the pool"
        one = len(armed) == 1
        who = names(t.name for t in armed)
        told = (
            f"XAPI's HA is half-broken: armed on {who} {off}. {'It refuses' if one else 'They refuse'} to become "
            f"master and to follow another one, and may reset {'its' if one else 'their'} machine when network and "
            "state file are lost. "
        )
        if ha_on is False:
            told += (
                f"A restart of {'its' if one else 'their'} toolstack disarms it while the master is reachable; then: "
            )
            told += f"xenrec unpark {wanted.argument} --host {armed[0].name}"
        else:
            told += f"To go on without it: {disarm_words(wanted, armed[0].name)}"
        found.append(told)
    if says := pool_says_on(survey):
        found.append(
            f"XAPI's HA is half-broken: {says} says that it is on in the pool and that it is disarmed itself, so it "
            "stays out. On the master, switch it off and on again: xe pool-ha-disable, then xe pool-ha-enable"
        )
    return tuple(found)
