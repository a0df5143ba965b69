"""What the drill foretells, and that the foretelling is what then happens."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.copies import Change, CopyMemory, Refreshed
from reconciler.core.diagnose import diagnose
from reconciler.core.drill import drill
from reconciler.core.drill_cases import drill_words
from reconciler.core.drill_news import news
from reconciler.core.wanted import MasterWish, MemberState
from reconciler.views.drill import drill_text
from tests.core.build import GIB, NOW, PoolBuilder, survey, wanted, wish


def drilled(pool: PoolBuilder, *wishes: object, depth: int = 1, hosts: int = 3):  # type: ignore[no-untyped-def]
    w = wanted(*wishes, hosts=hosts, master=MasterWish("xen01", ("xen02", "xen03")))  # type: ignore[arg-type]
    seen = survey(hosts=hosts)
    state = pool.state()
    return drill(w, seen, diagnose(w, seen, (), now=NOW, known=state), state, depth=depth)


def test_a_pool_with_room_and_shared_storage_survives_any_one_host() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen01", home="xen01")
    pool.vm("web-1", on="xen03")
    found = drilled(pool, wish("db01"), wish("web-1"))
    assert [c.hosts for c in found.cases] == [("xen01",), ("xen02",), ("xen03",)]
    first, _, third = found.cases
    assert first.new_master == "xen02"
    assert [vm for vm, _ in first.restarted] == ["db01"]
    assert first.copy_age == 600.0
    assert first.loses == "the changes of the last 10 min (by XAPI's own backups, one per 5 min and member)"
    assert third.new_master == ""
    assert [vm for vm, _ in third.restarted] == ["web-1"]
    assert found.single_points == ()
    assert drill_words(found) == "the pool survives the loss of any one host"


def test_a_local_disk_and_a_cd_left_in_a_drive_are_single_points_of_failure() -> None:
    pool = PoolBuilder()
    pool.sr("iso-xen03", on=["xen03"])
    pool.vm("db01", on="xen02", sr="local-xen02")
    pool.vm("web-1", on="xen03", cd="iso-xen03")
    found = drilled(pool, wish("db01"), wish("web-1"))
    assert found.single_points == ("xen02", "xen03")
    lost = {c.hosts[0]: [u.why for u in c.lost] for c in found.cases}
    assert lost["xen02"] == ["its disk db01 disk is out of reach: local-xen02 is a local SR of xen02 itself"]
    assert "the CD web-1 cd is in its drive" in lost["xen03"][0]
    assert drill_words(found) == "the loss of xen02 and xen03, each alone, leaves VMs down"


def test_the_member_whose_copy_costs_least_would_be_promoted_and_what_it_may_kill_is_named() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen03")
    w = wanted(wish("db01"), master=MasterWish("xen01", ("xen02", "xen03")))
    seen, state = survey(), pool.state()
    db01 = next(vm for vm in state.vms.values() if vm.name == "db01")
    uuids = {h.name: h.uuid for h in state.hosts.values()}
    at = state.read_at
    created = Change(db01.uuid, "db01", None, uuids["xen03"], at - 300.0, at - 290.0)
    blind = CopyMemory(at - 3600.0, (created,))
    diagnosis = diagnose(w, seen, (), now=NOW, known=state)

    first = drill(w, seen, diagnosis, state, memory=blind, now=at).cases[0]
    assert first.new_master == "xen02"
    assert len(first.killed) == 1
    assert first.killed[0].startswith("db01 on xen03 (created between")
    text = drill_text(
        "lab", found := drill(w, seen, diagnosis, state, memory=blind, now=at), news(found, (), (), now=at)
    )
    assert "its copy may kill, though their hosts live: db01 on xen03" in text

    fresh = replace(blind, refreshed=(Refreshed(uuids["xen03"], at - 60.0),))
    cases = {c.hosts: c for c in drill(w, seen, diagnosis, state, depth=2, memory=fresh, now=at).cases}
    alone = cases["xen01",]
    assert (alone.new_master, alone.copy_age, alone.killed) == ("xen03", 60.0, ())
    assert alone.loses.startswith("the changes of the last 60 s (refreshed at ")
    both = cases["xen01", "xen03"]
    assert (both.new_master, both.copy_age, both.killed) == ("xen02", 600.0, ())


def test_a_member_in_maintenance_would_not_be_promoted() -> None:
    pool = PoolBuilder()
    w = wanted(master=MasterWish("xen01", ("xen02", "xen03")))
    resting = tuple(replace(m, state=MemberState.MAINTENANCE) if m.name == "xen02" else m for m in w.members)
    w, seen, state = replace(w, members=resting), survey(), pool.state()
    found = drill(w, seen, diagnose(w, seen, (), now=NOW, known=state), state)
    assert found.cases[0].new_master == "xen03"


def test_memory_that_is_enough_for_one_loss_may_not_be_for_two() -> None:
    pool = PoolBuilder(memory=8 * GIB)
    for i, host in enumerate(pool.hosts):
        pool.vm(f"vm{i}", on=host, memory=4 * GIB)
    found = drilled(pool, wish("vm*"), depth=2)
    assert found.single_points == ()
    assert [c.hosts for c in found.cases if not c.survives] == [
        ("xen01", "xen02"),
        ("xen01", "xen03"),
        ("xen02", "xen03"),
    ]
    assert "are needed" in found.cases[-1].lost[0].why


def test_what_cannot_run_today_is_not_counted_as_lost() -> None:
    pool = PoolBuilder()
    pool.vm("huge", memory=900 * GIB)
    assert drilled(pool, wish("huge")).single_points == ()


def test_the_last_host_leaves_no_master_and_nothing_running() -> None:
    pool = PoolBuilder(1)
    pool.vm("db01", on="xen01")
    found = drilled(pool, wish("db01"), hosts=1)
    assert found.cases[0].new_master is None
    assert [u.vm.name for u in found.cases[0].lost] == ["db01"]
    assert not found.cases[0].survives
