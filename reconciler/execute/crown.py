"""Promote a member, observe a promotion that was sent. The dangerous room: read the sheet, §2, first."""

from __future__ import annotations

from reconciler.core.diagnose import diagnose
from reconciler.core.evidence import (
    Diagnosis,
    Incident,
    LoginAnswer,
    Situation,
    Survey,
    Testimony,
)
from reconciler.core.masterless import may_be_master, promotion_is_void
from reconciler.core.plan import Action, Done
from reconciler.core.port import Session, TransportFault, XapiFailure
from reconciler.core.ties import chains, ties_of
from reconciler.core.wanted import Member
from reconciler.core.words import names
from reconciler.execute.bench import (
    Bench,
    CannotRecord,
    because,
    failed,
    refused,
)
from reconciler.execute.desk import same_address
from reconciler.execute.faults import explain
from reconciler.execute.look import Look, look
from reconciler.execute.proof import Prover
from reconciler.execute.watching import watch

TRANSITION = "pool.emergency_transition_to_master"
POLL = 1.0  # s
SETTLE = 30.0  # s that a member with a restarting toolstack is given to say whom it follows


def promote(bench: Bench, prover: Prover, action: Action) -> Done:
    """Make the candidate master: proofs, one call, then watch it until it accepts a normal login (I2, I3).

    An incident on disk means that the call was sent: then it is only watched, unless it surely can't take effect any
    more (masterless.promotion_is_void). Sets `bench.master`.
    """
    candidate = bench.member_of(action.target)
    if candidate is None:
        return refused(action, f"{action.target.name} is not a declared member", "declare it in members")
    lost = _lost_master(bench, action)
    if lost is None:
        return refused(action, "the plan does not name the lost master whose death it rests on", "plan again")
    survey, diagnosis, sent = asked_again(bench, action)
    if sent is not None:
        if sent.candidate != candidate.name:
            return refused(
                action,
                f"{sent.candidate} was already told to become master in run {sent.run}: a second promotion would make "
                "two masters",
                f"xenrec status {bench.wanted.argument}",
            )
        bench.say(action, f"{candidate.name} was told already: watching")
        return watch(bench, action, candidate, sent, sure=False)
    if why := _unfit(bench, prover, action, candidate, lost, survey, diagnosis):
        return why
    if why := kills_more(bench, action, candidate, lost.name, survey, diagnosis):
        return why
    local = local_session(bench, action, candidate)
    if isinstance(local, Done):
        return local
    try:
        # Between survey and now somebody else may have promoted: another machine with this manifest, or a person.
        if why_not := taken(bench, survey, candidate, lost.address):
            return refused(action, why_not, "plan again")
        # The last thing before the call, and asked anew: the old master may have come back.
        if doubt := prover.doubt(action, fresh=True):
            return refused(action, doubt.why, doubt.remedy)
        return transition(bench, action, candidate, (lost.name, lost.address), local)
    finally:
        local.close()


def asked_again(bench: Bench, action: Action) -> tuple[Survey, Diagnosis, Incident | None]:
    """What every member says now, what that adds up to, and the promotion that was sent and may yet take effect: that
    one is only watched (I3)."""
    bench.say(action, "asking every member again")
    bench.last_survey = survey = bench.survey()
    sent = bench.store.incident()
    now = bench.port.now()
    diagnosis = diagnose(bench.wanted, survey, bench.store.certificates(), now=now, incident=sent)
    if sent is not None and promotion_is_void(sent, survey, diagnosis.members, now):
        sent = None
    return survey, diagnosis, sent


def kills_more(
    bench: Bench, action: Action, candidate: Member, lost: str, survey: Survey, diagnosis: Diagnosis
) -> Done | None:
    """Refused where the candidate's copy, as it was told of a moment ago, may kill what the plan did not say (I7).
    `lost` is the name of the host whose office is taken: the candidate's own, where nobody is lost."""
    if bench.kills_now is None:
        return None
    said = {d.uuid for d in action.kills}
    more = [d for d in bench.kills_now(survey, diagnosis, lost, candidate.name) if d.uuid not in said]
    if not more:
        return None
    told = names(f"{d.name} on {d.host}" for d in more)
    return refused(
        action,
        f"by what is known now of its copy of the database {candidate.name} may kill {told} too, which the plan did "
        "not say",
        f"xenrec plan {bench.wanted.argument}",
    )


