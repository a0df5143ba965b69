"""Leading a second master back, and out of a circle, on the lab: one call, and everything read again before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.guard import Allowance
from reconciler.core.plan import Done, Outcome, Plan, Result, Verb
from reconciler.core.port import FaultKind, TransportFault, XapiFailure
from reconciler.lab import Release, Timing
from reconciler.pipeline import Approval, Reconciler
from tests.support.story import Story

RESET = "pool.emergency_reset_master"
TRANSITION = "pool.emergency_transition_to_master"
RECOVER = "pool.recover_slaves"


def ask(story: Story, host: str, method: str, *args: Any) -> Any:
    """Somebody else, with a local session on a member and a normal one on a master."""
    lab = story.lab
    box = lab.hosts[host]
    login = "session.login_with_password" if box in lab.masters() else "session.slave_local_login_with_password"
    session = lab.request(box.address, login, ["root", lab.password], source="desk")
    lab.settle([session], lab.now + 60)
    reply = lab.request(box.address, method, [session.value, *args], source="desk")
    lab.settle([reply], lab.now + 300)
    assert reply.failure is None, reply.failure
    return reply.value


def story_of(folder: Path) -> tuple[Story, str, str, str]:
    story = Story.of(folder, hosts=3, vms=6, seed=3, timing=Timing.fast())
    master = str(story.lab.describe()["master"])
    second, third = (name for name in story.lab.hosts if name != master)
    story.plan()
    return story, master, second, third


def split(folder: Path) -> tuple[Story, str, str, str]:
    """(story, old master, promoted one, a member that follows it): a healed partition, both accept logins."""
    story, old, new, member = story_of(folder)
    story.lab.cut(old, new)
    story.lab.cut(old, member)
    ask(story, new, TRANSITION)
    story.wait(60)
    ask(story, new, RECOVER)
    story.wait(60)
    story.lab.heal(old, new)
    story.lab.heal(old, member)
    story.wait(30)
    assert {h.name for h in story.lab.masters()} == {old, new}
    return story, old, new, member


def run_of(story: Story, *yields: str) -> tuple[Reconciler, Plan]:
    run = story.reconciler()
    run.allowance = Allowance(yields=frozenset(yields))
    return run, run.plan()


def perform(story: Story, run: Reconciler, plan: Plan) -> Outcome:
    with run.folder.lock(run=run.run, since=story.port.now()):
        return run.apply(plan, Approval())


def first(outcome: Outcome, verb: Verb = Verb.FOLLOW) -> Done:
    return next(d for d in outcome.done if d.action.verb is verb)


def refused(story: Story, run: Reconciler, plan: Plan, why: str) -> None:
    """Performed, it is refused for that reason, and nobody was told anything."""
    done = first(perform(story, run, plan))
    assert done.result is Result.REFUSED
    assert why in done.why
    assert sent(story, RESET) == 0


def sent(story: Story, method: str) -> int:
    return sum(m == method for _, _, m in story.port.calls)


def start_one(story: Story, host: str) -> str:
    """Somebody starts one more VM on a host, at the master that it is; its name."""
    db = story.lab.hosts[host].toolstack.db  # type: ignore[union-attr]
    assert db is not None
    ref, vm = next(
        (r, v) for r, v in db.tables["VM"].items() if v["power_state"] == "Halted" and not v["is_a_template"]
    )
    here = next(r for r, h in db.tables["host"].items() if h["name_label"] == host)
    ask(story, host, "VM.start_on", ref, here, False, True)
    return str(vm["name_label"])


def test_a_second_master_gives_way_at_a_word_that_names_it(tmp_path: Path) -> None:
    story, old, new, _member = split(tmp_path)
    _, plan = run_of(story)
    assert plan.actions == ()
    run, plan = run_of(story, old)
    outcome = perform(story, run, plan)
    assert first(outcome).result is Result.DONE
    assert [h.name for h in story.lab.masters()] == [new]
    assert story.lab.hosts[old].role == f"slave:{story.lab.hosts[new].address}"
    assert sent(story, RESET) == 1
    assert sent(story, RECOVER) == 0
    assert story.lab.harm() == []


def test_the_word_may_name_the_one_that_is_followed(tmp_path: Path) -> None:
    story, old, new, member = split(tmp_path)
    run, plan = run_of(story, new)
    outcome = perform(story, run, plan)
    assert all(d.result in (Result.DONE, Result.ALREADY) for d in outcome.done), outcome.done
    assert [h.name for h in story.lab.masters()] == [old]
    assert story.lab.hosts[member].role == f"slave:{story.lab.hosts[old].address}"


def test_a_lost_reply_is_observed_and_the_call_not_repeated(tmp_path: Path) -> None:
    story, old, _new, _member = split(tmp_path)
    run, plan = run_of(story, old)

    def lose() -> None:
        raise TransportFault(FaultKind.DROPPED, "the connection broke", sent=True)

    story.at(RESET, lose, before=False)
    assert first(perform(story, run, plan)).result is Result.DONE
    assert sent(story, RESET) == 1


def test_a_vm_that_the_plan_did_not_name_stops_it(tmp_path: Path) -> None:
    story, old, new, _member = split(tmp_path)
    run, plan = run_of(story, old)
    name = start_one(story, new)  # so that the pool has it elsewhere
    db = story.lab.hosts[old].toolstack.db  # type: ignore[union-attr]
    assert db is not None
    ref = next(r for r, v in db.tables["VM"].items() if v["name_label"] == name)
    here = next(r for r, h in db.tables["host"].items() if h["name_label"] == old)
    ask(story, old, "VM.start_on", ref, here, False, True)
    refused(story, run, plan, f"it would kill {name} too")


def empty_one(folder: Path) -> tuple[Story, str, str, str]:
    """Two masters, and the old one rebooted beside a partition: it runs nothing and its database says so."""
    story, old, new, member = split(folder)
    lab = story.lab
    db = lab.hosts[old].toolstack.db  # type: ignore[union-attr]
    assert db is not None
    here = next(r for r, h in db.tables["host"].items() if h["name_label"] == old)
    for ref, vm in list(db.tables["VM"].items()):
        if vm["resident_on"] == here and not vm["is_control_domain"]:
            ask(story, old, "VM.hard_shutdown", ref)
    return story, old, new, member


def test_one_without_vms_needs_no_word_unless_it_has_some_by_then(tmp_path: Path) -> None:
    story, old, _new, _member = empty_one(tmp_path)
    run, plan = run_of(story)
    assert [a.verb for a in plan.actions] == [Verb.FOLLOW]
    start_one(story, old)
    refused(story, run, plan, f"{old} runs VMs of its own by now")


def test_one_whose_database_can_not_be_read_again_is_left_alone(tmp_path: Path) -> None:
    story, old, _new, _member = empty_one(tmp_path)
    run, plan = run_of(story)

    def lose() -> None:
        raise TransportFault(FaultKind.DROPPED, "the connection broke", sent=True)

    before = sent(story, "VM.get_all_records")
    left = [2]

    def hook(address: str, called: str, params: Sequence[Any]) -> None:
        if called == "VM.get_all_records" and address == story.lab.hosts[old].address and left[0]:
            left[0] -= 1
            lose()

    story.port.before_call = hook
    refused(story, run, plan, "could not be read again")
    assert sent(story, "VM.get_all_records") > before


def test_a_loser_that_others_follow_by_now_is_left_alone(tmp_path: Path) -> None:
    story, old, _new, member = empty_one(tmp_path)
    run, plan = run_of(story)
    ask(story, member, RESET, story.lab.hosts[old].address)
    story.wait(40)
    refused(story, run, plan, f"{member} by now follows {old}")


def test_one_that_follows_by_now_is_not_told_again(tmp_path: Path) -> None:
    story, old, new, _member = split(tmp_path)
    run, plan = run_of(story, old)
    ask(story, old, RESET, story.lab.hosts[new].address)
    story.wait(60)
    assert first(perform(story, run, plan)).result is Result.ALREADY
    assert sent(story, RESET) == 0


@pytest.mark.parametrize("nth", [1, 3])
def test_a_winner_that_went_away_is_not_followed(tmp_path: Path, nth: int) -> None:
    """Before the survey, and between the local login and the call."""
    story, old, new, _member = split(tmp_path)
    run, plan = run_of(story, old)
    if nth == 1:
        story.lab.stop_toolstack(new)
    else:
        story.at("session.slave_local_login_with_password", lambda: story.lab.stop_toolstack(new), nth=2)
    outcome = perform(story, run, plan)
    assert first(outcome).result in (Result.REFUSED, Result.FAILED)
    assert sent(story, RESET) == 0


@pytest.mark.parametrize("which", [0, 1])
def test_both_are_looked_at_between_the_local_login_and_the_call(tmp_path: Path, which: int) -> None:
    """The loser, too, whose end no lease in the winner's pool tells."""
    story, old, new, _member = split(tmp_path)
    gone = (old, new)[which]
    run, plan = run_of(story, old)
    login = "session.slave_local_login_with_password"
    story.at(login, lambda: story.lab.stop_toolstack(gone), nth=2, before=False)
    refused(story, run, plan, f"{gone} accepted logins a moment ago")


