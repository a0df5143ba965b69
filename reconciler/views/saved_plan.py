"""Saved plans: a plan to bytes and back, refused when it is not whole, and what moved since it was made.

The digest catches an edited or damaged file. It is no signature: who can write the file can make a new one.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from reconciler.core.plan import Plan
from reconciler.views.words import clean

FORMAT: Final = "xenrec-saved-plan"
FORMAT_VERSION: Final = 2

MOST_BYTES: Final = 64 * 1024 * 1024
"""A plan of 2,000 VMs is about 3 MB."""


class SavedPlanError(Exception):
    """The bytes are not a plan that this version can apply. `why` is the one reason, `remedy` the next command."""

    def __init__(self, source: str, why: str, remedy: str = "make a new one: xenrec plan MANIFEST --out FILE") -> None:
        super().__init__(f"{clean(source)}: {why}. {remedy}")
        self.source = source
        self.why = why
        self.remedy = remedy


@cache
def _adapter() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)


def _canonical(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _content(plan: Plan) -> Any:
    return _adapter().dump_python(plan, mode="json")


def dump_plan(plan: Plan) -> bytes:
    """The plan as an indented JSON file. Raises SavedPlanError for a plan that would not be read back the same."""
    try:
        content = _content(plan)
        document = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "digest": hashlib.sha256(_canonical(content)).hexdigest(),
            "plan": content,
        }
        data = (json.dumps(document, indent=1, allow_nan=False) + "\n").encode("ascii")
        same = load_plan(data, "the plan just made") == plan
    except ValueError as error:  # a time that is none, such as NaN
        raise SavedPlanError(plan.source, f"the plan can't be saved ({clean(str(error))[:200]})", "") from error
    if not same:
        raise SavedPlanError(plan.source, "the plan can't be saved: it would not be read back the same", "")
    return data


def load_plan(data: bytes, source: str) -> Plan:
    """The plan in these bytes. `source` names them in messages. Raises SavedPlanError, and nothing else."""
    if len(data) > MOST_BYTES:
        raise SavedPlanError(source, f"it is no saved plan: {len(data)} bytes are too many")
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise SavedPlanError(source, "it is no saved plan: it is not JSON") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise SavedPlanError(source, "it is no saved plan: it is JSON of another kind")
    version = document.get("format_version")
    if version != FORMAT_VERSION:
        raise SavedPlanError(
            source, f"it has format version {clean(json.dumps(version))[:40]}, and this xenrec reads {FORMAT_VERSION}"
        )
    content = document.get("plan")
    try:
        digest = hashlib.sha256(_canonical(content)).hexdigest()
    except (ValueError, RecursionError) as error:
        raise SavedPlanError(source, "it was damaged or edited: it holds what no plan holds") from error
    if document.get("digest") != digest:
        raise SavedPlanError(source, "it was damaged or edited after it was made: its digest does not fit its content")
    try:
        plan = _adapter().validate_python(content, strict=False)
        whole = _content(plan) == content
    except (ValidationError, ValueError, RecursionError) as error:
        raise SavedPlanError(source, f"it is no plan: {_first(error)}") from error
    if not whole:
        raise SavedPlanError(source, "it is no plan: it holds keys or values that this xenrec does not know")
    return plan


def _first(error: Exception) -> str:
    """Where the first mistake is, and what; never the value itself."""
    if isinstance(error, ValidationError):
        found = error.errors(include_input=False, include_url=False, include_context=False)[0]
        return clean(f"{'.'.join(str(p) for p in found['loc'])}: {found['msg']}")[:200]
    return clean(str(error))[:200]


def moved_facts(saved: Plan, fresh: Plan) -> tuple[str, ...]:
    """What is no longer as it was when the plan was saved, one sentence each, in the order of the saved facts."""
    moved = []
    if saved.pool_uuid and fresh.pool_uuid and saved.pool_uuid != fresh.pool_uuid:
        moved.append(f"the pool was {saved.pool_uuid}, now {fresh.pool_uuid}")
    if saved.digest and fresh.digest and saved.digest != fresh.digest:
        moved.append(f"the manifest {clean(fresh.source or saved.source)} was changed since the plan was made")
    before, now = _facts(saved), _facts(fresh)
    for what in dict.fromkeys((*before, *now)):
        was, is_ = before.get(what), now.get(what)
        if was == is_:
            continue
        if was is None:
            moved.append(f"the plan was not about {clean(what)}, now it is: {clean(is_ or 'nothing')}")
        elif is_ is None:
            moved.append(f"{clean(what)} was {clean(was)}, and now the plan is not about it")
        else:
            moved.append(f"{clean(what)} was {clean(was or 'nothing')}, now {clean(is_ or 'nothing')}")
    if not moved and saved.fingerprint != fresh.fingerprint:
        moved.append("the pool moved in a way that no single fact tells")
    return tuple(moved)


def _facts(plan: Plan) -> dict[str, str]:
    """Each fact once; several values of one thing are one value, in order."""
    found: dict[str, list[str]] = {}
    for fact in plan.facts:
        found.setdefault(fact.what, []).append(fact.value)
    return {what: " and ".join(sorted(values)) for what, values in found.items()}
