"""Stories of the recorded pool, told again: at each turn what is recorded, what runs, and what harm was done.

Each is named after the recording that shows what the real pool did.
"""

from __future__ import annotations

from tests.lab.story import HANGS, make


def test_03_a_dead_master_leaves_members_that_follow_it_for_ever() -> None:
    s = make()
    s.login("h1")
    s.lab.power_off("h1")
    assert s.sign_in("h1") == "unreachable"
    assert s.sign_in("h2") == ["HOST_IS_SLAVE", s.address("h1")]
    assert s.ask_locally("h2", "host.is_in_emergency_mode") is False
    for call in ("pool.get_all", "pool.is_slave", "VM.get_all_records", "session.logout"):
        params = ("h2",) if call == "pool.is_slave" else ()
        assert s.ask_locally("h2", call, *params, deadline=30.0) == HANGS, call
    assert s.raw("h2", "VM.get_all", s.sessions["h1"], deadline=30.0) == HANGS  # a session of the dead master
    assert s.raw("h2", "VM.get_all", "OpaqueRef:unknown", deadline=30.0) == HANGS
    assert s.refusal_locally("h2", "host.commit_new_master", "10.0.0.1")[0] == "HA_ABORT_NEW_MASTER"
    assert s.ask_locally("h2", "host.get_servertime", "h2").endswith("Z")
    s.lab.restart_toolstack("h3")
    s.wait(5.0)
    assert s.sign_in("h3") == ["HOST_IS_SLAVE", s.address("h1")]
    s.wait(170.0)
    assert s.ask_locally("h3", "host.is_in_emergency_mode") is False
    assert s.where("vm2") == ["h2"]
    assert s.where("vm3") == ["h3"]


def test_03_promotion_and_recovery_after_the_master_died() -> None:
    s = make()
    s.lab.power_off("h1")
    sent = s.lab.now
    assert s.ask_locally("h2", "pool.emergency_transition_to_master") == ""
    assert s.sign_in("h2") == ["HOST_IS_SLAVE", s.address("h1")]  # the old role goes on answering
    s.until_master("h2")
    assert 9.0 <= s.lab.now - sent <= 17.0
    assert s.hosts("h2") == {"h1": (False, False), "h2": (False, True), "h3": (False, False)}
    assert s.refusal("h2", "VM.start_on", "vm6", "h2", False, False) == ["HOST_DISABLED", "h2"]
    assert s.ask("h2", "pool.recover_slaves") == ["h3"]
    s.until_ready("h2", "h2", "h3")
    assert s.sign_in("h3") == ["HOST_IS_SLAVE", s.address("h2")]
    assert s.record("h2", "vm1") == ("Running", "h1")
    assert s.refusal("h2", "VM.start", "vm1", False, False) == ["VM_BAD_POWER_STATE", "vm1", "halted", "running"]
    for call in ("VM.clean_shutdown", "VM.hard_shutdown", "VM.suspend", "VM.pause", "VM.hard_reboot"):
        assert s.refusal("h2", call, "vm1") == ["HOST_OFFLINE", "h1"], call
    for call in ("host.disable", "host.enable", "host.restart_agent", "host.get_servertime"):
        assert s.refusal("h2", call, "h1") == ["HOST_OFFLINE", "h1"], call
    assert s.refusal("h2", "host.power_on", "h1") == ["HOST_POWER_ON_MODE_DISABLED"]
    assert s.refusal("h2", "host.destroy", "h1") == ["HOST_HAS_RESIDENT_VMS", "h1"]
    before = s.lab.now
    assert s.refusal("h2", "pool.sync_database") == ["HOST_OFFLINE", "h1"]
    assert s.lab.hosts["h3"].disk.taken_at > before, "who lives has its copy all the same"
    assert s.lab.hosts["h1"].disk.taken_at < before
    assert s.refusal("h2", "pool.designate_new_master", "h3") == ["HOST_OFFLINE", "h1"]
    assert s.ask("h2", "host.compute_free_memory", "h1") > 0
    assert sorted(s.ask("h2", "VM.get_possible_hosts", "vm6")) == ["h2", "h3"]
    assert s.refusal("h2", "VM.power_state_reset", "vm2") == ["DOMAIN_EXISTS", "vm2"]
    assert s.refusal("h2", "VM.power_state_reset", "vm3") == ["HOST_IS_LIVE", "h3"]
    assert s.refusal("h2", "host.declare_dead", "h2") == ["HOST_IS_LIVE", "h2"]
    assert s.refusal("h2", "host.declare_dead", "h3") == ["HOST_IS_LIVE", "h3"]
    assert s.harms() == []


