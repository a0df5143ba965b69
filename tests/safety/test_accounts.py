"""Least privilege on a pool that enforces it: accounts with a role of XAPI instead of local root."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.plan import Result, Verb
from reconciler.core.port import Json, XapiFailure
from reconciler.core.wanted import Account, SecretRef
from reconciler.lab import Lab, Release, Seed
from tests.pipeline.told import BACKED_UP, running, writes
from tests.support.story import Story, wanted_of

ACCOUNTS = {"viewer": ("lab", "read-only"), "operator": ("lab", "pool-operator")}


def told(folder: Path, user: str, release: Release = Release.V24_16) -> Story:
    """A pool seen once by root, whose manifest then logs in as `user`."""
    lab = Lab(Seed.generate(hosts=4, vms=24), release=release, accounts=ACCOUNTS)
    story = Story(lab, wanted_of(lab), folder)
    assert story.plan().actions == ()
    story.wait(BACKED_UP)
    as_(story, user)
    return story


def as_(story: Story, user: str) -> None:
    story.changed(lambda wanted: replace(wanted, connection=replace(wanted.connection, username=user)))


@pytest.mark.parametrize("release", list(Release), ids=lambda r: r.value)
def test_a_reader_plans_what_root_would_plan_with_a_dead_member(tmp_path: Path, release: Release) -> None:
    story = told(tmp_path, "viewer", release)
    assert story.plan().actions == ()
    story.lab.power_off("xen03")
    story.wait(60)
    seen = story.plan()
    as_(story, "root")
    assert [(a.verb, a.target.name) for a in seen.actions] == [(a.verb, a.target.name) for a in story.plan().actions]
    assert any(a.verb is Verb.START for a in seen.actions)


def test_a_reader_who_applies_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    story = told(tmp_path, "viewer")
    story.lab.power_off("xen03")
    story.wait(60)
    before = running(story)
    with pytest.raises(XapiFailure, match="RBAC_PERMISSION_DENIED") as refused:
        story.apply()
    assert refused.value.params[0] == "pool.add_to_other_config"
    assert running(story) == before
    assert story.lab.harm() == []


@pytest.mark.parametrize("release", list(Release), ids=lambda r: r.value)
def test_an_operator_brings_the_vms_of_a_dead_member_back(tmp_path: Path, release: Release) -> None:
    story = told(tmp_path, "operator", release)
    lost = {d.name for d in story.lab.running()["xen03"]}
    story.lab.power_off("xen03")
    story.wait(60)
    outcome = story.apply()
    assert {d.result for d in outcome.done} <= {Result.DONE, Result.ALREADY}
    unmet = {u.target.name for u in story.plan().unmet}
    assert lost - unmet
    assert lost - unmet <= set(running(story))
    assert story.lab.harm() == []
    assert story.doubles() == []


def test_an_operator_is_told_that_a_promotion_needs_root_and_root_does_it(tmp_path: Path) -> None:
    story = told(tmp_path, "operator")
    story.lab.power_off("xen01")
    story.wait(60)
    calls = len(story.port.calls)
    plan = story.plan()
    (held,) = [w for w in plan.withheld if w.action.verb is Verb.PROMOTE]
    assert held.why == "xen02 refuses a local login of operator, and a promotion needs one"
    assert "a local root of every host" in held.remedy
    assert story.apply().done == ()
    assert writes(story, calls) == []
    as_(story, "root")
    assert story.apply().done
    assert [host.name for host in story.lab.masters()] == ["xen02"]
    assert story.lab.harm() == []


def apart(story: Story, secret: str) -> None:
    """The pool's account stays; `secret` names that of the local root."""
    local = Account("root", SecretRef("env", secret))
    story.changed(lambda wanted: replace(wanted, connection=replace(wanted.connection, local=local)))


@pytest.mark.parametrize("release", list(Release), ids=lambda r: r.value)
def test_an_operator_with_a_local_account_beside_does_it_all(tmp_path: Path, release: Release) -> None:
    story = told(tmp_path, "operator", release)
    apart(story, "LAB")
    story.lab.power_off("xen01")
    story.wait(120)
    logins: set[tuple[str, str]] = set()

    def note(address: str, method: str, params: Sequence[Json]) -> None:
        if "login_with_password" in method:
            logins.add((method, str(params[0])))

    story.port.before_call = note
    outcome = story.apply()
    assert {d.result for d in outcome.done} <= {Result.DONE, Result.ALREADY}
    assert [host.name for host in story.lab.masters()] == ["xen02"]
    assert logins == {
        ("session.login_with_password", "operator"),
        ("session.slave_local_login_with_password", "root"),
    }
    assert story.lab.harm() == []


def test_without_the_local_password_all_but_a_promotion_goes_on(tmp_path: Path) -> None:
    story = told(tmp_path, "operator")
    apart(story, "NOT_HERE")
    story.missing = frozenset({"NOT_HERE"})
    plan = story.plan()
    assert plan.actions == ()
    (said,) = [note for note in plan.notes if "could be promoted" in note]
    assert said.startswith("xen02, xen03 and xen04 were not asked with a local login of root, whose password is not")
    assert any(note.startswith("connection.local.password can't be had: ") for note in plan.notes)
    story.lab.power_off("xen03")
    story.wait(60)
    assert any(d.action.verb is Verb.START and d.result is Result.DONE for d in story.apply().done)
    story.lab.power_off("xen01")
    story.wait(60)
    (held,) = [w for w in story.plan().withheld if w.action.verb is Verb.PROMOTE]
    assert held.why == "a promotion needs a local login of root at xen02, and its password is not here"
    assert held.remedy == "run it where connection.local.password can be had"
    assert story.apply().done == ()
    story.missing = frozenset()
    assert story.apply().done
    assert [host.name for host in story.lab.masters()] == ["xen02"]


def test_the_accounts_are_known_to_the_master_that_was_promoted(tmp_path: Path) -> None:
    story = told(tmp_path, "root")
    story.lab.power_off("xen01")
    story.wait(60)
    assert story.apply().done
    as_(story, "viewer")
    assert [a.verb for a in story.plan().actions] == []
