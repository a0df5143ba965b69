"""The regain stage: from a pool that nobody manages to one acting master that every living member follows (I2, I3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reconciler.core.draft import Draft, look_and_attest
from reconciler.core.evidence import (
    BmcPower,
    Certificate,
    Diagnosis,
    Incident,
    Judged,
    LoginAnswer,
    Situation,
    Survey,
    Testimony,
    Verdict,
)
from reconciler.core.judge import brake_reason, brake_remedy, uuid_of
from reconciler.core.masterless import candidate_vanished, may_be_master
from reconciler.core.model import PoolState
from reconciler.core.plan import Action, Thing, Verb
from reconciler.core.rights import RUN_ELSEWHERE, local_remedy, no_local_session
from reconciler.core.wanted import Member, Wanted
from reconciler.core.words import address_host, utc

BACKUP_MINUTES = 5
"""A master gives its database to one member after the other, so long apart (sheet §2.7); what the hosts then run and
the copy doesn't know is killed (recording 08)."""


@dataclass(frozen=True)
class Regain:
    """What is planned, whom it makes master, and whom it takes for dead."""

    draft: Draft
    candidate: Member | None = None
    lost: Member | None = None


def host_thing(member: Member, known: PoolState | None) -> Thing:
    """A declared member as the target of an action."""
    return Thing("host", member.name, uuid_of(member, known) or "", member.address)


def _pool(wanted: Wanted, known: PoolState | None) -> Thing:
    return Thing("pool", wanted.name, wanted.uuid or (known.pool.uuid if known else ""))


def same_host(follows: str, member: Member) -> bool:
    """Whether an address as XAPI tells it is that member's."""
    return address_host(follows) == address_host(member.address)


def plan_regain(
    wanted: Wanted,
    survey: Survey,
    diagnosis: Diagnosis,
    *,
    known: PoolState | None,
    incident: Incident | None,
) -> Regain:
    """FENCE, PROMOTE and RECOVER_MEMBERS when the master is lost; AWAIT_MASTER when a promotion was already sent.

    Each withheld step has its reason; a promotion rests on a certificate for the lost master, always.
    """
    draft = Draft()
    if diagnosis.situation is Situation.BOOTING and incident is not None:
        return _observe(wanted, survey, diagnosis, known, incident, draft)
    if diagnosis.situation is not Situation.LOST or diagnosis.lost_master is None:
        return Regain(draft)
    lost = wanted.member(diagnosis.lost_master)
    assert lost is not None
    candidate, passed = candidate_for(wanted, survey, lost, incident)
    draft.notes.extend(passed)
    if candidate is None:
        if barred := _barred(wanted, survey, lost):
            why, remedy = _barred_words(wanted, survey, barred)
            draft.hold(_promote(wanted, lost, barred, known, None), why, remedy)
            return Regain(draft, None, lost)
        draft.notes.append("no member that answers can be promoted: its local login must work")
        return Regain(draft, None, lost)
    judged = diagnosis.of(lost.name)
    assert judged is not None
    dubious = [t for t in survey.testimonies if t.login in (LoginAnswer.UNTRUSTED, LoginAnswer.STRANGE)]
    promote = _promote(wanted, lost, candidate, known, incident)
    if known is not None and known.pool.ha_enabled:
        draft.hold(
            promote,
            "XAPI's own HA is on in this pool, and it chooses a new master by itself",
            f"wait and look: xenrec status {wanted.argument}",
        )
        return Regain(draft, candidate, lost)
    if dubious:
        t = dubious[0]
        draft.hold(
            promote,
            f"{t.name} answers, but can't be asked whether it is a master: {t.detail or t.login}",
            f"correct the fingerprint of {t.name} in the manifest, or shut it down",
        )
        return Regain(draft, candidate, lost)
    for name in may_be_master(survey, lost.name):
        other = diagnosis.of(name)
        if other is not None and other.verdict is not Verdict.DEAD:
            draft.hold(
                promote,
                f"the members don't say whom they follow, and {name} does not answer either: it may be their master",
                look_and_attest(wanted, name),
            )
            return Regain(draft, candidate, lost)
    draft.notes.append(copy_words(wanted, candidate))
    recover = Action(
        Verb.RECOVER_MEMBERS,
        _pool(wanted, known),
        f"the other members still follow {lost.name}; {candidate.name} can't finish its start until they follow it",
        before=f"members follow {lost.name}",
        after=f"every member that answers follows {candidate.name} and is enabled",
        follows=(promote.id,),
    )
    certificate, voided = judged.certificate, judged.voided
    if judged.verdict is Verdict.DEAD and certificate is not None:
        draft.actions.extend((promote, recover))
        return Regain(draft, candidate, lost)
    of_lost = survey.of(lost.name)
    assert of_lost is not None
    why = _unfenceable(lost, judged, of_lost, voided)
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


