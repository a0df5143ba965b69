"""A rolling maintenance that lies for a while, and what became of the pool meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.command import Ran
from reconciler.core.plan import Verb
from reconciler.core.roll import Phase, Roll
from reconciler.lab.visitor import Visitor
from tests.pipeline.test_maintenance import AT_HOME, enabled, marked, where
from tests.pipeline.test_roll import Trip, stopped
from tests.support.calls import Killed
from tests.support.story import Story


def call(s: Story, method: str, *words: str) -> None:
    """Another client's."""
    Visitor(s.lab, lambda text: None).call("", method, words)
    s.wait(60)


@pytest.mark.parametrize("sort", ["killed before the command", "its command failed"])
def test_a_host_that_is_in_use_again_is_emptied_before_its_command(tmp_path: Path, sort: str) -> None:
    """It was said to be empty, hours ago: the command rebooted it under the VMs that had come since."""
    t = Trip(tmp_path, lambda host: Ran(3, ""))
    rolling = t.rolling()
    if sort == "its command failed":
        stopped(lambda: t.go(["xen02"]))
    else:
        plain = rolling._save

        def save(roll: Roll) -> None:
            plain(roll)
            if roll.phase is Phase.COMMAND:
                raise Killed

        rolling._save = save  # type: ignore[method-assign]
        rolling.begin(t.asked(["xen02"]))
        with pytest.raises(Killed):
            rolling.go()
    call(t.s, "host.enable", "host:xen02")
    call(t.s, "VM.pool_migrate", "vm:web1", "host:xen02", "{}")
    assert where(t.s)["xen02"] == ["web1"]
    t.deed = t.cycle
    t.ran.clear()
    t.at.clear()
    t.resume(again=sort == "its command failed")
    assert t.ran == ["xen02"]
    assert t.at[0]["xen02"] == []
    assert where(t.s) == AT_HOME
    assert t.s.lab.harm() == []


def test_a_roll_that_is_ended_enables_its_host_whatever_else_is_amiss_and_does_no_more(tmp_path: Path) -> None:
    """It refused for a VM of another host that died, so a sound host stayed out; or it fenced that one unasked."""
    vms = [{"name": "db01", "at": "xen03", "sr": "local@xen03"}, {"name": "web1", "at": "xen02"}]
    t = Trip(tmp_path, lambda host: Ran(3, ""), vms=vms)
    stopped(lambda: t.go(["xen02"]))
    t.s.lab.power_off("xen03")
    t.s.wait(900)
    assert Verb.FENCE in {a.verb for a in t.s.plan().actions}
    assert t.rolling().abandon(t.file.read()) == ("xen02",)
    assert enabled(t.s)["xen02"] is True
    assert where(t.s)["xen02"] == ["web1"]
    assert Verb.FENCE in {a.verb for a in t.s.plan().actions}, "that was not asked for"
    assert marked(t.s) == []
    assert t.file.read() is None


def test_a_host_comes_back_though_another_died_and_the_roll_goes_no_further(tmp_path: Path) -> None:
    """It fenced and buried the dead one by itself, and emptied the next host."""

    def meanwhile(host: str) -> Ran:
        t.s.lab.power_off("xen03")
        return t.cycle(host)

    t = Trip(tmp_path, meanwhile)
    why, remedy = stopped(lambda: t.go(["xen02", "xen01"], patience=3000.0))
    assert why.startswith("bringing xen02 back: the pool needs help first: fence xen03: ")
    assert remedy == "xenrec apply pool.yaml"
    assert t.ran == ["xen02"]
    assert enabled(t.s)["xen02"] is True
    assert t.s.apply().final is not None
    assert where(t.s)["xen03"] == []
    why, remedy = stopped(t.resume)
    assert why.startswith("before xen01 is emptied: xen03 is not there: ")
    assert remedy.endswith("then: xenrec roll pool.yaml --resume")
    assert t.ran == ["xen02"]
    assert enabled(t.s)["xen01"] is True
