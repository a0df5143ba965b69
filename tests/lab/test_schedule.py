"""Scripts are read as they are written, happen when they say, and are the same from the same seed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.lab import Lab, Schedule, ScriptError, Seed
from reconciler.lab.random_faults import KINDS
from reconciler.lab.schedule import seconds


def lab_of(hosts: int = 4, vms: int = 24) -> Lab:
    return Lab(Seed.generate(hosts, vms))


SCRIPT = """
# a dead master, found half a minute later
power off xen01          # the plug
wait 30
lab cut xen02 client
at 2m: power on xen01
wait 1m30s
heal xen02 client
before VM.start_on#3 at xen02: lose silently
after Async.VM.* +15: toolstack restart xen03
"""


def test_a_script_is_read_line_by_line() -> None:
    schedule = Schedule.parse(SCRIPT)
    assert schedule.text() == (
        "at 0: power off xen01\n"
        "at 30: lab cut xen02 client\n"
        "at 120: power on xen01\n"
        "at 210: heal xen02 client\n"
        "before VM.start_on#3 at xen02: lose silently\n"
        "after Async.VM.* +15: toolstack restart xen03\n"
    )
    assert Schedule.parse(schedule.text()).text() == schedule.text()
    assert schedule.length == 210


def test_it_happens_when_it_says() -> None:
    lab = lab_of()
    run = Schedule.parse(SCRIPT).attach(lab)
    began = lab.now
    lab.run(began + 29)
    assert run.text() == "+0.00     power off xen01\n"
    assert run.pending == 3
    lab.run(began + 31)
    assert lab.world.cuts() == [("client", "xen02")]
    lab.run(began + 300)
    assert [at for at, _ in run.log] == [0, 30, 120, 210]
    assert (run.pending, lab.world.cuts()) == (0, [])


def test_another_clients_call_is_waited_for() -> None:
    lab = lab_of()
    vm = next(v["name"] for v in lab.describe()["vms"] if v["runs_on"] == ["xen01"] and "san-1" in v["srs"])
    run = Schedule.parse(f"xo migrate {vm} xen02").attach(lab)
    lab.run(lab.now + 1)
    assert (run.pending, len(run.log)) == (1, 1)
    lab.run(lab.now + 10)
    assert (run.pending, run.log[-1][1]) == (0, f"VM.pool_migrate vm:{vm} host:xen02 {{}}: done")


def test_a_detached_schedule_does_nothing_more() -> None:
    lab = lab_of()
    run = Schedule.parse("wait 10\npower off xen02\nbefore VM.start: lose").attach(lab)
    run.detach()
    lab.run(lab.now + 20)
    assert lab.hosts["xen02"].powered
    assert (run.log, run.pending, run.waiting) == ([], 0, [])
    assert lab.carrier is not None
    assert lab.carrier.rules == []


def test_everything_is_undone_at_the_end() -> None:
    lab = lab_of()
    run = Schedule.parse("power off xen01 with bmc\nisolate xen02\nslow xen03 9").attach(lab, calm_at=100)
    lab.run(lab.now + 200)
    assert run.log[-1] == (100, "calm")
    assert {h.toolstack_state for h in lab.hosts.values()} == {"running"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("power off xen01\nat noon: power off xen02", "story:2: noon is no time: write 90, 1.5m, 1h or 1m30s"),
        ("at 10 power off xen01", "story:1: at 10 power off xen01: write `at …: COMMAND`"),
        ("wait", "story:1:  is no time"),
        ("before VM.start twice: lose", "story:1: VM.start twice: write METHOD, METHOD#N"),
        ('power off "xen01', 'story:1: power off "xen01: No closing quotation'),
    ],
)
def test_what_is_no_script_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ScriptError) as caught:
        Schedule.parse(text, "story")
    assert said in str(caught.value)


@pytest.mark.parametrize("line", ["power off nosuch", "after VM.start: double", "before VM.start at nosuch: lose"])
def test_what_the_lab_cannot_do_is_told_before_anything_is_done(line: str) -> None:
    lab = lab_of()
    with pytest.raises(ScriptError, match="script:2: "):
        Schedule.parse(f"power off xen01\n{line}").attach(lab)
    lab.run(lab.now + 10)
    assert lab.hosts["xen01"].powered


@pytest.mark.parametrize(("text", "value"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1m30s", 90)])
def test_times_are_read(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1s1m"])
def test_other_words_are_no_times(text: str) -> None:
    with pytest.raises(ScriptError):
        seconds(text)


def test_a_port_is_as_good_as_its_lab() -> None:
    class Port:
        lab = lab_of()

    run = Schedule.parse("power off xen01").attach(Port())
    Port.lab.run(Port.lab.now + 1)
    assert run.log == [(0, "power off xen01")]


# -- random ones


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_a_random_schedule_can_be_printed_and_played_again(seed: int, hosts: int) -> None:
    first, second = lab_of(hosts, 8), lab_of(hosts, 8)
    drawn = Schedule.random(seed, first, faults=8)
    assert drawn.text() == Schedule.random(seed, second, faults=8).text()
    told = Schedule.parse(drawn.text())
    assert told.text() == drawn.text()
    runs = [drawn.attach(first, calm_at=1500), told.attach(second, calm_at=1500)]
    for lab in (first, second):
        lab.run(lab.now + 1600)
    assert runs[0].text() == runs[1].text()
    assert first.describe() == second.describe()
    assert first.describe()["hosts"][0]["toolstack"] == "running"


def test_faults_alone_do_no_harm() -> None:
    """Without anybody who repairs, nothing but what the faults themselves break is broken."""
    for seed in range(25):
        lab = lab_of()
        Schedule.random(seed, lab, faults=10).attach(lab, calm_at=1500)
        lab.run(lab.now + 1800)
        assert lab.harm() == [], f"seed {seed}"


def test_every_kind_is_drawn_and_only_those_that_are_wanted() -> None:
    for kind in KINDS:
        lab = lab_of()
        drawn = [Schedule.random(seed, lab, faults=3, kinds=[kind], lose_master=False) for seed in range(20)]
        assert any(schedule.entries for schedule in drawn), kind
    only = Schedule.random(1, lab_of(), faults=9, kinds=["flap"], lose_master=False)
    assert {entry.command.split()[0] for entry in only.entries} == {"flap"}
    with pytest.raises(ValueError, match="no such kinds of faults: fire"):
        Schedule.random(1, lab_of(), kinds=["fire"])


def test_the_master_goes_first_where_that_is_wished() -> None:
    entries = Schedule.random(3, lab_of(), faults=4).entries
    assert entries[0].time == 0
    assert any(entry.command.startswith("power off xen01") for entry in entries if entry.time == 0)