def test_03_burying_the_dead_frees_its_locks_and_a_bare_reset_does_not() -> None:
    s = make()
    s.lab.power_off("h1")
    s.promote("h2")
    s.ask("h2", "pool.recover_slaves")
    s.until_ready("h2", "h2", "h3")
    assert s.ask("h2", "VM.power_state_reset", "vm4") == ""
    assert s.record("h2", "vm4") == ("Halted", "")
    refused = s.refusal("h2", "VM.start_on", "vm4", "h3", False, False)
    assert refused[0] == "SR_BACKEND_FAILURE_46"
    assert "disk-vm4" in refused[2]
    assert s.where("vm4") == []
    before = s.lab.now
    assert s.ask("h2", "host.declare_dead", "h1") == ""
    assert s.lab.now - before < 1.0  # live=false is believed without a probe
    assert s.ask("h2", "host.declare_dead", "h1") == ""
    assert s.record("h2", "vm1") == ("Halted", "")
    assert s.record("h2", "Control domain on host: xen01") == ("Running", "h1")
    s.ask("h2", "VM.start_on", "vm4", "h3", False, False)
    s.ask("h2", "VM.start", "vm1", False, False)
    assert s.where("vm4") == ["h3"]
    assert s.where("vm1")[0] in ("h2", "h3")
    assert s.ask("h2", "VM.get_possible_hosts", "local-h1") == []
    assert s.refusal("h2", "VM.start", "local-h1", False, False) == ["NO_HOSTS_AVAILABLE"]
    refused = s.refusal("h2", "VM.start_on", "local-h1", "h3", False, False)
    assert refused == ["VM_REQUIRES_SR", "local-h1", "local-sr-h1"]
    assert s.refusal("h2", "VM.start_on", "vm6", "h1", False, False) == ["HOST_NOT_LIVE"]
    assert s.harms() == []


def test_04_and_19_the_old_master_returns_and_steps_down() -> None:
    s = make()
    s.lab.power_off("h1")
    s.promote("h2")
    s.ask("h2", "pool.recover_slaves")
    s.until_ready("h2", "h2", "h3")
    s.ask("h2", "host.declare_dead", "h1")
    s.ask("h2", "VM.start_on", "vm1", "h3", False, False)
    s.lab.power_on("h1")
    seen: list[object] = []
    start = s.lab.now
    while s.lab.now - start < 30.0:
        answer = s.sign_in("h1")
        if not seen or seen[-1] != answer:
            seen.append(answer)
        s.wait(0.1)
    # For a moment it takes logins as a second master, then it finds the new one (recording 19).
    assert seen[:4] == ["unreachable", "refused", "master", "dropped"] or seen[:4] == [
        "unreachable",
        "refused",
        "master",
        "refused",
    ]
    assert ["HOST_IS_SLAVE", s.address("h2")] in seen
    assert ["HOST_STILL_BOOTING"] in seen
    assert s.hosts("h2")["h1"] == (True, True)
    assert s.lab.hosts["h1"].role == f"slave:{s.address('h2')}"
    assert s.where("vm1") == ["h3"]
    s.ask("h2", "VM.start", "local-h1", False, False)
    assert s.where("local-h1") == ["h1"]
    assert s.ask("h2", "pool.sync_database") == ""
    assert s.harms() == []


