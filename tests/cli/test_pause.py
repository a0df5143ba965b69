"""xenrec pause and --max-actions, typed; and what status tells of both and of an old master."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.state.folder import PoolFolder
from tests.cli.desk import Desk, at_desk  # noqa: F401 - the fixture


def test_a_pool_is_paused_seen_and_let_go(desk: Desk) -> None:
    desk.lab.power_off("xen02")
    shown = desk("xenrec pause m.yaml --for 2h --reason 'storage work'")
    assert (shown.code, shown.text[:44]) == (0, "the pool is left alone until 2026-11-22 05:0")
    until = shown.text.rstrip().removeprefix("the pool is left alone until ")
    words = f"the pool is paused by op@desk until {until}: storage work"
    assert desk("xenrec pause m.yaml --list").text == words + "\n"
    planned = desk("xenrec plan m.yaml")
    assert planned.code == 3
    assert words in " ".join(planned.text.split())
    assert "next: xenrec pause m.yaml --clear" in planned.text
    assert "Remember: the pool is paused by op@desk" in desk("xenrec status m.yaml").text
    assert desk("xenrec apply m.yaml --yes").code == 3
    assert desk("xenrec pause m.yaml --clear").text == f"ended: {words}\n"
    assert desk("xenrec pause m.yaml --list").text == "nothing is paused\n"
    assert "paused" not in desk("xenrec plan m.yaml").text
    kinds = [
        (line["kind"], line.get("command")) for line in desk.journal() if line["kind"] in ("run", "pause", "unpause")
    ]
    assert kinds == [("run", "pause"), ("pause", None), ("run", "pause --clear"), ("unpause", None)]


def test_who_pauses_a_pool_that_a_run_works_on_is_told(desk: Desk) -> None:
    folder = PoolFolder(Path(desk.terminal.env["XENREC_STATE_DIR"]), "m")
    with folder.lock(run="r-1", since=desk.lab.now):
        shown = desk("xenrec pause m.yaml --for 2h --reason 'storage work'").text
    assert "run r-1, process " in shown
    assert "is under way: it ends what it began, and begins no more of it" in shown


def test_one_vm_is_paused_by_name_or_uuid_and_follows_its_uuid(desk: Desk) -> None:
    desk.lab.power_off("xen02")
    assert desk("xenrec pause m.yaml --vm db01 --until 2026-11-22T06:00Z --reason 'being restored'").code == 0
    planned = " ".join(desk("xenrec plan m.yaml").text.split())
    assert "start db01" in planned.split("Withheld")[1]
    assert "VM db01 is paused by op@desk until 2026-11-22 06:00:00 UTC: being restored" in planned
    assert "start web-2" in planned.split("Withheld")[0]
    assert desk("xenrec pause m.yaml --clear").text == "there was no such pause\n"  # the pool's
    assert desk("xenrec pause m.yaml --vm db01 --clear").text.startswith("ended: VM db01 is paused")
    refused = desk("xenrec pause m.yaml --vm nowhere --for 1h --reason xyz").text
    assert "the pool has no VM nowhere" in refused
    assert refused.endswith("next: xenrec why m.yaml vm/nowhere\n"), "not a command that would pause the whole pool"
    assert "pause m.yaml --vm db01 --for 2h" in desk("xenrec pause m.yaml --vm db01 --for 31d --reason xyz").text


def test_a_pause_ends_by_itself(desk: Desk) -> None:
    desk("xenrec pause m.yaml --for 1m --reason xyz")
    desk("xenrec pause m.yaml --vm web-2 --for 5m --reason xyz")
    desk("sleep 90")
    assert desk("xenrec pause m.yaml --list").text.startswith("VM web-2 is paused")
    assert desk("xenrec pause m.yaml --clear --all").text.count("ended:") == 2


@pytest.mark.parametrize(
    "line",
    [
        "xenrec pause m.yaml",
        "xenrec pause m.yaml --for 2h",
        "xenrec pause m.yaml --for 2w --reason xyz",
        "xenrec pause m.yaml --for 0h --reason xyz",
        "xenrec pause m.yaml --for 31d --reason xyz",
        "xenrec pause m.yaml --for 2h --until 2026-11-22T06:00Z --reason xyz",
        "xenrec pause m.yaml --until 2026-11-22T06:00 --reason xyz",
        "xenrec pause m.yaml --until 2026-11-22T01:00Z --reason xyz",
        "xenrec pause m.yaml --until later --reason xyz",
        "xenrec pause m.yaml --list --clear",
        "xenrec pause m.yaml --all --for 2h --reason xyz",
    ],
)
def test_what_is_no_pause_is_a_slip(desk: Desk, line: str) -> None:
    shown = desk(line)
    assert shown.code == 64, shown.text
    assert "\n  next: " in shown.text
    assert desk("xenrec pause m.yaml --list").text == "nothing is paused\n"


def test_max_actions_does_the_first_ones_and_says_what_is_left(desk: Desk) -> None:
    desk.lab.power_off("xen02")
    planned = desk("xenrec plan m.yaml --max-actions 2")
    assert "this run may perform 2 actions (--max-actions)" in " ".join(planned.text.split())
    shown = desk("xenrec apply m.yaml --yes --max-actions 2")
    assert shown.code == 3
    assert sum(len(host) for host in desk.lab.running().values()) < 24
    assert desk("xenrec apply m.yaml --yes --max-actions 50").code == 3  # a local disk stays unmet
    assert "withheld" not in desk("xenrec plan m.yaml").text
    assert desk("xenrec plan m.yaml --max-actions -1").code == 64


def test_a_freeze_in_the_manifest_is_told_and_kept(desk: Desk) -> None:
    desk.lab.power_off("xen02")
    window = "{from: '02:00', until: '04:00', reason: nightly copies, level: metadata}"
    desk.edit("  policy:\n", f"  policy:\n    freeze: [{window}]\n")
    planned = desk("xenrec plan m.yaml")
    assert planned.code == 3
    told = " ".join(planned.text.split())
    assert "policy.freeze allows metadata at most until 2026-11-22 04:00:00 UTC (nightly copies)" in told
    desk("sleep 3600")
    assert "policy.freeze" not in desk("xenrec plan m.yaml").text


@pytest.mark.parametrize(
    ("window", "told"),
    [
        ("{from: '18:00', until: 2026-12-20T18:00Z, reason: x}", "one is a time of day, the other a day and a time"),
        ("{from: 2026-12-20T18:00Z, until: 2026-12-20T18:00Z, reason: x}", "it is not after `from`"),
        ("{from: 2026-12-20T18:00, until: 2026-12-21T18:00Z, reason: x}", "it does not say its zone"),
        ("{from: 2026-12-20T18:00Z, until: 2026-12-21T18:00Z, days: [mon], reason: x}", "they go with times of day"),
        ("{from: '25:00', until: '26:00', reason: x}", "it can't be read as one"),
        ("{from: '24:00', until: '06:00', reason: x}", "nothing begins at 24:00"),
        ("{from: '18:00', until: '06:00'}", "`reason` is missing"),
        ("{from: '18:00', until: '06:00', reason: x, days: [monday]}", "Write mon, tue, wed, thu, fri, sat or sun."),
        ("{from: '18:00', until: '06:00', reason: x, level: all}", "`level` `all`"),
    ],
)
def test_a_bad_window_is_refused_with_its_place(desk: Desk, window: str, told: str) -> None:
    desk.edit("  policy:\n", f"  policy:\n    freeze: [{window}]\n")
    shown = desk("xenrec validate m.yaml")
    assert shown.code == 65
    assert told in shown.text, shown.text


def test_status_with_every_testimony(desk: Desk) -> None:
    desk.lab.power_off("xen01")
    shown = desk("xenrec status m.yaml --verbose").text
    assert "not answering from here; 3 of 3 members have lost it; BMC says power is off" in " ".join(shown.split())
    assert "      login: no answer" in shown
    assert "      TCP: takes no connection" in shown
    assert "      BMC: off (exit code 2: Status: OFF)" in shown
    assert "      its master: lost (a read of the database hangs)" in shown
    assert "TCP:" not in desk("xenrec status m.yaml").text


def test_an_old_master_is_remembered_until_it_follows_the_new_one(desk: Desk) -> None:
    desk.lab.power_off("xen01")
    assert desk("xenrec apply m.yaml --yes").code == 3
    told = " ".join(desk("xenrec status m.yaml").text.split())
    assert "Remember: xen01 was lost as master, and xen02 was promoted in its place at 2026-11-22 03:0" in told
    assert "it is off. Keep it off until it can reach the network of xen02" in told
    assert "It must be seen following the new master" in " ".join(desk("xenrec plan m.yaml").text.split())
    desk.lab.power_on("xen01")
    desk("sleep 300")
    desk("xenrec plan m.yaml")
    assert "Remember" not in desk("xenrec status m.yaml").text
