"""A master that stops answering: does only its toolstack restart, is it deposed, or dead? And how that is told."""

from __future__ import annotations

from reconciler.core.evidence import LoginAnswer
from reconciler.execute.bench import Bench
from reconciler.execute.desk import MasterLost
from reconciler.execute.look import look

COMES_BACK = 60.0
"""Seconds that a restarting toolstack is waited for: it accepts logins again within 5 to 30 (recordings 03 and 11)."""
POLL = 2.0  # s
PLAN_AGAIN = "its database and its hosts are read anew, and it is planned again"

_RESTARTING = frozenset({LoginAnswer.REFUSED, LoginAnswer.STRANGE, LoginAnswer.EMERGENCY})
"""What a host says whose toolstack starts: it refuses, drops the connection, or says that it is still booting."""


def comes_back(bench: Bench, lost: MasterLost) -> MasterLost | None:
    """Wait while the master's host shows that its toolstack restarts: None once it is logged in again, as the master of
    the same pool (Desk checks the uuid); else how it is lost now. Never waits for a host that is silent.

    Sends nothing but logins and one read.
    """
    address = bench.master
    if address is None:
        return lost
    name = bench.name_at(address)
    until = bench.port.now() + COMES_BACK
    waiting = False
    while True:
        seen = look(bench, address)
        if seen.session is not None:
            try:
                bench.desk().adopt(seen.session)
            except MasterLost as other:
                if other.deposed:
                    return other
            else:
                return None
        elif seen.answer is LoginAnswer.SLAVE:
            followed = bench.name_at(seen.follows) if seen.follows else "another host"
            return MasterLost(f"{name} follows {followed} now", deposed=True)
        elif seen.answer not in _RESTARTING:
            return MasterLost(f"{name} {seen}")
        if bench.port.now() >= until:
            return MasterLost(
                f"the toolstack of {name} went down and is not back after {COMES_BACK:.0f} s, though its host is up"
            )
        if not waiting:
            waiting = True
            bench.say(None, f"the toolstack of {name} restarts, as it seems: waiting up to {COMES_BACK:.0f} s for it")
        bench.port.wait(POLL)


def gone(bench: Bench, lost: MasterLost) -> str:
    """Why the run ends, for people: deposed and silent need different things."""
    if lost.deposed:
        return f"the master changed while we worked: {lost.why}; run again"
    if bench.master is None:
        return lost.why
    return f"the master was lost while we worked: {lost.why}; run again"
