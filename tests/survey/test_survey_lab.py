"""The survey, sessions and tasks over the in-memory lab, in virtual time."""

from __future__ import annotations

import pytest

from reconciler.core.evidence import BmcPower, LoginAnswer
from reconciler.core.model import PowerState
from reconciler.core.port import TaskStatus
from reconciler.core.wanted import FenceDevice, Member
from reconciler.lab import Lab, Release, Seed
from reconciler.survey import survey
from reconciler.xapi.read import read_pool
from reconciler.xapi.sessions import PoolSessions
from reconciler.xapi.tasks import XapiTasks
from tests.support.labport import AGENT, LabPort


class Pool:
    """A simulated pool and those who ask it."""

    def __init__(self, hosts=3, vms=6, release=Release.V24_16):
        self.lab = Lab(Seed.generate(hosts=hosts, vms=vms, random_seed=5), release=release)
        self.port = LabPort(self.lab)
        self.members = [
            Member(h.name, h.address, fencing=(FenceDevice(AGENT, {"plug": h.name}),)) for h in self.lab.hosts.values()
        ]
        self.master = self.lab.masters()[0].name
        self.others = [m.name for m in self.members if m.name != self.master]

    def survey(self, **more):
        return survey(
            self.port,
            self.members,
            credentials=lambda: ("root", "lab"),
            fence_options=lambda m, d: d.options,
            **more,
        )

    def open_sessions(self):
        """Normal and local sessions in the toolstacks' own tables."""
        stacks = [h.toolstack for h in self.lab.hosts.values() if h.toolstack is not None]
        return sum(len(s.sessions) + len(s.local_sessions) for s in stacks)

    def address(self, name):
        return self.lab.hosts[name].address

    def session(self):
        return PoolSessions(self.port, "root", lambda: "lab").login(self.address(self.master))


def test_a_healthy_pool_is_surveyed_in_a_moment():
    found = Pool(hosts=4).survey()
    assert found.took < 0.5
    assert [t.login for t in found.testimonies].count(LoginAnswer.MASTER) == 1
    assert all(t.reaches_master for t in found.testimonies if t.login is LoginAnswer.SLAVE)


def test_every_session_is_ended():
    pool = Pool()
    session = pool.session()
    assert pool.open_sessions() == 1
    pool.survey()
    assert pool.open_sessions() == 1
    session.close()
    # Also where the members' reads hang: a local session ends without the database.
    pool.lab.power_off(pool.master)
    pool.survey()
    assert pool.open_sessions() == 0


@pytest.mark.parametrize("hosts", [3, 64])
def test_a_dead_master_costs_one_deadline_and_its_hanging_members_one(hosts):
    pool = Pool(hosts=hosts)
    pool.lab.power_off(pool.master)
    pool.port.wait(60.0)
    found = pool.survey(deadline=5.0, hang_deadline=5.0)
    # One for the dead master, one for all members' reads together; the BMC answers meanwhile.
    assert found.took <= 11.0
    dead = found.of(pool.master)
    assert (dead.login, dead.tcp, dead.bmc) == (LoginAnswer.SILENT, False, BmcPower.OFF)
    for name in pool.others:
        t = found.of(name)
        assert (t.login, t.follows, t.is_emergency, t.reaches_master) == (
            LoginAnswer.SLAVE,
            pool.address(pool.master),
            False,
            False,
        )
    reads = [address for _, address, method in pool.port.calls if method == "pool.get_all"]
    assert len(reads) == len(set(reads)) == hosts - 1


def test_older_releases_show_emergency_mode():
    pool = Pool(release=Release.CLASSIC)
    pool.lab.power_off(pool.master)
    pool.port.wait(400.0)
    found = pool.survey()
    for name in pool.others:
        t = found.of(name)
        assert t.login is LoginAnswer.EMERGENCY
        assert t.is_emergency is True
        assert t.reaches_master is None


def test_a_member_in_emergency_mode_repeats_whom_its_master_follows_and_not_whom_it_follows_itself():
    """Found by soak seeds 4001630, 4001933 and 4003916: xen01 was said to follow itself, and the promotion refused."""
    pool = Pool(release=Release.CLASSIC)
    lab, (one, two) = pool.lab, pool.others
    stack = lab.hosts[one].toolstack
    assert stack is not None
    lab.hosts[two].role = f"slave:{lab.hosts[one].address}"
    lab.restart_toolstack(two)
    logins = []
    for _ in range(8):
        pool.port.wait(5.0)
        t = pool.survey().of(two)
        logins.append(t.detail)
        assert (t.login, t.follows) == (LoginAnswer.EMERGENCY, None)
    assert f"HOST_IS_SLAVE [{pool.address(pool.master)}]" in logins


def test_a_member_that_follows_itself_says_so():
    pool = Pool(release=Release.CLASSIC)
    one = pool.others[0]
    pool.lab.hosts[one].role = f"slave:{pool.address(one)}"
    pool.lab.restart_toolstack(one)
    pool.port.wait(20.0)
    told = set()
    for _ in range(4):
        pool.port.wait(5.0)
        told.add(pool.survey().of(one).detail)
    assert told == {"HOST_STILL_BOOTING []", "HOST_ITS_OWN_SLAVE []"}


def test_who_is_cut_off_from_us_only_is_silent_while_its_member_still_reaches_it():
    pool = Pool()
    pool.lab.cut("client", pool.master)
    found = pool.survey()
    assert found.of(pool.master).login is LoginAnswer.SILENT
    assert found.of(pool.master).bmc is BmcPower.ON
    # The witness that tells "we are cut off" from "the master is gone".
    assert all(found.of(name).reaches_master is True for name in pool.others)


def test_a_member_cut_off_from_its_master_says_so():
    pool = Pool()
    pool.lab.cut(pool.master, pool.others[0])
    found = pool.survey()
    assert found.of(pool.others[0]).reaches_master is False
    assert found.of(pool.others[1]).reaches_master is True


def test_a_hung_toolstack_is_a_sign_of_life_of_its_host():
    pool = Pool()
    pool.lab.hang_toolstack(pool.master)
    t = pool.survey().of(pool.master)
    assert (t.login, t.tcp, t.bmc) == (LoginAnswer.SILENT, True, BmcPower.ON)


def test_a_stopped_toolstack_and_a_wrong_password():
    pool = Pool()
    pool.lab.stop_toolstack(pool.others[0])
    pool.lab.password = "changed"
    found = pool.survey()
    assert found.of(pool.others[0]).login in (LoginAnswer.REFUSED, LoginAnswer.STRANGE)
    assert found.of(pool.master).login is LoginAnswer.REJECTED
    assert found.of(pool.others[1]).local_login is False


def test_tasks_of_a_living_master_and_of_one_that_dies():
    pool = Pool()
    session = pool.session()
    state = read_pool(session, now=pool.port.now())
    victim = next(v for v in state.guests if v.power_state is PowerState.RUNNING)
    tasks = XapiTasks(pool.port, session)
    ref = tasks.submit("VM.hard_shutdown", victim.ref)
    until = pool.port.now() + 300.0
    assert tasks.wait([ref], until)[ref].status is TaskStatus.SUCCESS
    assert pool.port.now() < until
    ref = tasks.submit("VM.start", victim.ref, False, False)
    pool.lab.restart_toolstack(pool.master)
    pool.port.wait(60.0)
    # Sessions and tasks died with it; nothing is known of the operation.
    assert tasks.wait([ref], pool.port.now() + 60.0)[ref].status is TaskStatus.UNKNOWN
