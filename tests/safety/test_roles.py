"""Least privilege: what each command may call, and what is said when a right is missing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.plan import Verb
from reconciler.core.port import XapiFailure
from reconciler.lab import Release
from tests.cli.desk import Desk, at_desk  # noqa: F401 - the fixture
from tests.pipeline.told import changes, dead_master, dead_member, seen_before, writes
from tests.support.story import Story

DATAMODEL = Path(os.environ.get("XENREC_SHARED", Path(__file__).parents[3] / "shared")) / "datamodel" / "xenapi.json"
LOCAL_LOGIN = "session.slave_local_login_with_password"
LOCAL = {LOCAL_LOGIN, "session.local_logout", "host.is_in_emergency_mode"}
"""Of a local session, which is for local roots and not subject to roles (sheet §1.5); refused, they cost knowledge."""


def roles() -> dict[str, list[str]]:
    """Method -> the roles that may call it, by XAPI's own data model."""
    found = {}
    for cls in json.loads(DATAMODEL.read_text(encoding="utf-8")):
        for message in cls["messages"]:
            found[f"{cls['name']}.{message['name']}"] = message.get("roles") or []
    return found


def read_only(address: str, method: str, params: Sequence[Any]) -> None:
    """An account of a directory with XAPI's role read-only: no local root, no writes."""
    if method == LOCAL_LOGIN:
        raise XapiFailure("SESSION_AUTHENTICATION_FAILED", "reader", "Authentication failure")
    if changes(method) and not method.startswith("agent:"):
        raise XapiFailure("RBAC_PERMISSION_DENIED", method.removeprefix("Async."), "No permission")


@pytest.mark.skipif(not DATAMODEL.exists(), reason="XAPI's data model is not here")
@pytest.mark.parametrize("tell", [seen_before, dead_member, dead_master])
def test_a_plan_calls_nothing_beyond_read_only(tmp_path: Path, tell: Callable[..., Story]) -> None:
    story = tell(tmp_path / "pool")
    before = len(story.port.calls)
    story.plan()
    allowed = roles()
    called = {m for _, _, m in story.port.calls[before:] if not m.startswith("agent:")}
    assert len(called) >= 4
    assert {m for m in called - LOCAL if allowed[m] and "read-only" not in allowed[m]} == set()
    assert {m for _, _, m in story.port.calls[before:] if m.startswith("agent:")} <= {"agent:status", "agent:metadata"}


@pytest.mark.skipif(not DATAMODEL.exists(), reason="XAPI's data model is not here")
@pytest.mark.parametrize("tell", [dead_member, dead_master])
@pytest.mark.parametrize("release", list(Release), ids=lambda r: r.value)
def test_an_apply_calls_nothing_beyond_pool_operator(
    tmp_path: Path, tell: Callable[..., Story], release: Release
) -> None:
    story = tell(tmp_path / "pool", release=release)
    before = len(story.port.calls)
    assert story.apply().done
    if tell is dead_master:
        story.lab.power_on("xen01")
        story.wait(120)
        assert story.apply(failback=True).done
    allowed = roles()
    called = {m.removeprefix("Async.") for _, _, m in story.port.calls[before:] if not m.startswith("agent:")}
    assert "VM.start_on" in called
    assert {m for m in called - LOCAL if allowed[m] and "pool-operator" not in allowed[m]} == set()


@pytest.mark.parametrize("release", list(Release), ids=lambda r: r.value)
def test_read_only_plans_a_healthy_pool_and_is_told_what_it_could_not_ask(tmp_path: Path, release: Release) -> None:
    story = Story.of(tmp_path, release=release)
    story.port.before_call = read_only
    plan = story.plan()
    assert plan.actions == ()
    assert any(
        "xen02, xen03 and xen04 refuse a local login of root" in note and "none of them could be promoted" in note
        for note in plan.notes
    )


def test_read_only_sees_the_promotion_withheld_for_its_right(tmp_path: Path) -> None:
    story = dead_master(tmp_path / "pool")
    story.port.before_call = read_only
    calls = len(story.port.calls)
    plan = story.plan()
    (held,) = [w for w in plan.withheld if w.action.verb is Verb.PROMOTE]
    assert held.why == "xen02 refuses a local login of root, and a promotion needs one"
    assert "a local root of every host" in held.remedy
    assert plan.actions == ()
    assert story.apply().done == ()
    assert writes(story, calls) == []


def test_apply_says_which_right_is_missing_before_it_acts(tmp_path: Path) -> None:
    story = dead_member(tmp_path / "pool")
    calls = len(story.port.calls)
    story.port.before_call = read_only
    with pytest.raises(XapiFailure, match="RBAC_PERMISSION_DENIED"):
        story.apply()
    # The lease is the first write: the host was not fenced, nor anything else done.
    assert writes(story, calls) == []


def test_the_missing_right_on_the_command_line(desk: Desk) -> None:
    desk.lab.power_off("xen02")
    desk.lab.run(desk.lab.now + 60)
    make = desk.terminal._port

    def port() -> Any:
        made = make()
        made.before_call = read_only
        return made

    desk.terminal._port = port  # type: ignore[method-assign]
    assert desk("xenrec plan m.yaml").code in (0, 3)
    refused = desk("xenrec apply m.yaml --yes")
    assert refused.code == 77, refused.text
    assert "our account lacks the right pool.add_to_other_config (RBAC_PERMISSION_DENIED)" in refused.text
    assert "pool-operator" in refused.text
    assert "Traceback" not in refused.text


def test_what_a_master_refuses_to_tell_is_told_in_words(tmp_path: Path) -> None:
    story = seen_before(tmp_path, hosts=3, vms=6)

    def hook(address: str, method: str, params: object) -> None:
        if method == "VBD.get_all_records":
            raise XapiFailure("RBAC_PERMISSION_DENIED", method, "No permission in user session")

    story.port.before_call = hook
    why = story.plan().diagnosis.why
    assert why.endswith(
        "its acting master could not be read: our account lacks the right VBD.get_all_records (RBAC_PERMISSION_DENIED)"
    )
