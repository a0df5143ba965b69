"""The regain stage: from a pool that nobody manages to one acting master that every living member follows (I2, I3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reconciler.core.armed import armed_bar, armed_first, disarm_words, pool_says_on
from reconciler.core.brake import storm_brake
from reconciler.core.copies import CopyMemory
from reconciler.core.draft import Draft, fence_command, look_and_attest
from reconciler.core.evidence import (
    BmcPower,
    Diagnosis,
    Incident,
    Judged,
    LoginAnswer,
    Situation,
    Survey,
    Testimony,
    Verdict,
)
from reconciler.core.judge import uuid_of
from reconciler.core.masterless import candidate_vanished, may_be_master
from reconciler.core.model import PoolState
from reconciler.core.plan import Action, Thing, Verb
from reconciler.core.rights import RUN_ELSEWHERE, local_remedy, no_local_session
from reconciler.core.succession import ranked, succession, too_many
from reconciler.core.wanted import Member, MemberState, Wanted
from reconciler.core.words import utc


@dataclass(frozen=True)
class Regain:
    """What is planned, whom it makes master, and whom it takes for dead."""

    draft: Draft
    candidate: Member | None = None
    lost: Member | None = None
    remedy: str = ""
    """Where nothing can be planned: what a person can find out, and do."""


def host_thing(member: Member, known: PoolState | None) -> Thing:
    """A declared member as the target of an action."""
    return Thing("host", member.name, uuid_of(member, known) or "", member.address)


def _pool(wanted: Wanted, known: PoolState | None) -> Thing:
    return Thing("pool", wanted.name, wanted.uuid or (known.pool.uuid if known else ""))


def recovery(
    wanted: Wanted, known: PoolState | None, candidate: Member, after: Action, why: str, before: str
) -> Action:
    """The others are brought behind the candidate, once it was promoted."""
    return Action(
        Verb.RECOVER_MEMBERS,
        _pool(wanted, known),
        why,
        before=before,
        after=f"every member that answers follows {candidate.name} and is enabled",
        follows=(after.id,),
    )


def plan_regain(
    wanted: Wanted,
    survey: Survey,
    diagnosis: Diagnosis,
    *,
    known: PoolState | None,
    incident: Incident | None,
    memory: CopyMemory | None = None,
    now: float = 0.0,
) -> Regain:
    """FENCE, PROMOTE and RECOVER_MEMBERS when the master is lost; AWAIT_MASTER when a promotion was already sent.

    Each withheld step has its reason; a promotion rests on a certificate for the lost master, always.
    `memory` is what is known of the members' copies of the database, `now` in UTC seconds.
    """
    draft = Draft()
    if diagnosis.situation is Situation.BOOTING and incident is not None:
        return _observe(wanted, survey, diagnosis, known, incident, draft)
    if diagnosis.situation is not Situation.LOST or diagnosis.lost_master is None:
        return Regain(draft)
    lost = wanted.member(diagnosis.lost_master)
    assert lost is not None
    heirs = succession(wanted, survey, diagnosis, [lost.name], known=known, memory=memory, incident=incident, now=now)
    draft.notes.extend(heirs.passed)
    candidate = heirs.first.member if heirs.first is not None else None
    if candidate is None or heirs.first is None:
        if barred := _barred(wanted, survey, lost):
            why, remedy = _barred_words(wanted, survey, barred)
            draft.hold(_promote(wanted, lost, barred, known, None), why, remedy)
            return Regain(draft, None, lost)
        draft.notes.append("no member that answers can be promoted: its local login must work")
        return Regain(draft, None, lost)
    judged = diagnosis.of(lost.name)
    assert judged is not None
    dubious = [t for t in survey.testimonies if t.login in (LoginAnswer.UNTRUSTED, LoginAnswer.STRANGE)]
    promote = _promote(wanted, lost, candidate, known, incident, heirs.why(wanted))
    promote = replace(promote, kills=heirs.first.kills)
    if (known is not None and known.pool.ha_enabled) or pool_says_on(survey):
        draft.hold(
            promote,
            "XAPI's own HA is on in this pool, and it chooses a new master by itself",
            f"wait and look: xenrec status {wanted.argument}",
        )
        return Regain(draft, candidate, lost)
    if why := armed_bar(survey, candidate.name):
        draft.hold(promote, why, disarm_words(wanted, armed_first(survey)))
        return Regain(draft, candidate, lost)
    if dubious:
        t = dubious[0]
        draft.hold(
            promote,
            f"{t.name} answers, but can't be asked whether it is a master: {t.detail or t.login}",
            f"correct the fingerprint of {t.name} in the manifest, or shut it down",
        )
        return Regain(draft, candidate, lost)
    others = may_be_master(wanted, survey, lost.name, known)
    for name in others:
        other = diagnosis.of(name)
        if other is not None and other.verdict is not Verdict.DEAD:
            draft.hold(promote, *_other_master(wanted, survey, name, lost.name, known))
            return Regain(draft, candidate, lost)
    told = incident.candidate if incident is not None else ""
    fallen = diagnosis.of(told)
    if fallen is not None and fallen.verdict is Verdict.DEAD and told not in (lost.name, *others):
        others = (*others, told)  # it becomes master when it boots
    promote = replace(promote, certificate_of=(lost.name, *others))
    draft.notes.extend(heirs.notes(known, len(wanted.members)))
    why, remedy = too_many(wanted, heirs.first)
    if why:
        draft.hold(promote, why, remedy)
        return Regain(draft, candidate, lost)
    why = f"the other members still follow {lost.name}; {candidate.name} can't finish its start until they follow it"
    recover = recovery(wanted, known, candidate, promote, why, f"members follow {lost.name}")
    if judged.verdict is Verdict.DEAD and judged.certificate is not None:
        draft.actions.extend((promote, recover))
        return Regain(draft, candidate, lost)
    of_lost = survey.of(lost.name)
    assert of_lost is not None
    why = _unfenceable(lost, judged, of_lost)
    if why:
        draft.hold(
            promote,
            why,
            look_and_attest(wanted, lost.name),
        )
        return Regain(draft, candidate, lost)
    fence = Action(
        Verb.FENCE,
        host_thing(lost, known),
        f"{lost.name} must be proved dead before another host becomes master: two masters start VMs twice",
        before=judged.why,
        after="power off, read back from its BMC",
    )
    draft.actions.extend((fence, replace(promote, follows=(fence.id,)), recover))
    return Regain(draft, candidate, lost)


def _other_master(wanted: Wanted, survey: Survey, name: str, lost: str, known: PoolState | None) -> tuple[str, str]:
    """Why a silent member may be master in place of the lost one, and what proves that it is not."""
    member = wanted.member(name)
    fences = member is not None and bool(member.fencing)
    if known is None or not any(t.answers and t.follows for t in survey.testimonies):
        why = f"the members don't say whom they follow, and {name} does not answer either: it may be their master"
        return why, look_and_attest(wanted, name)
    return (
        f"{name} was master when the pool was last read, at {utc(known.read_at)}, and does not answer: it may be "
        f"master still, and somebody pointed the members at {lost}",
        fence_command(wanted, name) if fences else look_and_attest(wanted, name),
    )


def _promote(
    wanted: Wanted,
    lost: Member,
    candidate: Member,
    known: PoolState | None,
    incident: Incident | None,
    rather: str = "",
) -> Action:
    why = f"{lost.name} is lost and the pool has no master"
    if rather:
        why += f"; {rather}"
    elif wanted.master and candidate.name in (wanted.master.host, *wanted.master.successors):
        why += f"; {candidate.name} is next in master.host and master.successors"
    if incident is not None and incident.candidate == candidate.name:
        why += f"; the promotion sent at {utc(incident.sent_at)} never took effect"
    return Action(
        Verb.PROMOTE,
        host_thing(candidate, known),
        why,
        before=f"member of {lost.name}",
        after="master",
        certificate_of=(lost.name,),
        via=candidate.address,
    )


def _unfenceable(lost: Member, judged: Judged, t: Testimony) -> str:
    if judged.voided and not lost.fencing:
        return f"the certificate for {lost.name} is void: {judged.why}"
    if not lost.fencing:
        return f"{lost.name} does not answer, but nothing proves that it is dead, and no fence agent is declared for it"
    if lost.state is MemberState.MAINTENANCE and t.bmc is not BmcPower.OFF:
        return f"{lost.name} is declared in maintenance and not known to be off: somebody may be working on it"
    if t.bmc is BmcPower.UNKNOWN:
        return f"{lost.name} does not answer, and neither does its BMC, which proves nothing"
    return ""


def _barred(wanted: Wanted, survey: Survey, lost: Member) -> Member | None:
    """The first member that could be promoted but for our account."""
    for name in ranked(wanted):
        member, t = wanted.member(name), survey.of(name)
        if member is None or t is None or name == lost.name or member.state == "maintenance":
            continue
        if no_local_session(t):
            return member
    return None


def _barred_words(wanted: Wanted, survey: Survey, barred: Member) -> tuple[str, str]:
    """Why our account can't promote that member, and what to do."""
    account = wanted.connection.local_account.username
    t = survey.of(barred.name)
    if t is not None and t.local_login is False:
        return f"{barred.name} refuses a local login of {account}, and a promotion needs one", local_remedy(wanted)
    return (
        f"a promotion needs a local login of {account} at {barred.name}, and its password is not here",
        RUN_ELSEWHERE,
    )