def test_recover_is_never_sent_while_a_second_one_answers(tmp_path: Path) -> None:
    story, old, _new, _member = split(tmp_path)
    run, plan = run_of(story, old)
    perform(story, run, plan)
    assert sent(story, RECOVER) == 0


# --- circles ---------------------------------------------------------------------------------------------------------


def circle(folder: Path) -> tuple[Story, str, str, str]:
    story, master, second, third = story_of(folder)
    ask(story, third, RECOVER)
    story.wait(60)
    assert story.lab.masters() == []
    return story, master, second, third


def test_out_of_a_circle_and_nothing_dies(tmp_path: Path) -> None:
    story, master, _second, _third = circle(tmp_path)
    outcome = story.apply()
    assert first(outcome, Verb.PROMOTE).result is Result.DONE
    assert [h.name for h in story.lab.masters()] == [master]
    assert sent(story, TRANSITION) == 1
    assert story.lab.harm() == []
    assert story.plan().actions == ()


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (lambda s, m, o: ask(s, o, TRANSITION), "no promotion"),
        (lambda s, m, o: s.lab.power_off(o), "nothing proves it dead"),
        (lambda s, m, o: s.lab.stop_toolstack(o), "nothing proves it dead"),
        (lambda s, m, o: ask(s, o, RESET, "10.99.0.9"), "no declared member's address"),
    ],
)
def test_everything_is_asked_again_before_a_promotion_out_of_a_circle(
    tmp_path: Path, what: Callable[[Story, str, str], Any], why: str
) -> None:
    story, master, second, _third = circle(tmp_path)
    run, plan = run_of(story)
    what(story, master, second)
    story.wait(60)
    done = first(perform(story, run, plan), Verb.PROMOTE)
    assert done.result is Result.REFUSED
    assert why in done.why or "acts as master" in done.why or "may be a master" in done.why, done.why
    assert sent(story, TRANSITION) == 0


