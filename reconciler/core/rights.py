"""What our account may not do, said before it is needed. Pure."""

from __future__ import annotations

from reconciler.core.evidence import LoginAnswer, Survey
from reconciler.core.wanted import Wanted
from reconciler.core.words import names

LOCAL_ROOT = "a local root of every host (an account of a directory is none)"


def cannot_ask(wanted: Wanted, survey: Survey) -> tuple[str, ...]:
    """Notes on members that refuse our local login: what could not be asked, and what that costs some day.

    `session.slave_local_login_with_password` checks for a local superuser of that very host (sheet §1.5), and both the
    question whether a member reaches its master and a promotion need it.
    """
    refusing = [
        t.name
        for t in survey.testimonies
        if t.local_login is False and t.login in (LoginAnswer.SLAVE, LoginAnswer.EMERGENCY)
    ]
    if not refusing:
        return ()
    one = len(refusing) == 1
    return (
        f"{names(refusing)} {'refuses' if one else 'refuse'} a local login of {wanted.connection.username}: whether "
        f"{'it reaches its' if one else 'they reach their'} master could not be asked, and "
        f"{'it' if one else 'none of them'} could {'not ' if one else ''}be promoted if the master died. For that, "
        f"connection.username must be {LOCAL_ROOT}",
    )
