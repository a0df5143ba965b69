"""Which function performs which verb."""

from __future__ import annotations

from reconciler.core.evidence import Situation
from reconciler.core.plan import Action, Done, Verb
from reconciler.execute import crown, handover, maintenance, refresh, rejoin, storage, untangle, watching
from reconciler.execute.bench import Bench, Steps
from reconciler.execute.bury import declare_dead
from reconciler.execute.follow import follow
from reconciler.execute.proof import Prover
from reconciler.execute.ready import await_ready
from reconciler.execute.strike import fence
from reconciler.execute.vms import power
from reconciler.execute.ways import WAYS


def perform(bench: Bench, prover: Prover, action: Action) -> Steps | Done:
    """Begin it: its steps where it waits for something beside others, else its end. Raises MasterLost, CannotRecord and
    Faults."""
    if action.verb in WAYS:
        return power(bench, prover, action)
    match action.verb:
        case Verb.AWAIT_READY:
            return await_ready(bench, action)
        case Verb.DECLARE_DEAD:
            return declare_dead(bench, prover, action)
        case Verb.ENABLE_HOST:
            return maintenance.enable(bench, action)
        case Verb.FENCE:
            return fence(bench, prover, action)
        case Verb.PROMOTE if bench.plan.diagnosis.situation is Situation.TANGLED:
            return untangle.promote(bench, prover, action)
        case Verb.PROMOTE:
            return crown.promote(bench, prover, action)
        case Verb.AWAIT_MASTER:
            return watching.await_master(bench, action)
        case Verb.FOLLOW:
            return follow(bench, action)
        case Verb.RECOVER_MEMBERS:
            return rejoin.recover(bench, prover, action)
        case Verb.AWAIT_MEMBERS:
            return rejoin.await_members(bench, prover, action)
        case Verb.SYNC_DATABASE:
            return refresh.refresh(bench, action)
        case Verb.DESIGNATE_MASTER:
            return handover.designate(bench, prover, action)
        case Verb.DISABLE_HOST:
            return maintenance.disable(bench, action)
        case Verb.END_MAINTENANCE:
            return maintenance.end(bench, action)
        case _:
            return storage.set_field(bench, action)