def test_one_whose_login_alone_speaks_of_emergency_mode_may_be_a_master_that_starts(tmp_path: Path) -> None:
    story, _master, second, _third = circle(tmp_path)
    run, plan = run_of(story)
    box = story.lab.hosts[second]

    def starting(address: str, called: str, params: Sequence[Any]) -> None:
        if called == "session.login_with_password" and address == box.address:
            raise XapiFailure("HOST_STILL_BOOTING")

    story.port.before_call = starting
    done = first(perform(story, run, plan), Verb.PROMOTE)
    assert done.result is Result.REFUSED
    assert f"{second} does not say whom it follows, nor that it is in emergency mode" in done.why
    assert sent(story, TRANSITION) == 0


def test_out_of_a_circle_of_members_in_emergency_mode_which_repeat_what_their_masters_say(tmp_path: Path) -> None:
    """Found by soak seeds 4001630, 4001933 and 4003916; their answers change every 5 s, so at every one of them."""
    for wait in range(60, 75, 3):
        lab = Story.of(tmp_path / str(wait), hosts=3, vms=6, seed=3, timing=Timing.fast(), release=Release.CLASSIC)
        lab.plan()
        names = list(lab.lab.hosts)
        ask(lab, names[2], RECOVER)
        lab.wait(wait)
        outcome = lab.apply()
        assert first(outcome, Verb.PROMOTE).result is Result.DONE, first(outcome, Verb.PROMOTE)
        assert sent(lab, TRANSITION) == 1
        assert lab.lab.harm() == []


def test_somebody_else_promotes_between_the_survey_and_the_call(tmp_path: Path) -> None:
    story, _master, _second, third = circle(tmp_path)
    run, plan = run_of(story)
    story.at("session.slave_local_login_with_password", lambda: story.lab.stop_toolstack(third), nth=4)
    done = first(perform(story, run, plan), Verb.PROMOTE)
    assert done.result is Result.REFUSED
    assert sent(story, TRANSITION) == 0


def test_a_promotion_out_of_a_circle_that_was_sent_is_watched(tmp_path: Path) -> None:
    story, master, _second, _third = circle(tmp_path)
    run, plan = run_of(story)
    story.port.after_call = _die_after(TRANSITION)
    with pytest.raises(KeyboardInterrupt):
        perform(story, run, plan)
    story.port.after_call = None
    outcome = story.apply()
    assert {d.result for d in outcome.done} <= {Result.DONE, Result.ALREADY}
    assert sent(story, TRANSITION) == 1
    assert [h.name for h in story.lab.masters()] == [master]
    assert story.reconciler().folder.memory.obligations() == ()


def _die_after(method: str) -> Callable[[str, str, Sequence[Any]], None]:
    def hook(address: str, called: str, params: Sequence[Any]) -> None:
        if called == method:
            raise KeyboardInterrupt

    return hook


def test_a_promotion_of_a_plan_without_a_tangle_is_no_way_out_of_one(tmp_path: Path) -> None:
    """The plan says who was lost; the executor takes the careful way of that plan and refuses."""
    story, _master, _second, _third = circle(tmp_path)
    run, plan = run_of(story)
    lost = replace(plan, diagnosis=replace(plan.diagnosis, situation=type(plan.diagnosis.situation)("lost")))
    done = first(perform(story, run, lost), Verb.PROMOTE)
    assert done.result is Result.REFUSED
    assert sent(story, TRANSITION) == 0
