"""What why answers: from a managed pool, without a master, about what nobody knows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from reconciler.core.plan import Plan
from reconciler.core.planner import make_plan
from reconciler.core.wanted import MasterWish, Place, PlacementWish, StorageWish, Wanted
from reconciler.core.why import Because, Ground, Sort, UnknownName, ground, parse
from reconciler.core.why_host import why_host, why_master, why_sr
from reconciler.core.why_vm import why_vm
from reconciler.views.why import why_json, why_text
from tests.core.build import GIB, NOW, PoolBuilder, certificate, survey, uuid, wanted, wish

MASTER = MasterWish("xen01", ("xen02", "xen03"))


def known(
    pool: PoolBuilder, w: Wanted, spec: dict[str, str] | None = None, *, master: str | None = "xen01", **more: object
) -> tuple[Ground, Plan]:
    seen, state = survey(spec, master=master), pool.state()
    live = master is not None
    plan = make_plan(
        w,
        seen,
        now=NOW,
        state=state if live else None,
        last_known=state,
        **more,  # type: ignore[arg-type]
    )
    return ground(w, plan, seen, state if live else None, state), plan


def rows(answer: Because) -> dict[str, str]:
    return {c.name: ("* " if c.chosen else "+ " if c.possible else "- ") + c.why for c in answer.considered}


def test_a_vm_that_is_started_tells_each_host_and_why_the_others_fell() -> None:
    pool = PoolBuilder()
    pool.network("dmz", on=["xen01", "xen02"])
    pool.vm("db01", networks=("dmz",), memory=4 * GIB)
    pool.host("xen01", cpus=0)
    w = wanted(wish("db01", placement=PlacementWish(avoid=("xen01",)), place=Place("pool.yaml", 7, 3)), master=MASTER)
    known_, plan = known(pool, w)
    answer = why_vm(known_, "db01")
    assert rows(answer) == {
        "xen01": "- is in placement.avoid",
        "xen02": "* could run it: 64.0 GiB free",
        "xen03": "- is not connected to network dmz",
    }
    assert [(t.sort, t.action.verb if t.action else "") for t in answer.told] == [(Sort.DONE, "start")]
    assert {w.place for w in answer.wished} == {"pool.yaml:7:3"}
    assert answer.next == "xenrec apply pool.yaml"
    text = why_text(answer, plan)
    assert "Wished (pool.yaml:7:3)\n  state running\n  placement.avoid xen01\n" in text
    assert "  *  xen02  could run it: 64.0 GiB free\n" in text
    assert all(len(line) <= 80 for line in text.split("\n"))


def test_what_is_withheld_says_what_it_waits_for_and_the_command() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen03")
    pool.vm("web-1")
    w = wanted(wish("db01"), wish("web-1", depends_on=("db01",)), fencing=False, master=MASTER)
    known_, _ = known(pool, w, {"xen03": "silent none"})
    answer = why_vm(known_, "db01")
    assert answer.short.startswith("it is recorded Running on xen03, which does not answer; what is right is withheld:")
    assert answer.next.startswith("see with your own eyes that xen03 is powered off")
    assert answer.depends == ("web-1 waits for it",)
    assert rows(answer)["xen03"] == "- does not answer, and nothing proves that it is dead"
    waiting = why_vm(known_, "web-1")
    assert waiting.depends == ("it waits for db01, which is Running",)
    assert waiting.told[0].why == "it depends on db01, which can't be started"


def test_without_a_master_the_forecast_answers_and_the_steps_before_are_told() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen01")
    w = wanted(wish("db01"), master=MASTER)
    known_, plan = known(
        pool, w, {"xen01": "silent off", "xen02": "follows xen01", "xen03": "follows xen01"}, master=None
    )
    answer = why_vm(known_, "db01")
    assert not answer.live
    assert [a.verb for a in answer.waits] == ["fence", "promote", "recover-members", "declare-dead"]
    assert rows(answer)["xen01"] == "- does not answer; nothing is started until it is proved dead"
    text = why_text(answer, plan)
    assert "No master answers: its records are the last known" in text
    assert "first: promote xen02" in text
    office = why_master(known_)
    assert office.short.endswith("the plan makes xen02 master")
    assert rows(office)["xen02"] == "* the first that can be master"
    host = why_host(known_, "xen01")
    assert "will be done: xen01 must be proved dead" in host.short


def test_where_a_promotion_is_withheld_everything_waits_for_what_frees_it() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen01")
    pool.vm("other", on="xen01")
    w = wanted(wish("db01"), master=MASTER)
    known_, _ = known(pool, w, {"xen01": "silent unknown"}, master=None)
    free = "xenrec attest pool.yaml xen01 --dead"
    host = why_host(known_, "xen01")
    assert free in host.next
    assert any(line.startswith("the pool's record when it was last read") for line in host.known)
    assert any(line.endswith(": enabled, live") for line in host.known), "as it was read, not as it is foreseen"
    vm = why_vm(known_, "db01")
    assert free in vm.next
    assert vm.short.endswith("; nothing is planned for it before the pool has a master again")
    assert why_vm(known_, "other").next == "", "no entry means it: nothing is ever to be done about it"


def test_a_pool_that_was_never_read_says_so() -> None:
    w = wanted(wish("db01"), master=MASTER)
    seen = survey({"xen01": "silent off", "xen02": "follows xen01", "xen03": "follows xen01"}, master=None)
    plan = make_plan(w, seen, now=NOW)
    known_ = ground(w, plan, seen, None, None)
    answer = why_vm(known_, "db01")
    assert "never read from here" in answer.short
    assert "never read from here" in why_text(answer, plan)
    assert why_host(known_, "xen02").wished
    assert why_master(known_).considered


def test_a_vm_that_no_entry_means_is_never_touched() -> None:
    pool = PoolBuilder()
    pool.vm("stray", on="xen02")
    known_, plan = known(pool, wanted(master=MASTER))
    answer = why_vm(known_, "stray")
    assert answer.short == "it is Running on xen02; no entry of the manifest means it, so it is never touched"
    assert answer.wished == ()
    assert "Nothing is to be done about it." in why_text(answer, plan)


def test_a_host_tells_its_part_its_vms_and_what_its_loss_would_mean() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen02", sr="local-xen02")
    pool.vm("web-1", on="xen02")
    pool.vm("stray", on="xen02")
    known_, _ = known(pool, wanted(wish("db01"), wish("web-1"), master=MASTER))
    answer = why_host(known_, "xen02")
    assert [w.words for w in answer.wished][2] == "successor number 1 of the master"
    assert answer.depends == (
        "2 VMs recorded on it, declared: db01 and web-1",
        "1 VM recorded on it, not named by the manifest, never touched: stray",
        "if it died now: 1 VM would restart, and db01 would not",
    )
    dead = known(
        pool, wanted(wish("web-1"), master=MASTER), {"xen02": "silent off"}, certificates=[certificate("xen02")]
    )
    told = why_host(dead[0], "xen02")
    assert any(line.startswith("proved dead: attested by op") for line in told.known)
    assert [t.action.verb for t in told.told if t.action] == ["declare-dead"]


def test_an_sr_tells_who_reaches_it_and_whose_disks_are_on_it() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen02", sr="local-xen02")
    w = wanted(wish("db01"), master=MASTER, storage=StorageWish(default_sr="san-1"))
    known_, plan = known(pool, w)
    local = why_sr(known_, "local-xen02")
    assert local.short == "only xen02 reaches it: with that host its VMs are lost"
    assert local.depends == ("1 VM with a disk or CD on it: db01",)
    assert rows(local)["xen01"] == "- has no connection to it"
    shared = why_sr(known_, "san-1")
    assert [w.words for w in shared.wished] == ["storage.defaultSR"]
    assert [(t.sort, t.why) for t in shared.told] == [(Sort.KEPT, "is the default SR, as declared")]
    assert why_text(shared, plan).startswith("SR san-1: 3 hosts that answer reach it.")


def test_names_that_nobody_knows_get_near_ones() -> None:
    pool = PoolBuilder()
    pool.vm("web-1")
    pool.vm("twin", key="a")
    pool.vm("twin", key="b")
    known_, _ = known(pool, wanted(wish("db01"), master=MASTER))
    for ask, near in (
        (lambda: why_vm(known_, "Web1"), "vm/web-1"),
        (lambda: why_vm(known_, "db1"), "vm/db01"),
        (lambda: why_host(known_, "xen2"), "host/xen02"),
        (lambda: why_sr(known_, "san1"), "sr/san-1"),
        (lambda: parse("vms/web-1"), "vm/web-1"),
        (lambda: parse("web-1"), "vm/web-1"),
    ):
        with pytest.raises(UnknownName) as unknown:
            ask()
        assert unknown.value.near[0] == near
    with pytest.raises(UnknownName, match="2 VMs are named twin"):
        why_vm(known_, "twin")
    assert why_vm(known_, uuid("a")).target.name == "twin"
    assert "no such VM" in why_vm(known_, "db01").short


def test_templates_are_never_acted_on_and_json_holds_the_answer() -> None:
    pool = PoolBuilder()
    pool.vm("base", is_template=True)
    pool.vm("db01", power=None)
    w = wanted(wish("db01"), wish("base"), master=MASTER)
    known_, _ = known(pool, w)
    assert why_vm(known_, "base").short == "base is a template, and those are never acted on"
    document = json.loads(why_json("lab", why_vm(known_, "db01")))
    assert document["next"] == "xenrec apply pool.yaml"
    assert [c["chosen"] for c in document["considered"]].count(True) == 1
    assert document["plan"][0]["action"].startswith("start:vm/")
    lonely = replace(w, master=None)
    assert why_master(known(pool, lonely)[0]).wished == ()
