"""Accounts of a directory: what each role may do, and what is for root alone."""

from __future__ import annotations

import pytest

from reconciler.lab import Lab, Seed, lookup
from reconciler.lab.role_names import ROLES
from reconciler.lab.roles import needed
from tests.lab.story import Refused, Story
from tests.lab.test_datamodel import MODEL, model

ACCOUNTS = {"viewer": ("v", "read-only"), "operator": ("o", "pool-operator"), "starter": ("s", "vm-operator")}


def told() -> Story:
    return Story(Lab(Seed.generate(hosts=3, vms=6), accounts=ACCOUNTS))


def master(story: Story) -> str:
    return str(story.lab.describe()["master"])


def as_(story: Story, user: str) -> str:
    """Have what is asked next asked by this account; the master's name."""
    host = master(story)
    story.sessions[host] = story.raw(host, "session.login_with_password", user, ACCOUNTS[user][0])
    return host


def halted(story: Story, host: str) -> str:
    for record in story.ask(host, "VM.get_all_records").values():
        if record["power_state"] == "Halted" and not record["is_a_template"] and not record["is_control_domain"]:
            return str(record["name_label"])
    raise AssertionError("no halted VM")


@pytest.mark.skipif(not MODEL.exists(), reason=f"XenAPI's data model is not at {MODEL} (set XENREC_SHARED)")
def test_every_call_needs_the_role_that_the_data_model_says() -> None:
    compared = 0
    for cls, described in model().items():
        for message in described["messages"]:
            name = f"{cls}.{message['name']}"
            if lookup(name) is not None and message["roles"]:
                assert needed(name) == next(r for r in ROLES if r in message["roles"]), name
                compared += 1
    assert compared > 1000


def test_a_reader_reads_and_does_nothing() -> None:
    story = told()
    host = as_(story, "viewer")
    vm = halted(story, host)
    assert story.refusal(host, "VM.start", vm, False, False) == [
        "RBAC_PERMISSION_DENIED",
        "vm.start",
        "No permission in user session. "
        "(Roles with this permission: vm-operator, vm-admin, vm-power-admin, pool-operator, pool-admin)",
    ]
    assert story.refusal(host, "pool.add_to_other_config", "nothing", "a", "b")[:2] == [
        "RBAC_PERMISSION_DENIED",
        "pool.add_to_other_config",
    ]
    assert story.ask(host, "VM.get_power_state", vm) == "Halted"


def test_of_an_async_call_only_the_task_is_refused() -> None:
    story = told()
    host = as_(story, "viewer")
    task = story.ask(host, "Async.VM.start", halted(story, host), False, False)
    story.lab.run(story.lab.now + 1)
    record = story.ask(host, "task.get_record", task)
    assert (record["status"], record["error_info"][:2]) == ("failure", ["RBAC_PERMISSION_DENIED", "vm.start"])
    story.ask(host, "task.destroy", task)  # its own


def test_other_peoples_tasks_are_for_operators() -> None:
    story = told()
    host = as_(story, "starter")
    task = story.ask(host, "task.create", "mine", "")
    as_(story, "viewer")
    assert story.refusal(host, "task.destroy", task)[:2] == ["RBAC_PERMISSION_DENIED", "task.destroy/any"]
    as_(story, "operator")
    story.ask(host, "task.destroy", task)


def test_an_operator_of_vms_starts_but_not_on_a_host_of_his_choice() -> None:
    story = told()
    host = as_(story, "starter")
    vm = halted(story, host)
    assert story.refusal(host, "VM.start_on", vm, host, False, False)[:2] == ["RBAC_PERMISSION_DENIED", "vm.start_on"]
    story.ask(host, "VM.start", vm, False, False)
    assert story.ask(host, "VM.get_power_state", vm) == "Running"


def test_a_session_says_whose_it_is() -> None:
    story = told()
    host = as_(story, "operator")
    session = story.sessions[host]
    record = story.ask(host, "session.get_record", session)
    assert (record["auth_user_name"], record["is_local_superuser"]) == ("operator", False)
    (role,) = story.ask(host, "subject.get_roles", record["subject"])
    assert story.ask(host, "role.get_name_label", role) == "pool-operator"
    assert "vm.start_on" in record["rbac_permissions"]
    assert "host.call_plugin" not in record["rbac_permissions"]
    assert record["rbac_permissions"] == story.ask(host, "role.get_permissions_name_label", role)
    story.login(host)
    record = story.ask(host, "session.get_record", story.sessions[host])
    assert (record["is_local_superuser"], record["rbac_permissions"]) == (True, [])


def test_local_logins_are_for_root_and_know_no_roles() -> None:
    story = told()
    member = next(name for name in story.lab.hosts if name != master(story))
    with pytest.raises(Refused) as refused:
        story.raw(member, "session.slave_local_login_with_password", "operator", "o")
    assert refused.value.description[:2] == ["SESSION_AUTHENTICATION_FAILED", "operator"]
    assert story.ask_locally(member, "host.is_in_emergency_mode") is False


def test_a_role_that_was_taken_away_is_gone_at_the_next_login() -> None:
    story = told()
    host = as_(story, "operator")
    subject = story.ask(host, "session.get_subject", story.sessions[host])
    (role,) = story.ask(host, "subject.get_roles", subject)
    assert story.refusal(host, "subject.remove_from_roles", subject, role)[0] == "RBAC_PERMISSION_DENIED"
    operators = story.sessions[host]
    story.login(host)
    story.ask(host, "subject.remove_from_roles", subject, role)
    assert story.refusal(host, "subject.remove_from_roles", subject, role) == ["ROLE_NOT_FOUND"]
    story.sessions[host] = operators
    story.ask(host, "pool.add_to_other_config", story.ask(host, "pool.get_all")[0], "still", "there")
    with pytest.raises(Refused) as refused:
        as_(story, "operator")
    assert refused.value.description[0] == "SESSION_AUTHORIZATION_FAILED"


@pytest.mark.parametrize(("name", "role"), [("root", "read-only"), ("x", "boss"), ("", "read-only")])
def test_no_such_account(name: str, role: str) -> None:
    with pytest.raises(ValueError, match=r"root|no role boss"):
        Lab(Seed.generate(hosts=1, vms=0), accounts={name: ("p", role)})
