"""The power state of hosts, by their fence devices: the next one is asked where one does not know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from reconciler.core.evidence import BmcPower
from reconciler.core.fence_text import device_words, explain, hide, power_status
from reconciler.core.port import AgentRun, Answer, Ask
from reconciler.core.wanted import FenceDevice, Member
from reconciler.survey.case import Case, Reader

FenceOptions = Callable[[Member, FenceDevice], Mapping[str, str] | None]
"""The options of one device of a member, secrets resolved; None for a device that can't be asked."""


@dataclass
class Power:
    """The power state of each case that has devices left to ask, one device of each a round."""

    cases: Sequence[Case]
    fence_options: FenceOptions
    deadline: float

    def asks(self) -> list[tuple[Ask, Reader]]:
        """The next device of every member whose power is not known yet."""
        found: list[tuple[Ask, Reader]] = []
        for case in self.cases:
            while case.levels and case.testimony.bmc is BmcPower.UNKNOWN:
                device = case.levels.pop(0)
                options = self.fence_options(case.member, device)
                if options is None:
                    _not_known(case, device, "not asked")
                    continue
                ask = Ask("agent", self.deadline, agent=device.agent, options={**options, "action": "status"})
                found.append((ask, partial(_read_bmc, case, device, options)))
                break
        return found


def _read_bmc(case: Case, device: FenceDevice, options: Mapping[str, str], answer: Answer) -> None:
    if answer.fault is not None or not isinstance(answer.value, AgentRun):
        _not_known(case, device, str(answer.fault or "the agent did not run"))
        return
    power = power_status(answer.value)
    # Where the manifest refers to a secret it is one, whatever its option is called.
    detail = hide(explain(answer.value), [options[name] for name in device.secrets if name in options])
    if power is BmcPower.UNKNOWN:
        _not_known(case, device, detail)
        return
    detail = "; ".join([*case.silent, _by(case, device, detail)])
    case.testimony = replace(case.testimony, bmc=power, bmc_detail=detail)


def _not_known(case: Case, device: FenceDevice, why: str) -> None:
    case.silent.append(_by(case, device, why))
    case.testimony = replace(case.testimony, bmc_detail="; ".join(case.silent))


def _by(case: Case, device: FenceDevice, said: str) -> str:
    """With several devices it matters which of them said it."""
    return f"{device_words(device)}: {said}" if len(case.member.fencing) > 1 else said
