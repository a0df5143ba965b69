"""What must not be forgotten across runs: an old master has to be seen following the new one. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.draft import fence_command
from reconciler.core.evidence import BmcPower, Diagnosis, Incident, LoginAnswer, Situation, Survey, Verdict
from reconciler.core.masterless import NEVER_TOOK_EFFECT
from reconciler.core.model import PoolState
from reconciler.core.wanted import Wanted
from reconciler.core.words import address_host, utc


@dataclass(frozen=True, slots=True)
class Obligation:
    """`host` was lost as master and `master` was promoted in its place at `since` (UTC seconds), in run `run`."""

    host: str
    address: str
    master: str
    since: float
    run: str

    def __str__(self) -> str:
        return f"{self.host} was lost as master, and {self.master} was promoted in its place at {utc(self.since)}"


@dataclass(frozen=True, slots=True)
class Standing:
    """How an obligation stands: why it is settled ("" while it is not), and what people are told while it is open."""

    obligation: Obligation
    settled: str
    words: str


def promotion_is_over(sent: Incident, survey: Survey, diagnosis: Diagnosis, now: float) -> bool:
    """A promotion that need not be watched any more, whoever finished it: one master is confirmed, nobody follows
    another, and the one that was told is that master, or has been its member for longer than the call takes, or is
    proved dead while the one that it was to replace is that master: a person gave the office back. Kept, it would tell
    of the host that it replaced, when that is master again and alone, that it was replaced."""
    t = survey.of(sent.candidate)
    if t is None or diagnosis.situation is not Situation.MANAGED or diagnosis.astray:
        return False
    told = t.login is LoginAnswer.SLAVE and now - sent.sent_at > NEVER_TOOK_EFFECT
    judged = diagnosis.of(sent.candidate)
    overruled = diagnosis.master == sent.lost_master and judged is not None and judged.verdict is Verdict.DEAD
    return diagnosis.master == sent.candidate or told or overruled


def _gave_way(one: Obligation, survey: Survey, diagnosis: Diagnosis) -> bool:
    """The promoted one is a member again, certified dead, or not declared any more. One that is only silent may come
    back as the pool's master, with all that happened since."""
    successor, judged = survey.of(one.master), diagnosis.of(one.master)
    if successor is None or judged is None or judged.verdict is Verdict.DEAD:
        return True
    return successor.login is LoginAnswer.SLAVE and one.master not in diagnosis.astray


def standing(
    one: Obligation, wanted: Wanted, survey: Survey, diagnosis: Diagnosis, state: PoolState | None
) -> Standing:
    """Settled when it is seen: the host follows the acting master, or is the one acting master itself (the promotion
    never took effect, or the office was handed back), or is neither declared nor in the pool any more. A host that
    only answers again proves nothing: for a moment a returning old master acts as a second one (recording 04)."""
    t = survey.of(one.host)
    managed = diagnosis.situation is Situation.MANAGED
    acting = next((o for o in survey.testimonies if o.name == diagnosis.master), None) if managed else None
    if acting is not None and t is not None:
        if t.name == acting.name and _gave_way(one, survey, diagnosis):
            return Standing(one, f"{one.host} is the pool's only master", "")
        if t.login is LoginAnswer.SLAVE and one.host not in diagnosis.astray and t.follows:
            return Standing(one, f"{one.host} follows {acting.name}", "")
    if t is None and state is not None:
        here = address_host(one.address)
        if not any(h.name == one.host or h.address == here for h in state.hosts.values()):
            return Standing(one, f"{one.host} is no longer in the pool", "")
    if t is None:
        seen = "it is no longer declared, so it can't be watched"
    elif t.login is LoginAnswer.MASTER:
        seen = "it acts as a master of its own now (one that has just booted gives way in seconds)"
    elif t.login is LoginAnswer.SLAVE:
        seen = f"it answers and follows {t.follows}"
    elif t.answers:
        seen = "it answers, but has not joined the new master"
    elif t.login is LoginAnswer.REFUSED or t.tcp:
        seen = "its host is up and its toolstack does not answer: it may come back as a master for a moment"
    elif t.bmc is BmcPower.ON:
        seen = (
            "it does not answer, and its BMC says that power is on: it may be a master of its own where we don't see "
            f"it. Next: {fence_command(wanted, one.host)}"
        )
    else:
        off = "it is off" if t.bmc is BmcPower.OFF else "it has not been seen since"
        master = acting.name if acting is not None else one.master  # whoever was promoted then may be lost by now
        seen = f"{off}. Keep it off until it can reach the network of {master}; powered on, it joins by itself"
    return Standing(one, "", f"{one}; {seen}. It must be seen following the new master before this is forgotten")
