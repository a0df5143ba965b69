"""What was surely not executed (our session ended, it did not get out) is sent again only after a new look (I7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.lease import make
from reconciler.core.plan import Result, Verb
from reconciler.core.port import Fault, FaultKind, TransportFault, XapiFailure
from reconciler.execute.lease import ADD, REMOVE, LeaseBusy
from reconciler.execute.maintenance import ADD as MARK_HOST
from reconciler.execute.maintenance import DISABLE
from reconciler.execute.maintenance import REMOVE as UNMARK_HOST
from reconciler.execute.refresh import SYNC
from tests.pipeline.test_maintenance import rest, story, wake
from tests.support.story import Story

FAULTS = {
    "forgotten": XapiFailure("SESSION_INVALID", "OpaqueRef:s"),
    "unsent": TransportFault(FaultKind.REFUSED, "nothing listens", sent=False),
}
Meddle = Callable[[Story], None]


@pytest.fixture(params=FAULTS.values(), ids=FAULTS)
def fault(request: pytest.FixtureRequest) -> Fault:
    assert isinstance(request.param, Fault)
    return request.param


def unheard(s: Story, method: str, fault: Fault, meddle: Meddle | None = None, times: int = 1) -> list[str]:
    """The first calls of that method are not executed, and meanwhile somebody meddles; the calls that were tried."""
    tried: list[str] = []

    def hook(address: str, called: str, params: Sequence[Any]) -> None:
        if called == method:
            tried.append(called)
            if len(tried) <= times:
                if meddle is not None:
                    meddle(s)
                raise fault

    s.port.before_call = hook
    return tried


def ha_on(s: Story) -> None:
    """Somebody enables XAPI's HA."""
    _pool(s, ha_enabled=True)


def _pool(s: Story, **fields: Any) -> dict[str, Any]:
    db = s.lab.masters()[0].toolstack.db  # type: ignore[union-attr]
    ((ref, record),) = db.tables["pool"].items()  # type: ignore[union-attr]
    db.update("pool", ref, **fields)  # type: ignore[union-attr]
    return dict(record)


def ready(folder: Path, verb: Verb) -> Story:
    """A pool in which that verb comes next."""
    s = story(folder, release="classic")
    if verb is Verb.SYNC_DATABASE:
        often = replace(s.wanted.policy.metadata, refresh_every=900.0)
        s.changed(lambda w: replace(w, policy=replace(w.policy, metadata=often)))
        return s
    rest(s, "xen02")
    if verb is Verb.END_MAINTENANCE:
        s.apply()
        wake(s, "xen02")
    return s


CALLS = [
    (Verb.DISABLE_HOST, MARK_HOST),
    (Verb.DISABLE_HOST, DISABLE),
    (Verb.END_MAINTENANCE, UNMARK_HOST),
    (Verb.SYNC_DATABASE, SYNC),
]


@pytest.mark.parametrize(("verb", "method"), CALLS)
def test_it_is_sent_again(tmp_path: Path, fault: Fault, verb: Verb, method: str) -> None:
    s = ready(tmp_path, verb)
    tried = unheard(s, method, fault)
    done = {d.action.verb: d for d in s.apply().done}
    assert done[verb].result is Result.DONE, done[verb]
    assert len(tried) == 2


@pytest.mark.parametrize(("verb", "method"), CALLS)
def test_it_is_not_sent_again_where_it_must_not_be_by_now(
    tmp_path: Path, fault: Fault, verb: Verb, method: str
) -> None:
    s = ready(tmp_path, verb)
    tried = unheard(s, method, fault, ha_on)
    done = {d.action.verb: d for d in s.apply().done}
    assert done[verb].result is Result.REFUSED, done[verb]
    assert "HA is on" in done[verb].why
    assert len(tried) == 1


@pytest.mark.parametrize(("verb", "method"), CALLS)
def test_it_is_sent_no_third_time(tmp_path: Path, fault: Fault, verb: Verb, method: str) -> None:
    s = ready(tmp_path, verb)
    tried = unheard(s, method, fault, times=9)
    done = next(d for d in s.apply().done if d.action.verb is verb)
    assert done.result is Result.FAILED, done
    assert tried[2:] == []


def other_lease(s: Story, generation: int) -> str:
    """Another machine takes the lease; its key."""
    now = s.lab.now
    lease = make(generation, machine="another", run="run-x", by="root@elsewhere", pid=7, since=now, now=now)
    config = _pool(s)["other_config"]
    _pool(s, other_config={**config, lease.key: lease.value})
    return lease.key


def test_the_lease_is_not_taken_beside_another_that_was_taken_meanwhile(tmp_path: Path, fault: Fault) -> None:
    s = ready(tmp_path, Verb.DISABLE_HOST)
    tried = unheard(s, ADD, fault, lambda s: other_lease(s, 5) and None)
    with pytest.raises(LeaseBusy):
        s.apply()
    assert len(tried) == 1


def test_a_lease_that_can_not_be_sent_twice_stops_the_run_before_it_begins(tmp_path: Path, fault: Fault) -> None:
    s = ready(tmp_path, Verb.DISABLE_HOST)
    tried = unheard(s, ADD, fault, times=2)
    out = s.apply()
    assert len(tried) == 2
    why = "ended our session, and the next one at once"
    if isinstance(fault, TransportFault):
        why = "accepts logins, but the call did not reach it, twice"
    assert out.stopped == f"the pool's lease could not be taken: xen01 {why}; run again"
    assert {d.result for d in out.done} == {Result.SKIPPED}


def test_a_key_that_is_another_machines_by_now_is_not_removed(tmp_path: Path, fault: Fault) -> None:
    s = ready(tmp_path, Verb.DISABLE_HOST)
    keys: list[str] = []

    def taken_over(s: Story) -> None:
        config = {k: v for k, v in _pool(s)["other_config"].items() if not k.startswith("xenrec-lease")}
        _pool(s, other_config=config)
        keys.append(other_lease(s, 1))

    tried = unheard(s, REMOVE, fault, taken_over)
    s.apply()
    assert len(tried) == 1
    assert keys[0] in _pool(s)["other_config"]
