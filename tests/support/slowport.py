"""The port over the in-memory lab, where silence costs its deadline: as a routed network and the served lab behave."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.core.port import Answer, Ask, FaultKind, Json, TransportFault
from tests.support.labport import LabPort


class SlowPort(LabPort):
    """Of a host that can't be reached nothing comes back at all, as with the served lab: it costs the deadline."""

    def _silent(self, address: str) -> bool:
        host = self.lab.at(address)
        return host is None or not self.lab.reaches(self.source, host)

    def call(self, address: str, method: str, params: Sequence[Json], *, deadline: float) -> Json:
        """One call."""
        if self._silent(address):
            self.wait(deadline)
            raise TransportFault(FaultKind.TIMEOUT, f"{address}: no answer in {deadline:g} s", sent=False)
        return super().call(address, method, params, deadline=deadline)

    def ask_all(self, asks: Sequence[Ask]) -> list[Answer]:
        """All at once."""
        start, answers, longest = self.lab.now, super().ask_all(asks), 0.0
        for index, ask in enumerate(asks):
            fault = answers[index].fault
            if isinstance(fault, TransportFault) and fault.kind is FaultKind.UNREACHABLE and ask.kind != "agent":
                silence = TransportFault(FaultKind.TIMEOUT, f"{ask.address}: no answer", sent=False)
                answers[index] = Answer(None, silence, ask.deadline)
                longest = max(longest, ask.deadline)
        self.wait(start + longest - self.lab.now)
        return answers
