from __future__ import annotations

import pytest

from reconciler.core.evidence import BmcPower, LoginAnswer
from reconciler.core.port import AgentRun, Answer, Fault, FaultKind, TransportFault, XapiFailure
from reconciler.core.wanted import FenceDevice, Member, SecretRef
from reconciler.survey import survey

PASSWORD = "s3cr3t-pass"
LATE = TransportFault(FaultKind.TIMEOUT, "no answer", sent=True)
DEAD = TransportFault(FaultKind.TIMEOUT, "no answer while connecting", sent=False)
LOGIN = "session.login_with_password"
LOCAL = "session.slave_local_login_with_password"
DEVICE = (FenceDevice("fence_test", {"ip": "10.9.0.1"}),)


class World:
    """Members with scripted answers: a value is answered at once, a Fault is raised (a timeout costs its deadline)."""

    def __init__(self, **members):
        self.members = {name: dict(script) for name, script in members.items()}
        self.clock = 1000.0
        self.asked = []

    def now(self):
        return self.clock

    def ask_all(self, asks):
        self.asked += [(a.kind, a.address, a.method) for a in asks]
        answers = [self.answer(a) for a in asks]
        self.clock += max((a.took for a in answers), default=0.0)
        return answers

    def answer(self, ask):
        if ask.kind == "agent":
            assert ask.options["action"] == "status"
            said = self.members[ask.options["plug"]]["bmc"]
        elif ask.kind == "tcp":
            said = self.members[ask.address].get("tcp")
        else:
            if ask.method in (LOGIN, LOCAL):
                assert ask.params[:2] == ("root", PASSWORD)
            else:
                assert ask.params == (f"{'local' if self.is_local(ask) else 'normal'}-{ask.address}",)
            said = self.members[ask.address].get(ask.method, XapiFailure("MESSAGE_METHOD_UNKNOWN", ask.method))
        if isinstance(said, Fault):
            slow = isinstance(said, TransportFault) and said.kind is FaultKind.TIMEOUT
            return Answer(fault=said, took=ask.deadline if slow else 0.01)
        return Answer(value=said, took=0.01)

    def is_local(self, ask):
        return ask.method in ("host.is_in_emergency_mode", "pool.get_all", "session.local_logout")

    def count(self, method):
        return sum(m == method for _, _, m in self.asked)

    def survey(self, *, fencing=(), fence_options=lambda m, d: {"plug": m.name}, **more):
        members = [Member(n, n, fencing=DEVICE if n in fencing else ()) for n in self.members]
        return survey(self, members, credentials=lambda: ("root", PASSWORD), fence_options=fence_options, **more)


def master(name, uuid="pool-uuid"):
    return {LOGIN: f"normal-{name}", "pool.get_all_records": {"p": {"uuid": uuid}}, "session.logout": ""}


def member(name, follows, *, reaches=True):
    return {
        LOGIN: XapiFailure("HOST_IS_SLAVE", follows),
        LOCAL: f"local-{name}",
        "host.is_in_emergency_mode": False,
        "pool.get_all": ["p"] if reaches is True else reaches,
        "session.local_logout": "",
    }


def dead():
    return {LOGIN: DEAD, "tcp": DEAD, "bmc": AgentRun(2, "Status: OFF\n", "")}


def test_a_healthy_pool():
    world = World(a=master("a"), b=member("b", "10.0.0.1"))
    found = world.survey(fencing=("a", "b"))
    a, b = found.testimonies
    assert (a.login, a.pool_uuid, a.tcp, a.local_login, a.reaches_master) == (
        LoginAnswer.MASTER,
        "pool-uuid",
        True,
        None,
        None,
    )
    assert (b.login, b.follows, b.local_login, b.is_emergency, b.reaches_master) == (
        LoginAnswer.SLAVE,
        "10.0.0.1",
        True,
        False,
        True,
    )
    # The power of hosts that answer needs no BMC.
    assert not any(kind == "agent" for kind, _, _ in world.asked)
    assert (a.bmc, a.bmc_detail) == (BmcPower.UNKNOWN, "not asked")
    assert (world.count("session.logout"), world.count("session.local_logout")) == (1, 1)
    assert found.at == 1000.0
    assert found.took < 0.1


