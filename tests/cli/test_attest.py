"""xenrec attest: a person's word, from the keyboard or a file; listed, expired, void, revoked, journaled."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from reconciler import rooms
from reconciler.cli import common
from reconciler.manifest.attestations import load_attestations
from reconciler.manifest.problems import ManifestError
from tests.cli.desk import Desk, at_desk  # noqa: F401 - the fixture

SOON = "2026-11-22T04:00:00Z"
"""An hour after the lab's clock starts."""


def given(desk: Desk, text: str) -> None:
    (desk.folder / "dead.yaml").write_text(text)


def entry(**changes: object) -> str:
    fields = {"host": "xen02", "dead": True, "by": "rack-robot@dc1", "reason": "outlet 7 is off", "until": SOON}
    return json.dumps({k: v for k, v in {**fields, **changes}.items() if v is not None})


def test_a_file_is_taken_recorded_and_listed(desk: Desk) -> None:
    desk.lab.power_off("xen02")
    given(desk, f"host: xen02\ndead: true\nby: rack-robot@dc1\nreason: outlet 7 is off\nuntil: {SOON}\n")
    shown = desk("xenrec attest m.yaml --from dead.yaml")
    assert shown.code == 0, shown.text
    assert shown.text == (
        "xen02 is attested dead by rack-robot@dc1 until 2026-11-22 04:00:00 UTC\nNext: xenrec plan m.yaml\n"
    )
    listed = desk("xenrec attest m.yaml --list").text
    assert "xen02: attested by rack-robot@dc1 at 2026-11-22 03:0" in listed
    assert listed.endswith("until 2026-11-22 04:00:00 UTC: outlet 7 is off\n")
    run, certificate, end = desk.journal()
    assert (run["kind"], run["by"], run["command"]) == ("run", "op@desk", "attest --from")
    assert certificate["certificate"]["by"] == "rack-robot@dc1"
    assert certificate["certificate"]["host_uuid"]  # the pool was known, so it is scoped by uuid
    assert end["kind"] == "run-end"
    assert "declare xen02 dead" in desk("xenrec plan m.yaml").text


def test_several_hosts_of_a_list_each_on_its_own(desk: Desk) -> None:
    desk.lab.power_off("xen02")
    given(desk, f"[{entry()}, {entry(host='xen03')}]")
    shown = desk("xenrec attest m.yaml --from dead.yaml")
    assert shown.code == 1
    assert "xen02 is attested dead" in shown.text
    assert "xen03: not recorded: xen03 is not dead: follows xen01" in shown.text
    assert "1 of 2 not recorded" in shown.text
    assert [line["kind"] for line in desk.journal()] == ["run", "certificate", "refused", "run-end"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (entry(host="xen22"), "dead.yaml:1:10: `host` `xen22`: no member has this name. Did you mean `xen02`?"),
        (entry(dead=False), "`dead` `false`: it is not one of the words known here. Write true."),
        (entry(dead=None), "`dead` is missing"),
        (entry(reason=None), "`reason` is missing"),
        (entry(reason=" x "), "it says nothing"),
        (entry(by=None), "`by` is missing"),
        (entry(until=None), "`until` is missing"),
        (entry(until="2026-11-22T02:00:00Z"), "`until` `2026-11-22 02:00:00 UTC`: it is past. It is 2026-11-22 03:00"),
        (entry(until="2026-11-23T04:00:00Z"), "it is more than 12 hours ahead"),
        (entry(until="2026-11-22T04:00:00"), "it does not say its zone. Write `2026-11-22T04:00:00Z` for UTC"),
        (entry(until="soon"), "it is not a day and a time"),
        (entry(until=1795320000), "it is not a day and a time"),
        (entry(pool="paris"), "`pool` `paris`: this manifest describes the pool `m`"),
        (entry(wehn="x"), "unknown key `wehn`"),
        (f"[{entry()}, {entry()}]", "dead.yaml:1:11 is about it already"),
        ("", "the file: it is empty"),
        ("[1, 2]", "it should be a block of keys, not a whole number"),
        ("host: [", "dead.yaml:"),
    ],
)
def test_a_bad_file_is_refused_whole_with_places(desk: Desk, text: str, told: str) -> None:
    given(desk, text)
    shown = desk("xenrec attest m.yaml --from dead.yaml")
    assert shown.code == 65, shown.text
    assert told in shown.text
    assert desk.journal() == []


