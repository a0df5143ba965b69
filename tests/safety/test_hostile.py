"""Nonsense for answers: no traceback, no hang past the deadlines, no harm, nothing written on the strength of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.core.plan import Outcome, Result, Verb
from reconciler.core.port import AgentRun
from tests.pipeline.told import Console, dead_master, dead_member, running, seen_before
from tests.safety.hostile import EXPECTED, HostilePort, no_map, no_text
from tests.safety.test_lease import acts
from tests.support.story import Approval, Story

LONGEST = 6 * 3600.0
"""Virtual seconds: every deadline of every action one after the other, and far from for ever."""
SMALL = {"hosts": 3, "vms": 6}


def halted(folder: Path) -> Story:
    """A healthy pool, in which one VM was shut down."""
    story = seen_before(folder, **SMALL)  # type: ignore[arg-type]
    console = Console(story)
    console("VM.hard_shutdown", console.vm(min(running(story))))
    return story


def member(folder: Path) -> Story:
    return dead_member(folder, **SMALL)


def master(folder: Path) -> Story:
    return dead_master(folder, **SMALL)


def run(story: Story) -> Outcome | None:
    """Plan and apply; None for an expected trouble."""
    room = story.reconciler()
    try:
        with room.folder.lock(run=room.run, since=story.port.now()):
            return room.apply(room.plan(), Approval())
    except EXPECTED:
        return None


def unharmed(story: Story) -> None:
    assert story.lab.harm() == []
    assert story.doubles() == []
    assert len(story.lab.masters()) <= 1


TELLERS: list[Callable[[Path], Story]] = [halted, member, master]


@pytest.mark.parametrize("tell", TELLERS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), share=st.sampled_from([0.01, 0.05, 0.3]))
def test_nonsense_now_and_then(
    tmp_path_factory: pytest.TempPathFactory, tell: Callable[[Path], Story], seed: int, share: float
) -> None:
    story = tell(tmp_path_factory.mktemp("hostile"))
    port = HostilePort(story.lab, seed, lambda method: port.rng.random() < share)
    story.port = port
    began = story.lab.now
    run(story)
    assert story.lab.now - began < LONGEST
    unharmed(story)


@pytest.mark.parametrize("tell", TELLERS)
def test_once_only_nonsense_comes_nothing_more_is_sent(tmp_path: Path, tell: Callable[[Path], Story]) -> None:
    """From the n-th call of an apply on, every answer of XAPI's is of another type: there is no precondition left."""
    probe = tell(tmp_path / "probe")
    before = len(probe.port.calls)
    assert probe.apply().done
    methods = [m for _, _, m in probe.port.calls[before:]]
    assert sum(acts(m) for m in methods) >= 1
    sent = 0
    for number in range(0, len(methods), 7):
        story = tell(tmp_path / f"{number}")
        port = HostilePort(story.lab, number, lambda method: False, ways=(no_text,))
        story.port = port
        room = story.reconciler()
        plan = room.plan()
        assert plan.actions
        start = len(port.calls)
        port.spoil = lambda method: len(port.calls) - start > number  # noqa: B023
        with suppress(*EXPECTED), room.folder.lock(run=room.run, since=story.port.now()):
            room.apply(plan, Approval())
        calls = [m for _, _, m in port.calls[start:]]
        # A fence agent is asked about a silent host, of which nothing was said.
        after = [m for _, _, m in port.calls[port.since :] if acts(m) and not m.startswith("agent:")]
        assert not port.spoilt or after == [], (number, after)
        sent += len([m for m in calls if acts(m)])
        unharmed(story)
    assert sent > 0


@pytest.mark.parametrize("tell", TELLERS)
def test_a_pool_that_is_read_as_nonsense_is_not_acted_on(tmp_path: Path, tell: Callable[[Path], Story]) -> None:
    """Each call of a plan in turn is answered with another type."""
    probe = tell(tmp_path / "probe")
    before = len(probe.port.calls)
    probe.plan()
    methods = [m for _, _, m in probe.port.calls[before:]]
    targets = {(m, n) for m in set(methods) if m.endswith("get_all_records") for n in range(1, methods.count(m) + 1)}
    for (method, number), seed in product(sorted(targets), range(4)):
        seen: Counter[str] = Counter()

        def spoil(called: str) -> bool:
            seen[called] += 1  # noqa: B023
            return (called, seen[called]) == (method, number)  # noqa: B023

        story = tell(tmp_path / f"{method}-{number}-{seed}")
        port = HostilePort(story.lab, seed, spoil, ways=(no_map,))
        story.port = port
        try:
            plan = story.plan()
        except EXPECTED:
            continue
        assert port.spoilt == [method]
        assert plan.actions == (), (method, plan.actions)


AGENT_TEXTS = st.one_of(
    st.text(max_size=200), st.sampled_from(["Status: OFF", "Status: ON", "OFF", "Success: Powered OFF"])
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(code=st.sampled_from([None, -9, 0, 1, 2, 3, 127, 255]), out=AGENT_TEXTS, err=AGENT_TEXTS, powered=st.booleans())
def test_an_agent_that_says_anything(
    tmp_path_factory: pytest.TempPathFactory, code: int | None, out: str, err: str, powered: bool
) -> None:
    """Its `off` and `status` say the same whatever happened: dead is only what a second status calls off."""
    story = member(tmp_path_factory.mktemp("agent"))
    if powered:  # it was cut off and runs
        story = seen_before(tmp_path_factory.mktemp("cut"), **SMALL)  # type: ignore[arg-type]
        story.lab.cut("xen03", "*")
        story.wait(10)
    real = story.port.run_agent

    def lie(agent: str, options: Mapping[str, str], *, deadline: float) -> AgentRun:
        if options.get("action") == "metadata":
            return real(agent, options, deadline=deadline)
        return AgentRun(code, out, err)

    story.port.run_agent = lie  # type: ignore[method-assign]
    outcome = run(story)
    if code != 2 or not powered:
        assert story.lab.harm() == []
        assert story.doubles() == []
    if outcome is not None and code not in (0, 2):
        assert not any(d.result is Result.DONE and d.action.verb is Verb.FENCE for d in outcome.done)
