"""Plans, outcomes, diagnoses and events for machines: versioned JSON, keys in a fixed order, times in RFC 3339 UTC.

Names are kept exactly as XAPI has them; the output is ASCII (JSON escapes), so no terminal or log can be misled by it.
A key is only ever added within one `format_version`.
"""

from __future__ import annotations

import json
from typing import Any

from reconciler.core.evidence import Certificate, Diagnosis, Judged, Survey, Testimony
from reconciler.core.plan import Action, Done, Outcome, Plan, Thing, Unmet, Withheld
from reconciler.views import words
from reconciler.views.events import Event

FORMAT_VERSION = 1

Document = dict[str, Any]


def plan_json(plan: Plan, drill: Document | None = None) -> str:
    """A plan as one indented JSON document, with what the drill beside it found, if there was one."""
    beside = {} if drill is None else {"drill": drill}
    return _dump({"format": "xenrec-plan", "format_version": FORMAT_VERSION, **plan_document(plan), **beside})


def outcome_json(outcome: Outcome) -> str:
    """An outcome, the final plan included, as one indented JSON document."""
    return _dump(
        {
            "format": "xenrec-outcome",
            "format_version": FORMAT_VERSION,
            "run": outcome.run,
            "started_at": words.rfc3339(outcome.started_at),
            "ended_at": words.rfc3339(outcome.ended_at),
            "stopped": outcome.stopped,
            "proved": outcome.final is not None and words.is_as_declared(outcome.final),
            "done": [_done(d) for d in outcome.done],
            "timeline": [{"after_s": at, "what": what} for at, what in outcome.timeline],
            "milestones": [{"after_s": at, "what": what} for at, what in outcome.milestones],
            "final": None if outcome.final is None else plan_document(outcome.final),
        }
    )


def diagnosis_json(pool: str, diagnosis: Diagnosis, survey: Survey | None = None) -> str:
    """A diagnosis, with the testimonies that it was made from, as one indented JSON document."""
    return _dump(
        {
            "format": "xenrec-diagnosis",
            "format_version": FORMAT_VERSION,
            "pool": pool,
            "diagnosis": _diagnosis(diagnosis),
            "survey": None
            if survey is None
            else {
                "at": words.rfc3339(survey.at),
                "took_s": survey.took,
                "testimonies": [_testimony(t) for t in survey.testimonies],
            },
        }
    )


def event_json(event: Event) -> str:
    """One event of an apply as one line (newline included), for newline-delimited JSON."""
    action = event.action
    return (
        json.dumps(
            {
                "format": "xenrec-event",
                "format_version": FORMAT_VERSION,
                "at": words.rfc3339(event.at),
                "what": event.what,
                "result": None if event.result is None else str(event.result),
                "action": None if action is None else _action(action),
            }
        )
        + "\n"
    )


def plan_document(plan: Plan) -> Document:
    """A plan as JSON values, without the format header."""
    return {
        "pool": plan.pool,
        "pool_uuid": plan.pool_uuid,
        "status": str(plan.status),
        "made_at": words.rfc3339(plan.made_at),
        "last_known_at": words.rfc3339(plan.last_known_at),
        "failback": plan.failback,
        "yields": list(plan.yields),
        "source": plan.source,
        "argument": plan.argument,
        "digest": plan.digest,
        "commit": plan.commit,
        "fingerprint": plan.fingerprint,
        "summary": words.counted(plan),
        "diagnosis": _diagnosis(plan.diagnosis),
        "stages": [
            {"name": s.name, "forecast": s.forecast, "actions": [_action(a) for a in s.actions]} for s in plan.stages
        ],
        "withheld": [_withheld(w) for w in plan.withheld],
        "unmet": [_unmet(u) for u in plan.unmet],
        "kept": [{"target": _thing(k.target), "why": k.why} for k in plan.kept],
        "notes": list(plan.notes),
        "certificates": [_certificate(c) for c in plan.certificates],
        "facts": [{"what": f.what, "value": f.value} for f in plan.facts],
        "differences": [{"of": of, "difference": text} for of, text in plan.differences],
        "forewarning": plan.forewarning,
        "reminders": list(plan.reminders),
        "expected": plan.expected,
        "critical": list(plan.critical),
    }


