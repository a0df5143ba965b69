"""What a saved plan must find again, and the fingerprint that tells two plans apart. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from reconciler.core.evidence import Diagnosis, LoginAnswer, Survey, Verdict
from reconciler.core.model import PoolState
from reconciler.core.plan import Fact, Plan, Verb


def with_facts(plan: Plan, survey: Survey, state: PoolState | None) -> Plan:
    """The facts that a saved plan must find again: who manages, each member's verdict, and the records of whatever an
    action touches."""
    facts = [Fact("situation", str(plan.diagnosis.situation)), Fact("master", plan.diagnosis.master or "none")]
    facts += [Fact(f"host {j.name}", _host_fact(j.name, plan.diagnosis, survey)) for j in plan.diagnosis.members]
    for action in plan.actions:
        if action.verb is Verb.PROMOTE:
            word = f"may be killed by the promotion of {action.target.name}"
            facts += [Fact(f"VM {doomed.name} on {doomed.host}", word) for doomed in action.kills]
    if state is not None:
        touched = {a.target.uuid for a in plan.actions if a.target.kind == "vm"}
        for vm in state.guests:
            if vm.uuid in touched:
                where = state.name_of(vm.resident_on) if vm.resident_on else "nowhere"
                facts.append(Fact(f"VM {vm.name}", f"{vm.power_state} on {where}, home {state.name_of(vm.affinity)}"))
        for host in sorted(state.hosts.values(), key=lambda h: h.name):
            facts.append(Fact(f"record of {host.name}", "enabled" if host.enabled else "disabled"))
        facts.append(Fact("default SR", state.name_of(state.pool.default_sr)))
        facts.append(Fact("suspend image SR", state.name_of(state.pool.suspend_image_sr)))
    body = json.dumps([[f.what, f.value] for f in facts] + [[a.id, a.to.uuid if a.to else ""] for a in plan.actions])
    return replace(plan, facts=tuple(facts), fingerprint=hashlib.sha256(body.encode()).hexdigest())


def _host_fact(name: str, diagnosis: Diagnosis, survey: Survey) -> str:
    judged, t = diagnosis.of(name), survey.of(name)
    assert judged is not None
    assert t is not None
    verdict = "not answering" if judged.verdict in (Verdict.UNREACHABLE, Verdict.PLANNED_DOWN) else str(judged.verdict)
    if t.login is LoginAnswer.SILENT:
        return verdict
    return f"{verdict}, follows {t.follows}" if t.follows else f"{verdict}, {t.login}"