def test_05_two_masters_run_a_vm_twice_and_recover_slaves_decides() -> None:
    s = make()
    s.login("h1")
    s.lab.cut("h1", "h2")
    s.lab.cut("h1", "h3")
    s.promote("h2")
    assert s.ask("h2", "pool.recover_slaves") == ["h3"]
    s.until_ready("h2", "h2", "h3")
    before = s.lab.now
    assert s.ask("h2", "host.declare_dead", "h1") == ""
    assert s.lab.now - before < 1.0  # no probe at all
    s.ask("h2", "VM.start_on", "vm1", "h3", False, False)
    assert s.where("vm1") == ["h1", "h3"]
    assert {"two-domains", "two-writers"} <= set(s.harms())
    assert s.ask("h1", "VM.start_on", "vm5", "h1", False, False) == ""  # the old master acts too
    assert "two-masters" in s.harms()
    s.lab.heal("h1", "h2")
    s.lab.heal("h1", "h3")
    s.wait(75.0)
    assert s.sign_in("h1") == "master"
    assert s.sign_in("h2") == "master"
    assert s.sign_in("h3") == ["HOST_IS_SLAVE", s.address("h2")]
    assert s.refusal("h2", "VM.start_on", "vm6", "h1", False, False) == ["HOST_NOT_LIVE"]
    assert sorted(s.ask("h2", "pool.recover_slaves")) == ["h1", "h3"]
    s.until(lambda: s.sign_in("h1") == ["HOST_IS_SLAVE", s.address("h2")], 60.0)
    s.until_ready("h2", "h1")
    assert s.where("vm1") == ["h3"]  # its copy on h1 was killed: the surviving database places it on h3
    assert s.where("vm4") == ["h1"]  # Halted in that database: adopted
    assert s.record("h2", "vm4") == ("Running", "h1")
    assert s.record("h2", "vm5") == ("Running", "h1")
    assert "resync-kill" in s.harms()


def test_06_a_dead_member_stays_live_for_ten_minutes_and_every_call_to_it_is_slow() -> None:
    s = make()
    s.login("h1")
    s.lab.power_off("h3")
    plug = s.lab.now
    assert s.hosts("h1")["h3"] == (True, True)
    assert "h3" in s.ask("h1", "VM.get_possible_hosts", "vm6")
    start = s.lab.now
    assert s.refusal("h1", "VM.start_on", "vm6", "h3", False, False) == ["CANNOT_CONTACT_HOST", "h3"]
    assert 130.0 <= s.lab.now - start <= 150.0
    assert s.record("h1", "vm6") == ("Halted", "")
    start = s.lab.now
    assert s.ask("h1", "host.declare_dead", "h3") == ""
    assert 19.0 <= s.lab.now - start <= 22.0  # one probe for the host, one for each VM
    assert s.record("h1", "vm3") == ("Halted", "")
    s.ask("h1", "VM.start_on", "vm3", "h2", False, False)
    s.until(lambda: not s.hosts("h1")["h3"][1], 700.0, step=1.0)
    assert 600.0 <= s.lab.now - plug <= 632.0
    assert s.refusal("h1", "host.disable", "h3") == ["HOST_OFFLINE", "h3"]
    s.lab.power_on("h3")
    s.until_ready("h1", "h3", within=30.0)
    assert s.where("vm3") == ["h2"]
    assert s.harms() == []


def test_07_a_member_that_was_cut_off_comes_back_disabled_and_runs_its_vm_twice() -> None:
    s = make()
    s.login("h1")
    for other in ("h1", "h2", "client"):
        s.lab.cut("h3", other)
    s.wait(8.0)
    start = s.lab.now
    s.ask("h1", "host.declare_dead", "h3")
    assert s.lab.now - start > 15.0
    s.ask("h1", "VM.start_on", "vm3", "h2", False, False)
    assert s.where("vm3") == ["h2", "h3"]
    assert s.harms()[:2] == ["two-domains", "two-writers"]
    s.lab.heal("h3", "*")
    s.wait(100.0)
    assert s.hosts("h1")["h3"] == (False, True)  # live, and disabled for ever
    assert s.where("vm3") == ["h2", "h3"]
    s.lab.restart_toolstack("h3")
    s.until_ready("h1", "h3", within=20.0)
    assert s.where("vm3") == ["h2"]
    assert s.harms()[-1] == "resync-kill"


def test_08_a_stale_database_kills_and_adopts_as_hosts_return() -> None:
    s = make()
    s.ask("h1", "pool.sync_database")
    s.ask("h1", "VM.pool_migrate", "vm1", "h3", {"live": "true"})  # h1 -> h3
    s.ask("h1", "VM.pool_migrate", "vm4", "h2", {"live": "true"})  # h1 -> the host to be promoted
    s.ask("h1", "VM.start_on", "vm6", "h3", False, False)  # Halted in the copy
    made = s.ask("h1", "VM.clone", "vm5", "vmX")  # unknown in the copy
    s.learn()
    assert s.names[made] == "vmX"
    s.ask("h1", "VM.start_on", "vmX", "h3", False, False)
    s.ask("h1", "VM.hard_shutdown", "vm2")  # Running on h2 in the copy
    s.lab.power_off("h1")
    s.promote("h2")
    assert s.record("h2", "vm4") == ("Running", "h1")
    assert s.where("vm4") == ["h2"]
    assert s.record("h2", "vm2") == ("Running", "h2")
    s.ask("h2", "pool.recover_slaves")
    s.until_ready("h2", "h2", "h3")
    assert s.where("vm4") == []  # killed: the database places it on the dead h1
    assert s.record("h2", "vm4") == ("Running", "h1")
    assert s.where("vm1") == []  # the same, on h3
    assert s.where("vmX") == []  # killed: unknown
    assert s.where("vm6") == ["h3"]  # adopted
    assert s.record("h2", "vm6") == ("Running", "h3")
    assert s.record("h2", "vm2") == ("Halted", "")
    assert s.harms() == ["resync-kill"] * 3


