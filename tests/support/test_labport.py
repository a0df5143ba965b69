"""The port over the lab keeps what the port promises, also when a hook breaks something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from reconciler.core.port import Ask, FaultKind, TransportFault
from reconciler.lab import Lab, Seed
from tests.support.labport import AGENT, LabPort


def port_of(hosts: int = 3) -> LabPort:
    return LabPort(Lab(Seed.generate(hosts, 2)))


def ask(port: LabPort, host: str) -> Ask:
    return Ask("xapi", 5.0, port.lab.hosts[host].address, "session.login_with_password", ("root", "lab"))


@pytest.mark.parametrize("hook", ["before_call", "after_call"])
def test_a_fault_of_a_hook_in_a_round_is_that_questions_answer(hook: str) -> None:
    port = port_of()
    lost = TransportFault(FaultKind.DROPPED, "lost", sent=True)

    def broken(address: str, method: str, params: Sequence[Any]) -> None:
        if address == port.lab.hosts["xen01"].address or method == "agent:status":
            raise lost

    setattr(port, hook, broken)
    agent = Ask("agent", 5.0, agent=AGENT, options={"action": "status", "plug": "xen01"})
    answers = port.ask_all([ask(port, "xen01"), ask(port, "xen02"), agent])
    assert [a.fault for a in answers][0::2] == [lost, lost]
    assert [a.value for a in answers][0::2] == [None, None]
    assert str(answers[1].fault).startswith("HOST_IS_SLAVE")
    assert len(port.calls) == (1 if hook == "before_call" else 3)


def test_what_is_no_fault_escapes() -> None:
    port = port_of()

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    port.after_call = kill
    with pytest.raises(Killed):
        port.ask_all([ask(port, "xen01")])
