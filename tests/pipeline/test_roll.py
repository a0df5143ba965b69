"""Rolling maintenance over the in-memory lab: in turn, resumed, stopped at each kind of trouble."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.command import Ran
from reconciler.core.limits import Pause
from reconciler.core.plan import Verb
from reconciler.core.roll import Phase, Roll, order, unfinished
from reconciler.core.wanted import FreezeWindow, Level, MemberState, Wanted
from reconciler.pipeline import Reconciler
from reconciler.roll import SETTLE, Rolling, Stopped
from reconciler.state.disk import StateError
from reconciler.state.folder import PoolFolder
from reconciler.state.rolls import RollFile
from tests.pipeline.test_maintenance import AT_HOME, enabled, marked, rest, story, wake, where
from tests.support.calls import Killed, changes
from tests.support.story import Story

Deed = Callable[[str], Ran]
OK = Ran(0, "")


class Trip:
    """A story with a rolling maintenance: what was run, what was said."""

    def __init__(self, folder: Path, deed: Deed | None = None, *, s: Story | None = None, **more: Any) -> None:
        self.s = s or story(folder, **more)
        self.deed = deed or self.cycle
        self.ran: list[str] = []
        self.told: list[str] = []
        self.at: list[dict[str, list[str]]] = []
        self.env: Mapping[str, str] = {}

    def cycle(self, host: str) -> Ran:
        """Reboot it."""
        self.s.lab.power_off(host)
        self.s.lab.power_on(host)
        return OK

    def _run(self, argv: Sequence[str], env: Mapping[str, str], deadline: float) -> Ran:
        assert argv[0] == "work"
        self.ran.append(argv[1])
        self.at.append(where(self.s))
        self.env = env
        return self.deed(argv[1])

    def make(self, wanted: Wanted) -> Reconciler:
        return replace_wanted(self.s, wanted)

    @property
    def file(self) -> RollFile:
        return RollFile(PoolFolder(self.s.folder, self.s.wanted.name).path)

    def rolling(self) -> Rolling:
        return Rolling(self.s.wanted, self.make, self._run, self.told.append)

    def asked(self, hosts: Sequence[str] = ("all",), *, master: str = "last", **more: Any) -> Roll:
        acting = self.s.plan().diagnosis.master
        assert acting is not None
        turns = order(self.s.wanted, hosts, acting, master)
        told: dict[str, Any] = {"deadline": 60.0, "patience": 600.0, "reboots": True, **more}
        return Roll("roll-1", "op@desk", self.s.lab.now, turns, ("work", "{host}", "{address}"), **told)

    def go(self, hosts: Sequence[str] = ("all",), **more: Any) -> Rolling:
        rolling = self.rolling()
        rolling.begin(self.asked(hosts, **more))
        rolling.go()
        return rolling

    def resume(self, **more: bool) -> None:
        held = self.file.read()
        assert held is not None
        rolling = self.rolling()
        rolling.resume(held, **more)
        rolling.go()


def replace_wanted(s: Story, wanted: Wanted) -> Reconciler:
    """A new run of that story for another manifest."""
    plain, s.wanted = s.wanted, wanted
    try:
        return s.reconciler()
    finally:
        s.wanted = plain


def stopped(deed: Callable[[], None]) -> tuple[str, str]:
    with pytest.raises(Stopped) as caught:
        deed()
    return caught.value.why, caught.value.remedy


def test_three_hosts_the_master_last(tmp_path: Path) -> None:
    t = Trip(tmp_path)
    why, remedy = t.go().left
    assert t.ran == ["xen02", "xen03", "xen01"]
    assert all(not there[host] for there, host in zip(t.at, t.ran, strict=True)), "each was empty"
    assert t.env["XENREC_ADDRESS"] == t.s.lab.hosts["xen01"].address
    assert set(t.env) == {"XENREC_POOL", "XENREC_HOST", "XENREC_ADDRESS", "XENREC_HOST_UUID"}
    assert where(t.s) == AT_HOME
    assert enabled(t.s) == {"xen01": True, "xen02": True, "xen03": True}
    assert marked(t.s) == []
    assert t.s.lab.harm() == []
    assert t.file.read() is None
    assert [h.name for h in t.s.lab.masters()] == ["xen02"], "failback waits for a person's word"
    assert why.startswith("xen02 is master; master.failback is manual")
    assert "--failback" in remedy


def test_the_master_first_as_declared(tmp_path: Path) -> None:
    t = Trip(tmp_path)
    t.go(master="first")
    assert t.ran == ["xen01", "xen02", "xen03"]
    assert where(t.s) == AT_HOME


def test_a_command_that_reboots_nothing(tmp_path: Path) -> None:
    t = Trip(tmp_path, lambda host: OK)
    t.go(["xen03"], reboots=False)
    assert t.ran == ["xen03"]
    assert where(t.s) == AT_HOME


def test_the_order_of_turns_and_what_is_refused(tmp_path: Path) -> None:
    w = story(tmp_path).wanted
    assert order(w, ["all"], "xen01", "last") == ("xen02", "xen03", "xen01")
    assert order(w, ["xen03", "xen01"], "xen01", "first") == ("xen01", "xen03")
    assert order(w, ["xen03", "xen02"], "xen01", "first") == ("xen03", "xen02")
    for asked, why in (
        (["xen09"], "xen09: no member has this name"),
        (["xen02", "xen02"], "a host is named twice"),
        ([], "there is no active member"),
    ):
        with pytest.raises(ValueError, match=why):
            order(w, asked, "xen01", "last")
    resting = [replace(m, state=MemberState.MAINTENANCE) for m in w.members]
    one = replace(w, members=(w.members[0], resting[1], w.members[2]))
    with pytest.raises(ValueError, match="xen02 is declared in maintenance already"):
        order(one, ["xen02"], "xen01", "last")
    alone = replace(w, members=(w.members[0], *resting[1:]))
    with pytest.raises(ValueError, match="with one active member there is nowhere for its VMs"):
        order(alone, ["xen01"], "xen01", "last")


@pytest.mark.parametrize("sort", ["write", "step"])
def test_killed_anywhere_and_resumed(tmp_path: Path, sort: str) -> None:
    """At each call that writes, and at each line of the roll's own file: no host's command is run twice unasked."""
    for number in range(0, 200, 7 if sort == "write" else 1):
        t = Trip(tmp_path / f"{sort}{number}")
        hit = 0

        def strike(at: int = number) -> None:
            nonlocal hit
            hit += 1
            if hit == at + 1:
                raise Killed

        def die(address: str, method: str, params: Sequence[Any], strike: Callable[[], None] = strike) -> None:
            if changes(method):
                strike()

        rolling = t.rolling()
        asked = t.asked(["xen02", "xen01"])
        try:
            if sort == "write":
                t.s.port.after_call = die
            else:
                plain = rolling._save

                def save(
                    roll: Roll, plain: Callable[[Roll], None] = plain, strike: Callable[[], None] = strike
                ) -> None:
                    plain(roll)
                    strike()

                rolling._save = save  # type: ignore[method-assign]
            rolling.begin(asked)
            rolling.go()
        except Killed:
            t.s.port.after_call = None
            t.s.wait(20)
            held = t.file.read()
            if held is None:
                continue  # it had ended
            unknown = held.phase is Phase.COMMAND and held.sent_at is not None
            if unknown:
                why, remedy = stopped(t.resume)
                assert "was begun and its end was not seen" in why
                assert "--again" in remedy
            t.resume(again=unknown)
        else:
            assert number > 8
            return
        finally:
            t.s.port.after_call = None
        assert t.ran in (["xen02", "xen01"], ["xen02", "xen02", "xen01"], ["xen02", "xen01", "xen01"]), number
        assert where(t.s) == AT_HOME, number
        assert marked(t.s) == [], number
        assert t.s.lab.harm() == [], number
    raise AssertionError("it never ended")


def test_a_command_that_fails_stops_it_there(tmp_path: Path) -> None:
    t = Trip(tmp_path, lambda host: Ran(3, "no such package\n"))
    why, remedy = stopped(t.go)
    assert why == "the command on xen02 ended with exit code 3; xen02 stays in maintenance"
    assert "xenrec roll pool.yaml --resume --again" in remedy
    assert "xen02: | no such package" in t.told
    assert t.ran == ["xen02"]
    assert enabled(t.s)["xen02"] is False
    why, _ = stopped(t.resume)
    assert why == "the command on xen02 ended with exit code 3"
    # Ordinary runs leave its host alone, and say whose it is.
    plan = t.s.plan()
    assert plan.actions == ()
    assert "rolling maintenance roll-1" in plan.withheld[0].why
    t.deed = t.cycle
    t.resume(again=True)
    assert t.ran == ["xen02", "xen02", "xen03", "xen01"]
    assert where(t.s) == AT_HOME


def test_a_command_that_outlives_its_deadline_is_skipped_by_a_person(tmp_path: Path) -> None:
    t = Trip(tmp_path, lambda host: Ran(None, ""))
    why, _ = stopped(lambda: t.go(["xen02"], reboots=False))
    assert why == "the command on xen02 ended by us, after 60 s; xen02 stays in maintenance"
    t.resume(skip=True)
    assert t.ran == ["xen02"]
    assert where(t.s) == AT_HOME


def test_a_command_that_cant_be_started(tmp_path: Path) -> None:
    def missing(host: str) -> Ran:
        raise FileNotFoundError(2, "No such file or directory")

    t = Trip(tmp_path, missing)
    why, remedy = stopped(t.go)
    assert why == "the command can't be started: No such file or directory: work"
    assert remedy.startswith("xenrec roll pool.yaml --abandon")
    assert t.rolling().abandon(t.file.read()) == ("xen02",)
    assert where(t.s) == AT_HOME
    assert t.file.read() is None
    assert marked(t.s) == []


def test_a_host_that_does_not_come_back(tmp_path: Path) -> None:
    def off(host: str) -> Ran:
        t.s.lab.power_off(host)
        return OK

    t = Trip(tmp_path, off)
    why, remedy = stopped(t.go)
    assert why.startswith("xen02 is not back after 10 min: ")
    assert remedy == "look at its console; when it is back: xenrec roll pool.yaml --resume"
    assert t.ran == ["xen02"]
    with pytest.raises(Stopped, match="xen02 can't be enabled: it does not answer"):
        t.rolling().abandon(t.file.read())
    t.s.lab.power_on("xen02")
    t.deed = t.cycle
    t.resume()
    assert t.ran == ["xen02", "xen03", "xen01"]
    assert where(t.s) == AT_HOME


def test_one_that_was_to_reboot_and_did_not(tmp_path: Path) -> None:
    t = Trip(tmp_path, lambda host: OK)
    why, _ = stopped(lambda: t.go(["xen02"]))
    assert why == "xen02 is not back after 10 min: it has not rebooted yet"


def test_one_that_is_silent_is_not_back_where_no_reboot_was_promised(tmp_path: Path) -> None:
    def pull(host: str) -> Ran:
        t.s.lab.power_off(host)
        return OK

    t = Trip(tmp_path, pull)
    why, _ = stopped(lambda: t.go(["xen03"], reboots=False, patience=60.0))
    assert why.startswith("xen03 is not back after 60 s")


def test_one_that_answers_once_and_goes_again_is_not_back(tmp_path: Path) -> None:
    def fade(host: str) -> Ran:
        t.s.lab.kernel.after(SETTLE + 5.0, lambda: t.s.lab.power_off(host))
        return OK

    t = Trip(tmp_path, fade)
    why, _ = stopped(lambda: t.go(["xen03"], reboots=False, patience=60.0))
    assert why.startswith("xen03 is not back after 60 s")


def test_one_that_rebooted_and_whose_toolstack_did_not_start_since_is_not_back(tmp_path: Path) -> None:
    def booted(host: str) -> Ran:
        db = t.s.lab.masters()[0].toolstack.db  # type: ignore[union-attr]
        ((ref, record),) = ((r, h) for r, h in db.tables["host"].items() if h["name_label"] == host)  # type: ignore[union-attr]
        config = {**record["other_config"], "boot_time": str(t.s.lab.now)}
        db.update("host", ref, other_config=config)  # type: ignore[union-attr]
        return OK

    t = Trip(tmp_path, booted)
    why, _ = stopped(lambda: t.go(["xen03"], patience=60.0))
    assert why == "xen03 is not back after 60 s: its toolstack has not told what it runs yet"


class Blind(Trip):
    """A roll whose runs see another manifest than they are given."""

    def make(self, wanted: Wanted) -> Reconciler:
        """Before the command nobody is in maintenance, after it xen03 is."""
        state = MemberState.MAINTENANCE if self.ran else MemberState.ACTIVE
        members = tuple(replace(m, state=state) if m.name == "xen03" else m for m in wanted.members)
        return replace_wanted(self.s, replace(wanted, members=members))


def test_a_host_that_is_not_disabled_and_empty_is_not_worked_on(tmp_path: Path) -> None:
    t = Blind(tmp_path)
    why, _ = stopped(lambda: t.go(["xen03"]))
    assert why == "xen03 is not disabled and empty"
    assert t.ran == []


def test_a_turn_does_not_end_before_its_host_is_enabled(tmp_path: Path) -> None:
    t = Blind(tmp_path)
    t.rolling().begin(replace(t.asked(["xen03"]), phase=Phase.HOME))
    rest(t.s, "xen03")
    t.s.apply()
    wake(t.s, "xen03")
    t.ran.append("xen03")
    why, _ = stopped(t.resume)
    assert why == "xen03 is not enabled"


def test_the_master_dies_meanwhile(tmp_path: Path) -> None:
    def kill(host: str) -> Ran:
        t.s.lab.power_off("xen01")
        return t.cycle(host)

    t = Trip(tmp_path, kill)
    why, remedy = stopped(lambda: t.go(["xen02"]))
    assert why.startswith("the pool needs help first: ")
    assert remedy.startswith("xenrec plan pool.yaml; when it is as declared again: ")
    assert t.s.lab.now - t.s.lab.hosts["xen02"].booted_at < 300  # type: ignore[operator]


RESERVE: dict[str, Any] = {
    "vms": [{"name": f"v{n}", "at": f"xen0{n}", "gib": 12} for n in (1, 2, 3)],
}


def test_reserve_forbids_it_before_anything_moves(tmp_path: Path) -> None:
    t = Trip(tmp_path, **RESERVE)
    t.s.changed(lambda w: replace(w, policy=replace(w.policy, reserve=1)))
    why, remedy = stopped(t.go)
    assert why.startswith("xen02 can't be emptied: policy.placement.reserve is 1: with xen02 out, the loss of ")
    assert "xenrec drill pool.yaml" in remedy
    assert t.ran == []
    assert enabled(t.s) == {"xen01": True, "xen02": True, "xen03": True}
    t.s.changed(lambda w: replace(w, policy=replace(w.policy, reserve=0)))
    t.resume()
    assert len(t.ran) == 3


def test_what_blocks_it_stops_it_before_anything_moves(tmp_path: Path) -> None:
    t = Trip(tmp_path, vms=[{"name": "db01", "at": "xen02", "sr": "local@xen02"}, {"name": "web1", "at": "xen02"}])
    turns = t.rolling().preview(["xen02", "xen03"])
    assert [(turn.host, bool(turn.obstacle)) for turn in turns] == [("xen02", True), ("xen03", False)]
    why, _ = stopped(t.go)
    assert "its disk db01-disk is on Local storage, a local SR of xen02" in why
    assert where(t.s)["xen02"] == ["db01", "web1"]


def test_a_pool_that_is_not_as_declared_is_not_begun(tmp_path: Path) -> None:
    t = Trip(tmp_path, disabled=["xen03"])
    why, _ = stopped(lambda: t.go(["xen02"]))
    assert why.startswith("before the turn of xen02 the pool is not as declared: host xen03: state active: ")
    assert t.ran == []


@pytest.mark.parametrize("hold", ["level", "freeze", "pause"])
def test_what_holds_runs_back_holds_it_back(tmp_path: Path, hold: str) -> None:
    t = Trip(tmp_path)
    s = t.s
    if hold == "level":
        s.changed(lambda w: replace(w, policy=replace(w.policy, attended=Level.METADATA)))
    elif hold == "freeze":
        window = FreezeWindow("quarter's end", Level.OBSERVE, since=0.0, until=s.lab.now + 1e6)
        s.changed(lambda w: replace(w, policy=replace(w.policy, freeze=(window,))))
    else:
        s.reconciler().folder.memory.pause(Pause("op", "a backup", s.lab.now, s.lab.now + 1e6))
    why, _ = stopped(t.go)
    assert why.startswith("xen02 can't be emptied: disable host xen02 is withheld: ")
    assert enabled(s)["xen02"] is True


def test_a_pause_keeps_it_from_being_ended_and_is_named(tmp_path: Path) -> None:
    t = Trip(tmp_path, lambda host: Ran(1, ""))
    stopped(t.go)
    t.s.reconciler().folder.memory.pause(Pause("op", "a backup", t.s.lab.now, t.s.lab.now + 1e6))
    why, remedy = stopped(lambda: t.rolling().abandon(t.file.read()) and None)
    assert "a backup" in why
    assert remedy == "xenrec pause pool.yaml --clear"


def test_another_machine_may_end_what_it_finds(tmp_path: Path) -> None:
    t = Trip(tmp_path, lambda host: Ran(1, ""))
    stopped(t.go)
    other = Trip(tmp_path, s=Story(t.s.lab, t.s.wanted, tmp_path / "elsewhere"))
    assert other.file.read() is None
    assert other.rolling().abandon(None) == ("xen02",)
    assert where(t.s) == AT_HOME


def test_an_office_that_waits_for_a_word_is_never_the_reason(tmp_path: Path) -> None:
    """It is told first in such a plan, and nothing waits for it."""
    t = Trip(tmp_path, lambda host: OK)
    t.go(["xen01"], reboots=False)
    t.s.changed(lambda w: replace(w, policy=replace(w.policy, attended=Level.OBSERVE)))
    t.s.lab.power_off("xen03")
    made = t.s.plan()
    held = [w.action.verb for w in made.withheld]
    assert Verb.DESIGNATE_MASTER in held
    assert len(set(held)) > 1
    front = sorted(made.withheld, key=lambda w: w.action.verb is not Verb.DESIGNATE_MASTER)
    why, _ = unfinished(replace(made, withheld=tuple(front), unmet=()))
    assert "designate master" not in why
    assert why


def test_a_damaged_file_is_no_leave_to_begin(tmp_path: Path) -> None:
    t = Trip(tmp_path)
    asked = t.asked()
    t.file.write(asked)
    path = PoolFolder(t.s.folder, t.s.wanted.name).path / "roll.json"
    assert t.file.read() == asked
    for old, new in (('"work"', "7"), ('"empty"', '"later"'), ('"reboots": true', '"reboots": 1'), ('"done"', '"dun"')):
        t.file.write(t.asked())
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(StateError):
            t.file.read()
