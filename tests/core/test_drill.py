"""What the drill foretells, and that the foretelling is what then happens."""

from __future__ import annotations

from reconciler.core.diagnose import diagnose
from reconciler.core.drill import drill, drill_words
from reconciler.core.wanted import MasterWish
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
    assert lost["xen02"] == ["its disk db01 disk is out of reach: local-xen02 is a local SR of xen02, which is down"]
    assert "the CD web-1 cd is in its drive" in lost["xen03"][0]
    assert drill_words(found) == "the loss of xen02 and xen03, each alone, leaves VMs down"


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