def taken(bench: Bench, survey: Survey, candidate: Member, lost: str = "") -> str:
    """Who of those that answered the survey acts as a master by now, or follows one; "" if all are as they were.

    `lost` is the address of the master whose death was proved. A member in emergency mode may repeat whom its own
    master follows (sheet §1.2): that is no news where somebody said it in the survey.
    """
    heard = [t.follows for t in survey.testimonies if t.follows]
    for t in survey.testimonies:
        if not t.answers or t.address == lost:
            continue
        seen = look(bench, t.address)
        seen.close()
        if seen.answer in (LoginAnswer.MASTER, LoginAnswer.REJECTED):
            return f"{t.name} {seen}"
        known = [*heard, lost] if t.login is LoginAnswer.EMERGENCY else [t.follows or lost]
        if seen.answer is LoginAnswer.SLAVE and not any(same_address(seen.follows, one) for one in known):
            return f"{t.name} follows {bench.name_at(seen.follows)} by now"
        if t.name == candidate.name and not seen.answers:
            return f"the candidate {candidate.name} {seen}"
        if seen.answer in (LoginAnswer.REFUSED, LoginAnswer.UNTRUSTED, LoginAnswer.STRANGE):
            # It answered a moment ago: its toolstack may restart because somebody has just promoted it.
            return f"{t.name} answered as a member a moment ago, and now it {seen}"
    return ""


def local_session(bench: Bench, action: Action, candidate: Member) -> Session | Done:
    """A local session on the candidate, asked for once more where the answer was lost; or why there is none."""
    for attempt in (1, 2):
        try:
            return bench.sessions.local(candidate.address)
        except XapiFailure as failure:
            told = explain(failure, lambda _, ref: ref)
            return refused(action, f"{candidate.name} refuses a local session: {told.sentence}", told.remedy)
        except TransportFault as fault:
            if attempt == 2 or not fault.sent:
                return refused(action, f"{candidate.name} gives no local session: {fault}", "plan again")
    raise AssertionError("unreachable")


def transition(bench: Bench, action: Action, candidate: Member, lost: tuple[str, str], local: Session) -> Done:
    """The one call, written down before, and then watched; `lost` is name and address as the incident keeps them."""
    now = bench.port.now()
    incident = Incident(bench.wanted.name, candidate.name, candidate.address, *lost, now, bench.run_id)
    bench.save_incident(incident)
    try:
        bench.intend(action, TRANSITION, candidate.address, lost=lost[0])
    except CannotRecord:
        bench.withdraw_incident()
        raise
    bench.say(action, f"telling {candidate.name} to become master")
    sure = True
    try:
        local.call(TRANSITION, deadline=60.0)
        bench.reply(action, TRANSITION, "accepted")
        bench.milestone(action, f"{candidate.name} accepted to become master")
    except XapiFailure as failure:
        told = explain(failure, lambda _, ref: ref)  # there is no master to look names up at
        bench.reply(action, TRANSITION, failure.code)
        # Its one check comes before its first effect (sheet §2.1); any other error may have come after it.
        if failure.code == "INTERNAL_ERROR":
            sure = False
        else:
            bench.refuses_for_ha(candidate.name, failure)
            bench.withdraw_incident()
            return refused(action, f"{candidate.name} cannot be promoted: {told.sentence}", told.remedy)
    except TransportFault as fault:
        bench.reply(action, TRANSITION, f"no reply: {fault.kind}")
        if not fault.sent:
            bench.withdraw_incident()
            return failed(action, f"{candidate.name} could not be reached: {fault}", "plan again")
        bench.say(action, "the reply was lost: watching, not asking again")
        sure = False
    return watch(bench, action, candidate, incident, sure=sure)


