"""What goes wrong on command really goes wrong, and what undoes it undoes it."""

from __future__ import annotations

import pytest

from reconciler.lab import Lab, Schedule, ScriptError, Seed
from reconciler.lab.faults import HELP, deed
from tests.lab.story import HANGS, Refused, Story, make


def do(lab: Lab, command: str) -> list[str]:
    """Do it now; what was noted of it."""
    notes: list[str] = []
    deed(lab, command.split(), notes.append)()
    return notes


@pytest.fixture
def story() -> Story:
    return make()


def test_power_is_lost_with_or_without_the_bmc(story: Story) -> None:
    lab = story.lab
    do(lab, "power off h2")
    assert (lab.hosts["h2"].powered, lab.bmc_answers["h2"]) == (False, True)
    do(lab, "power off h3 with bmc")
    assert (lab.hosts["h3"].powered, lab.bmc_answers["h3"]) == (False, False)
    do(lab, "power on h3 with bmc")
    story.wait(30)
    assert (lab.hosts["h3"].toolstack_state, lab.bmc_answers["h3"]) == ("running", True)


def test_a_partition_separates_sets_and_nothing_else(story: Story) -> None:
    lab = story.lab
    do(lab, "partition h1 | h2 client")
    linked = {pair: lab.world.linked(*pair) for pair in (("h1", "h2"), ("h1", "client"), ("h2", "client"))}
    assert linked == {("h1", "h2"): False, ("h1", "client"): False, ("h2", "client"): True}
    assert lab.world.linked("h1", "h3")
    assert story.raw("h1", "session.login_with_password", "root", "lab", deadline=5.0) == "unreachable"
    do(lab, "heal all")
    assert story.sign_in("h1") == "master"


def test_an_isolated_host_reaches_nobody_but_its_storage(story: Story) -> None:
    lab = story.lab
    do(lab, "isolate h2")
    assert not any(lab.world.linked("h2", other) for other in ("h1", "h3", "client", "operator"))
    sr = next(uuid for uuid, name in lab.world.sr_names.items() if name == "shared")
    assert lab.world.reaches_sr("h2", sr)
    do(lab, "heal h2")
    assert lab.world.linked("h2", "h1")


def test_a_link_flaps(story: Story) -> None:
    lab = story.lab
    do(lab, "flap h1 h2 3 10")
    seen = []
    for _ in range(8):
        lab.run(lab.now + 4)
        seen.append(lab.world.linked("h1", "h2"))
    # 4 s: cut, 8: healed, 12: cut, 16: healed, 20: cut again at 20, 24: cut, 28: healed, 32: healed
    assert seen == [False, True, False, True, False, False, True, True]


def test_a_failed_sr_is_out_of_reach_for_all(story: Story) -> None:
    do(story.lab, "sr fail shared")
    assert story.refusal("h1", "VM.start", "vm5", False, False)[0].startswith("SR_BACKEND_FAILURE")
    do(story.lab, "sr heal shared")
    story.ask("h1", "VM.start", "vm5", False, False)
    assert story.where("vm5")


def test_a_full_memory_refuses_what_its_pool_believes_to_fit(story: Story) -> None:
    do(story.lab, "memory full h2")
    assert "h2" in story.ask("h1", "VM.get_possible_hosts", "vm5")
    assert story.refusal("h1", "VM.start_on", "vm5", "h2", False, False)[0] == "HOST_NOT_ENOUGH_FREE_MEMORY"
    do(story.lab, "memory free h2")
    story.ask("h1", "VM.start_on", "vm5", "h2", False, False)
    assert story.where("vm5") == ["h2"]


def test_a_slow_host_takes_its_time(story: Story) -> None:
    def took(vm: str) -> float:
        began = story.lab.now
        story.ask("h1", "VM.start_on", vm, "h2", False, False)
        return story.lab.now - began

    usual = took("vm5")
    do(story.lab, "slow h2 10")
    assert took("vm6") == pytest.approx(10 * usual, rel=0.1)
    do(story.lab, "slow h2 1")
    assert story.lab.hosts["h2"].slow == 1.0


def test_a_backup_that_is_held_gets_old(story: Story) -> None:
    do(story.lab, "backup hold h3")
    story.ask("h1", "VM.start", "vm5", False, False)
    story.wait(1300)
    ages = {name: story.lab.now - host.disk.taken_at for name, host in story.lab.hosts.items()}
    assert ages["h2"] < 700
    assert ages["h3"] >= 1300
    do(story.lab, "backup release h3")
    story.wait(700)
    assert story.lab.now - story.lab.hosts["h3"].disk.taken_at < 700


