"""The survey and the bulk read with real sockets, TLS and threads, on a served lab."""

from __future__ import annotations

import socket
import time

import pytest

from reconciler.core.evidence import BmcPower, LoginAnswer
from reconciler.core.port import AgentRun, FaultKind, TaskStatus, TransportFault, XapiFailure
from reconciler.core.wanted import FenceDevice, Member
from reconciler.lab.engine import Lab
from reconciler.lab.seed import Seed
from reconciler.lab.server import ServedLab
from reconciler.lab.timing import Timing
from reconciler.outside import Outside
from reconciler.survey import survey
from reconciler.xapi.read import read_pool
from reconciler.xapi.sessions import PoolSessions
from reconciler.xapi.tasks import XapiTasks
from reconciler.xapi.trust import Trust
from reconciler.xapi.wire import fetch_fingerprint

FIRST = "127.0.61.11"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return tmp_path_factory.mktemp("lab")


@pytest.fixture
def served(certificates):
    seed = Seed.generate(hosts=3, vms=6, random_seed=3, first_address=FIRST)
    lab = Lab(seed, timing=Timing.fast(), start=time.time(), password="right")
    with socket.socket() as free:
        free.bind((FIRST, 0))
        port = free.getsockname()[1]
    service = ServedLab(lab, certificates, port=port, others={})
    service.start()
    yield service
    service.stop()


class Client:
    """Members, trust and port for a served lab."""

    def __init__(self, served, password="right"):
        with served.world() as lab:
            hosts = list(lab.hosts.values())
            self.masters = [h.name for h in lab.masters()]
        self.members = [
            Member(h.name, served.address_of(h), fencing=(FenceDevice("bmc", {"plug": h.name}),)) for h in hosts
        ]
        fingerprints = {m.address: fetch_fingerprint(m.address, 2.0) for m in self.members}
        self.served = served
        self.password = password
        self.port = Outside(Trust(fingerprints), self.agent)

    def agent(self, agent, options, *, deadline):
        with self.served.world() as lab:
            said = lab.bmc(options["plug"], options["action"])
        return AgentRun(2 if "OFF" in said.upper() else 0, f"Status: {said.upper()}\n", "")

    def survey(self, deadline=0.4):
        return survey(
            self.port,
            self.members,
            credentials=lambda: ("root", self.password),
            fence_options=lambda m, d: d.options,
            deadline=deadline,
            hang_deadline=deadline,
        )

    def sessions(self):
        return PoolSessions(self.port, "root", lambda: self.password)


def test_a_healthy_pool_then_a_dead_master(served):
    client = Client(served)
    found = client.survey(deadline=3.0)
    (master,) = [t for t in found.testimonies if t.login is LoginAnswer.MASTER]
    assert [master.name] == client.masters
    assert master.pool_uuid
    members = [t for t in found.testimonies if t is not master]
    assert all(t.login is LoginAnswer.SLAVE and t.reaches_master and t.is_emergency is False for t in members)
    assert all(t.follows == master.address.partition(":")[0] and t.tcp for t in members)

    with served.world() as lab:
        lab.power_off(master.name)
    started = time.monotonic()
    found = client.survey()
    assert time.monotonic() - started < 1.6
    dead = found.of(master.name)
    assert (dead.login, dead.tcp, dead.bmc) == (LoginAnswer.SILENT, False, BmcPower.OFF)
    for other in members:
        now = found.of(other.name)
        assert (now.login, now.is_emergency, now.reaches_master) == (LoginAnswer.SLAVE, False, False)
        assert now.bmc_detail == "not asked"


def test_a_hung_toolstack_still_accepts_connections(served):
    client = Client(served)
    with served.world() as lab:
        lab.hang_toolstack(client.masters[0])
    hung = client.survey().of(client.masters[0])
    assert (hung.login, hung.tcp, hung.bmc) == (LoginAnswer.SILENT, True, BmcPower.ON)


def test_a_stopped_toolstack(served):
    client = Client(served)
    with served.world() as lab:
        lab.stop_toolstack(client.masters[0])
    assert client.survey().of(client.masters[0]).login in (LoginAnswer.REFUSED, LoginAnswer.STRANGE)


def test_a_wrong_password_and_a_wrong_fingerprint(served):
    client = Client(served, password="wrong")
    assert client.survey(deadline=4.0).of(client.masters[0]).login is LoginAnswer.REJECTED
    client.port = Outside(Trust({m.address: "ab" * 32 for m in client.members}), client.agent)
    found = client.survey()
    assert {t.login for t in found.testimonies} == {LoginAnswer.UNTRUSTED}
    assert all("ab" * 32 in t.detail for t in found.testimonies)


def test_sessions_bulk_read_and_tasks(served):
    client = Client(served)
    address = next(m.address for m in client.members if m.name in client.masters)
    session = client.sessions().login(address, deadline=3.0)
    state = read_pool(session, now=client.port.now())
    assert len(state.hosts) == 3
    assert len(state.guests) == 6
    assert state.read_from == address
    running = next(v for v in state.guests if v.power_state == "Running")
    tasks = XapiTasks(client.port, session)
    good = tasks.submit("VM.hard_shutdown", running.ref)
    bad = tasks.submit("VM.start", running.ref, False, False)
    results = {}
    until = client.port.now() + 5
    while len(results) < 2 and client.port.now() < until:
        waited = tasks.wait([t for t in (good, bad) if t not in results], until)
        results.update({ref: r for ref, r in waited.items() if r.ended})
    assert results[good].status is TaskStatus.SUCCESS
    assert results[bad].failure.code in ("VM_BAD_POWER_STATE", "OTHER_OPERATION_IN_PROGRESS")
    assert session.call("VM.get_power_state", running.ref) == "Halted"
    with pytest.raises(XapiFailure, match="HANDLE_INVALID"):
        session.call("task.get_record", bad)
    session.close()
    client.port.close()


def test_a_member_refuses_a_login_with_the_master_it_follows(served):
    client = Client(served)
    member = next(m for m in client.members if m.name not in client.masters)
    with pytest.raises(XapiFailure, match="HOST_IS_SLAVE"):
        client.sessions().login(member.address, deadline=3.0)
    local = client.sessions().local(member.address, deadline=3.0)
    assert local.call("host.is_in_emergency_mode", deadline=3.0) is False
    with served.world() as lab:
        lab.power_off(client.masters[0])
    with pytest.raises(TransportFault) as caught:
        local.call("pool.get_all", deadline=0.2)
    assert caught.value.kind is FaultKind.TIMEOUT
    # What needs no database is answered still.
    assert local.call("host.is_in_emergency_mode", deadline=3.0) is False
    local.close()
    client.port.close()
