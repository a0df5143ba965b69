"""What is told of a drill as new, as known, as solved."""

from __future__ import annotations

import json
from dataclasses import replace

from reconciler.core.diagnose import diagnose
from reconciler.core.drill import drill
from reconciler.core.drill_cases import Drill, Kind
from reconciler.core.drill_news import acknowledge, news
from reconciler.core.wanted import Brake, MasterWish, Policy
from reconciler.views.drill import drill_json, drill_text, news_markdown, news_text
from tests.core.build import GIB, NOW, PoolBuilder, survey, wanted, wish

MEMBERS = ("xen01", "xen02", "xen03")


def drilled(pool: PoolBuilder, *, down: str = "", depth: int = 1) -> Drill:
    w = wanted(wish("*"), master=MasterWish("xen01"), policy=Policy(brake=Brake(0.0, 1)))
    seen, state = survey({down: "silent"} if down else None), pool.state()
    return drill(w, seen, diagnose(w, seen, (), now=NOW, known=state), state, depth=depth)


def local_disk() -> PoolBuilder:
    pool = PoolBuilder()
    pool.vm("db01", on="xen02", sr="local-xen02")
    return pool


def test_what_is_found_is_new_then_open_until_somebody_takes_note_and_solved_once() -> None:
    found = drilled(local_disk())
    first = news(found, (), MEMBERS, now=10.0)
    assert [(f.hosts, f.since) for f in first.fresh] == [("xen02", 10.0)]
    assert first.fresh[0].words.startswith("db01 would stay down: its disk")
    second = news(found, first.remembered, MEMBERS, now=20.0)
    assert (second.fresh, second.open) == ((), first.fresh)
    taken = acknowledge(second, "op@desk")
    assert [f.acknowledged_by for f in taken.remembered] == ["op@desk"]
    third = news(found, taken.remembered, MEMBERS, now=30.0)
    assert (third.fresh, third.open, third.known) == ((), (), taken.known)
    mended = drilled(PoolBuilder())
    fourth = news(mended, third.remembered, MEMBERS, now=40.0)
    assert [f.words for f in fourth.solved] == [first.fresh[0].words]
    assert fourth.remembered == ()


def test_a_host_that_is_down_now_solves_nothing_and_one_that_left_is_forgotten() -> None:
    pool = local_disk()
    before = news(drilled(pool), (), MEMBERS, now=10.0).remembered
    pool.host("xen02", live=False)
    told = news(drilled(pool, down="xen02"), before, MEMBERS, now=20.0)
    assert (told.solved, told.held) == ((), before)
    assert told.remembered == before
    gone = news(drilled(pool, down="xen02"), before, ("xen01", "xen03"), now=20.0)
    assert (gone.solved, gone.remembered) == ((), ())


def test_vms_without_room_are_one_finding_whoever_they_are() -> None:
    pool = PoolBuilder(memory=8 * GIB)
    for host in MEMBERS:
        for n in range(2):
            pool.vm(f"{host}-{n}", on=host, memory=3 * GIB)
    found = drilled(pool)
    assert [loss.kind for loss in found.cases[0].lost] == [Kind.ROOM, Kind.ROOM]
    told = news(found, (), MEMBERS, now=1.0)
    assert [(f.hosts, f.what) for f in told.fresh] == [(host, "room") for host in MEMBERS]
    assert told.fresh[0].words == "2 VMs would find no room on the others: xen01-0 and xen01-1"


def test_a_set_of_hosts_is_news_only_for_what_its_parts_do_not_lose() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen02", sr="local-xen02")
    pool.sr("pair", shared=True, on=["xen02", "xen03"])
    pool.vm("web-1", on="xen03", sr="pair")
    found = drilled(pool, depth=2)
    assert {c.hosts: [loss.vm.name for loss in c.lost] for c in found.cases if not c.survives} == {
        ("xen02",): ["db01"],
        ("xen01", "xen02"): [],
        ("xen02", "xen03"): ["web-1"],
    }
    assert {c.hosts: c.by_part for c in found.cases if c.by_part} == {("xen01", "xen02"): 1, ("xen02", "xen03"): 1}
    told = news(found, (), MEMBERS, now=1.0)
    assert [f.hosts for f in told.fresh] == ["xen02", "xen02+xen03"]


def test_what_is_in_the_way_and_what_nobody_restarts_is_told() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen02")
    pool.vm("stray", on="xen02")
    w = replace(wanted(wish("db01"), fencing=False), policy=Policy(brake=Brake(0.6, 1)))
    seen, state = survey(), pool.state()
    found = drill(w, seen, diagnose(w, seen, (), now=NOW, known=state), state, depth=2)
    one, pair = found.cases[1], found.cases[-1]
    assert one.left == ("stray",)
    assert one.hindrances == ("no fence agent is declared for xen02: somebody has to go and look",)
    assert any("minHealthy is 60%" in h for h in pair.hindrances)
    assert any("maxHostsPerRun" in h for h in pair.hindrances)
    text = drill_text("lab", found, news(found, (), MEMBERS, now=1.0), verbose=True)
    assert "nobody restarts what the manifest does not declare running: stray" in text


def test_the_views_tell_the_news_within_the_terminal() -> None:
    pool = local_disk()
    pool.sr("iso-xen03", on=["xen03"])
    pool.vm("web-1", on="xen03", cd="iso-xen03")
    found = drilled(pool, depth=2)
    told = news(found, (), MEMBERS, now=1.0)
    for width in (60, 80):
        text = drill_text("lab", found, told, width=width, acknowledge="xenrec drill pool.yaml --acknowledge")
        assert all(len(line) <= width for line in text.split("\n") if "xe vm-cd-eject" not in line)
    assert "xen03      1      0         1" in text
    assert "  next: xenrec drill pool.yaml --acknowledge" in text
    assert any(line.strip().startswith("next: xe vm-cd-eject uuid=") for line in text.split("\n"))
    short = news_text(found, told, command="xenrec drill pool.yaml")
    assert short.startswith("Drill: the loss of xen02 and xen03, each alone, leaves VMs down.\n  new: xen02 lost: ")
    later = news_text(found, news(found, told.remembered, MEMBERS, now=2.0), command="xenrec drill pool.yaml")
    assert "2 findings not acknowledged yet" in later
    assert "**Drill:** the loss of xen02 and xen03" in news_markdown(found, told)
    document = json.loads(drill_json("lab", found, told))
    assert [f["hosts"] for f in document["new"]] == [["xen02"], ["xen03"]]
    assert document["cases"][2]["down"][0]["remedy"].startswith("xe vm-cd-eject")