def test_clocks_differ(story: Story) -> None:
    do(story.lab, "clock h2 -3600")
    h1, h2 = (story.ask("h1", "host.get_servertime", host) for host in ("h1", "h2"))
    assert h1 != h2
    assert (int(h1[9:11]) - int(h2[9:11])) % 24 == 1


def test_hanging_toolstacks_hang_until_restarted(story: Story) -> None:
    do(story.lab, "toolstack hang h1")
    assert story.raw("h1", "session.login_with_password", "root", "lab", deadline=60) == HANGS
    do(story.lab, "toolstack restart h1")
    story.until_master("h1")


def test_calm_undoes_everything(story: Story) -> None:
    lab = story.lab
    commands = (
        "power off h2 with bmc|bmc lies h3|partition h1 - h3|cut h3 storage|isolate h1|slow h1 9|clock h1 50|"
        "memory full h1|backup hold h3|toolstack hang h1|toolstack stop h3"
    )
    for command in commands.split("|"):
        do(lab, command.replace(" - ", " | "))
    do(lab, "calm")
    story.wait(60)
    assert lab.world.cuts() == []
    assert {h.toolstack_state for h in lab.hosts.values()} == {"running"}
    assert all(lab.bmc_answers.values())
    assert not any(lab.bmc_lies.values())
    assert {(b.skew, b.taken) for b in lab.world.boxes.values()} == {(0.0, 0)}
    assert {(h.slow, h.backup_held) for h in lab.hosts.values()} == {(1.0, False)}


def test_another_client_acts_on_its_own(story: Story) -> None:
    lab = story.lab
    notes: list[str] = []
    for command in ("xo migrate vm2 h3", "xo start vm5 h2", "xo stop vm1", "xo rename vm3 third", "xo start vm2"):
        deed(lab, command.split(), notes.append)()
    do(lab, "cut h1 client")  # it sits elsewhere
    story.wait(30)
    assert (story.where("vm2"), story.where("vm5"), story.where("vm1")) == (["h3"], ["h2"], [])
    assert sorted(notes) == [
        "VM.hard_shutdown vm:vm1: done",
        "VM.pool_migrate vm:vm2 host:h3 {}: done",
        "VM.set_name_label vm:vm3 third: done",
        "VM.start vm:vm2 false false: VM_BAD_POWER_STATE",
        "VM.start_on vm:vm5 host:h2 false false: done",
    ]


def test_an_operator_declares_a_dead_host_dead(story: Story) -> None:
    do(story.lab, "power off h3")
    story.wait(700)
    do(story.lab, "xo declare-dead h3")
    story.wait(60)
    story.login("h1")
    assert story.record("h1", "vm3") == ("Halted", "")


