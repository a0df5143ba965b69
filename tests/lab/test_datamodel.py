"""The lab's classes and calls against XenAPI's own data model: every field, every signature."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from reconciler.lab import SCHEMA, lookup
from reconciler.lab.calls import METHODS, Method
from reconciler.lab.schema import LATER
from tests.lab.story import make

SHARED = Path(os.environ.get("XENREC_SHARED") or Path(__file__).resolve().parents[3] / "shared")
MODEL = SHARED / "datamodel" / "xenapi.json"
IMITATED = (24, 16)
HIDDEN = frozenset(
    {
        *("host.abort_new_master", "host.commit_new_master", "host.ha_xapi_healthcheck", "host.is_in_emergency_mode"),
        *("host.local_assert_healthy", "host.propose_new_master", "pool.is_slave"),
        *("system.isAlive", "system.listMethods", "system.methodHelp"),
    }
)
"""Calls that XAPI hides from its documentation, and those of its RPC library."""
SHOWN_LATER = {"PCI": {"class_id", "vendor_id", "device_id", "subsystem_vendor_id", "subsystem_device_id"}}
"""Fields that a newer model shows though they are older: 24.16 keeps them to itself (recording 01)."""
SCALARS = {"an event batch": "events", "string": "s", "int": "i", "bool": "b", "float": "f", "datetime": "d"}

pytestmark = pytest.mark.skipif(not MODEL.exists(), reason=f"XenAPI's data model is not at {MODEL} (set XENREC_SHARED)")


@cache
def model() -> dict[str, dict[str, Any]]:
    return {cls["name"]: cls for cls in json.loads(MODEL.read_text(encoding="utf-8"))}


def newer(thing: dict[str, Any]) -> bool:
    """It came after the release that the lab imitates."""
    releases = [
        t["release"] for t in thing["lifecycle"]["transitions"] if t["transition"] in ("prototyped", "published")
    ]
    numbers = [re.match(r"(\d+)\.(\d+)", release) for release in releases]
    known = [(int(m[1]), int(m[2])) for m in numbers if m is not None]
    return len(known) == len(releases) and min(known) > IMITATED


def code(text: str) -> str:
    """A type of the model as the lab writes it."""
    if text.endswith(" record) map"):
        return f"records:{text.split(' -> ')[1].split(maxsplit=1)[0]}"
    if text.endswith(" record"):
        return f"record:{text.split(maxsplit=1)[0]}"
    if text.endswith(") map"):
        key, value = (code(part) for part in text[1:].removesuffix(") map").split(" -> "))
        if (key, value) == ("s", "s"):
            return "m"
        return "ops" if (key, value) == ("s", "e") else f"map({key}>{value})"
    if text.endswith(" set"):
        inner = code(text.removesuffix(" set"))
        return {"s": "S", "e": "E"}.get(inner, f"set({inner})")
    if text.endswith(" ref"):
        return text.removesuffix(" ref")
    if text.startswith("enum "):
        return "e"
    return SCALARS.get(text, text)


@pytest.mark.parametrize("cls", sorted(SCHEMA))
def test_fields_are_those_of_the_data_model(cls: str) -> None:
    later = set(SCHEMA[cls]) if cls == "VM_group" else LATER.get(cls, ())
    fields = {f["name"]: f for f in model()[cls]["fields"] if not newer(f) or f["name"] in later}
    assert set(SCHEMA[cls]) == set(fields) - SHOWN_LATER.get(cls, set())
    for name, field in SCHEMA[cls].items():
        assert field.type == code(fields[name]["type"]), f"{cls}.{name}"


@pytest.mark.parametrize("cls", sorted(SCHEMA))
def test_plain_setters_are_those_of_the_data_model(cls: str) -> None:
    fields = {f["name"]: f for f in model()[cls]["fields"]}
    messages = {m["name"] for m in model()[cls]["messages"]}
    for name, field in SCHEMA[cls].items():
        if field.writable:
            assert f"set_{name}" in messages, f"{cls}.set_{name}"
        if fields[name]["qualifier"] == "RW":
            assert field.writable, f"{cls}.{name} has a setter"


def signature(method: Method) -> tuple[list[tuple[str, str]], int]:
    return [(p.name, p.type) for p in method.params], method.required


def test_calls_have_the_signatures_of_the_data_model() -> None:
    story = make()
    unknown, different = [], []
    for name in story.raw("h1", "system.listMethods") + sorted(METHODS):
        cls, _, verb = name.partition(".")
        method = lookup(name)
        assert method is not None
        messages = {m["name"]: m for m in model().get(cls, {"messages": []})["messages"]}
        if verb not in messages:
            if name not in HIDDEN:
                unknown.append(name)
            continue
        params = [p for p in messages[verb]["params"] if p["name"] != "session_id"]
        types = [code(p["type"]) for p in params]
        mine = [p.type for p in method.params]
        required = sum(p["required"] for p in params)
        result = code(messages[verb]["result"][0])
        if (mine, method.required) != (types, required):
            different.append(f"{name}: {mine} {method.required}, not {types} {required}")
        elif method.result not in (result, "any") and not (result == "session" and method.result == "s"):
            different.append(f"{name} answers {method.result}, not {result}")
    assert not unknown, unknown
    assert not different, "\n".join(different)


def test_what_the_data_model_has_and_the_lab_has_not_is_an_unknown_method() -> None:
    story = make()
    story.login("h1")
    refused = 0
    for cls, described in model().items():
        for message in described["messages"]:
            name = f"{cls}.{message['name']}"
            if lookup(name) is None:
                assert story.refusal("h1", name) == ["MESSAGE_METHOD_UNKNOWN", name]
                refused += 1
    assert refused > 500
