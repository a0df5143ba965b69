"""Texts as XAPI writes them: dates, and the XML in a task's result."""

from __future__ import annotations

import time
from typing import Any
from xml.sax.saxutils import escape

_VERSION_4 = 0x4000_8000_0000_0000_0000
_FREE = (1 << 128) - 1 & ~0xF000_C000_0000_0000_0000


def date(seconds: float) -> str:
    """UTC seconds as 20261122T01:10:39Z."""
    return time.strftime("%Y%m%dT%H:%M:%SZ", time.gmtime(seconds))


def uuid_text(bits: int) -> str:
    """A uuid of version 4 (RFC 4122) made of 128 bits, as str(uuid.UUID(int=bits, version=4)) and four times as fast:
    every call and every record takes one or two."""
    word = f"{bits & _FREE | _VERSION_4:032x}"
    return f"{word[:8]}-{word[8:12]}-{word[12:16]}-{word[16:20]}-{word[20:]}"


def xml_value(value: Any) -> str:
    """A value as a task's `result` holds it: XML, also for JSON clients (sheet §8.1)."""
    if value is None:
        return "<value></value>"
    if isinstance(value, bool):
        return f"<value><boolean>{int(value)}</boolean></value>"
    if isinstance(value, float):
        return f"<value><double>{value:.16g}</double></value>"
    if isinstance(value, list | tuple):
        return f"<value><array><data>{''.join(xml_value(v) for v in value)}</data></array></value>"
    if isinstance(value, dict):
        members = "".join(f"<member><name>{escape(str(k))}</name>{xml_value(v)}</member>" for k, v in value.items())
        return f"<value><struct>{members}</struct></value>"
    return f"<value>{escape(str(value))}</value>"
