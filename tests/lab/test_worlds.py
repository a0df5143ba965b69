"""The two worlds, the kernel under them, and the port over them."""

from __future__ import annotations

import pytest

from reconciler.core.port import Ask, FaultKind, TransportFault, XapiFailure
from reconciler.lab import BmcSilent, Lab, Seed, Timing
from reconciler.lab.kernel import Kernel, Steps
from tests.lab.story import make
from tests.support.labport import LabPort


def test_processes_sleep_wait_and_die() -> None:
    kernel = Kernel(100.0)
    seen: list[tuple[float, str]] = []
    event = kernel.event()

    def sleeper() -> Steps:
        yield 5.0
        seen.append((kernel.now, "slept"))
        event.fire("woken")

    def waiter() -> Steps:
        yield event
        seen.append((kernel.now, str(event.value)))
        assert (yield from kernel.either(kernel.event(), 2.0)) is False
        seen.append((kernel.now, "timed out"))

    kernel.spawn(sleeper())
    kernel.spawn(waiter())
    doomed = kernel.spawn(sleeper())
    doomed.kill()
    kernel.run(200.0)
    assert seen == [(105.0, "slept"), (105.0, "woken"), (107.0, "timed out")]
    assert kernel.now == 200.0


def test_links_are_between_two_ends_and_storage_is_one_of_them() -> None:
    lab = Lab(Seed.generate(3, 6))
    world = lab.world
    lab.cut("xen01", "*")
    assert not world.linked("xen01", "xen02")
    assert not world.linked("client", "xen01")
    assert world.linked("xen02", "xen03")
    san = next(uuid for uuid, name in world.sr_names.items() if name == "san-1")
    assert world.reaches_sr("xen01", san)
    lab.cut("xen01", "storage")
    assert not world.reaches_sr("xen01", san)
    lab.heal("xen01", "*")
    assert world.linked("xen01", "client")
    assert world.reaches_sr("xen01", san)
    lab.cut("xen02", "san-1")
    assert not world.reaches_sr("xen02", san)


def test_power_and_bmc() -> None:
    s = make()
    assert s.lab.bmc("h3", "status") == "on"
    assert s.lab.bmc("h3", "off") == "off"
    assert s.where("vm3") == []
    assert s.lab.tcp(s.address("h3"), 443) == "unreachable"
    assert s.lab.bmc("h3", "on") == "on"
    s.lab.bmc_lies["h2"] = True
    assert s.lab.bmc("h2", "off") == "off"
    assert s.lab.bmc("h2", "status") == "on"
    assert s.where("vm2") == ["h2"]
    s.lab.bmc_answers["h2"] = False
    with pytest.raises(BmcSilent, match="h2"):
        s.lab.bmc("h2", "status")
    with pytest.raises(KeyError, match="no host is called nobody"):
        s.lab.power_off("nobody")


def test_a_hung_toolstack_accepts_and_never_answers() -> None:
    s = make()
    s.login("h1")
    s.lab.hang_toolstack("h3")
    assert s.lab.tcp(s.address("h3"), 443) == "open"
    assert s.sign_in("h3") == "hangs"
    assert s.ask("h1", "host.declare_dead", "h3", deadline=120.0) == "hangs"  # the probe waits for ever
    assert s.where("vm3") == ["h3"]
    s.lab.restart_toolstack("h3")
    s.until_ready("h1", "h3")
    assert s.where("vm3") == ["h3"]


def test_a_stopped_toolstack_refuses_and_its_vms_run_on() -> None:
    s = make()
    s.login("h1")
    s.lab.stop_toolstack("h3")
    assert s.sign_in("h3") == "refused"
    s.wait(60.0)
    assert s.sign_in("h3") == "refused"
    assert s.where("vm3") == ["h3"]
    # A refused connection passes for death: a living VM is recorded as halted (sheet §3.6).
    assert s.ask("h1", "host.declare_dead", "h3") == ""
    s.lab.start_toolstack("h3")
    s.until_ready("h1", "h3")
    assert s.record("h1", "vm3") == ("Running", "h3")  # adopted


def test_what_a_master_had_not_flushed_is_lost_with_its_power() -> None:
    s = make()
    s.ask("h1", "VM.set_name_description", "vm5", "flushed")
    s.wait(10.0)
    s.ask("h1", "VM.set_name_description", "vm5", "lost")
    s.lab.power_off("h1")
    s.lab.power_on("h1")
    s.until_master("h1")
    assert s.ask("h1", "VM.get_name_description", "vm5") == "flushed"


