"""xenrec fence: what it says, and that it switches nothing without a person's word."""

from __future__ import annotations

import re

from tests.cli.desk import Desk, at_desk  # noqa: F401 - the fixture


def test_status_of_every_host_and_of_one(desk: Desk) -> None:
    desk.lab.power_off("xen03")
    shown = desk("xenrec fence status m.yaml")
    assert shown.code == 0
    assert shown.text.splitlines() == [
        "xen01  on       fence_xenrec_lab xen01",
        "xen02  on       fence_xenrec_lab xen02",
        "xen03  off      fence_xenrec_lab xen03",
        "xen04  on       fence_xenrec_lab xen04",
    ]
    shown = desk("xenrec fence status m.yaml xen03 xen01")
    assert [line.split()[:2] for line in shown.text.splitlines()] == [["xen03", "off"], ["xen01", "on"]]


def test_a_host_that_nobody_declared_is_a_slip(desk: Desk) -> None:
    shown = desk("xenrec fence status m.yaml xen09")
    assert shown.code == 64
    assert shown.text.startswith("xen09 is not declared under spec.members\n  next: declared: xen01, xen02")


def test_a_silent_board_is_named_and_is_no_answer(desk: Desk) -> None:
    desk.lab.bmc_answers["xen02"] = False
    shown = desk("xenrec fence status m.yaml xen02")
    assert shown.code == 3
    assert shown.text.startswith("xen02  unknown  fence_xenrec_lab xen02: no power status (exit code 1: Failed: Unable")
    shown = desk("xenrec fence test m.yaml xen02")
    assert shown.code == 3
    assert shown.text.splitlines()[1] == (
        "xen02: NOT USABLE: a recovery would wait for a person's word: "
        "xenrec attest m.yaml xen02 --dead --reason '...' --for 30m"
    )


def test_test_says_what_a_recovery_could_do(desk: Desk) -> None:
    desk.edit("plug: xen03", "plug: xen03\n          plgu: xen03")
    shown = desk("xenrec fence test m.yaml")
    assert shown.code == 0
    assert "xen01: ok: fence_xenrec_lab xen01 says on, so a recovery can switch it off and prove it" in shown.text
    assert "xen03: fence_xenrec_lab xen03: it does not know the option 'plgu' and would ignore it" in shown.text
    assert "see: fence_xenrec_lab -o metadata" in shown.text


def test_test_finds_agents_that_are_missing_and_two_devices_that_disagree(desk: Desk) -> None:
    text = (desk.folder / "m.yaml").read_text()
    one = re.search(
        r"fencing:\n( +)agent: fence_xenrec_lab\n.*?plug: xen01.*?\n(?! *(options|plug|lab_dir):)", text, re.DOTALL
    )
    assert one is not None
    agent = "{agent: fence_xenrec_lab, options: {plug: %s, lab_dir: x}}"
    both = f"fencing: [{agent % 'xen01'}, {agent % 'xen02'}, {{agent: fence_nowhere}}]\n"
    (desk.folder / "m.yaml").write_text(text.replace(one[0], both, 1))
    desk.lab.power_off("xen02")
    shown = desk("xenrec fence test m.yaml xen01")
    assert shown.code == 3
    assert "xen01: fence_nowhere: no such fence agent: fence_nowhere" in shown.text
    assert "but fence_xenrec_lab xen02 says off: one of them looks at another host" in shown.text


def test_off_of_a_dead_host_asks_for_its_name_and_certifies(desk: Desk) -> None:
    desk.lab.power_off("xen02")
    shown = desk("xenrec fence off m.yaml xen02 --reason broken", "xen02")
    assert shown.code == 0, shown.text
    assert "xen02: not answering from here; xen01 still counts it as live; BMC says power is off" in shown.text
    assert "4 VMs recorded as running on it lose power: cache-3, db01, dns02 and web-2" in shown.text
    assert "Type the host's name to switch it off" in shown.text
    assert "xen02 is off: fence_xenrec_lab xen02 switched it off and a later status says off." in shown.text
    kinds = [line["kind"] for line in desk.journal()]
    assert kinds == ["run", "intent", "reply", "certificate", "run-end"]
    assert desk.journal()[3]["certificate"]["reason"] == "broken (by op@desk)"
    assert "declare xen02 dead" in desk("xenrec plan m.yaml").text


def test_a_mistyped_name_switches_nothing(desk: Desk) -> None:
    desk.lab.power_off("xen02")
    for typed in ("xen01", "yes", ""):
        shown = desk("xenrec fence off m.yaml xen02", typed)
        assert shown.code == 64
        assert "that is not its name: nothing was switched" in shown.text
    assert desk.journal() == []


def test_a_host_that_answers_is_switched_off_only_where_that_is_said(desk: Desk) -> None:
    shown = desk("xenrec fence off m.yaml xen01", "xen01")
    assert shown.code == 1
    assert "xen01 acts as the pool's master" in shown.text
    assert "xen02, xen03 and xen04 still take orders from it" in shown.text
    assert "Nothing was switched\n  next: if it must go off all the same: xenrec fence off m.yaml xen01 --alive" in (
        shown.text
    )
    assert desk.lab.bmc("xen01", "status") == "on"
    shown = desk("xenrec fence off m.yaml xen01 --alive", "xen01")
    assert shown.code == 0
    assert "It answers: whatever runs on it stops at once." in shown.text
    assert desk.lab.bmc("xen01", "status") == "off"


def test_without_a_terminal_it_needs_yes_and_a_reason(desk: Desk) -> None:
    desk.lab.power_off("xen02")
    for line, why in (
        ("xenrec fence off m.yaml xen02", "there is no terminal"),
        ("xenrec fence off m.yaml xen02 --yes", "--yes needs --reason"),
        ("xenrec fence off m.yaml xen02 --yes --reason ' '", "--yes needs --reason"),
        ("xenrec fence off m.yaml xen02 --yes --reason x --for 13h", "not a time up to 12h"),
    ):
        shown = desk(line)
        assert (shown.code, why in shown.text) == (64, True), shown.text
    assert desk("xenrec fence off m.yaml xen02 --yes --reason 'smoke in rack 2'").code == 0


def test_a_board_that_does_not_answer_gives_no_certificate_and_the_next_command(desk: Desk) -> None:
    desk.lab.power_off("xen02")
    desk.lab.bmc_answers["xen02"] = False
    shown = desk("xenrec fence off m.yaml xen02 --yes --reason x")
    assert shown.code == 1
    assert "xen02 could not be powered off for certain" in shown.text
    assert "then: xenrec attest m.yaml xen02 --dead" in shown.text
    assert [line["kind"] for line in desk.journal()] == ["run", "intent", "reply", "run-end"]
    assert "no certificates are held" in desk("xenrec attest m.yaml --list").text