def _observe(
    wanted: Wanted,
    survey: Survey,
    diagnosis: Diagnosis,
    known: PoolState | None,
    incident: Incident,
    draft: Draft,
) -> Regain:
    candidate, lost = wanted.member(incident.candidate), wanted.member(incident.lost_master)
    if candidate is None:
        draft.notes.append(f"{incident.candidate} was promoted at {utc(incident.sent_at)} and is no longer declared")
        return Regain(draft, None, lost)
    proved = diagnosis.of(incident.lost_master)
    await_master = Action(
        Verb.AWAIT_MASTER,
        host_thing(candidate, known),
        f"it was told at {utc(incident.sent_at)} to become master; that is never sent twice, only observed",
        before="restarting",
        after="master",
        # To look needs no proof; where there is one it is watched, for its death was the reason to promote.
        certificate_of=(incident.lost_master,) if proved is not None and proved.verdict is Verdict.DEAD else (),
        via=candidate.address,
    )
    if candidate_vanished(incident, survey):
        _replace_candidate(wanted, survey, diagnosis, known, candidate, await_master, draft)
        return Regain(draft)
    why = f"the other members must follow {candidate.name}"
    recover = recovery(wanted, known, candidate, await_master, why, f"members follow {incident.lost_master}")
    draft.actions.extend((await_master, recover))
    return Regain(draft, candidate, lost)


