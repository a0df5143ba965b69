"""Certificates and incidents as JSON objects and back, with every field's type checked on the way in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from reconciler.core.evidence import Certificate, CertificateKind, Incident


class BadRecord(ValueError):
    """An object that is not what it should be; the text says which field."""


def certificate_to_json(certificate: Certificate) -> dict[str, Any]:
    """A certificate as a JSON object; the field names are those of core."""
    return asdict(certificate)


def certificate_from_json(value: object) -> Certificate:
    """A certificate from a JSON object. Raises BadRecord."""
    record = _record(value, "a certificate")
    kind = _text(record, "kind")
    if kind not in set(CertificateKind):
        raise BadRecord(f"a certificate's kind is {kind!r}")
    return Certificate(
        kind=CertificateKind(kind),
        pool=_text(record, "pool"),
        host=_text(record, "host"),
        address=_text(record, "address"),
        host_uuid=None if record.get("host_uuid") is None else _text(record, "host_uuid"),
        by=_text(record, "by"),
        reason=_text(record, "reason"),
        issued_at=_number(record, "issued_at"),
        expires_at=_number(record, "expires_at"),
    )


def incident_to_json(incident: Incident) -> dict[str, Any]:
    """An incident as a JSON object; the field names are those of core."""
    return asdict(incident)


def incident_from_json(value: object) -> Incident:
    """An incident from a JSON object. Raises BadRecord."""
    record = _record(value, "an incident")
    return Incident(
        pool=_text(record, "pool"),
        candidate=_text(record, "candidate"),
        candidate_address=_text(record, "candidate_address"),
        lost_master=_text(record, "lost_master"),
        lost_address=_text(record, "lost_address"),
        sent_at=_number(record, "sent_at"),
        run=_text(record, "run"),
    )


def _record(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadRecord(f"{what} is not an object")
    return value


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        raise BadRecord(f"its {name} is missing or not a text")
    return value


def _number(record: Mapping[str, Any], name: str) -> float:
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadRecord(f"its {name} is missing or not a time")
    return float(value)
