"""What the stories share: somebody at the master's console, and what must hold whenever a run has ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reconciler.cli.apply import outcome_code
from reconciler.cli.exits import Exit
from reconciler.core.plan import Outcome, Plan, Result, Unmet, Verb
from reconciler.lab import Release
from tests.support.calls import Killed, changes
from tests.support.story import Story

__all__ = ["Killed", "changes"]

PROMOTION = "pool.emergency_transition_to_master"
BACKED_UP = 700.0
"""Virtual seconds after which every member holds a backup of the master's database."""


class Console:
    """Somebody with xe at the acting master: real calls, without the program under test."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.address = story.lab.masters()[0].address
        self.session = self._ask("session.login_with_password", "root", "lab", "1.0", "console")

    def _ask(self, method: str, *params: Any) -> Any:
        lab = self.story.lab
        reply = lab.request(self.address, method, params)
        lab.settle([reply], lab.now + 900)
        assert reply.done, f"{method} never answered"
        assert reply.failure is None, (method, reply.failure)
        return reply.value

    def __call__(self, method: str, *params: Any) -> Any:
        """One call; fails the test if XAPI refuses it."""
        return self._ask(method, self.session, *params)

    def vm(self, name: str) -> str:
        """Ref of the one VM of this name."""
        (ref,) = self("VM.get_by_name_label", name)
        return str(ref)

    def host(self, name: str) -> str:
        """Ref of a host."""
        return str(self("host.get_by_name_label", name)[0])

    def sr_of(self, host: str | None, label: str) -> str:
        """Ref of the SR of this name; of that host if there are several."""
        for ref in self("SR.get_by_name_label", label):
            hosts = [self("PBD.get_host", pbd) for pbd in self("SR.get_PBDs", ref)]
            if host is None or self.host(host) in hosts:
                return str(ref)
        raise AssertionError(label)

    @property
    def pool(self) -> str:
        """Ref of the pool."""
        return str(self("pool.get_all")[0])


def seen_before(folder: Path, **options: Any) -> Story:
    """A pool that was planned once (so that a last known pool is on disk), and whose members hold backups."""
    folder.mkdir(exist_ok=True)
    story = Story.of(folder, **options)
    assert story.plan().actions == ()
    story.wait(BACKED_UP)
    return story


def dead_master(folder: Path, **options: Any) -> Story:
    """xen01, the master, loses power."""
    story = seen_before(folder, **options)
    story.lab.power_off("xen01")
    story.wait(10)
    return story


def dead_member(folder: Path, **options: Any) -> Story:
    """xen03, a member, loses power."""
    story = seen_before(folder, **options)
    story.lab.power_off("xen03")
    story.wait(10)
    return story


def verbs(plan: Plan) -> list[str]:
    """What is to be done, as "verb target"."""
    return [f"{a.verb} {a.target.name}" for a in plan.actions]


def on(story: Story, host: str) -> set[str]:
    """VMs that really run there."""
    return {d.name for d in story.lab.running()[host]}


def running(story: Story) -> dict[str, str]:
    """VM -> host where it really runs."""
    return {d.name: host for host, domains in story.lab.running().items() for d in domains}


def unmet(plan: Plan) -> dict[str, Unmet]:
    """Wishes that can't be met, by the VM's (or other thing's) name."""
    return {u.target.name: u for u in plan.unmet}


def writes(story: Story, since: int = 0) -> list[str]:
    """Methods called since then that change a pool."""
    return [m for _, _, m in story.port.calls[since:] if changes(m)]


def proved(story: Story, outcome: Outcome, *, left: Sequence[str] = (), attended: bool = True) -> Plan:
    """What holds at the end of every story: nothing twice, no harm, and a second plan without actions.

    `left` names what can't be met; exit 0 exactly when there is none.
    """
    assert outcome.stopped == ""
    assert story.lab.harm() == []
    assert story.doubles() == []
    final = outcome.final
    assert final is not None
    assert verbs(final) == []
    assert [w.action.id for w in final.withheld] == []
    assert sorted(unmet(final)) == sorted(left)
    assert {d.result for d in outcome.done} <= {Result.DONE, Result.ALREADY}, outcome.done
    assert outcome_code(outcome) is (Exit.PARTIAL if left else Exit.DONE)
    calls = len(story.port.calls)
    again = story.plan(attended=attended)
    assert verbs(again) == []
    assert [w.action.id for w in again.withheld] == []
    assert sorted(unmet(again)) == sorted(left)
    assert writes(story, calls) == []
    return again


def on_each_release(argument: Any) -> Any:
    """A fixture's or test's parameter: both manners of the lab."""
    import pytest  # noqa: PLC0415

    return pytest.mark.parametrize("release", list(Release), ids=lambda r: r.value)(argument)


def of_verb(plan: Plan, verb: Verb) -> list[str]:
    """Targets of the actions of one kind."""
    return [a.target.name for a in plan.actions if a.verb is verb]
