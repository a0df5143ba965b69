"""Fence a host: what the plan saw of it is looked at again, then its power is cut and read back."""

from __future__ import annotations

from reconciler.core.brake import storm_brake
from reconciler.core.diagnose import diagnose
from reconciler.core.draft import look_and_attest
from reconciler.core.evidence import BmcPower, Certificate, Situation
from reconciler.core.plan import Action, Done
from reconciler.core.wanted import Member
from reconciler.core.words import lasting, names
from reconciler.execute.bench import Bench, CannotRecord, already, done, failed, host_now, refused
from reconciler.execute.lease import acting, servertime
from reconciler.execute.look import sign_of_life
from reconciler.execute.proof import Prover

FENCED_FOR = 3600.0  # s; a promotion, the rejoining and the starts of one run fit into it
FRESH = 60.0
"""Seconds for which what a plan saw serves to fence a host. A person may have read it for longer."""
HEARD_WITHIN = 60.0
"""Seconds after its start within which a master has heard every host that lives: heartbeats come every 30 s, and are
noted within 30 s more (sheet §3.1). Before that `live` = false says nothing (recordings 11, 14, 21)."""
POLL = 3.0  # s


def fence(bench: Bench, prover: Prover, action: Action) -> Done:
    """Power the host off by its fence agent; the certificate is stored before anything else is done.

    Refused at any sign of life, and where the rest of what was planned on is not so any more: what was to be fenced
    did not answer, and was lost to the others, too.
    """
    member = bench.member_of(action.target)
    if member is None:
        return refused(action, f"{action.target.name} is not a declared member", "declare it in members")
    if prover.held(member, action.target.uuid or None) and prover.doubt_of(member.name, action, fresh=True) is None:
        return already(action, f"{member.name} is certified dead already")
    if life := sign_of_life(bench, member):
        return refused(action, f"{member.name} is alive: {life}", "plan again")
    if brake := bench.may_strike(member.name):
        return refused(action, brake, "plan again, one host after the other")
    if why := _otherwise(bench, action) or _heard(bench, action, member):
        return why
    bench.struck.add(member.name)
    agents = names(d.agent for d in member.fencing)
    bench.intend(action, "fence-off", member.address, agents=agents)
    bench.say(action, f"fencing {member.name} with {agents}")
    outcome = bench.fencer.off(
        member,
        pool=bench.wanted.name,
        host_uuid=action.target.uuid or None,
        reason=action.why,
        lifetime_s=FENCED_FOR,
    )
    if not isinstance(outcome, Certificate):
        bench.reply(action, "fence-off", f"no certificate: {outcome.why}")
        return failed(action, outcome.why, outcome.remedy.replace("MANIFEST", bench.wanted.argument))
    try:
        bench.store.add_certificate(outcome)
    except OSError as error:
        raise CannotRecord(f"the certificate of {member.name} cannot be stored: {error}") from error
    bench.reply(action, "fence-off", "off, and a second status says so")
    if bench.plan.diagnosis.lost_master == member.name:
        bench.milestone(action, f"{member.name} is proved dead: power off, read back")
    return done(action, f"{member.name} is powered off, and its BMC says so")


def _otherwise(bench: Bench, action: Action) -> Done | None:
    """Refused where the plan is not of this minute and everybody, asked again, says that the pool is otherwise: its
    master is back, or it is by now we who are cut off (I6, I7)."""
    if bench.port.now() - bench.plan.made_at <= FRESH:
        return None
    bench.say(action, "the plan is not of this minute: asking every member again")
    bench.last_survey = survey = bench.survey()
    sent, proofs = bench.store.incident(), bench.store.certificates()
    told = diagnose(bench.wanted, survey, proofs, now=bench.port.now(), incident=sent)
    if told.situation is not bench.plan.diagnosis.situation:
        return refused(action, f"the pool is not as it was planned on: {told.why}", told.remedy or "plan again")
    brake, remedy = storm_brake(bench.wanted, survey, told.members)
    return refused(action, brake, remedy) if brake and told.situation is Situation.MANAGED else None


def _heard(bench: Bench, action: Action, member: Member) -> Done | None:
    """Refused where the acting master hears the host, which is then only cut off from us, unless its BMC says that it
    is off. A master that has just started is given the time to hear it; one that it heard and lost is `enabled`."""
    if bench.master is None:
        return None
    until: float | None = None
    while True:
        found = host_now(bench, action, action.target)
        if isinstance(found, Done):
            return found
        _, record, live = found
        if not live and record.get("enabled"):
            return None
        master = bench.name_at(bench.master)
        if until is None and bench.fencer.status(member)[0] is BmcPower.OFF:
            return None
        if live:
            return refused(
                action,
                f"{master} hears {member.name}, which does not answer us: it lives, and is only cut off from here",
                "mend the network between it and this machine; if it hangs all the same, "
                f"{look_and_attest(bench.wanted, member.name)}",
            )
        if until is None:
            left = _young(bench)
            until = bench.port.now() + left
            if left > 0.0:
                bench.say(action, f"{master} has just started and may not have heard it yet: waiting {lasting(left)}")
        if bench.port.now() >= until:
            return None
        bench.keep()
        bench.port.wait(POLL)


def _young(bench: Bench) -> float:
    """How many seconds are left until the acting master has heard everybody, by its own clock."""
    desk = bench.desk()
    now = bench.port.now()
    master = acting(desk)
    record = dict(desk.read("host.get_record", master)) if master else {}
    try:
        age = servertime(desk, now, master) - float(dict(record.get("other_config") or {}).get("agent_start_time", ""))
    except ValueError:
        return HEARD_WITHIN
    return min(max(HEARD_WITHIN - age, 0.0), HEARD_WITHIN)
