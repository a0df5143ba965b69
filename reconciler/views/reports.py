"""Small outputs that forges read: GitLab's plan report and GitHub's annotations."""

from __future__ import annotations

import json
from typing import Final, Protocol

from reconciler.core.plan import Plan, Verb
from reconciler.core.wanted import Place
from reconciler.views.words import clean

_CREATE: Final = frozenset({Verb.START, Verb.RESUME, Verb.UNPAUSE})
_DELETE: Final = frozenset({Verb.SHUTDOWN, Verb.SUSPEND, Verb.FENCE, Verb.DECLARE_DEAD})


class ProblemLike(Protocol):
    """A problem of a manifest, as the manifest's room makes them."""

    @property
    def place(self) -> Place:
        """Where it was written."""
        ...

    @property
    def what(self) -> str:
        """The key or value."""
        ...

    @property
    def why(self) -> str:
        """The one reason."""
        ...

    @property
    def remedy(self) -> str:
        """What to write instead."""
        ...

    @property
    def severity(self) -> str:
        """error or warning."""
        ...


def gitlab_report(plan: Plan) -> str:
    """For `artifacts:reports:terraform`: what comes up is created, what goes down is deleted, the rest is updated."""
    create = sum(a.verb in _CREATE for a in plan.actions)
    delete = sum(a.verb in _DELETE for a in plan.actions)
    return json.dumps({"create": create, "update": len(plan.actions) - create - delete, "delete": delete}) + "\n"


def github_annotation(problem: ProblemLike) -> str:
    """One workflow command (no newline) that marks the place in the pull request."""
    kind = {"error": "error", "warning": "warning"}.get(str(problem.severity), "notice")
    place = problem.place
    what = " ".join(problem.what.split())
    where = f"file={_property(place.file)},line={place.line},col={place.column},title={_property(what)}"
    text = ". ".join(t.strip().rstrip(".") for t in (problem.why, problem.remedy) if t.strip())
    return f"::{kind} {where}::{_message(text or what)}"


def _message(text: str) -> str:
    return clean(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
