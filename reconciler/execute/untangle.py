"""Out of a tangle: make the host that was master last master again. Nobody is lost, so nobody's death is the proof."""

from __future__ import annotations

from reconciler.core.evidence import LoginAnswer, Situation, Survey
from reconciler.core.plan import Action, Done
from reconciler.core.ties import End, roots, ties_of
from reconciler.core.untangle import unflagged
from reconciler.core.wanted import Member
from reconciler.core.words import names
from reconciler.execute.bench import Bench, refused
from reconciler.execute.crown import asked_again, kills_more, local_session, taken, transition
from reconciler.execute.proof import Prover
from reconciler.execute.watching import watch

_MEMBERS = (LoginAnswer.SLAVE, LoginAnswer.EMERGENCY)


def promote(bench: Bench, prover: Prover, action: Action) -> Done:
    """One call, after every declared member said a moment ago, and says once more, that it is a member, or is proved
    dead; and after none was found that reaches a master (I2). Sent once, and then watched (I3). Sets `bench.master`."""
    candidate = bench.member_of(action.target)
    if candidate is None:
        return refused(action, f"{action.target.name} is not a declared member", "declare it in members")
    survey, diagnosis, sent = asked_again(bench, action)
    if sent is not None:
        return watch(bench, action, bench.wanted.member(sent.candidate) or candidate, sent, sure=False)
    if why := _unfit(action, candidate, survey, bench):
        return refused(action, why, "plan again")
    broken = diagnosis.situation is Situation.LOST and any(t.broken for t in survey.testimonies)
    if diagnosis.situation is not Situation.TANGLED and not broken:  # whose death it rests on, if any, _unfit has seen
        return refused(action, f"no promotion: {diagnosis.why}", diagnosis.remedy or "plan again")
    if more := kills_more(bench, action, candidate, candidate.name, survey, diagnosis):
        return more
    local = local_session(bench, action, candidate)
    if isinstance(local, Done):
        return local
    try:
        if why_not := taken(bench, survey, candidate):
            return refused(action, why_not, "plan again")
        if doubt := prover.doubt(action, fresh=True):
            return refused(action, doubt.why, doubt.remedy)
        mine = survey.of(candidate.name)
        followed = mine.follows if mine is not None and mine.follows else ""
        return transition(bench, action, candidate, (candidate.name, followed), local)
    finally:
        local.close()


def _unfit(action: Action, candidate: Member, survey: Survey, bench: Bench) -> str:
    """Why nobody may be promoted now, by what every member said a moment ago; "" if it may be."""
    for t in survey.testimonies:
        if t.reaches_master:
            return f"{t.name} takes orders from a master at {t.follows}"
        if t.login not in _MEMBERS and t.name not in action.certificate_of:
            return f"{t.name} does not say that it is a member, and nothing proves it dead: it may be a master"
        if t.name == candidate.name and t.login not in _MEMBERS:
            return f"the candidate {t.name} does not answer"
    if starting := unflagged(survey):
        return f"{names(starting)} does not say whom it follows, nor that it is in emergency mode"
    foreign = [x for x, end in roots(ties_of(bench.wanted, survey)).items() if end is End.FOREIGN]
    if foreign:
        return f"somebody follows {names(foreign)}, which is no declared member's address"
    return ""