def test_13_recover_slaves_on_a_member_ties_a_knot_that_a_promotion_undoes() -> None:
    s = make()
    assert sorted(s.ask_locally("h3", "pool.recover_slaves")) == ["h1", "h2"]
    s.wait(20.0)
    assert s.sign_in("h1") == ["HOST_IS_SLAVE", s.address("h3")]
    assert s.sign_in("h2") == ["HOST_IS_SLAVE", s.address("h3")]
    assert s.sign_in("h3") == ["HOST_IS_SLAVE", s.address("h1")]
    s.wait(60.0)
    assert [s.sign_in(h) for h in ("h1", "h2", "h3")].count("master") == 0
    s.local.clear()
    s.ask_locally("h3", "pool.emergency_transition_to_master")
    s.until_master("h3")
    s.until_ready("h3", "h1", "h2", "h3")
    assert (s.where("vm1"), s.where("vm2"), s.where("vm3")) == (["h1"], ["h2"], ["h3"])
    assert s.harms() == []


def test_14_without_recover_slaves_the_new_master_stays_disabled_and_buries_the_living() -> None:
    s = make()
    s.lab.power_off("h1")
    s.promote("h2")
    s.wait(60.0)
    assert s.hosts("h2") == {"h1": (False, False), "h2": (False, True), "h3": (False, False)}
    assert s.refusal("h2", "VM.start", "vm6", False, False) == ["NO_HOSTS_AVAILABLE"]
    assert s.refusal("h2", "VM.start_on", "vm6", "h3", False, False) == ["HOST_NOT_LIVE"]
    assert s.refusal("h2", "VM.hard_shutdown", "vm3") == ["HOST_OFFLINE", "h3"]
    assert s.ask("h2", "host.declare_dead", "h3") == ""  # though it lives and vm3 runs there
    assert s.record("h2", "vm3") == ("Halted", "")
    assert s.where("vm3") == ["h3"]
    assert s.ask("h2", "pool.recover_slaves") == ["h3"]
    s.until_ready("h2", "h2", "h3")
    assert s.record("h2", "vm3") == ("Running", "h3")  # adopted again
    assert s.harms() == []


def test_17_a_promotion_beside_a_living_master_makes_two_for_a_moment() -> None:
    s = make()
    s.login("h1")
    start = s.lab.now
    s.ask_locally("h2", "pool.emergency_transition_to_master")
    assert s.lab.now - start < 1.0
    s.until_master("h2", within=20.0)
    assert s.sign_in("h1") == "master"
    s.until(lambda: s.sign_in("h2") == ["HOST_IS_SLAVE", s.address("h1")], 20.0)
    s.until_ready("h1", "h1", "h2", "h3")
    assert (s.where("vm1"), s.where("vm2"), s.where("vm3")) == (["h1"], ["h2"], ["h3"])
    assert s.harms() == []


def test_18_of_two_masters_whoever_restarts_first_steps_down() -> None:
    s = make()
    s.lab.cut("h1", "h2")
    s.lab.cut("h1", "h3")
    s.promote("h2")
    s.ask("h2", "pool.recover_slaves")
    s.until_ready("h2", "h2", "h3")
    s.lab.heal("h1", "*")
    s.lab.restart_toolstack("h2")
    s.until(lambda: s.sign_in("h2") == ["HOST_IS_SLAVE", s.address("h1")], 30.0)
    assert s.sign_in("h1") == "master"
    assert s.sign_in("h3") == ["HOST_IS_SLAVE", s.address("h2")]  # a chain: it follows a member
    assert sorted(s.ask("h1", "pool.recover_slaves")) == ["h2", "h3"]
    s.until_ready("h1", "h1", "h2", "h3")


