"""Texts as XAPI writes them: dates, and the XML in a task's result."""

from __future__ import annotations

import time
from typing import Any
from xml.sax.saxutils import escape


def date(seconds: float) -> str:
    """UTC seconds as 20261122T01:10:39Z."""
    return time.strftime("%Y%m%dT%H:%M:%SZ", time.gmtime(seconds))


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
