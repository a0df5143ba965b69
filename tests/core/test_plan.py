"""What the planner makes of each situation: the actions, what is withheld, what can't be met, and the words for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.evidence import Certificate, Incident, Situation
from reconciler.core.guard import Allowance
from reconciler.core.model import PowerState
from reconciler.core.plan import Plan, Status, Verb
from reconciler.core.planner import make_plan
from reconciler.core.wanted import Brake, Failback, Level, MasterWish, Policy, StorageWish, Wanted
from tests.core.build import (
    GIB,
    NOW,
    PlacementWish,
    PoolBuilder,
    Priority,
    address,
    certificate,
    only,
    ref,
    survey,
    uuid,
    verbs,
    wanted,
    wish,
)


def plan(w: Wanted, pool: PoolBuilder | None = None, spec: dict[str, str] | None = None, **more: object) -> Plan:
    n = len(w.members)
    bmc = "on" if w.members[0].fencing else "none"
    seen = survey(spec, hosts=n, master=more.pop("master", "xen01"), bmc=bmc)  # type: ignore[arg-type]
    state = pool.state() if pool else None
    return make_plan(w, seen, now=NOW, state=state, **more)  # type: ignore[arg-type]


def test_a_pool_as_declared_needs_nothing_and_says_what_was_kept() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen02")
    made = plan(wanted(wish("db01")), pool)
    assert made.status is Status.CLEAN
    assert [(k.target.name, k.why) for k in made.kept] == [("db01", "runs on xen02")]


def test_a_dead_master_with_a_fence_agent_is_fenced_then_replaced_by_the_first_successor() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen01", home="xen01")
    w = wanted(wish("db01", home="xen01"), master=MasterWish("xen01", ("xen03", "xen02")))
    made = plan(w, None, {"xen01": "silent"}, master=None, last_known=pool.state())
    assert made.diagnosis.situation is Situation.LOST
    assert [s.name for s in made.stages] == ["regain", "restore"]
    assert [s.forecast for s in made.stages] == [False, True]
    assert verbs(made) == [
        "fence xen01",
        "promote xen03",
        "recover-members lab",
        "declare-dead xen01",
        "start db01 -> xen02",
    ]
    fence, promote, recover = made.stages[0].actions
    assert promote.follows == (fence.id,)
    assert promote.certificate_of == ("xen01",)
    assert recover.follows == (promote.id,)


def test_without_fencing_and_certificate_a_promotion_is_withheld_with_the_command_that_obtains_one() -> None:
    w = wanted(fencing=False)
    made = plan(w, None, {"xen01": "silent"}, master=None)
    assert made.status is Status.BLOCKED
    [held] = made.withheld
    assert held.action.verb is Verb.PROMOTE
    assert "nothing proves that it is dead" in held.why
    assert "xenrec attest pool.yaml xen01 --dead" in held.remedy


def test_an_attested_dead_master_needs_no_fencing() -> None:
    made = plan(wanted(fencing=False), None, {"xen01": "silent"}, master=None, certificates=[certificate("xen01")])
    assert verbs(made) == ["promote xen02", "recover-members lab"]


@pytest.mark.parametrize(
    ("sign", "word"),
    [
        ("refused", "its toolstack does not"),
        ("hung", "it hangs"),
        ("untrusted", "not the one that the manifest trusts"),
    ],
)
def test_any_sign_of_life_of_the_old_master_forbids_a_promotion_even_with_a_certificate(sign: str, word: str) -> None:
    made = plan(wanted(), None, {"xen01": sign}, master=None, certificates=[certificate("xen01")])
    assert made.actions == ()
    assert word in made.diagnosis.why


def test_power_that_is_on_voids_an_attested_certificate_so_that_the_host_is_fenced_first() -> None:
    made = plan(wanted(), None, {"xen01": "silent on"}, master=None, certificates=[certificate("xen01")])
    assert verbs(made) == ["fence xen01", "promote xen02", "recover-members lab"]
    assert made.certificates == ()
    assert "attested dead by op (seen off), but BMC says power is on" in made.diagnosis.members[0].why


def test_a_member_that_cannot_be_asked_whether_it_is_master_withholds_a_promotion() -> None:
    made = plan(wanted(hosts=4), None, {"xen01": "silent", "xen04": "untrusted"}, master=None)
    assert made.actions == ()
    assert "xen04 answers, but can't be asked whether it is a master" in made.withheld[0].why


def test_a_member_that_still_reaches_the_master_means_that_we_are_cut_off() -> None:
    made = plan(wanted(), None, {"xen01": "silent", "xen03": "reaches xen01"}, master=None)
    assert made.diagnosis.situation is Situation.CUT_OFF
    assert made.actions == ()
    assert "xen03 still reaches it" in made.diagnosis.why


def test_the_storm_brake_stops_when_most_members_are_silent() -> None:
    made = plan(wanted(), None, {"xen01": "silent", "xen02": "silent"}, master=None)
    assert made.diagnosis.situation is Situation.CUT_OFF
    assert made.actions == ()
    assert "policy.brake.minHealthy" in made.diagnosis.why
    assert "xenrec attest" in made.diagnosis.remedy


def test_a_bmc_that_does_not_answer_proves_nothing() -> None:
    made = plan(wanted(), None, {"xen01": "silent unknown"}, master=None)
    assert made.actions == ()
    assert "proves nothing" in made.withheld[0].why


def test_two_masters_are_never_acted_on() -> None:
    pool = PoolBuilder()
    made = plan(wanted(), pool, {"xen02": "master"})
    assert made.diagnosis.situation is Situation.TWO_MASTERS
    assert made.actions == ()


def test_a_master_of_another_pool_at_a_declared_address_is_a_stranger() -> None:
    made = plan(wanted(uuid=uuid("pool")), None, {"xen01": "master other-pool"})
    assert made.diagnosis.situation is Situation.STRANGER
    assert made.actions == ()


def test_a_dead_member_is_fenced_buried_and_its_vms_are_started_elsewhere() -> None:
    pool = PoolBuilder()
    pool.vm("web-1", on="xen03")
    pool.vm("web-2", on="xen02")
    pool.host("xen03", live=False)
    made = plan(wanted(wish("web-*")), pool, {"xen03": "silent"})
    assert verbs(made) == ["fence xen03", "declare-dead xen03", "start web-1 -> xen01"]
    fence, bury, start = made.actions
    assert bury.follows == (fence.id,)
    assert start.follows == (bury.id,)
    assert start.certificate_of == ("xen03",)


def test_a_silent_member_that_the_master_still_hears_is_not_fenced() -> None:
    pool = PoolBuilder()
    pool.vm("web-1", on="xen03")
    made = plan(wanted(wish("web-1")), pool, {"xen03": "silent"})
    assert made.actions == ()
    assert {h.action.verb for h in made.withheld} == {Verb.DECLARE_DEAD, Verb.START}
    assert all("still counts it as live" in h.why for h in made.withheld)


def test_a_member_whose_power_is_off_is_fenced_at_once_though_the_master_counts_it_as_live() -> None:
    pool = PoolBuilder()
    pool.vm("web-1", on="xen03")
    made = plan(wanted(wish("web-1")), pool, {"xen03": "silent off"})
    assert only(made, Verb.FENCE) == ["xen03"]


def test_a_dead_host_that_concerns_no_declared_vm_is_left_alone() -> None:
    pool = PoolBuilder()
    pool.vm("other", on="xen03")
    pool.vm("db01", on="xen01")
    pool.host("xen03", live=False)
    made = plan(wanted(wish("db01")), pool, {"xen03": "silent"})
    assert made.status is Status.CLEAN
    assert any("xen03 does not answer" in n for n in made.notes)


def test_a_burial_says_which_undeclared_vms_it_resets() -> None:
    pool = PoolBuilder()
    pool.vm("other", on="xen03")
    pool.vm("db01", on="xen03")
    pool.host("xen03", live=False)
    made = plan(wanted(wish("db01")), pool, {"xen03": "silent off"}, certificates=[certificate("xen03")])
    [bury] = [a for a in made.actions if a.verb is Verb.DECLARE_DEAD]
    assert "also resets other" in bury.why
    assert only(made, Verb.START) == ["db01"]


def test_a_vm_on_a_local_disk_of_the_dead_host_is_unmet_by_disk_and_sr_name() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen03", sr="local-xen03")
    pool.host("xen03", live=False)
    made = plan(wanted(wish("db01")), pool, {"xen03": "silent off"}, certificates=[certificate("xen03")])
    [unmet] = made.unmet
    assert unmet.why == "its disk db01 disk is out of reach: local-xen03 is a local SR of xen03, which is down"
    assert "repair xen03" in unmet.remedy
    assert only(made, Verb.START) == []


def test_a_cd_on_unreachable_storage_is_named_with_the_command_that_ejects_it() -> None:
    pool = PoolBuilder()
    pool.sr("iso-xen03", on=["xen03"])
    vm = pool.vm("db01", cd="iso-xen03")
    pool.host("xen03", live=False)
    made = plan(wanted(wish("db01")), pool, {"xen03": "silent"})
    [unmet] = made.unmet
    assert "the CD db01 cd is in its drive" in unmet.why
    assert unmet.remedy == f"xe vm-cd-eject uuid={vm.uuid}"


def test_after_a_master_start_nothing_is_started_while_a_silent_member_may_be_running_it() -> None:
    pool = PoolBuilder()
    pool.vm("db01")
    pool.host("xen03", live=False, enabled=False)
    made = plan(wanted(wish("db01"), fencing=False), pool, {"xen03": "silent"})
    assert made.actions == ()
    fence, held = made.withheld
    assert fence.action.verb is Verb.FENCE
    assert "xen03 has not been heard from since the master started" in held.why
    assert "xenrec attest" in held.remedy


def test_a_silent_member_that_was_enabled_under_this_master_casts_no_doubt_on_halted_vms() -> None:
    pool = PoolBuilder()
    pool.vm("db01")
    pool.host("xen03", live=False)
    made = plan(wanted(wish("db01"), fencing=False), pool, {"xen03": "silent"})
    assert only(made, Verb.START) == ["db01"]


def test_a_healed_member_that_never_resynchronised_withholds_starts() -> None:
    pool = PoolBuilder()
    pool.vm("db01")
    pool.host("xen03", enabled=False)
    made = plan(wanted(wish("db01")), pool)
    assert made.actions == ()
    assert "live but not enabled" in made.withheld[0].why
    assert "xe-toolstack-restart" in made.withheld[0].remedy


def test_in_the_window_after_a_master_start_the_plan_waits_and_buries_nobody() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen03")
    for name in ("xen02", "xen03"):
        pool.host(name, live=False, enabled=False)
    made = plan(wanted(wish("db01")), pool)
    assert verbs(made) == ["await-members lab"]
    assert only(made, Verb.DECLARE_DEAD) == []


def test_members_that_follow_the_dead_master_are_recovered_without_a_second_promotion() -> None:
    pool = PoolBuilder()
    pool.master = "xen02"
    pool.host("xen01", live=False, enabled=False)
    pool.host("xen02", enabled=False)
    pool.host("xen03", live=False, enabled=False)
    spec = {"xen01": "silent", "xen02": "master", "xen03": "follows xen01"}
    made = plan(wanted(), pool, spec, last_known=replace(PoolBuilder().state(), read_at=NOW - 60))
    assert verbs(made)[0] == "recover-members lab"
    assert only(made, Verb.PROMOTE) == []


def test_a_member_that_reaches_another_master_is_not_recovered() -> None:
    pool = PoolBuilder()
    pool.master = "xen02"
    spec = {"xen01": "silent", "xen02": "master", "xen03": "reaches xen01"}
    made = plan(wanted(), pool, spec)
    assert only(made, Verb.RECOVER_MEMBERS) == []
    assert "two masters" in made.withheld[0].why


@pytest.mark.parametrize(
    ("local", "remedy"),
    [
        (None, "run it where connection.local.password can be had"),
        (False, "declare connection.local: a local root of every host (an account of a directory is none)"),
        (True, "wait half a minute, then: xenrec plan pool.yaml"),
    ],
)
def test_a_member_that_could_not_be_asked_is_not_recovered_from_a_host_that_may_be_master(
    local: bool | None, remedy: str
) -> None:
    pool = PoolBuilder(4)
    pool.master = "xen02"

    def made(spec: str, *proofs: Certificate) -> Plan:
        ties = {"xen01": spec, "xen02": "master", "xen03": "follows xen01", "xen04": "follows xen02"}
        seen = survey(ties, hosts=4, bmc="none")
        asked = [replace(t, reaches_master=None, local_login=local) if t.follows else t for t in seen.testimonies]
        seen = replace(seen, testimonies=tuple(asked))
        return make_plan(wanted(hosts=4, fencing=False), seen, now=NOW, state=pool.state(), certificates=proofs)

    plan = made("silent")
    assert plan.actions == ()
    assert plan.withheld[0].why.startswith("xen03 may take orders from xen01, a second master then: it could not be")
    assert plan.withheld[0].remedy == remedy
    assert verbs(made("silent", certificate("xen01")))[0] == "recover-members lab"
    assert verbs(made("emergency"))[0] == "recover-members lab"


def test_a_promotion_that_was_sent_is_observed_not_sent_again() -> None:
    incident = Incident("lab", "xen02", address("xen02"), "xen01", address("xen01"), NOW - 30, "run-1")
    made = plan(wanted(), None, {"xen01": "silent", "xen02": "refused"}, master=None, incident=incident)
    assert verbs(made) == ["await-master xen02", "recover-members lab"]


def test_a_promotion_that_never_took_effect_may_be_sent_to_the_same_member() -> None:
    incident = Incident("lab", "xen03", address("xen03"), "xen01", address("xen01"), NOW - 300, "run-1")
    made = plan(
        wanted(),
        None,
        {"xen01": "silent off"},
        master=None,
        incident=incident,
        certificates=[certificate("xen01", "fenced")],
    )
    assert only(made, Verb.PROMOTE) == ["xen03"]


def test_ha_on_withholds_everything_above_metadata() -> None:
    pool = PoolBuilder()
    pool.vm("db01")
    w = wanted(wish("db01", home="xen02"))
    made = make_plan(w, survey(), now=NOW, state=pool.state(ha_enabled=True))
    assert verbs(made) == ["set-affinity db01 -> xen02"]
    assert "HA is on" in made.withheld[0].why


def test_ha_on_in_the_last_known_pool_withholds_a_promotion() -> None:
    pool = PoolBuilder()
    made = plan(wanted(), None, {"xen01": "silent"}, master=None, last_known=pool.state(ha_enabled=True))
    assert made.actions == ()
    assert "HA is on" in made.withheld[0].why


def test_unattended_runs_withhold_what_lies_above_their_level_and_what_follows_it() -> None:
    pool = PoolBuilder()
    pool.vm("db01", on="xen03")
    pool.vm("web-1")
    pool.host("xen03", live=False)
    made = plan(wanted(wish("db01"), wish("web-1")), pool, {"xen03": "silent"}, allowance=Allowance(attended=False))
    assert verbs(made) == ["start web-1 -> xen02"]
    reasons = {h.action.verb: h.why for h in made.withheld}
    assert "policy.levels.unattended" in reasons[Verb.FENCE]
    assert "fence xen03, which is withheld" in reasons[Verb.DECLARE_DEAD]
    assert "declare dead xen03, which is withheld" in reasons[Verb.START]


def test_no_more_hosts_are_fenced_in_a_run_than_the_policy_allows() -> None:
    pool = PoolBuilder(5)
    pool.vm("a", on="xen04")
    pool.vm("b", on="xen05")
    pool.host("xen04", live=False)
    pool.host("xen05", live=False)
    spec = {"xen04": "silent", "xen05": "silent"}
    made = plan(wanted(wish("a"), wish("b"), hosts=5), pool, spec)
    assert only(made, Verb.FENCE) == ["xen04"]
    more = wanted(wish("a"), wish("b"), hosts=5, policy=Policy(brake=Brake(0.5, 2)))
    assert only(plan(more, pool, spec), Verb.FENCE) == ["xen04", "xen05"]


def test_an_entry_may_limit_how_far_its_vm_is_acted_on() -> None:
    pool = PoolBuilder()
    pool.vm("db01")
    made = plan(wanted(wish("db01", max_level=Level.METADATA)), pool)
    assert made.actions == ()
    assert "its entry allows metadata" in made.withheld[0].why


def test_power_states_are_reached_the_clean_way_or_explained() -> None:
    pool = PoolBuilder()
    pool.vm("run-halt", on="xen01")
    pool.vm("susp-run", power=PowerState.SUSPENDED)
    pool.vm("pause-run", on="xen02", power=PowerState.PAUSED)
    pool.vm("run-susp", on="xen01")
    pool.vm("susp-halt", power=PowerState.SUSPENDED)
    pool.vm("halt-susp")
    pool.vm("left", on="xen01")
    made = plan(
        wanted(
            wish("run-halt", "halted"),
            wish("susp-run"),
            wish("pause-run"),
            wish("run-susp", "suspended"),
            wish("susp-halt", "halted"),
            wish("halt-susp", "suspended"),
            wish("left", "as-is"),
        ),
        pool,
    )
    assert verbs(made) == [
        "shutdown run-halt",
        "suspend run-susp",
        "unpause pause-run -> xen02",
        "resume susp-run -> xen03",
    ]
    assert {u.target.name for u in made.unmet} == {"susp-halt", "halt-susp"}


def test_names_that_are_unknown_or_mean_two_vms_select_nothing() -> None:
    pool = PoolBuilder()
    pool.vm("twin", key="twin-a")
    pool.vm("twin", key="twin-b")
    made = plan(wanted(wish("twin"), wish("ghost")), pool)
    assert made.actions == ()
    whys = {u.target.name: u.why for u in made.unmet}
    assert "2 VMs have this name" in whys["twin"]
    assert whys["ghost"] == "no VM of the pool has this name"


def test_the_more_exact_entry_wins() -> None:
    pool = PoolBuilder()
    pool.vm("web-1")
    pool.vm("web-2")
    made = plan(wanted(wish("web-*", "running"), wish("web-2", "as-is")), pool)
    assert only(made, Verb.START) == ["web-1"]


def test_templates_and_snapshots_are_never_selected() -> None:
    pool = PoolBuilder()
    pool.vm("web-t", is_template=True)
    pool.vm("web-s", is_template=True, is_snapshot=True)
    pool.vm("web-d", is_control_domain=True)
    made = plan(wanted(wish("web-*"), wish("web-t")), pool)
    assert made.actions == ()
    assert "it is a template" in made.unmet[0].why


def test_a_home_is_corrected_and_a_dead_home_does_not_stop_a_start() -> None:
    pool = PoolBuilder()
    pool.vm("db01", home="xen01")
    pool.vm("db02", home="xen03")
    pool.host("xen03", live=False)
    w = wanted(wish("db01", home="xen02"), wish("db02", home="xen03"))
    made = plan(w, pool, {"xen03": "silent"})
    assert verbs(made)[:2] == ["set-affinity db01 -> xen02", "start db01 -> xen02"]
    assert only(made, Verb.START) == ["db01", "db02"]
    assert "its home xen03 is down" in made.actions[-1].why


def test_default_sr_is_set_when_wrong_and_explained_when_it_cannot_be() -> None:
    pool = PoolBuilder()
    pool.sr("san-2", shared=True)
    made = plan(wanted(storage=StorageWish("san-2")), pool)
    assert verbs(made) == ["set-default-sr lab -> san-2"]
    pool.host("xen03", live=False)
    gone = plan(wanted(storage=StorageWish("local-xen03")), pool, {"xen03": "silent"})
    assert gone.unmet[0].why == "local-xen03 is a local SR of xen03, which is down"
    unknown = plan(wanted(storage=StorageWish("nope")), pool)
    assert "no SR of this name" in unknown.unmet[0].why
    pool.default_sr = "local-xen03"
    told = plan(wanted(), pool, {"xen03": "silent"})
    assert any("default SR can't be used" in n for n in told.notes)


def test_the_wrong_master_of_a_healthy_pool_is_handed_over_as_failback_says() -> None:
    pool = PoolBuilder()
    auto = plan(wanted(master=MasterWish("xen02", failback=Failback.AUTO)), pool)
    assert verbs(auto) == ["designate-master xen02"]
    manual = plan(wanted(master=MasterWish("xen02")), pool)
    assert manual.actions == ()
    assert "--failback" in manual.withheld[0].remedy
    asked = plan(wanted(master=MasterWish("xen02")), pool, failback=True)
    assert verbs(asked) == ["designate-master xen02"]
    never = plan(wanted(master=MasterWish("xen02", failback=Failback.NEVER)), pool)
    assert never.status is Status.CLEAN


def test_a_hand_over_is_withheld_while_a_host_is_down() -> None:
    pool = PoolBuilder()
    pool.host("xen03", live=False)
    made = plan(wanted(master=MasterWish("xen02", failback=Failback.AUTO)), pool, {"xen03": "silent"})
    assert made.actions == ()
    assert "only while every host is up, and xen03 is not" in made.withheld[0].why


def test_starts_go_where_memory_network_and_groups_allow() -> None:
    pool = PoolBuilder(3, memory=8 * GIB)
    pool.network("dmz", on=["xen02"])
    pool.vm("filler", on="xen01", memory=7 * GIB)
    pool.vm("a", memory=4 * GIB)
    pool.vm("b", networks=("dmz",))
    pool.vm("huge", memory=20 * GIB)
    made = plan(wanted(wish("a"), wish("b"), wish("huge")), pool)
    to = {a.target.name: a.to.name for a in made.actions if a.to}
    assert to["b"] == "xen02"
    assert to["a"] in ("xen02", "xen03")
    assert "are needed" in made.unmet[0].why
    spread = PoolBuilder(3)
    for i in range(3):
        spread.vm(f"web-{i}")
    made = plan(wanted(wish("web-*", placement=PlacementWish(spread="web"))), spread)
    assert len({a.to.name for a in made.actions if a.to}) == 3
    made = plan(wanted(wish("web-*", placement=PlacementWish(together="web"))), spread)
    assert len({a.to.name for a in made.actions if a.to}) == 1
    made = plan(wanted(wish("web-*", placement=PlacementWish(require=("xen03",)))), spread)
    assert {a.to.name for a in made.actions if a.to} == {"xen03"}


def test_dependants_start_after_what_they_need_or_not_at_all() -> None:
    pool = PoolBuilder()
    pool.vm("db")
    pool.vm("app")
    pool.vm("broken", memory=900 * GIB)
    pool.vm("needs-broken")
    made = plan(
        wanted(
            wish("app", depends_on=("db",), priority=Priority.HIGH),
            wish("db"),
            wish("broken"),
            wish("needs-broken", depends_on=("broken",)),
        ),
        pool,
    )
    db, app = (next(a for a in made.actions if a.target.name == n) for n in ("db", "app"))
    assert app.follows == (db.id,)
    assert [h.action.target.name for h in made.withheld] == ["needs-broken"]


def test_a_member_unknown_to_the_pool_and_a_host_unknown_to_the_manifest_are_told() -> None:
    pool = PoolBuilder(2)
    made = plan(wanted(hosts=3), pool)
    assert made.unmet[0].target.name == "xen03"
    pool = PoolBuilder(3)
    made = plan(wanted(hosts=2), pool)
    assert any("xen03 is in the pool but not in the manifest" in n for n in made.notes)


def test_the_plan_does_not_depend_on_the_order_of_the_records() -> None:
    pool = PoolBuilder()
    for i in range(6):
        pool.vm(f"web-{i}", memory=(i + 1) * GIB)
    w = wanted(wish("web-*"))
    state = pool.state()
    backwards = replace(
        state, **{k: dict(reversed(list(getattr(state, k).items()))) for k in ("hosts", "vms", "vbds", "pbds", "srs")}
    )
    first = make_plan(w, survey(), now=NOW, state=state)
    second = make_plan(w, survey(), now=NOW, state=backwards)
    assert first == second


def test_facts_name_every_member_and_every_touched_vm() -> None:
    pool = PoolBuilder()
    pool.vm("db01")
    made = plan(wanted(wish("db01")), pool)
    facts = {f.what: f.value for f in made.facts}
    assert facts["VM db01"].startswith("Halted on nowhere")
    assert facts["host xen02"].startswith("alive")
    assert ref("host", "xen01") not in str(made.facts)


def test_a_pattern_that_selects_nothing_is_told() -> None:
    made = plan(wanted(wish("web-*")), PoolBuilder())
    assert "web-* selects no VM" in made.notes
    assert made.status is Status.CLEAN