def _lost_master(bench: Bench, action: Action) -> Member | None:
    """The member whose office is taken: the plan's lost master, and the action must rest on its death."""
    name = bench.plan.diagnosis.lost_master
    if name is None and len(action.certificate_of) == 1:
        name = action.certificate_of[0]
    return bench.wanted.member(name) if name is not None and name in action.certificate_of else None


def _unfit(
    bench: Bench,
    prover: Prover,
    action: Action,
    candidate: Member,
    lost: Member,
    survey: Survey,
    diagnosis: Diagnosis,
) -> Done | None:
    """Why nobody may be promoted now, by what every member said a moment ago, as a REFUSED outcome (I2, I6)."""
    mine = survey.of(candidate.name)
    theirs = survey.of(lost.name)
    if theirs is not None and (life := _life_of(theirs)):
        prover.void(lost, life, action)
        return refused(action, f"{lost.name} is not dead: {life}. Its certificate is void", "plan again")
    if diagnosis.situation is not Situation.LOST:
        return refused(action, f"no promotion: {diagnosis.why}", diagnosis.remedy or "plan again")
    if mine is None or not mine.answers:
        return refused(action, f"the candidate {candidate.name} does not answer", "plan again")
    ways = chains(ties_of(bench.wanted, survey))
    astray = [t for t in survey.testimonies if t.login is LoginAnswer.SLAVE and ways[t.name].last != lost.name]
    if astray:
        told = because(f"{t.name} follows {bench.name_at(t.follows or '?')}" for t in astray)
        return refused(action, f"the lost master is {lost.name}, but {told}", "plan again")
    for name in may_be_master(bench.wanted, survey, lost.name, None):
        if doubt := prover.doubt_of(name, action):
            return refused(action, f"no member says whom it follows, and {name} may be their master: {doubt.why}", "")
    obeying = [t.name for t in survey.testimonies if t.reaches_master]
    if obeying:
        return refused(action, f"{names(obeying)} still takes orders from a master", "mend our network to it")
    return _doubtful_members(bench, action, survey, lost)


def _doubtful_members(bench: Bench, action: Action, survey: Survey, lost: Member) -> Done | None:
    """Refuse while a member may be a master that we cannot recognise: one with a foreign certificate, or restarting."""
    for t in survey.testimonies:
        if t.login in (LoginAnswer.UNTRUSTED, LoginAnswer.STRANGE):
            return refused(
                action,
                f"{t.name} answers, but cannot be asked whether it is a master: {t.detail or t.login}",
                "correct its fingerprint in the manifest, or shut it down",
            )
    for t in [t for t in survey.testimonies if t.login is LoginAnswer.REFUSED and t.name != lost.name]:
        seen = _settled(bench, action, t)
        if seen.answer in (LoginAnswer.MASTER, LoginAnswer.REJECTED, LoginAnswer.UNTRUSTED):
            return refused(action, f"{t.name} {seen}", "plan again")
        if seen.answer is LoginAnswer.SLAVE and not same_address(seen.follows, lost.address):
            return refused(action, f"{t.name} follows {bench.name_at(seen.follows)}, not {lost.name}", "plan again")
    return None


def _settled(bench: Bench, action: Action, t: Testimony) -> Look:
    """A member whose toolstack restarts may be one that somebody promotes by hand: give it time to speak."""
    bench.say(action, f"waiting for the toolstack of {t.name}")
    until = bench.port.now() + SETTLE
    while True:
        seen = look(bench, t.address)
        seen.close()
        if seen.answer is not LoginAnswer.REFUSED or bench.port.now() >= until:
            return seen
        bench.port.wait(POLL)


def _life_of(t: Testimony) -> str:
    """A sign of life in a testimony about a host that is said to be dead."""
    if t.login is LoginAnswer.SILENT:
        return "it takes connections" if t.tcp else ""
    return f"it {Look(t.login, t.detail, t.follows or '')}"
