"""What our account may not do, said before it is needed. Pure."""

from __future__ import annotations

from reconciler.core.evidence import LoginAnswer, Survey, Testimony
from reconciler.core.wanted import Wanted
from reconciler.core.words import names

LOCAL_ROOT = "a local root of every host (an account of a directory is none)"
RUN_ELSEWHERE = "run it where connection.local.password can be had"


def no_local_session(t: Testimony) -> bool:
    """It is a member, and it gave us no local session: refused, or not asked for want of a password."""
    return t.login in (LoginAnswer.SLAVE, LoginAnswer.EMERGENCY) and t.local_login is not True


def local_remedy(wanted: Wanted) -> str:
    """What to correct in the manifest so that members give local sessions."""
    if wanted.connection.local is not None:
        return f"correct connection.local: it must be {LOCAL_ROOT}"
    return f"declare connection.local: {LOCAL_ROOT}"


def cannot_ask(wanted: Wanted, survey: Survey) -> tuple[str, ...]:
    """Notes on members that give us no local session: what could not be asked, and what that costs some day.

    `session.slave_local_login_with_password` checks for a local superuser of that very host (sheet §1.5), and both the
    question whether a member reaches its master and a promotion need it.
    """
    without = [t for t in survey.testimonies if no_local_session(t)]
    if not without:
        return ()
    if wanted.connection.local is None and any(t.login is LoginAnswer.REJECTED for t in survey.testimonies):
        return ()  # the same account and password: what mends the login mends this
    one = len(without) == 1
    who, account = names(t.name for t in without), wanted.connection.local_account.username
    if any(t.local_login is False for t in without):
        said = f"{who} {'refuses' if one else 'refuse'} a local login of {account}"
        what = f"For that, {local_remedy(wanted)}"
    else:
        said = f"{who} {'was' if one else 'were'} not asked with a local login of {account}, whose password is not here"
        what = f"For that, {RUN_ELSEWHERE}"
    return (
        f"{said}: whether {'it reaches its' if one else 'they reach their'} master could not be asked, and "
        f"{'it' if one else 'none of them'} could {'not ' if one else ''}be promoted if the master died. {what}",
    )