def test_backups_reach_one_member_after_the_other() -> None:
    s = make()
    s.ask("h1", "VM.set_name_description", "vm5", "new")
    s.wait(310.0)

    def described(host: str) -> str:
        return str(s.lab.hosts[host].disk.tables["VM"][s.ref("vm5")]["name_description"])

    assert (described("h2"), described("h3")) == ("new", "")
    s.wait(300.0)
    assert described("h3") == "new"


def test_the_picture_shows_both_worlds() -> None:
    s = make()
    s.login("h1")
    s.lab.cut("h3", "h1")
    s.lab.cut("h3", "h2")
    s.ask("h1", "host.declare_dead", "h3")
    picture = s.lab.describe()
    vm3 = next(v for v in picture["vms"] if v["name"] == "vm3")
    assert (vm3["power_state"], vm3["resident_on"], vm3["runs_on"]) == ("Halted", None, ["h3"])
    assert picture["master"] == "h1"
    assert picture["cuts"] == [["h1", "h3"], ["h2", "h3"]]


def test_the_port_gives_values_failures_and_faults() -> None:
    lab = Lab(Seed.generate(2, 4))
    port = LabPort(lab)
    one, two = (h.address for h in lab.hosts.values())
    session = port.call(one, "session.login_with_password", ["root", "lab"], deadline=10.0)
    with pytest.raises(XapiFailure, match=f"HOST_IS_SLAVE \\[{one}\\]"):
        port.call(two, "session.login_with_password", ["root", "lab"], deadline=10.0)
    records = port.call(one, "VM.get_all_records", [session], deadline=10.0)
    ref = next(iter(records))
    records[ref]["other_config"]["mine"] = "1"
    records[ref]["name_label"] = "changed"
    again = port.call(one, "VM.get_record", [session, ref], deadline=10.0)
    assert "mine" not in again["other_config"]
    assert again["name_label"] != "changed"
    lab.power_off("xen01")
    before = port.now()
    with pytest.raises(TransportFault) as fault:
        port.call(one, "VM.get_all", [session], deadline=10.0)
    assert fault.value.kind is FaultKind.UNREACHABLE
    local = port.call(two, "session.slave_local_login_with_password", ["root", "lab"], deadline=10.0)
    asks = [
        Ask("xapi", 8.0, two, "pool.get_all", (local,)),
        Ask("xapi", 8.0, two, "host.is_in_emergency_mode", (local,)),
        Ask("tcp", 2.0, one),
        Ask("tcp", 2.0, two),
        Ask("agent", 5.0, agent="fence_xenrec_lab", options={"action": "status", "plug": "xen01"}),
    ]
    answers = port.ask_all(asks)
    assert isinstance(answers[0].fault, TransportFault)
    assert answers[0].fault.kind is FaultKind.TIMEOUT
    assert answers[0].took == pytest.approx(8.0)
    assert answers[1].value is False
    assert answers[1].took < 0.1
    assert isinstance(answers[2].fault, TransportFault)
    assert answers[3].fault is None
    assert (answers[4].value.code, answers[4].value.stdout) == (2, "Status: OFF\n")
    assert port.now() - before < 15.0
    with pytest.raises(FileNotFoundError):
        port.run_agent("fence_other", {"action": "status"}, deadline=5.0)


def test_the_port_can_be_broken_around_any_call() -> None:
    lab = Lab(Seed.generate(1, 1), timing=Timing.fast())
    port = LabPort(lab)
    address = lab.hosts["xen01"].address

    class Killed(Exception):
        pass

    def kill(_address: str, method: str, _params: object) -> None:
        if method == "pool.sync_database":
            raise Killed

    session = port.call(address, "session.login_with_password", ["root", "lab"], deadline=5.0)
    port.before_call = kill
    with pytest.raises(Killed):
        port.call(address, "pool.sync_database", [session], deadline=5.0)
    assert [m for _, _, m in port.calls] == ["session.login_with_password"]  # never sent
    port.before_call, port.after_call = None, kill
    with pytest.raises(Killed):
        port.call(address, "pool.sync_database", [session], deadline=5.0)
    assert [m for _, _, m in port.calls][-1] == "pool.sync_database"


def test_a_demo_pool_is_quick() -> None:
    s = make(Timing.fast())
    s.lab.power_off("h1")
    sent = s.lab.now
    s.promote("h2")
    assert s.lab.now - sent < 3.5
    s.ask("h2", "pool.recover_slaves")
    assert s.until_ready("h2", "h2", "h3") < 4.0
    start = s.lab.now
    s.ask("h2", "VM.start_on", "vm5", "h3", False, False)
    assert s.lab.now - start < 0.6
