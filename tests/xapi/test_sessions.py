from __future__ import annotations

import pytest

from reconciler.core.port import FaultKind, TransportFault, XapiFailure
from reconciler.xapi.methods import is_pure_read
from reconciler.xapi.sessions import PoolSessions, originator

PASSWORD = "s3cr3t-pass"


class FakePort:
    """Records calls; `answers` maps a method to a value, an exception or a list of them to use up."""

    def __init__(self, **answers):
        self.calls = []
        self.answers = {k.replace("__", "."): v for k, v in answers.items()}
        self.logins = 0

    def call(self, address, method, params, *, deadline):
        self.calls.append((address, method, tuple(params), deadline))
        if "login" in method and method not in self.answers:
            self.logins += 1
            return f"OpaqueRef:session-{self.logins}"
        answer = self.answers.get(method, "")
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def methods(self):
        return [c[1] for c in self.calls]


def sessions(port):
    return PoolSessions(port, "root", lambda: PASSWORD, run="run-7")


def test_a_normal_session_names_its_originator_and_logs_out():
    port = FakePort(VM__get_all=[["v"]])
    session = sessions(port).login("10.0.0.1", deadline=4)
    assert session.address == "10.0.0.1"
    assert session.call("VM.get_all", deadline=9) == ["v"]
    session.close()
    session.close()
    login, read, logout = port.calls
    assert login == ("10.0.0.1", "session.login_with_password", ("root", PASSWORD, "1.0", originator("run-7")), 4)
    assert read == ("10.0.0.1", "VM.get_all", ("OpaqueRef:session-1",), 9)
    assert logout[1:3] == ("session.logout", ("OpaqueRef:session-1",))
    with pytest.raises(RuntimeError, match="closed"):
        session.call("VM.get_all")


def test_a_local_session_takes_two_parameters_and_has_its_own_logout():
    port = FakePort()
    sessions(port).local("10.0.0.2").close()
    assert port.calls[0][1:3] == ("session.slave_local_login_with_password", ("root", PASSWORD))
    assert port.methods[1] == "session.local_logout"


def test_originators_are_unique_without_a_run():
    assert originator() != originator()
    assert originator("r").startswith("xenrec/")


def test_an_invalid_session_logs_in_again_once_for_a_read():
    port = FakePort(VM__get_all=[XapiFailure("SESSION_INVALID", "OpaqueRef:session-1"), ["v"]])
    session = sessions(port).login("a")
    assert session.call("VM.get_all") == ["v"]
    assert port.calls[-1][2] == ("OpaqueRef:session-2",)
    session.close()
    assert port.calls[-1][2] == ("OpaqueRef:session-2",)


def test_an_invalid_session_twice_is_raised():
    gone = XapiFailure("SESSION_INVALID", "x")
    port = FakePort(VM__get_all=[gone, gone, ["never"]])
    with pytest.raises(XapiFailure, match="SESSION_INVALID"):
        sessions(port).login("a").call("VM.get_all")
    assert port.methods.count("VM.get_all") == 2


@pytest.mark.parametrize("method", ["VM.start_on", "Async.VM.start_on", "pool.emergency_transition_to_master"])
def test_an_invalid_session_is_raised_for_a_write(method):
    port = FakePort(**{method.replace(".", "__"): XapiFailure("SESSION_INVALID", "x")})
    with pytest.raises(XapiFailure, match="SESSION_INVALID"):
        sessions(port).login("a").call(method, "vm")
    assert port.methods == ["session.login_with_password", method]


def test_a_master_that_became_a_member_says_so_at_the_second_login():
    port = FakePort(VM__get_all=[XapiFailure("SESSION_INVALID", "x")])
    session = sessions(port).login("a")
    port.answers["session.login_with_password"] = XapiFailure("HOST_IS_SLAVE", "10.0.0.9")
    with pytest.raises(XapiFailure, match="HOST_IS_SLAVE"):
        session.call("VM.get_all")


def test_closing_swallows_faults_and_nothing_shows_the_password():
    port = FakePort(session__logout=TransportFault(FaultKind.TIMEOUT, "a: late", sent=True))
    opener = sessions(port)
    session = opener.login("a")
    session.close()
    assert PASSWORD not in repr(opener) + repr(session) + repr(vars(session))


def test_a_login_that_gives_no_session_is_a_fault():
    port = FakePort(session__login_with_password=None)
    with pytest.raises(TransportFault, match="no session"):
        sessions(port).login("a")


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("VM.get_all_records", True),
        ("event.from", True),
        ("host.is_in_emergency_mode", True),
        ("Async.VM.get_possible_hosts", False),
        ("session.login_with_password", False),
        ("VM.start", False),
        ("pool.recover_slaves", False),
        ("VM.set_affinity", False),
    ],
)
def test_what_counts_as_a_read(method, expected):
    assert is_pure_read(method) is expected