def test_a_dead_master_costs_one_deadline_and_hung_members_one_more_together():
    world = World(a=dead(), b=member("b", "a", reaches=LATE), c=member("c", "a", reaches=LATE))
    found = world.survey(fencing=("a",), deadline=5.0, hang_deadline=4.0)
    a, b, c = found.testimonies
    assert (a.login, a.tcp, a.bmc) == (LoginAnswer.SILENT, False, BmcPower.OFF)
    assert (b.follows, b.is_emergency, b.reaches_master) == ("a", False, False)
    assert c.reaches_master is False
    # One connection's deadline for the dead host (no login is tried without one), and one for all that hang.
    assert found.took == pytest.approx(1.5 + 4.0, abs=0.1)
    assert ("xapi", "a", LOGIN) not in world.asked
    # Each such read holds a thread of that member's xapi until its master is back.
    assert world.count("pool.get_all") == 2
    assert world.count("session.local_logout") == 2


def test_sixty_dead_members_cost_no_more_than_one():
    world = World(m=master("m"), **{f"d{i}": dead() for i in range(60)})
    assert world.survey(deadline=5.0).took == pytest.approx(1.5, abs=0.1)


def test_a_host_that_takes_connections_and_does_not_answer_shows_life_but_not_as_a_login():
    world = World(a={LOGIN: LATE})
    (a,) = world.survey(deadline=5.0).testimonies
    assert (a.login, a.tcp) == (LoginAnswer.SILENT, True)


def test_members_known_to_have_lost_a_master_that_was_fenced_are_not_asked_again():
    world = World(a=dead(), b=member("b", "a", reaches=LATE), c=member("c", "a", reaches=LATE))
    found = world.survey(known_lost=("b",))
    assert [t.reaches_master for t in found.testimonies] == [None, False, False]
    assert [address for _, address, method in world.asked if method == "pool.get_all"] == ["c"]


@pytest.mark.parametrize(
    ("said", "login"),
    [
        (XapiFailure("SESSION_AUTHENTICATION_FAILED", "root", "no"), LoginAnswer.REJECTED),
        (XapiFailure("RBAC_PERMISSION_DENIED", "x", "no"), LoginAnswer.REJECTED),
        (TransportFault(FaultKind.TLS, "seen x", sent=False), LoginAnswer.UNTRUSTED),
        (TransportFault(FaultKind.REFUSED, "refused", sent=False), LoginAnswer.REFUSED),
        (TransportFault(FaultKind.UNREACHABLE, "no route", sent=False), LoginAnswer.SILENT),
        (LATE, LoginAnswer.SILENT),
        (TransportFault(FaultKind.DROPPED, "closed", sent=True), LoginAnswer.STRANGE),
        (TransportFault(FaultKind.PROTOCOL, "HTTP 500", sent=True), LoginAnswer.STRANGE),
        (None, LoginAnswer.STRANGE),
        (XapiFailure("HOST_IS_SLAVE"), LoginAnswer.STRANGE),
        (XapiFailure("SOMETHING_NEW"), LoginAnswer.STRANGE),
    ],
)
def test_what_login_answers_mean(said, login):
    world = World(a={LOGIN: said, LOCAL: LATE, "tcp": None})
    (a,) = world.survey().testimonies
    assert a.login is login
    if isinstance(said, Fault):
        assert a.detail.startswith(str(said))
    assert PASSWORD not in repr(a)


@pytest.mark.parametrize(
    "code",
    [
        "HOST_STILL_BOOTING",
        "INTERNAL_ERROR",
        "HOST_UNKNOWN_TO_MASTER",
        "HOST_HAS_NO_MANAGEMENT_IP",
        "HOST_MASTER_CANNOT_TALK_BACK",
        "HOST_ITS_OWN_SLAVE",
        "HOST_BROKEN",
        "HA_POOL_IS_ENABLED_BUT_HOST_IS_DISABLED",
    ],
)
def test_emergency_codes_with_the_flag_and_without_a_database_read(code):
    script = {LOCAL: "local-a", "host.is_in_emergency_mode": True, "session.local_logout": ""}
    world = World(a={LOGIN: XapiFailure(code, "x"), **script})
    (a,) = world.survey().testimonies
    assert (a.login, a.is_emergency, a.reaches_master) == (LoginAnswer.EMERGENCY, True, None)
    assert a.detail == f"{code} [x]"
    assert world.count("pool.get_all") == 0