def _replace_candidate(
    wanted: Wanted,
    survey: Survey,
    diagnosis: Diagnosis,
    known: PoolState | None,
    candidate: Member,
    await_master: Action,
    draft: Draft,
) -> None:
    """A candidate that vanished: only its proved death lets another member be promoted (I3)."""
    judged, t = diagnosis.of(candidate.name), survey.of(candidate.name)
    assert judged is not None
    assert t is not None
    brake = storm_brake(wanted, survey, diagnosis.members)
    if brake[0]:
        draft.hold(await_master, *brake)
    elif why := _unfenceable(candidate, judged, t):
        draft.hold(
            await_master,
            f"{why}. Another member is promoted only when that is proved",
            look_and_attest(wanted, candidate.name),
        )
    else:
        draft.actions.append(
            Action(
                Verb.FENCE,
                host_thing(candidate, known),
                f"{candidate.name} was told to become master and vanished; another member is promoted only when it is "
                "proved dead",
                before=judged.why,
                after="power off, read back from its BMC",
            )
        )


def forecast_pool(
    wanted: Wanted, survey: Survey, diagnosis: Diagnosis, known: PoolState, regain: Regain
) -> tuple[PoolState, Survey, Diagnosis]:
    """The last known pool as it should look after the regain stage: the candidate master, the lost master dead, every
    other member that answers back."""
    assert regain.candidate is not None
    candidate = regain.candidate
    uuid = uuid_of(candidate, known)
    by_uuid = {h.uuid: h for h in known.hosts.values()}
    master = by_uuid.get(uuid or "")
    # Operations and reservations died with the xapi of the lost master.
    vms = {
        ref: replace(vm, current_operations=(), scheduled_on=None) if vm.current_operations or vm.scheduled_on else vm
        for ref, vm in known.vms.items()
    }
    state = replace(known, pool=replace(known.pool, master=master.ref if master else known.pool.master), vms=vms)
    seen = []
    judged = []
    for t, j in zip(survey.testimonies, diagnosis.members, strict=True):
        if t.name == candidate.name:
            seen.append(replace(t, login=LoginAnswer.MASTER, follows=None))
        elif t.answers:
            seen.append(replace(t, login=LoginAnswer.SLAVE, follows=candidate.address, reaches_master=True))
        else:
            seen.append(t)
        if regain.lost is not None and t.name == regain.lost.name and j.verdict is not Verdict.DEAD:
            certificate = j.certificate
            judged.append(replace(j, verdict=Verdict.DEAD, why="proved dead by then", certificate=certificate))
        else:
            judged.append(j)
    told = Diagnosis(Situation.MANAGED, f"{candidate.name} is master", tuple(judged), master=candidate.name)
    return state, replace(survey, testimonies=tuple(seen)), told