def test_another_client_says_when_nobody_answers_it(story: Story) -> None:
    notes: list[str] = []
    deed(story.lab, ["xe", "VM.start", "vm:vm9", "false", "false"], notes.append)()
    story.wait(5)
    do(story.lab, "power off h1")
    deed(story.lab, ["xe", "VM.start", "vm:vm5", "false", "false"], notes.append)()
    deed(story.lab, ["xe@h2", "pool.emergency_transition_to_master"], notes.append)()
    story.wait(30)
    assert notes == [
        "VM.start vm:vm9 false false: no VM is called vm9",
        "VM.start vm:vm5 false false: no master answers",
        "pool.emergency_transition_to_master: done",
    ]
    assert story.lab.hosts["h2"].role == "master"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("power off h9", "no host is called h9: the lab has h1, h2, h3"),
        ("power up h1", "power up h1: write power off|on HOST [with bmc]"),
        ("explode h1", "explode is no command: there are backup, bmc"),
        ("storage cut h1 nosuch", "no SR is called nosuch: the lab has"),
        ("partition h1 h2", "write partition A B | C [| D …]"),
        ("partition h1 h2 | h2", "nobody can be in two of the sets"),
        ("slow h1 fast", "fast is no factor"),
        ("flap h1 h1 2 5", "write flap A B TIMES SECONDS"),
        ("heal", "write heal A B or heal HOST | heal all"),
        ("xe nonsense", "write xe METHOD"),
        ("", "a command is missing"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(story: Story, command: str, said: str) -> None:
    with pytest.raises(ScriptError) as caught:
        deed(story.lab, command.split())
    assert said in str(caught.value)


def test_the_help_names_every_command() -> None:
    lab = Lab(Seed.generate(3, 6))
    words = {line.split()[0] for line in HELP.splitlines() if not line.startswith(" ")}
    for word in words - {"xe"}:
        if word != "calm":
            with pytest.raises(ScriptError, match="write"):
                deed(lab, [word])
    with pytest.raises(ScriptError) as caught:
        deed(lab, ["nosuch"])
    assert words == {w.strip() for w in str(caught.value).partition("there are ")[2].split(",")}


# -- single calls


def test_a_lost_reply_loses_the_answer_and_not_the_effect(story: Story) -> None:
    Schedule.parse("after VM.start: lose").attach(story.lab)
    assert story.ask("h1", "VM.start", "vm5", False, False) == "dropped"
    assert story.where("vm5")
    with pytest.raises(Refused, match="VM_BAD_POWER_STATE"):
        story.ask("h1", "VM.start", "vm5", False, False)


def test_a_lost_request_has_no_effect(story: Story) -> None:
    run = Schedule.parse("before VM.start: lose\nbefore VM.start#2: lose silently").attach(story.lab)
    assert story.ask("h1", "VM.start", "vm5", False, False) == "dropped"
    assert story.ask("h1", "VM.start", "vm5", False, False, deadline=60) == HANGS
    assert not story.where("vm5")
    story.ask("h1", "VM.start", "vm5", False, False)
    assert story.where("vm5")
    assert [what for _, what in run.log] == ["VM.start at h1: lose", "VM.start at h1: lose silently"]


def test_a_request_arrives_twice(story: Story) -> None:
    Schedule.parse("before VM.start: double").attach(story.lab)
    story.learn()
    task = story.ask("h1", "Async.VM.start", "vm5", False, False)
    story.wait(10)
    tasks = story.raw("h1", "task.get_all_records", story.sessions["h1"])
    starts = [t for t in tasks.values() if t["name_label"] == "Async.VM.start"]
    assert len(starts) == 2
    assert tasks[task]["status"] == "success"
    assert sorted(t["status"] for t in starts) == ["failure", "success"]
    assert story.harms() == []


def test_a_call_is_late(story: Story) -> None:
    Schedule.parse("before session.login_with_password#2: delay 40").attach(story.lab)
    story.login("h1")
    began = story.lab.now
    story.login("h1")
    assert 40 < story.lab.now - began < 41


def test_things_happen_at_the_nth_call_of_a_method_at_a_host(story: Story) -> None:
    lab = story.lab
    run = Schedule.parse(
        "before session.login_with_password#2 at h2: power off h3\nafter VM.start_on +5: isolate h2"
    ).attach(lab)
    assert run.waiting == [
        "before session.login_with_password#2 at h2: power off h3",
        "after VM.start_on +5: isolate h2",
    ]
    for host in ("h1", "h2", "h1"):
        story.sign_in(host)
    assert lab.hosts["h3"].powered
    story.sign_in("h2")
    assert not lab.hosts["h3"].powered
    story.ask("h1", "VM.start_on", "vm5", "h1", False, False)
    assert lab.world.linked("h1", "h2")
    story.wait(5)
    assert not lab.world.linked("h1", "h2")
    assert run.waiting == []


def test_the_answer_of_a_bmc_is_lost(story: Story) -> None:
    from reconciler.lab import BmcSilent  # noqa: PLC0415 - only here

    Schedule.parse("after bmc:off at h2: lose\nbefore bmc:status: lose").attach(story.lab)
    with pytest.raises(BmcSilent):
        story.lab.bmc("h2", "off")
    assert not story.lab.hosts["h2"].powered
    with pytest.raises(BmcSilent):
        story.lab.bmc("h2", "status")
    assert story.lab.bmc("h2", "status") == "off"


def test_other_clients_calls_count_for_no_rule(story: Story) -> None:
    run = Schedule.parse("before VM.*: lose").attach(story.lab)
    do(story.lab, "xo start vm5")
    story.wait(10)
    assert story.where("vm5")
    assert run.waiting


# -- role files


def test_a_broken_role_file_and_what_mends_it() -> None:
    story = make()
    lab = story.lab
    do(lab, "role broken h3")
    story.wait(60)
    assert story.sign_in("h3") == "refused"
    do(lab, "calm")
    story.wait(60)
    assert story.sign_in("h3") == ["HOST_IS_SLAVE", story.address("h1")]
    do(lab, "role broken h1")
    do(lab, "role follow h3 h2")
    assert lab.hosts["h3"].role == f"slave:{lab.hosts['h2'].address}"
    do(lab, "calm")
    assert lab.hosts["h1"].role == "master"


def test_another_client_may_say_true_as_a_text(story: Story) -> None:
    do(story.lab, "xe pool.add_to_other_config pool: auto_poweron text:true")
    story.wait(5)
    (pool,) = story.ask("h1", "pool.get_all_records").values()
    assert pool["other_config"]["auto_poweron"] == "true"
