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
from reconciler.core.judge import restart_command, uuid_of
from reconciler.core.model import PoolState
from reconciler.core.wanted import Wanted
from reconciler.core.words import utc


@dataclass(frozen=True, slots=True)
class Armed:
    """`host` refused an emergency call with HA_IS_ENABLED at `at` (UTC seconds), in run `run`."""

    host: str
    at: float
    run: str


def still_armed(
    wanted: Wanted, held: Iterable[Armed], survey: Survey, state: PoolState | None = None
) -> tuple[Armed, ...]:
    """Without those that act as a master now; and, by `state`, without those whose toolstack started since under a
    master whose HA is off, for such a start disarms the host (xapi.ml:resynchronise_ha_state)."""
    masters = {t.name for t in survey.testimonies if t.login is LoginAnswer.MASTER}
    return tuple(one for one in held if one.host not in masters and not _started_since(wanted, one, state))


def _started_since(wanted: Wanted, one: Armed, state: PoolState | None) -> bool:
    member = wanted.member(one.host)
    if state is None or member is None or state.pool.ha_enabled:
        return False
    uuid = uuid_of(member, state)
    host = next((h for h in state.hosts.values() if h.uuid == uuid), None)
    try:
        started = float(host.other_config.get("agent_start_time", "")) if host is not None and host.enabled else 0.0
    except ValueError:
        return False
    return started > one.at


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
    for t in survey.testimonies:
        member = wanted.member(t.name)
        if ha_on is False and t.ha_armed and member is not None:  # without a master the promotion itself says it
            found.append(
                f"XAPI's HA is half-broken: it is off in the pool, and {t.name} refuses to become master or to follow "
                f"another one, for {armed_why(t)}. It may also reset its machine when it loses network and state file. "
                "A restart of its toolstack disarms it while the master is reachable, and touches no running VM: "
                f"{restart_command(t)}"
            )
    if says := pool_says_on(survey):
        found.append(
            f"XAPI's HA is half-broken: {says} says that it is on in the pool and that it is disarmed itself, so it "
            "stays out. On the master, switch it off and on again: xe pool-ha-disable, then xe pool-ha-enable"
        )
    return tuple(found)
