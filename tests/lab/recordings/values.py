"""What it means that an answer of the lab equals a recorded one: refs by object, dates and fresh uuids by shape."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from reconciler.lab import NULL

REF = re.compile(r"OpaqueRef:[0-9a-zA-Z-]+\Z")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
DATE = re.compile(r"\d{8}T\d{2}:\d{2}:\d{2}(Z?)\Z")
TRACK = re.compile(r"trackid=[0-9a-f]{32}\Z")
MEASURED = frozenset(
    {
        *(
            "memory_free",
            "memory_actual",
            "VCPUs_utilisation",
            "start_time",
            "install_time",
            "location",
            "domid",
            "MAC",
        ),
        *(
            "bios_strings",
            "last_boot_CPU_flags",
            "agent_start_time",
            "boot_time",
            "generation_id",
            "last_booted_record",
        ),
    }
)
"""Fields that are measured, counted by the hypervisor or tell of the time before a recording: compared by type."""

HISTORY = frozenset({"device-model", "debug_info:cancel_points_seen"})
"""Keys of maps that a VM gets when it first starts, before a recording or in it, and a developer's counter."""


class Names:
    """Objects by ref: recorded ones by name, and which of the lab's answers to a recorded one that was made later."""

    def __init__(self, known: dict[str, dict[str, str]], uuids: dict[str, str]) -> None:
        self.labels = {ref: name for table in known.values() for name, ref in table.items()}
        self.uuids = uuids
        self.pairs: dict[str, str] = {}

    def bind(self, recorded: Any, mine: Any) -> None:
        """A call made an object: from now on the lab's ref stands for the recorded one."""
        if not (isinstance(recorded, str) and isinstance(mine, str)):
            return
        if REF.match(recorded) and REF.match(mine) and recorded not in self.labels and recorded != NULL:
            self.pairs.setdefault(recorded, mine)
            self.labels[mine] = f"made #{len(self.pairs)}"
            self.labels[recorded] = self.labels[mine]
        elif UUID.fullmatch(recorded) and UUID.fullmatch(mine) and recorded not in self.uuids:
            self.pairs.setdefault(recorded, mine)

    def argument(self, value: Any) -> Any:
        """A recorded parameter as the lab must get it."""
        if isinstance(value, str):
            return self.pairs.get(value, value)
        if isinstance(value, list):
            return [self.argument(v) for v in value]
        if isinstance(value, dict):
            return {k: self.argument(v) for k, v in value.items()}
        return value

    def plain(self, value: Any) -> Any:
        """A value with names for refs, and without what differs between any two runs of the same pool."""
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int | float):
            return str(value) if isinstance(value, int) else value
        if isinstance(value, list):
            items = [self.plain(v) for v in value]
            return sorted(items, key=lambda v: json.dumps(v, sort_keys=True))
        found: dict[str, Any] = {}
        for key, item in value.items():
            if key in HISTORY:
                continue
            name = self._text(key)
            plain = self.plain(item)
            if key in MEASURED:
                plain = _kind(plain)
            found[name if name not in found else f"{name} ({len(found)})"] = plain
        return found

    def _text(self, value: str) -> str:
        if value in self.labels:
            return self.labels[value]
        if value in self.uuids:
            return self.uuids[value]
        if value in (NULL, "OpaqueRef:bogus"):
            return value
        if REF.match(value):
            return "some object"
        date = DATE.match(value)
        if date:
            return value if value.startswith("1970") else f"date{date[1]}"
        if TRACK.match(value):
            return "trackid"
        return UUID.sub(lambda m: self.uuids.get(m[0], "uuid"), value)


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "int" if value.lstrip("-").isdigit() else "text"
    return type(value).__name__


def differences(recorded: Any, mine: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """(path, recorded, lab's) of everything that differs between two plain values."""
    if isinstance(recorded, dict) and isinstance(mine, dict):
        for key in sorted(set(recorded) | set(mine)):
            where = f"{path}.{key}" if path else key
            if key not in mine:
                yield where, short(recorded[key]), "absent"
            elif key not in recorded:
                yield where, "absent", short(mine[key])
            else:
                yield from differences(recorded[key], mine[key], where)
    elif recorded != mine:
        if isinstance(recorded, list) and isinstance(mine, list) and all(isinstance(v, str) for v in recorded + mine):
            only = [v for v in recorded if v not in mine], [v for v in mine if v not in recorded]
            if any(only):
                yield path, f"has {', '.join(only[0]) or 'nothing more'}", f"has {', '.join(only[1]) or 'nothing more'}"
                return
        yield path, short(recorded), short(mine)


def short(value: Any) -> str:
    """A value in at most 70 characters."""
    text = value if isinstance(value, str) and value else json.dumps(value, sort_keys=True)
    text = text.replace("|", "/").replace("\n", " ")
    return text if len(text) <= 70 else text[:67] + "..."