def test_21_and_22_after_a_master_restart_the_living_can_be_buried_and_vms_run_twice() -> None:
    s = make()
    s.login("h1")
    s.lab.restart_toolstack("h1")
    s.until_master("h1")
    assert s.hosts("h1") == {"h1": (False, True), "h2": (False, False), "h3": (False, False)}
    assert s.ask("h1", "host.declare_dead", "h3") == ""
    assert s.record("h1", "vm3") == ("Halted", "")
    s.until_ready("h1", "h1", "h2", "h3", within=15.0)
    s.wait(30.0)
    assert s.record("h1", "vm3") == ("Halted", "")  # nothing ever notices
    assert s.where("vm3") == ["h3"]
    assert s.harms() == []
    # On the host where it really runs: refused in xenopsd's capitals, and the record is put right (recording 22).
    refused = s.refusal("h1", "VM.start_on", "vm3", "h3", False, False)
    assert refused == ["VM_BAD_POWER_STATE", "vm3", "Halted", "Running"]
    assert s.record("h1", "vm3") == ("Running", "h3")
    s.lab.restart_toolstack("h1")
    s.until_master("h1")
    s.ask("h1", "host.declare_dead", "h3")
    s.until_ready("h1", "h1", "h2", "h3", within=15.0)
    s.ask("h1", "VM.start_on", "vm3", "h2", False, False)
    assert s.where("vm3") == ["h2", "h3"]
    assert s.harms() == ["two-domains", "two-writers"]
    s.ask("h1", "VM.hard_shutdown", "vm3")
    assert s.where("vm3") == ["h3"]


def test_09_a_hand_over_restarts_every_toolstack_and_no_vm() -> None:
    s = make()
    old = s.login("h1")
    assert s.ask("h1", "pool.designate_new_master", "h1") == ""
    assert s.ask("h1", "pool.designate_new_master", "h2") == ""
    s.until_master("h2")
    s.until_ready("h2", "h1", "h2", "h3")
    assert s.sign_in("h1") == ["HOST_IS_SLAVE", s.address("h2")]
    reply = s.send("h1", "VM.get_all", old)
    s.wait(1.0)
    assert reply.failure == ("SESSION_INVALID", [old])
    assert (s.where("vm1"), s.where("vm2"), s.where("vm3")) == (["h1"], ["h2"], ["h3"])
    messages = s.raw("h2", "message.get_all_records", s.sessions["h2"])
    assert "POOL_MASTER_TRANSITION" in [m["name"] for m in messages.values()]


def test_a_hand_over_that_fails_midway_leaves_a_broken_role_file() -> None:
    """Whoever could be told follows the new master, and that one dies at each start (sheet §2.8)."""
    s = make()
    s.login("h1")
    reply = s.send("h1", "pool.designate_new_master", s.sessions["h1"], s.ref("h2"))
    s.wait(2.0)
    s.lab.power_off("h3")
    s.wait(40.0)
    assert reply.failure is not None
    assert reply.failure[0] == "CANNOT_CONTACT_HOST"
    roles = {name: host.role for name, host in s.lab.hosts.items()}
    assert (roles["h1"], roles["h2"]) == (f"slave:{s.address('h2')}", "broken")
    assert (s.sign_in("h1"), s.sign_in("h2")) == (["HOST_IS_SLAVE", s.address("h2")], "refused")


def test_12_a_broken_role_file_keeps_xapi_from_starting() -> None:
    s = make()
    s.lab.hosts["h3"].role = "broken"
    s.lab.restart_toolstack("h3")
    for _ in range(20):
        s.wait(2.0)
        assert s.sign_in("h3") == "refused"
    assert s.lab.tcp(s.address("h3"), 443) == "open"
    assert s.where("vm3") == ["h3"]


def test_16_a_forgotten_member_never_gets_in() -> None:
    s = make()
    s.login("h1")
    s.lab.power_off("h3")
    assert s.refusal("h1", "host.destroy", "h3") == ["HOST_HAS_RESIDENT_VMS", "h3"]
    s.ask("h1", "host.declare_dead", "h3")
    assert s.ask("h1", "host.destroy", "h3") == ""
    assert sorted(s.hosts("h1")) == ["h1", "h2"]
    s.lab.power_on("h3")
    s.wait(120.0)
    assert s.sign_in("h3") in (["HOST_IS_SLAVE", s.address("h1")], "refused")
    assert sorted(s.hosts("h1")) == ["h1", "h2"]