def test_a_file_about_another_machine_of_that_name_is_refused(desk: Desk) -> None:
    desk.lab.power_off("xen02")
    given(desk, entry(uuid="11111111-2222-4333-8444-555555555555"))
    shown = desk("xenrec attest m.yaml --from dead.yaml")
    assert shown.code == 1
    assert "the file is about the host 11111111-2222-4333-8444-555555555555, and xen02 is " in shown.text
    given(desk, entry(uuid=desk.lab.hosts["xen02"].uuid))
    assert desk("xenrec attest m.yaml --from dead.yaml").code == 0


def test_on_a_terminal_lines_are_folded_and_commands_are_not(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "columns", lambda *, err=False: 60)
    desk.lab.power_off("xen02")
    shown = desk("xenrec attest m.yaml xen02 --dead --reason 'seen off, both cords pulled by remote hands' --for 2h")
    assert "xenrec plan m.yaml" in [line.strip() for line in shown.text.splitlines()]
    listed = desk("xenrec attest m.yaml --list").text.splitlines()
    assert len(listed) > 1
    assert all(len(line) <= 60 for line in (*listed, *shown.text.splitlines()))
    assert all(line.startswith("    ") for line in listed[1:]), "what goes on is seen to"
    refused = desk("xenrec attest m.yaml xen03").text.splitlines()
    assert "xenrec attest m.yaml xen03 --dead --reason 'seen powered off' --for 30m" in [
        line.strip() for line in refused
    ]


def test_the_word_of_a_program_comes_through_a_pipe(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = rooms.load(str(desk.folder / "m.yaml"), None, "HEAD")[0].wanted
    assert wanted is not None
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(entry().encode())))
    (given_,) = load_attestations(Path("-"), wanted, now=desk.lab.now)
    assert (given_.host, given_.by) == ("xen02", "rack-robot@dc1")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(ManifestError, match="-:1:1: the file: it is empty"):
        load_attestations(Path("-"), wanted, now=desk.lab.now)


def test_a_word_that_has_ended_is_told_where_its_host_is_judged(desk: Desk) -> None:
    desk.lab.power_off("xen02")
    desk("xenrec attest m.yaml xen02 --dead --reason 'seen off' --for 1m")
    desk("sleep 120")
    told = " ".join(desk("xenrec plan m.yaml").text.split())
    assert "the proof that it is dead (attested by op@desk) ended at 2026-11-22 03:01:" in told


def test_no_such_file(desk: Desk) -> None:
    shown = desk("xenrec attest m.yaml --from nowhere.yaml")
    assert (shown.code, shown.text) == (
        65,
        "nowhere.yaml:1:1: the file: no such file or directory. Check the path and its permissions.\n",
    )


def test_expired_void_and_revoked_are_told_apart(desk: Desk) -> None:
    for host in ("xen02", "xen03", "xen04"):
        desk.lab.power_off(host)
    assert desk("xenrec attest m.yaml xen02 --dead --reason 'seen off' --for 1m").code == 0
    assert desk("xenrec attest m.yaml xen03 --dead --reason 'seen off' --for 2h").code == 0
    assert desk("xenrec attest m.yaml xen04 --dead --reason 'seen off' --for 2h").code == 0
    desk.lab.power_on("xen03")
    desk("sleep 120")
    desk("xenrec plan m.yaml")  # it sees xen03 alive
    assert desk("xenrec attest m.yaml xen04 --revoke").text == "xen04: 1 revoked\n"
    assert desk("xenrec attest m.yaml xen04 --revoke").text == "xen04: there was none to revoke\n"
    xen02, xen03, xen04 = desk("xenrec attest m.yaml --list").text.splitlines()
    assert xen02.startswith("xen02: attested by op@desk at ")
    assert xen02.endswith(" (expired): seen off")
    assert xen03.endswith(" (void: follows xen01): seen off")
    assert xen04.endswith(" (void: revoked by op@desk): seen off")
    assert desk("xenrec attest m.yaml xen03 --list").text.splitlines() == [xen03]
    revoked = [line for line in desk.journal() if line["kind"] == "revoked"]
    assert [len(line["certificates"]) for line in revoked] == [1, 0]


def test_two_wishes_at_once_are_a_slip(desk: Desk) -> None:
    for line in (
        "xenrec attest m.yaml xen02 --dead --revoke --reason xyz",
        "xenrec attest m.yaml --list --from dead.yaml",
        "xenrec attest m.yaml xen02 --from dead.yaml",
        "xenrec attest m.yaml xen02 --dead",
        "xenrec attest m.yaml --dead --reason xyz",
    ):
        assert desk(line).code == 64, line