def copy_words(wanted: Wanted, candidate: Member) -> str:
    """How old the database of a promoted member may be, and what that means."""
    oldest = BACKUP_MINUTES * max(1, len(wanted.members) - 1)
    return (
        f"{candidate.name} becomes master with its own copy of the database, which may be up to {oldest} min old: a VM "
        "that was created or moved since then may be killed when the hosts come back to it"
    )


def _promote(
    wanted: Wanted, lost: Member, candidate: Member, known: PoolState | None, incident: Incident | None
) -> Action:
    why = f"{lost.name} is lost and the pool has no master"
    if wanted.master and candidate.name in (wanted.master.host, *wanted.master.successors):
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


def _unfenceable(lost: Member, judged: Judged, t: Testimony, voided: Certificate | None) -> str:
    if voided is not None and not lost.fencing:
        return f"the certificate for {lost.name} is void: {judged.why}"
    if not lost.fencing:
        return f"{lost.name} does not answer, but nothing proves that it is dead, and no fence agent is declared for it"
    if t.bmc is BmcPower.UNKNOWN:
        return f"{lost.name} does not answer, and neither does its BMC, which proves nothing"
    return ""


def candidate_for(
    wanted: Wanted, survey: Survey, lost: Member, incident: Incident | None
) -> tuple[Member | None, list[str]]:
    """The member to promote: the one of an earlier promotion of this incident, else in the manifest's order. One that
    follows another member is passed over: whether it heard of a promotion could not be told from whom it follows."""
    wish = wanted.master
    order = [*((wish.host, *wish.successors) if wish else ()), *(m.name for m in wanted.members)]
    if incident is not None:
        pinned = survey.of(incident.candidate)
        if pinned is not None and pinned.answers:
            order = [incident.candidate]
    passed: list[str] = []
    direct = any(t.follows and same_host(t.follows, lost) for t in survey.testimonies)
    for name in dict.fromkeys(order):
        member, t = wanted.member(name), survey.of(name)
        if member is None or t is None or name == lost.name:
            continue
        if not t.answers:
            passed.append(f"{name} was passed over as new master: it does not answer")
        elif no_local_session(t):
            passed.append(f"{name} was passed over as new master: {_no_session(t)}")
        elif member.state == "maintenance":
            passed.append(f"{name} was passed over as new master: it is declared in maintenance")
        elif direct and t.follows and not same_host(t.follows, lost):
            passed.append(f"{name} was passed over as new master: it follows {t.follows}, and not {lost.name}")
        elif t.login in (LoginAnswer.SLAVE, LoginAnswer.EMERGENCY):
            return member, passed
    return None, passed


def _barred(wanted: Wanted, survey: Survey, lost: Member) -> Member | None:
    """The first member that could be promoted but for our account."""
    wish = wanted.master
    order = [*((wish.host, *wish.successors) if wish else ()), *(m.name for m in wanted.members)]
    for name in dict.fromkeys(order):
        member, t = wanted.member(name), survey.of(name)
        if member is None or t is None or name == lost.name or member.state == "maintenance":
            continue
        if no_local_session(t):
            return member
    return None


def _no_session(t: Testimony) -> str:
    return "it rejects our local login" if t.local_login is False else "it was not asked for a local session"


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
    recover = Action(
        Verb.RECOVER_MEMBERS,
        _pool(wanted, known),
        f"the other members must follow {candidate.name}",
        before=f"members follow {incident.lost_master}",
        after=f"every member that answers follows {candidate.name} and is enabled",
        follows=(await_master.id,),
    )
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
    if brake := brake_reason(wanted, survey):
        draft.hold(await_master, brake, brake_remedy(survey))
    elif why := _unfenceable(candidate, judged, t, judged.voided):
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