def test_an_unknown_code_is_emergency_only_with_the_flag():
    script = {LOGIN: XapiFailure("NEW"), LOCAL: "local-a", "session.local_logout": ""}
    for flag, login in ((True, LoginAnswer.EMERGENCY), (False, LoginAnswer.STRANGE)):
        (a,) = World(a={**script, "host.is_in_emergency_mode": flag}).survey().testimonies
        assert a.login is login


def test_a_toolstack_that_hangs_still_shows_its_host():
    (a,) = World(a={LOGIN: LATE, "tcp": None}).survey().testimonies
    assert (a.login, a.tcp, a.bmc) == (LoginAnswer.SILENT, True, BmcPower.NONE)


@pytest.mark.parametrize(
    "said", [XapiFailure("SESSION_INVALID", "x"), TransportFault(FaultKind.DROPPED, "closed", sent=True)]
)
def test_only_silence_means_that_a_member_has_lost_its_master(said):
    (a,) = World(a=member("a", "m", reaches=said)).survey().testimonies
    assert a.reaches_master is None


def test_a_local_login_that_fails_is_said():
    (a,) = (
        World(a={**member("a", "m"), LOCAL: XapiFailure("SESSION_AUTHENTICATION_FAILED", "root")}).survey().testimonies
    )
    assert (a.login, a.local_login, a.is_emergency, a.reaches_master) == (LoginAnswer.SLAVE, False, None, None)
    assert "local login failed: SESSION_AUTHENTICATION_FAILED" in a.detail


def test_a_master_whose_database_hangs_is_not_waited_for_again():
    world = World(a={**master("a"), "pool.get_all_records": LATE})
    found = world.survey(deadline=5.0)
    assert found.testimonies[0].login is LoginAnswer.MASTER
    assert found.testimonies[0].pool_uuid is None
    assert "cannot be read" in found.testimonies[0].detail
    assert world.count("session.logout") == 0


@pytest.mark.parametrize(
    ("run", "power"),
    [
        (AgentRun(0, "Status: ON\n", ""), BmcPower.ON),
        (AgentRun(2, "Status: OFF\n", ""), BmcPower.OFF),
        (AgentRun(2, "", "bad arguments"), BmcPower.UNKNOWN),
        (AgentRun(1, "", "Unable to connect/login to fencing device"), BmcPower.UNKNOWN),
        (AgentRun(None, "", ""), BmcPower.UNKNOWN),
        (TransportFault(FaultKind.PROTOCOL, "no such agent", sent=False), BmcPower.UNKNOWN),
    ],
)
def test_what_the_bmc_says(run, power):
    (a,) = World(a={**dead(), "bmc": run}).survey(fencing=("a",)).testimonies
    assert a.bmc is power
    assert a.bmc_detail != "not asked"


def test_no_bmc_is_asked_without_options_or_when_told_not_to():
    for more in ({"fence_options": lambda m, d: None}, {"ask_bmc": False}):
        world = World(a=dead())
        (a,) = world.survey(fencing=("a",), **more).testimonies
        assert (a.bmc, a.bmc_detail) == (BmcPower.UNKNOWN, "not asked")


LEVELS = (FenceDevice("fence_bmc", {"ip": "10.9.0.1"}), FenceDevice("fence_pdu", {"ip": "10.9.0.2", "plug": "7"}))
DEAF = AgentRun(1, "", "Unable to connect/login to fencing device\n")
IS_ON, IS_OFF = AgentRun(0, "Status: ON\n", ""), AgentRun(2, "Status: OFF\n", "")