def _dump(document: Document) -> str:
    return json.dumps(document, indent=2) + "\n"


def _thing(thing: Thing) -> Document:
    return {"kind": thing.kind, "name": thing.name, "uuid": thing.uuid, "address": thing.address}


def _action(action: Action) -> Document:
    return {
        "id": action.id,
        "verb": str(action.verb),
        "level": action.level.word,
        "words": words.does(action),
        "target": _thing(action.target),
        "to": None if action.to is None else _thing(action.to),
        "source": None if action.source is None else _thing(action.source),
        "why": action.why,
        "kills": [{"vm": d.name, "uuid": d.uuid, "host": d.host, "why": d.why} for d in action.kills],
        "before": action.before,
        "after": action.after,
        "certificate_of": list(action.certificate_of),
        "follows": list(action.follows),
        "behind": list(action.behind),
        "ready": None if action.ready is None else action.ready.words,
        "via": action.via,
    }


def _withheld(item: Withheld) -> Document:
    return {"action": _action(item.action), "why": item.why, "remedy": item.remedy}


def _unmet(item: Unmet) -> Document:
    return {
        "target": _thing(item.target),
        "wish": item.wish,
        "why": item.why,
        "remedy": item.remedy,
        "place": item.place,
    }


def _done(done: Done) -> Document:
    return {
        "action": _action(done.action),
        "result": str(done.result),
        "why": done.why,
        "remedy": done.remedy,
        "took_s": done.took,
        "lasting": done.lasting,
    }


def _certificate(certificate: Certificate) -> Document:
    return {
        "kind": str(certificate.kind),
        "pool": certificate.pool,
        "host": certificate.host,
        "address": certificate.address,
        "host_uuid": certificate.host_uuid,
        "by": certificate.by,
        "reason": certificate.reason,
        "issued_at": words.rfc3339(certificate.issued_at),
        "expires_at": words.rfc3339(certificate.expires_at),
    }


def _judged(judged: Judged) -> Document:
    return {
        "name": judged.name,
        "address": judged.address,
        "verdict": str(judged.verdict),
        "why": judged.why,
        "certificate": None if judged.certificate is None else _certificate(judged.certificate),
        "voided": _certificate(judged.voided[0]) if judged.voided else None,
    }


def _diagnosis(diagnosis: Diagnosis) -> Document:
    return {
        "situation": str(diagnosis.situation),
        "why": diagnosis.why,
        "remedy": diagnosis.remedy,
        "master": diagnosis.master,
        "lost_master": diagnosis.lost_master,
        "astray": list(diagnosis.astray),
        "masters": list(diagnosis.masters),
        "right": diagnosis.right,
        "ties": [{"member": t.member, "follows": t.follows or None, "login": str(t.login)} for t in diagnosis.ties],
        "members": [_judged(m) for m in diagnosis.members],
    }


def _testimony(t: Testimony) -> Document:
    return {
        "name": t.name,
        "address": t.address,
        "at": words.rfc3339(t.at),
        "took_s": t.took,
        "login": str(t.login),
        "detail": t.detail,
        "follows": t.follows,
        "local_login": t.local_login,
        "is_emergency": t.is_emergency,
        "reaches_master": t.reaches_master,
        "tcp": t.tcp,
        "bmc": str(t.bmc),
        "bmc_detail": t.bmc_detail,
        "pool_uuid": t.pool_uuid,
        "armed_at": words.rfc3339(t.armed_at),
        "copy": None
        if t.copy is None
        else {"generation": t.copy.generation, "at": words.rfc3339(t.copy.at), "why": t.copy.why},
    }
