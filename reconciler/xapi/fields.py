"""Fields of XAPI records, typed where they enter: ints may come as strings, null refs in two spellings, and old
releases lack fields. A field of the wrong type is a fault that names class, object and field, never a guess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.core.port import FaultKind, TransportFault

NULL_REFS = ("", "OpaqueRef:NULL", "NULL")
"""Never set, unset, and unset as releases before 7 spelled it (sheet §7.1)."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a class. Each getter has a default for a field that the release lacks."""

    cls: str
    ref: str
    fields: Mapping[str, Any]

    def text(self, name: str, default: str = "") -> str:
        """A string or an enum."""
        value = self.fields.get(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "a string", value)
        return value

    def required(self, name: str) -> str:
        """A string that every release has and that is not empty."""
        value = self.text(name)
        if not value:
            raise self._wrong(name, "a string that is not empty", value)
        return value

    def ref_or_none(self, name: str) -> str | None:
        """A reference; null ones are None."""
        value = self.text(name)
        return None if value in NULL_REFS else value

    def number(self, name: str, default: int = 0) -> int:
        """An int64: a number in JSON-RPC, a string in XML-RPC."""
        value = self.fields.get(name, default)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, str):
            try:
                return int(value)
            except ValueError:
                pass
        raise self._wrong(name, "an integer", value)

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean."""
        value = self.fields.get(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, "a boolean", value)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A set of strings or refs, in the order sent."""
        value = self.fields.get(name, [])
        if isinstance(value, list) and all(isinstance(v, str) for v in value):
            return tuple(value)
        raise self._wrong(name, "a set of strings", value)

    def refs(self, name: str) -> tuple[str, ...]:
        """A set of refs without the null ones."""
        return tuple(ref for ref in self.texts(name) if ref not in NULL_REFS)

    def mapping(self, name: str) -> dict[str, str]:
        """A map of strings."""
        value = self.fields.get(name, {})
        if isinstance(value, dict) and all(isinstance(v, str) for v in value.values()):
            return dict(value)
        raise self._wrong(name, "a map of strings", value)

    def counts(self, name: str) -> dict[str, int]:
        """A map to int64s."""
        value = self.fields.get(name, {})
        if not isinstance(value, dict):
            raise self._wrong(name, "a map of integers", value)
        return {key: Record(self.cls, self.ref, {name: number}).number(name) for key, number in value.items()}

    def has(self, name: str) -> bool:
        """Whether this release has the field."""
        return name in self.fields

    def _wrong(self, name: str, wanted: str, value: object) -> TransportFault:
        return TransportFault(
            FaultKind.PROTOCOL,
            f"{self.cls}.{name} of {self.fields.get('uuid') or self.ref} should be {wanted}, "
            f"but a {type(value).__name__} came",
            sent=True,
        )


def records(cls: str, value: Any) -> dict[str, Record]:
    """What `<cls>.get_all_records` answered, by ref; raises TransportFault(PROTOCOL) if it is something else."""
    if not isinstance(value, dict) or not all(isinstance(v, dict) for v in value.values()):
        raise TransportFault(FaultKind.PROTOCOL, f"{cls}.get_all_records did not answer a map of records", sent=True)
    return {ref: Record(cls, ref, fields) for ref, fields in value.items()}