class Levels(World):
    """Two members that do not answer, each with a board and an outlet behind it."""

    def __init__(self, **said):
        super().__init__(a=dead(), b=member("b", "a"))
        self.said = said

    def answer(self, ask):
        if ask.kind == "agent":
            return Answer(self.said[ask.agent], took=ask.deadline if self.said[ask.agent] is DEAF else 0.01)
        return super().answer(ask)

    def ask_them(self, **more):
        members = [Member("a", "a", fencing=LEVELS), Member("b", "b", fencing=LEVELS)]
        options = more.pop("fence_options", lambda m, d: {"password": PASSWORD})
        return survey(self, members, credentials=lambda: ("root", PASSWORD), fence_options=options, **more)


@pytest.mark.parametrize(
    ("first", "second", "power", "asked"),
    [
        (IS_OFF, IS_ON, BmcPower.OFF, ["fence_bmc"]),
        (IS_ON, IS_OFF, BmcPower.ON, ["fence_bmc"]),
        (DEAF, IS_OFF, BmcPower.OFF, ["fence_bmc", "fence_pdu"]),
        (DEAF, IS_ON, BmcPower.ON, ["fence_bmc", "fence_pdu"]),
        (DEAF, DEAF, BmcPower.UNKNOWN, ["fence_bmc", "fence_pdu"]),
    ],
)
def test_the_second_device_is_asked_where_the_first_does_not_know(first, second, power, asked):
    world = Levels(fence_bmc=first, fence_pdu=second)
    agents = []
    ask_all = world.ask_all
    world.ask_all = lambda asks: (agents.extend(a.agent for a in asks if a.kind == "agent"), ask_all(asks))[1]
    a, b = world.ask_them().testimonies
    assert (a.bmc, agents) == (power, asked)
    assert b.login is LoginAnswer.SLAVE  # its devices are not asked: it answers
    told = a.bmc_detail.split("; ")
    assert [t.split(" ")[0] for t in told] == asked
    if asked == ["fence_bmc", "fence_pdu"]:
        assert told[0].startswith("fence_bmc 10.9.0.1: exit code 1: Unable to connect")


def test_the_second_device_is_asked_beside_the_other_questions_of_its_round():
    rounds = []
    world = Levels(fence_bmc=DEAF, fence_pdu=IS_OFF)
    ask_all = world.ask_all
    world.ask_all = lambda asks: (rounds.append({a.agent or a.method or a.kind for a in asks}), ask_all(asks))[1]
    world.ask_them()
    assert rounds == [
        {"tcp"},
        {LOGIN},
        {"fence_bmc", LOCAL},
        {"fence_pdu", "host.is_in_emergency_mode", "pool.get_all"},
        {"session.local_logout"},
    ]


def test_a_device_without_its_secret_is_passed_over():
    world = Levels(fence_pdu=IS_OFF)
    (a, _) = world.ask_them(fence_options=lambda m, d: None if d.agent == "fence_bmc" else {}).testimonies
    assert a.bmc is BmcPower.OFF
    assert a.bmc_detail.startswith("fence_bmc 10.9.0.1: not asked; fence_pdu 10.9.0.2 7: exit code 2")


def test_a_referred_secret_is_hidden_whatever_its_option_is_called():
    device = FenceDevice("fence_test", {}, {"login": SecretRef("env", "X")})
    world = Levels(fence_test=AgentRun(1, "", f"no such user: {PASSWORD}\n"))
    (found,) = survey(
        world,
        [Member("a", "a", fencing=(device,))],
        credentials=lambda: ("root", PASSWORD),
        fence_options=lambda m, d: {"login": PASSWORD},
    ).testimonies
    assert found.bmc_detail == "exit code 1: no such user: (hidden)"


@pytest.mark.parametrize(("address", "port"), [("x", 443), ("x:8443", 8443), ("fe80::1", 443), ("[fe80::1]:80", 80)])
def test_tcp_goes_to_the_port_of_the_address(address, port):
    asked = []

    class Deaf(World):
        def answer(self, ask):
            asked.append(ask)
            return Answer(fault=DEAD)

    survey(Deaf(), [Member("m", address)], credentials=lambda: ("u", "p"), fence_options=lambda m, d: None)
    assert [(a.address, a.port) for a in asked if a.kind == "tcp"] == [(address, port)]
