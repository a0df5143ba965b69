"""Members that answer and are not behind the master yet: recovered or waited for, and how the pool is then. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reconciler.core.armed import armed_why, disarm_words
from reconciler.core.draft import Draft, plan_command
from reconciler.core.evidence import LoginAnswer, Survey, Testimony
from reconciler.core.model import PoolState
from reconciler.core.plan import Action, Thing, Verb
from reconciler.core.rights import RUN_ELSEWHERE, local_remedy
from reconciler.core.standing import Stand, Standing, Stands
from reconciler.core.wanted import Wanted
from reconciler.core.words import address_host, names


def plan_rejoin(wanted: Wanted, survey: Survey, stands: Stands, state: PoolState, draft: Draft) -> tuple[Action, ...]:
    """Members that follow another address are recovered, members that are on their way are waited for (I1).

    One in emergency mode doesn't say whom it follows: where that is a master that died while it was down, it waits for
    ever (sheet §1.2). Telling it to follow the one that it follows already does nothing.
    """
    lost = [
        s
        for s in stands.by_ref.values()
        if s.standing is Standing.REJOINING
        and (t := survey.of(s.thing.name)) is not None
        and t.login is LoginAnswer.EMERGENCY
    ]
    astray = [s for s in stands.by_ref.values() if s.standing is Standing.ASTRAY or s in lost]
    late = [s for s in stands.by_ref.values() if s.standing is Standing.REJOINING]
    pool = Thing("pool", state.pool.name, state.pool.uuid)
    if astray:
        broken = [s for s in astray if (t := survey.of(s.thing.name)) is not None and t.broken]
        waits = "; the master waits for that before it starts" if len(broken) < len(astray) else ""
        action = Action(
            Verb.RECOVER_MEMBERS,
            pool,
            f"{_astray_words(astray)}{waits}",
            before=f"{names(s.thing.name for s in astray)} astray",
            after="every member that answers follows the master and is enabled",
        )
        armed = [t for s in astray if (t := survey.of(s.thing.name)) is not None and t.ha_armed]
        if len(armed) == len(astray):  # recover_slaves passes over who refuses, and says nothing (sheet §10.3)
            draft.hold(action, f"{armed[0].name}: {armed_why(armed[0])}", disarm_words(wanted, armed[0].name))
            return ()
        elsewhere = [
            s
            for s in astray
            if (t := survey.of(s.thing.name)) is not None and t.login is LoginAnswer.SLAVE and t.reaches_master
        ]
        if elsewhere:
            verb = "reaches" if len(elsewhere) == 1 else "reach"
            draft.hold(
                action,
                f"{names(s.thing.name for s in elsewhere)} {verb} another master, so there are two masters",
                f"declare the host that they follow under spec.members, then: {plan_command(wanted)}",
            )
            return ()
        if untold := [t for s in astray if (t := survey.of(s.thing.name)) and _may_obey(wanted, survey, stands, t)]:
            draft.hold(action, *_untold_words(wanted, untold))
            return ()
        return (action,)
    if late:
        return (
            Action(
                Verb.AWAIT_MEMBERS,
                pool,
                f"{names(s.thing.name for s in late)}: {late[0].why}. Until then the pool's records prove nothing",
                before=f"{names(s.thing.name for s in late)} on the way",
                after="every member that answers is live and enabled",
            ),
        )
    return ()


def _may_obey(wanted: Wanted, survey: Survey, stands: Stands, t: Testimony) -> bool:
    """It may take orders from a second master that we don't reach: it could not be asked, and the host that it follows
    neither is proved dead nor says itself that it is a member. To recover it would demote that master, too, wherever
    the acting one reaches it, and kill VMs of both (recording 20)."""
    if t.login is not LoginAnswer.SLAVE or t.reaches_master is not None:
        return False
    whom = next((m.name for m in wanted.members if address_host(m.address) == t.follows), "")
    stand, theirs = stands.by_member.get(whom), survey.of(whom)
    dead = stand is not None and stand.standing is Standing.DEAD
    return not dead and (theirs is None or theirs.login not in (LoginAnswer.SLAVE, LoginAnswer.EMERGENCY))


def _untold_words(wanted: Wanted, untold: Sequence[Testimony]) -> tuple[str, str]:
    """Why members are not recovered that could not be asked, and the next step."""
    t = untold[0]
    whom = next((m.name for m in wanted.members if address_host(m.address) == t.follows), t.follows or "another host")
    why = f"{t.name} may take orders from {whom}, a second master then: it could not be asked"
    if t.local_login is None:
        return f"{why}, for the password of local logins is not here", RUN_ELSEWHERE
    if t.local_login is False:
        return f"{why}, for it refuses our local login", local_remedy(wanted)
    return why, f"wait half a minute, then: {plan_command(wanted)}"


def _astray_words(astray: Sequence[Stand]) -> str:
    """Why each is astray; those of one reason together."""
    together: dict[str, list[str]] = {}
    for one in astray:
        together.setdefault(one.why, []).append(one.thing.name)
    told = []
    for why, found in together.items():
        for single, several in (("it still follows ", "still follow "), ("it is ", "are ")):
            if why.startswith(single):
                verb = single.removeprefix("it ") if len(found) == 1 else several
                told.append(f"{names(found)} {verb}{why.removeprefix(single)}")
                break
        else:
            told.append(f"{names(found)}: {why}")
    return "; ".join(told)


def as_rejoined(stands: Stands, state: PoolState) -> tuple[Stands, PoolState]:
    """The pool as it will be when every host that answers has rejoined."""
    hosts = dict(state.hosts)
    by_ref = dict(stands.by_ref)
    for ref, one in stands.by_ref.items():
        if one.standing in (Standing.REJOINING, Standing.ASTRAY):
            hosts[ref] = replace(one.host, live=True, enabled=not one.in_maintenance)
            by_ref[ref] = replace(
                one,
                host=hosts[ref],
                standing=Standing.MAINTENANCE if one.in_maintenance else Standing.READY,
                why="rejoined",
            )
        elif not one.answers:
            # A master start disables every host; one that does not answer stays so.
            hosts[ref] = replace(one.host, live=False, enabled=False)
            by_ref[ref] = replace(one, host=hosts[ref])
    members = {name: by_ref[one.host.ref] for name, one in stands.by_member.items()}
    return Stands(by_ref, members, stands.missing), replace(state, hosts=hosts)
