"""Sessions: normal ones in the master's database, local ones in the memory of the asked xapi (sheet §1.5, §7.4)."""

from __future__ import annotations

from typing import Any

from reconciler.lab import roles
from reconciler.lab.calls import Call, method
from reconciler.lab.errors import Failure
from reconciler.lab.kernel import Steps
from reconciler.lab.schema import NULL, blank
from reconciler.lab.wiretext import date

SUPERUSER = "root"


def _authenticate(call: Call, user: str, password: str) -> Steps:
    timing = call.lab.timing
    if user == SUPERUSER and password == call.lab.password:
        yield timing.login
        return
    yield timing.bad_password
    unknown = "User not known to the underlying authentication module"
    raise Failure("SESSION_AUTHENTICATION_FAILED", user, "Authentication failure" if user == SUPERUSER else unknown)


def _subject(call: Call, user: str) -> tuple[str, str, str]:
    """Reference, SID and role of an account of the directory. Raises SESSION_AUTHORIZATION_FAILED where this master's
    database does not know it, or gives it no role."""
    ref = roles.subject(user, roles.ROOT)[0]
    record = call.db.find("subject", ref)
    role = roles.role_of(record) if record is not None else None
    if record is None or role is None:
        raise Failure("SESSION_AUTHORIZATION_FAILED", user, "Subject has no role in this pool")
    return ref, record["subject_identifier"], role


@method(
    "session.login_with_password", "uname:s pwd:s version:s= originator:s=", session_free=True, db_free=True, result="s"
)
def login_with_password(call: Call, uname: str, pwd: str, version: str, originator: str) -> Steps:
    """A member says whom it follows before it looks at the password."""
    from reconciler.lab.toolstack import SessionInfo  # noqa: PLC0415 - toolstack imports the table of calls

    ts = call.ts
    if not ts.is_master:
        raise Failure("HOST_IS_SLAVE", ts.master_address)
    info = SessionInfo(uname, call.now, originator, call.now)
    if uname in call.lab.accounts and pwd == call.lab.accounts[uname][0]:
        yield call.lab.timing.login
        info.subject, info.sid, info.role = _subject(call, uname)
    else:
        yield from _authenticate(call, uname, pwd)
    info.started = info.last_active = call.now
    same = [r for r, info in ts.sessions.items() if info.originator == originator]
    if len(same) >= ts.lab.timing.sessions_per_originator:
        del ts.sessions[min(same, key=lambda r: ts.sessions[r].last_active)]
    ref = call.lab.ref()
    ts.sessions[ref] = info
    return ref


@method("session.slave_local_login_with_password", "uname:s pwd:s", session_free=True, db_free=True, result="s")
def slave_local_login_with_password(call: Call, uname: str, pwd: str) -> Steps:
    """For root alone, on any host, master or not, emergency or not; its sessions know no roles (sheet §1.5)."""
    yield from _authenticate(call, uname, pwd)
    ref = call.lab.ref()
    call.ts.local_sessions.add(ref)
    return ref


@method("session.logout")
def logout(call: Call) -> None:
    """On a member without a master this hangs (recording 03); a local session outlives it (recording 16)."""
    call.ts.sessions.pop(call.session, None)


@method("session.local_logout", db_free=True)
def local_logout(call: Call) -> None:
    """Forgets a local session; with a normal one it does nothing."""
    call.ts.local_sessions.discard(call.session)


def _own(call: Call, ref: str) -> None:
    if ref not in call.ts.sessions:
        raise Failure("HANDLE_INVALID", "session", ref)


@method("session.get_this_host", "self:session", result="host")
def get_this_host(call: Call, ref: str) -> str:
    """The master, for a normal session."""
    _own(call, ref)
    return call.me


@method("session.get_this_user", "self:session", result="user")
def get_this_user(call: Call, ref: str) -> str:
    """No user objects for the local superuser."""
    _own(call, ref)
    return NULL


@method("session.get_uuid", "self:session", result="s")
def get_uuid(call: Call, ref: str) -> str:
    """The uuid in its reference."""
    _own(call, ref)
    return ref.removeprefix("OpaqueRef:")


@method("session.get_is_local_superuser", "self:session", result="b")
def get_is_local_superuser(call: Call, ref: str) -> bool:
    """Not an account of the directory."""
    _own(call, ref)
    return call.ts.sessions[ref].role is None


@method("session.get_subject", "self:session", result="subject")
def get_subject(call: Call, ref: str) -> str:
    """Of an account of the directory."""
    _own(call, ref)
    return call.ts.sessions[ref].subject


@method("session.get_auth_user_sid", "self:session", result="s")
def get_auth_user_sid(call: Call, ref: str) -> str:
    """Of an account of the directory."""
    _own(call, ref)
    return call.ts.sessions[ref].sid


@method("session.get_auth_user_name", "self:session", result="s")
def get_auth_user_name(call: Call, ref: str) -> str:
    """Who logged in."""
    _own(call, ref)
    return call.ts.sessions[ref].user


@method("session.get_rbac_permissions", "self:session", result="S")
def get_rbac_permissions(call: Call, ref: str) -> list[str]:
    """What it may do, by name; root's list is empty, for root is not asked."""
    _own(call, ref)
    return _rights(call.ts.sessions[ref].role)


def _rights(role: str | None) -> list[str]:
    if role is None:
        return []
    return [right for right, least in roles.permissions().items() if roles.includes(role, least)]


@method("session.get_originator", "self:session", result="s")
def get_originator(call: Call, ref: str) -> str:
    """Who logged in, in its own words."""
    _own(call, ref)
    return call.ts.sessions[ref].originator


@method("session.get_record", "self:session", result="record:session")
def get_record(call: Call, ref: str) -> dict[str, Any]:
    """The session itself."""
    _own(call, ref)
    info = call.ts.sessions[ref]
    return {
        **blank("session"),
        "uuid": ref.removeprefix("OpaqueRef:"),
        "this_host": call.me,
        "last_active": date(info.last_active),
        "validation_time": date(info.started),
        "is_local_superuser": info.role is None,
        "subject": info.subject,
        "auth_user_sid": info.sid,
        "rbac_permissions": _rights(info.role),
        "auth_user_name": info.user,
        "originator": info.originator,
    }
